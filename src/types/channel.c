/* Channel: a queue of messages with any number of senders and receivers, bounded, unbounded, or of size 0 (a rendezvous).
 *
 * The handles of both ends (channel_handle.c) share one Channel. Its mutex guards the ring, both wait queues and the counts;
 * any attached thread takes it. Under it references only change hands: messages are dropped and memory is found outside.
 *
 * A message passes from hand to hand: from the operation that sends it into the ring, from there to who receives it, or
 * straight from one to the other. Only a claim that succeeded makes it pass to or from a task that waits, so it is neither
 * lost nor doubled whatever ends the wait at the same moment.
 *
 * Invariants, while the mutex is free: who waits to receive does so because the ring is empty and nobody waits to send; who
 * waits to send does so because the ring is full. So nobody is passed by, and the messages of one sender keep their order.
 */
#include "types/channel.h"

#include "errors.h"
#include "runtime/scheduler.h"

#define RING_FIRST 16u  /* messages that the first ring has room for */
#define RING_KEPT 1024u /* an empty ring that is bigger is given back */

typedef struct ChannelSend {
    Operation base;
    Waiter waiter;
    ChannelHandle *handle; /* owned */
    PyObject *message;     /* owned; NULL when it has been accepted */
    uint8_t outcome;       /* Transfer; stored before the wait is claimed */
} ChannelSend;

typedef struct ChannelReceive {
    Operation base;
    Waiter waiter;
    ChannelHandle *handle; /* owned */
    PyObject *message;     /* owned or NULL: handed over, not fetched yet */
    uint8_t outcome;       /* Transfer; stored before the wait is claimed */
    bool iterates;
} ChannelReceive;

static PyTypeObject Channel_Type;
static PyTypeObject ChannelSend_Type;
static PyTypeObject ChannelReceive_Type;

/* ---- under the mutex ------------------------------------------------------------------------------------- */

static void
ring_push(Channel *self, PyObject *message)
{
    size_t place = self->head + self->count++;
    self->ring[place < self->capacity ? place : place - self->capacity] = message;
}

static PyObject *
ring_pop(Channel *self)
{
    PyObject *message = self->ring[self->head];
    self->head = self->head + 1 < self->capacity ? self->head + 1 : 0;
    self->count--;
    return message;
}

/* Hands *message (stolen if true) to the first one that waits for one. */
static bool
hand_to_receiver(Channel *self, PyObject *message, TaskChain *chain)
{
    Waiter *waiter;

    while ((waiter = waiter_pop(&self->receiving)) != NULL) {
        ChannelReceive *receive = LIST_ENTRY(waiter, ChannelReceive, waiter);
        receive->message = message;
        receive->outcome = TRANSFER_DONE;
        if (waiter_claim(waiter, chain)) {
            return true;
        }
        receive->message = NULL;
        receive->outcome = TRANSFER_WAITS;
    }
    return false;
}

/* Takes the message of the first one that waits to send; NULL if none does. */
static PyObject *
take_from_sender(Channel *self, TaskChain *chain)
{
    Waiter *waiter;

    while ((waiter = waiter_pop(&self->sending)) != NULL) {
        ChannelSend *send = LIST_ENTRY(waiter, ChannelSend, waiter);
        PyObject *message = send->message;
        send->message = NULL;
        send->outcome = TRANSFER_DONE;
        if (waiter_claim(waiter, chain)) {
            return message;
        }
        send->message = message;
        send->outcome = TRANSFER_WAITS;
    }
    return NULL;
}

static Transfer
send_locked(Channel *self, const ChannelHandle *handle, PyObject **message, TaskChain *chain)
{
    if (handle->closed) {
        return TRANSFER_CLOSED;
    }
    if (self->receivers == 0) {
        return TRANSFER_BROKEN;
    }
    if (!hand_to_receiver(self, *message, chain)) {
        if (self->count >= self->limit) {
            return TRANSFER_WAITS;
        }
        if (self->count == self->capacity) {
            return TRANSFER_GROWS;
        }
        ring_push(self, *message);
    }
    *message = NULL;
    return TRANSFER_DONE;
}

