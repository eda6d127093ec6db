/* Once: a value that is made by the first task that needs it, while the others wait for it.
 *
 * The operation calls the function, and hosts the coroutine if that is what it returns, in the task that has the turn. When it
 * fails, or is cancelled, the turn goes to the first one that waits, with a function of its own; nobody keeps the failure.
 *
 * `mutex` guards everything; Python code never runs under it. Invariant: in ONCE_RUNNING exactly one operation has the turn (or
 * is being given it), in the other states nobody waits.
 */
#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/permits.h"
#include "types/types.h"

typedef enum OnceState { ONCE_EMPTY = 0, ONCE_RUNNING, ONCE_DONE } OnceState;

typedef struct Once {
    PyObject_HEAD Mutex mutex; /* guards all that follows */
    uint8_t state;             /* OnceState */
    PyObject *value;           /* owned; set once, by ONCE_DONE */
    List queue;                /* of OnceGet, by waiter */
    Owner owner;               /* of the turn */
} Once;

typedef struct OnceGet {
    Operation base;
    Waiter waiter;
    Once *once;         /* owned */
    PyObject *function; /* owned */
    Owner owner;        /* who waits */
    bool turn;          /* it makes the value; stored before its wait is claimed */
} OnceGet;

static PyTypeObject Once_Type;
static PyTypeObject OnceGet_Type;

/* ---- the turn -------------------------------------------------------------------------------------------- */

/* Ends the turn of `self` without a value: somebody else's turn. */
static void
once_pass_on(OnceGet *self)
{
    Once *once = self->once;
    TaskChain chain = TASK_CHAIN_EMPTY;
    Waiter *waiter;
    bool given = false;

    mutex_lock(&once->mutex);
    self->turn = false;
    while (!given && (waiter = waiter_pop(&once->queue)) != NULL) {
        OnceGet *next = LIST_ENTRY(waiter, OnceGet, waiter);
        next->turn = true;
        once->owner = next->owner;
        given = waiter_claim(waiter, &chain);
        if (!given) {
            next->turn = false;
        }
    }
    if (!given) {
        once->state = ONCE_EMPTY;
        once->owner = (Owner){NULL, 0};
    }
    mutex_unlock(&once->mutex);
    scheduler_wake_chain(&chain);
}

/* Ends the turn of `self` with a value (borrowed): all get it. */
static void
once_store(OnceGet *self, PyObject *value)
{
    Once *once = self->once;
    TaskChain chain = TASK_CHAIN_EMPTY;
    Waiter *waiter;

    Py_INCREF(value);
    mutex_lock(&once->mutex);
    self->turn = false;
    once->value = value;
    once->state = ONCE_DONE;
    once->owner = (Owner){NULL, 0};
    while ((waiter = waiter_pop(&once->queue)) != NULL) {
        waiter_claim(waiter, &chain);
    }
    mutex_unlock(&once->mutex);
    scheduler_wake_chain(&chain);
}

/* ---- getting --------------------------------------------------------------------------------------------- */

static bool
is_awaitable(PyObject *object)
{
    PyAsyncMethods *async = Py_TYPE(object)->tp_as_async;
    return coroutine_check(object) || (async != NULL && async->am_await != NULL);
}

/* It is this operation's turn: READY, HOSTS or ERROR. */
static OperationResult
get_make(OnceGet *self, PyObject **result)
{
    PyObject *made = PyObject_CallNoArgs(self->function);

    if (made != NULL && is_awaitable(made)) {
        *result = runnable_claim(made, "what the function returns");
        Py_DECREF(made);
        if (*result != NULL) {
            return OPERATION_HOSTS;
        }
        made = NULL;
    }
    if (made == NULL) {
        PyObject *error = PyErr_GetRaisedException();
        once_pass_on(self);
        PyErr_SetRaisedException(error);
        return OPERATION_ERROR;
    }
    once_store(self, made);
    *result = made;
    return OPERATION_READY;
}

