/* Models of the scheduler: no task is forgotten while workers search, park, poll and are called.
 *
 * Real: scheduler.c, worker queues, parker, driver, poller, timers, the end of a run. A task here is a function of the model,
 * which takes the place of the run loop.
 *
 * "Nothing can happen any more but that time passes" is the moment to look: then no task may be left that no worker is on
 * its way to. What only the watcher finds may wait for it, that is, for its next look.
 */
#include "engine.h"
#include "errors.h"
#include "runtime/inspect.h"
#include "runtime/parking.h"

#define MOST_TASKS 4

typedef struct Job {
    Task *task;
    void (*function)(void);
    _Atomic bool *ran; /* in memory that the explorer sees */
    uint64_t ran_at;
} Job;

_Thread_local uint32_t mutex_contention; /* core/mutex.c is not there */

static Runtime *runtime;
static Job jobs[MOST_TASKS];
static int job_count;
static uint64_t due;      /* when the timer of job 1 is; 0: it has none */
static uint64_t finished; /* jobs that have run */
static int expected;      /* so many are to run */
static int fd;
static bool looked; /* for a deadlock, while all others were parked */

/* ---- what is not real ------------------------------------------------------------------------------------ */

Deadlock
inspect_is_deadlocked(Worker *worker)
{
    if (!worker_is_alone(worker)) {
        return DEADLOCK_UNSURE;
    }
    looked = true;
    return DEADLOCK_NONE;
}

