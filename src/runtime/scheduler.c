/* Scheduler: which worker runs what, who sleeps, who is woken.
 *
 * A worker takes the task in its slot (woken last, its data is hot), then the oldest of its run queue, then one of the
 * inject queue; every WORKER_TICK runs, or earlier if those are long, it looks at the outside first. With nothing to run it
 * detaches from the interpreter, searches (inject queue, driver, other workers' queues) and parks.
 *
 * A second thread that only adds hand-overs makes things slower, so pushing a task wakes nobody by itself. Instead
 *   - one parked worker is the *watcher*: as long as others run it gets up every millisecond, and takes work that a
 *     busy worker has not come to since the last look. Whoever pushes while there is no watcher calls one;
 *   - a worker whose backlog is worth more than a hand-over costs wakes one *searcher*;
 *   - threads that are no workers push to the inject queue and wake a worker.
 * Workers whose tasks are in each other's way do not share work for a while (gather.c).
 *
 * parking.c says how workers sleep and why no wake-up is lost.
 */
#include "runtime/scheduler.h"

#include "core/clock.h"
#include "errors.h"
#include "runtime/blocking.h"
#include "runtime/cancel.h"
#include "runtime/gather.h"
#include "runtime/inspect.h"
#include "runtime/parking.h"
#include "runtime/perturb.h"
#include "support.h"

#define LOOK_NS 500000u /* a busy worker looks at the outside after so long, or WORKER_TICK runs */
#define LOOK_BY 2000u   /* microseconds; a look at sockets is put off for no longer */
#define SURPLUS_NS 100000u /* a backlog worth this much wakes a searcher */
#define STEAL_NS 20000u    /* a backlog worth this much is worth stealing from */

_Thread_local Worker *current_worker __attribute__((tls_model("initial-exec")));

static Task *
task_of(RunNode *node)
{
    return node == NULL ? NULL : LIST_ENTRY(node, Task, run);
}