static OperationResult
get_poll(Operation *op, Task *task, PyObject **result)
{
    OnceGet *self = (OnceGet *)op;
    Once *once = self->once;
    PyObject *value = NULL;
    bool mine = false;

    mutex_lock(&once->mutex);
    if (once->state == ONCE_DONE) {
        value = Py_NewRef(once->value);
    }
    else if (once->state == ONCE_EMPTY) {
        once->state = ONCE_RUNNING;
        once->owner = owner_of(task);
        self->turn = true;
    }
    else {
        mine = owner_equal(once->owner, owner_of(task));
    }
    mutex_unlock(&once->mutex);
    if (value != NULL) {
        *result = value;
        return OPERATION_READY;
    }
    if (self->turn) {
        return get_make(self, result);
    }
    if (mine) {
        PyErr_Format(error_type(ERROR_DEADLOCK),
                     "%s: this task is just making the value and would wait for itself",
                     op->cls->name);
        return OPERATION_ERROR;
    }
    return OPERATION_PENDING;
}

static OperationResult
get_arm(Operation *op, Task *task, PyObject **Py_UNUSED(result))
{
    OnceGet *self = (OnceGet *)op;
    Once *once = self->once;

    self->owner = owner_of(task_real(task));
    mutex_lock(&once->mutex);
    bool waits = once->state == ONCE_RUNNING;
    if (waits) {
        waiter_push(&once->queue, &self->waiter, task);
    }
    mutex_unlock(&once->mutex);
    return waits ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
get_detach(Operation *op, Task *Py_UNUSED(task))
{
    OnceGet *self = (OnceGet *)op;

    mutex_lock(&self->once->mutex);
    list_remove(&self->waiter.node);
    mutex_unlock(&self->once->mutex);
}

static OperationResult
get_cancelled(Operation *op, Task *Py_UNUSED(task))
{
    OnceGet *self = (OnceGet *)op;

    if (self->turn) {
        once_pass_on(self); /* it was given the turn and has not begun */
    }
    return OPERATION_READY;
}

static OperationResult
get_hosted_ended(Operation *op, Task *Py_UNUSED(task), PyObject *value, PyObject *error,
                 PyObject **result)
{
    OnceGet *self = (OnceGet *)op;

    if (error != NULL) {
        once_pass_on(self);
        PyErr_SetRaisedException(error);
        return OPERATION_ERROR;
    }
    once_store(self, value);
    *result = value;
    return OPERATION_READY;
}

static PyObject *
get_describe(Operation *op)
{
    return PyUnicode_FromFormat("%s of %R", op->cls->name, ((OnceGet *)op)->once);
}

static const OperationClass get_class = {
    .name = "Once.get_or_init()",
    .describe = get_describe,
    .poll = get_poll,
    .arm = get_arm,
    .detach = get_detach,
    .cancelled = get_cancelled,
    .hosted_ended = get_hosted_ended,
};

static int
OnceGet_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((OnceGet *)object)->function);
    Py_VISIT(((OnceGet *)object)->once);
    return 0;
}

static void
OnceGet_dealloc(PyObject *object)
{
    OnceGet *self = (OnceGet *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&self->base);
    if (self->turn) {
        once_pass_on(self); /* its task ended before it began */
    }
    Py_DECREF(self->function);
    Py_DECREF(self->once);
    PyObject_GC_Del(object);
}

static PyTypeObject OnceGet_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.OnceGet",
    .tp_basicsize = sizeof(OnceGet),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = OnceGet_dealloc,
    .tp_traverse = OnceGet_traverse,
};

/* ---- Once ------------------------------------------------------------------------------------------------ */

static PyObject *
Once_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Once() takes no arguments");
        return NULL;
    }
    Once *self = PyObject_GC_New(Once, &Once_Type);
    if (self == NULL) {
        return NULL;
    }
    self->mutex = (Mutex){0};
    self->state = ONCE_EMPTY;
    self->value = NULL;
    self->owner = (Owner){NULL, 0};
    list_init(&self->queue);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
Once_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Once *)object)->value);
    return 0;
}

