/* Hosting: operations that run a coroutine inside the calling task - timeout() and delegate().
 *
 * No task is made: the run loop pushes the coroutine on top of the operation, which lies on the task's stack until the
 * coroutine has ended and then says what the outcome is. timeout() puts a cancel scope that expires around it;
 * delegate() makes an operation of a generator, so that what is composed in Python can be yielded and awaited alike.
 */
#include "core/clock.h"
#include "errors.h"
#include "runtime/cancel.h"
#include "runtime/runtime.h"
#include "types/types.h"

typedef struct Hosting {
    Operation base;
    CancelScope scope;   /* timeout: entered while the coroutine runs */
    PyObject *coroutine; /* owned, claimed; NULL once it runs */
    double seconds;      /* timeout: negative for none */
} Hosting;

static PyTypeObject Hosting_Type;

static OperationResult
timeout_poll(Operation *op, Task *task, PyObject **result)
{
    Hosting *self = (Hosting *)op;
    uint64_t deadline = TIMER_NEVER;

    if (self->seconds >= 0 && self->seconds < 9e12) {
        deadline = clock_now_us() + (uint64_t)(self->seconds * 1e6);
    }
    cancel_scope_enter(&self->scope, task, deadline);
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
    Hosting *self = (Hosting *)op;
    bool expired = cancel_scope_leave(&self->scope, task);

    if (error == NULL) {
        *result = PyTuple_New(2);
        if (*result == NULL) {
            Py_DECREF(value);
            return OPERATION_ERROR;
        }
        PyTuple_SET_ITEM(*result, 0, value);
        PyTuple_SET_ITEM(*result, 1, Py_NewRef(Py_True));
        return OPERATION_READY;
    }
    /* Absorbed if it was this scope's cancellation: not if an outer one is in force as well. */
    if (expired && PyErr_GivenExceptionMatches(error, error_type(ERROR_CANCELLED)) &&
        !task_is_cancelled(task)) {
        Py_DECREF(error);
        *result = PyTuple_Pack(2, Py_None, Py_False);
        return *result == NULL ? OPERATION_ERROR : OPERATION_READY;
    }
    PyErr_SetRaisedException(error);
    return OPERATION_ERROR;
}

static const OperationClass timeout_class = {
    .name = "timeout()",
    .poll = timeout_poll,
    .hosted_ended = timeout_ended,
};

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

static int
Hosting_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((Hosting *)self)->coroutine);
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
    PyObject_GC_Del(object);
}

static PyTypeObject Hosting_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Hosting",
    .tp_basicsize = sizeof(Hosting),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = Hosting_dealloc,
    .tp_traverse = Hosting_traverse,
};

/* An operation that hosts `object`, which it claims. New reference or NULL. */
static PyObject *
hosting_new(const OperationClass *cls, PyObject *object, double seconds)
{
    PyObject *coroutine = runnable_claim(object, "coro");
    if (coroutine == NULL) {
        return NULL;
    }
    Hosting *self = PyObject_GC_New(Hosting, &Hosting_Type);
    if (self == NULL) {
        runnable_discard(coroutine);
        return NULL;
    }
    operation_init(&self->base, cls, OPERATION_NEW, -1.0);
    self->coroutine = coroutine;
    self->seconds = seconds;
    PyObject_GC_Track(self);
    return (PyObject *)self;
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
    return hosting_new(&timeout_class, values[0], seconds);
}

static PyObject *
delegate(PyObject *Py_UNUSED(module), PyObject *coroutine)
{
    return hosting_new(&delegate_class, coroutine, -1.0);
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
