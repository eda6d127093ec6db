/* Stream: bytes of a connected socket, with a buffer on the receiving side. The base of tonio.net.SocketStream.
 *
 * Its operations are those of the socket (socket_operation.c) with a class of their own: what is in the buffer is looked at
 * first, and an OSError becomes ResourceBroken. What a receive_exactly() or receive_until() has got when it is cancelled, late
 * or fails stays in the buffer, so no byte is lost.
 *
 * The buffer belongs to whoever holds the socket's reading direction; the two flags are written by whoever holds one of them,
 * and are looked at by anybody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "support.h"
#include "types/socket.h"
#include "types/types.h"

#define RECEIVE_BYTES 65536 /* what receive_some() takes at most, if it is not told */
#define BUFFER_LEAST 4096u  /* room to receive into */
#define BUFFER_STEP                                                                                \
    (1024u *                                                                                       \
     1024) /* a buffer that is to hold very much grows with what comes, by as much at first */

struct Stream {
    PyObject_HEAD Socket *socket; /* owned, fixed */
    char *memory; /* from malloc; NULL while nothing is in it. These are the reader's: */
    size_t capacity;
    size_t start; /* what was received and not taken yet */
    size_t end;
    size_t searched;     /* receive_until: so many bytes hold no delimiter */
    _Atomic bool ended;  /* the other side has sent its last */
    _Atomic bool closed; /* ... and so have we */
};

/* ---- the buffer ------------------------------------------------------------------------------------------ */

static void
buffer_free_if_empty(Stream *self)
{
    if (self->start == self->end) {
        free(self->memory);
        self->memory = NULL;
        self->capacity = self->start = self->end = 0;
    }
}

