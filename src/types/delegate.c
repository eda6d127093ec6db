/* Delegate: makes an operation of a generator, so that what is composed in Python can be yielded and awaited alike.
 *
 * The Python layer writes a composed operation once, as a generator, and decorates it; the run loop pushes the generator
 * when the operation is polled. Used by the task that polls it alone.
 */
#include "runtime/runtime.h"
#include "types/types.h"

typedef struct Delegate {
    Operation base;
    PyObject *coroutine; /* owned, claimed; NULL once it runs */
} Delegate;

static OperationResult
delegate_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    Delegate *self = (Delegate *)op;

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
Delegate_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((Delegate *)self)->coroutine);
    return 0;
}

static void
Delegate_dealloc(PyObject *object)
{
    Delegate *self = (Delegate *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&self->base);
    if (self->coroutine != NULL) {
        PyObject *coroutine = self->coroutine;
        self->coroutine = NULL;
        runnable_discard(coroutine);
    }
    PyObject_GC_Del(object);
}

static PyTypeObject Delegate_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Delegate",
    .tp_basicsize = sizeof(Delegate),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = Delegate_dealloc,
    .tp_traverse = Delegate_traverse,
};

static PyObject *
delegate(PyObject *Py_UNUSED(module), PyObject *coroutine)
{
    PyObject *claimed = runnable_claim(coroutine, "coro");
    if (claimed == NULL) {
        return NULL;
    }
    Delegate *self = PyObject_GC_New(Delegate, &Delegate_Type);
    if (self == NULL) {
        runnable_discard(claimed);
        return NULL;
    }
    operation_init(&self->base, &delegate_class, OPERATION_NEW, -1.0);
    self->coroutine = claimed;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyDoc_STRVAR(delegate_doc, "delegate(coro, /)\n--\n\n"
                           "An operation that runs a generator or coroutine in the task that "
                           "yields or awaits it, and ends as that does.");

static PyMethodDef functions[] = {
    {"delegate", delegate, METH_O, delegate_doc},
    {NULL, NULL, 0, NULL},
};

int
delegate_module_init(PyObject *module)
{
    if (operation_type_ready(&Delegate_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
