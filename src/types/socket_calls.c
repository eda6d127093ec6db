/* Socket calls: the methods that wait. They read their arguments and make the operation; nothing happens before it is
 * yielded or awaited. Attached, any thread; no state but the Python half of sendfile(), which is looked up once.
 */
#include <stdlib.h>
#include <string.h>

#include "types/socket.h"
#include "types/types.h"

/* ---- arguments ------------------------------------------------------------------------------------------- */

int
position_arguments(const char *function, Py_ssize_t least, Py_ssize_t most, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **timeout)
{
    *timeout = NULL;
    if (nargs < least || nargs > most) {
        if (least == most) {
            PyErr_Format(PyExc_TypeError, "%s takes %zd arguments (%zd given)", function, most,
                         nargs);
        }
        else {
            PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments (%zd given)", function,
                         least, most, nargs);
        }
        return -1;
    }
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError, "%s has no keyword argument %R", function, name);
            return -1;
        }
        *timeout = args[nargs + i];
    }
    return 0;
}

/* For methods that take their arguments by keyword, too: `timeout` is the last of `names`, and has no position. */
static int
keyword_arguments(const char *function, const char *const *names, Py_ssize_t required,
                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **values)
{
    Py_ssize_t most = 0;

    while (names[most + 1] != NULL) {
        most++;
    }
    if (nargs > most) {
        PyErr_Format(PyExc_TypeError, "%s takes at most %zd arguments by position (%zd given)",
                     function, most, nargs);
        return -1;
    }
    return arguments_parse(function, names, required, args, nargs, kwnames, values);
}

int
int_argument(const char *function, const char *name, PyObject *object, int *value)
{
    *value = 0;
    if (object == NULL) {
        return 0;
    }
    *value = PyLong_AsInt(object);
    if (*value == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s: %s must be an int, not %.200s", function, name,
                         Py_TYPE(object)->tp_name);
        }
        return -1;
    }
    return 0;
}

int
size_argument(const char *function, const char *name, PyObject *object, size_t *size)
{
    *size = 0;
    if (object == NULL) {
        return 0;
    }
    Py_ssize_t value = PyLong_CheckExact(object) ? PyLong_AsSsize_t(object)
                                                 : PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (value == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s: %s must be an int, not %.200s", function, name,
                         Py_TYPE(object)->tp_name);
        }
        return -1;
    }
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "%s: %s must not be negative", function, name);
        return -1;
    }
    *size = (size_t)value;
    return 0;
}

int
writable_buffer(const char *function, PyObject *object, Py_buffer *buffer)
{
    if (PyObject_GetBuffer(object, buffer, PyBUF_WRITABLE) == 0) {
        return 0;
    }
    bool writable = false;
    if (PyErr_ExceptionMatches(PyExc_BufferError) &&
        PyObject_GetBuffer(object, buffer, PyBUF_FULL_RO) == 0) {
        /* it has pieces of memory, but not one */
        writable = !buffer->readonly;
        PyBuffer_Release(buffer);
    }
    buffer->buf = NULL;
    if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_TypeError)) {
        return -1; /* it says nothing of the object */
    }
    if (writable) {
        PyErr_Format(PyExc_BufferError, "%s: buffer must be contiguous", function);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s: buffer must be a writable bytes-like object, not %.200s",
                     function, Py_TYPE(object)->tp_name);
    }
    return -1;
}

int
readable_buffer(const char *function, const char *name, PyObject *object, Py_buffer *buffer)
{
    if (PyBytes_CheckExact(object)) {
        /* what is sent most, without the trip through the interpreter; PyBuffer_Release does the rest */
        buffer->obj = Py_NewRef(object);
        buffer->buf = PyBytes_AS_STRING(object);
        buffer->len = PyBytes_GET_SIZE(object);
        return 0;
    }
    if (PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be bytes, not str: encode it first", function,
                     name);
        return -1;
    }
    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0) {
        buffer->buf = NULL;
        return -1;
    }
    return 0;
}