/* ---- waking ---------------------------------------------------------------------------------------------- */

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
            !work_is_gathered(runtime) && PyThreadState_GetUnchecked() != NULL) {
            scheduler_start_worker(runtime);
        }
        return;
    }
    if (!watched) {
        called = idle_call(runtime, false);
    }
    else {
        uint64_t average = atomic_load_explicit(&worker->average_run, memory_order_relaxed);
        if (average * run_queue_length(&worker->queue) > SURPLUS_NS && !work_is_gathered(runtime)) {
            called = idle_call(runtime, true);
        }
    }
    if (called != NULL) {
        worker_unpark(called);
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
    worker_unpark(worker); /* it is remembered: see idle_enter */
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
        worker_unpark(worker);
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
scheduler_push_new(Runtime *runtime, Task *const *tasks, size_t count)
{
    Worker *worker = current_worker;
    RunNode *nodes[SPAWN_BATCH];

    if (count == 1) {
        scheduler_push(runtime, tasks[0]);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        nodes[i] = &tasks[i]->run;
    }
    if (worker != NULL && worker->runtime == runtime) {
        run_queue_push_batch(&worker->queue, nodes, count);
        worker_pushed(worker);
        return;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        nodes[i]->next = nodes[i + 1];
    }
    inject_queue_push_chain(&runtime->inject, nodes[0], nodes[count - 1], count);
    foreign_pushed(runtime);
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

/* A fair share of the inject queue, among the workers that are up: the first is returned, the others go to the worker's own
 * queue. */
static Task *
inject_take(Worker *worker)
{
    RunNode *nodes[RUN_QUEUE_CAPACITY / 2];
    Runtime *runtime = worker->runtime;
    size_t share = inject_queue_length(&runtime->inject);

    if (share == 0) {
        return NULL;
    }
    /* relaxed: hints */
    int up = atomic_load_explicit(&runtime->started, memory_order_relaxed) -
             atomic_load_explicit(&runtime->idle_count, memory_order_relaxed);
    if (up > 1) {
        share = share / (size_t)up + 1;
    }
    if (share > RUN_QUEUE_CAPACITY / 2) {
        share = RUN_QUEUE_CAPACITY / 2;
    }
    size_t count = inject_queue_pop_batch(&runtime->inject, nodes, share);
    if (count == 0) {
        return NULL;
    }
    run_queue_push_batch(&worker->queue, nodes + 1, count - 1);
    return task_of(nodes[0]);
}

/* It has got work of another worker's. */
static void
has_stolen(Worker *worker, const Worker *victim)
{
    /* relaxed: a hint for others */
    atomic_store_explicit(&worker->victim, victim->id, memory_order_relaxed);
}

/* Moves what was handed to `owner` into the queue of `worker`: the first is returned. */
static Task *
handed_take(Worker *worker, Worker *owner)
{
    RunNode *nodes[RUN_QUEUE_CAPACITY / 2];
    size_t count = inject_queue_length(&owner->handed);

    if (count == 0) {
        return NULL;
    }
    count = inject_queue_pop_batch(&owner->handed, nodes, RUN_QUEUE_CAPACITY / 2);
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
        has_stolen(worker, victim);
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

    if (work_is_gathered(runtime) && !is_perturbed(worker)) {
        return NULL;
    }
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

/* Turns the driver without waiting; woken tasks come to this worker. While tasks are queued that were so at the last look, only
 * the timers: what is ready outside would have to wait behind them, and the sockets that the system has just looked at for an
 * event are out of the caches when their turn comes. */
static void
worker_look_outside(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    TaskChain chain = TASK_CHAIN_EMPTY;
    uint64_t now = clock_now_us();

    if (!driver_is_due(&runtime->driver, now)) {
        return;
    }
    if ((int32_t)(run_queue_head(&worker->queue) - worker->look_at) < 0 && now < worker->look_by) {
        driver_expire_timers(&runtime->driver, &chain);
        scheduler_wake_chain(&chain);
    }
    else if (driver_turn_begin(&runtime->driver)) {
        driver_turn(&runtime->driver, 0, &chain);
        scheduler_wake_chain(&chain);
        worker->look_at =
            run_queue_head(&worker->queue) + (uint32_t)run_queue_length(&worker->queue);
        worker->look_by = now + LOOK_BY;
    }
    cancel_spread_pending(runtime);
}

Task *
watcher_look(Worker *worker, bool *moved)
{
    Runtime *runtime = worker->runtime;
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    Task *task = NULL;

    *moved = false;
    if (work_is_gathered(runtime)) {
        *moved = true; /* whoever watches goes on until work is shared again */
        gather_count_look(runtime);
    }
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
            if (task == NULL) {
                task = handed_take(worker, victim);
            }
            if (task != NULL) {
                has_stolen(worker, victim);
                *moved = true;
            }
        }
        /* have all that were queued at the last look left the queue? */
        if (task == NULL && length > 0 && (int32_t)(worker->seen_tail[i] - left) > 0) {
            task = worker_steal_from(worker, victim);
        }
        worker->seen_tail[i] = left + (uint32_t)length;
    }
    return task;
}

/* Whoever closed or abandoned the run may have missed tasks that were being created, or that were about to wait, here just
 * then; those that come now are born cancelled, and find the run abandoned. */
static void
worker_sweep(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    uint8_t end = (runtime_is_closing(runtime) ? SWEPT_CLOSING : 0) |
                  (runtime_is_abandoned(runtime) ? SWEPT_ABANDONED : 0);

    if (end != worker->swept) {
        worker->swept = end;
        runtime_cancel_tasks(runtime);
    }
}

/* With nothing to run: searches and parks until there is a task. NULL: attend to the interpreter, or the end. Detached. */
static Task *
worker_idle(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    bool attend = false;
    Task *task = NULL;

    while (!attend) {
        worker_sweep(worker);
        worker_look_outside(worker);
        task = slot_take(worker);
        if (task == NULL) {
            task = task_of(run_queue_pop(&worker->queue));
        }
        if (task == NULL) {
            task = pinned_take(worker);
        }
        if (task == NULL) {
            task = handed_take(worker, worker);
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

/* Gives all that waits to run here to the worker that it stole from, which made much of what the tasks use: it is cheaper
 * there, as the interpreter counts references to an object differently on the thread that made it. */
static void
worker_hand_back(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    TaskChain chain = TASK_CHAIN_EMPTY;
    Task *task;

    /* relaxed: hints */
    int id = atomic_load_explicit(&worker->victim, memory_order_relaxed);
    if (id < 0) {
        return;
    }
    Worker *victim = &runtime->workers[id];
    if (atomic_load_explicit(&victim->victim, memory_order_relaxed) == worker->id &&
        worker->id < id) {
        return; /* each has stolen from the other: one keeps what it has */
    }
    atomic_store_explicit(&worker->victim, -1, memory_order_relaxed);
    while ((task = slot_take(worker)) != NULL ||
           (task = task_of(run_queue_pop(&worker->queue))) != NULL) {
        task_chain_append(&chain, task);
    }
    if (chain.count > 0) {
        inject_queue_push_chain(&victim->handed, &chain.first->run, &chain.last->run, chain.count);
        worker_unpark(victim);
    }
}

/* How long a task run takes on average, measured over the runs since the last call. */
static void
worker_measure(Worker *worker, uint64_t now, uint32_t least)
{
    uint32_t runs = worker->tick - worker->period_tick;

    if (worker->runtime->worker_count > 1 && gather_measure(worker, now)) {
        worker_hand_back(worker);
    }
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
    Deadlock deadlock = inspect_is_deadlocked(worker);

    if (deadlock == DEADLOCK_FOUND) {
        PyObject *woken = PyObject_CallFunction(support.may_be_woken, "n",
                                                (Py_ssize_t)runtime_threads(worker->runtime));
        deadlock = woken == NULL ? DEADLOCK_UNSURE : DEADLOCK_NONE;
        if (woken == NULL) {
            runtime_housekeeping_failed(worker->runtime);
        }
        else if (woken == Py_False) {
            PyGC_Collect();
            deadlock = inspect_is_deadlocked(worker);
        }
        Py_XDECREF(woken);
    }
    if (deadlock == DEADLOCK_FOUND) {
        runtime_deadlocked(worker->runtime);
    }
    /* If it is told and that has woken nobody, it must be told again, which abandons the run. */
    worker->looked_for_deadlock =
        deadlock == DEADLOCK_NONE ||
        (deadlock == DEADLOCK_FOUND && runtime_is_abandoned(worker->runtime));
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
    workers_breathe(worker->runtime);
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
        worker_hand_back(worker);
        return handed_take(worker, worker);
    case 4:
    case 5:
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
        task = handed_take(worker, worker);
        if (task == NULL) {
            task = inject_take(worker);
        }
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
    worker->contention = mutex_contention; /* the thread may have been a worker of other runs */
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
