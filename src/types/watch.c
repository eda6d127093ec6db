/* Watch: a value that changes, and receivers which want the latest.
 *
 * The value has a number, which counts the changes; a receiver remembers the number that it saw last and waits for a greater
 * one. Values in between are not kept. The hub's mutex guards value and number; a value that was replaced is dropped outside
 * of it.
 */
#include "runtime/scheduler.h"
#include "types/hub.h"
#include "types/types.h"

typedef struct Watch {
    Hub hub;
    PyObject *value; /* owned */
    uint64_t number;
} Watch;

static PyTypeObject Watch_Type;
static PyTypeObject WatchSender_Type;
static PyTypeObject WatchReceiver_Type;

static Transfer
watch_take(Hub *hub, HubEnd *end, PyObject **message, uint64_t *Py_UNUSED(missed))
{
    Watch *self = (Watch *)hub;

    if (end->seen == self->number) {
        return TRANSFER_WAITS;
    }
    end->seen = self->number;
    *message = Py_NewRef(self->value);
    return TRANSFER_DONE;
}

static uint64_t
watch_now(const Hub *hub)
{
    return ((const Watch *)hub)->number;
}

static const HubKind watch_kind = {
    .receive =
        {
            .name = "WatchReceiver.receive()",
            .describe = hub_receive_describe,
            .poll = hub_receive_poll,
            .arm = hub_receive_arm,
            .detach = hub_receive_detach,
        },
    .take = watch_take,
    .now = watch_now,
};

/* ---- handles --------------------------------------------------------------------------------------------- */

static PyObject *
end_get_value(PyObject *object, void *Py_UNUSED(closure))
{
    Watch *self = (Watch *)((HubEnd *)object)->hub;

    mutex_lock(&self->hub.mutex);
    PyObject *value = Py_NewRef(self->value);
    mutex_unlock(&self->hub.mutex);
    return value;
}

static PyObject *
WatchSender_send(PyObject *object, PyObject *value)
{
    HubEnd *end = (HubEnd *)object;
    Watch *self = (Watch *)end->hub;
    TaskChain chain = TASK_CHAIN_EMPTY;
    PyObject *dropped = Py_NewRef(value);

    mutex_lock(&self->hub.mutex);
    bool closed = end->closed;
    size_t receivers = self->hub.receivers;
    if (!closed) {
        PyObject *before = self->value;
        self->value = dropped;
        dropped = before;
        self->number++;
        hub_wake_all(&self->hub, &chain);
    }
    mutex_unlock(&self->hub.mutex);
    scheduler_wake_chain(&chain);
    Py_XDECREF(dropped);
    if (closed) {
        transfer_set_error(TRANSFER_CLOSED, "");
        return NULL;
    }
    return PyLong_FromSize_t(receivers);
}

static PyObject *
WatchSender_subscribe(PyObject *object, PyObject *Py_UNUSED(args))
{
    return hub_subscribe(object, &WatchReceiver_Type);
}

static PyObject *
WatchReceiver_changed(PyObject *object, PyObject *Py_UNUSED(args))
{
    HubEnd *end = (HubEnd *)object;
    Watch *self = (Watch *)end->hub;

    mutex_lock(&self->hub.mutex);
    bool changed = end->seen != self->number;
    mutex_unlock(&self->hub.mutex);
    return PyBool_FromLong(changed);
}

PyDoc_STRVAR(send_doc, "send($self, value, /)\n--\n\n"
                       "Replaces the value, and returns how many receivers there are; never waits. "
                       "Any thread, worker or not.\n\n"
                       "Raises ResourceClosed if this handle is closed.\n\n"
                       "    sender.send(42)");
PyDoc_STRVAR(subscribe_doc, "subscribe($self, /)\n--\n\n"
                            "A new receiver, to which the present value counts as seen. Any "
                            "thread.\n\n"
                            "Raises ResourceClosed if this handle is closed.");
