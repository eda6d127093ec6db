/* Hosting: operations that run a coroutine inside the calling task - timeout(), delegate() and the collector of scopes.
 *
 * No task is made: the run loop pushes the coroutine on top of the operation, which lies on the task's stack until the
 * coroutine has ended and then says what the outcome is. timeout() puts a cancel scope that expires around it; delegate()
 * makes an operation of a generator, so that what is composed in Python can be yielded and awaited alike. The collector is
 * put below everything else when a task first enters a scope: it keeps the task from ending before its scopes have.
 *
 * Everything here belongs to the task that hosts; only the cancel scope is seen by others.
 */
#include "core/clock.h"
#include "errors.h"
#include "runtime/cancel.h"
#include "runtime/runtime.h"
#include "types/error_list.h"
#include "types/scope.h"
#include "types/types.h"

typedef struct Hosting {
    Operation base;
    CancelScope scope;   /* timeout, collector: entered while the coroutine runs */
    CancelScope *target; /* borrowed: what of it is waited for */
    PyObject *coroutine; /* owned, claimed; NULL once it runs */
    PyObject *pair;      /* owned: timeout: (None, False), which becomes the result */
    double seconds;      /* timeout: negative for none */
    bool ended;          /* the coroutine has, with one of the next two */
    PyObject *value;     /* owned */
    PyObject *error;     /* owned */
    PyObject *errors;    /* owned: of scopes that it has left behind; NULL if there are none */
} Hosting;

static PyTypeObject Hosting_Type;

/* ---- what is left behind --------------------------------------------------------------------------------- */

/* Everything has ended: the outcome of the coroutine and of the scopes it left. */
static OperationResult
hosting_settle(Hosting *self, Task *task, PyObject **result)
{
    PyObject *error = self->error;

    self->error = NULL;
    cancel_scope_leave(&self->scope, task);
    if (error != NULL && error_ends_run(error)) {
        error_list_report(self->errors, "in a task of a scope that the end of the run has left");
    }
    else if (error_list_count(self->errors) > 0) {
        if (error != NULL && !error_is_cancelled(error)) {
            error_list_prepend(self->errors, error);
        }
        error_list_raise(self->errors);
        Py_XDECREF(error);
        return OPERATION_ERROR;
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return OPERATION_ERROR;
    }
    *result = self->value;
    self->value = NULL;
    return OPERATION_READY;
}

static OperationResult
hosting_drain(Hosting *self, Task *task, PyObject **result)
{
    if (self->target != NULL && !cancel_scope_collect(&self->scope, &self->target, self->errors)) {
        return OPERATION_PENDING;
    }
    return hosting_settle(self, task, result);
}

/* The coroutine has ended; is there something to wait for? */
static OperationResult
hosting_ended(Operation *op, Task *task, PyObject *value, PyObject *error, PyObject **result)
{
    Hosting *self = (Hosting *)op;

    self->ended = true;
    self->value = value;
    self->error = error;
    scope_close_inner(&self->scope, task);
    /* relaxed: set by this thread or by tasks that have ended since */
    if (atomic_load_explicit(&self->scope.has_tree, memory_order_relaxed)) {
        self->target = &self->scope;
        self->errors = error_list_new();
        if (self->errors == NULL) {
            /* What is in the scopes must be waited for in any case; errors are reported, and this one is raised. */
            PyObject *reason = PyErr_GetRaisedException();
            if (self->error == NULL) {
                self->error = Py_NewRef(reason);
                Py_CLEAR(self->value);
            }
            Py_DECREF(reason);
        }
        if (error != NULL) {
            cancel_scope_cancel(&self->scope, SCOPE_CANCELLED);
        }
    }
    return hosting_drain(self, task, result);
}

