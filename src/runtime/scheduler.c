/* Scheduler: which worker runs what, who sleeps, who is woken.
 *
 * A worker takes the task in its slot (woken last, its data is hot), then the oldest of its run queue, then one of the
 * inject queue; every WORKER_TICK runs, or earlier if those are long, it looks at the outside first. With nothing to run it detaches from the
 * interpreter, searches (inject queue, driver, other workers' queues) and parks: one parked worker sleeps in
 * the driver, the others on their futex.
 *
 * A second thread that only adds hand-overs makes things slower, so pushing a task wakes nobody by itself. Instead
 *   - one parked worker is the *watcher*: as long as others run it gets up every millisecond, and takes work that a
 *     busy worker has not come to since the last look. Whoever pushes while there is no watcher calls one;
 *   - a worker whose backlog is worth more than a hand-over costs wakes one *searcher*;
 *   - threads that are no workers push to the inject queue and wake a worker.
 * A watcher that sees nothing move for a while, all others being parked, goes to sleep without a bound: an idle
 * program uses no CPU.
 *
 * Why no wake-up is lost: a worker enters the list of idle ones under idle_mutex, and then looks at the inject queue
 * and the phase once more; whoever changes those takes idle_mutex afterwards and finds it in the list. The watcher
 * retires under the same mutex, and only when all others are in the list; a worker leaves the list under it, so
 * from then on it sees that there is no watcher. Who enters the list while others run and nobody watches does so himself.
 *
 * Searching, stealing, polling and parking happen detached: a thread that waits attached would hold up every
 * garbage collection.
 */
#include "runtime/scheduler.h"

#include <sched.h>

#include "core/clock.h"
#include "errors.h"
#include "runtime/blocking.h"
#include "runtime/cancel.h"
#include "runtime/inspect.h"
#include "runtime/perturb.h"
#include "support.h"

#define WATCH_INTERVAL 1000u /* microseconds between two looks of the watcher */
#define WATCH_QUIET_LOOKS 50 /* looks without any movement before it retires */
#define BREATH_INTERVAL                                                                            \
    50000u /* microseconds between two looks for references dropped by foreign threads */
#define LOOK_NS 500000u /* a busy worker looks at the outside after so long, or WORKER_TICK runs */
#define SURPLUS_NS 100000u /* a backlog worth this much wakes a searcher */
#define STEAL_NS 20000u    /* a backlog worth this much is worth stealing from */

_Thread_local Worker *current_worker __attribute__((tls_model("initial-exec")));

static Task *
task_of(RunNode *node)
{
    return node == NULL ? NULL : LIST_ENTRY(node, Task, run);
}

/* ---- idle list ------------------------------------------------------------------------------------------- */

