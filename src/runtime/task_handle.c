/* Task handle: a Python object for the running task, made when somebody asks for it and the same for each asking.
 *
 * The task knows its handle (borrowed) and the handle knows its task as long as it runs. Only the task itself asks for
 * its handle, so both links are written by the task's owner; other threads read `ended` and `name` only.
 */
#include "runtime/task_handle.h"

#include "core/mutex.h"
#include "runtime/operation.h"
#include "runtime/runtime.h"

struct TaskHandle {
    PyObject_HEAD Mutex mutex; /* guards task */
    Task *task;                /* borrowed; NULL when the task has ended */
    PyObject *name;            /* owned, never changes */
};

static PyTypeObject Task_Type;

PyObject *
task_describe(Task *task)
{
    PyObject *outermost = NULL;
    uint32_t below = task->stack != NULL ? task->stack->depth : 0;

    /* operations that host what is above them do not give it its name */
    for (uint32_t i = 0; i < below && (outermost == NULL || operation_check(outermost)); i++) {
        outermost = task->stack->items[i];
    }
    if (task->top != NULL && (outermost == NULL || operation_check(outermost))) {
        outermost = task->top;
    }
    if (outermost == NULL) {
        outermost = (PyObject *)task->operation;
    }
    if (outermost == NULL) {
        return PyUnicode_FromString("task");
    }
    if (coroutine_check(outermost)) {
        return Py_NewRef(coroutine_qualname(outermost));
    }
    if (operation_check(outermost)) {
        return PyUnicode_FromString(((Operation *)outermost)->cls->name);
    }
    return PyUnicode_FromString(Py_TYPE(outermost)->tp_name);
}

void
task_handle_ended(Task *task)
{
    TaskHandle *handle = task->handle;

    if (handle != NULL) {
        task->handle = NULL;
        mutex_lock(&handle->mutex);
        handle->task = NULL;
        mutex_unlock(&handle->mutex);
        Py_DECREF(handle);
    }
}

static PyObject *
current_task(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    Task *task = runtime_current_task("current_task()");
    TaskHandle *handle;

    if (task == NULL) {
        return NULL;
    }
    if (task->handle != NULL) {
        return Py_NewRef(task->handle);
    }
    handle = PyObject_New(TaskHandle, &Task_Type);
    if (handle == NULL) {
        return NULL;
    }
    handle->mutex = (Mutex){0};
    handle->task = task;
    handle->name = task_describe(task);
    if (handle->name == NULL) {
        Py_DECREF(handle);
        return NULL;
    }
    task->handle = (TaskHandle *)Py_NewRef(handle);
    return (PyObject *)handle;
}

static void
Task_dealloc(PyObject *self)
{
    Py_XDECREF(((TaskHandle *)self)->name);
    PyObject_Free(self);
}

static PyObject *
Task_name(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(((TaskHandle *)self)->name);
}

static bool
handle_is_done(TaskHandle *handle)
{
    mutex_lock(&handle->mutex);
    bool done = handle->task == NULL;
    mutex_unlock(&handle->mutex);
    return done;
}

static PyObject *
Task_done(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyBool_FromLong(handle_is_done((TaskHandle *)self));
}

static PyObject *
Task_repr(PyObject *self)
{
    TaskHandle *handle = (TaskHandle *)self;
    return PyUnicode_FromFormat("<Task %R%s>", handle->name, handle_is_done(handle) ? " done" : "");
}

PyDoc_STRVAR(Task_done_doc, "done($self, /)\n--\n\n"
                            "Has the task ended? Any thread may ask.");

static PyMethodDef Task_methods[] = {
    {"done", Task_done, METH_NOARGS, Task_done_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Task_getset[] = {
    {"name", Task_name, NULL, "What the task is called: the qualified name of its coroutine.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(Task_doc, "A running task, as current_task() gives it.\n\n"
                       "It says which task some code runs in; two calls in one task give the same "
                       "object. Safe in any thread.");

static PyTypeObject Task_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Task",
    .tp_doc = Task_doc,
    .tp_basicsize = sizeof(TaskHandle),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = Task_dealloc,
    .tp_repr = Task_repr,
    .tp_methods = Task_methods,
    .tp_getset = Task_getset,
};

PyDoc_STRVAR(current_task_doc, "current_task()\n--\n\n"
                               "The task that is running this code, as a Task.\n\n"
                               "Raises RuntimeNotInitializedError outside of a task.\n\n"
                               "    name = tonio.current_task().name");

static PyMethodDef functions[] = {
    {"current_task", current_task, METH_NOARGS, current_task_doc},
    {NULL, NULL, 0, NULL},
};

int
task_handle_module_init(PyObject *module)
{
    if (PyModule_AddType(module, &Task_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
