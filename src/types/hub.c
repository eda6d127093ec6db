/* Hub: what broadcast and watch have in common - handles, waiting, closing.
 *
 * A receiver that waits takes nothing from anybody: when something comes, all are woken and each takes it for itself, at its own
 * place (`seen`). So a wake-up that comes to nothing, because its task was cancelled or another task with the same handle was
 * faster, loses nothing. `mutex` guards the hub and all its handles; any attached thread takes it.
 *
 * Invariant, while the mutex is free: who waits has seen everything, and a sender is left.
 */
#include "types/hub.h"

#include "errors.h"
#include "runtime/scheduler.h"
#include "types/permits.h"
#include "types/types.h"

typedef struct HubReceive {
    Operation base;
    Waiter waiter;
    HubEnd *end; /* owned */
    bool iterates;
} HubReceive;

static PyTypeObject HubReceive_Type;

void
hub_wake_all(Hub *hub, TaskChain *chain)
{
    Waiter *waiter;

    while ((waiter = waiter_pop(&hub->waiting)) != NULL) {
        waiter_claim(waiter, chain);
    }
}

/* ---- receiving ------------------------------------------------------------------------------------------- */

/* Under the mutex. */
static Transfer
take_locked(HubEnd *end, PyObject **message, uint64_t *missed)
{
    if (end->closed) {
        return TRANSFER_CLOSED;
    }
    Transfer transfer = end->hub->kind->take(end->hub, end, message, missed);
    return transfer == TRANSFER_WAITS && end->hub->senders == 0 ? TRANSFER_ENDED : transfer;
}

/* Sets the exception for what is not DONE. */
static void
set_error(Transfer transfer, uint64_t missed, bool iterates)
{
    if (transfer == TRANSFER_ENDED && iterates) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    else if (transfer == TRANSFER_LAGGED) {
        PyObject *number = PyLong_FromUnsignedLongLong(missed);
        PyObject *error =
            number != NULL ? PyObject_CallOneArg(error_type(ERROR_LAGGED), number) : NULL;
        Py_XDECREF(number);
        if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
    }
    else {
        transfer_set_error(transfer, "there is nothing new to receive");
    }
}

static OperationResult
receive_result(HubReceive *self, Transfer transfer, PyObject *message, uint64_t missed,
               PyObject **result)
{
    if (transfer == TRANSFER_DONE) {
        *result = message;
        return OPERATION_READY;
    }
    set_error(transfer, missed, self->iterates);
    return OPERATION_ERROR;
}

OperationResult
hub_receive_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    HubReceive *self = (HubReceive *)op;
    PyObject *message = NULL;
    uint64_t missed = 0;

    mutex_lock(&self->end->hub->mutex);
    Transfer transfer = take_locked(self->end, &message, &missed);
    mutex_unlock(&self->end->hub->mutex);
    return transfer == TRANSFER_WAITS ? OPERATION_PENDING
                                      : receive_result(self, transfer, message, missed, result);
}

OperationResult
hub_receive_arm(Operation *op, Task *task, PyObject **result)
{
    HubReceive *self = (HubReceive *)op;
    PyObject *message = NULL;
    uint64_t missed = 0;

    mutex_lock(&self->end->hub->mutex);
    Transfer transfer = take_locked(self->end, &message, &missed);
    if (transfer == TRANSFER_WAITS) {
        waiter_push(&self->end->hub->waiting, &self->waiter, task);
    }
    mutex_unlock(&self->end->hub->mutex);
    return transfer == TRANSFER_WAITS ? OPERATION_PARKED
                                      : receive_result(self, transfer, message, missed, result);
}

void
hub_receive_detach(Operation *op, Task *Py_UNUSED(task))
{
    HubReceive *self = (HubReceive *)op;

    mutex_lock(&self->end->hub->mutex);
    list_remove(&self->waiter.node);
    mutex_unlock(&self->end->hub->mutex);
}

PyObject *
hub_receive_describe(Operation *op)
{
    return PyUnicode_FromFormat("%s of %R", op->cls->name, ((HubReceive *)op)->end);
}

static PyObject *
receive_new(HubEnd *end, double timeout, bool iterates)
{
    HubReceive *self = PyObject_New(HubReceive, &HubReceive_Type);

    if (self == NULL) {
        return NULL;
    }
    operation_init(&self->base, &end->hub->kind->receive, OPERATION_NEW, timeout);
    list_node_init(&self->waiter.node);
    self->end = (HubEnd *)Py_NewRef(end);
    self->iterates = iterates;
    return (PyObject *)self;
}

static void
HubReceive_dealloc(PyObject *object)
{
    operation_dealloc_warn((Operation *)object);
    Py_DECREF(((HubReceive *)object)->end);
    PyObject_Free(object);
}

static PyTypeObject HubReceive_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.HubReceive",
    .tp_basicsize = sizeof(HubReceive),
    .tp_dealloc = HubReceive_dealloc,
};

