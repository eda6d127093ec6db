/* Pinned: a block in which a task stays with the worker, and so the thread, that it entered on.
 *
 * The task counts the blocks that it is in; while that is not zero the scheduler hands it to its worker only (scheduler.c). All
 * fields belong to the task.
 */
#include "runtime/runtime.h"
#include "types/types.h"

typedef struct Pinned {
    PyObject_HEAD Task
        *task; /* borrowed: whose block it is; NULL outside of the block. Only compared. */
} Pinned;

static PyTypeObject Pinned_Type;

static PyObject *
Pinned_enter(PyObject *object, PyObject *Py_UNUSED(args))
{
    Pinned *self = (Pinned *)object;
    Task *task = runtime_current_task("pinned()");

    if (task == NULL) {
        return NULL;
    }
    if (self->task != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "pinned() was entered before: use a new one for each block");
        return NULL;
    }
    if (task_pin(task, current_worker->id) < 0) {
        return NULL;
    }
    self->task = task;
    return Py_NewRef(object);
}

static PyObject *
Pinned_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    Pinned *self = (Pinned *)object;
    Task *task = runtime_current_task("pinned()");

    if (task == NULL) {
        return NULL;
    }
    if (self->task != task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a block of pinned() is left by the task that entered it");
        return NULL;
    }
    self->task = NULL;
    task_unpin(task);
    Py_RETURN_FALSE;
}

static void
Pinned_dealloc(PyObject *self)
{
    PyObject_Free(self);
}

static PyMethodDef Pinned_methods[] = {
    {"__enter__", Pinned_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))Pinned_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Pinned_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Pinned",
    .tp_doc = "A block in which a task stays in its thread; made by tonio.pinned().",
    .tp_basicsize = sizeof(Pinned),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = Pinned_dealloc,
    .tp_methods = Pinned_methods,
};

static PyObject *
pinned(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    Pinned *self = PyObject_New(Pinned, &Pinned_Type);

    if (self != NULL) {
        self->task = NULL;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(
    pinned_doc,
    "pinned()\n--\n\n"
    "A block, for `with`, in which the task goes on in the same thread after every wait.\n\n"
    "For objects that belong to a thread: sqlite3 connections, locks that are held across a wait, "
    "threading.local. Blocks nest. Other\n"
    "tasks run in that thread meanwhile, so what is not to be shared with them needs care of its "
    "own.\n\n"
    "Raises RuntimeNotInitializedError outside of a task, RuntimeError if another task leaves the "
    "block.\n\n"
    "    with tonio.pinned():\n"
    "        connection = sqlite3.connect(path)\n"
    "        yield tonio.sleep(1)\n"
    "        connection.close()");

static PyMethodDef functions[] = {
    {"pinned", pinned, METH_NOARGS, pinned_doc},
    {NULL, NULL, 0, NULL},
};

int
pinned_module_init(PyObject *module)
{
    if (PyType_Ready(&Pinned_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
