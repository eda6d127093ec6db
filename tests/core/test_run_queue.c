/* Run queue: order for the owner, stealing, the overflow, and all of it at once. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/run_queue.h"

#define MANY 2000 /* nodes: several times the ring's capacity */

typedef struct Item {
    RunNode node;
    int number; /* plain: the queue must publish it */
    atomic_int seen;
} Item;

/* Two queues and a heap of numbered nodes for the tests of one thread. */
typedef struct Fixture {
    RunQueue queue;
    RunQueue thief;
    Item items[MANY];
} Fixture;

static int
setup(void **state)
{
    Fixture *fixture = aligned_alloc(64, (sizeof(Fixture) + 63) / 64 * 64);
    assert_non_null(fixture);
    run_queue_init(&fixture->queue);
    run_queue_init(&fixture->thief);
    for (int i = 0; i < MANY; i++) {
        fixture->items[i].number = i;
        atomic_init(&fixture->items[i].seen, 0);
    }
    *state = fixture;
    return 0;
}

static int
teardown(void **state)
{
    free(*state);
    return 0;
}

/* Pushes the items from `first` up to `end`. */
static void
push_range(Fixture *fixture, int first, int end)
{
    for (int i = first; i < end; i++) {
        run_queue_push(&fixture->queue, &fixture->items[i].node);
    }
}

/* Pops and checks that these items come out in this order. */
static void
expect_range(Fixture *fixture, RunQueue *queue, int first, int end)
{
    for (int i = first; i < end; i++) {
        assert_ptr_equal(run_queue_pop(queue), &fixture->items[i].node);
    }
}

static void
test_new_queue_is_empty(void **state)
{
    Fixture *fixture = *state;
    size_t count = 7;
    assert_null(run_queue_pop(&fixture->queue));
    assert_int_equal(run_queue_length(&fixture->queue), 0);
    assert_null(run_queue_steal(&fixture->queue, &fixture->thief, &count));
    assert_int_equal(count, 0);
}

static void
test_owner_gets_nodes_in_order_of_pushing(void **state)
{
    Fixture *fixture = *state;
    push_range(fixture, 0, 100);
    assert_int_equal(run_queue_length(&fixture->queue), 100);
    expect_range(fixture, &fixture->queue, 0, 100);
    assert_null(run_queue_pop(&fixture->queue));
}

static void
test_order_is_kept_through_the_overflow(void **state)
{
    Fixture *fixture = *state;
    push_range(fixture, 0, MANY);
    assert_int_equal(run_queue_length(&fixture->queue), MANY);
    expect_range(fixture, &fixture->queue, 0, MANY);
    assert_null(run_queue_pop(&fixture->queue));
    assert_int_equal(run_queue_length(&fixture->queue), 0);
}

static void
test_push_waits_behind_the_overflow_when_the_ring_has_room_again(void **state)
{
    Fixture *fixture = *state;
    push_range(fixture, 0, 300); /* 256 in the ring, 44 behind it */
    expect_range(fixture, &fixture->queue, 0, 200);
    push_range(fixture, 300, 400);
    expect_range(fixture, &fixture->queue, 200, 400);
    assert_null(run_queue_pop(&fixture->queue));
}

static void
test_order_is_kept_for_pushes_and_pops_in_any_mixture(void **state)
{
    Fixture *fixture = *state;
    uint32_t random = 12345;
    int pushed = 0;
    int popped = 0;
    for (int step = 0; step < 4000; step++) {
        random = random * 1664525u + 1013904223u;
        int amount = (int)(random >> 16) % 400;
        if (random >> 31 && pushed - popped + amount <= MANY) {
            for (int i = 0; i < amount; i++) {
                run_queue_push(&fixture->queue, &fixture->items[pushed++ % MANY].node);
            }
        }
        else {
            for (int i = 0; i < amount && popped < pushed; i++) {
                assert_ptr_equal(run_queue_pop(&fixture->queue),
                                 &fixture->items[popped++ % MANY].node);
            }
        }
        assert_int_equal(run_queue_length(&fixture->queue), pushed - popped);
    }
}

