/* Scope wait: the operation behind `async with scope()` (entering, leaving) and `yield scope()`.
 *
 * Leaving and awaiting wait until everything in the scope has ended, and then tell what came of it: the errors of its tasks, the
 * exception of the block, a time limit. A cancellation from further out does not end that wait: it is spread to the
 * tasks by whoever cancels, and comes out afterwards if nothing graver does. Everything here belongs to the host.
 */
#include "errors.h"
#include "runtime/runtime.h"
#include "types/error_list.h"
#include "types/scope.h"
#include "types/types.h"

/* The operation behind `async with` (entering, leaving) and `yield scope()`. */
typedef struct ScopeWait {
    Operation base;
    Scope *scope;        /* owned */
    CancelScope *target; /* borrowed: what of it is waited for */
    PyObject *error;     /* owned or NULL: the exception that left the block */
    PyObject *errors;    /* owned: collected so far */
    uint8_t step;        /* ScopeStep */
    bool exits;          /* it is the end of `async with` */
    bool cancelled;      /* the host was cancelled meanwhile */
} ScopeWait;

/* Everything in the scope has ended: what comes out of it. */
static OperationResult
scope_settle(ScopeWait *op, Task *task, PyObject **result)
{
    Scope *self = op->scope;
    PyObject *error = op->error;
    bool forced = self->forced;

    scope_end(self, op->errors);
    bool absorbed = scope_absorbs(self, task, error);
    if (absorbed) {
        error = NULL;
    }
    if (error != NULL && error_ends_run(error)) {
        error_list_report(op->errors, "in a task of a scope that the end of the run has left");
    }
    else if (error_list_count(op->errors) > 0) {
        if (error != NULL && !error_is_cancelled(error)) {
            error_list_prepend(op->errors, error);
        }
        error_list_raise(op->errors);
        return OPERATION_ERROR;
    }
    if (error == NULL && scope_times_out(self)) {
        return OPERATION_ERROR;
    }
    /* the wait counts as inside of the scope: behind its shield */
    if (error == NULL && op->cancelled && !cancel_scope_holds_off(&self->cancel) &&
        task_is_cancelled(task)) {
        error_set_cancelled();
        return OPERATION_ERROR;
    }
    *result = !op->exits ? Py_None : absorbed || (forced && error == NULL) ? Py_True : Py_False;
    return OPERATION_READY;
}

static OperationResult
scope_poll(Operation *base, Task *task, PyObject **result)
{
    ScopeWait *op = (ScopeWait *)base;
    Scope *self = op->scope;

    switch ((ScopeStep)op->step) {
    case SCOPE_ENTERS:
        if (scope_enter(self, task) < 0) {
            return OPERATION_ERROR;
        }
        *result = Py_NewRef(self);
        return OPERATION_READY;
    case SCOPE_EXITS:
        if (scope_leave(self, task, op->error) < 0) {
            return OPERATION_ERROR;
        }
        break;
    case SCOPE_IS_AWAITED:
        if (scope_state(self) == SCOPE_NEW || scope_state(self) == SCOPE_OPEN) {
            PyErr_SetString(
                PyExc_RuntimeError,
                scope_state(self) == SCOPE_NEW
                    ? "the scope was not entered: there is nothing to wait for"
                    : "the scope's block has not ended: yield or await scope() after it");
            return OPERATION_ERROR;
        }
        if (scope_state(self) == SCOPE_CLOSED && self->cancel.host != task) {
            PyErr_SetString(
                PyExc_RuntimeError,
                "scope() is waited for by the task that entered the scope, not by another one");
            return OPERATION_ERROR;
        }
        break;
    case SCOPE_WAITS:
        break;
    }
    if (op->step != SCOPE_WAITS) {
        if (scope_state(self) == SCOPE_ENDED) {
            *result = op->exits ? Py_False : Py_None;
            return OPERATION_READY;
        }
        op->errors = error_list_new();
        if (op->errors == NULL) {
            return OPERATION_ERROR; /* it is collected by what is around it */
        }
        op->target = &self->cancel;
        op->step = SCOPE_WAITS;
    }
    if (!cancel_scope_collect(&self->cancel, &op->target, op->errors)) {
        return OPERATION_PENDING;
    }
    return scope_settle(op, task, result);
}

static OperationResult
scope_arm(Operation *base, Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    return cancel_scope_arm(((ScopeWait *)base)->target) ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
scope_detach(Operation *base, Task *Py_UNUSED(task))
{
    cancel_scope_disarm(((ScopeWait *)base)->target);
}

static OperationResult
scope_cancelled(Operation *base, Task *Py_UNUSED(task))
{
    ScopeWait *op = (ScopeWait *)base;

    if (op->step == SCOPE_ENTERS) {
        return OPERATION_READY;
    }
    op->cancelled = true; /* those in the scope are told by whoever cancelled */
    return OPERATION_PENDING;
}

static PyObject *
scope_describe(Operation *base)
{
    return PyUnicode_FromFormat("the end of %R", ((ScopeWait *)base)->scope);
}

static const OperationClass scope_wait_class = {
    .name = "the end of a scope",
    .describe = scope_describe,
    .poll = scope_poll,
    .arm = scope_arm,
    .detach = scope_detach,
    .cancelled = scope_cancelled,
    .settles = true,
};

static void
ScopeWait_dealloc(PyObject *object)
{
    ScopeWait *op = (ScopeWait *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&op->base);
    Py_XDECREF(op->error);
    Py_XDECREF(op->errors);
    Py_DECREF(op->scope);
    PyObject_GC_Del(object);
}

static int
ScopeWait_traverse(PyObject *object, visitproc visit, void *arg)
{
    ScopeWait *op = (ScopeWait *)object;

    Py_VISIT(op->scope);
    Py_VISIT(op->error);
    Py_VISIT(op->errors);
    return 0;
}

PyTypeObject ScopeWait_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ScopeWait",
    .tp_basicsize = sizeof(ScopeWait),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = ScopeWait_dealloc,
    .tp_traverse = ScopeWait_traverse,
};

PyObject *
scope_wait_new(PyObject *scope, ScopeStep step, PyObject *error)
{
    ScopeWait *op = PyObject_GC_New(ScopeWait, &ScopeWait_Type);

    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &scope_wait_class, OPERATION_NEW, -1.0);
    op->scope = (Scope *)Py_NewRef(scope);
    op->target = NULL;
    op->error = error == NULL || error == Py_None ? NULL : Py_NewRef(error);
    op->errors = NULL;
    op->step = (uint8_t)step;
    op->exits = step == SCOPE_EXITS;
    op->cancelled = false;
    PyObject_GC_Track(op);
    return (PyObject *)op;
}
