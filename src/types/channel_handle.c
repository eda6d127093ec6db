/* Channel handles: Sender, UnboundedSender and Receiver, the ends of a channel that Python code has in its hands.
 *
 * A handle holds its channel (channel.c), whose mutex guards whether it is closed. Each end may have any number of handles
 * (clone()) and each handle may be used by any number of tasks. A handle that is dropped is closed: the last reference to it
 * is not held by anybody who waits, because a wait holds the handle.
 */
#include "errors.h"
#include "types/channel.h"
#include "types/permits.h"
#include "types/types.h"

static PyTypeObject Sender_Type;
static PyTypeObject UnboundedSender_Type;
static PyTypeObject Receiver_Type;

#define HANDLE_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION)

static PyTypeObject *Statistics_Type; /* owned for ever; set while the module is imported */

static ChannelHandle *
handle_of(PyObject *object)
{
    return (ChannelHandle *)object;
}

/* An open handle. New reference or NULL. */
static PyObject *
handle_new(PyTypeObject *type, Channel *channel)
{
    ChannelHandle *self = PyObject_GC_New(ChannelHandle, type);

    if (self == NULL) {
        return NULL;
    }
    self->channel = (Channel *)Py_NewRef(channel);
    self->closed = false;
    self->sends = type != &Receiver_Type;
    channel_open(self);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* ---- both ends ------------------------------------------------------------------------------------------- */

static int
handle_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(handle_of(object)->channel);
    return 0;
}

static void
handle_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    PyObject *error = PyErr_GetRaisedException(); /* closing may run code */
    channel_close(handle_of(object));
    PyErr_SetRaisedException(error);
    Py_DECREF(handle_of(object)->channel);
    PyObject_GC_Del(object);
}

static PyObject *
handle_close(PyObject *object, PyObject *Py_UNUSED(args))
{
    channel_close(handle_of(object));
    Py_RETURN_NONE;
}

static PyObject *
handle_clone(PyObject *object, PyObject *Py_UNUSED(args))
{
    if (channel_state(handle_of(object)).closed) {
        transfer_set_error(TRANSFER_CLOSED, "");
        return NULL;
    }
    return handle_new(Py_TYPE(object), handle_of(object)->channel);
}

static PyObject *
handle_enter(PyObject *object, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(object);
}

static PyObject *
handle_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return handle_close(object, NULL);
}

static PyObject *
handle_refuse(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("an end of a channel", "'with sender:' or 'with receiver:', without async");
}

static Py_ssize_t
handle_length(PyObject *object)
{
    return (Py_ssize_t)channel_state(handle_of(object)).queued;
}

/* A handle is true, also when nothing is queued. */
static int
handle_bool(PyObject *Py_UNUSED(object))
{
    return 1;
}

static PyObject *
handle_statistics(PyObject *object, PyObject *Py_UNUSED(args))
{
    ChannelState state = channel_state(handle_of(object));
    const size_t values[] = {state.queued,    state.limit,   state.senders,
                             state.receivers, state.sending, state.receiving};
    PyObject *statistics = PyStructSequence_New(Statistics_Type);

    if (statistics == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        PyObject *value =
            values[i] == CHANNEL_UNBOUNDED ? Py_NewRef(Py_None) : PyLong_FromSize_t(values[i]);
        if (value == NULL) {
            Py_DECREF(statistics);
            return NULL;
        }
        PyStructSequence_SetItem(statistics, (Py_ssize_t)i, value);
    }
    return statistics;
}

static PyObject *
handle_repr(PyObject *object)
{
    ChannelHandle *self = handle_of(object);
    ChannelState state = channel_state(self);
    const char *name = strrchr(Py_TYPE(object)->tp_name, '.') + 1;
    PyObject *size = state.limit == CHANNEL_UNBOUNDED ? PyUnicode_FromString("any number")
                                                      : PyUnicode_FromFormat("%zu", state.limit);
    if (size == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat(
        "<%s%s of channel %p, %zu of %U queued, %zu senders (%zu waiting), %zu receivers (%zu "
        "waiting)>",
        name, state.closed ? ", closed," : "", self->channel, state.queued, size, state.senders,
        state.sending, state.receivers, state.receiving);
    Py_DECREF(size);
    return text;
}

static PyNumberMethods handle_number = {.nb_bool = handle_bool};
static PySequenceMethods handle_sequence = {.sq_length = handle_length};

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Closes this handle; others of the same end stay open. Closing again does nothing. "
             "Any thread.\n\n"
             "Tasks that wait through this handle get ResourceClosed, and messages that they "
             "wanted to send were not accepted. When the\n"
             "last sender is closed receivers get what was accepted and then EndOfChannel; when "
             "the last receiver is, senders get\n"
             "ResourceBroken and what is queued is dropped. A handle that nobody refers to any "
             "more is closed.");