/* ---- handles --------------------------------------------------------------------------------------------- */

void
hub_init(Hub *hub, const HubKind *kind)
{
    hub->mutex = (Mutex){0};
    hub->kind = kind;
    list_init(&hub->waiting);
    hub->senders = hub->receivers = 0;
}

/* An open handle that starts where `like` is (NULL: now). NULL with an exception set; ResourceClosed if `like` is closed. */
static PyObject *
end_new(PyTypeObject *type, Hub *hub, bool sends, HubEnd *like)
{
    HubEnd *self = PyObject_GC_New(HubEnd, type);

    if (self == NULL) {
        return NULL;
    }
    self->hub = (Hub *)Py_NewRef(hub);
    self->sends = sends;
    mutex_lock(&hub->mutex);
    self->closed = like != NULL && like->closed;
    self->seen = like != NULL && !like->sends ? like->seen : hub->kind->now(hub);
    if (!self->closed) {
        *(sends ? &hub->senders : &hub->receivers) += 1;
    }
    bool closed = self->closed;
    mutex_unlock(&hub->mutex);
    PyObject_GC_Track(self);
    if (closed) {
        Py_DECREF(self);
        transfer_set_error(TRANSFER_CLOSED, "");
        return NULL;
    }
    return (PyObject *)self;
}

PyObject *
hub_end_new(PyTypeObject *type, Hub *hub, bool sends)
{
    return end_new(type, hub, sends, NULL);
}

PyObject *
hub_subscribe(PyObject *sender, PyTypeObject *type)
{
    return end_new(type, ((HubEnd *)sender)->hub, false, (HubEnd *)sender);
}

PyObject *
hub_ends(PyTypeObject *sender_type, PyTypeObject *receiver_type, Hub *hub)
{
    PyObject *sender = hub_end_new(sender_type, hub, true);
    PyObject *receiver = NULL;
    PyObject *ends = NULL;

    if (sender != NULL) {
        receiver = hub_end_new(receiver_type, hub, false);
    }
    if (receiver != NULL) {
        ends = PyTuple_Pack(2, sender, receiver);
    }
    Py_DECREF(hub);
    Py_XDECREF(sender);
    Py_XDECREF(receiver);
    return ends;
}

/* Under the mutex: ends the waits of those who receive through this handle. */
static void
wake_users(HubEnd *self, TaskChain *chain)
{
    ListNode *node = self->hub->waiting.head.next;

    while (node != &self->hub->waiting.head) {
        HubReceive *receive = LIST_ENTRY(node, HubReceive, waiter.node);
        node = node->next;
        if (receive->end == self) {
            list_remove(&receive->waiter.node);
            waiter_claim(&receive->waiter, chain);
        }
    }
}

static void
end_close(HubEnd *self)
{
    Hub *hub = self->hub;
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&hub->mutex);
    if (!self->closed) {
        self->closed = true;
        if (!self->sends) {
            hub->receivers--;
            wake_users(self, &chain);
        }
        else if (--hub->senders == 0) {
            hub_wake_all(hub, &chain);
        }
    }
    mutex_unlock(&hub->mutex);
    scheduler_wake_chain(&chain);
}

int
hub_traverse_end(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((HubEnd *)object)->hub);
    return 0;
}

static void
HubEnd_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    end_close((HubEnd *)object);
    Py_DECREF(((HubEnd *)object)->hub);
    PyObject_GC_Del(object);
}

static PyObject *
HubEnd_close(PyObject *object, PyObject *Py_UNUSED(args))
{
    end_close((HubEnd *)object);
    Py_RETURN_NONE;
}

static PyObject *
HubEnd_clone(PyObject *object, PyObject *Py_UNUSED(args))
{
    HubEnd *self = (HubEnd *)object;
    return end_new(Py_TYPE(object), self->hub, self->sends, self);
}

static PyObject *
HubEnd_enter(PyObject *object, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(object);
}

static PyObject *
HubEnd_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return HubEnd_close(object, NULL);
}

static PyObject *
HubEnd_refuse(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("an end of a channel", "'with sender:' or 'with receiver:', without async");
}

static PyObject *
HubEnd_repr(PyObject *object)
{
    HubEnd *self = (HubEnd *)object;
    Hub *hub = self->hub;

    mutex_lock(&hub->mutex);
    size_t senders = hub->senders;
    size_t receivers = hub->receivers;
    size_t waiting = waiter_count(&hub->waiting);
    bool closed = self->closed;
    mutex_unlock(&hub->mutex);
    return PyUnicode_FromFormat("<%s%s of channel %p, %zu senders, %zu receivers, %zu waiting>",
                                strrchr(Py_TYPE(object)->tp_name, '.') + 1,
                                closed ? ", closed," : "", hub, senders, receivers, waiting);
}

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Closes this handle; others stay open. Closing again does nothing. Any "
             "thread.\n\n"
             "Tasks that wait through it get ResourceClosed. When the last sender is "
             "closed receivers get what they have not seen\n"
             "and then EndOfChannel. A handle that nobody refers to any more is closed.");
