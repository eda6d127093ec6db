/* Parking: who sleeps where, and who gets up.
 *
 * A worker that has found nothing to run enters the list of idle ones and sleeps: one in the driver, the others on their
 * futex. One of them is the watcher (scheduler.c says what for): it gets up every millisecond as long as others run, and
 * when nothing has moved for a while and all others are parked it sleeps without a bound, so that an idle program uses no CPU.
 *
 * Owns the list of idle workers, the watch and the park states. idle_mutex guards the first two; any thread may call
 * another worker up.
 *
 * Why no wake-up is lost: a worker enters the list of idle ones under idle_mutex, and then looks at the inject queue
 * and the phase once more; whoever changes those takes idle_mutex afterwards and finds it in the list. The watcher
 * retires under the same mutex, and only when all others are in the list; a worker leaves the list under it, so
 * from then on it sees that there is no watcher. Who enters the list while others run and nobody watches does so himself.
 * What is pushed for one worker only is followed by an unpark of that one, which is remembered if it does not sleep yet.
 *
 * Searching, stealing, polling and parking happen detached: a thread that waits attached would hold up every
 * garbage collection.
 */
#include "runtime/parking.h"

#include <sched.h>

#include "core/clock.h"
#include "runtime/blocking.h"
#include "runtime/cancel.h"
#include "runtime/perturb.h"
#include "runtime/scheduler.h"
#include "support.h"

#define WATCH_QUIET_LOOKS 10 /* looks without any movement before the watcher retires */

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
           inject_queue_length(&worker->pinned) == 0 && inject_queue_length(&worker->handed) == 0 &&
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

bool
worker_is_alone(Worker *worker)
{
    Runtime *runtime = worker->runtime;

    mutex_lock(&runtime->idle_mutex);
    int idle = atomic_load_explicit(&runtime->idle_count, memory_order_relaxed);
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    int starting = atomic_load_explicit(&runtime->starting, memory_order_acquire);
    bool alone = idle == started - 1 && starting != START_UNDER_WAY;
    for (int i = 0; i < idle && alone; i++) {
        alone = runtime->idle[i] != worker->id;
    }
    mutex_unlock(&runtime->idle_mutex);
    return alone;
}

/* ---- waking ---------------------------------------------------------------------------------------------- */

void
worker_unpark(Worker *worker)
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

Worker *
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

void
workers_unpark_all(Runtime *runtime)
{
    /* The mutex orders the change of phase before the list of those who have not seen it. */
    mutex_lock(&runtime->idle_mutex);
    atomic_store_explicit(&runtime->idle_count, 0, memory_order_relaxed);
    mutex_unlock(&runtime->idle_mutex);
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    for (int i = 0; i < started; i++) {
        worker_unpark(&runtime->workers[i]);
    }
}

void
workers_breathe(Runtime *runtime)
{
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);

    for (int i = 0; i < started; i++) {
        Worker *worker = &runtime->workers[i];
        /* relaxed: a hint; a worker that is up sees to itself */
        int state = atomic_load_explicit(&worker->park_state, memory_order_relaxed);
        if ((state == PARK_ON_FUTEX || state == PARK_IN_DRIVER) &&
            detached_state_has_requests(worker->tstate)) {
            worker_unpark(worker);
        }
    }
}

/* ---- parking --------------------------------------------------------------------------------------------- */

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

Task *
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
            workers_breathe(runtime);
            blocking_pool_breathe(runtime->pool);
        }
        if (is_perturbed(worker)) {
            perturb_delay(worker);
        }
        SleepEnd end = worker_sleep(worker, wake_at, &chain);
        if (end != SLEEP_TIMED_OUT) {
            /* something has happened, and it may be the last one to park again, whoever looks into it */
            worker->looked_for_deadlock = false;
        }
        if (chain.count > 0 ||
            atomic_load_explicit(&runtime->spread_pending, memory_order_relaxed)) {
            worker->quiet_looks = 0;
            break;
        }
        if (end == SLEEP_ATTEND || detached_state_has_requests(worker->tstate) ||
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
            worker_unpark(&runtime->workers[0]);
        }
    }
    scheduler_wake_chain(&chain);
    cancel_spread_pending(runtime);
    return task;
}
