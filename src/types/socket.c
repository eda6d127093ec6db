/* Socket: system calls on a non-blocking descriptor, tried first and parked on readiness if they would block.
 *
 * Life of the descriptor: `use` counts the calls that are using it, with a bit for "closed". close() sets the bit; whoever
 * is last then forgets the poll source (which wakes everybody parked on it) and closes the descriptor. So no call ever
 * touches a descriptor number that the system has given to somebody else, and a parked operation, woken by the close, finds
 * the bit.
 *
 * The poll source belongs to one runtime; it is made when something has to wait for the first time (before listen or
 * connect a poller takes a socket for hung up), and again if the socket is used in a later runtime. `mutex` guards making
 * it; it is read by calls that are counted in `use`.
 *
 * A stream has one reader and one writer at a time: who has to wait, and a sendall from its first call on, takes the
 * direction (`busy`) until it is done.
 * All functions are called attached, by any thread.
 */
#include "types/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/types.h"

static PyTypeObject Socket_Type;
static PyObject *by_name; /* owned for ever: tonio.net._names.call_by_name */

/* ---- the descriptor -------------------------------------------------------------------------------------- */

static void
set_closed_error(void)
{
    PyErr_SetString(error_type(ERROR_RESOURCE_CLOSED), "the socket is closed");
}

/* Nobody uses the descriptor any more and nobody will: lets go of it. Wakes who is parked on it. */
static void
socket_finalize(Socket *self)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    /* acquire: pairs with the release in socket_source */
    uint64_t serial = atomic_load_explicit(&self->serial, memory_order_acquire);

    if (serial != 0) {
        Runtime *runtime = runtime_find(serial);
        if (runtime != NULL) {
            driver_remove_source(&runtime->driver, self->source, &chain);
            close(self->fd);
            scheduler_wake_chain(&chain);
            runtime_leave(runtime);
            return;
        }
    }
    close(self->fd);
}