/* Room for `size` more bytes. -1 with MemoryError set; what is in it stays. */
static int
buffer_reserve(Stream *self, size_t size)
{
    size_t used = self->end - self->start;

    if (self->capacity - self->end >= size) {
        return 0;
    }
    if (self->start >= used && self->capacity - used >= size) {
        memcpy(self->memory, self->memory + self->start, used);
    }
    else {
        size_t capacity = used + (size > used ? size : used);
        char *memory = malloc(capacity);
        if (memory == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        if (used > 0) {
            memcpy(memory, self->memory + self->start, used);
        }
        free(self->memory);
        self->memory = memory;
        self->capacity = capacity;
    }
    self->start = 0;
    self->end = used;
    return 0;
}

/* The first `size` bytes, and `more` that are dropped. New reference, or NULL with an exception set: then all stays. */
static PyObject *
buffer_take(Stream *self, size_t size, size_t more)
{
    /* nothing, if it has no memory */
    const char *from = self->memory == NULL ? "" : self->memory + self->start;
    PyObject *bytes = PyBytes_FromStringAndSize(from, (Py_ssize_t)size);

    if (bytes != NULL) {
        self->start += size + more;
        buffer_free_if_empty(self);
    }
    return bytes;
}

/* Looks for the delimiter. True: it is there, or can not be any more; *result is new, or NULL with an exception set. */
static bool
take_until(SocketOperation *op, PyObject **result)
{
    Stream *self = op->stream;
    size_t length = (size_t)op->buffer.len;
    size_t have = self->end - self->start;
    /* it may have begun at the end of what was searched before */
    size_t from = self->searched < length ? 0 : self->searched - length + 1;

    if (have >= length) {
        char *begin = self->memory + self->start;
        char *found = memmem(begin + from, have - from, op->buffer.buf, length);
        if (found != NULL && (size_t)(found - begin) <= op->size) {
            *result = buffer_take(self, (size_t)(found - begin), length);
            return true;
        }
        if (have - length >= op->size) {
            PyErr_Format(error_type(ERROR_DELIMITER_NOT_FOUND),
                         "no delimiter in the first %zu bytes", op->size);
            *result = NULL;
            return true;
        }
    }
    self->searched = have;
    return false;
}

/* Can the operation be served from the buffer? *result is new then, or NULL with an exception set. */
static bool
stream_take(SocketOperation *op, PyObject **result)
{
    Stream *self = op->stream;
    size_t have = self->end - self->start;

    if (op->call == CALL_RECV) {
        if (have == 0) {
            return false;
        }
        *result = buffer_take(self, have < op->size ? have : op->size, 0);
        return true;
    }
    if (op->buffer.buf != NULL) {
        return take_until(op, result);
    }
    if (have < op->size) {
        return false;
    }
    *result = buffer_take(self, op->size, 0);
    return true;
}

/* How much to receive next. */
static size_t
stream_room(const SocketOperation *op)
{
    const Stream *self = op->stream;
    size_t have = self->end - self->start;

    if (op->buffer.buf != NULL || op->size - have <= BUFFER_LEAST) {
        return BUFFER_LEAST;
    }
    size_t most = have > BUFFER_STEP ? have : BUFFER_STEP;
    return op->size - have < most ? op->size - have : most;
}

PyObject *
stream_receive(SocketOperation *op, ssize_t *count, bool *partial, bool *more)
{
    Stream *self = op->stream;
    PyObject *result;
    size_t room = stream_room(op);

    *count = 0;
    if (buffer_reserve(self, room) < 0) {
        return NULL;
    }
    *count = recv(op->socket->fd, self->memory + self->end, room, 0);
    if (*count < 0) {
        int error = errno;
        buffer_free_if_empty(self); /* a connection that waits costs nothing */
        errno = error;
        return NULL;
    }
    if (*count == 0) {
        PyErr_Format(error_type(ERROR_INCOMPLETE_READ),
                     "the stream has ended after %zu bytes of what is to be received",
                     self->end - self->start);
        buffer_free_if_empty(self);
        return NULL;
    }
    self->end += (size_t)*count;
    *partial = (size_t)*count < room;
    if (stream_take(op, &result)) {
        return result;
    }
    *more = true;
    return NULL;
}

/* ---- operations ------------------------------------------------------------------------------------------ */

/* What is wrong with the connection is the same for all who use streams: ResourceBroken, with the cause attached. */
static void
stream_translate_error(void)
{
    if (!PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        return;
    }
    PyObject *cause = PyErr_GetRaisedException();
    PyErr_Format(error_type(ERROR_RESOURCE_BROKEN), "the connection is broken: %S", cause);
    PyObject *error = PyErr_GetRaisedException();
    if (PyErr_GivenExceptionMatches(error, error_type(ERROR_RESOURCE_BROKEN))) {
        PyException_SetContext(error, Py_NewRef(cause));
        PyException_SetCause(error, Py_NewRef(cause));
    }
    Py_DECREF(cause);
    PyErr_SetRaisedException(error);
}

static OperationResult
stream_poll(Operation *base, Task *task, PyObject **result)
{
    SocketOperation *op = (SocketOperation *)base;

    if (!op->holds) {
        if (!socket_operation_take_direction(op)) {
            return OPERATION_ERROR;
        }
        op->stream->searched = 0;
    }
    if (stream_take(op, result)) {
        socket_operation_end(op);
        return *result == NULL ? OPERATION_ERROR : OPERATION_READY;
    }
    OperationResult outcome = socket_operation_poll(base, task, result);
    if (outcome == OPERATION_ERROR) {
        stream_translate_error();
    }
    else if (outcome == OPERATION_READY && PyBytes_GET_SIZE(*result) == 0) {
        /* relaxed: a fact that is learnt sooner or later */
        atomic_store_explicit(&op->stream->ended, true, memory_order_relaxed);
    }
    return outcome;
}

static OperationResult
stream_next_poll(Operation *base, Task *task, PyObject **result)
{
    OperationResult outcome = stream_poll(base, task, result);

    if (outcome == OPERATION_READY && PyBytes_GET_SIZE(*result) == 0) {
        Py_CLEAR(*result);
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return OPERATION_ERROR;
    }
    return outcome;
}

static OperationResult
stream_send_poll(Operation *base, Task *task, PyObject **result)
{
    SocketOperation *op = (SocketOperation *)base;

    /* relaxed: who calls both at the same time must not expect an order */
    if (atomic_load_explicit(&op->stream->closed, memory_order_relaxed)) {
        socket_operation_end(op);
        PyErr_SetString(error_type(ERROR_RESOURCE_CLOSED),
                        "send_eof() was called: nothing more can be sent");
        return OPERATION_ERROR;
    }
    if (op->buffer.len == 0) {
        /* The system would be asked to send nothing, and complain if nobody is there to get it. */
        if (!socket_operation_take_direction(op)) {
            return OPERATION_ERROR;
        }
        socket_operation_end(op);
        *result = Py_NewRef(Py_None);
        return OPERATION_READY;
    }
    OperationResult outcome = socket_operation_poll(base, task, result);
    if (outcome == OPERATION_ERROR) {
        stream_translate_error();
    }
    return outcome;
}

#define STREAM_CLASS(text, poll_function)                                                          \
    {.name = text,                                                                                 \
     .from_outside = true,                                                                         \
     .describe = socket_operation_describe,                                                        \
     .poll = poll_function,                                                                        \
     .arm = socket_operation_arm,                                                                  \
     .detach = socket_operation_detach,                                                            \
     .timed_out = socket_operation_timed_out}

enum { RECEIVE_SOME, RECEIVE_NEXT, RECEIVE_EXACTLY, RECEIVE_UNTIL, SEND_ALL };

static const OperationClass stream_classes[] = {
    [RECEIVE_SOME] = STREAM_CLASS("SocketStream.receive_some()", stream_poll),
    [RECEIVE_NEXT] = STREAM_CLASS("the next bytes of a SocketStream", stream_next_poll),
    [RECEIVE_EXACTLY] = STREAM_CLASS("SocketStream.receive_exactly()", stream_poll),
    [RECEIVE_UNTIL] = STREAM_CLASS("SocketStream.receive_until()", stream_poll),
    [SEND_ALL] = STREAM_CLASS("SocketStream.send_all()", stream_send_poll),
};

/* New reference, or NULL with an exception set. */
static SocketOperation *
stream_operation(PyObject *object, SocketCall call, int cls, size_t size, PyObject *timeout)
{
    Stream *self = (Stream *)object;
    SocketOperation *op = socket_operation_new((PyObject *)self->socket, call, timeout);

    if (op != NULL) {
        op->base.cls = &stream_classes[cls];
        op->stream = (Stream *)Py_NewRef(self);
        op->size = size;
    }
    return op;
}

/* ---- methods --------------------------------------------------------------------------------------------- */

/* A number of bytes that is to be at least one; `object` may be NULL or None. -1 with an exception set. */
static int
count_argument(PyObject *object, const char *name, size_t otherwise, size_t *size)
{
    Py_ssize_t value;

    *size = otherwise;
    if (object == NULL || object == Py_None) {
        return 0;
    }
    if (size_from_object(object, name, 1, &value) < 0) {
        return -1;
    }
    *size = (size_t)value;
    return 0;
}

static PyObject *
Stream_receive_some(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"max_bytes", "timeout", NULL};
    PyObject *values[2];
    size_t size;

    if (arguments_parse("receive_some()", names, 0, args, nargs, kwnames, values) < 0 ||
        count_argument(values[0], "max_bytes", RECEIVE_BYTES, &size) < 0) {
        return NULL;
    }
    return (PyObject *)stream_operation(self, CALL_RECV, RECEIVE_SOME, size, values[1]);
}

