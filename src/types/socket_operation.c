/* Socket operations: the waiting of accept, bind, connect, receive and send, as one operation with a table of system calls.
 *
 * Each is tried first, and parked on the readiness of its direction if the system says EAGAIN; the system call is made only
 * by the task that waits, when it runs, so a wait that is cancelled or late has taken nothing. An operation whose address is
 * a name waits for its lookup before that.
 *
 * On a stream one operation holds a direction. Where that is not so (accept, datagrams) they take turns: while somebody is
 * queued nobody else tries, and who was called by an event calls the next one after its own call (`called`).
 *
 * Run by the task that waits; everything shared is the socket's (see socket.h).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/socket.h"
#include "types/types.h"

#define COPIED_BYTES 16384u /* up to here receiving into a scratch buffer and copying is cheaper */
#define HUGE_BYTES                                                                                 \
    (1u << 30) /* from here a receive fails as soon as there is no memory for so much */
#define SENDFILE_MOST (1u << 30) /* bytes in one call; the system takes no more than 2 GiB */

static PyTypeObject SocketOperation_Type;

static bool
call_reads(SocketCall call)
{
    return call == CALL_ACCEPT || (call >= CALL_RECV && call <= CALL_RECVMSG_INTO);
}

static bool
call_has_message(SocketCall call)
{
    return call == CALL_SENDMSG || call == CALL_RECVMSG || call == CALL_RECVMSG_INTO;
}

/* ---- who may ---------------------------------------------------------------------------------------------- */

/* The bit in the socket's `use` for its direction. */
static uint32_t
operation_bit(const SocketOperation *op)
{
    return (uint32_t)SOCKET_RECEIVING << op->direction;
}

/* Its direction, if there is one that it needs and does not have yet. */
static uint32_t
operation_wants(const SocketOperation *op)
{
    return op->holds || op->turns ? 0 : operation_bit(op);
}

bool
socket_operation_take_direction(SocketOperation *op)
{
    uint32_t bit = operation_wants(op);

    if (!socket_use(op->socket, bit, bit)) {
        socket_operation_end(op);
        return false;
    }
    op->holds = bit != 0;
    return true;
}

/* Gives up the direction, and `calls` calls that are under way. */
static void
operation_leave(SocketOperation *op, uint32_t calls)
{
    uint32_t held = op->holds ? operation_bit(op) : 0;

    op->holds = false;
    if (held + calls != 0) {
        socket_unuse(op->socket, held + calls);
    }
}

/* It is over, whatever came of it: what it borrowed is its owner's again, even if the operation lives on for a while. */
void
socket_operation_end(SocketOperation *op)
{
    operation_leave(op, 0);
    if (op->buffer.buf != NULL) {
        PyBuffer_Release(&op->buffer);
        op->buffer.buf = NULL;
    }
    if (call_has_message((SocketCall)op->call)) {
        message_free(op->message);
        op->message = NULL;
    }
}

/* ---- system calls ----------------------------------------------------------------------------------------- */

static struct sockaddr *
sockaddr(Address *address)
{
    return (struct sockaddr *)&address->storage;
}

/* Receives into memory; with `address`, tells where from. */
static ssize_t
receive(SocketOperation *op, void *memory, size_t size, Address *address)
{
    if (address == NULL) {
        return recv(op->socket->fd, memory, size, op->flags);
    }
    address->length = sizeof(address->storage);
    return recvfrom(op->socket->fd, memory, size, op->flags, sockaddr(address), &address->length);
}

/* Bytes that were received; with `address` a tuple of them and it. */
static PyObject *
received(PyObject *data, const Address *address)
{
    if (data == NULL || address == NULL) {
        return data;
    }
    PyObject *from = address_to_object(address);
    return from == NULL ? (Py_DECREF(data), NULL) : Py_BuildValue("(NN)", data, from);
}

/* How much room a receive needs. A stream that has got much asks for what is there, which costs a call but saves the copy into
 * an object of the right size; what comes later than that makes an event of its own. */