/* Begins a call on the descriptor. False: it is closed; ResourceClosed is set. */
bool
socket_enter(Socket *self)
{
    /* relaxed: the compare-and-swap decides */
    uint32_t use = atomic_load_explicit(&self->use, memory_order_relaxed);
    do {
        if (use & SOCKET_CLOSED) {
            set_closed_error();
            return false;
        }
        /* acquire: pairs with the release of socket_leave */
    } while (!atomic_compare_exchange_weak_explicit(&self->use, &use, use + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

void
socket_leave(Socket *self)
{
    /* acq_rel: the last one out sees what all others did */
    if (atomic_fetch_sub_explicit(&self->use, 1, memory_order_acq_rel) == (SOCKET_CLOSED | 1)) {
        socket_finalize(self);
    }
}

static void
socket_close(Socket *self)
{
    /* acq_rel: as in socket_leave */
    uint32_t before = atomic_fetch_or_explicit(&self->use, SOCKET_CLOSED, memory_order_acq_rel);
    if (before == 0) {
        socket_finalize(self);
    }
}

/* The poll source in this runtime; the caller has entered. NULL with OSError set. */
PollSource *
socket_source(Socket *self, Runtime *runtime)
{
    PollSource *source;

    /* acquire: pairs with the release below */
    if (atomic_load_explicit(&self->serial, memory_order_acquire) == runtime->serial) {
        return self->source;
    }
    mutex_lock(&self->mutex);
    if (atomic_load_explicit(&self->serial, memory_order_relaxed) == runtime->serial) {
        source = self->source;
    }
    else {
        /* a source of an earlier runtime went with that */
        source = driver_add_source(&runtime->driver, self->fd);
        if (source != NULL) {
            self->source = source;
            atomic_store_explicit(&self->serial, runtime->serial, memory_order_release);
        }
    }
    mutex_unlock(&self->mutex);
    if (source == NULL) {
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return source;
}

/* A new Socket that owns `fd`. On failure the descriptor is closed. */
PyObject *
socket_wrap(int fd, int family, int type, int proto)
{
    Socket *self = PyObject_New(Socket, &Socket_Type);
    if (self == NULL) {
        close(fd);
        return NULL;
    }
    self->fd = fd;
    self->family = family;
    self->type = type;
    self->proto = proto;
    atomic_init(&self->use, 0);
    atomic_init(&self->busy, 0);
    self->mutex = (Mutex){0};
    atomic_init(&self->serial, 0);
    self->source = NULL;
    atomic_init(&self->last_received, 0);
    return (PyObject *)self;
}

/* ---- methods that wait ----------------------------------------------------------------------------------- */

/* The optional `flags` at args[place]. */
static int
flags_argument(const char *function, PyObject *const *args, Py_ssize_t nargs, Py_ssize_t place,
               int *flags)
{
    *flags = 0;
    if (nargs <= place) {
        return 0;
    }
    *flags = PyLong_AsInt(args[place]);
    if (*flags == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s: flags must be an int, not %.200s", function,
                         Py_TYPE(args[place])->tp_name);
        }
        return -1;
    }
    return 0;
}

static int
argument_count(const char *function, Py_ssize_t nargs, Py_ssize_t least, Py_ssize_t most)
{
    if (nargs < least || nargs > most) {
        PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments (%zd given)", function, least,
                     most, nargs);
        return -1;
    }
    return 0;
}

/* A number of bytes that is not negative. */
static int
size_argument(const char *function, const char *name, PyObject *object, size_t *size)
{
    Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
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

static PyObject *
Socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    size_t size;
    int flags;

    if (argument_count("recv()", nargs, 1, 2) < 0 ||
        size_argument("recv()", "bufsize", args[0], &size) < 0 ||
        flags_argument("recv()", args, nargs, 1, &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, CALL_RECV, SOURCE_READ);
    if (op != NULL) {
        op->size = size;
        op->flags = flags;
    }
    return (PyObject *)op;
}

static PyObject *
Socket_recv_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "nbytes", "flags", NULL};
    PyObject *values[3];
    size_t size = 0;
    int flags;

    if (arguments_parse("recv_into()", names, 1, args, nargs, kwnames, values) < 0 ||
        (values[1] != NULL && size_argument("recv_into()", "nbytes", values[1], &size) < 0) ||
        flags_argument("recv_into()", values, values[2] != NULL ? 3 : 0, 2, &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, CALL_RECV_INTO, SOURCE_READ);
    if (op == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(values[0], &op->buffer, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError,
                     "recv_into(): buffer must be a writable bytes-like object, not %.200s",
                     Py_TYPE(values[0])->tp_name);
        op->buffer.buf = NULL;
        socket_operation_drop(op);
        return NULL;
    }
    op->size = size == 0 ? (size_t)op->buffer.len : size;
    op->flags = flags;
    if (op->size > (size_t)op->buffer.len) {
        PyErr_SetString(PyExc_ValueError,
                        "recv_into(): nbytes is greater than the length of the buffer");
        socket_operation_drop(op);
        return NULL;
    }
    return (PyObject *)op;
}

static PyObject *
send_operation(PyObject *self, SocketCall call, const char *function, PyObject *const *args,
               Py_ssize_t nargs)
{
    int flags;

    if (argument_count(function, nargs, 1, 2) < 0 ||
        flags_argument(function, args, nargs, 1, &flags) < 0) {
        return NULL;
    }
    if (PyUnicode_Check(args[0])) {
        PyErr_Format(PyExc_TypeError, "%s: data must be bytes, not str: encode it first", function);
        return NULL;
    }
    SocketOperation *op = socket_operation_new(self, call, SOURCE_WRITE);
    if (op == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &op->buffer, PyBUF_SIMPLE) < 0) {
        op->buffer.buf = NULL;
        socket_operation_drop(op);
        return NULL;
    }
    op->flags = flags;
    return (PyObject *)op;
}

static PyObject *
Socket_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return send_operation(self, CALL_SEND, "send()", args, nargs);
}

static PyObject *
Socket_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return send_operation(self, CALL_SENDALL, "sendall()", args, nargs);
}

static PyObject *
Socket_accept(PyObject *self, PyObject *Py_UNUSED(args))
{
    return (PyObject *)socket_operation_new(self, CALL_ACCEPT, SOURCE_READ);
}

static PyObject *
address_operation(PyObject *object, SocketCall call, const char *name, const char *function,
                  PyObject *address)
{
    SocketOperation *op = socket_operation_new(object, call, SOURCE_WRITE);
    if (op == NULL) {
        return NULL;
    }
    switch (address_from_object(((Socket *)object)->family, address, function, &op->address)) {
    case ADDRESS_OK:
        return (PyObject *)op;
    case ADDRESS_NAME:
        socket_operation_drop(op);
        return PyObject_CallFunction(by_name, "OsO", object, name, address);
    default:
        socket_operation_drop(op);
        return NULL;
    }
}

static PyObject *
Socket_bind(PyObject *self, PyObject *address)
{
    return address_operation(self, CALL_BIND, "bind", "bind()", address);
}

