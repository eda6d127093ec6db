/* Operation: what all yieldable and awaitable objects share - claiming, __next__, the warning for one never used.
 *
 * operation_next is the `await` half of the run loop in task_run.c: it runs inside the coroutine, on the worker that
 * runs the task, and only polls. Waiting happens later, in the run loop, which finds the operation in
 * worker->awaiting.
 */
#include "runtime/operation.h"

#include <math.h>

#include "core/clock.h"
#include "runtime/perturb.h"
#include "runtime/runtime.h"

int
operation_claim(Operation *op)
{
    uint8_t expected = OPERATION_NEW;

    /* relaxed: of two claimants one fails, and the winner needs nothing from the loser */
    if (!atomic_compare_exchange_strong_explicit(&op->use, &expected, OPERATION_CLAIMED,
                                                 memory_order_relaxed, memory_order_relaxed) &&
        expected != OPERATION_SHARED) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s was already yielded or awaited: call it again for another wait",
                     op->cls->name);
        return -1;
    }
    return 0;
}

int
operation_prepare_next(Worker *worker)
{
    PyStopIterationObject *stop = (PyStopIterationObject *)worker->stop_iteration;

    if (stop == NULL || Py_REFCNT(stop) != 1 || stop->traceback != NULL || stop->context != NULL) {
        PyObject *fresh = PyObject_CallNoArgs(PyExc_StopIteration);
        if (fresh == NULL) {
            return -1;
        }
        Py_XSETREF(worker->stop_iteration, fresh);
    }
    return 0;
}

/* Ends __next__ with a result (stolen): what `await` hands on is the value of a StopIteration, and no exception at all
 * stands for None. The StopIteration is made once per worker and used again while nobody else has it. */
static PyObject *
next_return(Worker *worker, PyObject *value)
{
    if (value == Py_None) {
        return NULL;
    }
    if (operation_prepare_next(worker) < 0) {
        Py_DECREF(value);
        return NULL;
    }
    PyStopIterationObject *stop = (PyStopIterationObject *)worker->stop_iteration;
    PyObject *before = stop->value;
    stop->value = value;
    worker->carries = true;
    PyErr_SetRaisedException(Py_NewRef(stop));
    Py_XDECREF(before);
    return NULL;
}

PyObject *
operation_next(PyObject *self)
{
    Operation *op = (Operation *)self;
    Worker *worker = current_worker;
    Task *task = worker != NULL ? worker->task : NULL;
    PyObject *result = NULL;

    if (task == NULL) {
        runtime_current_task(op->cls->name);
        return NULL;
    }
    if (task->operation == op && (task->flags & TASK_HAS_RESULT)) {
        PyObject *value = task->value;
        bool failed = (task->flags & TASK_FAILED) != 0;
        task->value = NULL;
        task->operation = NULL;
        task->flags &= (uint16_t)~(TASK_HAS_RESULT | TASK_FAILED);
        Py_DECREF(op); /* the coroutine still holds it */
        if (failed) {
            PyErr_SetRaisedException(value);
            return NULL;
        }
        return next_return(worker, value);
    }
    /* What is to carry the result comes first: a result that cannot be handed on would be lost. */
    if (operation_prepare_next(worker) < 0 || operation_claim(op) < 0) {
        return NULL;
    }
    worker->awaiting = op;
    if (op->cls->hosted_ended != NULL || budget_is_spent(worker, task)) {
        worker->awaiting_result = OPERATION_REQUEUE; /* the run loop polls it */
        return Py_NewRef(op);
    }
    worker->awaiting_result = op->cls->poll(op, task, &result);
    switch (worker->awaiting_result) {
    case OPERATION_READY:
        worker->awaiting = NULL;
        return next_return(worker, result);
    case OPERATION_ERROR:
        worker->awaiting = NULL;
        return NULL;
    default:
        return Py_NewRef(op);
    }
}

bool
operation_set_deadline(Operation *op)
{
    if (op->timeout < 0.0) {
        return false;
    }
    /* A wait that is armed again keeps its end: the deadline is set once. */
    if (op->deadline == 0) {
        double left = op->timeout * 1e6;
        op->deadline = left >= 9e18 ? TIMER_NEVER : clock_now_us() + (uint64_t)ceil(left) + 1;
    }
    return op->deadline != TIMER_NEVER;
}

void
operation_set_timed_out(Operation *op)
{
    PyErr_Format(PyExc_TimeoutError, "%s took longer than its timeout", op->cls->name);
}

void
operation_warn_unused(Operation *op)
{
    Worker *worker = current_worker;

    /* What a coroutine that is being closed wants to wait for is dropped by whoever closes it. */
    if (worker != NULL && worker->task != NULL && (worker->task->flags & TASK_CLOSING)) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "%s was never yielded or awaited",
                         op->cls->name) < 0) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(op));
    }
    PyErr_SetRaisedException(error);
}

static PyObject *
operation_self(PyObject *self)
{
    return Py_NewRef(self);
}

static PyObject *
operation_repr(PyObject *self)
{
    Operation *op = (Operation *)self;
    return PyUnicode_FromFormat("<operation %s at %p>", op->cls->name, self);
}

static PyAsyncMethods operation_async = {
    .am_await = operation_self,
};

static PyObject *
Operation_class_getitem(PyObject *type, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(type);
}

static PyMethodDef operation_methods[] = {
    {"__class_getitem__", Operation_class_getitem, METH_O | METH_CLASS,
     "Operation[T] for annotations."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Operation_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Operation",
    .tp_doc = "Something a coroutine can wait for: `yield` or `await` it, once.",
    .tp_basicsize = sizeof(Operation),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_async = &operation_async,
    .tp_iter = operation_self,
    .tp_iternext = operation_next,
    .tp_repr = operation_repr,
    .tp_methods = operation_methods,
};

int
operation_type_ready(PyTypeObject *type)
{
    if (type != &Operation_Type) {
        type->tp_base = &Operation_Type;
        type->tp_flags |= Py_TPFLAGS_DEFAULT;
        if (type->tp_new == NULL) {
            type->tp_flags |= Py_TPFLAGS_DISALLOW_INSTANTIATION;
        }
        type->tp_as_async = &operation_async;
        type->tp_iter = operation_self;
        type->tp_iternext = operation_next;
    }
    return PyType_Ready(type);
}

int
seconds_from_object(PyObject *object, const char *argument, double *seconds)
{
    if (object == NULL || object == Py_None) {
        *seconds = -1.0;
        return 0;
    }
    double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not %.200s", argument,
                         Py_TYPE(object)->tp_name);
        }
        return -1;
    }
    if (isnan(value) || value < 0) {
        PyErr_Format(PyExc_ValueError, "%s must be a number of seconds that is not %s", argument,
                     isnan(value) ? "NaN" : "negative");
        return -1;
    }
    *seconds = isinf(value) ? -1.0 : value;
    return 0;
}
