/* Socket operations: accept, bind, connect, receive and send, as one operation with a table of system calls.
 *
 * Each is tried first, and parked on the readiness of its direction if the system says EAGAIN. Run by the task that
 * waits; everything shared is the socket's (see socket.h).
 */
#include <errno.h>
#include <unistd.h>

#include "errors.h"
#include "runtime/runtime.h"
#include "types/socket.h"
#include "types/types.h"

static PyTypeObject SocketOperation_Type;

/* A stream's direction belongs to the operation until operation_release. False: another has it; ResourceBusy is set. */
static bool
operation_hold(SocketOperation *op)
{
    uint32_t bit = 1u << op->direction;

    if (op->holds || op->call == CALL_ACCEPT || op->socket->type != SOCK_STREAM) {
        return true;
    }
    /* acquire / release: who comes next sees what was sent or received before */
    if (atomic_fetch_or_explicit(&op->socket->busy, bit, memory_order_acquire) & bit) {
        PyErr_Format(error_type(ERROR_RESOURCE_BUSY), "another task is already %s this socket",
                     op->direction == SOURCE_READ ? "receiving from" : "sending to");
        return false;
    }
    op->holds = true;
    return true;
}

static void
operation_release(SocketOperation *op)
{
    if (op->holds) {
        op->holds = false;
        atomic_fetch_and_explicit(&op->socket->busy, ~(1u << op->direction), memory_order_release);
    }
}

static PyObject *
call_recv(SocketOperation *op, ssize_t *count)
{
    Socket *self = op->socket;
    Worker *worker = current_worker;
    PyObject *bytes;

    /* relaxed: a hint */
    if (op->size <= WORKER_SCRATCH &&
        atomic_load_explicit(&self->last_received, memory_order_relaxed) < 16384) {
        *count = recv(self->fd, worker->scratch, op->size, op->flags);
        if (*count < 0) {
            return NULL;
        }
        bytes = PyBytes_FromStringAndSize(worker->scratch, *count);
    }
    else {
        bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)op->size);
        if (bytes == NULL) {
            *count = 0;
            return NULL;
        }
        *count = recv(self->fd, PyBytes_AS_STRING(bytes), op->size, op->flags);
        if (*count < 0) {
            int error = errno;
            Py_DECREF(bytes);
            errno = error;
            return NULL;
        }
        if ((size_t)*count < op->size) {
            _PyBytes_Resize(&bytes, *count);
        }
    }
    atomic_store_explicit(&self->last_received,
                          (uint32_t)(*count > UINT32_MAX ? UINT32_MAX : *count),
                          memory_order_relaxed);
    return bytes;
}

