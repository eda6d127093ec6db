/* Runtime: one `run` from set-up to outcome; who is inside it; what can run as a task; fork.
 *
 * Phases: RUNNING until the main task has ended or the run is interrupted; CLOSING while what is left is cancelled
 * and ends; ENDED when no task is left, which sends the workers home. The thread that called `run` then joins the
 * others, closes the pool and frees everything.
 *
 * Running runtimes are in a list (`registry_mutex`), so that threads which are no workers find the one they mean. Such a
 * visitor is counted while it is inside; a runtime leaves the list first and waits for its visitors afterwards.
 */
#include "runtime/runtime.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "runtime/blocking.h"
#include "runtime/generators.h"
#include "runtime/operation.h"
#include "runtime/perturb.h"
#include "runtime/scheduler.h"
#include "runtime/signals.h"
#include "support.h"

_Thread_local Runtime *pool_runtime __attribute__((tls_model("initial-exec")));
uint64_t fork_count;

static Mutex registry_mutex; /* guards the next two */
static Runtime *registry;
static uint64_t last_serial;

const char runtime_forked_message[] = "the process was forked while the runtime ran: a child must "
                                      "exec, call os._exit(), or start a runtime of its own "
                                      "from a fresh call";

/* ---- finding the runtime --------------------------------------------------------------------------------- */

Task *
runtime_current_task(const char *what)
{
    Worker *worker = current_worker;

    if (worker == NULL || worker->task == NULL) {
        PyErr_Format(error_type(ERROR_NOT_INITIALIZED),
                     "%s can only be used by a task: start one with tonio.run()", what);
        return NULL;
    }
    return worker->task;
}

Runtime *
runtime_enter(const char *what)
{
    Runtime *found = pool_runtime;
    size_t count = 0;

    if (current_worker != NULL) {
        return current_worker->runtime;
    }
    mutex_lock(&registry_mutex);
    if (found == NULL) {
        for (Runtime *runtime = registry; runtime != NULL; runtime = runtime->next) {
            found = runtime;
            count++;
        }
    }
    if (count > 1) {
        found = NULL;
    }
    if (found != NULL) {
        /* seq_cst: either the phase below is seen to change, or runtime_end_if_empty sees the visitor and does not end the
         * run while it is inside */
        atomic_fetch_add_explicit(&found->visitors, 1, memory_order_seq_cst);
        if (atomic_load_explicit(&found->phase, memory_order_seq_cst) != RUNTIME_RUNNING) {
            atomic_fetch_sub_explicit(&found->visitors, 1, memory_order_release);
            found = NULL;
        }
    }
    mutex_unlock(&registry_mutex);
    if (count > 1) {
        PyErr_Format(
            PyExc_RuntimeError,
            "%s: several runtimes are running, and a thread that is a worker of none cannot choose",
            what);
        return NULL;
    }
    if (found == NULL) {
        PyErr_Format(error_type(ERROR_NOT_INITIALIZED),
                     "%s needs a running runtime: start one with tonio.run()", what);
    }
    return found;
}

Runtime *
runtime_find(uint64_t serial)
{
    Worker *worker = current_worker;
    Runtime *found;

    if (worker != NULL && worker->runtime->serial == serial) {
        return worker->runtime;
    }
    mutex_lock(&registry_mutex);
    for (found = registry; found != NULL && found->serial != serial; found = found->next) {
    }
    if (found != NULL) {
        atomic_fetch_add_explicit(&found->visitors, 1,
                                  memory_order_relaxed); /* as in runtime_enter */
    }
    mutex_unlock(&registry_mutex);
    return found;
}

void
runtime_visit(Runtime *runtime)
{
    if (current_worker == NULL || current_worker->runtime != runtime) {
        /* relaxed: whatever tells the caller that the runtime is there orders it before the end */
        atomic_fetch_add_explicit(&runtime->visitors, 1, memory_order_relaxed);
    }
}

void
runtime_leave(Runtime *runtime)
{
    if (current_worker != NULL && current_worker->runtime == runtime) {
        return;
    }
    /* release: pairs with the acquire in runtime_end, which then frees what the visitor used */
    atomic_fetch_sub_explicit(&runtime->visitors, 1, memory_order_release);
}

/* ---- what can run ---------------------------------------------------------------------------------------- */

