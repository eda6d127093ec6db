/* Event: a flag that tasks can wait for.
 *
 * `mutex` guards the queue of waiters; the flag is written under it and read without. set() and clear() may be called by any
 * attached thread. Invariant: while the flag is up nobody waits, because it is looked at again under the mutex before a
 * task enters the queue.
 */
#include "core/mutex.h"
#include "runtime/driver.h"
#include "runtime/scheduler.h"
#include "types/types.h"

typedef struct Event {
    PyObject_HEAD Mutex mutex;
    _Atomic bool flag;
    List waiters; /* tasks by `wait`; guarded by mutex */
} Event;

typedef struct EventWait {
    Operation base;
    Event *event; /* owned */
} EventWait;

static PyTypeObject EventWait_Type;

/* ---- waiting --------------------------------------------------------------------------------------------- */

static OperationResult
wait_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    /* acquire: pairs with the release in Event_set; what its caller did before is seen */
    if (!atomic_load_explicit(&((EventWait *)op)->event->flag, memory_order_acquire)) {
        return OPERATION_PENDING;
    }
    *result = Py_True;
    return OPERATION_READY;
}

static OperationResult
wait_arm(Operation *op, Task *task, PyObject **result)
{
    Event *event = ((EventWait *)op)->event;

    mutex_lock(&event->mutex);
    bool set = atomic_load_explicit(&event->flag, memory_order_relaxed);
    if (!set) {
        list_push_tail(&event->waiters, &task->wait);
    }
    mutex_unlock(&event->mutex);
    if (!set) {
        return OPERATION_PARKED;
    }
    *result = Py_True;
    return OPERATION_READY;
}

static OperationResult
wait_finish(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject **result)
{
    *result = Py_True; /* also if the flag is down again: it was up */
    return OPERATION_READY;
}

static void
wait_detach(Operation *op, Task *task)
{
    Event *event = ((EventWait *)op)->event;

    mutex_lock(&event->mutex);
    list_remove(&task->wait);
    mutex_unlock(&event->mutex);
}

static OperationResult
wait_timed_out(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject **result)
{
    *result = Py_False;
    return OPERATION_READY;
}

static PyObject *
wait_describe(Operation *op)
{
    return PyUnicode_FromFormat("%R", ((EventWait *)op)->event);
}

static const OperationClass wait_class = {
    .name = "Event.wait()",
    .describe = wait_describe,
    .poll = wait_poll,
    .arm = wait_arm,
    .finish = wait_finish,
    .detach = wait_detach,
    .timed_out = wait_timed_out,
};

static void
EventWait_dealloc(PyObject *self)
{
    operation_dealloc_warn((Operation *)self);
    Py_DECREF(((EventWait *)self)->event);
    PyObject_Free(self);
}

static PyTypeObject EventWait_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.EventWait",
    .tp_basicsize = sizeof(EventWait),
    .tp_dealloc = EventWait_dealloc,
};

/* ---- Event ----------------------------------------------------------------------------------------------- */

static PyObject *
Event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Event() takes no arguments");
        return NULL;
    }
    Event *self = PyObject_New(Event, type);
    if (self == NULL) {
        return NULL;
    }
    self->mutex = (Mutex){0};
    atomic_init(&self->flag, false);
    list_init(&self->waiters);
    return (PyObject *)self;
}

static void
Event_dealloc(PyObject *self)
{
    /* whoever waits holds a reference, so nobody does */
    PyObject_Free(self);
}

static PyObject *
Event_is_set(PyObject *self, PyObject *Py_UNUSED(args))
{
    /* acquire: as in wait_poll */
    return PyBool_FromLong(atomic_load_explicit(&((Event *)self)->flag, memory_order_acquire));
}

static PyObject *
Event_set(PyObject *object, PyObject *Py_UNUSED(args))
{
    Event *self = (Event *)object;
    TaskChain chain = TASK_CHAIN_EMPTY;
    ListNode *node;

    mutex_lock(&self->mutex);
    /* release: pairs with the acquire of who finds it set without the mutex */
    bool was = atomic_exchange_explicit(&self->flag, true, memory_order_release);
    while ((node = list_pop_head(&self->waiters)) != NULL) {
        task_claim(LIST_ENTRY(node, Task, wait), TASK_COMPLETED, &chain);
    }
    mutex_unlock(&self->mutex);
    scheduler_wake_chain(&chain);
    return PyBool_FromLong(!was);
}

static PyObject *
Event_clear(PyObject *object, PyObject *Py_UNUSED(args))
{
    Event *self = (Event *)object;

    mutex_lock(&self->mutex);
    bool was = atomic_exchange_explicit(&self->flag, false, memory_order_relaxed);
    mutex_unlock(&self->mutex);
    return PyBool_FromLong(was);
}

static PyObject *
Event_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds = -1.0;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse("wait()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
         seconds_from_object(timeout, "timeout", &seconds) < 0)) {
        return NULL;
    }
    EventWait *op = PyObject_New(EventWait, &EventWait_Type);
    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &wait_class, OPERATION_NEW, seconds);
    op->event = (Event *)Py_NewRef(self);
    return (PyObject *)op;
}

static PyObject *
Event_repr(PyObject *self)
{
    bool set = atomic_load_explicit(&((Event *)self)->flag, memory_order_acquire);
    return PyUnicode_FromFormat("<Event %s at %p>", set ? "set" : "unset", self);
}

PyDoc_STRVAR(is_set_doc, "is_set($self, /)\n--\n\nIs the flag up? Any thread.");
PyDoc_STRVAR(set_doc, "set($self, /)\n--\n\n"
                      "Puts the flag up and wakes all who wait. True if it was down before. Any "
                      "thread, worker or not.");
PyDoc_STRVAR(clear_doc,
             "clear($self, /)\n--\n\nTakes the flag down. True if it was up before. Any thread.");
PyDoc_STRVAR(wait_doc, "wait($self, /, timeout=None)\n--\n\n"
                       "Waits until the flag is up: yield or await what this returns.\n\n"
                       "The result is True, or False if `timeout` seconds (counted from the first "
                       "wait) passed before. A waiter that was woken\n"
                       "gets True even if the flag is taken down again before it runs. Can be "
                       "cancelled while it waits.\n\n"
                       "Raises ValueError for a negative or NaN timeout.\n\n"
                       "    if not (yield event.wait(0.5)):\n"
                       "        print('nothing happened')");

static PyMethodDef Event_methods[] = {
    {"is_set", Event_is_set, METH_NOARGS, is_set_doc},
    {"set", Event_set, METH_NOARGS, set_doc},
    {"clear", Event_clear, METH_NOARGS, clear_doc},
    {"wait", (PyCFunction)(void (*)(void))Event_wait, METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    Event_doc,
    "Event()\n--\n\n"
    "A flag that tasks can wait for; it is down at first. Made and used anywhere, by any thread.");

static PyTypeObject Event_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Event",
    .tp_doc = Event_doc,
    .tp_basicsize = sizeof(Event),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Event_new,
    .tp_dealloc = Event_dealloc,
    .tp_repr = Event_repr,
    .tp_methods = Event_methods,
};

int
event_module_init(PyObject *module)
{
    if (operation_type_ready(&EventWait_Type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Event_Type);
}
