/* Broadcast: a channel in which every receiver gets every message that is sent after it was made.
 *
 * Sending never waits. The last `size` messages are kept, in a ring; a receiver is nothing but a place in the sequence of all
 * messages. One that falls behind by more than `size` finds its place overwritten, learns how many it has missed and goes on
 * with the oldest message that is left. The hub's mutex guards the ring; what is overwritten is dropped outside of it.
 */
#include <stdlib.h>

#include "errors.h"
#include "runtime/scheduler.h"
#include "types/hub.h"
#include "types/types.h"

typedef struct Broadcast {
    Hub hub;
    size_t size;     /* never changes */
    uint64_t sent;   /* messages so far; number n is in ring[n % size] */
    PyObject **ring; /* `size` owned references, NULL where nothing was sent yet */
} Broadcast;

static PyTypeObject Broadcast_Type;
static PyTypeObject BroadcastSender_Type;
static PyTypeObject BroadcastReceiver_Type;

static Transfer
broadcast_take(Hub *hub, HubEnd *end, PyObject **message, uint64_t *missed)
{
    Broadcast *self = (Broadcast *)hub;

    if (end->seen == self->sent) {
        return TRANSFER_WAITS;
    }
    if (self->sent - end->seen > self->size) {
        *missed = self->sent - self->size - end->seen;
        end->seen += *missed;
        return TRANSFER_LAGGED;
    }
    *message = Py_NewRef(self->ring[end->seen % self->size]);
    end->seen++;
    return TRANSFER_DONE;
}

static uint64_t
broadcast_now(const Hub *hub)
{
    return ((const Broadcast *)hub)->sent;
}

static const HubKind broadcast_kind = {
    .receive =
        {
            .name = "BroadcastReceiver.receive()",
            .describe = hub_receive_describe,
            .poll = hub_receive_poll,
            .arm = hub_receive_arm,
            .detach = hub_receive_detach,
        },
    .take = broadcast_take,
    .now = broadcast_now,
};

/* ---- sending --------------------------------------------------------------------------------------------- */