static void
test_positions_go_round_at_the_end_of_their_range(void **state)
{
    Fixture *fixture = *state;
    atomic_store(&fixture->queue.head, UINT32_MAX - 10);
    atomic_store(&fixture->queue.tail, UINT32_MAX - 10);
    push_range(fixture, 0, 300);
    assert_int_equal(run_queue_length(&fixture->queue), 300);
    size_t count;
    assert_ptr_equal(run_queue_steal(&fixture->queue, &fixture->thief, &count),
                     &fixture->items[0].node);
    assert_int_equal(count, 128);
    expect_range(fixture, &fixture->queue, 128, 300);
    expect_range(fixture, &fixture->thief, 1, 128);
}

static void
push_batch(Fixture *fixture, int first, int end)
{
    RunNode *nodes[MANY];
    for (int i = first; i < end; i++) {
        nodes[i - first] = &fixture->items[i].node;
    }
    run_queue_push_batch(&fixture->queue, nodes, (size_t)(end - first));
}

static void
test_batch_is_appended_in_order(void **state)
{
    Fixture *fixture = *state;
    push_range(fixture, 0, 3);
    push_batch(fixture, 3, 3);
    push_batch(fixture, 3, 50);
    push_range(fixture, 50, 60);
    assert_int_equal(run_queue_length(&fixture->queue), 60);
    expect_range(fixture, &fixture->queue, 0, 60);
    assert_null(run_queue_pop(&fixture->queue));
}

static void
test_batch_that_does_not_fit_continues_in_the_overflow(void **state)
{
    Fixture *fixture = *state;
    push_range(fixture, 0, 10);
    push_batch(fixture, 10, 500);
    push_batch(fixture, 500, 600); /* the overflow is in use: all of it goes there */
    push_range(fixture, 600, 610);
    assert_int_equal(run_queue_length(&fixture->queue), 610);
    expect_range(fixture, &fixture->queue, 0, 610);
    assert_null(run_queue_pop(&fixture->queue));
}

static void
test_steal_takes_the_older_half(void **state)
{
    Fixture *fixture = *state;
    size_t count;
    push_range(fixture, 0, 9);
    assert_ptr_equal(run_queue_steal(&fixture->queue, &fixture->thief, &count),
                     &fixture->items[0].node);
    assert_int_equal(count, 5);
    assert_int_equal(run_queue_length(&fixture->queue), 4);
    assert_int_equal(run_queue_length(&fixture->thief), 4);
    expect_range(fixture, &fixture->thief, 1, 5);
    expect_range(fixture, &fixture->queue, 5, 9);
}

static void
test_steal_takes_a_lone_node(void **state)
{
    Fixture *fixture = *state;
    size_t count;
    push_range(fixture, 0, 1);
    assert_ptr_equal(run_queue_steal(&fixture->queue, &fixture->thief, &count),
                     &fixture->items[0].node);
    assert_int_equal(count, 1);
    assert_null(run_queue_pop(&fixture->queue));
    assert_null(run_queue_pop(&fixture->thief));
}

static void
test_steal_reaches_the_overflow_when_the_ring_is_empty(void **state)
{
    Fixture *fixture = *state;
    size_t count;
    push_range(fixture, 0, 266); /* 256 in the ring, 10 behind it */
    int next = 0;
    while (next < 256) { /* thieves alone empty the ring, so nobody refills it */
        assert_ptr_equal(run_queue_steal(&fixture->queue, &fixture->thief, &count),
                         &fixture->items[next].node);
        expect_range(fixture, &fixture->thief, next + 1, next + (int)count);
        next += (int)count;
    }
    assert_int_equal(next, 256);
    assert_int_equal(run_queue_length(&fixture->queue), 10);
    assert_ptr_equal(run_queue_steal(&fixture->queue, &fixture->thief, &count),
                     &fixture->items[256].node);
    assert_int_equal(count, 5);
    expect_range(fixture, &fixture->thief, 257, 261);
    expect_range(fixture, &fixture->queue, 261, 266);
}

static void
test_steal_into_a_queue_that_holds_nodes_keeps_its_order(void **state)
{
    Fixture *fixture = *state;
    size_t count;
    for (int i = 1000; i < 1250; i++) {
        run_queue_push(&fixture->thief, &fixture->items[i].node);
    }
    push_range(fixture, 0, 100);
    assert_ptr_equal(run_queue_steal(&fixture->queue, &fixture->thief, &count),
                     &fixture->items[0].node);
    assert_int_equal(count, 50); /* six fit into the thief's ring, the others overflow */
    expect_range(fixture, &fixture->thief, 1000, 1250);
    expect_range(fixture, &fixture->thief, 1, 50);
}

