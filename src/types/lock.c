/* Lock: one task at a time. It is one permit (permits.c) with an owner.
 *
 * All state is in `permits` and guarded by its mutex. Any attached thread may try to take it and release it; a thread that runs
 * no task then is the owner itself. Invariant: it has an owner if and only if the permit is taken.
 */
#include "types/lock.h"

#include "types/types.h"

#define LOCK_FORMS                                                                                 \
    "'with (yield lock()):', 'async with lock():' or, not to wait, 'with lock.or_raise():'"

const AcquireKind lock_kind = {
    .cls =
        {
            .name = "Lock.acquire()",
            .describe = acquire_describe,
            .poll = acquire_poll,
            .arm = acquire_arm,
            .finish = acquire_finish,
            .detach = acquire_detach,
        },
    .exclusive = true,
    .forms = LOCK_FORMS,
};

static PyObject *
Lock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds = -1.0;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse("acquire()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
         seconds_from_object(timeout, "timeout", &seconds) < 0)) {
        return NULL;
    }
    return (PyObject *)acquire_new(&lock_kind, object, &((Lock *)object)->permits, 1, seconds);
}

static PyObject *
Lock_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return Lock_acquire(object, args, PyVectorcall_NARGS(nargsf), kwnames);
}

Lock *
lock_new(void)
{
    Lock *self = PyObject_New(Lock, &Lock_Type);

    if (self != NULL) {
        self->vectorcall = Lock_call;
        permits_init(&self->permits, 1, 1);
    }
    return self;
}

static PyObject *
Lock_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Lock() takes no arguments");
        return NULL;
    }
    return (PyObject *)lock_new();
}

static void
Lock_dealloc(PyObject *object)
{
    permits_clear(&((Lock *)object)->permits);
    PyObject_Free(object);
}

static PyObject *
Lock_release(PyObject *object, PyObject *Py_UNUSED(args))
{
    return permits_give_owned(&((Lock *)object)->permits, 1, "the lock") < 0 ? NULL
                                                                             : Py_NewRef(Py_None);
}

static PyObject *
Lock_try_acquire(PyObject *object, PyObject *Py_UNUSED(args))
{
    uint64_t generation;
    return permits_try(&lock_kind, &((Lock *)object)->permits, 1, &generation) < 0
               ? NULL
               : Py_NewRef(Py_True);
}

static PyObject *
Lock_or_raise(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_or_raise(&lock_kind, object, &((Lock *)object)->permits, 1);
}

static PyObject *
Lock_locked(PyObject *object, PyObject *Py_UNUSED(args))
{
    PermitsState state = permits_state(&((Lock *)object)->permits);
    Py_XDECREF(state.name);
    return PyBool_FromLong(state.owned);
}

static PyObject *
Lock_enter(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("a Lock", LOCK_FORMS);
}

static PyObject *
Lock_exit(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("a Lock", LOCK_FORMS);
}

static PyObject *
Lock_aenter(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_new_async(&lock_kind, object, &((Lock *)object)->permits, 1);
}

static PyObject *
Lock_aexit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return permits_give_owned(&((Lock *)object)->permits, 1, "the lock") < 0
               ? NULL
               : Py_NewRef(ready_none);
}

static PyObject *
Lock_repr(PyObject *object)
{
    PermitsState state = permits_state(&((Lock *)object)->permits);
    PyObject *text;

    if (!state.owned) {
        text = PyUnicode_FromFormat("<Lock free at %p>", object);
    }
    else {
        text = PyUnicode_FromFormat("<Lock held by '%V', %zu waiting, at %p>", state.name,
                                    "unknown", state.waiting, object);
    }
    Py_XDECREF(state.name);
    return text;
}

PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, /, timeout=None)\n--\n\n"
    "Takes the lock, waiting for its turn: yield or await what this returns, or what "
    "calling the lock returns.\n\n"
    "The result is a context manager that releases; `release()` does so without one. "
    "Waiters are served in the order in\n"
    "which they came. Can be cancelled while it waits, and has not taken the lock then.\n\n"
    "Raises TimeoutError after `timeout` seconds, DeadlockError if this task holds it "
    "already, ValueError for a negative or NaN\n"
    "timeout.\n\n"
    "    with (yield lock()):\n"
    "        ...");
PyDoc_STRVAR(release_doc, "release($self, /)\n--\n\n"
                          "Releases the lock, or hands it to the task that has waited longest.\n\n"
                          "Raises RuntimeError if it is not locked, or was taken by another task.");
PyDoc_STRVAR(try_acquire_doc,
             "try_acquire($self, /)\n--\n\n"
             "Takes the lock at once and returns True, or raises WouldBlock. Any thread, worker or "
             "not; a thread that runs no task\n"
             "is the owner itself.");
PyDoc_STRVAR(or_raise_doc, "or_raise($self, /)\n--\n\n"
                           "Takes the lock at once, or raises WouldBlock. The result is a context "
                           "manager that releases.\n\n"
                           "    with lock.or_raise():\n"
                           "        ...");
PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\nIs it taken, by whomever? Any thread.");

static PyMethodDef Lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))Lock_acquire, METH_FASTCALL | METH_KEYWORDS,
     acquire_doc},
    {"release", Lock_release, METH_NOARGS, release_doc},
    {"try_acquire", Lock_try_acquire, METH_NOARGS, try_acquire_doc},
    {"or_raise", Lock_or_raise, METH_NOARGS, or_raise_doc},
    {"locked", Lock_locked, METH_NOARGS, locked_doc},
    {"__enter__", Lock_enter, METH_NOARGS, NULL},
    {"__exit__", Lock_exit, METH_VARARGS, NULL},
    {"__aenter__", Lock_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))Lock_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Lock_doc,
             "Lock()\n--\n\n"
             "A lock that one task can hold at a time; fair, not re-entrant. Made and shared "
             "anywhere.\n\n"
             "    with (yield lock()):        # in a generator\n"
             "        ...\n"
             "    async with lock():          # in an `async def`; `async with lock:` is the same\n"
             "        ...");

PyTypeObject Lock_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Lock",
    .tp_doc = Lock_doc,
    .tp_basicsize = sizeof(Lock),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Lock, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = Lock_new,
    .tp_dealloc = Lock_dealloc,
    .tp_repr = Lock_repr,
    .tp_methods = Lock_methods,
};

int
lock_module_init(PyObject *module)
{
    return PyModule_AddType(module, &Lock_Type);
}
