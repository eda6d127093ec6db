/* RwLock: many readers or one writer. It is permits (permits.c) of which a reader takes one and a writer all.
 *
 * All state is in `permits` and guarded by its mutex. The queue is fair, so a writer that waits holds up the readers that come
 * after it: writers are not starved by readers, nor readers by writers. Invariant: it has an owner if and only if a writer has
 * taken all permits.
 */
#include "types/permits.h"
#include "types/types.h"

#define RWLOCK_FORMS                                                                               \
    "'with (yield rwlock.read()):', 'async with rwlock.read():' or, not to wait, 'with "           \
    "rwlock.read_or_raise():', and the same with write"

typedef struct RwLock {
    PyObject_HEAD Permits permits;
} RwLock;

static PyTypeObject RwLock_Type;

static const AcquireKind read_kind = {
    .cls =
        {
            .name = "RwLock.read()",
            .describe = acquire_describe,
            .poll = acquire_poll,
            .arm = acquire_arm,
            .finish = acquire_finish,
            .detach = acquire_detach,
        },
    .exclusive = false,
    .forms = RWLOCK_FORMS,
};

static const AcquireKind write_kind = {
    .cls =
        {
            .name = "RwLock.write()",
            .describe = acquire_describe,
            .poll = acquire_poll,
            .arm = acquire_arm,
            .finish = acquire_finish,
            .detach = acquire_detach,
        },
    .exclusive = true,
    .forms = RWLOCK_FORMS,
};

static PyObject *
rwlock_acquire(const AcquireKind *kind, uint64_t amount, PyObject *object, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds = -1.0;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse(kind->exclusive ? "write()" : "read()", names, 0, args, nargs, kwnames,
                         &timeout) < 0 ||
         seconds_from_object(timeout, "timeout", &seconds) < 0)) {
        return NULL;
    }
    return (PyObject *)acquire_new(kind, object, &((RwLock *)object)->permits, amount, seconds);
}

static PyObject *
RwLock_read(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return rwlock_acquire(&read_kind, 1, object, args, nargs, kwnames);
}

static PyObject *
RwLock_write(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return rwlock_acquire(&write_kind, PERMITS_ALL, object, args, nargs, kwnames);
}

static PyObject *
RwLock_read_or_raise(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_or_raise(&read_kind, object, &((RwLock *)object)->permits, 1);
}

static PyObject *
RwLock_write_or_raise(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_or_raise(&write_kind, object, &((RwLock *)object)->permits, PERMITS_ALL);
}

static PyObject *
RwLock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "RwLock() takes no arguments");
        return NULL;
    }
    RwLock *self = PyObject_New(RwLock, type);
    if (self != NULL) {
        permits_init(&self->permits, PERMITS_ALL, PERMITS_ALL);
    }
    return (PyObject *)self;
}

static void
RwLock_dealloc(PyObject *object)
{
    permits_clear(&((RwLock *)object)->permits);
    PyObject_Free(object);
}

static PyObject *
RwLock_readers(PyObject *object, PyObject *Py_UNUSED(args))
{
    PermitsState state = permits_state(&((RwLock *)object)->permits);
    Py_XDECREF(state.name);
    return PyLong_FromUnsignedLongLong(state.owned ? 0 : PERMITS_ALL - state.available);
}

static PyObject *
RwLock_locked(PyObject *object, PyObject *Py_UNUSED(args))
{
    PermitsState state = permits_state(&((RwLock *)object)->permits);
    Py_XDECREF(state.name);
    return PyBool_FromLong(state.owned);
}

static PyObject *
RwLock_refuse(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("a RwLock", RWLOCK_FORMS);
}