static void
test_head_moves_with_every_node_that_leaves_the_ring(void **state)
{
    Fixture *fixture = *state;
    uint32_t head = run_queue_head(&fixture->queue);
    push_range(fixture, 0, 600);
    assert_int_equal(run_queue_head(&fixture->queue), head);
    for (uint32_t i = 0; i < 600; i++) {
        assert_non_null(run_queue_pop(&fixture->queue));
        assert_int_equal(run_queue_head(&fixture->queue), head + i + 1);
    }
    assert_null(run_queue_pop(&fixture->queue));
    assert_int_equal(run_queue_head(&fixture->queue), head + 600);
}

/* --- many threads --- */

#define WORKERS 4
#define STRESS_NODES 300000

typedef struct Stress {
    RunQueue queues[WORKERS];
    Item *items;
    int burst; /* most nodes that the owner pushes in a row */
    atomic_int next_worker;
    atomic_size_t taken;
    atomic_int mismatches; /* items whose plain fields had not arrived */
} Stress;

static void
visit(Stress *stress, RunNode *node)
{
    Item *item = (Item *)node;
    if (&stress->items[item->number] != item) {
        atomic_fetch_add(&stress->mismatches, 1);
    }
    atomic_fetch_add(&item->seen, 1);
    atomic_fetch_add(&stress->taken, 1);
}

/* Worker 0 pushes and pops; the others steal, from it and from each other, and pop their loot. */
static void *
work(void *argument)
{
    Stress *stress = argument;
    int self = atomic_fetch_add(&stress->next_worker, 1);
    RunQueue *own = &stress->queues[self];
    uint32_t random = 77u + (uint32_t)self;
    int next = 0;
    while (atomic_load(&stress->taken) < STRESS_NODES) {
        random = random * 1664525u + 1013904223u;
        int amount = (int)(random >> 16) % stress->burst;
        if (self == 0 && next < STRESS_NODES) {
            RunNode *batch[16];
            size_t batched = 0;
            for (int i = 0; i < amount && next < STRESS_NODES; i++, next++) {
                stress->items[next].number = next;
                if (random & 0x100) {
                    run_queue_push(own, &stress->items[next].node);
                    continue;
                }
                batch[batched++] = &stress->items[next].node;
                if (batched == 16) {
                    run_queue_push_batch(own, batch, batched);
                    batched = 0;
                }
            }
            run_queue_push_batch(own, batch, batched);
            amount = (int)(random >> 8 & 0xffff) % stress->burst;
        }
        RunNode *node = NULL;
        for (int i = 0; i <= amount && (node = run_queue_pop(own)) != NULL; i++) {
            visit(stress, node);
        }
        if (node == NULL && self != 0) {
            size_t count;
            int victim = (int)(random >> 9) % WORKERS;
            if (victim != self) {
                node = run_queue_steal(&stress->queues[victim], own, &count);
            }
            if (node != NULL) {
                visit(stress, node);
            }
            else {
                sched_yield();
            }
        }
    }
    return NULL;
}

static void
run_stress(int burst)
{
    size_t size = (sizeof(Stress) + 63) / 64 * 64;
    Stress *stress = aligned_alloc(64, size);
    assert_non_null(stress);
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        run_queue_init(&stress->queues[i]);
        /* close to the end of the range, so that the positions go round during the test */
        atomic_store(&stress->queues[i].head, UINT32_MAX - 20000);
        atomic_store(&stress->queues[i].tail, UINT32_MAX - 20000);
    }
    stress->burst = burst;
    atomic_init(&stress->next_worker, 0);
    atomic_init(&stress->taken, 0);
    atomic_init(&stress->mismatches, 0);
    stress->items = calloc(STRESS_NODES, sizeof(Item));
    assert_non_null(stress->items);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, stress), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    size_t once = 0;
    for (size_t i = 0; i < STRESS_NODES; i++) {
        once += atomic_load(&stress->items[i].seen) == 1;
    }
    assert_int_equal(once, STRESS_NODES);
    assert_int_equal(atomic_load(&stress->taken), STRESS_NODES);
    assert_int_equal(atomic_load(&stress->mismatches), 0);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(run_queue_length(&stress->queues[i]), 0);
    }
    free(stress->items);
    free(stress);
}