static PyObject *
Stream_receive_exactly(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"nbytes", "timeout", NULL};
    PyObject *values[2];
    size_t size;

    if (arguments_parse("receive_exactly()", names, 1, args, nargs, kwnames, values) < 0 ||
        size_argument("receive_exactly()", "nbytes", values[0], &size) < 0) {
        return NULL;
    }
    return (PyObject *)stream_operation(self, CALL_RECEIVE, RECEIVE_EXACTLY, size, values[1]);
}

static PyObject *
Stream_receive_until(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"delimiter", "max_bytes", "timeout", NULL};
    PyObject *values[3];
    size_t size;

    if (arguments_parse("receive_until()", names, 1, args, nargs, kwnames, values) < 0 ||
        count_argument(values[1], "max_bytes", RECEIVE_BYTES, &size) < 0) {
        return NULL;
    }
    SocketOperation *op = stream_operation(self, CALL_RECEIVE, RECEIVE_UNTIL, size, values[2]);
    if (op == NULL) {
        return NULL;
    }
    if (readable_buffer("receive_until()", "delimiter", values[0], &op->buffer) < 0) {
        return socket_operation_drop(op);
    }
    if (op->buffer.len == 0) {
        PyErr_SetString(PyExc_ValueError, "receive_until(): delimiter must not be empty");
        return socket_operation_drop(op);
    }
    return (PyObject *)op;
}