int
address_argument(SocketOperation *op, const char *function, PyObject *object, Address *address)
{
    Socket *self = op->socket;
    return address_from_object(self->family, self->proto, object, function, address, &op->lookup) ==
                   ADDRESS_ERROR
               ? -1
               : 0;
}

/* Flags of a receive or send, of which some change how it waits. Drops the operation if they cannot be. */
static PyObject *
with_flags(SocketOperation *op, const char *function, int flags)
{
    if ((flags & MSG_WAITALL) && op->direction == SOURCE_READ && op->socket->type == SOCK_STREAM) {
        PyErr_Format(PyExc_ValueError,
                     "%s: MSG_WAITALL would lose bytes if it were cancelled: receive in a loop",
                     function);
        return socket_operation_drop(op);
    }
    op->flags = flags;
    /* urgent data and the queue of errors have no readiness of their own: the system does not wait for them either */
    if ((flags & MSG_DONTWAIT) ||
        (op->direction == SOURCE_READ && (flags & (MSG_OOB | MSG_ERRQUEUE)))) {
        op->at_once = true;
    }
    return (PyObject *)op;
}

/* ---- receiving ------------------------------------------------------------------------------------------- */

static PyObject *
receive_operation(PyObject *self, SocketCall call, const char *function, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;
    size_t size;
    int flags;

    if (position_arguments(function, 1, 2, args, nargs, kwnames, &timeout) < 0 ||
        size_argument(function, "bufsize", args[0], &size) < 0 ||
        int_argument(function, "flags", nargs == 2 ? args[1] : NULL, &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, call, timeout);
    if (op == NULL) {
        return NULL;
    }
    op->size = size;
    return with_flags(op, function, flags);
}

static PyObject *
Socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive_operation(self, CALL_RECV, "recv()", args, nargs, kwnames);
}

static PyObject *
Socket_recvfrom(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive_operation(self, CALL_RECVFROM, "recvfrom()", args, nargs, kwnames);
}

static PyObject *
receive_into_operation(PyObject *self, SocketCall call, const char *function, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "nbytes", "flags", "timeout", NULL};
    PyObject *values[4];
    size_t size;
    int flags;

    if (keyword_arguments(function, names, 1, args, nargs, kwnames, values) < 0 ||
        size_argument(function, "nbytes", values[1], &size) < 0 ||
        int_argument(function, "flags", values[2], &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, call, values[3]);
    if (op == NULL) {
        return NULL;
    }
    if (writable_buffer(function, values[0], &op->buffer) < 0) {
        return socket_operation_drop(op);
    }
    op->size = size == 0 ? (size_t)op->buffer.len : size;
    if (op->size > (size_t)op->buffer.len) {
        PyErr_Format(PyExc_ValueError, "%s: nbytes is greater than the length of the buffer",
                     function);
        return socket_operation_drop(op);
    }
    return with_flags(op, function, flags);
}

static PyObject *
Socket_recv_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive_into_operation(self, CALL_RECV_INTO, "recv_into()", args, nargs, kwnames);
}

static PyObject *
Socket_recvfrom_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive_into_operation(self, CALL_RECVFROM_INTO, "recvfrom_into()", args, nargs,
                                  kwnames);
}

/* ---- sending --------------------------------------------------------------------------------------------- */

static PyObject *
send_operation(PyObject *self, SocketCall call, const char *function, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;
    int flags;

    if (position_arguments(function, 1, 2, args, nargs, kwnames, &timeout) < 0 ||
        int_argument(function, "flags", nargs == 2 ? args[1] : NULL, &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, call, timeout);
    if (op == NULL) {
        return NULL;
    }
    if (readable_buffer(function, "data", args[0], &op->buffer) < 0) {
        return socket_operation_drop(op);
    }
    return with_flags(op, function, flags);
}

static PyObject *
Socket_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return send_operation(self, CALL_SEND, "send()", args, nargs, kwnames);
}

static PyObject *
Socket_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return send_operation(self, CALL_SENDALL, "sendall()", args, nargs, kwnames);
}

