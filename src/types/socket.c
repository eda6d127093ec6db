/* Socket: the type, and the life of its descriptor.
 *
 * `use` counts the calls that are using the descriptor, with a bit for "closed". close() sets the bit; whoever is last then
 * forgets the poll source (which wakes everybody parked on it) and closes the descriptor. So no call ever touches a
 * descriptor number that the system has given to somebody else, and a parked operation, woken by the close, finds the bit.
 * An operation that waits for a name to be looked up is no user of the descriptor; close() finds it in `lookups`.
 * detach() waits for the calls that are under way, which do not block, because its caller gets the descriptor.
 *
 * The poll source belongs to one runtime; it is made when something has to wait for the first time (before listen or
 * connect a poller takes a socket for hung up), and again if the socket is used in another runtime. `mutex` guards making
 * it. Who is not counted in `use` finds one that may be another's by now; source_arm tells. A source that is lost
 * (driver.h) says that the descriptor was closed by somebody else: then it is not ours to close any more.
 *
 * A stream has one reader and one writer at a time: who has to wait, and a sendall from its first call on, takes the
 * direction (a bit of `use`) until it is done.
 * All functions are called attached, by any thread.
 */
#include "types/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/types.h"

/* ---- the descriptor -------------------------------------------------------------------------------------- */

static uint32_t
source_index(const Socket *self)
{
    /* relaxed: comes with the serial */
    return atomic_load_explicit(&self->source_index, memory_order_relaxed);
}

/* Nobody uses the descriptor any more and nobody will: lets go of it, and unless it was detached closes it. Wakes who is
 * parked on it. 0 or an errno. */
static int
socket_finalize(Socket *self, bool detached)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    Runtime *runtime = NULL;
    int error = 0;
    /* acquire: pairs with the release in socket_source */
    uint64_t serial = atomic_load_explicit(&self->serial, memory_order_acquire);

    if (serial != 0) {
        runtime = runtime_find(serial);
    }
    if (runtime != NULL && runtime_is_forked(runtime)) {
        /* a child's copy: the parent's source, whose locks may be in any state, is none of its business */
        runtime_leave(runtime);
        runtime = NULL;
    }
    if (runtime != NULL) {
        PollSource *source = driver_source(&runtime->driver, source_index(self));
        if (source_is_lost(source)) {
            error = EBADF;
            detached = true;
        }
        driver_remove_source(&runtime->driver, source, &chain);
    }
    /* the system lets go of the descriptor even if it reports an error; what a reset connection says is no news */
    if (!detached && close(self->fd) < 0 && errno != ECONNRESET && errno != EINTR) {
        error = errno;
    }
    if (runtime != NULL) {
        scheduler_wake_chain(&chain);
        runtime_leave(runtime);
    }
    return error;
}

bool
socket_is_closed(const Socket *self)
{
    /* relaxed: whoever needs to be sure enters */
    return (atomic_load_explicit(&self->use, memory_order_relaxed) & SOCKET_CLOSED) != 0;
}

void
socket_refuse(uint32_t use, uint32_t free)
{
    if (use & SOCKET_CLOSED) {
        PyErr_SetString(error_type(ERROR_RESOURCE_CLOSED), "the socket is closed");
    }
    else {
        PyErr_Format(error_type(ERROR_RESOURCE_BUSY), "another task is already %s this socket",
                     use & free & SOCKET_SENDING ? "sending to" : "receiving from");
    }
}

void
socket_finish_close(Socket *self)
{
    int error = socket_finalize(self, false);

    if (error != 0) {
        PyObject *before = PyErr_GetRaisedException();
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        error_report_current("while closing a socket that was in use");
        PyErr_SetRaisedException(before);
    }
}

/* The socket is closed: wakes who waits for a name. */
static void
lookups_disturb(Socket *self)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    ListNode *node;

    /* seq_cst: the bit was set before; either socket_arm_lookup is seen here, or it sees the bit */
    if (atomic_load_explicit(&self->naming, memory_order_seq_cst) == 0) {
        return;
    }
    mutex_lock(&self->mutex);
    while ((node = list_pop_head(&self->lookups)) != NULL) {
        atomic_fetch_sub_explicit(&self->naming, 1, memory_order_relaxed);
        lookup_disturb(LIST_ENTRY(node, Lookup, owned), &chain);
    }
    mutex_unlock(&self->mutex);
    scheduler_wake_chain(&chain);
}