/* *spare is memory to free afterwards. */
static Transfer
receive_locked(Channel *self, const ChannelHandle *handle, PyObject **message, PyObject ***spare,
               TaskChain *chain)
{
    if (handle->closed) {
        return TRANSFER_CLOSED;
    }
    if (self->count > 0) {
        *message = ring_pop(self);
        PyObject *next = take_from_sender(self, chain);
        if (next != NULL) {
            ring_push(self, next);
        }
        else if (self->count == 0 && self->capacity > RING_KEPT) {
            *spare = self->ring;
            self->ring = NULL;
            self->capacity = 0;
            self->head = 0;
        }
        return TRANSFER_DONE;
    }
    *message = take_from_sender(self, chain);
    if (*message != NULL) {
        return TRANSFER_DONE;
    }
    return self->senders == 0 ? TRANSFER_ENDED : TRANSFER_WAITS;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* Makes room for more messages, unless somebody else just did. -1 with MemoryError set. */
static int
channel_grow(Channel *self)
{
    mutex_lock(&self->mutex);
    size_t before = self->capacity;
    mutex_unlock(&self->mutex);

    size_t capacity = before == 0 ? RING_FIRST : before * 2;
    if (capacity > self->limit) {
        capacity = self->limit;
    }
    PyObject **ring = capacity > PY_SSIZE_T_MAX / sizeof(PyObject *)
                          ? NULL
                          : PyMem_Malloc(capacity * sizeof(PyObject *));
    if (ring == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject **spare = ring;
    mutex_lock(&self->mutex);
    if (self->capacity == before && capacity > before) {
        for (size_t i = 0; i < self->count; i++) {
            size_t place = self->head + i;
            ring[i] = self->ring[place < before ? place : place - before];
        }
        spare = self->ring;
        self->ring = ring;
        self->capacity = capacity;
        self->head = 0;
    }
    mutex_unlock(&self->mutex);
    PyMem_Free(spare);
    return 0;
}

/* Drops messages that were taken out of a channel. Runs Python code. */
static void
drop_messages(PyObject **ring, size_t capacity, size_t head, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t place = head + i;
        Py_DECREF(ring[place < capacity ? place : place - capacity]);
    }
    PyMem_Free(ring);
}

/* Takes all queued messages out and drops them. */
static void
channel_drop_all(Channel *self)
{
    mutex_lock(&self->mutex);
    PyObject **ring = self->ring;
    size_t capacity = self->capacity;
    size_t head = self->head;
    size_t count = self->count;
    self->ring = NULL;
    self->capacity = 0;
    self->head = 0;
    self->count = 0;
    mutex_unlock(&self->mutex);
    drop_messages(ring, capacity, head, count);
}

/* ---- without waiting ------------------------------------------------------------------------------------- */

Transfer
channel_try_send(ChannelHandle *handle, PyObject **message)
{
    Channel *self = handle->channel;
    Transfer transfer;

    do {
        TaskChain chain = TASK_CHAIN_EMPTY;
        mutex_lock(&self->mutex);
        transfer = send_locked(self, handle, message, &chain);
        mutex_unlock(&self->mutex);
        if (chain.first != NULL) {
            scheduler_wake_chain(&chain);
        }
        if (transfer == TRANSFER_GROWS && channel_grow(self) < 0) {
            return TRANSFER_FAILED;
        }
    } while (transfer == TRANSFER_GROWS);
    return transfer;
}

Transfer
channel_try_receive(ChannelHandle *handle, PyObject **message)
{
    Channel *self = handle->channel;
    TaskChain chain = TASK_CHAIN_EMPTY;
    PyObject **spare = NULL;

    mutex_lock(&self->mutex);
    Transfer transfer = receive_locked(self, handle, message, &spare, &chain);
    mutex_unlock(&self->mutex);
    if (chain.first != NULL) {
        scheduler_wake_chain(&chain);
    }
    if (spare != NULL) {
        PyMem_Free(spare);
    }
    return transfer;
}

void
transfer_set_error(Transfer transfer, const char *waits)
{
    switch (transfer) {
    case TRANSFER_CLOSED:
        PyErr_SetString(error_type(ERROR_RESOURCE_CLOSED), "this end of the channel is closed");
        break;
    case TRANSFER_BROKEN:
        PyErr_SetString(error_type(ERROR_RESOURCE_BROKEN), "no receiver of the channel is left");
        break;
    case TRANSFER_ENDED:
        PyErr_SetString(error_type(ERROR_END_OF_CHANNEL),
                        "the channel is empty and no sender is left");
        break;
    case TRANSFER_WAITS:
        PyErr_SetString(error_type(ERROR_WOULD_BLOCK), waits);
        break;
    default: /* an exception is set */
        break;
    }
}

/* ---- sending --------------------------------------------------------------------------------------------- */

static OperationResult
send_result(Transfer transfer, PyObject **result)
{
    if (transfer == TRANSFER_DONE) {
        *result = Py_None;
        return OPERATION_READY;
    }
    transfer_set_error(transfer, "");
    return OPERATION_ERROR;
}

static OperationResult
send_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    ChannelSend *self = (ChannelSend *)op;
    Transfer transfer = channel_try_send(self->handle, &self->message);

    return transfer == TRANSFER_WAITS ? OPERATION_PENDING : send_result(transfer, result);
}

