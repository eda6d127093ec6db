/* Explorer: see explore.h for what it does; here is how.
 *
 * Depth first and without saved states: a run is a list of decisions, the next run repeats all but the last of them. A thread
 * can be interrupted before each operation on memory that several threads use; which memory that is, the explorer learns
 * (when it finds more of it, it begins again).
 *
 * Two runs whose operations are ordered in the same way where they concern the same memory are in the same state, however
 * they were interleaved. So the history of each thread and of each location is kept as a hash, and a state that was
 * seen before (with as many preemptions left) is not explored again. This is what makes it possible to be complete.
 */
#include "explore.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define MOST_THREADS 8
#define MOST_OPTIONS (3 * MOST_THREADS)
#define MOST_DECISIONS 20000
#define MOST_STEPS 20000
#define MOST_DELAYED 16
#define MOST_LOCALS 4
#define STACK_SIZE (128u << 10)
#define MEMORY_SIZE (8u << 20)
#define LOCATIONS (1u << 14)
#define START_OF_TIME 1000000000u

typedef struct Delayed { /* a store that others do not see yet */
    void *address;
    char value[8];
    size_t size;
    uint64_t hash;
    const char *where;
} Delayed;

typedef struct Thread {
    const char *name;
    void (*function)(void *);
    void *argument;
    jmp_buf jump;
    ucontext_t entry;
    bool started;
    bool ended;
    const char *where;     /* what it does next */
    bool (*ready)(void *); /* NULL: it can go on */
    void *ready_argument;
    uint64_t deadline; /* of a wait */
    uint64_t hash;     /* of all that it has seen */
    unsigned steps;
    Delayed delayed[MOST_DELAYED];
    unsigned delayed_count;
    uint64_t delayed_hash; /* of all delayed stores that became visible */
    char locals[MOST_LOCALS][16];
    int error;
} Thread;

typedef struct Location {
    const void *address;
    uint32_t run;     /* in which the following is valid */
    uint64_t changed; /* hash of the last change ... */
    uint64_t read;    /* ... and of the looks since then */
    int8_t thread;    /* the only one that has used it in this run; -1: none yet, -2: several */
    bool was_changed;
    bool shared; /* learned */
    bool tried;  /* a mutex that is tried to be locked: who holds it is seen by others. Learned */
} Location;

typedef struct Decision {
    uint8_t count;
    uint8_t chosen;
    int8_t cost[MOST_OPTIONS];
} Decision;

typedef struct Seen {
    uint64_t key;
    int left;
} Seen;

static struct {
    const Model *model;
    jmp_buf jump; /* back to the main loop */
    enum { RUN_ENDED = 1, RUN_PRUNED, RUN_FAILED } outcome;

    Thread threads[MOST_THREADS];
    int thread_count;
    Thread *current;
    bool starting; /* in the model's own functions: nothing is a step */
    int left;      /* preemptions */
    uint64_t now;
    uint64_t clock_hash;
    unsigned steps;
    uint32_t run;
    struct {
        void *variable;
        size_t size;
    } locals[MOST_LOCALS];
    int local_count;
    size_t memory_used;

    Decision *decisions;
    unsigned decision_count; /* of the run to repeat, and of what it adds */
    unsigned decided;        /* in this run */
    bool learned;            /* a shared location: begin again */
    bool tracing;

    Seen *seen;
    size_t seen_size;
    size_t seen_count;
    Location locations[LOCATIONS];

    const char *failure;
    const char *failure_where;
    uint64_t runs;
    unsigned deepest;
} x;

static char stacks[MOST_THREADS][STACK_SIZE] __attribute__((aligned(64)));
static char memory[MEMORY_SIZE] __attribute__((aligned(65536)));
static char signal_stack[64 << 10];

/* ---- hashing --------------------------------------------------------------------------------------------- */

static uint64_t
mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
    h *= 0x94d049bb133111ebu;
    return h ^ (h >> 32);
}

static uint64_t
mix_text(uint64_t a, const char *text)
{
    for (; *text != '\0'; text++) {
        a = a * 1099511628211u ^ (uint64_t)(unsigned char)*text;
    }
    return a;
}

static uint64_t
state_key(void)
{
    uint64_t key = mix(x.clock_hash, x.now);

    for (int i = 0; i < x.thread_count; i++) {
        Thread *thread = &x.threads[i];
        key = mix(key, thread->hash);
        key = mix(key, thread->delayed_hash);
    }
    return key;
}