static size_t
room_for_receive(SocketOperation *op)
{
    int available;

    if (op->size <= COPIED_BYTES || op->size >= HUGE_BYTES || op->socket->type != SOCK_STREAM ||
        op->flags != 0 || ioctl(op->socket->fd, FIONREAD, &available) < 0) {
        return op->size;
    }
    /* nothing: it is the end, or comes just now */
    size_t most = (size_t)available < COPIED_BYTES ? COPIED_BYTES : (size_t)available;
    return op->size < most ? op->size : most;
}

/* Receives into the worker's scratch memory and copies. */
static PyObject *
receive_copied(SocketOperation *op, ssize_t *count, size_t room, Address *address)
{
    PyObject **scratch = &current_worker->scratch;

    if (*scratch == NULL) {
        *scratch = receive_room(WORKER_SCRATCH);
        if (*scratch == NULL) {
            *count = 0;
            return NULL;
        }
    }
    *count = receive(op, PyBytes_AS_STRING(*scratch), room, address);
    if (*count < 0) {
        return NULL;
    }
    /* MSG_TRUNC tells the length of a datagram, of which no more came than there was room for */
    size_t length = (size_t)*count > room ? room : (size_t)*count;
    PyObject *bytes = PyBytes_FromStringAndSize(PyBytes_AS_STRING(*scratch), (Py_ssize_t)length);
    if (bytes == NULL) {
        /* what has come must not be lost: the scratch memory, an object for this, is handed over itself */
        PyErr_Clear();
        bytes = receive_room_filled(*scratch, length);
        *scratch = NULL;
    }
    return bytes;
}

/* Receives into an object that becomes the result. */
static PyObject *
receive_directly(SocketOperation *op, ssize_t *count, size_t room, Address *address)
{
    PyObject *bytes = receive_room(room);

    if (bytes == NULL) {
        *count = 0;
        return NULL;
    }
    *count = receive(op, PyBytes_AS_STRING(bytes), room, address);
    if (*count < 0) {
        int error = errno;
        Py_DECREF(bytes);
        errno = error;
        return NULL;
    }
    return receive_room_filled(bytes, (size_t)*count > room ? room : (size_t)*count);
}

static PyObject *
call_recv(SocketOperation *op, ssize_t *count, Address *address)
{
    Socket *self = op->socket;

    /* relaxed: a hint */
    bool little = atomic_load_explicit(&self->last_received, memory_order_relaxed) < COPIED_BYTES;
    size_t room = little && op->size <= WORKER_SCRATCH ? op->size : room_for_receive(op);
    PyObject *bytes = room <= (little ? WORKER_SCRATCH : COPIED_BYTES)
                          ? receive_copied(op, count, room, address)
                          : receive_directly(op, count, room, address);
    if (bytes == NULL) {
        return NULL;
    }
    uint32_t hint = (uint32_t)(*count > UINT32_MAX ? UINT32_MAX : *count);
    atomic_store_explicit(&self->last_received, hint, memory_order_relaxed);
    return received(bytes, address);
}

