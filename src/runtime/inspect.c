/* Inspect: what the tasks of a run are doing, for people.
 *
 * All tasks are found by going through the slabs. A task may be looked at closely only while nobody can resume it: in a
 * deadlock nobody can, because all workers but the one that looks are parked, no thread is left that could wake one, and nothing is
 * due; at other times a parked task is borrowed, that is claimed as if it were cancelled, looked at, and scheduled to
 * wait again. No lock is held while Python code runs.
 */
#include "runtime/inspect.h"

#include "runtime/blocking.h"
#include "runtime/operation.h"
#include "runtime/parking.h"
#include "runtime/scheduler.h"
#include "runtime/task_handle.h"
#include "support.h"

#define MOST_LINES 30 /* of a report */

static TaskSlab *
first_slab(Runtime *runtime)
{
    mutex_lock(&runtime->task_mutex);
    TaskSlab *slab = runtime->slabs; /* slabs are only ever added in front */
    mutex_unlock(&runtime->task_mutex);
    return slab;
}

/* ---- deadlock -------------------------------------------------------------------------------------------- */

Deadlock
inspect_is_deadlocked(Worker *worker)
{
    Runtime *runtime = worker->runtime;
    size_t parked = 0;

    if (!worker_is_alone(worker)) {
        return DEADLOCK_UNSURE;
    }
    if (driver_has_timers(&runtime->driver) || blocking_pool_is_busy(runtime->pool) ||
        atomic_load_explicit(&runtime->visitors, memory_order_acquire) != 0) {
        return DEADLOCK_NONE;
    }
    for (TaskSlab *slab = first_slab(runtime); slab != NULL; slab = slab->next) {
        for (size_t i = 0; i < TASK_SLAB_TASKS; i++) {
            Task *task = &slab->tasks[i];
            /* acquire: pairs with the release in task_try_park */
            uint32_t state = atomic_load_explicit(&task->state, memory_order_acquire);
            if ((state & TASK_FREE) && !(state & TASK_PROXY)) {
                continue;
            }
            if (!(state & (TASK_WAITING | TASK_PROXY))) {
                return DEADLOCK_NONE; /* it is on its way to a worker */
            }
            if (task->operation == NULL || task->operation->cls->from_outside) {
                return DEADLOCK_NONE;
            }
            parked++;
        }
    }
    return parked > 0 ? DEADLOCK_FOUND : DEADLOCK_NONE;
}

/* ---- words ----------------------------------------------------------------------------------------------- */

/* What an operation waits for: new reference to a str, or NULL. */
static PyObject *
operation_describe(Operation *op)
{
    return op->cls->describe != NULL ? op->cls->describe(op) : PyUnicode_FromString(op->cls->name);
}

/* A line about a task that nobody can resume just now. New reference, or NULL with an exception set. */
static PyObject *
task_line(Task *task)
{
    PyObject *name = task_describe(task);
    PyObject *what = task->operation != NULL ? operation_describe(task->operation)
                                             : PyUnicode_FromString("its turn");
    PyObject *line = NULL;

    if (name != NULL && what != NULL) {
        /* operations that host what is above them have no code */
        PyObject *top = task->top != NULL ? task->top : Py_None;
        line = PyObject_CallFunctionObjArgs(support.describe_wait, name, what, top, NULL);
    }
    Py_XDECREF(name);
    Py_XDECREF(what);
    return line;
}

/* Appends a line (stolen) to a list. False, with an exception set, if that failed. */
static bool
append_line(PyObject *lines, PyObject *line)
{
    if (line == NULL) {
        return false;
    }
    int failed = PyList_Append(lines, line);
    Py_DECREF(line);
    return failed == 0;
}

/* Joins the lines (stolen) after saying how many there are beyond the last. */
static PyObject *
join_lines(PyObject *lines, size_t beyond)
{
    PyObject *text = NULL;

    if (beyond == 0 || append_line(lines, PyUnicode_FromFormat("  ... and %zu more", beyond))) {
        PyObject *separator = PyUnicode_FromString("\n");
        text = separator == NULL ? NULL : PyUnicode_Join(separator, lines);
        Py_XDECREF(separator);
    }
    Py_DECREF(lines);
    return text;
}

PyObject *
inspect_deadlock(Runtime *runtime)
{
    PyObject *lines = PyList_New(0);
    size_t count = 0;

    if (lines == NULL) {
        return NULL;
    }
    for (TaskSlab *slab = first_slab(runtime); slab != NULL; slab = slab->next) {
        for (size_t i = 0; i < TASK_SLAB_TASKS; i++) {
            Task *task = &slab->tasks[i];
            uint32_t state = atomic_load_explicit(&task->state, memory_order_acquire);
            if (state & TASK_FREE) {
                continue;
            }
            if (++count <= MOST_LINES && !append_line(lines, task_line(task))) {
                Py_DECREF(lines);
                return NULL;
            }
        }
    }
    return join_lines(lines, count > MOST_LINES ? count - MOST_LINES : 0);
}

PyObject *
inspect_remaining(Runtime *runtime)
{
    PyObject *lines = PyList_New(0);
    TaskChain chain = TASK_CHAIN_EMPTY;
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    size_t borrowed = 0;

    if (lines == NULL) {
        return NULL;
    }
    for (int i = 0; i < started; i++) {
        Worker *worker = &runtime->workers[i];
        if (worker == current_worker) {
            continue;
        }
        PyObject *line = PyObject_CallFunction(support.describe_running, "k", worker->ident);
        bool failed = line == NULL || (line != Py_None && PyList_Append(lines, line) < 0);
        Py_XDECREF(line);
        if (failed) {
            Py_DECREF(lines);
            return NULL;
        }
    }
    for (TaskSlab *slab = first_slab(runtime); slab != NULL && borrowed < MOST_LINES;
         slab = slab->next) {
        for (size_t i = 0; i < TASK_SLAB_TASKS && borrowed < MOST_LINES; i++) {
            borrowed += task_borrow(&slab->tasks[i], &chain);
        }
    }
    bool failed = false;
    for (Task *task = chain.first; task != NULL && !failed;) {
        failed = !append_line(lines, task_line(task));
        task = task->run.next == NULL ? NULL : LIST_ENTRY(task->run.next, Task, run);
    }
    PyObject *error = PyErr_GetRaisedException();
    scheduler_wake_chain(&chain);
    PyErr_SetRaisedException(error);
    if (failed) {
        Py_DECREF(lines);
        return NULL;
    }
    return join_lines(lines, 0);
}