static PyObject *
Stream_send_all(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"data", "timeout", NULL};
    PyObject *values[2];

    if (arguments_parse("send_all()", names, 1, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    SocketOperation *op = stream_operation(self, CALL_SENDALL, SEND_ALL, 0, values[1]);
    if (op != NULL && readable_buffer("send_all()", "data", values[0], &op->buffer) < 0) {
        return socket_operation_drop(op);
    }
    return (PyObject *)op;
}

static PyObject *
Stream_send_eof(PyObject *object, PyObject *Py_UNUSED(args))
{
    Stream *self = (Stream *)object;
    int error = 0;

    if (!socket_use(self->socket, SOCKET_SENDING, SOCKET_SENDING | SOCKET_CALL)) {
        return NULL;
    }
    if (!atomic_load_explicit(&self->closed, memory_order_relaxed)) {
        error = shutdown(self->socket->fd, SHUT_WR) < 0 ? errno : 0;
        atomic_store_explicit(&self->closed, true, memory_order_relaxed);
    }
    socket_unuse(self->socket, SOCKET_SENDING | SOCKET_CALL);
    if (error != 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        stream_translate_error();
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Stream_close(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyObject_CallMethodNoArgs((PyObject *)((Stream *)self)->socket, support.name_close);
}

static PyObject *
Stream_self(PyObject *self, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(self);
}

static PyObject *
Stream_iter(PyObject *self)
{
    return Py_NewRef(self);
}

static PyObject *
Stream_next(PyObject *self)
{
    if (atomic_load_explicit(&((Stream *)self)->ended, memory_order_relaxed)) {
        return NULL;
    }
    return (PyObject *)stream_operation(self, CALL_RECV, RECEIVE_SOME, RECEIVE_BYTES, NULL);
}

static PyObject *
Stream_anext(PyObject *self)
{
    return (PyObject *)stream_operation(self, CALL_RECV, RECEIVE_NEXT, RECEIVE_BYTES, NULL);
}

/* ---- the type -------------------------------------------------------------------------------------------- */

static PyObject *
Stream_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"socket", NULL};
    PyObject *socket;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:SocketStream", names, &socket)) {
        return NULL;
    }
    if (Py_TYPE(socket) != &Socket_Type) {
        return PyErr_Format(PyExc_TypeError,
                            "SocketStream(): socket must be a tonio.net.socket.socket, not %.200s",
                            Py_TYPE(socket)->tp_name);
    }
    if (((Socket *)socket)->type != SOCK_STREAM) {
        PyErr_SetString(PyExc_ValueError,
                        "SocketStream(): socket must be of type SOCK_STREAM and connected");
        return NULL;
    }
    Stream *self = (Stream *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->socket = (Socket *)Py_NewRef(socket);
    }
    return (PyObject *)self;
}

static void
Stream_dealloc(PyObject *object)
{
    Stream *self = (Stream *)object;
    PyTypeObject *type = Py_TYPE(object);

    free(self->memory);
    Py_XDECREF(self->socket);
    type->tp_free(object);
}

static PyObject *
Stream_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<SocketStream of %R>", ((Stream *)self)->socket);
}