PyDoc_STRVAR(changed_doc, "changed($self, /)\n--\n\n"
                          "Is there a value that this receiver has not seen? Any thread.");

static PyMethodDef WatchSender_methods[] = {
    {"send", WatchSender_send, METH_O, send_doc},
    {"subscribe", WatchSender_subscribe, METH_NOARGS, subscribe_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef WatchReceiver_methods[] = {
    {"changed", WatchReceiver_changed, METH_NOARGS, changed_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef end_getset[] = {
    {"value", end_get_value, NULL,
     "The latest value. Looking at it does not make a receiver have seen it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(WatchSender_doc, "The sending end of a watch. A context manager that closes it.");
PyDoc_STRVAR(WatchReceiver_doc, "One receiver of a watch. A context manager that closes it; "
                                "iterable as a Receiver is.");

static PyTypeObject WatchSender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.WatchSender",
    .tp_doc = WatchSender_doc,
    .tp_basicsize = sizeof(HubEnd),
    .tp_flags = HUB_END_FLAGS,
    .tp_base = &HubEnd_Type,
    .tp_traverse = hub_traverse_end,
    .tp_methods = WatchSender_methods,
    .tp_getset = end_getset,
};

static PyTypeObject WatchReceiver_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.WatchReceiver",
    .tp_doc = WatchReceiver_doc,
    .tp_basicsize = sizeof(HubEnd),
    .tp_flags = HUB_END_FLAGS,
    .tp_base = &HubReceiver_Type,
    .tp_traverse = hub_traverse_end,
    .tp_methods = WatchReceiver_methods,
    .tp_getset = end_getset,
};

/* ---- Watch ----------------------------------------------------------------------------------------------- */

static int
Watch_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Watch *)object)->value); /* without the mutex: see Channel_traverse */
    return 0;
}

static int
Watch_clear(PyObject *object)
{
    Watch *self = (Watch *)object;

    mutex_lock(&self->hub.mutex);
    PyObject *value = self->value;
    self->value = Py_None;
    mutex_unlock(&self->hub.mutex);
    Py_DECREF(value);
    return 0;
}

static void
Watch_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    Py_DECREF(((Watch *)object)->value);
    PyObject_GC_Del(object);
}

static PyTypeObject Watch_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Watch",
    .tp_basicsize = sizeof(Watch),
    .tp_flags = HUB_END_FLAGS,
    .tp_traverse = Watch_traverse,
    .tp_clear = Watch_clear,
    .tp_dealloc = Watch_dealloc,
};

static PyObject *
watch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"value", NULL};
    PyObject *value;

    if (arguments_parse("watch()", names, 1, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    Watch *self = PyObject_GC_New(Watch, &Watch_Type);
    if (self == NULL) {
        return NULL;
    }
    hub_init(&self->hub, &watch_kind);
    self->value = Py_NewRef(value);
    self->number = 0;
    PyObject_GC_Track(self);
    return hub_ends(&WatchSender_Type, &WatchReceiver_Type, &self->hub);
}

PyDoc_STRVAR(watch_doc,
             "watch(value)\n--\n\n"
             "A value that changes and that others follow: (sender, receiver).\n\n"
             "A receiver waits for a value that it has not seen and gets the latest; it may miss "
             "those in between. The first one counts as\n"
             "seen. sender.subscribe() makes further receivers.\n\n"
             "    sender, receiver = watch(initial)");

static PyMethodDef functions[] = {
    {"watch", (PyCFunction)(void (*)(void))watch, METH_FASTCALL | METH_KEYWORDS, watch_doc},
    {NULL, NULL, 0, NULL},
};

int
watch_module_init(PyObject *module)
{
    if (PyType_Ready(&Watch_Type) < 0 || PyModule_AddType(module, &WatchSender_Type) < 0 ||
        PyModule_AddType(module, &WatchReceiver_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