static OperationResult
hosting_arm(Operation *op, Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    return cancel_scope_arm(((Hosting *)op)->target) ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
hosting_detach(Operation *op, Task *Py_UNUSED(task))
{
    cancel_scope_disarm(((Hosting *)op)->target);
}

static OperationResult
hosting_cancelled(Operation *op, Task *Py_UNUSED(task))
{
    return ((Hosting *)op)->ended ? OPERATION_PENDING : OPERATION_READY;
}

/* ---- timeout() ------------------------------------------------------------------------------------------- */

static OperationResult
timeout_outcome(Hosting *self, Task *task, OperationResult ended, PyObject **result)
{
    if (ended == OPERATION_READY) {
        PyTuple_SET_ITEM(self->pair, 0, *result); /* both of its items are immortal */
        PyTuple_SET_ITEM(self->pair, 1, Py_True);
        if (!PyObject_GC_IsTracked(self->pair)) {
            PyObject_GC_Track(self->pair); /* the collector had found nothing in it to look at */
        }
        *result = self->pair;
        self->pair = NULL;
        return OPERATION_READY;
    }
    /* Absorbed if it was this scope's cancellation: not if an outer one is in force as well. relaxed: the exception came after
     * it */
    if (ended == OPERATION_ERROR &&
        atomic_load_explicit(&self->scope.cancelled, memory_order_relaxed) == SCOPE_EXPIRED &&
        PyErr_ExceptionMatches(error_type(ERROR_CANCELLED)) && !task_is_cancelled(task)) {
        PyErr_Clear();
        task->swallowed = 0;
        *result = self->pair;
        self->pair = NULL;
        return OPERATION_READY;
    }
    return ended;
}

static OperationResult
timeout_poll(Operation *op, Task *task, PyObject **result)
{
    Hosting *self = (Hosting *)op;
    uint64_t deadline = TIMER_NEVER;

    if (self->ended) {
        return timeout_outcome(self, task, hosting_drain(self, task, result), result);
    }
    if (self->seconds >= 0 && self->seconds < 9e12) {
        deadline = clock_now_us() + (uint64_t)(self->seconds * 1e6);
    }
    cancel_scope_enter(&self->scope, task, deadline, false);
    if (self->seconds == 0) {
        /* the coroutine runs to its first wait */
        cancel_scope_cancel_own(&self->scope);
    }
    *result = self->coroutine;
    self->coroutine = NULL;
    return OPERATION_HOSTS;
}

static OperationResult
timeout_ended(Operation *op, Task *task, PyObject *value, PyObject *error, PyObject **result)
{
    return timeout_outcome((Hosting *)op, task, hosting_ended(op, task, value, error, result),
                           result);
}

static const OperationClass timeout_class = {
    .name = "timeout()",
    .poll = timeout_poll,
    .arm = hosting_arm,
    .detach = hosting_detach,
    .cancelled = hosting_cancelled,
    .settles = true,
    .hosted_ended = timeout_ended,
};

/* ---- the collector --------------------------------------------------------------------------------------- */

static OperationResult
collector_poll(Operation *op, Task *task, PyObject **result)
{
    return hosting_drain((Hosting *)op, task, result);
}

static const OperationClass collector_class = {
    .name = "the end of the task's scopes",
    .poll = collector_poll,
    .arm = hosting_arm,
    .detach = hosting_detach,
    .cancelled = hosting_cancelled,
    .settles = true,
    .hosted_ended = hosting_ended,
};

/* ---- delegate() ------------------------------------------------------------------------------------------ */

static OperationResult
delegate_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    Hosting *self = (Hosting *)op;

    *result = self->coroutine;
    self->coroutine = NULL;
    return OPERATION_HOSTS;
}

static OperationResult
delegate_ended(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject *value, PyObject *error,
               PyObject **result)
{
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return OPERATION_ERROR;
    }
    *result = value;
    return OPERATION_READY;
}

static const OperationClass delegate_class = {
    .name = "operation",
    .poll = delegate_poll,
    .hosted_ended = delegate_ended,
};

/* ---- the type -------------------------------------------------------------------------------------------- */

static int
Hosting_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((Hosting *)self)->coroutine);
    Py_VISIT(((Hosting *)self)->value);
    Py_VISIT(((Hosting *)self)->error);
    Py_VISIT(((Hosting *)self)->errors);
    return 0;
}