PyObject *
runnable_claim(PyObject *object, const char *what)
{
    if (operation_check(object)) {
        return operation_claim((Operation *)object) < 0 ? NULL : Py_NewRef(object);
    }
    if (coroutine_check(object)) {
        if (!coroutine_claim(object)) {
            PyErr_Format(PyExc_RuntimeError,
                         "%s: %R was already started, has ended or belongs to another task; call "
                         "its function again",
                         what, object);
            return NULL;
        }
        return Py_NewRef(object);
    }
    PyAsyncMethods *async = Py_TYPE(object)->tp_as_async;
    if (async != NULL && async->am_await != NULL) {
        /* what asyncio itself knows a future by; one hands itself out, to an event loop that is not here */
        int foreign = PyObject_HasAttrWithError(object, support.name_asyncio_future);
        if (foreign > 0) {
            PyErr_Format(PyExc_TypeError,
                         "%s: %.200s belongs to an event loop of asyncio, and can only be awaited "
                         "there",
                         what, Py_TYPE(object)->tp_name);
        }
        if (foreign != 0) {
            return NULL;
        }
        PyObject *iterator = async->am_await(object);
        if (iterator == NULL) {
            return NULL;
        }
        if (!PyIter_Check(iterator)) {
            PyErr_Format(PyExc_TypeError,
                         "%s: __await__ of %.200s gave %.200s, which is no iterator", what,
                         Py_TYPE(object)->tp_name, Py_TYPE(iterator)->tp_name);
            Py_DECREF(iterator);
            return NULL;
        }
        if (coroutine_check(iterator) || operation_check(iterator)) {
            PyObject *claimed = runnable_claim(iterator, what);
            Py_DECREF(iterator);
            return claimed;
        }
        return iterator;
    }
    if (PyFunction_Check(object) || PyMethod_Check(object)) {
        PyErr_Format(
            PyExc_TypeError,
            "%s must be a coroutine, generator or operation, not the function %R: call it first",
            what, object);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s must be a coroutine, generator or operation, not %.200s",
                     what, Py_TYPE(object)->tp_name);
    }
    return NULL;
}

void
runnable_discard(PyObject *runnable)
{
    if (coroutine_check(runnable)) {
        PyObject *before = PyErr_GetRaisedException();
        PyObject *result = PyObject_CallMethodNoArgs(runnable, support.name_close);
        if (result == NULL) {
            error_report_current("while closing a coroutine that could not be started");
        }
        Py_XDECREF(result);
        PyErr_SetRaisedException(before);
    }
    Py_DECREF(runnable);
}

/* ---- tasks ----------------------------------------------------------------------------------------------- */

