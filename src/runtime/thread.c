/* Thread: the runtime's threads are started by the function that `threading.Thread` is built on.
 *
 * Thread.start() itself will not do: it is Python code, in which a signal handler may run on the main thread, and raise; then
 * nobody knows whether the thread runs, and `threading` is left in disorder. A call of a C function is not interrupted.
 * The new thread makes itself known to `threading`, with a name and the hooks for tracing and profiling.
 */
#include "runtime/thread.h"

#include <stdlib.h>

#include "errors.h"
#include "support.h"

typedef struct Start {
    void (*body)(void *argument);
    void *argument;
    const char *name; /* a copy, behind the structure */
} Start;

static void
start_free(PyObject *capsule)
{
    free(PyCapsule_GetPointer(capsule, NULL));
}

/* What the new thread calls; `self` is the capsule with the Start. */
static PyObject *
thread_main(PyObject *self, PyObject *Py_UNUSED(args))
{
    Start *start = PyCapsule_GetPointer(self, NULL);
    PyObject *result = PyObject_CallFunction(support.enter_thread, "s", start->name);

    if (result == NULL) {
        error_report_current("in a thread of the runtime");
    }
    Py_XDECREF(result);
    start->body(start->argument);
    Py_RETURN_NONE;
}

static PyMethodDef thread_main_def = {"thread", thread_main, METH_NOARGS, NULL};

PyObject *
thread_start(const char *name, void (*body)(void *argument), void *argument)
{
    size_t length = strlen(name) + 1;
    Start *start = malloc(sizeof(Start) + length);
    PyObject *capsule;
    PyObject *function;
    PyObject *handle = NULL;

    if (start == NULL) {
        return PyErr_NoMemory();
    }
    *start = (Start){body, argument, memcpy(start + 1, name, length)};
    capsule = PyCapsule_New(start, NULL, start_free);
    if (capsule == NULL) {
        free(start);
        return NULL;
    }
    function = PyCFunction_New(&thread_main_def, capsule);
    Py_DECREF(capsule);
    if (function != NULL) {
        handle = PyObject_CallOneArg(support.start_joinable_thread, function);
        Py_DECREF(function);
    }
    return handle;
}

void
thread_join(Runtime *runtime, PyObject *handle)
{
    PyObject *result = NULL;

    while (handle != NULL && result == NULL) {
        result = PyObject_CallMethodNoArgs(handle, support.name_join);
        if (result == NULL && runtime != NULL) {
            runtime_interrupt(runtime, PyErr_GetRaisedException());
        }
        else if (result == NULL) {
            error_report_current("while waiting for a thread of the blocking pool");
        }
    }
    Py_XDECREF(result);
    Py_XDECREF(handle);
}