PyDoc_STRVAR(clone_doc, "clone($self, /)\n--\n\n"
                        "Another handle for this end of the channel, to be closed by itself.\n\n"
                        "Raises ResourceClosed if this one is closed.");
PyDoc_STRVAR(statistics_doc,
             "statistics($self, /)\n--\n\n"
             "What there is at this moment: queued, size (None: unbounded), senders, receivers "
             "(open handles), waiting_senders,\n"
             "waiting_receivers (tasks). Any thread.");
static PyMethodDef handle_methods[] = {
    {"close", handle_close, METH_NOARGS, close_doc},
    {"clone", handle_clone, METH_NOARGS, clone_doc},
    {"statistics", handle_statistics, METH_NOARGS, statistics_doc},
    {"__enter__", handle_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))handle_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_refuse, METH_NOARGS, NULL},
    {"__aexit__", handle_refuse, METH_VARARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

/* What the types of both ends have in common; there are no objects of this one. */
static PyTypeObject ChannelEnd_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ChannelEnd",
    .tp_basicsize = sizeof(ChannelHandle),
    .tp_flags = HANDLE_FLAGS | Py_TPFLAGS_BASETYPE,
    .tp_traverse = handle_traverse,
    .tp_dealloc = handle_dealloc,
    .tp_repr = handle_repr,
    .tp_as_number = &handle_number,
    .tp_as_sequence = &handle_sequence,
    .tp_methods = handle_methods,
};

/* ---- sending --------------------------------------------------------------------------------------------- */

static PyObject *
Sender_send(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"message", "timeout", NULL};
    PyObject *values[2] = {nargs == 1 ? args[0] : NULL, NULL};
    double seconds = -1.0;

    if ((nargs != 1 || kwnames != NULL) &&
        (arguments_parse("send()", names, 1, args, nargs, kwnames, values) < 0 ||
         seconds_from_object(values[1], "timeout", &seconds) < 0)) {
        return NULL;
    }
    return channel_send_new(handle_of(object), values[0], seconds);
}

static PyObject *
Sender_send_nowait(PyObject *object, PyObject *message)
{
    PyObject *sent = Py_NewRef(message);
    Transfer transfer = channel_try_send(handle_of(object), &sent);

    if (transfer == TRANSFER_DONE) {
        Py_RETURN_NONE;
    }
    transfer_set_error(transfer, "the channel is full");
    Py_DECREF(sent); /* the caller has it, too */
    return NULL;
}

PyDoc_STRVAR(
    send_doc,
    "send($self, /, message, timeout=None)\n--\n\n"
    "Sends a message, waiting for room: yield or await what this returns; the result is None.\n\n"
    "Senders are served in the order in which they came. Can be cancelled while it waits; the "
    "message was not accepted then. With\n"
    "size 0 it waits until a receiver takes the message.\n\n"
    "Raises ResourceBroken when no receiver is left, ResourceClosed if this handle is closed, "
    "TimeoutError after `timeout` seconds,\n"
    "ValueError for a negative or NaN timeout.\n\n"
    "    yield sender.send(42)");
PyDoc_STRVAR(
    send_nowait_doc,
    "send_nowait($self, message, /)\n--\n\n"
    "Sends a message if there is room, else raises WouldBlock. Any thread, worker or not.\n\n"
    "Raises ResourceBroken when no receiver is left, ResourceClosed if this handle is closed.");