/* 0 or an errno. */
static int
socket_close(Socket *self)
{
    /* seq_cst: as in socket_unuse, and see lookups_disturb */
    uint32_t before = atomic_fetch_or_explicit(&self->use, SOCKET_CLOSED, memory_order_seq_cst);
    int error = (before & ~SOCKET_DIRECTIONS) == 0 ? socket_finalize(self, false) : 0;

    if (!(before & SOCKET_CLOSED)) {
        lookups_disturb(self);
    }
    return error;
}

PollSource *
socket_find_source(Socket *self, Runtime *runtime)
{
    /* acquire: pairs with the release in socket_source. Should the socket just go to another runtime, the index may be that
     * one's: what it gives here is a source, but its owner is not this socket. */
    if (atomic_load_explicit(&self->serial, memory_order_acquire) != runtime->serial) {
        return NULL;
    }
    return driver_source(&runtime->driver, source_index(self));
}

PollSource *
socket_source(Socket *self, Runtime *runtime, TaskChain *chain)
{
    Runtime *other;
    int error = 0;
    bool in_use = false;

    mutex_lock(&self->mutex);
    PollSource *source = socket_find_source(self, runtime);
    if (source != NULL) {
        mutex_unlock(&self->mutex);
        return source;
    }
    uint64_t serial = atomic_load_explicit(&self->serial, memory_order_relaxed);
    /* a source of an earlier runtime went with that; one of a runtime that still runs moves */
    other = serial == 0 ? NULL : runtime_find(serial);
    if (other != NULL) {
        PollSource *before = driver_source(&other->driver, source_index(self));
        in_use = !source_is_idle(before);
        if (!in_use) {
            atomic_store_explicit(&self->serial, 0, memory_order_relaxed);
            driver_remove_source(&other->driver, before, chain);
        }
        runtime_leave(other);
    }
    if (!in_use) {
        source = driver_add_source(&runtime->driver, self->fd, self, chain);
        error = errno;
    }
    if (source != NULL) {
        atomic_store_explicit(&self->source_index, source->index, memory_order_relaxed);
        atomic_store_explicit(&self->serial, runtime->serial, memory_order_release);
    }
    mutex_unlock(&self->mutex);
    if (in_use) {
        PyErr_SetString(error_type(ERROR_RESOURCE_BUSY),
                        "tasks of another runtime are waiting for this socket");
    }
    else if (source == NULL) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return source;
}

bool
socket_arm_lookup(Socket *self, Lookup *lookup, Task *task)
{
    bool parked;

    mutex_lock(&self->mutex);
    if (!list_node_is_linked(&lookup->owned)) {
        list_push_tail(&self->lookups, &lookup->owned);
        atomic_fetch_add_explicit(&self->naming, 1, memory_order_seq_cst);
    }
    /* seq_cst: either the bit is seen here, or lookups_disturb comes later and finds the lookup */
    parked = !(atomic_load_explicit(&self->use, memory_order_seq_cst) & SOCKET_CLOSED) &&
             lookup_arm(lookup, task);
    mutex_unlock(&self->mutex);
    return parked;
}

void
socket_detach_lookup(Socket *self, Lookup *lookup, Task *task)
{
    mutex_lock(&self->mutex);
    if (list_node_is_linked(&lookup->owned)) {
        list_remove(&lookup->owned);
        atomic_fetch_sub_explicit(&self->naming, 1,
                                  memory_order_relaxed); /* relaxed: a late look */
    }
    mutex_unlock(&self->mutex);
    if (task != NULL) {
        lookup_detach(lookup, task);
    }
}

/* A socket for a descriptor, which stays the caller's if this fails. */
static PyObject *
socket_new(int fd, int family, int type, int proto)
{
    Socket *self = PyObject_New(Socket, &Socket_Type);
    if (self == NULL) {
        return NULL;
    }
    self->fd = fd;
    self->family = family;
    self->type = type;
    self->proto = proto;
    atomic_init(&self->use, 0);
    atomic_init(&self->source_index, 0);
    atomic_init(&self->timeout, -1.0);
    self->mutex = (Mutex){0};
    atomic_init(&self->serial, 0);
    list_init(&self->lookups);
    atomic_init(&self->naming, 0);
    atomic_init(&self->last_received, 0);
    self->weak_references = NULL;
    return (PyObject *)self;
}