static OperationResult
send_arm(Operation *op, Task *task, PyObject **result)
{
    ChannelSend *self = (ChannelSend *)op;
    Channel *channel = self->handle->channel;
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&channel->mutex);
    Transfer transfer = send_locked(channel, self->handle, &self->message, &chain);
    if (transfer == TRANSFER_WAITS) {
        waiter_push(&channel->sending, &self->waiter, task);
    }
    mutex_unlock(&channel->mutex);
    scheduler_wake_chain(&chain);
    switch (transfer) {
    case TRANSFER_WAITS:
        return OPERATION_PARKED;
    case TRANSFER_GROWS:
        return OPERATION_PENDING; /* there is room now: poll finds the memory */
    default:
        return send_result(transfer, result);
    }
}

static OperationResult
send_finish(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    return send_result(((ChannelSend *)op)->outcome, result);
}

static void
send_detach(Operation *op, Task *Py_UNUSED(task))
{
    ChannelSend *self = (ChannelSend *)op;

    mutex_lock(&self->handle->channel->mutex);
    list_remove(&self->waiter.node);
    mutex_unlock(&self->handle->channel->mutex);
}

static PyObject *
send_describe(Operation *op)
{
    return PyUnicode_FromFormat("%s of %R", op->cls->name, ((ChannelSend *)op)->handle);
}

static const OperationClass send_class = {
    .name = "Sender.send()",
    .describe = send_describe,
    .poll = send_poll,
    .arm = send_arm,
    .finish = send_finish,
    .detach = send_detach,
};

PyObject *
channel_send_new(ChannelHandle *handle, PyObject *message, double timeout)
{
    ChannelSend *self = PyObject_New(ChannelSend, &ChannelSend_Type);

    if (self == NULL) {
        return NULL;
    }
    operation_init(&self->base, &send_class, OPERATION_NEW, timeout);
    list_node_init(&self->waiter.node);
    self->handle = (ChannelHandle *)Py_NewRef(handle);
    self->message = Py_NewRef(message);
    self->outcome = TRANSFER_WAITS;
    return (PyObject *)self;
}

static void
ChannelSend_dealloc(PyObject *object)
{
    ChannelSend *self = (ChannelSend *)object;

    operation_dealloc_warn(&self->base);
    Py_XDECREF(self->message);
    Py_DECREF(self->handle);
    PyObject_Free(object);
}

static PyTypeObject ChannelSend_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ChannelSend",
    .tp_basicsize = sizeof(ChannelSend),
    .tp_dealloc = ChannelSend_dealloc,
};

/* ---- receiving ------------------------------------------------------------------------------------------- */