PyDoc_STRVAR(unbounded_send_doc,
             "send($self, message, /)\n--\n\n"
             "Sends a message; never waits. Any thread, worker or not. send_nowait() is the "
             "same.\n\n"
             "Raises ResourceBroken when no receiver is left, ResourceClosed if this handle is "
             "closed.\n\n"
             "    sender.send(42)");

static PyMethodDef Sender_methods[] = {
    {"send", (PyCFunction)(void (*)(void))Sender_send, METH_FASTCALL | METH_KEYWORDS, send_doc},
    {"send_nowait", Sender_send_nowait, METH_O, send_nowait_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef UnboundedSender_methods[] = {
    {"send", Sender_send_nowait, METH_O, unbounded_send_doc},
    {"send_nowait", Sender_send_nowait, METH_O, unbounded_send_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Sender_doc, "The sending end of a bounded channel. A context manager that closes it.");
PyDoc_STRVAR(UnboundedSender_doc,
             "The sending end of an unbounded channel. A context manager that closes it.");

static PyTypeObject Sender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Sender",
    .tp_doc = Sender_doc,
    .tp_basicsize = sizeof(ChannelHandle),
    .tp_flags = HANDLE_FLAGS,
    .tp_base = &ChannelEnd_Type,
    .tp_traverse = handle_traverse,
    .tp_methods = Sender_methods,
};

static PyTypeObject UnboundedSender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.UnboundedSender",
    .tp_doc = UnboundedSender_doc,
    .tp_basicsize = sizeof(ChannelHandle),
    .tp_flags = HANDLE_FLAGS,
    .tp_base = &ChannelEnd_Type,
    .tp_traverse = handle_traverse,
    .tp_methods = UnboundedSender_methods,
};

/* ---- receiving ------------------------------------------------------------------------------------------- */

static PyObject *
Receiver_receive(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds = -1.0;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse("receive()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
         seconds_from_object(timeout, "timeout", &seconds) < 0)) {
        return NULL;
    }
    return channel_receive_new(handle_of(object), seconds, false);
}

static PyObject *
Receiver_receive_nowait(PyObject *object, PyObject *Py_UNUSED(args))
{
    PyObject *message = NULL;
    Transfer transfer = channel_try_receive(handle_of(object), &message);

    if (transfer == TRANSFER_DONE) {
        return message;
    }
    transfer_set_error(transfer, "the channel is empty");
    return NULL;
}

static PyObject *
Receiver_self(PyObject *object)
{
    return Py_NewRef(object);
}

static PyObject *
Receiver_next(PyObject *object)
{
    if (channel_is_finished(handle_of(object)->channel)) {
        return NULL;
    }
    return channel_receive_new(handle_of(object), -1.0, false);
}

static PyObject *
Receiver_anext(PyObject *object)
{
    return channel_receive_new(handle_of(object), -1.0, true);
}

static PyAsyncMethods receiver_async = {
    .am_aiter = Receiver_self,
    .am_anext = Receiver_anext,
};

PyDoc_STRVAR(
    receive_doc,
    "receive($self, /, timeout=None)\n--\n\n"
    "Takes the oldest message, waiting for one: yield or await what this returns.\n\n"
    "Each message goes to one receiver; receivers are served in the order in which they came. Can "
    "be cancelled while it waits, and\n"
    "has taken no message then.\n\n"
    "Raises EndOfChannel when the channel is empty and no sender is left, ResourceClosed if this "
    "handle is closed, TimeoutError after\n"
    "`timeout` seconds, ValueError for a negative or NaN timeout.\n\n"
    "    message = yield receiver.receive()");
PyDoc_STRVAR(receive_nowait_doc,
             "receive_nowait($self, /)\n--\n\n"
             "Takes the oldest message, or raises WouldBlock. Any thread, worker or not.\n\n"
             "Raises EndOfChannel when the channel is empty and no sender is left, ResourceClosed "
             "if this handle is closed.");

static PyMethodDef Receiver_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))Receiver_receive, METH_FASTCALL | METH_KEYWORDS,
     receive_doc},
    {"receive_nowait", Receiver_receive_nowait, METH_NOARGS, receive_nowait_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    Receiver_doc,
    "The receiving end of a channel. A context manager that closes it.\n\n"
    "`async for message in receiver` goes on until the channel ends. A generator gets operations "
    "instead, the last of which\n"
    "may raise EndOfChannel:\n\n"
    "    with contextlib.suppress(EndOfChannel):\n"
    "        for operation in receiver:\n"
    "            message = yield operation");