PyObject *
socket_wrap(int fd, int family, int type, int proto)
{
    PyObject *self = socket_new(fd, family, type, proto);
    if (self == NULL) {
        close(fd);
    }
    return self;
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
    if (PySys_Audit("socket.__new__", "Oiii", &Socket_Type, family, type, proto) < 0) {
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
        PyObject *self = socket_wrap(fd, family, type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), proto);
        if (self != NULL && (type & SOCK_NONBLOCK)) {
            /* the descriptor never blocks; that the operations do not wait has to be said */
            atomic_store_explicit(&((Socket *)self)->timeout, 0.0, memory_order_relaxed);
        }
        return self;
    }
    if (PyFloat_Check(fileno)) {
        PyErr_SetString(PyExc_TypeError, "fileno must be an int, not float");
        return NULL;
    }
    fd = PyLong_AsInt(fileno);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (fd < 0) {
        PyErr_SetString(PyExc_ValueError, "fileno must not be a negative file descriptor");
        return NULL;
    }
    /* what is not said the system knows; that it is a socket must be so in any case */
    struct {
        int *value;
        int option;
    } unknown[] = {{&family, SO_DOMAIN}, {&type, SO_TYPE}, {&proto, SO_PROTOCOL}};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        int value;
        socklen_t length = sizeof(value);
        if (getsockopt(fd, SOL_SOCKET, unknown[i].option, &value, &length) < 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (*unknown[i].value == -1) {
            *unknown[i].value = value;
        }
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return socket_new(fd, family, type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), proto);
}

static void
Socket_finalizer(PyObject *object)
{
    Socket *self = (Socket *)object;

    if (socket_is_closed(self)) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    if (PyErr_ResourceWarning(object, 1, "unclosed %R", object) < 0) {
        /* a warning that is an error cannot be raised here, other errors should not be lost either */
        PyErr_WriteUnraisable(object);
    }
    socket_close(self);
    PyErr_SetRaisedException(error);
}

static void
Socket_dealloc(PyObject *object)
{
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    if (((Socket *)object)->weak_references != NULL) {
        PyObject_ClearWeakRefs(object);
    }
    PyObject_Free(object);
}

static PyObject *
Socket_repr(PyObject *object)
{
    Socket *self = (Socket *)object;
    bool closed = socket_is_closed(self);
    return PyUnicode_FromFormat("<socket fd=%d family=%d type=%d proto=%d%s>",
                                closed ? -1 : self->fd, self->family, self->type, self->proto,
                                closed ? " closed" : "");
}