/* Runs a task to its end. */
void
task_run(Worker *worker, Task *task)
{
    Job *job = &jobs[task->index];

    worker->task = task;
    model_check(task == job->task && job->ran_at == 0);
    job->ran_at = model_clock();
    finished++;
    if (job->function != NULL) {
        job->function();
    }
    atomic_store_explicit(job->ran, true, memory_order_relaxed);
    worker->task = NULL;
    /* relaxed: as in task_run.c */
    atomic_store_explicit(&worker->finished,
                          atomic_load_explicit(&worker->finished, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void
works(void *worker)
{
    current_worker = worker;
    scheduler_run_worker(worker);
}

static bool
job_ran(void *job)
{
    return *(bool *)((Job *)job)->ran;
}

/* A task that does not give its thread back until another one has run. */
static void
wait_for(int job)
{
    model_wait(job_ran, &jobs[job], MODEL_FOREVER, jobs[job].ran, MODEL_WHERE " in a task");
}

/* ---- set-up ---------------------------------------------------------------------------------------------- */

static void
begin(int workers)
{
    runtime = engine_start(workers);
    atomic_store_explicit(&runtime->started, workers, memory_order_relaxed);
    job_count = 0;
    due = 0;
    finished = 0;
    expected = 0;
    looked = false;
    for (int i = 0; i < workers; i++) {
        model_thread(i == 0   ? "worker 0"
                     : i == 1 ? "worker 1"
                              : "worker 2",
                     works, &runtime->workers[i]);
    }
}

/* A job whose task is parked: whoever claims it lets it run. */
static Job *
job_new(void (*function)(void))
{
    Job *job = &jobs[job_count];
    TaskChain none = TASK_CHAIN_EMPTY;

    *job = (Job){.function = function};
    job->ran = model_memory(sizeof(*job->ran), 8);
    job->task = runtime_new_task(runtime, Py_NewRef(Py_None), NULL, (uint32_t)job_count++);
    model_check(task_try_park(job->task) && none.count == 0);
    expected++;
    return job;
}

static void
wake(int job)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    task_claim(jobs[job].task, TASK_COMPLETED, &chain);
    scheduler_wake_chain(&chain);
}

/* Lets a task run from the beginning. */
static void
wake_at_start(int job)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    task_claim(jobs[job].task, TASK_COMPLETED, &chain);
    inject_queue_push(&runtime->inject, &jobs[job].task->run);
}

static bool
anything_queued(void)
{
    bool queued = inject_queue_length(&runtime->inject) > 0;

    for (int i = 0; i < runtime->worker_count; i++) {
        Worker *worker = &runtime->workers[i];
        queued = queued || worker->slot != NULL || inject_queue_length(&worker->pinned) > 0 ||
                 inject_queue_length(&worker->handed) > 0 || run_queue_length(&worker->queue) > 0;
    }
    return queued;
}

/* All jobs have run; or nothing is queued, and the next thing is that a timer is due. */
static ModelQuiet
quiet_at_once(void)
{
    if (due != 0 && model_clock() / 1000 < due) {
        model_check(!anything_queued());
        return QUIET_GO_ON;
    }
    model_check(finished == (uint64_t)expected);
    return QUIET_DONE;
}

/* A busy worker has what is queued: the watcher comes to it after two looks. */
static ModelQuiet
quiet_watched(void)
{
    if (finished == (uint64_t)expected) {
        return QUIET_DONE;
    }
    model_check(inject_queue_length(&runtime->inject) == 0);
    model_check(model_clock() < 1000000000u + 10 * 1000000u);
    return QUIET_GO_ON;
}

/* The same where time may pass at any moment, for example just before somebody begins to sleep. */
static ModelQuiet
quiet_some_time(void)
{
    model_check(model_clock() < 1000000000u + 300 * 1000000u);
    return finished == (uint64_t)expected ? QUIET_DONE : QUIET_GO_ON;
}

/* ---- a push from outside --------------------------------------------------------------------------------- */

static void
wakes_first(void *unused)
{
    (void)unused;
    wake(0);
}

static void
wakes_second(void *unused)
{
    (void)unused;
    wake(1);
}

static void
start_outside_alone(void)
{
    begin(1);
    job_new(NULL);
    model_thread("outside", wakes_first, NULL);
}

static void
start_outside(void)
{
    begin(2);
    job_new(NULL);
    model_thread("outside", wakes_first, NULL);
}

static void
start_outside_two(void)
{
    begin(2);
    job_new(NULL);
    job_new(NULL);
    model_thread("outside", wakes_first, NULL);
    model_thread("outside 2", wakes_second, NULL);
}

/* For the worker that it is pinned to. */
static void
start_pinned(void)
{
    begin(2);
    Job *job = job_new(NULL);
    model_check(task_pin(job->task, 1) == 0);
    model_thread("outside", wakes_first, NULL);
}

/* ---- timers, descriptors --------------------------------------------------------------------------------- */

/* A busy worker sets a timer that is due before whoever sleeps in the poller meant to get up. */
static void
sets_timer(void)
{
    due = model_clock() / 1000 + 300;
    driver_add_task_timer(&runtime->driver, &jobs[1].task->timer, due);
}

static void
start_timer(void)
{
    begin(2);
    job_new(sets_timer);
    job_new(NULL);
    wake_at_start(0);
}

static void
finish_timer(void)
{
    model_check(jobs[1].ran_at >= due * 1000 && jobs[1].ran_at <= due * 1000 + 2000);
}

static void
start_timer_outside(void)
{
    begin(2);
    job_new(NULL);
    job_new(NULL);
    due = model_clock() / 1000 + 300;
    driver_add_task_timer(&runtime->driver, &jobs[1].task->timer, due);
    model_thread("outside", wakes_first, NULL);
}

static void
arrives(void *unused)
{
    (void)unused;
    kernel_arrive(kernel_peer(fd), 1, MODEL_WHERE " bytes arrive");
}

static void
descriptor_new(int job)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    uint32_t tick;

    fd = kernel_open(false);
    PollSource *source = driver_add_source(&runtime->driver, fd, runtime, &chain);
    source_is_ready(source, SOURCE_READ, &tick);
    source_clear(source, SOURCE_READ, tick);
    model_check(source_arm(source, runtime, SOURCE_READ, jobs[job].task, WAIT_TOGETHER));
}