static PyTypeObject Receiver_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Receiver",
    .tp_doc = Receiver_doc,
    .tp_basicsize = sizeof(ChannelHandle),
    .tp_flags = HANDLE_FLAGS,
    .tp_base = &ChannelEnd_Type,
    .tp_traverse = handle_traverse,
    .tp_as_async = &receiver_async,
    .tp_iter = Receiver_self,
    .tp_iternext = Receiver_next,
    .tp_methods = Receiver_methods,
};

/* ---- module ---------------------------------------------------------------------------------------------- */

/* A channel with one handle of each end, as a tuple. */
static PyObject *
new_channel(PyTypeObject *sender_type, size_t limit)
{
    Channel *channel = channel_new(limit);
    PyObject *sender = NULL;
    PyObject *receiver = NULL;
    PyObject *ends = NULL;

    if (channel == NULL) {
        return NULL;
    }
    sender = handle_new(sender_type, channel);
    if (sender != NULL) {
        receiver = handle_new(&Receiver_Type, channel);
    }
    if (receiver != NULL) {
        ends = PyTuple_Pack(2, sender, receiver);
    }
    Py_DECREF(channel);
    Py_XDECREF(sender);
    Py_XDECREF(receiver);
    return ends;
}

static PyObject *
channel(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"size", NULL};
    PyObject *size;

    if (arguments_parse("channel()", names, 1, args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    Py_ssize_t limit;
    if (size_from_object(size, "size", 0, &limit) < 0) {
        return NULL;
    }
    return new_channel(&Sender_Type, (size_t)limit);
}

static PyObject *
unbounded(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    return new_channel(&UnboundedSender_Type, CHANNEL_UNBOUNDED);
}

PyDoc_STRVAR(channel_doc,
             "channel(size)\n--\n\n"
             "A channel in which up to `size` messages queue: its two ends (sender, receiver).\n\n"
             "A sender waits while it is full. With size 0 nothing queues: sender and receiver "
             "meet. Both ends may be used by any number of\n"
             "tasks, each message going to one of them. Messages of one task keep their order.\n\n"
             "Raises TypeError or ValueError for a size that is no integer, or negative.\n\n"
             "    sender, receiver = channel(16)");
PyDoc_STRVAR(unbounded_doc, "unbounded()\n--\n\n"
                            "A channel in which any number of messages queue, so that sending "
                            "never waits: (sender, receiver).\n\n"
                            "    sender, receiver = unbounded()");

static PyMethodDef functions[] = {
    {"channel", (PyCFunction)(void (*)(void))channel, METH_FASTCALL | METH_KEYWORDS, channel_doc},
    {"unbounded", unbounded, METH_NOARGS, unbounded_doc},
    {NULL, NULL, 0, NULL},
};

static PyStructSequence_Field statistics_fields[] = {
    {"queued", "messages in the channel"},
    {"size", "most messages in the channel; None: any number"},
    {"senders", "open handles of the sending end"},
    {"receivers", "open handles of the receiving end"},
    {"waiting_senders", "tasks that wait for room"},
    {"waiting_receivers", "tasks that wait for a message"},
    {NULL, NULL},
};

static PyStructSequence_Desc statistics_desc = {
    .name = "tonio._core.ChannelStatistics",
    .doc = "What a channel holds at one moment.",
    .fields = statistics_fields,
    .n_in_sequence = 6,
};

int
channel_module_init(PyObject *module)
{
    Statistics_Type = PyStructSequence_NewType(&statistics_desc);
    if (Statistics_Type == NULL || channel_core_init() < 0 ||
        PyModule_AddType(module, Statistics_Type) < 0 || PyType_Ready(&ChannelEnd_Type) < 0 ||
        PyModule_AddType(module, &Sender_Type) < 0 ||
        PyModule_AddType(module, &UnboundedSender_Type) < 0 ||
        PyModule_AddType(module, &Receiver_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