static PyObject *
RwLock_repr(PyObject *object)
{
    PermitsState state = permits_state(&((RwLock *)object)->permits);
    PyObject *text;

    if (state.owned) {
        text = PyUnicode_FromFormat("<RwLock written by '%V', %zu waiting, at %p>", state.name,
                                    "unknown", state.waiting, object);
    }
    else {
        text = PyUnicode_FromFormat("<RwLock with %llu readers, %zu waiting, at %p>",
                                    (unsigned long long)(PERMITS_ALL - state.available),
                                    state.waiting, object);
    }
    Py_XDECREF(state.name);
    return text;
}

PyDoc_STRVAR(read_doc,
             "read($self, /, timeout=None)\n--\n\n"
             "Gets in as a reader, waiting for its turn: yield or await what this returns.\n\n"
             "The result is a context manager that releases. Readers share; one that comes while "
             "a writer waits gets in after that. Can be\n"
             "cancelled while it waits, and is not in then.\n\n"
             "Raises TimeoutError after `timeout` seconds, DeadlockError if this task is the "
             "writer, ValueError for a negative or NaN\n"
             "timeout. A task that reads and wants to write waits for itself: release first.\n\n"
             "    with (yield rwlock.read()):\n"
             "        ...");
PyDoc_STRVAR(write_doc,
             "write($self, /, timeout=None)\n--\n\n"
             "Gets in as the only one, waiting for its turn: yield or await what this returns.\n\n"
             "The result is a context manager that releases. Can be cancelled while it waits, and "
             "is not in then.\n\n"
             "Raises TimeoutError after `timeout` seconds, DeadlockError if this task is the "
             "writer already, ValueError for a negative or\n"
             "NaN timeout.\n\n"
             "    with (yield rwlock.write()):\n"
             "        ...");
PyDoc_STRVAR(read_or_raise_doc,
             "read_or_raise($self, /)\n--\n\n"
             "Gets in as a reader at once, or raises WouldBlock. The result is a context manager "
             "that releases. Any thread.");
PyDoc_STRVAR(write_or_raise_doc,
             "write_or_raise($self, /)\n--\n\n"
             "Gets in as the only one at once, or raises WouldBlock. The result is a context "
             "manager that releases. Any thread.");
PyDoc_STRVAR(readers_doc, "readers($self, /)\n--\n\nHow many readers are in. Any thread.");
PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\nIs a writer in? Any thread.");

static PyMethodDef RwLock_methods[] = {
    {"read", (PyCFunction)(void (*)(void))RwLock_read, METH_FASTCALL | METH_KEYWORDS, read_doc},
    {"write", (PyCFunction)(void (*)(void))RwLock_write, METH_FASTCALL | METH_KEYWORDS, write_doc},
    {"read_or_raise", RwLock_read_or_raise, METH_NOARGS, read_or_raise_doc},
    {"write_or_raise", RwLock_write_or_raise, METH_NOARGS, write_or_raise_doc},
    {"readers", RwLock_readers, METH_NOARGS, readers_doc},
    {"locked", RwLock_locked, METH_NOARGS, locked_doc},
    {"__enter__", RwLock_refuse, METH_NOARGS, NULL},
    {"__exit__", RwLock_refuse, METH_VARARGS, NULL},
    {"__aenter__", RwLock_refuse, METH_NOARGS, NULL},
    {"__aexit__", RwLock_refuse, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    RwLock_doc,
    "RwLock()\n--\n\n"
    "A lock for any number of readers or one writer; fair, not re-entrant. Made and shared "
    "anywhere.\n\n"
    "    with (yield rwlock.read()):     # in a generator\n"
    "        ...\n"
    "    async with rwlock.write():      # in an `async def`\n"
    "        ...");

static PyTypeObject RwLock_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.RwLock",
    .tp_doc = RwLock_doc,
    .tp_basicsize = sizeof(RwLock),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = RwLock_new,
    .tp_dealloc = RwLock_dealloc,
    .tp_repr = RwLock_repr,
    .tp_methods = RwLock_methods,
};

int
rwlock_module_init(PyObject *module)
{
    return PyModule_AddType(module, &RwLock_Type);
}