static void
Hosting_dealloc(PyObject *object)
{
    Hosting *self = (Hosting *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&self->base);
    if (self->coroutine != NULL) {
        PyObject *coroutine = self->coroutine;
        self->coroutine = NULL;
        runnable_discard(coroutine);
    }
    Py_XDECREF(self->pair);
    Py_XDECREF(self->value);
    Py_XDECREF(self->error);
    Py_XDECREF(self->errors);
    PyObject_GC_Del(object);
}

static PyTypeObject Hosting_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Hosting",
    .tp_basicsize = sizeof(Hosting),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = Hosting_dealloc,
    .tp_traverse = Hosting_traverse,
};

/* `coroutine` is stolen, also on failure. */
static Hosting *
hosting_new(const OperationClass *cls, PyObject *coroutine, uint8_t use)
{
    Hosting *self = PyObject_GC_New(Hosting, &Hosting_Type);

    if (self == NULL) {
        if (coroutine != NULL) {
            runnable_discard(coroutine);
        }
        return NULL;
    }
    operation_init(&self->base, cls, use, -1.0);
    cancel_scope_init(&self->scope);
    self->target = NULL;
    self->coroutine = coroutine;
    self->seconds = -1.0;
    self->ended = false;
    self->pair = self->value = self->error = self->errors = NULL;
    PyObject_GC_Track(self);
    return self;
}

int
hosting_collect_task(Task *task)
{
    if (task->scope != NULL && task->scope->host == task) {
        return 0; /* there is something around it already */
    }
    Hosting *collector = hosting_new(&collector_class, NULL, OPERATION_CLAIMED);
    if (collector == NULL || task_push_bottom(task, (PyObject *)collector) < 0) {
        return -1;
    }
    cancel_scope_enter(&collector->scope, task, TIMER_NEVER, true);
    return 0;
}

static PyObject *
timeout(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"coro", "timeout", NULL};
    PyObject *values[2];
    double seconds;

    if (arguments_parse("timeout()", names, 2, args, nargs, kwnames, values) < 0 ||
        seconds_from_object(values[1], "timeout", &seconds) < 0) {
        return NULL;
    }
    PyObject *coroutine = runnable_claim(values[0], "coro");
    if (coroutine == NULL) {
        return NULL;
    }
    /* first, or a result for which there is no tuple would be lost */
    PyObject *pair = PyTuple_Pack(2, Py_None, Py_False);
    if (pair == NULL) {
        runnable_discard(coroutine);
        return NULL;
    }
    Hosting *self = hosting_new(&timeout_class, coroutine, OPERATION_NEW);
    if (self == NULL) {
        Py_DECREF(pair);
        return NULL;
    }
    self->seconds = seconds;
    self->pair = pair;
    return (PyObject *)self;
}

static PyObject *
delegate(PyObject *Py_UNUSED(module), PyObject *object)
{
    PyObject *coroutine = runnable_claim(object, "coro");

    return coroutine == NULL ? NULL
                             : (PyObject *)hosting_new(&delegate_class, coroutine, OPERATION_NEW);
}

PyDoc_STRVAR(timeout_doc, "timeout(coro, timeout)\n--\n\n"
                          "Runs a coroutine, generator or operation for at most `timeout` seconds: "
                          "yield or await what this returns.\n\n"
                          "The result is (value, True), or (None, False) if the time was up: then "
                          "the coroutine was cancelled and has ended, clean-up\n"
                          "included. Its exceptions pass through. The time counts from the first "
                          "wait; None or infinity is no limit, 0 lets it run to\n"
                          "its first wait. Timeouts nest: the earlier one wins.\n\n"
                          "Raises TypeError or ValueError for bad arguments.\n\n"
                          "    answer, in_time = yield tonio.time.timeout(ask(), 2.5)");

PyDoc_STRVAR(delegate_doc, "delegate(coro, /)\n--\n\n"
                           "An operation that runs a generator or coroutine in the task that "
                           "yields or awaits it, and ends as that does.");

static PyMethodDef functions[] = {
    {"timeout", (PyCFunction)(void (*)(void))timeout, METH_FASTCALL | METH_KEYWORDS, timeout_doc},
    {"delegate", delegate, METH_O, delegate_doc},
    {NULL, NULL, 0, NULL},
};

int
hosting_module_init(PyObject *module)
{
    if (operation_type_ready(&Hosting_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
