/* Semaphore: a number of tokens, each of which lets one in. It is permits (permits.c) without an owner.
 *
 * All state is in `permits` and guarded by its mutex; any attached thread may take tokens that are there, and release. Who
 * asks for several waits until there are as many, and nobody passes it by meanwhile.
 */
#include "types/permits.h"
#include "types/types.h"

#define SEMAPHORE_FORMS                                                                            \
    "'with (yield semaphore()):', 'async with semaphore():' or, not to wait, 'with "               \
    "semaphore.or_raise():'"

typedef struct Semaphore {
    PyObject_HEAD vectorcallfunc vectorcall; /* semaphore() */
    Permits permits;
} Semaphore;

static PyTypeObject Semaphore_Type;

static const AcquireKind semaphore_kind = {
    .cls =
        {
            .name = "Semaphore.acquire()",
            .describe = acquire_describe,
            .poll = acquire_poll,
            .arm = acquire_arm,
            .finish = acquire_finish,
            .detach = acquire_detach,
        },
    .exclusive = false,
    .forms = SEMAPHORE_FORMS,
};

/* The argument `k` of what takes tokens. */
static int
amount_from_object(const Semaphore *self, PyObject *object, uint64_t *amount)
{
    if (object == NULL) {
        *amount = 1;
        return 0;
    }
    Py_ssize_t k;
    if (size_from_object(object, "k", 1, &k) < 0) {
        return -1;
    }
    *amount = (uint64_t)k;
    if (*amount > self->permits.most) { /* which never changes */
        PyErr_Format(PyExc_ValueError, "k must be at most %llu (max_value), or it waits for ever",
                     (unsigned long long)self->permits.most);
        return -1;
    }
    return 0;
}

static PyObject *
Semaphore_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"k", "timeout", NULL};
    Semaphore *self = (Semaphore *)object;
    PyObject *values[2];
    double seconds = -1.0;
    uint64_t amount = 1;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse("acquire()", names, 0, args, nargs, kwnames, values) < 0 ||
         amount_from_object(self, values[0], &amount) < 0 ||
         seconds_from_object(values[1], "timeout", &seconds) < 0)) {
        return NULL;
    }
    return (PyObject *)acquire_new(&semaphore_kind, object, &self->permits, amount, seconds);
}

static PyObject *
Semaphore_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return Semaphore_acquire(object, args, PyVectorcall_NARGS(nargsf), kwnames);
}

static PyObject *
Semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", "max_value", NULL};
    PyObject *value_object;
    PyObject *most_object = Py_None;
    Py_ssize_t value;
    Py_ssize_t most = PY_SSIZE_T_MAX;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:Semaphore", names, &value_object,
                                     &most_object) ||
        size_from_object(value_object, "value", 0, &value) < 0) {
        return NULL;
    }
    if (most_object != Py_None) {
        if (size_from_object(most_object, "max_value", 1, &most) < 0) {
            return NULL;
        }
        if (most < value) {
            PyErr_SetString(PyExc_ValueError, "max_value must not be less than value");
            return NULL;
        }
    }
    Semaphore *self = PyObject_New(Semaphore, type);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = Semaphore_call;
    permits_init(&self->permits, (uint64_t)value, (uint64_t)most);
    return (PyObject *)self;
}

static void
Semaphore_dealloc(PyObject *object)
{
    permits_clear(&((Semaphore *)object)->permits);
    PyObject_Free(object);
}

/* Parses the only argument, `k`. */
static int
parse_amount(PyObject *object, const char *function, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, uint64_t *amount)
{
    static const char *const names[] = {"k", NULL};
    PyObject *value = NULL;

    if (arguments_parse(function, names, 0, args, nargs, kwnames, &value) < 0) {
        return -1;
    }
    return amount_from_object((Semaphore *)object, value, amount);
}