static int
Once_clear(PyObject *object)
{
    Once *self = (Once *)object;
    PyObject *value;

    mutex_lock(&self->mutex);
    value = self->value;
    self->value = NULL;
    self->state = ONCE_EMPTY;
    mutex_unlock(&self->mutex);
    Py_XDECREF(value);
    return 0;
}

static void
Once_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    Py_XDECREF(((Once *)object)->value);
    PyObject_GC_Del(object);
}

static PyObject *
Once_get_or_init(PyObject *object, PyObject *function)
{
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError, "function must be callable, not %.200s",
                     Py_TYPE(function)->tp_name);
        return NULL;
    }
    OnceGet *self = PyObject_GC_New(OnceGet, &OnceGet_Type);
    if (self == NULL) {
        return NULL;
    }
    operation_init(&self->base, &get_class, OPERATION_NEW, -1.0);
    list_node_init(&self->waiter.node);
    self->once = (Once *)Py_NewRef(object);
    self->function = Py_NewRef(function);
    self->turn = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* The value (new reference), or NULL without an exception. */
static PyObject *
once_value(Once *self)
{
    mutex_lock(&self->mutex);
    PyObject *value = Py_XNewRef(self->value);
    mutex_unlock(&self->mutex);
    return value;
}

static PyObject *
Once_get(PyObject *object, PyObject *Py_UNUSED(args))
{
    PyObject *value = once_value((Once *)object);

    if (value == NULL) {
        PyErr_SetString(error_type(ERROR_WOULD_BLOCK), "there is no value yet");
    }
    return value;
}

static PyObject *
Once_done(PyObject *object, PyObject *Py_UNUSED(args))
{
    PyObject *value = once_value((Once *)object);
    bool done = value != NULL;

    Py_XDECREF(value);
    return PyBool_FromLong(done);
}

static PyObject *
Once_repr(PyObject *object)
{
    static const char *const states[] = {
        [ONCE_EMPTY] = "empty", [ONCE_RUNNING] = "being made", [ONCE_DONE] = "done"};
    Once *self = (Once *)object;

    mutex_lock(&self->mutex);
    OnceState state = self->state;
    size_t waiting = waiter_count(&self->queue);
    mutex_unlock(&self->mutex);
    return PyUnicode_FromFormat("<Once %s, %zu waiting, at %p>", states[state], waiting, object);
}

PyDoc_STRVAR(
    get_or_init_doc,
    "get_or_init($self, function, /)\n--\n\n"
    "The value, which is made if there is none yet: yield or await what this returns.\n\n"
    "The first one calls `function()` and, if that returns a coroutine, generator or operation, "
    "runs it in its own task; what comes of\n"
    "it is the value for all, for ever. Others wait. If it fails or is cancelled, that concerns "
    "who made it only: the next one that\n"
    "waits makes it, with its own function.\n\n"
    "Raises what the function raises, DeadlockError if the function itself asks for the value, "
    "TypeError for what cannot be called.\n\n"
    "    connection = yield once.get_or_init(connect)");
PyDoc_STRVAR(get_doc, "get($self, /)\n--\n\n"
                      "The value, or WouldBlock if there is none yet. Any thread.");
PyDoc_STRVAR(done_doc, "done($self, /)\n--\n\nIs there a value? Any thread.");

static PyMethodDef Once_methods[] = {
    {"get_or_init", Once_get_or_init, METH_O, get_or_init_doc},
    {"get", Once_get, METH_NOARGS, get_doc},
    {"done", Once_done, METH_NOARGS, done_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Once_doc, "Once()\n--\n\n"
                       "A value that is made when it is first needed, once. Made and shared "
                       "anywhere.\n\n"
                       "    connection = yield once.get_or_init(connect)");

static PyTypeObject Once_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Once",
    .tp_doc = Once_doc,
    .tp_basicsize = sizeof(Once),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = Once_new,
    .tp_dealloc = Once_dealloc,
    .tp_traverse = Once_traverse,
    .tp_clear = Once_clear,
    .tp_repr = Once_repr,
    .tp_methods = Once_methods,
};

int
once_module_init(PyObject *module)
{
    if (operation_type_ready(&OnceGet_Type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Once_Type);
}
