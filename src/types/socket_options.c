/* Socket options: the methods and attributes that do not wait. Each is one system call on a descriptor that the caller has
 * entered. Attached, any thread. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "types/socket.h"

static PyObject *address_family; /* owned for ever: the enumerations of the standard module */
static PyObject *socket_kind;

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
    PyObject *none;
    int backlog = 128;

    if (position_arguments("listen()", 0, 1, args, nargs, NULL, &none) < 0 ||
        (nargs == 1 && int_argument("listen()", "backlog", args[0], &backlog) < 0)) {
        return NULL;
    }
    return socket_enter(self) ? plain_result(self, listen(self->fd, backlog < 0 ? 0 : backlog))
                              : NULL;
}

static PyObject *
Socket_shutdown(PyObject *object, PyObject *how)
{
    Socket *self = (Socket *)object;
    int value;

    if (int_argument("shutdown()", "how", how, &value) < 0) {
        return NULL;
    }
    return socket_enter(self) ? plain_result(self, shutdown(self->fd, value)) : NULL;
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
    uint64_t wide = 0;
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
    if (PyIndex_Check(value)) {
        PyObject *index = PyNumber_Index(value);
        if (index == NULL) {
            return NULL;
        }
        if (self->family == AF_VSOCK) {
            wide = PyLong_AsUnsignedLongLong(index); /* its options are twice as wide */
        }
        else {
            number = PyLong_AsInt(index);
        }
        Py_DECREF(index);
        if (PyErr_Occurred()) {
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
    else if (self->family == AF_VSOCK) {
        result = plain_result(self, setsockopt(self->fd, level, option, &wide, sizeof(wide)));
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
    uint64_t wide = 0;
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
    bool is_wide = size == 0 && self->family == AF_VSOCK;
    memset(bytes, 0, (size_t)size); /* some options read from there first */
    void *room = is_wide ? (void *)&wide : size == 0 ? (void *)&number : bytes;
    length = is_wide ? sizeof(wide) : size == 0 ? sizeof(number) : (socklen_t)size;
    done = plain_result(self, getsockopt(self->fd, level, option, room, &length));
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    if (is_wide) {
        return PyLong_FromUnsignedLongLong(wide);
    }
    return size == 0 ? PyLong_FromLong(number)
                     : PyBytes_FromStringAndSize(bytes, (Py_ssize_t)length);
}

static PyObject *
Socket_get_inheritable(PyObject *object, PyObject *Py_UNUSED(args))
{
    Socket *self = (Socket *)object;

    if (!socket_enter(self)) {
        return NULL;
    }
    int flags = fcntl(self->fd, F_GETFD);
    PyObject *done = plain_result(self, flags);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    return PyBool_FromLong(!(flags & FD_CLOEXEC));
}

static PyObject *
Socket_set_inheritable(PyObject *object, PyObject *inheritable)
{
    Socket *self = (Socket *)object;
    int wanted = PyObject_IsTrue(inheritable);

    if (wanted < 0 || !socket_enter(self)) {
        return NULL;
    }
    return plain_result(self, ioctl(self->fd, wanted ? FIONCLEX : FIOCLEX, NULL));
}

/* ---- the timeout of operations that are given none -------------------------------------------------------- */

static PyObject *
Socket_gettimeout(PyObject *object, PyObject *Py_UNUSED(args))
{
    /* relaxed: a number by itself; here and below */
    double seconds = atomic_load_explicit(&((Socket *)object)->timeout, memory_order_relaxed);
    return seconds < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seconds);
}

static PyObject *
Socket_settimeout(PyObject *object, PyObject *value)
{
    double seconds;

    if (seconds_from_object(value, "timeout", &seconds) < 0) {
        return NULL;
    }
    atomic_store_explicit(&((Socket *)object)->timeout, seconds, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *
Socket_getblocking(PyObject *object, PyObject *Py_UNUSED(args))
{
    double seconds = atomic_load_explicit(&((Socket *)object)->timeout, memory_order_relaxed);
    return PyBool_FromLong(seconds != 0.0);
}

static PyObject *
Socket_setblocking(PyObject *object, PyObject *blocking)
{
    int wanted = PyObject_IsTrue(blocking);

    if (wanted < 0) {
        return NULL;
    }
    atomic_store_explicit(&((Socket *)object)->timeout, wanted ? -1.0 : 0.0, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *
Socket_get_timeout(PyObject *self, void *Py_UNUSED(closure))
{
    return Socket_gettimeout(self, NULL);
}

/* ---- what kind of socket it is ----------------------------------------------------------------------------- */

/* The member of an enumeration, or the number itself if it has none. */
static PyObject *
member_of(PyObject *enumeration, int value)
{
    PyObject *number = PyLong_FromLong(value);
    PyObject *member = number == NULL ? NULL : PyObject_CallOneArg(enumeration, number);

    if (member == NULL && number != NULL && PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        return number;
    }
    Py_XDECREF(number);
    return member;
}

PyObject *
family_to_object(int family)
{
    return member_of(address_family, family);
}

PyObject *
kind_to_object(int kind)
{
    return member_of(socket_kind, kind);
}

static PyObject *
Socket_get_family(PyObject *self, void *Py_UNUSED(closure))
{
    return family_to_object(((Socket *)self)->family);
}

static PyObject *
Socket_get_type(PyObject *self, void *Py_UNUSED(closure))
{
    return kind_to_object(((Socket *)self)->type);
}

PyGetSetDef socket_option_getset[] = {
    {"family", Socket_get_family, NULL, "The address family.", NULL},
    {"type", Socket_get_type, NULL, "The kind of socket.", NULL},
    {"timeout", Socket_get_timeout, NULL, "The same as gettimeout().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(listen_doc, "listen($self, backlog=128, /)\n--\n\nMakes it a listening socket.");
PyDoc_STRVAR(
    shutdown_doc,
    "shutdown($self, how, /)\n--\n\nEnds one direction or both: SHUT_RD, SHUT_WR or SHUT_RDWR.");
PyDoc_STRVAR(getsockname_doc, "getsockname($self, /)\n--\n\nThe own address.");
PyDoc_STRVAR(getpeername_doc, "getpeername($self, /)\n--\n\nThe address of the other side.");
PyDoc_STRVAR(setsockopt_doc,
             "setsockopt($self, level, optname, value, optlen=None, /)\n--\n\nSets an "
             "option: an int, bytes, or None with optlen.");
PyDoc_STRVAR(getsockopt_doc,
             "getsockopt($self, level, optname, buflen=0, /)\n--\n\nAn option as int, or "
             "as bytes if buflen is given.");
PyDoc_STRVAR(get_inheritable_doc, "get_inheritable($self, /)\n--\n\n"
                                  "Do programs that are started get the descriptor? Not by "
                                  "default.");
PyDoc_STRVAR(set_inheritable_doc,
             "set_inheritable($self, inheritable, /)\n--\n\nSays whether they get it.");
PyDoc_STRVAR(gettimeout_doc, "gettimeout($self, /)\n--\n\n"
                             "The timeout in seconds of operations that are given none, or None.");
PyDoc_STRVAR(settimeout_doc,
             "settimeout($self, seconds, /)\n--\n\n"
             "Sets the timeout of operations that are made from now on and given none. None is no "
             "limit; with 0 they do not wait,\n"
             "but raise BlockingIOError. Raises ValueError for a negative or NaN timeout.");
PyDoc_STRVAR(getblocking_doc, "getblocking($self, /)\n--\n\nIs the timeout not 0?");
PyDoc_STRVAR(setblocking_doc, "setblocking($self, blocking, /)\n--\n\n"
                              "The same as settimeout(None) or, if false, settimeout(0).");

PyMethodDef socket_option_methods[] = {
    {"listen", (PyCFunction)(void (*)(void))Socket_listen, METH_FASTCALL, listen_doc},
    {"shutdown", Socket_shutdown, METH_O, shutdown_doc},
    {"getsockname", Socket_getsockname, METH_NOARGS, getsockname_doc},
    {"getpeername", Socket_getpeername, METH_NOARGS, getpeername_doc},
    {"setsockopt", Socket_setsockopt, METH_VARARGS, setsockopt_doc},
    {"getsockopt", Socket_getsockopt, METH_VARARGS, getsockopt_doc},
    {"get_inheritable", Socket_get_inheritable, METH_NOARGS, get_inheritable_doc},
    {"set_inheritable", Socket_set_inheritable, METH_O, set_inheritable_doc},
    {"gettimeout", Socket_gettimeout, METH_NOARGS, gettimeout_doc},
    {"settimeout", Socket_settimeout, METH_O, settimeout_doc},
    {"getblocking", Socket_getblocking, METH_NOARGS, getblocking_doc},
    {"setblocking", Socket_setblocking, METH_O, setblocking_doc},
    {NULL, NULL, 0, NULL},
};

int
socket_options_module_init(void)
{
    PyObject *socket = PyImport_ImportModule("socket");

    if (socket == NULL) {
        return -1;
    }
    address_family = PyObject_GetAttrString(socket, "AddressFamily");
    socket_kind = PyObject_GetAttrString(socket, "SocketKind");
    Py_DECREF(socket);
    return address_family == NULL || socket_kind == NULL ? -1 : 0;
}