PyDoc_STRVAR(clone_doc, "clone($self, /)\n--\n\n"
                        "Another handle, to be closed by itself; a receiver goes on from where "
                        "this one is.\n\n"
                        "Raises ResourceClosed if this one is closed.");

static PyMethodDef HubEnd_methods[] = {
    {"close", HubEnd_close, METH_NOARGS, close_doc},
    {"clone", HubEnd_clone, METH_NOARGS, clone_doc},
    {"__enter__", HubEnd_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))HubEnd_exit, METH_FASTCALL, NULL},
    {"__aenter__", HubEnd_refuse, METH_NOARGS, NULL},
    {"__aexit__", HubEnd_refuse, METH_VARARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject HubEnd_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.HubEnd",
    .tp_basicsize = sizeof(HubEnd),
    .tp_flags = HUB_END_FLAGS | Py_TPFLAGS_BASETYPE,
    .tp_traverse = hub_traverse_end,
    .tp_dealloc = HubEnd_dealloc,
    .tp_repr = HubEnd_repr,
    .tp_methods = HubEnd_methods,
};

/* ---- receivers ------------------------------------------------------------------------------------------- */

static PyObject *
HubReceiver_receive(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds = -1.0;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse("receive()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
         seconds_from_object(timeout, "timeout", &seconds) < 0)) {
        return NULL;
    }
    return receive_new((HubEnd *)object, seconds, false);
}

static PyObject *
HubReceiver_receive_nowait(PyObject *object, PyObject *Py_UNUSED(args))
{
    HubEnd *self = (HubEnd *)object;
    PyObject *message = NULL;
    uint64_t missed = 0;

    mutex_lock(&self->hub->mutex);
    Transfer transfer = take_locked(self, &message, &missed);
    mutex_unlock(&self->hub->mutex);
    if (transfer != TRANSFER_DONE) {
        set_error(transfer, missed, false);
    }
    return message;
}

static PyObject *
HubReceiver_self(PyObject *object)
{
    return Py_NewRef(object);
}

static PyObject *
HubReceiver_next(PyObject *object)
{
    HubEnd *self = (HubEnd *)object;

    mutex_lock(&self->hub->mutex);
    bool finished =
        self->hub->senders == 0 && !self->closed && self->seen == self->hub->kind->now(self->hub);
    mutex_unlock(&self->hub->mutex);
    return finished ? NULL : receive_new(self, -1.0, false);
}

static PyObject *
HubReceiver_anext(PyObject *object)
{
    return receive_new((HubEnd *)object, -1.0, true);
}

static PyAsyncMethods receiver_async = {
    .am_aiter = HubReceiver_self,
    .am_anext = HubReceiver_anext,
};

PyDoc_STRVAR(
    receive_doc,
    "receive($self, /, timeout=None)\n--\n\n"
    "Gives the next message of a broadcast, or the latest value of a watch, that this handle has "
    "not seen, waiting for one: yield or\n"
    "await what this returns.\n\n"
    "Can be cancelled while it waits. Tasks that share a handle share what it sees: clone() gives "
    "each its own.\n\n"
    "Raises EndOfChannel when all was seen and no sender is left, Lagged if messages of a "
    "broadcast "
    "were overwritten before this handle\n"
    "saw them (the next call goes on with the oldest that is left), ResourceClosed if the handle "
    "is closed, TimeoutError after\n"
    "`timeout` seconds, ValueError for a negative or NaN timeout.\n\n"
    "    message = yield receiver.receive()");
PyDoc_STRVAR(receive_nowait_doc,
             "receive_nowait($self, /)\n--\n\n"
             "The same without waiting: raises WouldBlock if there is nothing new. Any thread.");

static PyMethodDef HubReceiver_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))HubReceiver_receive, METH_FASTCALL | METH_KEYWORDS,
     receive_doc},
    {"receive_nowait", HubReceiver_receive_nowait, METH_NOARGS, receive_nowait_doc},
    {NULL, NULL, 0, NULL},
};

PyTypeObject HubReceiver_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.HubReceiver",
    .tp_basicsize = sizeof(HubEnd),
    .tp_flags = HUB_END_FLAGS | Py_TPFLAGS_BASETYPE,
    .tp_base = &HubEnd_Type,
    .tp_traverse = hub_traverse_end,
    .tp_as_async = &receiver_async,
    .tp_iter = HubReceiver_self,
    .tp_iternext = HubReceiver_next,
    .tp_methods = HubReceiver_methods,
};

int
hub_module_init(PyObject *Py_UNUSED(module))
{
    return operation_type_ready(&HubReceive_Type) < 0 || PyType_Ready(&HubEnd_Type) < 0 ||
                   PyType_Ready(&HubReceiver_Type) < 0
               ? -1
               : 0;
}