static PyObject *
BroadcastSender_send(PyObject *object, PyObject *message)
{
    HubEnd *end = (HubEnd *)object;
    Broadcast *self = (Broadcast *)end->hub;
    TaskChain chain = TASK_CHAIN_EMPTY;
    PyObject *dropped = Py_NewRef(message);

    mutex_lock(&self->hub.mutex);
    bool closed = end->closed;
    size_t receivers = self->hub.receivers;
    if (!closed && receivers > 0) {
        PyObject **place = &self->ring[self->sent % self->size];
        PyObject *before = *place;
        *place = dropped;
        dropped = before;
        self->sent++;
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
BroadcastSender_subscribe(PyObject *object, PyObject *Py_UNUSED(args))
{
    return hub_subscribe(object, &BroadcastReceiver_Type);
}

PyDoc_STRVAR(send_doc,
             "send($self, message, /)\n--\n\n"
             "Sends a message to all receivers there are, and returns how many; never waits. Any "
             "thread, worker or not.\n\n"
             "Raises ResourceClosed if this handle is closed.\n\n"
             "    sender.send(42)");
PyDoc_STRVAR(subscribe_doc, "subscribe($self, /)\n--\n\n"
                            "A new receiver, which gets what is sent from now on. Any thread.\n\n"
                            "Raises ResourceClosed if this handle is closed.");

static PyMethodDef BroadcastSender_methods[] = {
    {"send", BroadcastSender_send, METH_O, send_doc},
    {"subscribe", BroadcastSender_subscribe, METH_NOARGS, subscribe_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(BroadcastSender_doc,
             "The sending end of a broadcast. A context manager that closes it.");
PyDoc_STRVAR(BroadcastReceiver_doc,
             "One receiver of a broadcast. A context manager that closes it; iterable as a "
             "Receiver is.");

static PyTypeObject BroadcastSender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.BroadcastSender",
    .tp_doc = BroadcastSender_doc,
    .tp_basicsize = sizeof(HubEnd),
    .tp_flags = HUB_END_FLAGS,
    .tp_base = &HubEnd_Type,
    .tp_traverse = hub_traverse_end,
    .tp_methods = BroadcastSender_methods,
};

static PyTypeObject BroadcastReceiver_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.BroadcastReceiver",
    .tp_doc = BroadcastReceiver_doc,
    .tp_basicsize = sizeof(HubEnd),
    .tp_flags = HUB_END_FLAGS,
    .tp_base = &HubReceiver_Type,
    .tp_traverse = hub_traverse_end,
};

/* ---- Broadcast ------------------------------------------------------------------------------------------- */

static int
Broadcast_traverse(PyObject *object, visitproc visit, void *arg)
{
    /* without the mutex: see Channel_traverse */
    Broadcast *self = (Broadcast *)object;

    for (size_t i = 0; i < self->size && i < self->sent; i++) {
        Py_VISIT(self->ring[i]);
    }
    return 0;
}

static void
Broadcast_dealloc(PyObject *object)
{
    Broadcast *self = (Broadcast *)object;

    PyObject_GC_UnTrack(object);
    for (size_t i = 0; i < self->size && i < self->sent; i++) {
        Py_XDECREF(self->ring[i]);
    }
    free(self->ring);
    PyObject_GC_Del(object);
}

/* Breaks cycles: None takes the place of all messages, in case that somebody still gets at one. */
static int
Broadcast_clear(PyObject *object)
{
    Broadcast *self = (Broadcast *)object;

    for (size_t i = 0; i < self->size && i < self->sent; i++) {
        mutex_lock(&self->hub.mutex);
        PyObject *message = self->ring[i];
        self->ring[i] = Py_None;
        mutex_unlock(&self->hub.mutex);
        Py_XDECREF(message);
    }
    return 0;
}

static PyTypeObject Broadcast_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Broadcast",
    .tp_basicsize = sizeof(Broadcast),
    .tp_flags = HUB_END_FLAGS,
    .tp_traverse = Broadcast_traverse,
    .tp_clear = Broadcast_clear,
    .tp_dealloc = Broadcast_dealloc,
};

static PyObject *
broadcast(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"size", NULL};
    PyObject *argument;
    Py_ssize_t size;

    if (arguments_parse("broadcast()", names, 1, args, nargs, kwnames, &argument) < 0 ||
        size_from_object(argument, "size", 1, &size) < 0) {
        return NULL;
    }
    /* of a large one the system gives only the pages that are used */
    PyObject **ring = calloc((size_t)size, sizeof(PyObject *));
    if (ring == NULL) {
        return PyErr_NoMemory();
    }
    Broadcast *self = PyObject_GC_New(Broadcast, &Broadcast_Type);
    if (self == NULL) {
        free(ring);
        return NULL;
    }
    hub_init(&self->hub, &broadcast_kind);
    self->size = (size_t)size;
    self->sent = 0;
    self->ring = ring;
    PyObject_GC_Track(self);
    return hub_ends(&BroadcastSender_Type, &BroadcastReceiver_Type, &self->hub);
}

PyDoc_STRVAR(broadcast_doc,
             "broadcast(size)\n--\n\n"
             "A channel in which every receiver gets every message: (sender, receiver).\n\n"
             "sender.subscribe() makes further receivers, which get what is sent from then on. The "
             "last `size` messages are kept for those who\n"
             "are slow; who falls further behind gets Lagged, which says by how many messages.\n\n"
             "Raises TypeError or ValueError for a size that is no integer, or less than 1.\n\n"
             "    sender, receiver = broadcast(16)");

static PyMethodDef functions[] = {
    {"broadcast", (PyCFunction)(void (*)(void))broadcast, METH_FASTCALL | METH_KEYWORDS,
     broadcast_doc},
    {NULL, NULL, 0, NULL},
};

int
broadcast_module_init(PyObject *module)
{
    if (PyType_Ready(&Broadcast_Type) < 0 || PyModule_AddType(module, &BroadcastSender_Type) < 0 ||
        PyModule_AddType(module, &BroadcastReceiver_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