PyDoc_STRVAR(receive_some_doc,
             "receive_some($self, /, max_bytes=None, *, timeout=None)\n--\n\n"
             "Receives what is there, at least one byte and at most `max_bytes` (64 KiB): yield or "
             "await. b'' is the end of the stream.\n\n"
             "Can be cancelled without losing a byte. Raises ResourceBroken if the other side is "
             "gone, ResourceClosed after an own\n"
             "close(), ResourceBusy if another task is receiving, TimeoutError.");
PyDoc_STRVAR(receive_exactly_doc,
             "receive_exactly($self, /, nbytes, *, timeout=None)\n--\n\n"
             "Receives exactly so many bytes: yield or await.\n\n"
             "If the stream ends before, IncompleteRead is raised. Then, and when it is cancelled "
             "or late, what has come can still be\n"
             "received. Otherwise raises as receive_some() does.\n\n"
             "    length = int.from_bytes((yield stream.receive_exactly(4)))");
PyDoc_STRVAR(receive_until_doc,
             "receive_until($self, /, delimiter, max_bytes=None, *, timeout=None)\n--\n\n"
             "Receives up to a delimiter, which is taken but not part of the result: yield or "
             "await.\n\n"
             "Raises DelimiterNotFound if there is none after `max_bytes` (64 KiB) bytes, "
             "IncompleteRead if the stream ends before. Then,\n"
             "and when it is cancelled or late, what has come can still be received. Otherwise "
             "raises as receive_some() does.\n\n"
             "    line = yield stream.receive_until(b'\\n')");
PyDoc_STRVAR(send_all_doc,
             "send_all($self, /, data, *, timeout=None)\n--\n\n"
             "Sends all of `data` (bytes-like): yield or await; the result is None.\n\n"
             "When it is cancelled or late it is not known how much was sent. Raises "
             "ResourceBroken if the other side is gone,\n"
             "ResourceClosed after an own close() or send_eof(), ResourceBusy if another task is "
             "sending, TimeoutError.");
PyDoc_STRVAR(send_eof_doc,
             "send_eof($self, /)\n--\n\n"
             "Tells the other side that nothing more will be sent; receiving goes on. "
             "A second call does nothing.\n\n"
             "Raises ResourceBroken, ResourceClosed, ResourceBusy if another task is "
             "sending.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Closes the connection; any thread. Whoever waits on it gets "
                        "ResourceClosed. A second call does nothing.");
PyDoc_STRVAR(Stream_doc, "Stream(socket)\n--\n\nThe base of SocketStream.");

#define CALL(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef Stream_methods[] = {
    {"receive_some", CALL(Stream_receive_some), receive_some_doc},
    {"receive_exactly", CALL(Stream_receive_exactly), receive_exactly_doc},
    {"receive_until", CALL(Stream_receive_until), receive_until_doc},
    {"send_all", CALL(Stream_send_all), send_all_doc},
    {"send_eof", Stream_send_eof, METH_NOARGS, send_eof_doc},
    {"close", Stream_close, METH_NOARGS, close_doc},
    {"__enter__", Stream_self, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)Stream_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Stream_members[] = {
    {"socket", Py_T_OBJECT_EX, offsetof(Stream, socket), Py_READONLY, "The socket."},
    {NULL, 0, 0, 0, NULL},
};

static PyAsyncMethods Stream_async = {
    .am_aiter = Stream_iter,
    .am_anext = Stream_anext,
};

static PyTypeObject Stream_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Stream",
    .tp_doc = Stream_doc,
    .tp_basicsize = sizeof(Stream),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = Stream_new,
    .tp_dealloc = Stream_dealloc,
    .tp_repr = Stream_repr,
    .tp_iter = Stream_iter,
    .tp_iternext = Stream_next,
    .tp_as_async = &Stream_async,
    .tp_methods = Stream_methods,
    .tp_members = Stream_members,
};

int
stream_module_init(PyObject *module)
{
    return PyModule_AddType(module, &Stream_Type);
}
