/* Ending: what makes a run end, and what is done about tasks that do not.
 *
 * The main task's end, or an interrupt, changes the phase to CLOSING and asks every task there is to cancel. Some may be
 * missed just then: each worker sweeps once more when it first has nothing to do, and later ones are born cancelled. The worker
 * that finds that as many tasks have ended as were created changes the phase to ENDED. Tasks that take their time are named
 * in a warning; a second Ctrl-C, or a deadlock of tasks that hold cancellations off, abandons them: every task is woken once
 * more, in an uncancellable wait, too, and each worker sweeps again as above.
 *
 * `outcome_mutex` guards the outcome and the link to the main task; a task is asked to cancel under it, nothing else.
 */
#include "core/clock.h"
#include "errors.h"
#include "runtime/inspect.h"
#include "runtime/parking.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"

void
runtime_cancel_tasks(Runtime *runtime)
{
    uint32_t extra = runtime_is_abandoned(runtime) ? TASK_ABANDON : 0;

    mutex_lock(&runtime->task_mutex);
    TaskSlab *slab = runtime->slabs; /* slabs are only ever added in front */
    mutex_unlock(&runtime->task_mutex);

    for (; slab != NULL; slab = slab->next) {
        TaskChain chain = TASK_CHAIN_EMPTY;
        for (size_t i = 0; i < TASK_SLAB_TASKS; i++) {
            task_request_cancel(&slab->tasks[i], extra, &chain);
        }
        scheduler_wake_chain(&chain);
    }
}

bool
runtime_has_interrupt(Runtime *runtime)
{
    mutex_lock(&runtime->outcome_mutex);
    bool interrupted = runtime->interrupt != NULL;
    mutex_unlock(&runtime->outcome_mutex);
    return interrupted;
}

/* When tasks that hold up the end are to be named, counted from now. */
static void
runtime_set_warning(Runtime *runtime)
{
    if (runtime->warn_after >= 0 && runtime->warn_after < 9e12) {
        atomic_store_explicit(&runtime->warn_at,
                              clock_now_us() + (uint64_t)(runtime->warn_after * 1e6),
                              memory_order_relaxed); /* relaxed: a hint for workers that park */
    }
}

void
runtime_close(Runtime *runtime)
{
    int expected = RUNTIME_RUNNING;

    /* seq_cst: see runtime_new_task */
    if (!atomic_compare_exchange_strong_explicit(&runtime->phase, &expected, RUNTIME_CLOSING,
                                                 memory_order_seq_cst, memory_order_relaxed)) {
        return;
    }
    runtime_set_warning(runtime);
    runtime_cancel_tasks(runtime);
    workers_unpark_all(runtime); /* each worker cancels the tasks that were missed here */
}

void
runtime_abandon(Runtime *runtime)
{
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);

    atomic_store_explicit(&runtime->abandoned, true, memory_order_relaxed);
    /* before tasks are woken: it is not for their clean-up */
    for (int i = 0; i < started; i++) {
        Worker *worker = &runtime->workers[i];
        /* relaxed: a guess. On one that has nothing to run it strikes when it next attends, and ends there. */
        if (worker != current_worker &&
            atomic_load_explicit(&worker->park_state, memory_order_relaxed) == PARK_NONE) {
            PyThreadState_SetAsyncExc(worker->ident, PyExc_KeyboardInterrupt);
        }
    }
    runtime_cancel_tasks(runtime);
    workers_unpark_all(runtime); /* each worker asks the tasks that were missed here */
}

void
runtime_deadlocked(Runtime *runtime)
{
    PyObject *lines = inspect_deadlock(runtime);
    PyObject *error = NULL;

    if (lines != NULL) {
        error = PyObject_CallFunction(
            error_type(ERROR_DEADLOCK), "N",
            PyUnicode_FromFormat("all tasks wait, and nothing is left that could wake one:\n%U",
                                 lines));
        Py_DECREF(lines);
    }
    if (error == NULL) {
        error = PyErr_GetRaisedException();
    }
    /* Those that were cancelled before hold cancellations off for good. */
    bool again = runtime_is_closing(runtime) || runtime_has_interrupt(runtime);
    runtime_interrupt(runtime, error);
    if (again) {
        runtime_abandon(runtime);
    }
}

void
runtime_warn_remaining(Runtime *runtime)
{
    if (atomic_exchange_explicit(&runtime->warn_at, TIMER_NEVER, memory_order_relaxed) ==
        TIMER_NEVER) {
        return; /* another worker does */
    }
    PyObject *lines = inspect_remaining(runtime);
    PyObject *seconds = PyFloat_FromDouble(runtime->warn_after);
    if (lines != NULL && seconds != NULL) {
        PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "the run was to end %S seconds ago, but there still are tasks that have "
                         "not ended (Ctrl-C abandons them):\n%U",
                         seconds, lines);
    }
    Py_XDECREF(lines);
    Py_XDECREF(seconds);
    if (PyErr_Occurred()) {
        error_report_current("in a warning about tasks that hold up the end of the run");
    }
}

void
runtime_end_if_empty(Runtime *runtime)
{
    uint64_t finished = 0;
    uint64_t spawned = 0;
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);

    /* seq_cst: pairs with runtime_enter; what a visitor has spawned is counted before it leaves */
    if (atomic_load_explicit(&runtime->visitors, memory_order_seq_cst) != 0) {
        return;
    }
    /* `finished` first: both only grow and finished <= spawned, so equal sums mean that nothing was left in between, and
     * only a task can create another one now. relaxed: the worker that enters the idle list last has all counters from
     * the others through idle_mutex. */
    for (int i = 0; i < started; i++) {
        finished += atomic_load_explicit(&runtime->workers[i].finished, memory_order_acquire);
    }
    for (int i = 0; i < started; i++) {
        spawned += atomic_load_explicit(&runtime->workers[i].spawned, memory_order_relaxed);
    }
    spawned += atomic_load_explicit(&runtime->foreign_spawned, memory_order_relaxed);
    if (finished == spawned) {
        /* release: pairs with the acquire of workers that leave */
        atomic_store_explicit(&runtime->phase, RUNTIME_ENDED, memory_order_release);
        workers_unpark_all(runtime);
    }
}

void
runtime_interrupt(Runtime *runtime, PyObject *error)
{
    PyObject *unused = error;
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&runtime->outcome_mutex);
    if (runtime->interrupt == NULL) {
        runtime->interrupt = error;
        unused = NULL;
    }
    /* relaxed: written under this mutex; the task cannot end before it is released */
    Task *task = atomic_load_explicit(&runtime->main_task, memory_order_relaxed);
    if (task != NULL) {
        task_request_cancel(task, TASK_STOPPED, &chain);
    }
    mutex_unlock(&runtime->outcome_mutex);
    scheduler_wake_chain(&chain);
    Py_XDECREF(unused);
}

void
runtime_housekeeping_failed(Runtime *runtime)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
        error_report_current("while a worker attended to the interpreter: it tries again");
    }
    else {
        runtime_interrupt(runtime, PyErr_GetRaisedException());
    }
}

bool
runtime_stop(Runtime *runtime)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&runtime->outcome_mutex);
    Task *task = atomic_load_explicit(&runtime->main_task, memory_order_relaxed);
    if (task != NULL) {
        runtime->stopped = true;
        task_request_cancel(task, TASK_STOPPED, &chain);
    }
    mutex_unlock(&runtime->outcome_mutex);
    scheduler_wake_chain(&chain);
    return task != NULL;
}
