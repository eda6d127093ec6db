/* Signals: Ctrl-C, and the pipe that gets worker 0 up when any signal has come.
 *
 * CPython's C handler only sets a flag, on whichever thread the signal lands, and writes a byte to the wake-up descriptor: a pipe
 * in the driver's poller, from which some worker passes the word on to worker 0, if that is the main thread. There the
 * interpreter calls the Python-level handlers. That for SIGINT, if it is the default one, is replaced during a run: the first
 * Ctrl-C cancels the main task, the second abandons what refuses to be cancelled.
 *
 * Everything here happens on the main thread.
 */
#include "runtime/signals.h"

#include <errno.h>

#include "errors.h"
#include "support.h"

static _Atomic(Runtime *)
    main_thread_runtime; /* what the SIGINT handler interrupts; written by the main thread */

/* The handler for SIGINT while a runtime runs on the main thread. */
static PyObject *
interrupted(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    /* relaxed: handlers run on the main thread, which wrote it */
    Runtime *runtime = atomic_load_explicit(&main_thread_runtime, memory_order_relaxed);
    PyObject *error = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);

    if (error == NULL) {
        return NULL;
    }
    if (runtime == NULL) {
        PyErr_SetRaisedException(error);
        return NULL;
    }
    if (!runtime_has_interrupt(runtime)) {
        runtime_interrupt(runtime, error);
        Py_RETURN_NONE;
    }
    /* The second time it is meant: what refuses to be cancelled is abandoned, and this thread's task interrupted where it is. */
    runtime_abandon(runtime);
    if (current_worker != NULL && current_worker->task != NULL) {
        PyErr_SetRaisedException(error);
        return NULL;
    }
    Py_DECREF(error);
    Py_RETURN_NONE;
}

static PyMethodDef interrupted_def = {"interrupt", interrupted, METH_VARARGS, NULL};

int
signals_begin(Runtime *runtime, SignalState *state)
{
    *state = (SignalState){NULL, -1, false};
    if (!runtime->on_main_thread) {
        return 0;
    }
    int fd = driver_open_signals(&runtime->driver);
    if (fd < 0) {
        errno = -fd;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    atomic_store_explicit(&main_thread_runtime, runtime, memory_order_relaxed);
    state->old_fd = PySignal_SetWakeupFd(fd);
    state->fd_set = true;
    state->handler = PyCFunction_New(&interrupted_def, NULL);
    if (state->handler == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallOneArg(support.install_interrupt, state->handler);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

void
signals_end(Runtime *runtime, SignalState *state)
{
    PyObject *error = PyErr_GetRaisedException();

    if (state->handler != NULL) {
        PyObject *struck = support_call_surely(support.restore_interrupt, state->handler);
        if (struck != NULL) {
            runtime_interrupt(runtime, struck);
        }
        Py_CLEAR(state->handler);
    }
    if (state->fd_set) {
        PySignal_SetWakeupFd(state->old_fd);
        atomic_store_explicit(&main_thread_runtime, NULL, memory_order_relaxed);
    }
    PyErr_SetRaisedException(error);
}
