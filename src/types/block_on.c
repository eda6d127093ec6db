/* Block on: a thread that is no worker runs a coroutine in the runtime and waits for its outcome.
 *
 * What the task reports to is shared by the thread and the task, each with a reference to it. `mutex` guards the outcome; while
 * `ended` is false under it the task is there, so it may be cancelled. The thread sleeps detached, and gets up now and then to
 * see whether the interpreter wants something of it: a signal handler, or an interrupt of the job that it runs.
 */
#include <stdlib.h>

#include "core/mutex.h"
#include "core/parker.h"
#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "support.h"
#include "types/types.h"

#define LOOK_INTERVAL 50000000 /* nanoseconds */

typedef struct Blocker {
    Completion completion;
    _Atomic uint32_t references;
    Parker parker;
    Mutex mutex; /* guards the following */
    bool ended;
    PyObject *value; /* owned */
    PyObject *error; /* owned */
} Blocker;

static void
blocker_release(Blocker *self)
{
    /* acq_rel: the last one to let go sees what the other did */
    if (atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) == 1) {
        Py_XDECREF(self->value);
        Py_XDECREF(self->error);
        parker_destroy(&self->parker);
        free(self);
    }
}

static void
blocker_done(Completion *completion, Task *Py_UNUSED(task), PyObject *value, PyObject *error)
{
    Blocker *self = LIST_ENTRY(completion, Blocker, completion);

    mutex_lock(&self->mutex);
    self->ended = true;
    self->value = value;
    self->error = error;
    mutex_unlock(&self->mutex);
    parker_unpark(&self->parker);
    blocker_release(self);
}

/* Waits until the task has ended. An exception that a signal handler or an interrupt raises meanwhile cancels it; the first one
 * is returned (new reference), after the end. */
static PyObject *
blocker_wait(Blocker *self, Task *task)
{
    PyThreadState *tstate = PyThreadState_Get();
    PyObject *raised = NULL;

    for (;;) {
        TaskChain chain = TASK_CHAIN_EMPTY;
        mutex_lock(&self->mutex);
        bool ended = self->ended;
        if (!ended && raised != NULL) {
            task_request_cancel(task, TASK_STOPPED, &chain);
        }
        mutex_unlock(&self->mutex);
        scheduler_wake_chain(&chain);
        if (ended) {
            return raised;
        }
        Py_BEGIN_ALLOW_THREADS
        parker_park(&self->parker, LOOK_INTERVAL);
        Py_END_ALLOW_THREADS
        if (thread_state_has_requests(tstate)) {
            PyObject *nothing = PyObject_CallNoArgs(support.breathe);
            if (nothing == NULL) {
                PyObject *error = PyErr_GetRaisedException();
                if (raised == NULL) {
                    raised = error;
                }
                else {
                    Py_DECREF(error);
                }
            }
            Py_XDECREF(nothing);
        }
    }
}

/* Runs a claimed coroutine (stolen). The caller is inside the runtime. */
static PyObject *
block_in(Runtime *runtime, PyObject *runnable)
{
    Blocker *self = calloc(1, sizeof(Blocker));
    PyObject *value = NULL;

    if (self == NULL || parker_init(&self->parker) < 0) {
        free(self);
        runnable_discard(runnable);
        return PyErr_NoMemory();
    }
    self->completion.done = blocker_done;
    atomic_init(&self->references, 2);
    Task *task = runtime_new_task(runtime, runnable, &self->completion, 0);
    if (task == NULL) {
        blocker_release(self);
        blocker_release(self);
        return NULL;
    }
    runtime_start_task(runtime, task);
    PyObject *raised = blocker_wait(self, task);
    PyObject *error = self->error;
    self->error = NULL;
    if (raised != NULL) {
        if (error != NULL && !error_is_cancelled(error)) {
            PyException_SetContext(raised, Py_NewRef(error)); /* of its clean-up */
        }
        PyErr_SetRaisedException(raised);
    }
    else if (error != NULL && error_is_cancelled(error)) {
        PyErr_SetString(error_type(ERROR_TASK_CANCELLED), "the task was cancelled");
    }
    else if (error != NULL) {
        PyErr_SetRaisedException(Py_NewRef(error));
    }
    else {
        value = self->value;
        self->value = NULL;
    }
    Py_XDECREF(error);
    blocker_release(self);
    return value;
}

static PyObject *
block_on(PyObject *Py_UNUSED(module), PyObject *coroutine)
{
    if (current_worker != NULL) {
        runnables_discard(NULL, 0, &coroutine, 1);
        PyErr_SetString(PyExc_RuntimeError, "block_on() would hold up the tasks of this thread: "
                                            "yield or await the coroutine");
        return NULL;
    }
    Runtime *runtime = runtime_enter("block_on()");
    if (runtime == NULL) {
        runnables_discard(NULL, 0, &coroutine, 1);
        return NULL;
    }
    PyObject *runnable = runnable_claim(coroutine, "coro");
    PyObject *value = runnable == NULL ? NULL : block_in(runtime, runnable);
    runtime_leave(runtime);
    return value;
}

PyDoc_STRVAR(block_on_doc,
             "block_on(coro, /)\n--\n\n"
             "Runs a coroutine, generator or operation in the runtime from a thread that is no "
             "worker, and blocks until it has "
             "ended.\n\n"
             "Returns its value or raises its error as it is; TaskCancelled if it was cancelled "
             "(also by the end of the run). For "
             "threads of the\n"
             "program's own, and functions on the blocking pool, whose runtime is meant. If the "
             "thread is interrupted meanwhile (by "
             "Ctrl-C, or\n"
             "because the job was cancelled) the coroutine is cancelled and has ended before that "
             "is raised.\n\n"
             "Raises RuntimeError in a task, RuntimeNotInitializedError if no runtime runs.\n\n"
             "    answer = tonio.block_on(ask())");

static PyMethodDef functions[] = {
    {"block_on", block_on, METH_O, block_on_doc},
    {NULL, NULL, 0, NULL},
};

int
block_on_module_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