/* Was the state seen, with at least as many preemptions left? It is now. */
static bool
state_was_seen(uint64_t key)
{
    if (x.seen_count * 4 >= x.seen_size * 3) {
        Seen *before = x.seen;
        size_t size = x.seen_size;
        x.seen_size = size == 0 ? 1u << 16 : size * 2;
        x.seen = calloc(x.seen_size, sizeof(Seen));
        for (size_t i = 0; i < size; i++) {
            if (before[i].key != 0) {
                size_t place = before[i].key & (x.seen_size - 1);
                while (x.seen[place].key != 0) {
                    place = (place + 1) & (x.seen_size - 1);
                }
                x.seen[place] = before[i];
            }
        }
        free(before);
    }
    key = key == 0 ? 1 : key;
    size_t place = key & (x.seen_size - 1);
    while (x.seen[place].key != 0 && x.seen[place].key != key) {
        place = (place + 1) & (x.seen_size - 1);
    }
    if (x.seen[place].key == key &&
        (x.seen[place].left >= x.left || x.model->preemptions == MODEL_ALL)) {
        return true;
    }
    x.seen_count += x.seen[place].key == 0;
    x.seen[place] = (Seen){key, x.left};
    return false;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

void *
model_memory_used(size_t size, size_t alignment)
{
    size_t start = (x.memory_used + alignment - 1) / alignment * alignment;

    if (start + size > MEMORY_SIZE) {
        model_fail("the explorer's memory is used up", MODEL_WHERE);
    }
    x.memory_used = start + size;
    return memory + start;
}

void *
model_memory(size_t size, size_t alignment)
{
    return memset(model_memory_used(size, alignment), 0, size);
}

static Location *
location_of(const void *address)
{
    uint32_t place = (uint32_t)(mix((uintptr_t)address, 1) & (LOCATIONS - 1));

    while (x.locations[place].address != address) {
        if (x.locations[place].address == NULL) {
            x.locations[place].address = address;
            break;
        }
        place = (place + 1) & (LOCATIONS - 1);
    }
    Location *location = &x.locations[place];
    if (location->run != x.run) {
        location->run = x.run;
        location->changed = location->read = 0;
        location->thread = -1;
        location->was_changed = false;
    }
    return location;
}

/* ---- leaving a run --------------------------------------------------------------------------------------- */

static _Noreturn void
run_leave(int outcome)
{
    x.outcome = outcome;
    _longjmp(x.jump, 1);
}

_Noreturn void
model_fail(const char *what, const char *where)
{
    x.failure = what;
    x.failure_where = where;
    run_leave(RUN_FAILED);
}

static void
crashed(int number)
{
    model_fail(number == SIGSEGV ? "the program crashed" : "the program aborted", "");
}

static void
trace(const char *what, const char *where)
{
    if (x.tracing) {
        printf("    %-12s %-14s %s\n", x.current != NULL ? x.current->name : "", what, where);
    }
}

/* ---- switching ------------------------------------------------------------------------------------------- */

/* Decides who runs next, and lets him run. Returns when it is the caller. */
static void threads_switch(void);

static void
thread_main(void)
{
    x.current->hash = mix(x.current->hash, 9); /* it has begun: that is a step, too */
    x.current->function(x.current->argument);
    model_fence();
    x.current->ended = true;
    threads_switch();
    abort(); /* never resumed */
}

static void
switch_to(Thread *thread)
{
    Thread *before = x.current;

    if (thread == before) {
        return;
    }
    if (before != NULL) {
        for (int i = 0; i < x.local_count; i++) {
            memcpy(before->locals[i], x.locals[i].variable, x.locals[i].size);
        }
        before->error = errno;
    }
    for (int i = 0; i < x.local_count; i++) {
        memcpy(x.locals[i].variable, thread->locals[i], x.locals[i].size);
    }
    errno = thread->error;
    x.current = thread;
    if (before != NULL && _setjmp(before->jump) != 0) {
        return;
    }
    if (thread->started) {
        _longjmp(thread->jump, 1);
    }
    thread->started = true;
    setcontext(&thread->entry);
}

/* ---- decisions ------------------------------------------------------------------------------------------- */

/* One of `count` options, of which each costs some preemptions. `salt` tells apart kinds of decisions in one state. */
static unsigned
decide(unsigned count, const int8_t *cost, uint64_t salt)
{
    unsigned chosen = 0;

    if (count > 1) {
        if (x.decided == x.decision_count) {
            if (!x.tracing && state_was_seen(mix(state_key(), salt))) {
                run_leave(RUN_PRUNED);
            }
            if (x.decision_count == MOST_DECISIONS) {
                model_fail("too many decisions in one run", MODEL_WHERE);
            }
            Decision *decision = &x.decisions[x.decision_count++];
            decision->count = (uint8_t)count;
            decision->chosen = 0;
            memcpy(decision->cost, cost, count);
        }
        chosen = x.decisions[x.decided++].chosen;
    }
    x.left -= cost[chosen];
    return chosen;
}

/* The next run: the last decision that has another option takes it. False: everything was tried. */
static bool
decisions_advance(void)
{
    while (x.decision_count > 0) {
        Decision *decision = &x.decisions[x.decision_count - 1];
        if (++decision->chosen < decision->count) {
            return true;
        }
        x.decision_count--;
    }
    return false;
}

unsigned
model_choose(unsigned count)
{
    static const int8_t free_of_cost[MOST_OPTIONS];
    unsigned chosen = decide(count, free_of_cost, 1);

    if (x.current != NULL) {
        x.current->hash = mix(x.current->hash, chosen + 1000);
    }
    return chosen;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

/* Records that the hash's owner has looked at or changed a location. */
static void
record(uint64_t *hash, Location *location, bool changes, const char *where)
{
    x.current->steps++;
    if (++x.steps > MOST_STEPS) {
        model_fail("the run does not end", where);
    }
    *hash = mix(mix(*hash, location->changed), changes ? location->read : 7);
    if (changes) {
        location->changed = *hash;
        location->read = 0;
    }
    else {
        location->read += mix(*hash, 3);
    }
}

/* A thread is about to use the location. Is it known to be shared? */
static bool
location_use(Location *location, bool changes)
{
    int8_t self = (int8_t)(x.current - x.threads);

    if (location->thread == -1) {
        location->thread = self;
    }
    else if (location->thread != self) {
        location->thread = -2;
    }
    location->was_changed = location->was_changed || changes;
    if (!location->shared && location->thread == -2 && location->was_changed) {
        location->shared = true;
        x.learned = true;
    }
    return location->shared;
}

static void
delayed_show(Thread *thread)
{
    Delayed *delayed = &thread->delayed[0];
    Location *location = location_of(delayed->address);

    if (x.tracing) {
        printf("    %-12s %-14s %s\n", thread->name, "now visible", delayed->where);
    }
    memcpy(delayed->address, delayed->value, delayed->size);
    thread->delayed_hash = mix(thread->delayed_hash, delayed->hash);
    record(&thread->delayed_hash, location, true, delayed->where);
    thread->delayed_count--;
    memmove(delayed, delayed + 1, thread->delayed_count * sizeof(Delayed));
}

void
model_fence(void)
{
    while (x.current != NULL && x.current->delayed_count > 0) {
        delayed_show(x.current);
    }
}

static bool
can_run(Thread *thread)
{
    if (thread->ended) {
        return false;
    }
    return thread->ready == NULL || thread->deadline <= x.now ||
           thread->ready(thread->ready_argument);
}

/* The earliest time that somebody waits for; MODEL_FOREVER if nobody does. */
static uint64_t
next_deadline(void)
{
    uint64_t next = MODEL_FOREVER;

    for (int i = 0; i < x.thread_count; i++) {
        Thread *thread = &x.threads[i];
        if (!thread->ended && thread->ready != NULL && thread->deadline > x.now &&
            thread->deadline < next) {
            next = thread->deadline;
        }
    }
    return next;
}

static void
time_advance(uint64_t until)
{
    x.now = until;
    x.clock_hash = mix(x.clock_hash, state_key());
    if (x.tracing) {
        printf("    time passes: %.6f s\n", (double)(until - START_OF_TIME) / 1e9);
    }
}

static void
run_finish(void)
{
    x.starting = true;
    if (x.model->finish != NULL) {
        x.model->finish();
    }
    run_leave(RUN_ENDED);
}

/* Nobody can go on. */
static void
all_wait(void)
{
    bool ended = true;

    for (int i = 0; i < x.thread_count; i++) {
        ended = ended && x.threads[i].ended;
    }
    if (ended) {
        run_finish();
    }
    if (x.model->quiet != NULL) {
        x.starting = true;
        ModelQuiet quiet = x.model->quiet();
        x.starting = false;
        if (quiet == QUIET_DONE) {
            run_finish();
        }
    }
    uint64_t next = next_deadline();
    if (next == MODEL_FOREVER) {
        if (x.tracing) {
            for (int i = 0; i < x.thread_count; i++) {
                printf("    %-12s %-14s %s\n", x.threads[i].name,
                       x.threads[i].ended ? "has ended" : "waits", x.threads[i].where);
            }
        }
        model_fail("a deadlock: all threads wait", "");
    }
    time_advance(next);
}

static void
threads_switch(void)
{
    for (;;) {
        enum { VISIBLE = MOST_THREADS, TIME = 2 * MOST_THREADS };
        int options[MOST_OPTIONS];
        int8_t cost[MOST_OPTIONS] = {0};
        unsigned count = 0;
        int self = (int)(x.current - x.threads);
        bool goes_on = can_run(x.current);

        if (goes_on) {
            options[count++] = self;
        }
        for (int i = 0; i < x.thread_count; i++) {
            if (i != self && (!goes_on || x.left > 0) && can_run(&x.threads[i])) {
                cost[count] = goes_on;
                options[count++] = i;
            }
        }
        unsigned runnable = count;
        for (int i = 0; i < x.thread_count; i++) {
            if (x.threads[i].delayed_count > 0) {
                options[count++] = VISIBLE + i;
            }
        }
        if (runnable > 0 && x.model->time_passes && x.left > 0 &&
            next_deadline() != MODEL_FOREVER) {
            cost[count] = 1;
            options[count++] = TIME;
        }
        if (count == 0) {
            all_wait();
            continue;
        }
        uint64_t salt = 2;
        if (x.model->preemptions != MODEL_ALL) {
            salt = goes_on ? 16 + (uint64_t)self : 3;
        }
        int chosen = options[decide(count, cost, salt)];
        if (chosen == TIME) {
            time_advance(next_deadline());
        }
        else if (chosen >= VISIBLE) {
            delayed_show(&x.threads[chosen - VISIBLE]);
        }
        else {
            switch_to(&x.threads[chosen]);
            return;
        }
    }
}

/* The thread is about to use a location; others may run before. True: the use is a step to be recorded. */
static bool
step_begin(Location *location, bool changes, const char *where)
{
    if (!location_use(location, changes)) {
        return false;
    }
    x.current->where = where;
    threads_switch();
    return true;
}

static void
step(const void *address, bool changes, const char *what, const char *where)
{
    Location *location = location_of(address);

    if (step_begin(location, changes, where)) {
        record(&x.current->hash, location, changes, where);
        trace(what, where);
    }
}

/* ---- operations ------------------------------------------------------------------------------------------ */

static bool
is_step(void)
{
    return x.current != NULL && !x.starting;
}

void
model_load(const void *address, void *value, size_t size, int order, const char *where)
{
    (void)order;
    if (is_step()) {
        for (unsigned i = x.current->delayed_count; i-- > 0;) {
            Delayed *delayed = &x.current->delayed[i];
            if (delayed->address == address) {
                memcpy(value, delayed->value, size);
                return;
            }
        }
        step(address, false, "load", where);
        if (x.tracing) {
            uint64_t shown = 0;
            memcpy(&shown, address, size < 8 ? size : 8);
            if (location_of(address)->shared) {
                printf("    %-12s %-14s = %#llx\n", "", "", (unsigned long long)shown);
            }
        }
    }
    memcpy(value, address, size);
}

void
model_store(void *address, const void *value, size_t size, int order, const char *where)
{
    if (is_step()) {
        Location *location = location_of(address);
        Thread *self = x.current;
        if (x.model->store_buffers && order != memory_order_seq_cst &&
            location_use(location, true)) {
            static const int8_t cost[] = {0, 1};
            bool delay = self->delayed_count > 0 || (x.left > 0 && decide(2, cost, 4) == 1);
            if (delay && self->delayed_count < MOST_DELAYED) {
                Delayed *delayed = &self->delayed[self->delayed_count++];
                delayed->address = address;
                memcpy(delayed->value, value, size);
                delayed->size = size;
                delayed->where = where;
                self->hash = delayed->hash = mix(mix(self->hash, 11), (uintptr_t)address);
                trace("store, later", where);
                return;
            }
        }
        else if (order == memory_order_seq_cst) {
            model_fence();
        }
        step(address, true, "store", where);
    }
    memcpy(address, value, size);
}

void
model_change(const void *address, const char *where)
{
    if (is_step()) {
        model_fence();
        step(address, true, "change", where);
    }
}

void
model_touch(const void *address)
{
    Location *location = location_of(address);

    if (location_use(location, true)) {
        record(&x.current->hash, location, true, x.current->where);
    }
}

bool
model_compare(const void *address, const void *expected, size_t size, const char *where)
{
    if (is_step()) {
        model_fence();
        Location *location = location_of(address);
        bool noted = step_begin(location, true, where);
        bool equal = memcmp(address, expected, size) == 0;
        if (noted) {
            record(&x.current->hash, location, equal, where);
            trace(equal ? "swap" : "swap, in vain", where);
        }
        return equal;
    }
    return memcmp(address, expected, size) == 0;
}

static bool
is_unlocked(void *word)
{
    return *(uint32_t *)word == 0;
}

void
model_lock(uint32_t *word, const char *where)
{
    if (is_step()) {
        model_fence();
        Location *location = location_of(word);
        if (location_use(location, true)) {
            x.current->ready = is_unlocked;
            x.current->ready_argument = word;
            x.current->deadline = MODEL_FOREVER;
            x.current->where = where;
            threads_switch();
            x.current->ready = NULL;
            record(&x.current->hash, location, true, where);
            trace("lock", where);
        }
        if (*word != 0) {
            model_fail("a thread locks what it has locked", where);
        }
    }
    *word = 1;
}

bool
model_try_lock(uint32_t *word, const char *where)
{
    if (is_step()) {
        Location *location = location_of(word);
        if (!location->tried) {
            location->tried = x.learned = true;
        }
        uint32_t unlocked = 0;
        if (!model_compare(word, &unlocked, sizeof(unlocked), where)) {
            return false;
        }
    }
    *word = 1;
    return true;
}

void
model_unlock(uint32_t *word, const char *where)
{
    if (is_step()) {
        model_fence();
        Location *location = location_of(word);
        if (*word == 0) {
            model_fail("unlocks what is not locked", where);
        }
        if (location->tried) {
            step(word, true, "unlock", where);
        }
        else if (location_use(location, true)) {
            /* nobody sees the difference to unlocking right after what came before: no switch */
            record(&x.current->hash, location, true, where);
            trace("unlock", where);
        }
    }
    *word = 0;
}

bool
model_wait(bool (*ready)(void *), void *argument, uint64_t deadline, const void *address,
           const char *where)
{
    Thread *self = x.current;

    model_fence();
    location_use(location_of(address), true);
    self->ready = ready;
    self->ready_argument = argument;
    self->deadline = deadline;
    self->where = where;
    threads_switch();
    self->ready = NULL;
    bool is_ready = ready(argument);
    record(&self->hash, location_of(address), true, where);
    self->hash = mix(self->hash, is_ready ? 5 : mix(x.clock_hash, 6));
    trace(is_ready ? "goes on" : "time is up", where);
    return is_ready;
}

/* Has everybody who can run made a step since `argument`, counts of the steps of all threads? */
static bool
others_stepped(void *argument)
{
    const unsigned *before = argument;

    for (int i = 0; i < x.thread_count; i++) {
        Thread *thread = &x.threads[i];
        bool yields = thread->ready == others_stepped;
        if (!yields && thread->steps == before[i] && can_run(thread)) {
            return false;
        }
    }
    return true;
}

int
model_yield(const char *where)
{
    unsigned before[MOST_THREADS];
    Thread *self = x.current;

    model_fence();
    for (int i = 0; i < x.thread_count; i++) {
        before[i] = x.threads[i].steps;
        self->hash = mix(self->hash, before[i]);
    }
    self->ready = others_stepped;
    self->ready_argument = before;
    self->deadline = MODEL_FOREVER;
    self->where = where;
    threads_switch();
    self->ready = NULL;
    self->hash = mix(self->hash, 12);
    trace("goes on", where);
    return 0;
}

uint64_t
model_clock(void)
{
    if (is_step()) {
        x.current->hash = mix(x.current->hash, x.clock_hash);
    }
    return x.now;
}

void
model_pass_time(uint64_t nanoseconds)
{
    time_advance(x.now + nanoseconds);
    x.current->hash = mix(x.current->hash, x.clock_hash);
}

/* ---- the main loop --------------------------------------------------------------------------------------- */

void
model_thread(const char *name, void (*function)(void *), void *argument)
{
    Thread *thread = &x.threads[x.thread_count];
    char *stack = stacks[x.thread_count++];

    memset(thread, 0, sizeof(*thread));
    thread->name = name;
    thread->function = function;
    thread->argument = argument;
    thread->where = "(not started)";
    thread->hash = mix_text((uint64_t)x.thread_count, name);
    getcontext(&thread->entry);
    thread->entry.uc_stack.ss_sp = stack;
    thread->entry.uc_stack.ss_size = STACK_SIZE;
    thread->entry.uc_link = NULL;
    makecontext(&thread->entry, thread_main, 0);
}

void
model_local(void *variable, size_t size)
{
    x.locals[x.local_count].variable = variable;
    x.locals[x.local_count++].size = size;
}

static void
run(void)
{
    x.run++;
    x.thread_count = 0;
    x.local_count = 0;
    x.memory_used = 0;
    x.steps = 0;
    x.decided = 0;
    x.left = x.model->preemptions;
    x.now = START_OF_TIME;
    x.clock_hash = 1;
    x.current = NULL;
    x.starting = true;
    if (_setjmp(x.jump) == 0) {
        x.model->start();
        for (int i = 0; i < x.local_count; i++) {
            memset(x.locals[i].variable, 0, x.locals[i].size);
        }
        x.starting = false;
        /* whoever comes first: as if a thread that cannot go on had been running */
        unsigned first = model_choose((unsigned)x.thread_count);
        switch_to(&x.threads[first]);
    }
}

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
report_failure(void)
{
    const char *failure = x.failure;

    printf("\n  %s\n  %s\n  The steps of this run, number %llu:\n", failure, x.failure_where,
           (unsigned long long)x.runs);
    x.tracing = true;
    run();
    x.tracing = false;
    printf("  %s: %s\n", x.model->name, failure);
}

/* False: something is wrong. */
static bool
explore(const Model *model)
{
    double start = seconds();
    double shown = start;
    bool more = true;

    x.model = model;
    x.decision_count = 0;
    x.runs = 0;
    x.deepest = 0;
    memset(x.locations, 0, sizeof(x.locations));
    memset(x.seen, 0, x.seen_size * sizeof(Seen));
    x.seen_count = 0;
    while (more) {
        x.learned = false;
        run();
        x.runs++;
        x.deepest = x.steps > x.deepest ? x.steps : x.deepest;
        if (x.outcome == RUN_FAILED) {
            report_failure();
            return false;
        }
        if (x.learned) {
            x.decision_count = 0;
            memset(x.seen, 0, x.seen_size * sizeof(Seen));
            x.seen_count = 0;
            continue;
        }
        more = decisions_advance();
        if ((x.runs & 1023) == 0 && seconds() - shown > 10) {
            shown = seconds();
            printf("  %s: %llu runs, %zu states so far\n", model->name, (unsigned long long)x.runs,
                   x.seen_count);
            fflush(stdout);
        }
    }
    char bound[32];
    snprintf(bound, sizeof(bound), model->preemptions == MODEL_ALL ? "all" : "up to %d",
             model->preemptions);
    printf("  %-44s %9zu states %9llu schedules  depth %4u  preemptions %-7s %s %6.1f s\n",
           model->name, x.seen_count, (unsigned long long)x.runs, x.deepest, bound,
           model->store_buffers ? "TSO" : "SC ", seconds() - start);
    fflush(stdout);
    return true;
}

/* Arguments: the names of the models to explore; none: all. */
int
main(int argc, char **argv)
{
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK | SA_NODEFER};
    bool good = true;

    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
    x.decisions = calloc(MOST_DECISIONS, sizeof(Decision));
    for (const Model *model = models; model->name != NULL; model++) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; i++) {
            wanted = wanted || strstr(model->name, argv[i]) != NULL;
        }
        good = good && (!wanted || explore(model));
    }
    return good ? 0 : 1;
}