static void
start_descriptor(void)
{
    begin(2);
    job_new(NULL);
    descriptor_new(0);
    model_thread("peer", arrives, NULL);
}

/* Whoever was in the poller now runs a task that ends only when an event has been fetched by another worker. */
static void
waits_for_second(void)
{
    wait_for(1);
}

static void
start_hand_over(void)
{
    begin(2);
    job_new(waits_for_second);
    job_new(NULL);
    descriptor_new(1);
    model_thread("outside", wakes_first, NULL);
    model_thread("peer", arrives, NULL);
}

/* ---- a worker that does not come to what it has got ------------------------------------------------------- */

static void
wakes_and_waits(void)
{
    wake(1);
    wait_for(1);
}

static void
wakes_two_and_waits(void)
{
    wake(1);
    wake(2);
    wait_for(1);
    wait_for(2);
}

static void
start_slot(void)
{
    begin(2);
    job_new(wakes_and_waits);
    job_new(NULL);
    wake_at_start(0);
}

static void
start_queue(void)
{
    begin(2);
    job_new(wakes_two_and_waits);
    job_new(NULL);
    job_new(NULL);
    wake_at_start(0);
}

/* ---- workers in each other's way -------------------------------------------------------------------------- */

/* Wakes the last two tasks, and makes its worker believe that it has met the other one at a mutex all the time. */
static void
wakes_two_and_meets(void)
{
    Worker *worker = current_worker;

    wake(job_count - 2);
    wake(job_count - 1);
    atomic_store_explicit(&worker->victim, 1 - worker->id, memory_order_relaxed);
    worker->contention = mutex_contention - 1000;
    worker->watchful = 0;
    worker->until_tick = 1;
}

static void
start_handed(void)
{
    begin(2);
    job_new(wakes_two_and_meets);
    job_new(NULL);
    job_new(NULL);
    wake_at_start(0);
}

static void
waits_for_third(void)
{
    wait_for(2);
}

/* The other worker is in a long task: what is handed to it comes back. */
static void
start_handed_stuck(void)
{
    begin(2);
    job_new(waits_for_third);
    job_new(wakes_two_and_meets);
    job_new(NULL);
    job_new(NULL);
    wake_at_start(0);
    wake_at_start(1);
}

/* ---- a long quiet ------------------------------------------------------------------------------------------ */

/* Nothing has moved for so long that nobody watches any more, and whoever sleeps does so without a bound. */
static void
long_quiet(void)
{
    for (int i = 0; i < runtime->worker_count; i++) {
        runtime->workers[i].quiet_looks = 1000;
        runtime->workers[i].no_strangers = runtime->workers[i].looked_for_deadlock = true;
    }
}

static bool
never(void *unused)
{
    (void)unused;
    return false;
}

static void
wakes_first_later(void *unused)
{
    model_wait(never, NULL, model_clock() + 4000000, &due, MODEL_WHERE " a while");
    wakes_first(unused);
}

/* The worker gets its tasks when even the watcher has gone to sleep. */
static void
start_slot_later(void)
{
    begin(2);
    job_new(wakes_and_waits);
    job_new(NULL);
    long_quiet();
    model_thread("outside", wakes_first_later, NULL);
}

static void
start_slot_quiet(void)
{
    start_slot();
    long_quiet();
}

/* ---- nothing will ever happen ----------------------------------------------------------------------------- */

/* Both park, and either may be the last one. */
static void
start_deadlock(void)
{
    begin(2);
    long_quiet();
    for (int i = 0; i < runtime->worker_count; i++) {
        runtime->workers[i].looked_for_deadlock = false;
    }
}

static void
wakes_all(void *unused)
{
    (void)unused;
    workers_unpark_all(runtime);
    looked = false;
}