static PyObject *
Socket_close(PyObject *self, PyObject *Py_UNUSED(args))
{
    int error = socket_close((Socket *)self);
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyObject *
Socket_detach(PyObject *object, PyObject *Py_UNUSED(args))
{
    Socket *self = (Socket *)object;
    /* relaxed: the compare-and-swap decides */
    uint32_t use = atomic_load_explicit(&self->use, memory_order_relaxed);

    do {
        if (use & SOCKET_CLOSED) {
            return PyLong_FromLong(-1);
        }
        /* seq_cst: as in socket_close */
    } while (!atomic_compare_exchange_weak_explicit(&self->use, &use,
                                                    use | SOCKET_CLOSED | SOCKET_DETACHED,
                                                    memory_order_seq_cst, memory_order_relaxed));
    if (use & ~SOCKET_DIRECTIONS) {
        Py_BEGIN_ALLOW_THREADS
        /* acquire: pairs with the release of socket_unuse */
        while ((atomic_load_explicit(&self->use, memory_order_acquire) & ~SOCKET_DIRECTIONS) !=
               (SOCKET_CLOSED | SOCKET_DETACHED)) {
            sched_yield();
        }
        Py_END_ALLOW_THREADS
    }
    int error = socket_finalize(self, true);
    lookups_disturb(self);
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(self->fd);
}

static PyObject *
Socket_dup(PyObject *object, PyObject *Py_UNUSED(args))
{
    Socket *self = (Socket *)object;
    int fd;

    if (!socket_enter(self)) {
        return NULL;
    }
    fd = fcntl(self->fd, F_DUPFD_CLOEXEC, 0);
    int error = errno;
    socket_leave(self);
    if (fd < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *copy = socket_wrap(fd, self->family, self->type, self->proto);
    if (copy != NULL) {
        /* relaxed: a number by itself */
        double timeout = atomic_load_explicit(&self->timeout, memory_order_relaxed);
        atomic_store_explicit(&((Socket *)copy)->timeout, timeout, memory_order_relaxed);
    }
    return copy;
}

static PyObject *
Socket_fileno(PyObject *object, PyObject *Py_UNUSED(args))
{
    Socket *self = (Socket *)object;
    return PyLong_FromLong(socket_is_closed(self) ? -1 : self->fd);
}

static PyObject *
Socket_enter(PyObject *self, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(self);
}

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Closes the socket; any thread. Whoever waits on it gets ResourceClosed. A "
                        "second call does nothing.\n\n"
                        "Raises OSError (EBADF) if somebody else has closed the descriptor.");
PyDoc_STRVAR(detach_doc, "detach($self, /)\n--\n\n"
                         "Closes the socket without closing the descriptor, which is returned: it "
                         "is the caller's now, and does not block. -1\n"
                         "if the socket was closed. Whoever waits on it gets ResourceClosed.");
PyDoc_STRVAR(dup_doc, "dup($self, /)\n--\n\n"
                      "A socket of its own for a duplicate of the descriptor. The system's socket "
                      "is the same, but each of the two has its own\n"
                      "reader and writer. Raises OSError, ResourceClosed.");
PyDoc_STRVAR(fileno_doc, "fileno($self, /)\n--\n\nThe descriptor, or -1 once closed.");

static PyMethodDef own_methods[] = {
    {"close", Socket_close, METH_NOARGS, close_doc},
    {"detach", Socket_detach, METH_NOARGS, detach_doc},
    {"dup", Socket_dup, METH_NOARGS, dup_doc},
    {"fileno", Socket_fileno, METH_NOARGS, fileno_doc},
    {"__enter__", Socket_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)Socket_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* All methods: its own, and those of the files beside this one. Filled when the module is imported. */
static PyMethodDef Socket_methods[64];

static PyMemberDef Socket_members[] = {
    {"proto", Py_T_INT, offsetof(Socket, proto), Py_READONLY, "The protocol."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    Socket_doc,
    "socket(family=AF_INET, type=SOCK_STREAM, proto=0, fileno=None)\n--\n\n"
    "A socket as in the standard library, whose waiting methods are to be yielded or awaited.\n\n"
    "Each of those takes `timeout=` (seconds; TimeoutError). A stream has one reader and one "
    "writer at a time, others get\n"
    "ResourceBusy; who accepts, or receives or sends datagrams, gets his turn in order. As a "
    "context manager it is closed at the\n"
    "end of the block. May be used in one runtime after another, and by any thread. Raises "
    "OSError.\n\n"
    "    with socket.socket() as sock:\n"
    "        yield sock.connect(('127.0.0.1', 8000), timeout=5)\n"
    "        yield sock.sendall(b'hello')");

PyTypeObject Socket_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.socket",
    .tp_doc = Socket_doc,
    .tp_basicsize = sizeof(Socket),
    .tp_weaklistoffset = offsetof(Socket, weak_references),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Socket_new,
    .tp_dealloc = Socket_dealloc,
    .tp_finalize = Socket_finalizer,
    .tp_repr = Socket_repr,
    .tp_methods = Socket_methods,
    .tp_members = Socket_members,
    .tp_getset = socket_option_getset,
};

int
socket_module_init(PyObject *module)
{
    const PyMethodDef *const parts[] = {socket_call_methods, socket_option_methods, own_methods};
    size_t count = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (const PyMethodDef *method = parts[i]; method->ml_name != NULL; method++) {
            Socket_methods[count++] = *method;
        }
    }
    if (socket_operation_type_ready() < 0 || socket_options_module_init() < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Socket_Type);
}