static PyObject *
Socket_sendto(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char function[] = "sendto()";
    PyObject *timeout;
    int flags;

    if (position_arguments(function, 2, 3, args, nargs, kwnames, &timeout) < 0 ||
        int_argument(function, "flags", nargs == 3 ? args[1] : NULL, &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, CALL_SENDTO, timeout);
    if (op == NULL) {
        return NULL;
    }
    op->address = malloc(sizeof(Address));
    if (op->address == NULL) {
        PyErr_NoMemory();
        return socket_operation_drop(op);
    }
    if (readable_buffer(function, "data", args[0], &op->buffer) < 0 ||
        address_argument(op, function, args[nargs - 1], op->address) < 0) {
        return socket_operation_drop(op);
    }
    return with_flags(op, function, flags);
}

/* The Python half of sendfile(): looks at the file, and has a fallback. Borrowed, or NULL with an exception set. */
static PyObject *
sendfile_function(void)
{
    static _Atomic(PyObject *) cached; /* owned for ever */
    /* acquire / release: who finds it set uses the object */
    PyObject *function = atomic_load_explicit(&cached, memory_order_acquire);

    if (function == NULL) {
        PyObject *module = PyImport_ImportModule("tonio.net._sendfile");
        function = module == NULL ? NULL : PyObject_GetAttrString(module, "sendfile");
        Py_XDECREF(module);
        if (function != NULL) {
            atomic_store_explicit(&cached, function, memory_order_release);
        }
    }
    return function;
}

static PyObject *
Socket_sendfile(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"file", "offset", "count", "timeout", NULL};
    PyObject *values[4];
    double seconds;

    if (keyword_arguments("sendfile()", names, 1, args, nargs, kwnames, values) < 0 ||
        seconds_from_object(values[3], "timeout", &seconds) < 0) {
        return NULL;
    }
    if (values[3] == NULL) {
        seconds = atomic_load_explicit(&((Socket *)self)->timeout, memory_order_relaxed);
        if (seconds == 0.0) {
            PyErr_SetString(PyExc_ValueError,
                            "sendfile() needs time: it cannot be used with settimeout(0)");
            return NULL;
        }
    }
    PyObject *function = sendfile_function();
    PyObject *timeout = seconds < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seconds);
    PyObject *zero = PyLong_FromLong(0);
    PyObject *result = NULL;
    if (function != NULL && timeout != NULL && zero != NULL) {
        result = PyObject_CallFunctionObjArgs(
            function, self, values[0], values[1] != NULL ? values[1] : zero,
            values[2] != NULL ? values[2] : Py_None, timeout, NULL);
    }
    Py_XDECREF(timeout);
    Py_XDECREF(zero);
    return result;
}

/* _send_range(fd, offset, count or None, timeout): sendfile(2) until that is sent. */
static PyObject *
Socket_send_range(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    static const char function[] = "_send_range()";
    PyObject *timeout;
    FileRange range = {.left = SIZE_MAX};
    size_t offset;

    if (position_arguments(function, 4, 4, args, nargs, NULL, &timeout) < 0 ||
        int_argument(function, "fd", args[0], &range.fd) < 0 ||
        size_argument(function, "offset", args[1], &offset) < 0 ||
        (args[2] != Py_None && size_argument(function, "count", args[2], &range.left) < 0)) {
        return NULL;
    }
    range.offset = (off_t)offset;
    SocketOperation *op = socket_operation_new(self, CALL_SENDFILE, args[3]);
    if (op == NULL) {
        return NULL;
    }
    op->range = malloc(sizeof(FileRange));
    if (op->range == NULL) {
        PyErr_NoMemory();
        return socket_operation_drop(op);
    }
    *op->range = range;
    return (PyObject *)op;
}

/* ---- connections ----------------------------------------------------------------------------------------- */

static PyObject *
Socket_accept(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;

    if (position_arguments("accept()", 0, 0, args, nargs, kwnames, &timeout) < 0) {
        return NULL;
    }
    return (PyObject *)socket_operation_new(self, CALL_ACCEPT, timeout);
}