static void
counter_add(_Atomic uint64_t *counter)
{
    /* relaxed: only the owner writes; runtime_end_if_empty says how it is read */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

Task *
runtime_new_task(Runtime *runtime, PyObject *coroutine, Completion *completion, uint32_t index)
{
    Worker *worker = current_worker;
    TaskChain none = TASK_CHAIN_EMPTY;
    Task *task = NULL;

    if (worker != NULL && worker->runtime != runtime) {
        worker = NULL;
    }
    if (atomic_load_explicit(&runtime->phase, memory_order_acquire) == RUNTIME_ENDED) {
        PyErr_SetString(error_type(ERROR_NOT_INITIALIZED),
                        "the run has ended: no task can be started any more");
    }
    else {
        task = task_new(runtime, worker != NULL ? &worker->cache : NULL, coroutine);
    }
    if (task == NULL) {
        runnable_discard(coroutine);
        return NULL;
    }
    if (operation_check(coroutine)) {
        task->flags |= TASK_BARE;
    }
    if (runtime->with_context) {
        task->context = PyContext_CopyCurrent();
        if (task->context == NULL) {
            runnable_discard(task_take(task));
            task_free(runtime, worker != NULL ? &worker->cache : NULL, task);
            return NULL;
        }
    }
    task->completion = completion;
    task->index = index;
    if (worker != NULL) {
        counter_add(&worker->spawned);
    }
    else {
        atomic_fetch_add_explicit(&runtime->foreign_spawned, 1, memory_order_relaxed);
        /* seq_cst: either runtime_cancel_tasks sees this task, or the look at the phase below sees the end */
        atomic_thread_fence(memory_order_seq_cst);
    }
    if (runtime_is_closing(runtime)) {
        task_request_cancel(task, 0, &none); /* it does not wait */
    }
    return task;
}

void
runtime_start_task(Runtime *runtime, Task *task)
{
    scheduler_push(runtime, task);
}

/* ---- fork ------------------------------------------------------------------------------------------------ */

/* What the child of a fork has left alone: still known, so no leak to who looks for them. Set once at most, by the one thread
 * of that child; never read. */
static Runtime *runtime_of_parent __attribute__((used));

/* Called in the child. The poller is shared with the parent: it is closed before anything can be deregistered, which would
 * silence the parent. The run loop notices and leaves. */
static PyObject *
forked(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    registry_mutex = (Mutex){0}; /* another thread, which is gone, may have held it */
    for (Runtime *runtime = registry; runtime != NULL; runtime = runtime->next) {
        poller_abandon(&runtime->driver.poller);
    }
    registry = NULL;
    fork_count++;
    current_worker = NULL;
    pool_runtime = NULL;
    Py_RETURN_NONE;
}

void
runtime_leave_fork(PyObject *error)
{
    PyObject *reported = PyObject_CallFunction(PyExc_RuntimeError, "s", runtime_forked_message);

    if (reported == NULL) {
        reported = PyErr_GetRaisedException();
    }
    if (error != NULL) {
        PyException_SetContext(reported, error);
    }
    error_report(reported, "in a forked child");
    _exit(1);
}

static PyMethodDef forked_def = {"forked", forked, METH_NOARGS, NULL};

/* ---- making and freeing one ------------------------------------------------------------------------------ */

static void
runtime_free(Runtime *runtime)
{
    if (runtime->workers != NULL) {
        for (int i = 0; i < runtime->worker_count; i++) {
            worker_destroy(&runtime->workers[i]);
        }
    }
    if (runtime->pool != NULL) {
        blocking_pool_close(runtime->pool);
    }
    task_slabs_free(runtime);
    driver_close(&runtime->driver);
    free(runtime->workers);
    free(runtime->idle);
    Py_CLEAR(runtime->main_value);
    Py_CLEAR(runtime->main_error);
    Py_CLEAR(runtime->interrupt);
    Py_CLEAR(runtime->generators);
    Py_CLEAR(runtime->generator_begun);
    Py_CLEAR(runtime->generator_dropped);
    free(runtime);
}

static void
main_done(Completion *completion, Task *Py_UNUSED(task), PyObject *value, PyObject *error)
{
    Runtime *runtime = LIST_ENTRY(completion, Runtime, main_completion);

    mutex_lock(&runtime->outcome_mutex);
    runtime->main_value = value;
    runtime->main_error = error;
    atomic_store_explicit(&runtime->main_task, NULL, memory_order_relaxed);
    mutex_unlock(&runtime->outcome_mutex);
    runtime_close(runtime);
}

static Runtime *
runtime_new(const RuntimeOptions *options)
{
    Runtime *runtime = calloc(1, sizeof(Runtime));
    int error;

    if (runtime == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    error = driver_open(&runtime->driver);
    if (error < 0) {
        free(runtime);
        errno = -error;
        PyErr_SetFromErrno(PyExc_OSError);
        return NULL;
    }
    runtime->with_context = options->context;
    runtime->warn_after = options->shutdown_warning;
    atomic_init(&runtime->warn_at, TIMER_NEVER);
    runtime->worker_count = options->threads;
    atomic_init(&runtime->watcher, -1);
    atomic_init(&runtime->started, 1);
    atomic_init(&runtime->phase, RUNTIME_RUNNING);
    inject_queue_init(&runtime->inject);
    list_init(&runtime->spread_list);
    runtime->main_completion.done = main_done;
    size_t size = sizeof(Worker) * (size_t)options->threads;
    if (posix_memalign((void **)&runtime->workers, 64, size) != 0) {
        runtime->workers = NULL;
    }
    else {
        memset(runtime->workers, 0, size);
    }
    runtime->idle = calloc((size_t)options->threads, sizeof(int));
    if (runtime->workers == NULL || runtime->idle == NULL) {
        PyErr_NoMemory();
        runtime->worker_count = 0;
        runtime_free(runtime);
        return NULL;
    }
    for (int i = 0; i < options->threads; i++) {
        if (worker_init(&runtime->workers[i], runtime, i) < 0) {
            runtime_free(runtime);
            return NULL;
        }
    }
    if (perturb_begin(runtime) < 0) {
        runtime_free(runtime);
        return NULL;
    }
    if (blocking_pool_new(runtime, options->pool_size, options->pool_idle_ttl) < 0) {
        runtime_free(runtime);
        return NULL;
    }
    return runtime;
}

/* Gives it the number by which others refer to it. */
static void
registry_number(Runtime *runtime)
{
    mutex_lock(&registry_mutex);
    runtime->serial = ++last_serial;
    runtime->forks = fork_count;
    mutex_unlock(&registry_mutex);
}

/* From here foreign threads find it, and count on being served to the end. */
static void
registry_add(Runtime *runtime)
{
    mutex_lock(&registry_mutex);
    runtime->next = registry;
    registry = runtime;
    mutex_unlock(&registry_mutex);
}

static void
registry_remove(Runtime *runtime)
{
    mutex_lock(&registry_mutex);
    Runtime **link = &registry;
    while (*link != runtime) {
        link = &(*link)->next;
    }
    *link = runtime->next;
    mutex_unlock(&registry_mutex);
}

/* Foreign threads that came before the runtime began to close are served to the end. */
static void
visitors_wait(Runtime *runtime)
{
    /* acquire: pairs with the release in runtime_leave */
    if (atomic_load_explicit(&runtime->visitors, memory_order_acquire) != 0) {
        Py_BEGIN_ALLOW_THREADS
        while (atomic_load_explicit(&runtime->visitors, memory_order_acquire) != 0) {
            sched_yield();
        }
        Py_END_ALLOW_THREADS
    }
}

/* Waits for visitors and closes the pool. Nothing of the runtime is used by others afterwards. */
static void
runtime_end(Runtime *runtime)
{
    registry_remove(runtime);
    visitors_wait(runtime); /* they use the pool */
    blocking_pool_close(runtime->pool);
    runtime->pool = NULL;
    visitors_wait(runtime); /* the last jobs were visitors, too */
}

/* ---- one run --------------------------------------------------------------------------------------------- */

/* What `run` returns or raises: new reference or NULL with an exception set. */
static PyObject *
runtime_outcome(Runtime *runtime)
{
    PyObject *value = runtime->main_value;
    PyObject *error = runtime->main_error;

    runtime->main_value = runtime->main_error = NULL;
    if (runtime->interrupt != NULL) {
        PyObject *interrupt = runtime->interrupt;
        runtime->interrupt = NULL;
        if (error != NULL && error != interrupt && !error_is_cancelled(error)) {
            /* an error of the main task's clean-up shows as the context */
            PyException_SetContext(interrupt, error);
            error = NULL;
        }
        Py_XDECREF(error);
        Py_XDECREF(value);
        PyErr_SetRaisedException(interrupt);
        return NULL;
    }
    if (runtime->stopped && (error == NULL || error_is_cancelled(error))) {
        Py_XDECREF(error);
        Py_XDECREF(value);
        Py_RETURN_NONE;
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return NULL;
    }
    return value;
}

PyObject *
runtime_run(const RuntimeOptions *options, PyObject *coroutine, _Atomic uint64_t *serial)
{
    SignalState signals = {NULL, -1, false};
    PyObject *outcome = NULL;
    Runtime *runtime = runtime_new(options);
    PyObject *is_main;

    if (runtime == NULL) {
        runnable_discard(coroutine);
        return NULL;
    }
    is_main = PyObject_CallNoArgs(support.is_main_thread);
    if (is_main == NULL) {
        runnable_discard(coroutine);
        runtime_free(runtime);
        return NULL;
    }
    runtime->on_main_thread = is_main == Py_True;
    Py_DECREF(is_main);
    if (signals_begin(runtime, &signals) < 0) {
        runnable_discard(coroutine);
        signals_end(runtime, &signals);
        runtime_free(runtime);
        return NULL;
    }

    runtime->workers[0].tstate = PyThreadState_Get();
    runtime->workers[0].ident = PyThread_get_thread_ident();
    registry_number(runtime);
    Task *task = NULL;
    if (generators_begin(runtime) < 0) {
        runnable_discard(coroutine);
    }
    else {
        task = runtime_new_task(runtime, coroutine, &runtime->main_completion, 0);
    }
    if (task != NULL) {
        mutex_lock(&runtime->outcome_mutex);
        atomic_store_explicit(&runtime->main_task, task, memory_order_relaxed);
        mutex_unlock(&runtime->outcome_mutex);
        /* not before it is sure to run: who waits for a task of it would wait for ever */
        registry_add(runtime);
        /* release: who finds it and looks the runtime up finds the main task */
        atomic_store_explicit(serial, runtime->serial, memory_order_release);
        runtime_start_task(runtime, task);
        blocking_enter_run(runtime);
        worker_main(&runtime->workers[0]);
        atomic_store_explicit(serial, 0, memory_order_relaxed);
        if (runtime_is_forked(runtime)) {
            /* what other threads may have been changing is left alone */
            runtime_of_parent = runtime;
            signals_end(runtime, &signals);
            PyErr_SetString(PyExc_RuntimeError, runtime_forked_message);
            return NULL;
        }
        workers_join(runtime);
        generators_end(runtime);
        blocking_leave_run(); /* before visitors are waited for */
        runtime_end(runtime);
        signals_end(runtime, &signals);
        outcome = runtime_outcome(runtime);
    }
    else {
        signals_end(runtime, &signals);
    }
    PyObject *error = PyErr_GetRaisedException();
    runtime_free(runtime);
    PyErr_SetRaisedException(error);
    return outcome;
}

int
runtime_module_init(PyObject *Py_UNUSED(module))
{
    PyObject *hook = PyCFunction_New(&forked_def, NULL);
    PyObject *done = hook == NULL ? NULL : PyObject_CallFunction(support.after_fork, "N", hook);

    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}
