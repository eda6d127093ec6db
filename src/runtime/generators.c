/* Generators: asynchronous generators are closed by the run that they were begun in, as PEP 525 asks.
 *
 * tonio._support.Generators keeps the list; two of its methods are the interpreter's hooks on every worker. A generator that is
 * dropped before it is finished is closed by a task, since its clean-up may wait. The hook comes on whichever thread drops the
 * last reference, also long after the run: then nothing can be done any more.
 */
#include "runtime/generators.h"

#include "errors.h"
#include "runtime/scheduler.h"
#include "support.h"

/* Starts a task that nobody waits for in the runtime whose serial number is `self`. Any thread. False: it does not run any
 * more, or is about to end. */
static PyObject *
spawn_late(PyObject *self, PyObject *coroutine)
{
    Runtime *runtime = runtime_find(PyLong_AsUnsignedLongLong(self));
    bool started = false;

    if (runtime != NULL && !runtime_is_closing(runtime)) {
        PyObject *runnable = runnable_claim(coroutine, "the closing of a generator");
        Task *task = runnable == NULL ? NULL : runtime_new_task(runtime, runnable, NULL, 0);
        if (task != NULL) {
            runtime_start_task(runtime, task);
            started = true;
        }
    }
    if (runtime != NULL) {
        runtime_leave(runtime);
    }
    return PyErr_Occurred() ? NULL : PyBool_FromLong(started);
}

static PyMethodDef spawn_late_def = {"spawn", spawn_late, METH_O, NULL};

int
generators_begin(Runtime *runtime)
{
    PyObject *serial = PyLong_FromUnsignedLongLong(runtime->serial);
    PyObject *spawn = serial == NULL ? NULL : PyCFunction_New(&spawn_late_def, serial);

    Py_XDECREF(serial);
    if (spawn != NULL) {
        runtime->generators = PyObject_CallOneArg(support.make_generators, spawn);
        Py_DECREF(spawn);
    }
    if (runtime->generators == NULL) {
        return -1;
    }
    runtime->generator_begun = PyObject_GetAttr(runtime->generators, support.name_begun);
    runtime->generator_dropped = PyObject_GetAttr(runtime->generators, support.name_dropped);
    return runtime->generator_begun == NULL || runtime->generator_dropped == NULL ? -1 : 0;
}

static void
generators_closed(Completion *Py_UNUSED(completion), Task *task, PyObject *value, PyObject *error)
{
    Runtime *runtime = task_runtime(task);

    if (error != NULL && !error_is_cancelled(error) && !error_ends_run(error)) {
        error_report(error, "while asynchronous generators were closed at the end of the run");
    }
    mutex_lock(&runtime->outcome_mutex);
    atomic_store_explicit(&runtime->main_task, NULL, memory_order_relaxed);
    mutex_unlock(&runtime->outcome_mutex);
    runtime_close(runtime);
    Py_XDECREF(value);
    Py_XDECREF(error);
}

void
generators_end(Runtime *runtime)
{
    Worker *worker = &runtime->workers[0];

    for (int round = 0; round < 100; round++) {
        PyObject *closing = PyObject_CallMethodNoArgs(runtime->generators, support.name_close_all);
        if (closing == Py_None) {
            Py_DECREF(closing);
            return;
        }
        if (closing == NULL) {
            runtime_interrupt(runtime, PyErr_GetRaisedException()); /* a signal handler's */
            continue;
        }
        Completion completion = {generators_closed};
        PyObject *runnable = runnable_claim(closing, "close_all()");
        Py_DECREF(closing);
        worker->swept = 0;
        /* release: foreign threads that come now find everything in order */
        atomic_store_explicit(&runtime->phase, RUNTIME_RUNNING, memory_order_release);
        Task *task = runnable == NULL ? NULL : runtime_new_task(runtime, runnable, &completion, 0);
        if (task == NULL) {
            error_report_current("while closing asynchronous generators at the end of the run");
            atomic_store_explicit(&runtime->phase, RUNTIME_ENDED, memory_order_release);
            return;
        }
        atomic_store_explicit(&runtime->main_task, task, memory_order_relaxed);
        runtime_start_task(runtime, task);
        worker_main(worker);
    }
}