static SocketOperation *
address_operation(PyObject *self, SocketCall call, const char *function, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;

    if (position_arguments(function, 1, 1, args, nargs, kwnames, &timeout) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, call, timeout);
    if (op == NULL) {
        return NULL;
    }
    op->address = malloc(sizeof(Address));
    if (op->address == NULL) {
        PyErr_NoMemory();
        return (SocketOperation *)socket_operation_drop(op);
    }
    if (address_argument(op, function, args[0], op->address) < 0) {
        return (SocketOperation *)socket_operation_drop(op);
    }
    return op;
}

static PyObject *
Socket_bind(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return (PyObject *)address_operation(self, CALL_BIND, "bind()", args, nargs, kwnames);
}

static PyObject *
Socket_connect(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return (PyObject *)address_operation(self, CALL_CONNECT, "connect()", args, nargs, kwnames);
}

static PyObject *
Socket_connect_ex(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    SocketOperation *op =
        address_operation(self, CALL_CONNECT, "connect_ex()", args, nargs, kwnames);
    if (op != NULL) {
        op->as_number = true;
    }
    return (PyObject *)op;
}

/* ---- the table ------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(accept_doc,
             "accept($self, /, *, timeout=None)\n--\n\n"
             "Waits for a connection: yield or await; the result is (socket, address).\n\n"
             "Any number of tasks may accept; each connection goes to the one that has waited "
             "longest. Can be cancelled without losing a\n"
             "connection. Raises OSError, TimeoutError, or ResourceClosed if the socket is or gets "
             "closed.\n\n"
             "    client, address = yield listener.accept()");
PyDoc_STRVAR(bind_doc,
             "bind($self, address, /, *, timeout=None)\n--\n\n"
             "Binds to an address: yield or await. If it has a host name, that is looked up first "
             "by a thread of its own.\n\n"
             "Raises OSError, socket.gaierror, TimeoutError, ResourceClosed.");
PyDoc_STRVAR(connect_doc,
             "connect($self, address, /, *, timeout=None)\n--\n\n"
             "Connects to an address: yield or await. If it has a host name, that is looked up "
             "first by a thread of its own, and\n"
             "the first address that is found is used.\n\n"
             "Can be cancelled; close the socket then. Raises OSError (ConnectionRefusedError "
             "...), socket.gaierror, TimeoutError,\n"
             "ResourceClosed, ResourceBusy.\n\n"
             "    yield sock.connect(('localhost', 8000), timeout=5)");
PyDoc_STRVAR(connect_ex_doc,
             "connect_ex($self, address, /, *, timeout=None)\n--\n\n"
             "As connect(), but what the system says is the result: 0, or an errno.");
PyDoc_STRVAR(recv_doc,
             "recv($self, bufsize, flags=0, /, *, timeout=None)\n--\n\n"
             "Receives at most `bufsize` bytes, at least one, or a datagram: yield or await. b'' "
             "is the end of a stream.\n\n"
             "Can be cancelled without losing a byte. Raises OSError, TimeoutError, "
             "ResourceClosed, ResourceBusy if another task is\n"
             "receiving from a stream. With MSG_DONTWAIT it does not wait, but raises "
             "BlockingIOError.");
PyDoc_STRVAR(
    recv_into_doc,
    "recv_into($self, /, buffer, nbytes=0, flags=0, *, timeout=None)\n--\n\n"
    "As recv(), into a writable buffer (up to `nbytes`, 0: all of it); the result is the number "
    "of bytes.");
PyDoc_STRVAR(recvfrom_doc, "recvfrom($self, bufsize, flags=0, /, *, timeout=None)\n--\n\n"
                           "As recv(); the result is (bytes, address of the sender).");
PyDoc_STRVAR(recvfrom_into_doc,
             "recvfrom_into($self, /, buffer, nbytes=0, flags=0, *, timeout=None)\n--\n\n"
             "As recv_into(); the result is (number of bytes, address of the sender).");
PyDoc_STRVAR(recvmsg_doc,
             "recvmsg($self, bufsize, ancbufsize=0, flags=0, /, *, timeout=None)\n--\n\n"
             "As recv(), with ancillary data: the result is (bytes, ancillary data, flags, "
             "address).\n\n"
             "The ancillary data is a list of (level, type, bytes); `ancbufsize` is the room for "
             "it (socket.CMSG_SPACE). Descriptors that\n"
             "come with it are not inherited by other programs; they are yours to close.");
PyDoc_STRVAR(recvmsg_into_doc,
             "recvmsg_into($self, buffers, ancbufsize=0, flags=0, /, *, timeout=None)\n--\n\n"
             "As recvmsg(), into an iterable of writable buffers; the first item of the result is "
             "the number of bytes.");
PyDoc_STRVAR(send_doc,
             "send($self, data, flags=0, /, *, timeout=None)\n--\n\n"
             "Sends some of `data` (bytes-like): yield or await; the result is how many bytes the "
             "system took.\n\n"
             "Can be cancelled: nothing was sent then. Raises OSError, TimeoutError, "
             "ResourceClosed, ResourceBusy if another task is\n"
             "sending on a stream. A peer that is gone is BrokenPipeError or ConnectionResetError, "
             "never a signal.");
PyDoc_STRVAR(sendall_doc,
             "sendall($self, data, flags=0, /, *, timeout=None)\n--\n\n"
             "Sends all of `data` (bytes-like): yield or await; the result is None.\n\n"
             "When it is cancelled or late it is not known how much was sent. Raises as send() "
             "does.");
PyDoc_STRVAR(sendto_doc,
             "sendto($self, data, [flags,] address, /, *, timeout=None)\n--\n\n"
             "Sends a datagram to an address: yield or await; the result is the number of bytes. "
             "A host name is looked up as in\n"
             "connect(). Raises as send() does.");
PyDoc_STRVAR(
    sendmsg_doc,
    "sendmsg($self, buffers, ancdata=(), flags=0, address=None, /, *, timeout=None)\n--\n\n"
    "As send(), of several buffers and with ancillary data: an iterable of (level, type, "
    "bytes-like).");
PyDoc_STRVAR(sendfile_doc,
             "sendfile($self, /, file, offset=0, count=None, *, timeout=None)\n--\n\n"
             "Sends a file that is open in binary mode, from `offset`, up to its end or `count` "
             "bytes: yield or await; the result is the\n"
             "number of bytes, and the file's position is behind them, also after an error.\n\n"
             "The system does it where it can; otherwise the file is read on the blocking pool. "
             "Raises as sendall() does, ValueError for\n"
             "a file in text mode or a socket that is no stream.");
PyDoc_STRVAR(send_range_doc, "_send_range($self, fd, offset, count, timeout, /)\n--\n\n"
                             "sendfile(2), until `count` bytes or all are sent: for sendfile().");

#define CALL(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

PyMethodDef socket_call_methods[] = {
    {"accept", CALL(Socket_accept), accept_doc},
    {"bind", CALL(Socket_bind), bind_doc},
    {"connect", CALL(Socket_connect), connect_doc},
    {"connect_ex", CALL(Socket_connect_ex), connect_ex_doc},
    {"recv", CALL(Socket_recv), recv_doc},
    {"recv_into", CALL(Socket_recv_into), recv_into_doc},
    {"recvfrom", CALL(Socket_recvfrom), recvfrom_doc},
    {"recvfrom_into", CALL(Socket_recvfrom_into), recvfrom_into_doc},
    {"recvmsg", CALL(Socket_recvmsg), recvmsg_doc},
    {"recvmsg_into", CALL(Socket_recvmsg_into), recvmsg_into_doc},
    {"send", CALL(Socket_send), send_doc},
    {"sendall", CALL(Socket_sendall), sendall_doc},
    {"sendto", CALL(Socket_sendto), sendto_doc},
    {"sendmsg", CALL(Socket_sendmsg), sendmsg_doc},
    {"sendfile", CALL(Socket_sendfile), sendfile_doc},
    {"_send_range", (PyCFunction)(void (*)(void))Socket_send_range, METH_FASTCALL, send_range_doc},
    {NULL, NULL, 0, NULL},
};