static void
test_every_node_is_seen_once_when_the_ring_is_nearly_empty(void **state)
{
    (void)state;
    run_stress(5);
}

static void
test_every_node_is_seen_once_when_the_ring_overflows(void **state)
{
    (void)state;
    run_stress(1000);
}

typedef struct Watch {
    RunQueue queue;
    Item items[400];
    atomic_uint epoch; /* odd: one and the same node is in the queue all the time; 0: the end */
    atomic_int misses;
    atomic_size_t watched; /* calls that fell into one odd epoch */
} Watch;

static void *
watch_length(void *argument)
{
    Watch *watch = argument;
    unsigned before;
    while ((before = atomic_load(&watch->epoch)) != 0) {
        size_t length = run_queue_length(&watch->queue);
        if (before % 2 == 1 && atomic_load(&watch->epoch) == before) {
            atomic_fetch_add(&watch->watched, 1);
            if (length == 0) {
                atomic_fetch_add(&watch->misses, 1);
            }
        }
    }
    return NULL;
}

static void
test_a_node_that_moves_from_the_overflow_to_the_ring_is_never_out_of_sight(void **state)
{
    (void)state;
    static Watch watch;
    pthread_t thread;
    run_queue_init(&watch.queue);
    atomic_store(&watch.epoch, 2);
    assert_int_equal(pthread_create(&thread, NULL, watch_length, &watch), 0);
    uint64_t give_up = clock_now_ns() + UINT64_C(10000000000);
    for (int round = 0;
         round < 3000 || (atomic_load(&watch.watched) < 100 && clock_now_ns() < give_up); round++) {
        int count = 257 + round % 140; /* the last of them starts in the overflow */
        for (int i = 0; i < count; i++) {
            run_queue_push(&watch.queue, &watch.items[i].node);
        }
        for (int i = 0; i < 255; i++) {
            run_queue_pop(&watch.queue);
        }
        atomic_fetch_add(&watch.epoch, 1);
        for (int i = 255; i < count - 1; i++) {
            run_queue_pop(&watch.queue);
        }
        atomic_fetch_add(&watch.epoch, 1);
        run_queue_pop(&watch.queue);
    }
    atomic_store(&watch.epoch, 0);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&watch.misses), 0);
    assert_true(atomic_load(&watch.watched) >= 100);
    assert_int_equal(run_queue_length(&watch.queue), 0);
}

#define RUN_QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_QUEUE_TEST(test_new_queue_is_empty),
        RUN_QUEUE_TEST(test_owner_gets_nodes_in_order_of_pushing),
        RUN_QUEUE_TEST(test_order_is_kept_through_the_overflow),
        RUN_QUEUE_TEST(test_push_waits_behind_the_overflow_when_the_ring_has_room_again),
        RUN_QUEUE_TEST(test_order_is_kept_for_pushes_and_pops_in_any_mixture),
        RUN_QUEUE_TEST(test_positions_go_round_at_the_end_of_their_range),
        RUN_QUEUE_TEST(test_batch_is_appended_in_order),
        RUN_QUEUE_TEST(test_batch_that_does_not_fit_continues_in_the_overflow),
        RUN_QUEUE_TEST(test_steal_takes_the_older_half),
        RUN_QUEUE_TEST(test_steal_takes_a_lone_node),
        RUN_QUEUE_TEST(test_steal_reaches_the_overflow_when_the_ring_is_empty),
        RUN_QUEUE_TEST(test_steal_into_a_queue_that_holds_nodes_keeps_its_order),
        RUN_QUEUE_TEST(test_head_moves_with_every_node_that_leaves_the_ring),
        cmocka_unit_test(test_every_node_is_seen_once_when_the_ring_is_nearly_empty),
        cmocka_unit_test(test_every_node_is_seen_once_when_the_ring_overflows),
        cmocka_unit_test(
            test_a_node_that_moves_from_the_overflow_to_the_ring_is_never_out_of_sight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