static PyObject *
call_accept(SocketOperation *op, ssize_t *count)
{
    Socket *self = op->socket;
    Address address;
    PyObject *socket;
    PyObject *peer;

    address.length = sizeof(address.storage);
    int fd = accept4(self->fd, sockaddr(&address), &address.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    *count = fd;
    if (fd < 0) {
        return NULL;
    }
    socket = socket_wrap(fd, self->family, self->type, self->proto);
    peer = socket == NULL ? NULL : address_to_object(&address);
    if (peer == NULL) {
        Py_XDECREF(socket);
        return NULL;
    }
    PyObject *pair = PyTuple_New(2);
    if (pair == NULL) {
        Py_DECREF(socket);
        Py_DECREF(peer);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, socket);
    PyTuple_SET_ITEM(pair, 1, peer);
    return pair;
}

/* What a connection has come to, as a result: None, or for connect_ex its error number. */
static PyObject *
connected(SocketOperation *op, int error)
{
    return op->as_number ? PyLong_FromLong(error) : Py_NewRef(Py_None);
}

/* The system is asked again when the socket has become writable: that tells the outcome, and leaves the socket in the state
 * in which a call that blocks would, ready for another attempt. */
static PyObject *
call_connect(SocketOperation *op, ssize_t *count, PollSource *source)
{
    uint32_t tick = 0;
    int error;

    if (source != NULL) {
        source_is_ready(source, SOURCE_WRITE, &tick);
    }
    *count = connect(op->socket->fd, sockaddr(op->address), op->address->length);
    error = *count == 0 ? 0 : errno;
    if (error == EISCONN && op->waiting) {
        error = 0; /* some families say so */
    }
    if (error == EINTR && op->at_once) {
        error = EINPROGRESS; /* which is what it comes to */
    }
    if (!op->at_once && (error == EINPROGRESS || error == EALREADY || error == EINTR)) {
        if (!op->waiting && source != NULL) {
            /* an earlier attempt, which failed, has left a hang-up that says nothing of this one */
            source_reset(source, SOURCE_WRITE, tick);
            source_reset(source, SOURCE_READ, tick);
        }
        op->waiting = true;
        /* Interrupted, it goes on by itself, and may be done by now: then no event is to come, and the next call says so. */
        errno = error == EINTR ? EINTR : EAGAIN;
        return NULL;
    }
    if (error == EAGAIN && !op->as_number) {
        /* a Unix socket whose queue is full: no event will say when it has room */
        PyErr_SetFromErrno(PyExc_OSError);
        *count = 0;
        return NULL;
    }
    if (error != 0 && !op->as_number) {
        errno = error;
        return NULL;
    }
    *count = 0;
    return connected(op, error);
}

/* sendfile(2), which has no flag against SIGPIPE: the signal is blocked, and taken if it came. */
static ssize_t
sendfile_quietly(int out, FileRange *range)
{
    static const struct timespec no_time = {0, 0};
    size_t most = range->left < SENDFILE_MOST ? range->left : SENDFILE_MOST;
    sigset_t pipe;
    sigset_t before;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    ssize_t count = sendfile(out, range->fd, &range->offset, most);
    int error = errno;
    if (count < 0 && error == EPIPE && !sigismember(&before, SIGPIPE)) {
        sigtimedwait(&pipe, NULL, &no_time);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return count;
}

/* All of the range, or up to the end of the file; the result is how much. */
static PyObject *
call_sendfile(SocketOperation *op, ssize_t *count, bool *more)
{
    FileRange *range = op->range;

    *count = range->left == 0 ? 0 : sendfile_quietly(op->socket->fd, range);
    if (*count < 0) {
        return NULL;
    }
    op->size += (size_t)*count;
    if (range->left != SIZE_MAX) {
        range->left -= (size_t)*count;
    }
    *more = *count > 0 && range->left > 0;
    return *more ? NULL : PyLong_FromSize_t(op->size);
}

/* One system call. A new reference; or NULL with *count < 0 and errno, or with an exception set. *partial: the call did
 * less than it was asked for, so the next one would block; *more: it is to be called again at once. */
static PyObject *
operation_call(SocketOperation *op, PollSource *source, ssize_t *count, bool *partial, bool *more)
{
    int fd = op->socket->fd;
    Address from;
    PyObject *result = NULL;

    *partial = *more = false;
    switch ((SocketCall)op->call) {
    case CALL_ACCEPT:
        return call_accept(op, count);
    case CALL_BIND:
        *count = bind(fd, sockaddr(op->address), op->address->length);
        return *count < 0 ? NULL : Py_NewRef(Py_None);
    case CALL_CONNECT:
        return call_connect(op, count, source);
    case CALL_RECV:
    case CALL_RECVFROM:
        result = call_recv(op, count, op->call == CALL_RECV ? NULL : &from);
        *partial = *count >= 0 && (size_t)*count < op->size;
        return result;
    case CALL_RECV_INTO:
    case CALL_RECVFROM_INTO: {
        Address *address = op->call == CALL_RECV_INTO ? NULL : &from;
        *count = receive(op, op->buffer.buf, op->size, address);
        *partial = *count >= 0 && (size_t)*count < op->size;
        return *count < 0 ? NULL : received(PyLong_FromSsize_t(*count), address);
    }
    case CALL_RECEIVE:
        return stream_receive(op, count, partial, more);
    case CALL_RECVMSG:
    case CALL_RECVMSG_INTO:
        return message_receive(op, count);
    case CALL_SEND:
        *count = send(fd, op->buffer.buf, (size_t)op->buffer.len, op->flags | MSG_NOSIGNAL);
        *partial = *count >= 0 && *count < op->buffer.len;
        return *count < 0 ? NULL : PyLong_FromSsize_t(*count);
    case CALL_SENDTO:
        *count = sendto(fd, op->buffer.buf, (size_t)op->buffer.len, op->flags | MSG_NOSIGNAL,
                        sockaddr(op->address), op->address->length);
        *partial = *count >= 0 && *count < op->buffer.len;
        return *count < 0 ? NULL : PyLong_FromSsize_t(*count);
    case CALL_SENDMSG:
        return message_send(op, count);
    case CALL_SENDFILE:
        return call_sendfile(op, count, more);
    case CALL_SENDALL:
        *count = send(fd, (char *)op->buffer.buf + op->size, (size_t)op->buffer.len - op->size,
                      op->flags | MSG_NOSIGNAL);
        if (*count < 0) {
            return NULL;
        }
        op->size += (size_t)*count;
        *more = op->size < (size_t)op->buffer.len;
        *partial = *more;
        return *more ? NULL : Py_NewRef(Py_None);
    }
    Py_UNREACHABLE();
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

/* The address is a name: READY when it is none any more. */
static OperationResult
operation_resolve(SocketOperation *op, Task *task)
{
    Lookup *lookup = op->lookup;
    Address *address = op->call == CALL_SENDMSG ? &op->message->address : op->address;

    /* while the name is looked up the socket may be closed */
    if (!socket_use(op->socket, 0, 0)) {
        return OPERATION_ERROR;
    }
    if (!lookup->started && lookup_start(lookup, task_runtime(task)->serial) < 0) {
        return OPERATION_ERROR;
    }
    if (!lookup_is_done(lookup)) {
        return OPERATION_PENDING;
    }
    int found = address_take_answer(address, lookup);
    op->lookup = NULL;
    socket_detach_lookup(op->socket, lookup, NULL);
    lookup_release(lookup);
    return found < 0 ? OPERATION_ERROR : OPERATION_READY;
}

/* Does the call take more than one system call, between which nobody else may have its direction? */
static bool
operation_is_long(const SocketOperation *op)
{
    return op->call == CALL_SENDALL || op->call == CALL_SENDFILE;
}

static bool
operation_is_receive(const SocketOperation *op)
{
    return op->call >= CALL_RECV && op->call <= CALL_RECVFROM_INTO;
}

/* What a receive of no bytes gives. */
static PyObject *
receive_nothing(const SocketOperation *op)
{
    const Address nobody = {.length = 0};
    bool into = op->call == CALL_RECV_INTO || op->call == CALL_RECVFROM_INTO;
    bool from = op->call == CALL_RECVFROM || op->call == CALL_RECVFROM_INTO;

    return received(into ? PyLong_FromLong(0) : PyBytes_FromStringAndSize(NULL, 0),
                    from ? &nobody : NULL);
}

/* Has a call that did less than it was asked for done all that is possible now? So it is with TCP. A read from a Unix socket
 * also stops where descriptors or credentials were sent with the data, and there are streams of messages. */
static bool
short_means_no_more(const SocketOperation *op)
{
    const Socket *self = op->socket;

    return self->type == SOCK_STREAM && !(op->flags & MSG_PEEK) &&
           (op->direction == SOURCE_WRITE ||
            ((self->family == AF_INET || self->family == AF_INET6) &&
             (self->proto == 0 || self->proto == IPPROTO_TCP)));
}

/* Does it take the source's word that nothing is ready? Who has no time to wait asks the system: the event may be there, and
 * only not be looked at yet. */
static bool
operation_believes(const SocketOperation *op)
{
    return !op->at_once && op->base.timeout != 0.0;
}

/* Is it known that it has to wait? That saves entering the socket. The source may be another's by now: then source_arm says
 * so, and the operation, which holds its direction, looks closely. */
static bool
operation_must_wait(const SocketOperation *op, Runtime *runtime)
{
    uint32_t tick;

    if (op->holds || op->turns || op->size == 0 || !operation_believes(op)) {
        return false;
    }
    PollSource *source = socket_find_source(op->socket, runtime);
    return source != NULL && !source_is_ready(source, (SourceDirection)op->direction, &tick) &&
           !source_is_lost(source);
}

/* Tries; the caller has entered. READY, PENDING or ERROR. */
static OperationResult
operation_try(SocketOperation *op, PollSource *source, PyObject **result)
{
    uint32_t tick = 0;

    if (source != NULL && source_is_lost(source)) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
        return OPERATION_ERROR;
    }
    for (;;) {
        ssize_t count = 0;
        bool partial;
        bool more;
        if (source != NULL && !source_is_ready(source, op->direction, &tick) &&
            operation_believes(op)) {
            return OPERATION_PENDING;
        }
        *result = operation_call(op, source, &count, &partial, &more);
        if (partial && source != NULL && short_means_no_more(op)) {
            /* saves the call that would say EAGAIN; the end of a stream is remembered apart */
            if (count > 0 || op->direction == SOURCE_WRITE) {
                source_clear_short(source, op->direction, tick);
            }
        }
        if (*result != NULL) {
            return OPERATION_READY;
        }
        if (more) {
            continue;
        }
        if (count >= 0) {
            return OPERATION_ERROR; /* an exception is set */
        }
        if (errno == EINTR) {
            if (PyErr_CheckSignals() < 0) {
                return OPERATION_ERROR;
            }
            continue;
        }
        if ((errno == EAGAIN || errno == EWOULDBLOCK) && !op->at_once) {
            if (source != NULL) {
                source_clear(source, op->direction, tick);
            }
            return OPERATION_PENDING;
        }
        if (op->call == CALL_ACCEPT && (errno == ECONNABORTED || errno == EPROTO)) {
            continue; /* that client went away before it was served */
        }
        PyErr_SetFromErrno(PyExc_OSError);
        return OPERATION_ERROR;
    }
}

OperationResult
socket_operation_poll(Operation *base, Task *task, PyObject **result)
{
    SocketOperation *op = (SocketOperation *)base;
    Socket *self = op->socket;
    Runtime *runtime = task_runtime(task);
    OperationResult outcome;

    if (op->lookup != NULL) {
        outcome = operation_resolve(op, task);
        if (outcome != OPERATION_READY) {
            if (outcome == OPERATION_ERROR) {
                socket_operation_end(op);
            }
            return outcome;
        }
    }
    if (op->size == 0 && operation_is_receive(op) && self->type == SOCK_STREAM) {
        /* receiving nothing does not wait, though the system would say so, and is in nobody's way */
        *result = socket_use(self, 0, 0) ? receive_nothing(op) : NULL;
        socket_operation_end(op);
        return *result == NULL ? OPERATION_ERROR : OPERATION_READY;
    }
    if (operation_must_wait(op, runtime)) {
        return socket_operation_take_direction(op) ? OPERATION_PENDING : OPERATION_ERROR;
    }
    /* A sendall may take several calls, between which nobody else may send: it takes the direction before the first. Others
     * only look whether it is taken, and take it when they have to wait. */
    uint32_t bit = operation_wants(op);
    uint32_t taken = operation_is_long(op) ? bit : 0;
    if (!socket_use(self, bit, taken + SOCKET_CALL)) {
        socket_operation_end(op);
        return OPERATION_ERROR;
    }
    op->holds |= taken != 0;
    PollSource *source = socket_find_source(self, runtime);
    if (op->turns && source != NULL && !op->called && !op->at_once &&
        source_is_queued(source, op->direction)) {
        outcome = OPERATION_PENDING;
    }
    else {
        outcome = operation_try(op, source, result);
    }
    if (op->called && source != NULL) {
        TaskChain chain = TASK_CHAIN_EMPTY;
        op->called = false;
        op->first = outcome == OPERATION_PENDING;
        source_turn_over(source, op->direction, &chain);
        scheduler_wake_chain(&chain);
    }
    if (outcome == OPERATION_PENDING) {
        bit = operation_wants(op);
        if (bit == 0) {
            socket_leave(self);
            return OPERATION_PENDING;
        }
        if (socket_use(self, bit, bit - SOCKET_CALL)) {
            op->holds = true;
            return OPERATION_PENDING;
        }
        outcome = OPERATION_ERROR;
    }
    operation_leave(op, SOCKET_CALL);
    socket_operation_end(op);
    return outcome;
}

/* The source to wait at, where its socket has none in this runtime yet. NULL with an exception set; then it has ended. */
static PollSource *
operation_make_source(SocketOperation *op, Runtime *runtime)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    PollSource *source = NULL;

    if (socket_enter(op->socket)) {
        source = socket_source(op->socket, runtime, &chain);
        scheduler_wake_chain(&chain);
        socket_leave(op->socket);
    }
    if (source == NULL) {
        socket_operation_end(op);
    }
    return source;
}

OperationResult
socket_operation_arm(Operation *base, Task *task, PyObject **Py_UNUSED(result))
{
    SocketOperation *op = (SocketOperation *)base;
    Runtime *runtime = task_runtime(task);
    SourceWait how = WAIT_TOGETHER;

    if (op->lookup != NULL) {
        return socket_arm_lookup(op->socket, op->lookup, task) ? OPERATION_PARKED
                                                               : OPERATION_PENDING;
    }
    PollSource *source = socket_find_source(op->socket, runtime);
    if (source == NULL) {
        source = operation_make_source(op, runtime);
        if (source == NULL) {
            return OPERATION_ERROR;
        }
    }
    if (op->turns) {
        how = op->first ? WAIT_FIRST : WAIT_TURN;
    }
    op->first = false;
    op->source = source;
    return source_arm(source, op->socket, op->direction, task, how) ? OPERATION_PARKED
                                                                    : OPERATION_PENDING;
}

static OperationResult
socket_finish(Operation *base, Task *task, PyObject **result)
{
    SocketOperation *op = (SocketOperation *)base;

    op->called = op->lookup == NULL && op->turns;
    return socket_operation_poll(base, task, result);
}

void
socket_operation_detach(Operation *base, Task *task)
{
    SocketOperation *op = (SocketOperation *)base;

    if (op->lookup != NULL) {
        socket_detach_lookup(op->socket, op->lookup, task);
    }
    else if (op->source != NULL) {
        /* Not through socket_enter: also from a closed socket. A task that is still queued keeps the source from being
         * given away, because forgetting the source takes it out first, under the same mutex. */
        source_detach(op->source, op->direction, task);
    }
    operation_leave(op, 0);
}

OperationResult
socket_operation_timed_out(Operation *base, Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    socket_operation_end((SocketOperation *)base);
    PyErr_Format(PyExc_TimeoutError, "%s took longer than its timeout", base->cls->name);
    return OPERATION_ERROR;
}

PyObject *
socket_operation_describe(Operation *base)
{
    SocketOperation *op = (SocketOperation *)base;

    if (op->lookup != NULL) {
        return PyUnicode_FromFormat("%s of %R, for the address of %s", base->cls->name, op->socket,
                                    op->lookup->host);
    }
    return PyUnicode_FromFormat("%s of %R", base->cls->name, op->socket);
}

/* ---- the operation --------------------------------------------------------------------------------------- */

#define SOCKET_CLASS(text)                                                                         \
    {.name = text,                                                                                 \
     .from_outside = true,                                                                         \
     .describe = socket_operation_describe,                                                        \
     .poll = socket_operation_poll,                                                                \
     .arm = socket_operation_arm,                                                                  \
     .finish = socket_finish,                                                                      \
     .detach = socket_operation_detach,                                                            \
     .timed_out = socket_operation_timed_out}

static const OperationClass socket_classes[] = {
    [CALL_ACCEPT] = SOCKET_CLASS("socket.accept()"),
    [CALL_BIND] = SOCKET_CLASS("socket.bind()"),
    [CALL_CONNECT] = SOCKET_CLASS("socket.connect()"),
    [CALL_RECV] = SOCKET_CLASS("socket.recv()"),
    [CALL_RECV_INTO] = SOCKET_CLASS("socket.recv_into()"),
    [CALL_RECVFROM] = SOCKET_CLASS("socket.recvfrom()"),
    [CALL_RECVFROM_INTO] = SOCKET_CLASS("socket.recvfrom_into()"),
    [CALL_RECVMSG] = SOCKET_CLASS("socket.recvmsg()"),
    [CALL_RECVMSG_INTO] = SOCKET_CLASS("socket.recvmsg_into()"),
    [CALL_SEND] = SOCKET_CLASS("socket.send()"),
    [CALL_SENDALL] = SOCKET_CLASS("socket.sendall()"),
    [CALL_SENDTO] = SOCKET_CLASS("socket.sendto()"),
    [CALL_SENDMSG] = SOCKET_CLASS("socket.sendmsg()"),
    [CALL_SENDFILE] = SOCKET_CLASS("socket.sendfile()"),
};

static void
SocketOperation_dealloc(PyObject *object)
{
    SocketOperation *op = (SocketOperation *)object;

    operation_dealloc_warn(&op->base);
    if (op->lookup != NULL) {
        socket_detach_lookup(op->socket, op->lookup, NULL);
        lookup_release(op->lookup);
    }
    socket_operation_end(op);
    free(op->extra);
    Py_XDECREF(op->stream);
    Py_DECREF(op->socket);
    PyObject_Free(object);
}

static PyTypeObject SocketOperation_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.SocketOperation",
    .tp_basicsize = sizeof(SocketOperation),
    .tp_dealloc = SocketOperation_dealloc,
};