static OperationResult
receive_result(ChannelReceive *self, Transfer transfer, PyObject *message, PyObject **result)
{
    if (transfer == TRANSFER_DONE) {
        *result = message;
        return OPERATION_READY;
    }
    if (transfer == TRANSFER_ENDED && self->iterates) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    else {
        transfer_set_error(transfer, "");
    }
    return OPERATION_ERROR;
}

static OperationResult
receive_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    ChannelReceive *self = (ChannelReceive *)op;
    PyObject *message = NULL;
    Transfer transfer = channel_try_receive(self->handle, &message);

    return transfer == TRANSFER_WAITS ? OPERATION_PENDING
                                      : receive_result(self, transfer, message, result);
}

static OperationResult
receive_arm(Operation *op, Task *task, PyObject **result)
{
    ChannelReceive *self = (ChannelReceive *)op;
    Channel *channel = self->handle->channel;
    TaskChain chain = TASK_CHAIN_EMPTY;
    PyObject **spare = NULL;
    PyObject *message = NULL;

    mutex_lock(&channel->mutex);
    Transfer transfer = receive_locked(channel, self->handle, &message, &spare, &chain);
    if (transfer == TRANSFER_WAITS) {
        waiter_push(&channel->receiving, &self->waiter, task);
    }
    mutex_unlock(&channel->mutex);
    scheduler_wake_chain(&chain);
    PyMem_Free(spare);
    return transfer == TRANSFER_WAITS ? OPERATION_PARKED
                                      : receive_result(self, transfer, message, result);
}

static OperationResult
receive_finish(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    ChannelReceive *self = (ChannelReceive *)op;
    PyObject *message = self->message;

    self->message = NULL;
    return receive_result(self, self->outcome, message, result);
}

static void
receive_detach(Operation *op, Task *Py_UNUSED(task))
{
    ChannelReceive *self = (ChannelReceive *)op;

    mutex_lock(&self->handle->channel->mutex);
    list_remove(&self->waiter.node);
    mutex_unlock(&self->handle->channel->mutex);
}

static PyObject *
receive_describe(Operation *op)
{
    return PyUnicode_FromFormat("%s of %R", op->cls->name, ((ChannelReceive *)op)->handle);
}

static const OperationClass receive_class = {
    .name = "Receiver.receive()",
    .describe = receive_describe,
    .poll = receive_poll,
    .arm = receive_arm,
    .finish = receive_finish,
    .detach = receive_detach,
};

PyObject *
channel_receive_new(ChannelHandle *handle, double timeout, bool iterates)
{
    ChannelReceive *self = PyObject_New(ChannelReceive, &ChannelReceive_Type);

    if (self == NULL) {
        return NULL;
    }
    operation_init(&self->base, &receive_class, OPERATION_NEW, timeout);
    list_node_init(&self->waiter.node);
    self->handle = (ChannelHandle *)Py_NewRef(handle);
    self->message = NULL;
    self->outcome = TRANSFER_WAITS;
    self->iterates = iterates;
    return (PyObject *)self;
}

static void
ChannelReceive_dealloc(PyObject *object)
{
    ChannelReceive *self = (ChannelReceive *)object;

    operation_dealloc_warn(&self->base);
    Py_XDECREF(self->message);
    Py_DECREF(self->handle);
    PyObject_Free(object);
}

static PyTypeObject ChannelReceive_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ChannelReceive",
    .tp_basicsize = sizeof(ChannelReceive),
    .tp_dealloc = ChannelReceive_dealloc,
};

/* ---- opening and closing --------------------------------------------------------------------------------- */

void
channel_open(ChannelHandle *handle)
{
    Channel *self = handle->channel;

    mutex_lock(&self->mutex);
    *(handle->sends ? &self->senders : &self->receivers) += 1;
    mutex_unlock(&self->mutex);
}

/* Under the mutex: ends the waits of those who send through `handle` (NULL: of all). */
static void
fail_senders(Channel *self, const ChannelHandle *handle, Transfer outcome, TaskChain *chain)
{
    ListNode *node = self->sending.head.next;

    while (node != &self->sending.head) {
        ChannelSend *send = LIST_ENTRY(node, ChannelSend, waiter.node);
        node = node->next;
        if (handle == NULL || send->handle == handle) {
            list_remove(&send->waiter.node);
            send->outcome = outcome;
            waiter_claim(&send->waiter, chain); /* or it is gone */
        }
    }
}