static PyObject *
call_accept(SocketOperation *op, ssize_t *count)
{
    Socket *self = op->socket;
    Address address;
    PyObject *socket;
    PyObject *peer;

    address.length = sizeof(address.storage);
    int fd = accept4(self->fd, (struct sockaddr *)&address.storage, &address.length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
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

static PyObject *
call_connect(SocketOperation *op, ssize_t *count)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (!op->waiting) {
        *count =
            connect(op->socket->fd, (struct sockaddr *)&op->address.storage, op->address.length);
        if (*count == 0) {
            Py_RETURN_NONE;
        }
        if (errno == EINPROGRESS || errno == EINTR) {
            op->waiting = true;
            errno = EAGAIN;
        }
        else if (errno == EAGAIN) {
            /* a Unix socket whose queue is full: no event will say when it has room */
            PyErr_SetFromErrno(PyExc_OSError);
            *count = 0;
        }
        return NULL;
    }
    *count = getsockopt(op->socket->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (*count == 0 && error != 0) {
        errno = error;
        *count = -1;
    }
    if (*count < 0) {
        return NULL;
    }
    /* Writable, no error: connected, or woken for nothing. */
    struct sockaddr_storage peer;
    length = sizeof(peer);
    if (getpeername(op->socket->fd, (struct sockaddr *)&peer, &length) < 0 && errno == ENOTCONN) {
        errno = EAGAIN;
        *count = -1;
        return NULL;
    }
    Py_RETURN_NONE;
}

/* One system call. A new reference; or NULL with *count < 0 and errno, or with an exception set. *partial: the call did
 * less than it was asked for, so the next one would block; *more: it is to be called again at once. */
static PyObject *
operation_call(SocketOperation *op, ssize_t *count, bool *partial, bool *more)
{
    int fd = op->socket->fd;
    PyObject *result = NULL;

    *partial = *more = false;
    switch ((SocketCall)op->call) {
    case CALL_ACCEPT:
        return call_accept(op, count);
    case CALL_BIND:
        *count = bind(fd, (struct sockaddr *)&op->address.storage, op->address.length);
        return *count < 0 ? NULL : Py_NewRef(Py_None);
    case CALL_CONNECT:
        return call_connect(op, count);
    case CALL_RECV:
        result = call_recv(op, count);
        *partial = *count >= 0 && (size_t)*count < op->size;
        return result;
    case CALL_RECV_INTO:
        *count = recv(fd, op->buffer.buf, op->size, op->flags);
        *partial = *count >= 0 && (size_t)*count < op->size;
        return *count < 0 ? NULL : PyLong_FromSsize_t(*count);
    case CALL_SEND:
        *count = send(fd, op->buffer.buf, (size_t)op->buffer.len, op->flags | MSG_NOSIGNAL);
        *partial = *count >= 0 && *count < op->buffer.len;
        return *count < 0 ? NULL : PyLong_FromSsize_t(*count);
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

static OperationResult
socket_poll(Operation *base, Task *task, PyObject **result)
{
    SocketOperation *op = (SocketOperation *)base;
    Socket *self = op->socket;
    OperationResult outcome = OPERATION_ERROR;
    uint32_t tick = 0;
    PollSource *source = NULL;

    if (!socket_enter(self)) {
        operation_release(op);
        return OPERATION_ERROR;
    }
    if (op->size == 0 && (op->call == CALL_RECV || op->call == CALL_RECV_INTO)) {
        /* receiving nothing does not wait, though the system would say so */
        socket_leave(self);
        *result = op->call == CALL_RECV ? PyBytes_FromStringAndSize(NULL, 0) : PyLong_FromLong(0);
        return *result == NULL ? OPERATION_ERROR : OPERATION_READY;
    }
    /* A sendall may take several calls, between which nobody else may send: it takes the direction before the first. Others
     * only look whether it is taken, and take it when they have to wait. relaxed: operation_hold decides */
    if (!op->holds &&
        (op->call == CALL_SENDALL ||
         (atomic_load_explicit(&self->busy, memory_order_relaxed) & (1u << op->direction))) &&
        !operation_hold(op)) {
        socket_leave(self);
        return OPERATION_ERROR;
    }
    if (atomic_load_explicit(&self->serial, memory_order_acquire) == task_runtime(task)->serial) {
        source = self->source;
    }
    for (;;) {
        ssize_t count = 0;
        bool partial;
        bool more;
        if (source != NULL && !source_is_ready(source, op->direction, &tick)) {
            outcome = OPERATION_PENDING;
            break;
        }
        *result = operation_call(op, &count, &partial, &more);
        if (partial && source != NULL && self->type == SOCK_STREAM && !(op->flags & MSG_PEEK)) {
            /* saves the call that would say EAGAIN; the end of a stream is remembered apart */
            if (count > 0 || op->direction == SOURCE_WRITE) {
                source_clear(source, op->direction, tick);
            }
        }
        if (*result != NULL) {
            outcome = OPERATION_READY;
            break;
        }
        if (more) {
            continue;
        }
        if (count >= 0) {
            break; /* an exception is set */
        }
        if (errno == EINTR) {
            if (PyErr_CheckSignals() < 0) {
                break;
            }
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (source != NULL) {
                source_clear(source, op->direction, tick);
            }
            outcome = OPERATION_PENDING;
            break;
        }
        if (op->call == CALL_ACCEPT && (errno == ECONNABORTED || errno == EPROTO)) {
            continue; /* that client went away before it was served */
        }
        PyErr_SetFromErrno(PyExc_OSError);
        break;
    }
    socket_leave(self);
    if (outcome == OPERATION_PENDING) {
        return operation_hold(op) ? OPERATION_PENDING : OPERATION_ERROR;
    }
    operation_release(op);
    return outcome;
}

static OperationResult
socket_arm(Operation *base, Task *task, PyObject **Py_UNUSED(result))
{
    SocketOperation *op = (SocketOperation *)base;
    OperationResult outcome = OPERATION_ERROR;
    PollSource *source;

    if (!socket_enter(op->socket)) {
        operation_release(op);
        return OPERATION_ERROR;
    }
    source = socket_source(op->socket, task_runtime(task));
    if (source != NULL) {
        outcome = source_arm(source, op->direction, task) ? OPERATION_PARKED : OPERATION_PENDING;
    }
    else {
        operation_release(op);
    }
    /* May be the last user of a socket that was closed meanwhile: then this wakes the task that it has just parked. */
    socket_leave(op->socket);
    return outcome;
}

static void
socket_detach(Operation *base, Task *task)
{
    SocketOperation *op = (SocketOperation *)base;

    /* Not through socket_enter: also from a closed socket. A task that is still queued keeps the source from being
     * given away, because forgetting the source takes it out first, under the same mutex. */
    if (atomic_load_explicit(&op->socket->serial, memory_order_acquire) ==
        task_runtime(task)->serial) {
        source_detach(op->socket->source, task);
    }
    operation_release(op);
}

#define SOCKET_CLASS(text)                                                                         \
    {.name = text,                                                                                 \
     .from_outside = true,                                                                         \
     .poll = socket_poll,                                                                          \
     .arm = socket_arm,                                                                            \
     .detach = socket_detach}

static const OperationClass socket_classes[] = {
    [CALL_ACCEPT] = SOCKET_CLASS("socket.accept()"),
    [CALL_BIND] = SOCKET_CLASS("socket.bind()"),
    [CALL_CONNECT] = SOCKET_CLASS("socket.connect()"),
    [CALL_RECV] = SOCKET_CLASS("socket.recv()"),
    [CALL_RECV_INTO] = SOCKET_CLASS("socket.recv_into()"),
    [CALL_SEND] = SOCKET_CLASS("socket.send()"),
    [CALL_SENDALL] = SOCKET_CLASS("socket.sendall()"),
};

static void
SocketOperation_dealloc(PyObject *object)
{
    SocketOperation *op = (SocketOperation *)object;

    operation_dealloc_warn(&op->base);
    if (op->buffer.buf != NULL) {
        PyBuffer_Release(&op->buffer);
    }
    Py_DECREF(op->socket);
    PyObject_Free(object);
}

static PyTypeObject SocketOperation_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.SocketOperation",
    .tp_basicsize = sizeof(SocketOperation),
    .tp_dealloc = SocketOperation_dealloc,
};

SocketOperation *
socket_operation_new(PyObject *socket, SocketCall call, SourceDirection direction)
{
    SocketOperation *op = PyObject_New(SocketOperation, &SocketOperation_Type);
    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &socket_classes[call], OPERATION_NEW, -1.0);
    op->socket = (Socket *)Py_NewRef(socket);
    op->call = (uint8_t)call;
    op->direction = (uint8_t)direction;
    op->holds = false;
    op->waiting = false;
    op->flags = 0;
    op->size = 0;
    op->buffer.buf = NULL;
    return op;
}

void
socket_operation_drop(SocketOperation *op)
{
    atomic_store_explicit(&op->base.use, OPERATION_CLAIMED,
                          memory_order_relaxed); /* relaxed: nobody else has it */
    Py_DECREF(op);
}

int
socket_operation_type_ready(void)
{
    return operation_type_ready(&SocketOperation_Type);
}