/* Both have looked before; then they are woken, by something for which no task runs. */
static void
start_deadlock_again(void)
{
    begin(2);
    long_quiet();
    model_thread("wakes all", wakes_all, NULL);
}

/* The watcher has to retire first. */
static ModelQuiet
quiet_looked(void)
{
    model_check(model_clock() < 1000000000u + 300 * 1000000u);
    return looked ? QUIET_DONE : QUIET_GO_ON;
}

/* ---- the end of a run ------------------------------------------------------------------------------------ */

static void
closes(void)
{
    runtime_close(runtime);
}

/* A thread that is no worker starts a task, while it may. */
static void
spawns(void *unused)
{
    (void)unused;
    if (runtime_enter("spawn") != NULL) {
        Job *job = &jobs[job_count];
        *job = (Job){0};
        job->ran = model_memory(sizeof(*job->ran), 8);
        job->task = runtime_new_task(runtime, Py_NewRef(Py_None), NULL, (uint32_t)job_count);
        if (job->task != NULL) {
            job_count++;
            expected++;
            runtime_start_task(runtime, job->task);
        }
        runtime_leave(runtime);
    }
}

static void
start_end(void)
{
    begin(2);
    job_new(closes);
    job_new(NULL); /* it waits, and is cancelled */
    wake_at_start(0);
}

static void
start_end_quiet(void)
{
    start_end();
    long_quiet();
}

static void
start_end_visited(void)
{
    begin(2);
    job_new(closes);
    wake_at_start(0);
    model_thread("spawns", spawns, NULL);
}

/* Both workers have left. */
static void
finish_end(void)
{
    model_check(finished == (uint64_t)expected && !anything_queued());
    model_check(runtime->phase == RUNTIME_ENDED);
}

const Model models[] = {
    {"park: one worker, a wake from outside", start_outside_alone, NULL, quiet_at_once, MODEL_ALL,
     false, false},
    {"park: two workers, a wake from outside", start_outside, NULL, quiet_at_once, 3, false, false},
    {"park: two workers, two wakes from outside", start_outside_two, NULL, quiet_at_once, 2, false,
     false},
    {"park: a wake of a pinned task", start_pinned, NULL, quiet_at_once, 3, false, false},
    {"park: a timer set while others park", start_timer, finish_timer, quiet_at_once, 3, false,
     false},
    {"park: a timer, and a wake from outside", start_timer_outside, finish_timer, quiet_at_once, 2,
     false, false},
    {"park: a descriptor becomes ready", start_descriptor, NULL, quiet_at_once, 3, false, false},
    {"park: the poller is handed over", start_hand_over, NULL, quiet_watched, 2, false, false},
    {"park: the slot of a stuck worker", start_slot, NULL, quiet_some_time, 3, false, true},
    {"park: the queue of a stuck worker", start_queue, NULL, quiet_watched, 3, false, false},
    {"park: work is handed over", start_handed, NULL, quiet_at_once, 2, false, false},
    {"park: work is handed to a stuck worker", start_handed_stuck, NULL, quiet_some_time, 2, false,
     false},
    {"park: a stuck worker, after a long quiet", start_slot_quiet, NULL, quiet_some_time, 3, false,
     true},
    {"park: a worker that gets stuck later on", start_slot_later, NULL, quiet_some_time, 2, false,
     true},
    {"park: all wait for ever", start_deadlock, NULL, quiet_looked, 4, false, true},
    {"park: all are woken and wait for ever", start_deadlock_again, NULL, quiet_looked, 2, false,
     true},
    {"park: the end of a run, a long quiet", start_end_quiet, finish_end, NULL, 3, false, false},
    {"park: the end of a run", start_end, finish_end, NULL, 2, false, false},
    {"park: the end, and a visitor", start_end_visited, finish_end, NULL, 2, false, false},
    {"park: a wake from outside, stores delayed", start_outside, NULL, quiet_at_once, 2, true,
     false},
    {0},
};
