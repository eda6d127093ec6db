/* Worker: its parts, its thread, and what a thread needs to be one.
 *
 * The thread that called `run` is worker 0; the others are started one after the other, by whoever pushes work that no parked
 * worker could take, and joined when the run has ended. `starting` keeps two from being started at once.
 */
#include <stdlib.h>
#include <unistd.h>

#include <sched.h>

#include "errors.h"
#include "runtime/blocking.h"
#include "runtime/operation.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "runtime/thread.h"
#include "support.h"

int
worker_init(Worker *worker, Runtime *runtime, int id)
{
    run_queue_init(&worker->queue);
    worker->runtime = runtime;
    worker->id = id;
    worker->until_tick = 1;
    worker->watchful = WATCHFUL_RUNS;
    inject_queue_init(&worker->pinned);
    inject_queue_init(&worker->handed);
    atomic_init(&worker->victim, -1);
    worker->random = (uint32_t)id * 2654435769u + 12345u;
    worker->context = PyContext_CopyCurrent();
    worker->seen_progress = calloc((size_t)runtime->worker_count, sizeof(uint32_t));
    worker->seen_tail = calloc((size_t)runtime->worker_count, sizeof(uint32_t));
    if (worker->context == NULL) {
        return -1;
    }
    if (worker->seen_progress == NULL || worker->seen_tail == NULL ||
        parker_init(&worker->parker) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
worker_destroy(Worker *worker)
{
    parker_destroy(&worker->parker);
    Py_CLEAR(worker->scratch);
    free(worker->seen_progress);
    free(worker->seen_tail);
    Py_CLEAR(worker->context);
    Py_CLEAR(worker->stop_iteration);
}

void
worker_main(Worker *worker)
{
    PyThreadState *tstate = PyThreadState_Get();
    _PyErr_StackItem bottom;
    _PyErr_StackItem *before = exception_stack_enter(tstate, &bottom);

    current_worker = worker;
    if (PyContext_Enter(worker->context) < 0) {
        error_report_current("while entering a worker's context");
    }
    PyObject *begun = Py_NewRef(worker->runtime->generator_begun);
    PyObject *dropped = Py_NewRef(worker->runtime->generator_dropped);
    async_generator_hooks_swap(tstate, &begun, &dropped);
    if (operation_prepare_next(worker) < 0) {
        PyErr_Clear(); /* it is tried again when it is needed; by then a result may have to be dropped */
    }
    scheduler_run_worker(worker);
    async_generator_hooks_swap(tstate, &begun, &dropped);
    Py_XDECREF(begun);
    Py_XDECREF(dropped);
    if (PyContext_Exit(worker->context) < 0) {
        error_report_current("while leaving a worker's context");
    }
    current_worker = NULL;
    exception_stack_leave(tstate, before);
}

/* What a worker thread does. */
static void
worker_thread(void *argument)
{
    Worker *worker = argument;
    Runtime *runtime = worker->runtime;

    worker->tstate = PyThreadState_Get();
    worker->ident = PyThread_get_thread_ident();
    /* release: pairs with the acquire of all who go through the workers */
    atomic_fetch_add_explicit(&runtime->started, 1, memory_order_release);
    atomic_store_explicit(&runtime->starting, START_NONE, memory_order_release);
    worker_main(worker);
    if (runtime_is_forked(runtime)) {
        runtime_leave_fork(NULL);
    }
}

void
scheduler_start_worker(Runtime *runtime)
{
    int expected = START_NONE;
    char name[32];

    if (runtime_is_closing(runtime) ||
        !atomic_compare_exchange_strong_explicit(&runtime->starting, &expected, START_UNDER_WAY,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return;
    }
    int id = atomic_load_explicit(&runtime->started, memory_order_acquire);
    if (id >= runtime->worker_count) {
        atomic_store_explicit(&runtime->starting, START_NONE, memory_order_release);
        return;
    }
    /* The current exception belongs to the task that pushed. */
    PyObject *error = PyErr_GetRaisedException();
    PyOS_snprintf(name, sizeof(name), "tonio-worker-%d", id);
    runtime->workers[id].thread = thread_start(name, worker_thread, &runtime->workers[id]);
    if (runtime->workers[id].thread == NULL) {
        atomic_store_explicit(&runtime->starting, START_FAILED, memory_order_release);
        error_report_current("while starting a worker thread: the run goes on with fewer");
    }
    PyErr_SetRaisedException(error);
}

size_t
runtime_threads(Runtime *runtime)
{
    return (size_t)atomic_load_explicit(&runtime->started, memory_order_acquire) +
           blocking_pool_threads(runtime->pool);
}

bool
runtime_has_strangers(Runtime *runtime)
{
    size_t own = runtime_threads(runtime);
    PyObject *count = PyObject_CallNoArgs(support.count_threads);
    bool strangers = true;

    if (count != NULL) {
        strangers = PyLong_AsSize_t(count) > own || blocking_pool_is_busy(runtime->pool);
        Py_DECREF(count);
    }
    if (PyErr_Occurred()) {
        runtime_housekeeping_failed(runtime);
    }
    return strangers;
}

void
workers_join(Runtime *runtime)
{
    Worker *first = &runtime->workers[0];

    /* A worker that was being started just then counts itself as started before it looks at anything. acquire: pairs with
     * the release in worker_thread */
    if (atomic_load_explicit(&runtime->starting, memory_order_acquire) == START_UNDER_WAY) {
        Py_BEGIN_ALLOW_THREADS
        while (atomic_load_explicit(&runtime->starting, memory_order_acquire) == START_UNDER_WAY) {
            sched_yield();
        }
        Py_END_ALLOW_THREADS
    }
    atomic_store_explicit(&runtime->starting, START_FAILED, memory_order_release);
    for (int i = 1; i < runtime->worker_count; i++) {
        Worker *worker = &runtime->workers[i];
        /* a worker is started by one with a lower number, which has been joined: so the handle is there */
        thread_join(runtime, worker->thread);
        worker->thread = NULL;
        /* relaxed: joined */
        atomic_fetch_add_explicit(&first->spawned,
                                  atomic_load_explicit(&worker->spawned, memory_order_relaxed),
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&first->finished,
                                  atomic_load_explicit(&worker->finished, memory_order_relaxed),
                                  memory_order_relaxed);
    }
    atomic_store_explicit(&runtime->started, 1, memory_order_release);
}