static PyObject *
Semaphore_release(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t amount;

    if (parse_amount(object, "release()", args, nargs, kwnames, &amount) < 0 ||
        permits_give(&((Semaphore *)object)->permits, amount) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Semaphore_try_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t amount;
    uint64_t generation;

    if (parse_amount(object, "try_acquire()", args, nargs, kwnames, &amount) < 0 ||
        permits_try(&semaphore_kind, &((Semaphore *)object)->permits, amount, &generation) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

static PyObject *
Semaphore_or_raise(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t amount;

    if (parse_amount(object, "or_raise()", args, nargs, kwnames, &amount) < 0) {
        return NULL;
    }
    return acquire_or_raise(&semaphore_kind, object, &((Semaphore *)object)->permits, amount);
}

static PyObject *
Semaphore_tokens(PyObject *object, PyObject *Py_UNUSED(args))
{
    return PyLong_FromUnsignedLongLong(permits_state(&((Semaphore *)object)->permits).available);
}

static PyObject *
Semaphore_locked(PyObject *object, PyObject *Py_UNUSED(args))
{
    PermitsState state = permits_state(&((Semaphore *)object)->permits);
    return PyBool_FromLong(state.available == 0 || state.waiting > 0);
}

static PyObject *
Semaphore_enter(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("a Semaphore", SEMAPHORE_FORMS);
}

static PyObject *
Semaphore_exit(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("a Semaphore", SEMAPHORE_FORMS);
}

static PyObject *
Semaphore_aenter(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_new_async(&semaphore_kind, object, &((Semaphore *)object)->permits, 1);
}

static PyObject *
Semaphore_aexit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return permits_give(&((Semaphore *)object)->permits, 1) < 0 ? NULL : Py_NewRef(ready_none);
}

static PyObject *
Semaphore_repr(PyObject *object)
{
    PermitsState state = permits_state(&((Semaphore *)object)->permits);
    return PyUnicode_FromFormat("<Semaphore with %llu tokens, %zu waiting, at %p>",
                                (unsigned long long)state.available, state.waiting, object);
}

PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, /, k=1, timeout=None)\n--\n\n"
    "Takes `k` tokens, waiting for its turn: yield or await what this returns, or what calling "
    "the semaphore returns.\n\n"
    "The result is a context manager that releases as many; `release(k)` does so without one. "
    "Waiters are served in the order in\n"
    "which they came: one that needs many holds up those behind it. Can be cancelled while it "
    "waits, and has taken none then.\n\n"
    "Raises TimeoutError after `timeout` seconds, ValueError for a `k` below 1 or above "
    "`max_value`.\n\n"
    "    with (yield semaphore()):\n"
    "        ...");
PyDoc_STRVAR(release_doc, "release($self, /, k=1)\n--\n\n"
                          "Gives `k` tokens back, or to who waits. Any task or thread may.\n\n"
                          "Raises ValueError, and gives none, if there would be more than "
                          "`max_value`.");
PyDoc_STRVAR(
    try_acquire_doc,
    "try_acquire($self, /, k=1)\n--\n\n"
    "Takes `k` tokens at once and returns True, or raises WouldBlock. Any thread, worker or not.");
PyDoc_STRVAR(or_raise_doc, "or_raise($self, /, k=1)\n--\n\n"
                           "Takes `k` tokens at once, or raises WouldBlock. The result is a "
                           "context manager that releases them.\n\n"
                           "    with semaphore.or_raise():\n"
                           "        ...");
PyDoc_STRVAR(tokens_doc, "tokens($self, /)\n--\n\nHow many tokens could be taken now. Any thread.");
PyDoc_STRVAR(locked_doc,
             "locked($self, /)\n--\n\nWould acquire() have to wait? Any thread may ask.");

static PyMethodDef Semaphore_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))Semaphore_acquire, METH_FASTCALL | METH_KEYWORDS,
     acquire_doc},
    {"release", (PyCFunction)(void (*)(void))Semaphore_release, METH_FASTCALL | METH_KEYWORDS,
     release_doc},
    {"try_acquire", (PyCFunction)(void (*)(void))Semaphore_try_acquire,
     METH_FASTCALL | METH_KEYWORDS, try_acquire_doc},
    {"or_raise", (PyCFunction)(void (*)(void))Semaphore_or_raise, METH_FASTCALL | METH_KEYWORDS,
     or_raise_doc},
    {"tokens", Semaphore_tokens, METH_NOARGS, tokens_doc},
    {"locked", Semaphore_locked, METH_NOARGS, locked_doc},
    {"__enter__", Semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", Semaphore_exit, METH_VARARGS, NULL},
    {"__aenter__", Semaphore_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))Semaphore_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Semaphore_doc,
             "Semaphore(value, *, max_value=None)\n--\n\n"
             "Lets at most `value` tasks in at a time; fair. Made and shared anywhere.\n\n"
             "`max_value` is the most tokens there may be: releasing above it is a ValueError.\n\n"
             "    with (yield semaphore()):   # in a generator\n"
             "        ...\n"
             "    async with semaphore():     # in an `async def`; `async with semaphore:` is the "
             "same\n"
             "        ...");

static PyTypeObject Semaphore_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Semaphore",
    .tp_doc = Semaphore_doc,
    .tp_basicsize = sizeof(Semaphore),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Semaphore, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = Semaphore_new,
    .tp_dealloc = Semaphore_dealloc,
    .tp_repr = Semaphore_repr,
    .tp_methods = Semaphore_methods,
};

int
semaphore_module_init(PyObject *module)
{
    return PyModule_AddType(module, &Semaphore_Type);
}