static void
fail_receivers(Channel *self, const ChannelHandle *handle, Transfer outcome, TaskChain *chain)
{
    ListNode *node = self->receiving.head.next;

    while (node != &self->receiving.head) {
        ChannelReceive *receive = LIST_ENTRY(node, ChannelReceive, waiter.node);
        node = node->next;
        if (handle == NULL || receive->handle == handle) {
            list_remove(&receive->waiter.node);
            receive->outcome = outcome;
            waiter_claim(&receive->waiter, chain);
        }
    }
}

void
channel_close(ChannelHandle *handle)
{
    Channel *self = handle->channel;
    TaskChain chain = TASK_CHAIN_EMPTY;
    bool last = false;

    mutex_lock(&self->mutex);
    if (!handle->closed) {
        handle->closed = true;
        if (handle->sends) {
            fail_senders(self, handle, TRANSFER_CLOSED, &chain);
            if (--self->senders == 0) {
                fail_receivers(self, NULL, TRANSFER_ENDED, &chain);
            }
        }
        else {
            fail_receivers(self, handle, TRANSFER_CLOSED, &chain);
            last = --self->receivers == 0;
            if (last) {
                fail_senders(self, NULL, TRANSFER_BROKEN, &chain);
            }
        }
    }
    mutex_unlock(&self->mutex);
    scheduler_wake_chain(&chain);
    if (last) {
        channel_drop_all(self); /* nothing can be sent any more */
    }
}

bool
channel_is_finished(Channel *self)
{
    mutex_lock(&self->mutex);
    bool finished = self->senders == 0 && self->count == 0;
    mutex_unlock(&self->mutex);
    return finished;
}

ChannelState
channel_state(ChannelHandle *handle)
{
    Channel *self = handle->channel;

    mutex_lock(&self->mutex);
    ChannelState state = {
        .queued = self->count,
        .limit = self->limit,
        .senders = self->senders,
        .receivers = self->receivers,
        .sending = waiter_count(&self->sending),
        .receiving = waiter_count(&self->receiving),
        .closed = handle->closed,
    };
    mutex_unlock(&self->mutex);
    return state;
}

/* ---- Channel --------------------------------------------------------------------------------------------- */

Channel *
channel_new(size_t limit)
{
    Channel *self = PyObject_GC_New(Channel, &Channel_Type);

    if (self == NULL) {
        return NULL;
    }
    self->mutex = (Mutex){0};
    self->limit = limit;
    self->ring = NULL;
    self->capacity = self->head = self->count = 0;
    list_init(&self->sending);
    list_init(&self->receiving);
    self->senders = self->receivers = 0;
    PyObject_GC_Track(self);
    return self;
}

static int
Channel_traverse(PyObject *object, visitproc visit, void *arg)
{
    /* without the mutex: the collector has stopped all threads, none of them inside a critical section, in which no thread
     * ever stops */
    Channel *self = (Channel *)object;

    for (size_t i = 0; i < self->count; i++) {
        size_t place = self->head + i;
        Py_VISIT(self->ring[place < self->capacity ? place : place - self->capacity]);
    }
    return 0;
}

static int
Channel_clear(PyObject *object)
{
    channel_drop_all((Channel *)object);
    return 0;
}

static void
Channel_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    channel_drop_all((Channel *)object);
    PyObject_GC_Del(object);
}

static PyTypeObject Channel_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Channel",
    .tp_basicsize = sizeof(Channel),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = Channel_traverse,
    .tp_clear = Channel_clear,
    .tp_dealloc = Channel_dealloc,
};

int
channel_core_init(void)
{
    return operation_type_ready(&ChannelSend_Type) < 0 ||
                   operation_type_ready(&ChannelReceive_Type) < 0 || PyType_Ready(&Channel_Type) < 0
               ? -1
               : 0;
}
