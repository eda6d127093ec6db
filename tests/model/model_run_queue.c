/* Models of core/run_queue.c and core/inject_queue.c, with a ring of four: whoever takes, each node is taken once, nodes leave in
 * the order in which they came, and one that stays is counted by whoever looks. */
#include "core/run_queue.h"

#define MOST 8

static RunQueue *queue;
static RunQueue *others;
static InjectQueue *inject;
static RunNode *nodes;
static int taken[MOST];
static int pushed; /* so many; the first `at_start` before anything else happens */

static void
take(RunNode *node)
{
    model_check(node >= nodes && node < nodes + MOST);
    model_check(taken[node - nodes]++ == 0);
}

/* The owner pushes all and pops until nothing is left. */
static void
owner(void *argument)
{
    int at_start = *(int *)argument;
    RunNode *node;
    RunNode *before = NULL;

    for (int i = at_start; i < pushed; i++) {
        run_queue_push(queue, &nodes[i]);
    }
    while ((node = run_queue_pop(queue)) != NULL) {
        model_check(node > before); /* in order */
        before = node;
        take(node);
    }
}

static void
thief(void *argument)
{
    RunQueue *own = argument;
    size_t count = 0;
    RunNode *node = run_queue_steal(queue, own, &count);

    if (node != NULL) {
        take(node);
        size_t rest = 0;
        while ((node = run_queue_pop(own)) != NULL) {
            take(node);
            rest++;
        }
        model_check(rest + 1 == count);
    }
}

/* The owner pops one, which may refill the ring; the last node stays. Whoever looks counts it. */
static void
pops_one(void *unused)
{
    (void)unused;
    take(run_queue_pop(queue));
}

static void
counts(void *unused)
{
    (void)unused;
    model_check(run_queue_length(queue) >= 1);
}

static int at_start;

static void
begin(int first, int all)
{
    kernel_reset();
    queue = model_memory(sizeof(*queue), 64);
    others = model_memory(2 * sizeof(*others), 64);
    inject = model_memory(sizeof(*inject), 64);
    nodes = model_memory(MOST * sizeof(*nodes), 8);
    run_queue_init(queue);
    run_queue_init(&others[0]);
    run_queue_init(&others[1]);
    inject_queue_init(inject);
    for (int i = 0; i < MOST; i++) {
        taken[i] = 0;
    }
    at_start = first;
    pushed = all;
    for (int i = 0; i < first; i++) {
        run_queue_push(queue, &nodes[i]);
    }
}

static void
start_steal(void)
{
    begin(2, 4);
    model_thread("owner", owner, &at_start);
    model_thread("thief", thief, &others[0]);
    model_thread("thief 2", thief, &others[1]);
}

/* Four in the ring, two behind it. */
static void
start_overflow(void)
{
    begin(5, 6);
    model_thread("owner", owner, &at_start);
    model_thread("thief", thief, &others[0]);
}

static void
start_overflow_thieves(void)
{
    begin(5, 5);
    model_thread("owner", owner, &at_start);
    model_thread("thief", thief, &others[0]);
    model_thread("thief 2", thief, &others[1]);
}

/* The ring is empty, two wait behind it. */
static void
start_count(void)
{
    begin(6, 6);
    for (int i = 0; i < 4; i++) {
        take(run_queue_pop(queue));
    }
    model_thread("owner", pops_one, NULL);
    model_thread("looks", counts, NULL);
}

static void
finish(void)
{
    for (int i = 0; i < pushed; i++) {
        model_check(taken[i] == 1);
    }
}

static void
pushes_outside(void *argument)
{
    RunNode *node = argument;
    inject_queue_push(inject, node);
}

static void
takes_outside(void *unused)
{
    (void)unused;
    for (int got = 0; got < 2;) {
        RunNode *batch[2];
        size_t count = inject_queue_pop_batch(inject, batch, 2);
        for (size_t i = 0; i < count; i++, got++) {
            take(batch[i]);
        }
        if (count == 0) {
            sched_yield();
        }
    }
}

static void
start_inject(void)
{
    begin(0, 2);
    model_thread("pushes", pushes_outside, &nodes[0]);
    model_thread("pushes 2", pushes_outside, &nodes[1]);
    model_thread("takes", takes_outside, NULL);
}

const Model models[] = {
    {"run queue: owner and two thieves", start_steal, finish, NULL, MODEL_ALL, false, false},
    {"run queue: overflow and a thief", start_overflow, finish, NULL, MODEL_ALL, false, false},
    {"run queue: overflow and two thieves", start_overflow_thieves, finish, NULL, 4, false, false},
    {"run queue: refilled while counted", start_count, NULL, NULL, MODEL_ALL, false, false},
    {"run queue: owner and thieves, stores delayed", start_steal, finish, NULL, 3, true, false},
    {"inject queue: two push, one takes", start_inject, finish, NULL, MODEL_ALL, false, false},
    {0},
};