SocketOperation *
socket_operation_new(PyObject *socket, SocketCall call, PyObject *timeout)
{
    bool at_once = false;
    double seconds;

    if (timeout != NULL) {
        if (seconds_from_object(timeout, "timeout", &seconds) < 0) {
            return NULL;
        }
    }
    else {
        /* relaxed: a number by itself */
        seconds = atomic_load_explicit(&((Socket *)socket)->timeout, memory_order_relaxed);
        at_once = seconds == 0.0;
    }
    SocketOperation *op = PyObject_New(SocketOperation, &SocketOperation_Type);
    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &socket_classes[call], OPERATION_NEW, at_once ? -1.0 : seconds);
    op->socket = (Socket *)Py_NewRef(socket);
    op->call = (uint8_t)call;
    op->direction = call_reads(call) ? SOURCE_READ : SOURCE_WRITE;
    op->turns = call == CALL_ACCEPT || op->socket->type != SOCK_STREAM;
    op->holds = op->waiting = op->called = op->first = op->as_number = false;
    op->at_once = at_once;
    op->flags = 0;
    op->size = 0;
    op->source = NULL;
    op->lookup = NULL;
    op->stream = NULL;
    op->extra = NULL;
    op->buffer.buf = NULL;
    return op;
}

PyObject *
socket_operation_drop(SocketOperation *op)
{
    atomic_store_explicit(&op->base.use, OPERATION_CLAIMED,
                          memory_order_relaxed); /* relaxed: nobody else has it */
    Py_DECREF(op);
    return NULL;
}

int
socket_operation_type_ready(void)
{
    return operation_type_ready(&SocketOperation_Type);
}