static PyObject *
Socket_connect(PyObject *self, PyObject *address)
{
    return address_operation(self, CALL_CONNECT, "connect", "connect()", address);
}

/* ---- methods that do not --------------------------------------------------------------------------------- */

/* Ends a plain call: None, or the OSError of errno. */
static PyObject *
plain_result(Socket *self, int result)
{
    int error = errno;
    socket_leave(self);
    if (result < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyObject *
Socket_listen(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    Socket *self = (Socket *)object;
    int backlog = 128;

    if (argument_count("listen()", nargs, 0, 1) < 0) {
        return NULL;
    }
    if (nargs == 1) {
        backlog = PyLong_AsInt(args[0]);
        if (backlog == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    return socket_enter(self) ? plain_result(self, listen(self->fd, backlog < 0 ? 0 : backlog))
                              : NULL;
}

static PyObject *
Socket_shutdown(PyObject *object, PyObject *how)
{
    Socket *self = (Socket *)object;
    int value = PyLong_AsInt(how);

    if (value == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return socket_enter(self) ? plain_result(self, shutdown(self->fd, value)) : NULL;
}

static PyObject *
Socket_close(PyObject *self, PyObject *Py_UNUSED(args))
{
    socket_close((Socket *)self);
    Py_RETURN_NONE;
}

static PyObject *
Socket_fileno(PyObject *object, PyObject *Py_UNUSED(args))
{
    Socket *self = (Socket *)object;
    bool closed = atomic_load_explicit(&self->use, memory_order_relaxed) & SOCKET_CLOSED;
    return PyLong_FromLong(closed ? -1 : self->fd);
}

static PyObject *
socket_name(PyObject *object, int (*call)(int, struct sockaddr *, socklen_t *))
{
    Socket *self = (Socket *)object;
    Address address;

    if (!socket_enter(self)) {
        return NULL;
    }
    address.length = sizeof(address.storage);
    PyObject *done =
        plain_result(self, call(self->fd, (struct sockaddr *)&address.storage, &address.length));
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    return address_to_object(&address);
}

static int
call_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return getsockname(fd, address, length);
}

static int
call_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    return getpeername(fd, address, length);
}

static PyObject *
Socket_getsockname(PyObject *self, PyObject *Py_UNUSED(args))
{
    return socket_name(self, call_getsockname);
}

static PyObject *
Socket_getpeername(PyObject *self, PyObject *Py_UNUSED(args))
{
    return socket_name(self, call_getpeername);
}

static PyObject *
Socket_setsockopt(PyObject *object, PyObject *args)
{
    Socket *self = (Socket *)object;
    int level;
    int option;
    PyObject *value;
    unsigned int length = 0;
    Py_buffer buffer = {.buf = NULL};
    int number = 0;
    PyObject *result;

    if (!PyArg_ParseTuple(args, "iiO|I:setsockopt", &level, &option, &value, &length)) {
        return NULL;
    }
    bool with_length = PyTuple_GET_SIZE(args) == 4;
    if (with_length != (value == Py_None)) {
        PyErr_SetString(
            PyExc_TypeError,
            "setsockopt(): value must be an int or bytes, or None together with optlen");
        return NULL;
    }
    if (PyLong_Check(value)) {
        number = PyLong_AsInt(value);
        if (number == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    else if (value != Py_None && PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (!socket_enter(self)) {
        result = NULL;
    }
    else if (value == Py_None) {
        result = plain_result(self, setsockopt(self->fd, level, option, NULL, length));
    }
    else if (buffer.buf != NULL) {
        result = plain_result(
            self, setsockopt(self->fd, level, option, buffer.buf, (socklen_t)buffer.len));
    }
    else {
        result = plain_result(self, setsockopt(self->fd, level, option, &number, sizeof(number)));
    }
    if (buffer.buf != NULL) {
        PyBuffer_Release(&buffer);
    }
    return result;
}

static PyObject *
Socket_getsockopt(PyObject *object, PyObject *args)
{
    Socket *self = (Socket *)object;
    int level;
    int option;
    int size = 0;
    int number = 0;
    char bytes[1024];
    socklen_t length;
    PyObject *done;

    if (!PyArg_ParseTuple(args, "ii|i:getsockopt", &level, &option, &size)) {
        return NULL;
    }
    if (size < 0 || size > (int)sizeof(bytes)) {
        PyErr_SetString(PyExc_ValueError, "getsockopt(): buflen must be 0-1024");
        return NULL;
    }
    if (!socket_enter(self)) {
        return NULL;
    }
    length = size == 0 ? sizeof(number) : (socklen_t)size;
    done = plain_result(
        self, getsockopt(self->fd, level, option, size == 0 ? (void *)&number : bytes, &length));
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    return size == 0 ? PyLong_FromLong(number)
                     : PyBytes_FromStringAndSize(bytes, (Py_ssize_t)length);
}

/* ---- the type -------------------------------------------------------------------------------------------- */

static PyObject *
Socket_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"family", "type", "proto", "fileno", NULL};
    int family = -1;
    int type = -1;
    int proto = -1;
    PyObject *fileno = Py_None;
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iiiO:socket", names, &family, &type, &proto,
                                     &fileno)) {
        return NULL;
    }
    if (fileno == Py_None) {
        family = family == -1 ? AF_INET : family;
        type = type == -1 ? SOCK_STREAM : type;
        proto = proto == -1 ? 0 : proto;
        fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
        if (fd < 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        return socket_wrap(fd, family, type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), proto);
    }
    fd = PyLong_AsInt(fileno);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (fd < 0) {
        PyErr_SetString(PyExc_ValueError, "fileno must not be negative");
        return NULL;
    }
    /* what is not said the system knows */
    struct {
        int *value;
        int option;
    } unknown[] = {{&family, SO_DOMAIN}, {&type, SO_TYPE}, {&proto, SO_PROTOCOL}};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        socklen_t length = sizeof(int);
        if (*unknown[i].value == -1 &&
            getsockopt(fd, SOL_SOCKET, unknown[i].option, unknown[i].value, &length) < 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return socket_wrap(fd, family, type, proto);
}

static void
Socket_dealloc(PyObject *object)
{
    Socket *self = (Socket *)object;

    /* relaxed: nobody else has it */
    if (!(atomic_load_explicit(&self->use, memory_order_relaxed) & SOCKET_CLOSED)) {
        PyObject *error = PyErr_GetRaisedException();
        if (PyErr_ResourceWarning(object, 1, "unclosed %R", object) < 0) {
            PyErr_WriteUnraisable(object);
        }
        PyErr_SetRaisedException(error);
        socket_close(self);
    }
    PyObject_Free(object);
}

static PyObject *
Socket_repr(PyObject *object)
{
    Socket *self = (Socket *)object;
    bool closed = atomic_load_explicit(&self->use, memory_order_relaxed) & SOCKET_CLOSED;
    return PyUnicode_FromFormat("<socket fd=%d family=%d type=%d proto=%d%s>",
                                closed ? -1 : self->fd, self->family, self->type, self->proto,
                                closed ? " closed" : "");
}

static PyObject *
Socket_enter(PyObject *self, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(self);
}

PyDoc_STRVAR(accept_doc,
             "accept($self, /)\n--\n\n"
             "Waits for a connection: yield or await; the result is (socket, address).\n\n"
             "Any number of tasks may accept; each connection goes to one of them. Can be "
             "cancelled without losing a connection.\n"
             "Raises OSError, or ResourceClosed if the socket is or gets closed.");
PyDoc_STRVAR(bind_doc, "bind($self, address, /)\n--\n\n"
                       "Binds to an address: yield or await. A host name is looked up on the "
                       "blocking pool first. Raises OSError, ResourceClosed.");
PyDoc_STRVAR(connect_doc, "connect($self, address, /)\n--\n\n"
                          "Connects to an address: yield or await. A host name is looked up on the "
                          "blocking pool first.\n\n"
                          "Can be cancelled; close the socket then. Raises OSError "
                          "(ConnectionRefusedError ...), ResourceClosed.");
PyDoc_STRVAR(recv_doc, "recv($self, bufsize, flags=0, /)\n--\n\n"
                       "Receives at most `bufsize` bytes, at least one: yield or await. b'' is the "
                       "end of the stream.\n\n"
                       "Can be cancelled without losing a byte. Raises OSError, ResourceClosed, "
                       "ResourceBusy if another task is receiving from a\n"
                       "stream.");
PyDoc_STRVAR(recv_into_doc,
             "recv_into($self, /, buffer, nbytes=0, flags=0)\n--\n\n"
             "As recv(), into a writable buffer; the result is the number of bytes.");
PyDoc_STRVAR(send_doc, "send($self, data, flags=0, /)\n--\n\n"
                       "Sends some of `data` (bytes-like): yield or await; the result is how many "
                       "bytes the system took.\n\n"
                       "Can be cancelled: nothing was sent then. Raises OSError, ResourceClosed, "
                       "ResourceBusy if another task is sending on a stream.");
PyDoc_STRVAR(sendall_doc,
             "sendall($self, data, flags=0, /)\n--\n\n"
             "Sends all of `data` (bytes-like): yield or await; the result is None.\n\n"
             "When cancelled it is not known how much was sent. Raises as send() does.");
PyDoc_STRVAR(listen_doc, "listen($self, backlog=128, /)\n--\n\nMakes it a listening socket.");
PyDoc_STRVAR(
    shutdown_doc,
    "shutdown($self, how, /)\n--\n\nEnds one direction or both: SHUT_RD, SHUT_WR or SHUT_RDWR.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Closes the socket; any thread. Whoever waits on it gets ResourceClosed. A "
                        "second call does nothing.");
PyDoc_STRVAR(fileno_doc, "fileno($self, /)\n--\n\nThe descriptor, or -1 once closed.");
PyDoc_STRVAR(getsockname_doc, "getsockname($self, /)\n--\n\nThe own address.");
PyDoc_STRVAR(getpeername_doc, "getpeername($self, /)\n--\n\nThe address of the other side.");
PyDoc_STRVAR(setsockopt_doc,
             "setsockopt($self, level, optname, value, optlen=None, /)\n--\n\nSets an "
             "option: an int, bytes, or None with optlen.");
PyDoc_STRVAR(getsockopt_doc,
             "getsockopt($self, level, optname, buflen=0, /)\n--\n\nAn option as int, or "
             "as bytes if buflen is given.");

#define FAST(function) (PyCFunction)(void (*)(void)) function

static PyMethodDef Socket_methods[] = {
    {"accept", Socket_accept, METH_NOARGS, accept_doc},
    {"bind", Socket_bind, METH_O, bind_doc},
    {"connect", Socket_connect, METH_O, connect_doc},
    {"recv", FAST(Socket_recv), METH_FASTCALL, recv_doc},
    {"recv_into", FAST(Socket_recv_into), METH_FASTCALL | METH_KEYWORDS, recv_into_doc},
    {"send", FAST(Socket_send), METH_FASTCALL, send_doc},
    {"sendall", FAST(Socket_sendall), METH_FASTCALL, sendall_doc},
    {"listen", FAST(Socket_listen), METH_FASTCALL, listen_doc},
    {"shutdown", Socket_shutdown, METH_O, shutdown_doc},
    {"close", Socket_close, METH_NOARGS, close_doc},
    {"fileno", Socket_fileno, METH_NOARGS, fileno_doc},
    {"getsockname", Socket_getsockname, METH_NOARGS, getsockname_doc},
    {"getpeername", Socket_getpeername, METH_NOARGS, getpeername_doc},
    {"setsockopt", Socket_setsockopt, METH_VARARGS, setsockopt_doc},
    {"getsockopt", Socket_getsockopt, METH_VARARGS, getsockopt_doc},
    {"__enter__", Socket_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)Socket_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Socket_members[] = {
    {"family", Py_T_INT, offsetof(Socket, family), Py_READONLY, "The address family."},
    {"type", Py_T_INT, offsetof(Socket, type), Py_READONLY, "The socket type."},
    {"proto", Py_T_INT, offsetof(Socket, proto), Py_READONLY, "The protocol."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    Socket_doc,
    "socket(family=AF_INET, type=SOCK_STREAM, proto=0, fileno=None)\n--\n\n"
    "A socket as in the standard library, whose waiting methods are to be yielded or awaited.\n\n"
    "A stream has one reader and one writer at a time. As a context manager it is closed at the "
    "end of the block. May be used\n"
    "in one runtime after another, and by any thread.\n\n"
    "    with socket.socket() as sock:\n"
    "        yield sock.connect(('127.0.0.1', 8000))\n"
    "        yield sock.sendall(b'hello')");

static PyTypeObject Socket_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.socket",
    .tp_doc = Socket_doc,
    .tp_basicsize = sizeof(Socket),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Socket_new,
    .tp_dealloc = Socket_dealloc,
    .tp_repr = Socket_repr,
    .tp_methods = Socket_methods,
    .tp_members = Socket_members,
};

int
socket_module_init(PyObject *module)
{
    PyObject *names = PyImport_ImportModule("tonio.net._names");
    if (names == NULL) {
        return -1;
    }
    by_name = PyObject_GetAttrString(names, "call_by_name");
    Py_DECREF(names);
    if (by_name == NULL || socket_operation_type_ready() < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Socket_Type);
}