/* Takes a worker out of the idle list if it is in it. Under idle_mutex. */
static bool
idle_take(Runtime *runtime, int id)
{
    /* relaxed: the count is written under the mutex */
    int count = atomic_load_explicit(&runtime->idle_count, memory_order_relaxed);

    for (int i = count - 1; i >= 0; i--) {
        if (runtime->idle[i] == id) {
            for (int j = i; j < count - 1; j++) {
                runtime->idle[j] = runtime->idle[j + 1];
            }
            atomic_store_explicit(&runtime->idle_count, count - 1, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

/* The worker is about to park. True: it may; false: there is something to do. */
static bool
idle_enter(Worker *worker)
{
    Runtime *runtime = worker->runtime;

    mutex_lock(&runtime->idle_mutex);
    int count = atomic_load_explicit(&runtime->idle_count, memory_order_relaxed);
    runtime->idle[count] = worker->id;
    atomic_store_explicit(&runtime->idle_count, count + 1, memory_order_relaxed);
    if (worker->searching) {
        worker->searching = false;
        atomic_fetch_sub_explicit(&runtime->searching, 1, memory_order_relaxed);
    }
    /* relaxed: see "why no wake-up is lost" */
    int started = atomic_load_explicit(&runtime->started, memory_order_relaxed);
    /* Whoever runs may have pushed while nobody was in the list to be called. */
    bool others_run = count + 1 < started;
    if (started > 1 && atomic_load_explicit(&runtime->watcher, memory_order_relaxed) < 0 &&
        (others_run || worker->quiet_looks < WATCH_QUIET_LOOKS)) {
        atomic_store_explicit(&runtime->watcher, worker->id, memory_order_relaxed);
        worker->watching = true;
    }
    mutex_unlock(&runtime->idle_mutex);
    if (runtime_is_closing(runtime)) {
        runtime_end_if_empty(runtime);
        /* acquire: pairs with the release in runtime_leave; nobody says when the last visitor has left */
        if (atomic_load_explicit(&runtime->visitors, memory_order_acquire) != 0) {
            sched_yield();
            return false;
        }
    }
    return inject_queue_length(&runtime->inject) == 0 &&
           inject_queue_length(&worker->pinned) == 0 &&
           atomic_load_explicit(&runtime->phase, memory_order_relaxed) != RUNTIME_ENDED;
}

/* The worker is up again. */
static void
idle_leave(Worker *worker)
{
    Runtime *runtime = worker->runtime;

    mutex_lock(&runtime->idle_mutex);
    idle_take(runtime, worker->id);
    if (worker->watching) {
        worker->watching = false;
        atomic_store_explicit(&runtime->watcher, -1, memory_order_relaxed);
    }
    mutex_unlock(&runtime->idle_mutex);
}

/* A watcher that has seen nothing move: may it sleep without a bound? */
static void
watcher_retire(Worker *worker)
{
    Runtime *runtime = worker->runtime;

    mutex_lock(&runtime->idle_mutex);
    int running = atomic_load_explicit(&runtime->started, memory_order_relaxed) -
                  atomic_load_explicit(&runtime->idle_count, memory_order_relaxed);
    if (running == 0) {
        worker->watching = false;
        atomic_store_explicit(&runtime->watcher, -1, memory_order_relaxed);
    }
    mutex_unlock(&runtime->idle_mutex);
}

/* Is every worker in the list of idle ones? */
static bool
all_are_idle(Runtime *runtime)
{
    /* relaxed: a hint; the last one to enter the list sees itself there */
    return atomic_load_explicit(&runtime->idle_count, memory_order_relaxed) ==
           atomic_load_explicit(&runtime->started, memory_order_relaxed);
}

/* ---- waking ---------------------------------------------------------------------------------------------- */

void
scheduler_unpark(Worker *worker)
{
    /* acq_rel: pairs with the exchange in worker_sleep; what was pushed before is seen by the worker */
    switch (atomic_exchange_explicit(&worker->park_state, PARK_NOTIFIED, memory_order_acq_rel)) {
    case PARK_ON_FUTEX:
        parker_unpark(&worker->parker);
        break;
    case PARK_IN_DRIVER:
        poller_wake(&worker->runtime->driver.poller);
        break;
    default:
        break;
    }
}

/* Gets the worker that parked last out of the idle list. NULL if there is none or, with `search`, if somebody is
 * searching already; the caller unparks it. */
static Worker *
idle_call(Runtime *runtime, bool search)
{
    Worker *worker = NULL;

    mutex_lock(&runtime->idle_mutex);
    int count = atomic_load_explicit(&runtime->idle_count, memory_order_relaxed);
    bool searched = atomic_load_explicit(&runtime->searching, memory_order_relaxed) != 0;
    if (count > 0 && !(search && searched)) {
        worker = &runtime->workers[runtime->idle[count - 1]];
        atomic_store_explicit(&runtime->idle_count, count - 1, memory_order_relaxed);
        if (search) {
            atomic_fetch_add_explicit(&runtime->searching, 1, memory_order_relaxed);
        }
        worker->searching = search;
    }
    mutex_unlock(&runtime->idle_mutex);
    return worker;
}

/* A worker that others can help has pushed a task. Nearly always two loads. */
static void
worker_pushed(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    Worker *called = NULL;
    bool watched;

    if (runtime->worker_count == 1) {
        return;
    }
    /* relaxed: see "why no wake-up is lost"; the rest are hints, the watcher corrects them */
    watched = atomic_load_explicit(&runtime->watcher, memory_order_relaxed) >= 0;
    bool idle = atomic_load_explicit(&runtime->idle_count, memory_order_relaxed) > 0;
    if (!idle) {
        if (atomic_load_explicit(&runtime->started, memory_order_relaxed) < runtime->worker_count &&
            PyThreadState_GetUnchecked() != NULL) {
            scheduler_start_worker(runtime);
        }
        return;
    }
    if (!watched) {
        called = idle_call(runtime, false);
    }
    else {
        uint64_t average = atomic_load_explicit(&worker->average_run, memory_order_relaxed);
        if (average * run_queue_length(&worker->queue) > SURPLUS_NS) {
            called = idle_call(runtime, true);
        }
    }
    if (called != NULL) {
        scheduler_unpark(called);
    }
}

/* A worker has found something to run after being idle. If it was the watcher, another one takes the watch; if there is no
 * worker left for that but more work than this, one is started. Attached. */
static void
worker_took_over(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    bool more = false;

    if (runtime->worker_count == 1) {
        return;
    }
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    for (int i = 0; i < started && !more; i++) {
        more = run_queue_length(&runtime->workers[i].queue) > 0;
    }
    if (more || atomic_load_explicit(&runtime->idle_count, memory_order_relaxed) > 0) {
        worker_pushed(worker);
    }
}

/* A task that only one worker may run, for that worker. Any thread. */
static void
pinned_push(Task *task)
{
    Runtime *runtime = task_runtime(task);
    Worker *worker = &runtime->workers[task->stack->worker];

    if (worker == current_worker) {
        inject_queue_push(&worker->pinned, &task->run);
        return;
    }
    runtime_visit(runtime); /* as in foreign_wake */
    inject_queue_push(&worker->pinned, &task->run);
    scheduler_unpark(worker); /* it is remembered: see idle_enter */
    runtime_leave(runtime);
}

static Task *
pinned_take(Worker *worker)
{
    return task_of(inject_queue_pop(&worker->pinned));
}

static void foreign_pushed(Runtime *runtime);

/* In a perturbed run a woken task gets anywhere. True: it has. */
static bool
worker_push_perturbed(Worker *worker, Task *task)
{
    perturb_delay(worker);
    switch (perturb_choose(worker, 4)) {
    case 0:
        run_queue_push(&worker->queue, &task->run);
        return true;
    case 1:
        inject_queue_push(&worker->runtime->inject, &task->run);
        foreign_pushed(worker->runtime);
        return true;
    default:
        return false;
    }
}

static void
worker_push_hot(Worker *worker, Task *task)
{
    if (is_perturbed(worker) && worker_push_perturbed(worker, task)) {
        return;
    }
    /* relaxed: only this thread fills the slot */
    if (atomic_load_explicit(&worker->slot, memory_order_relaxed) == NULL) {
        /* release: pairs with the exchange of whoever takes it */
        atomic_store_explicit(&worker->slot, task, memory_order_release);
    }
    else {
        run_queue_push(&worker->queue, &task->run);
    }
}

static void
foreign_pushed(Runtime *runtime)
{
    Worker *worker = idle_call(runtime, true);
    if (worker != NULL) {
        scheduler_unpark(worker);
    }
}

/* Tasks of one runtime that the calling thread does not work for. */
static void
foreign_wake(TaskChain *chain)
{
    Runtime *runtime = task_runtime(chain->first);

    /* The tasks keep the runtime alive until they are in the queue; after that the count of visitors does. */
    runtime_visit(runtime);
    inject_queue_push_chain(&runtime->inject, &chain->first->run, &chain->last->run, chain->count);
    foreign_pushed(runtime);
    runtime_leave(runtime);
}

void
scheduler_wake_chain(TaskChain *chain)
{
    Worker *worker = current_worker;
    TaskChain foreign = TASK_CHAIN_EMPTY;
    Task *task = chain->first;
    bool pushed = false;

    if (worker != NULL && is_perturbed(worker) && task != NULL) {
        perturb_chain(worker, chain);
        task = chain->first;
    }
    while (task != NULL) {
        Task *next = task_of(task->run.next);
        Runtime *runtime = task_runtime(task);
        if (task->flags & TASK_PINNED) {
            pinned_push(task);
        }
        else if (worker != NULL && worker->runtime == runtime) {
            worker_push_hot(worker, task);
            pushed = true;
        }
        else {
            if (foreign.count > 0 && task_runtime(foreign.first) != runtime) {
                foreign_wake(&foreign);
                foreign = (TaskChain)TASK_CHAIN_EMPTY;
            }
            task_chain_append(&foreign, task);
        }
        task = next;
    }
    if (foreign.count > 0) {
        foreign_wake(&foreign);
    }
    if (pushed) {
        worker_pushed(worker);
    }
}

void
scheduler_push(Runtime *runtime, Task *task)
{
    Worker *worker = current_worker;

    if (task->flags & TASK_PINNED) {
        pinned_push(task);
        return;
    }
    if (worker != NULL && worker->runtime == runtime) {
        run_queue_push(&worker->queue, &task->run);
        worker_pushed(worker);
        return;
    }
    inject_queue_push(&runtime->inject, &task->run);
    foreign_pushed(runtime);
}

void
scheduler_unpark_all(Runtime *runtime)
{
    /* The mutex orders the change of phase before the list of those who have not seen it. */
    mutex_lock(&runtime->idle_mutex);
    atomic_store_explicit(&runtime->idle_count, 0, memory_order_relaxed);
    mutex_unlock(&runtime->idle_mutex);
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    for (int i = 0; i < started; i++) {
        scheduler_unpark(&runtime->workers[i]);
    }
}

/* ---- finding work ---------------------------------------------------------------------------------------- */

static Task *
slot_take(Worker *worker)
{
    /* relaxed: an empty slot needs no exchange, only the owner fills it */
    if (atomic_load_explicit(&worker->slot, memory_order_relaxed) == NULL) {
        return NULL;
    }
    /* acquire: pairs with the release in worker_push_hot */
    return atomic_exchange_explicit(&worker->slot, NULL, memory_order_acquire);
}

/* A fair share of the inject queue: the first is returned, the others go to the worker's own queue. */
static Task *
inject_take(Worker *worker)
{
    RunNode *nodes[RUN_QUEUE_CAPACITY / 2];
    Runtime *runtime = worker->runtime;
    size_t share = inject_queue_length(&runtime->inject) / (size_t)runtime->worker_count + 1;
    size_t count;

    if (share > RUN_QUEUE_CAPACITY / 2) {
        share = RUN_QUEUE_CAPACITY / 2;
    }
    if (inject_queue_length(&runtime->inject) == 0) {
        return NULL;
    }
    count = inject_queue_pop_batch(&runtime->inject, nodes, share);
    if (count == 0) {
        return NULL;
    }
    run_queue_push_batch(&worker->queue, nodes + 1, count - 1);
    return task_of(nodes[0]);
}

static Task *
worker_steal_from(Worker *worker, Worker *victim)
{
    size_t count = 0;
    RunNode *node = run_queue_steal(&victim->queue, &worker->queue, &count);
    if (node != NULL) {
        /* relaxed: statistics */
        atomic_store_explicit(&worker->stolen,
                              atomic_load_explicit(&worker->stolen, memory_order_relaxed) + count,
                              memory_order_relaxed);
    }
    return task_of(node);
}

/* Looks at the others' queues, beginning anywhere. */
static Task *
worker_steal(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    /* acquire: pairs with the release in scheduler_start_worker */
    uint32_t started = (uint32_t)atomic_load_explicit(&runtime->started, memory_order_acquire);

    worker->random = worker->random * 1664525u + 1013904223u;
    uint32_t first = (worker->random >> 16) % started;
    for (uint32_t i = 0; i < started; i++) {
        Worker *victim = &runtime->workers[(first + i) % started];
        if (victim == worker) {
            continue;
        }
        /* relaxed: hints */
        uint64_t average = atomic_load_explicit(&victim->average_run, memory_order_relaxed);
        if (average * run_queue_length(&victim->queue) > STEAL_NS || is_perturbed(worker)) {
            Task *task = worker_steal_from(worker, victim);
            if (task != NULL) {
                return task;
            }
        }
    }
    return NULL;
}

/* Turns the driver without waiting; woken tasks come to this worker. */
static void
worker_look_outside(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    TaskChain chain = TASK_CHAIN_EMPTY;

    if (driver_is_due(&runtime->driver, clock_now_us()) && driver_turn_begin(&runtime->driver)) {
        driver_turn(&runtime->driver, 0, &chain);
        scheduler_wake_chain(&chain);
        cancel_spread_pending(runtime);
    }
}

/* The watcher's look at the busy workers: work that was there at the last look and has not been come to is taken. */
static Task *
watcher_look(Worker *worker, bool *moved)
{
    Runtime *runtime = worker->runtime;
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    Task *task = NULL;

    *moved = false;
    for (int i = 0; i < started && task == NULL; i++) {
        Worker *victim = &runtime->workers[i];
        if (victim == worker) {
            continue;
        }
        /* relaxed: hints */
        uint32_t progress = atomic_load_explicit(&victim->progress, memory_order_relaxed);
        uint32_t runs = progress - worker->seen_progress[i];
        size_t length = run_queue_length(&victim->queue);
        uint32_t left = run_queue_head(&victim->queue);
        bool stuck = runs == 0;

        worker->seen_progress[i] = progress;
        *moved = *moved || !stuck || length > 0;
        if (length > 0 || stuck) {
            atomic_store_explicit(&victim->average_run, WATCH_INTERVAL * 1000u / (runs + 1),
                                  memory_order_relaxed);
        }
        if (stuck) {
            task = slot_take(victim);
            *moved = *moved || task != NULL;
        }
        /* have all that were queued at the last look left the queue? */
        if (task == NULL && length > 0 && (int32_t)(worker->seen_tail[i] - left) > 0) {
            task = worker_steal_from(worker, victim);
        }
        worker->seen_tail[i] = left + (uint32_t)length;
    }
    return task;
}

/* ---- parking --------------------------------------------------------------------------------------------- */

void
scheduler_breathe(Runtime *runtime)
{
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);

    for (int i = 0; i < started; i++) {
        Worker *worker = &runtime->workers[i];
        /* relaxed: a hint; a worker that is up sees to itself */
        int state = atomic_load_explicit(&worker->park_state, memory_order_relaxed);
        if ((state == PARK_ON_FUTEX || state == PARK_IN_DRIVER) &&
            thread_state_has_requests(worker->tstate)) {
            scheduler_unpark(worker);
        }
    }
}

typedef enum SleepEnd { SLEEP_WOKEN, SLEEP_TIMED_OUT, SLEEP_ATTEND } SleepEnd;

/* Sleeps until `wake_at`: in the driver if nobody is there, else on the futex. */
static SleepEnd
worker_sleep(Worker *worker, uint64_t wake_at, TaskChain *chain)
{
    Runtime *runtime = worker->runtime;
    int expected = PARK_NONE;
    SleepEnd end = SLEEP_WOKEN;
    /* The turn comes first: what is to wake the one in the driver is fetched by whoever is there, so nobody may be taken
     * for that one before it is. */
    bool turns = driver_turn_begin(&runtime->driver);

    /* acq_rel / acquire: pairs with the exchange in scheduler_unpark */
    if (!atomic_compare_exchange_strong_explicit(&worker->park_state, &expected,
                                                 turns ? PARK_IN_DRIVER : PARK_ON_FUTEX,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        atomic_store_explicit(&worker->park_state, PARK_NONE, memory_order_relaxed);
        if (turns) {
            driver_turn_cancel(&runtime->driver);
        }
        return SLEEP_WOKEN;
    }
    if (turns) {
        driver_turn(&runtime->driver, wake_at, chain);
    }
    else {
        int64_t timeout = PARK_FOREVER;
        if (wake_at != TIMER_NEVER) {
            uint64_t now = clock_now_us();
            timeout = wake_at <= now ? 0 : (int64_t)(wake_at - now) * 1000;
        }
        if (parker_park(&worker->parker, timeout) == PARK_INTERRUPTED) {
            end = SLEEP_ATTEND;
        }
    }
    int state = atomic_exchange_explicit(&worker->park_state, PARK_NONE, memory_order_acq_rel);
    if (state != PARK_NOTIFIED && chain->count == 0 && end == SLEEP_WOKEN) {
        end = clock_now_us() >= wake_at ? SLEEP_TIMED_OUT : SLEEP_WOKEN;
    }
    return end;
}

/* Parks until there may be something to do. A task, or NULL: search again, or attend to the interpreter (*attend). */
static Task *
worker_park(Worker *worker, bool *attend)
{
    Runtime *runtime = worker->runtime;
    TaskChain chain = TASK_CHAIN_EMPTY;
    Task *task = NULL;
    bool moved = true;

    if (!idle_enter(worker)) {
        idle_leave(worker);
        return NULL;
    }
    /* relaxed: statistics */
    atomic_store_explicit(&worker->parked,
                          atomic_load_explicit(&worker->parked, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    for (;;) {
        uint64_t now = clock_now_us();
        uint64_t wake_at = TIMER_NEVER;
        if (worker->watching) {
            wake_at = now + WATCH_INTERVAL;
        }
        else if (!worker->no_strangers) {
            wake_at = now + BREATH_INTERVAL;
        }
        else if (!worker->looked_for_deadlock && all_are_idle(runtime)) {
            /* the last one to park: nobody else looks whether anybody will ever get up again */
            *attend = worker->look_for_deadlock = worker->looked_for_deadlock = true;
            break;
        }
        /* relaxed: a hint; it is set before the workers are told that the run closes */
        uint64_t warn_at = atomic_load_explicit(&runtime->warn_at, memory_order_relaxed);
        if (warn_at <= now) {
            *attend = true;
            break;
        }
        if (warn_at < wake_at) {
            wake_at = warn_at;
        }
        if (now >= worker->next_breath) {
            worker->next_breath = now + BREATH_INTERVAL;
            scheduler_breathe(runtime);
            blocking_pool_breathe(runtime->pool);
        }
        if (is_perturbed(worker)) {
            perturb_delay(worker);
        }
        SleepEnd end = worker_sleep(worker, wake_at, &chain);
        if (chain.count > 0 ||
            atomic_load_explicit(&runtime->spread_pending, memory_order_relaxed)) {
            worker->quiet_looks = 0;
            break;
        }
        if (end == SLEEP_ATTEND || thread_state_has_requests(worker->tstate) ||
            (worker->id == 0 &&
             atomic_load_explicit(&runtime->driver.signalled, memory_order_relaxed))) {
            *attend = true;
            break;
        }
        if (end == SLEEP_WOKEN) {
            worker->quiet_looks = 0;
            break;
        }
        if (worker->watching) {
            task = watcher_look(worker, &moved);
            if (task != NULL) {
                worker->quiet_looks = 0;
                break;
            }
            worker->quiet_looks = moved ? 0 : worker->quiet_looks + 1;
            if (worker->quiet_looks >= WATCH_QUIET_LOOKS) {
                watcher_retire(worker);
            }
            continue;
        }
        if (wake_at == warn_at) {
            continue;
        }
        /* Quiet for a while: are there threads that may drop a reference of ours, or nobody? */
        if (!worker->no_strangers) {
            *attend = true;
            worker->count_strangers = true;
            break;
        }
    }
    idle_leave(worker);
    if (atomic_exchange_explicit(&runtime->driver.signalled, false, memory_order_acquire)) {
        if (worker->id == 0) {
            *attend = true;
        }
        else {
            atomic_store_explicit(&runtime->driver.signalled, true, memory_order_release);
            scheduler_unpark(&runtime->workers[0]);
        }
    }
    scheduler_wake_chain(&chain);
    cancel_spread_pending(runtime);
    return task;
}

/* With nothing to run: searches and parks until there is a task. NULL: attend to the interpreter, or the end. Detached. */
static Task *
worker_idle(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    bool attend = false;
    Task *task = NULL;

    while (!attend) {
        if (!worker->swept && runtime_is_closing(runtime)) {
            /* Whoever closed the runtime may have missed tasks that were being created here just then; from now on
             * new ones are born cancelled. */
            worker->swept = true;
            runtime_cancel_tasks(runtime);
        }
        worker_look_outside(worker);
        task = slot_take(worker);
        if (task == NULL) {
            task = task_of(run_queue_pop(&worker->queue));
        }
        if (task == NULL) {
            task = pinned_take(worker);
        }
        if (task == NULL) {
            task = inject_take(worker);
        }
        if (task == NULL && runtime->worker_count > 1) {
            task = worker_steal(worker);
        }
        if (task != NULL ||
            atomic_load_explicit(&runtime->phase, memory_order_acquire) == RUNTIME_ENDED) {
            break;
        }
        task = worker_park(worker, &attend);
        if (task != NULL) {
            break;
        }
    }
    if (worker->searching) {
        worker->searching = false;
        atomic_fetch_sub_explicit(&runtime->searching, 1, memory_order_relaxed);
    }
    return task;
}

/* ---- the loop -------------------------------------------------------------------------------------------- */

/* How long a task run takes on average, measured over the runs since the last call. */
static void
worker_measure(Worker *worker, uint64_t now, uint32_t least)
{
    uint32_t runs = worker->tick - worker->period_tick;
    if (runs >= least) {
        uint64_t average = (now - worker->period_start) / runs;
        atomic_store_explicit(&worker->average_run,
                              average > UINT32_MAX ? UINT32_MAX : (uint32_t)average,
                              memory_order_relaxed); /* relaxed: a hint for thieves */
    }
    worker->period_start = now;
    worker->period_tick = worker->tick;
}

/* All workers were parked and no other thread was there. A collection first: it also merges the counts of objects that
 * other threads have dropped, which may wake somebody. */
static void
worker_look_for_deadlock(Worker *worker)
{
    if (!inspect_is_deadlocked(worker)) {
        return;
    }
    PyObject *woken = PyObject_CallFunction(support.may_be_woken, "n",
                                            (Py_ssize_t)runtime_threads(worker->runtime));
    if (woken == Py_False) {
        PyGC_Collect();
        if (inspect_is_deadlocked(worker)) {
            runtime_deadlocked(worker->runtime);
        }
    }
    else if (woken == NULL) {
        worker->looked_for_deadlock = false;
        runtime_housekeeping_failed(worker->runtime);
    }
    Py_XDECREF(woken);
}

/* Attends to what the interpreter wants of this thread (stop, merge of reference counts, signals, collection): all of that
 * happens when Python code runs, so an empty function is called. An error comes from a signal handler. */
static void
worker_attend(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    PyObject *result = PyObject_CallNoArgs(support.breathe);

    if (result == NULL) {
        runtime_housekeeping_failed(runtime);
    }
    Py_XDECREF(result);
    if (worker->count_strangers) {
        worker->count_strangers = false;
        worker->no_strangers = !runtime_has_strangers(runtime);
    }
    if (worker->look_for_deadlock) {
        worker->look_for_deadlock = false;
        worker_look_for_deadlock(worker);
    }
    /* relaxed: a hint */
    if (clock_now_us() >= atomic_load_explicit(&runtime->warn_at, memory_order_relaxed)) {
        runtime_warn_remaining(runtime);
    }
}

/* Is it time to look at the outside? After WORKER_TICK runs, which are mostly short; but while there are long ones the clock is
 * looked at after each run, so that a look is never put off for much more than LOOK_NS and one run. */
static bool
worker_is_due(Worker *worker, uint64_t now)
{
    uint32_t runs = worker->tick - worker->period_tick;

    if (now - worker->period_start > LOOK_NS) {
        worker->watchful = WATCHFUL_RUNS;
    }
    else if (worker->watchful > 0) {
        worker->watchful--;
        if (runs < WORKER_TICK) {
            worker->until_tick = 1;
            return false;
        }
    }
    worker->until_tick = worker->watchful > 0 ? 1 : WORKER_TICK;
    return true;
}

/* Looks at the outside, if it is time to. Attached. */
static void
worker_tick(Worker *worker)
{
    uint64_t now = clock_now_ns();

    if (!worker_is_due(worker, now)) {
        return;
    }
    worker_measure(worker, now, 1);
    worker_look_outside(worker);
    if (now / 1000 >= worker->next_breath) {
        worker->next_breath = now / 1000 + BREATH_INTERVAL;
        blocking_pool_breathe(worker->runtime->pool);
    }
    scheduler_breathe(worker->runtime);
    if (worker->id == 0 &&
        atomic_exchange_explicit(&worker->runtime->driver.signalled, false, memory_order_acquire)) {
        worker_attend(worker);
    }
    else if (thread_state_has_requests(worker->tstate)) {
        worker_attend(worker);
    }
}

/* In a perturbed run: work of another worker, or from outside, or the own in another order. NULL: as usual. */
static Task *
worker_next_perturbed(Worker *worker)
{
    perturb_delay(worker);
    switch (perturb_choose(worker, 8)) {
    case 0:
        return worker_steal(worker);
    case 1:
        return inject_take(worker);
    case 2:
        worker->slot_streak = WORKER_SLOT_STREAK; /* the queue first */
        break;
    case 3:
    case 4:
        for (uint32_t moves = perturb_choose(worker, 4); moves > 0; moves--) {
            RunNode *node = run_queue_pop(&worker->queue);
            if (node == NULL) {
                break;
            }
            run_queue_push(&worker->queue, node);
        }
        break;
    default:
        break;
    }
    return NULL;
}

static Task *
worker_next(Worker *worker)
{
    Task *task;

    worker->tick++;
    if (--worker->until_tick == 0) {
        worker_tick(worker);
        task = inject_take(worker);
        if (task != NULL) {
            return task;
        }
    }
    if (is_perturbed(worker)) {
        task = worker_next_perturbed(worker);
        if (task != NULL) {
            return task;
        }
    }
    if (worker->tick % 2 == 0) { /* pinned tasks and others take turns */
        task = pinned_take(worker);
        if (task != NULL) {
            return task;
        }
    }
    if (worker->slot_streak < WORKER_SLOT_STREAK) {
        task = slot_take(worker);
        if (task != NULL) {
            worker->slot_streak++;
            return task;
        }
    }
    worker->slot_streak = 0;
    task = task_of(run_queue_pop(&worker->queue));
    if (task == NULL) {
        task = slot_take(worker);
    }
    if (task == NULL) {
        task = pinned_take(worker);
    }
    return task != NULL ? task : inject_take(worker);
}

void
scheduler_run_worker(Worker *worker)
{
    Runtime *runtime = worker->runtime;

    worker->period_start = clock_now_ns();
    while (!runtime_is_forked(runtime)) {
        Task *task = worker_next(worker);
        if (task == NULL) {
            if (atomic_load_explicit(&runtime->phase, memory_order_acquire) == RUNTIME_ENDED) {
                break;
            }
            worker_measure(worker, clock_now_ns(), 8);
            PyThreadState *tstate = PyEval_SaveThread();
            task = worker_idle(worker);
            PyEval_RestoreThread(tstate);
            worker->period_start = clock_now_ns();
            if (task == NULL || thread_state_has_requests(tstate)) {
                worker_attend(worker);
            }
            if (task == NULL) {
                continue;
            }
            worker->no_strangers = worker->looked_for_deadlock = false;
            worker_took_over(worker);
        }
        /* relaxed: statistics and hints, written by this thread only */
        atomic_store_explicit(&worker->progress, worker->tick, memory_order_relaxed);
        atomic_store_explicit(&worker->executed,
                              atomic_load_explicit(&worker->executed, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        task_run(worker, task);
    }
    Py_CLEAR(worker->stop_iteration);
}
