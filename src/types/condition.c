/* Condition: tasks that hold a lock wait for something to become true, and are told by who changes it.
 *
 * It goes with a Lock, and the mutex of that lock guards its queue as well. A waiter releases the lock when it enters the
 * queue. notify() needs the lock and moves waiters from the queue to the end of the lock's, where they are served like anybody
 * else: no task is woken before it can have the lock.
 *
 * Whatever ends the wait, the task holds the lock again when it goes on: after a timeout or a cancellation, too, it queues for
 * the lock, and that wait cannot be cancelled. A notification that comes to a task which is being cancelled is passed on.
 *
 * The one exception is a run that is abandoned, for the lock may never come: its owner may have ended with it, or wait for this
 * task. Then the task goes without the lock if that is not free, and is marked (TASK_UNLOCKED): what it does on its way out
 * with the lock that it believes to hold is passed over, not an error on top of the end.
 *
 * Invariant: a ConditionWait is in the condition's queue while WAITS and not claimed, in the lock's queue while LOCKS; its task
 * owns the lock while NEW.
 */
#include "errors.h"
#include "runtime/scheduler.h"
#include "types/lock.h"
#include "types/types.h"

#define CONDITION_FORMS                                                                            \
    "'with (yield condition()):', 'async with condition():' or, not to wait, 'with "               \
    "condition.or_raise():'"

typedef struct Condition {
    PyObject_HEAD vectorcallfunc vectorcall; /* condition() */
    Lock *lock;                              /* owned */
    List queue; /* of ConditionWait, by waiter; guarded by the lock's mutex */
} Condition;

/* What a ConditionWait does. WAITS becomes LOCKS under the lock's mutex; the rest is the owner task's. */
typedef enum WaitPhase { WAIT_NEW = 0, WAIT_WAITS, WAIT_LOCKS } WaitPhase;

typedef struct ConditionWait {
    Acquire acquire;      /* of the lock, for the way back */
    Condition *condition; /* owned */
    PyObject *predicate;  /* owned or NULL */
    uint64_t generation;  /* which owner of the lock the task was, and is again afterwards */
    uint8_t phase;        /* WaitPhase */
    bool notified;        /* guarded by the lock's mutex */
    bool checked;         /* NEW: the predicate was called and said no */
    bool late;            /* the timeout is over */
    bool cancelled;
} ConditionWait;

static PyTypeObject Condition_Type;
static PyTypeObject ConditionWait_Type;

/* ---- waiting --------------------------------------------------------------------------------------------- */

static Mutex *
wait_mutex(ConditionWait *self)
{
    return &self->acquire.permits->mutex;
}

/* Calls the predicate: READY with what it returned, if that is true, PENDING if it is false. */
static OperationResult
check_predicate(ConditionWait *self, PyObject **result)
{
    PyObject *value = PyObject_CallNoArgs(self->predicate);
    int truth = value != NULL ? PyObject_IsTrue(value) : -1;

    if (truth > 0) {
        *result = value;
        return OPERATION_READY;
    }
    Py_XDECREF(value);
    return truth == 0 ? OPERATION_PENDING : OPERATION_ERROR;
}

/* Under the mutex, the task having the lock again: it is the same owner as before, so the block around will release. */
static void
resume_ownership(ConditionWait *self)
{
    self->acquire.permits->generation = self->generation;
}

/* The task has the lock again. */
static OperationResult
wait_locked(ConditionWait *self, PyObject **result)
{
    self->phase = WAIT_NEW;
    mutex_lock(wait_mutex(self));
    resume_ownership(self);
    mutex_unlock(wait_mutex(self));
    if (self->cancelled) {
        *result = Py_None; /* the run loop raises CancelledError instead */
        return OPERATION_READY;
    }
    if (self->predicate != NULL) {
        OperationResult outcome = check_predicate(self, result);
        if (outcome != OPERATION_PENDING) {
            return outcome;
        }
        self->checked = true;
    }
    if (self->late) {
        PyErr_Format(PyExc_TimeoutError, "%s took longer than its timeout",
                     self->acquire.base.cls->name);
        return OPERATION_ERROR;
    }
    if (self->predicate != NULL) {
        return OPERATION_PENDING; /* wait again */
    }
    *result = Py_None;
    return OPERATION_READY;
}

static OperationResult
wait_poll(Operation *op, Task *task, PyObject **result)
{
    ConditionWait *self = (ConditionWait *)op;
    Owner owner = owner_of(task);

    if (self->phase != WAIT_NEW) {
        mutex_lock(wait_mutex(self));
        bool taken = permits_take(&self->acquire, owner);
        mutex_unlock(wait_mutex(self));
        return taken ? wait_locked(self, result) : OPERATION_PENDING;
    }
    if (task_is_unlocked(task)) {
        return OPERATION_PENDING; /* it is closed when it gives this out */
    }
    if (!permits_is_owner(self->acquire.permits, owner)) {
        PyErr_Format(PyExc_RuntimeError, "%s needs the lock: call it inside of %s", op->cls->name,
                     "'with (yield condition()):' or 'async with condition():'");
        return OPERATION_ERROR;
    }
    return self->predicate != NULL && !self->checked ? check_predicate(self, result)
                                                     : OPERATION_PENDING;
}

static OperationResult
wait_arm(Operation *op, Task *task, PyObject **result)
{
    ConditionWait *self = (ConditionWait *)op;
    Acquire *acquire = &self->acquire;
    TaskChain chain = TASK_CHAIN_EMPTY;
    bool taken = false;

    acquire->owner = owner_of(task_real(task));
    mutex_lock(wait_mutex(self));
    if (self->phase == WAIT_NEW) {
        self->phase = WAIT_WAITS;
        self->notified = false;
        self->generation = acquire->permits->generation;
        waiter_push(&self->condition->queue, &acquire->waiter, task);
        permits_disown(acquire->permits, 1, &acquire->name);
        permits_serve(acquire->permits, &chain);
    }
    else {
        taken = permits_take(acquire, acquire->owner);
        if (!taken) {
            waiter_push(&acquire->permits->queue, &acquire->waiter, task);
        }
    }
    mutex_unlock(wait_mutex(self));
    scheduler_wake_chain(&chain);
    return taken ? wait_locked(self, result) : OPERATION_PARKED;
}

static OperationResult
wait_finish(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    return wait_locked((ConditionWait *)op, result); /* it was handed the lock */
}

static void
wait_detach(Operation *op, Task *Py_UNUSED(task))
{
    ConditionWait *self = (ConditionWait *)op;

    mutex_lock(wait_mutex(self));
    list_remove(&self->acquire.waiter.node);
    if (self->phase == WAIT_WAITS) {
        self->phase = WAIT_LOCKS;
    }
    mutex_unlock(wait_mutex(self));
}

static OperationResult
wait_timed_out(Operation *op, Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    ConditionWait *self = (ConditionWait *)op;

    if (self->phase == WAIT_NEW) {
        operation_set_timed_out(op); /* the wait has not begun: the task has the lock */
        return OPERATION_ERROR;
    }
    op->timeout = -1.0; /* the way back takes as long as it takes */
    mutex_lock(wait_mutex(self));
    self->late = !self->notified || self->predicate != NULL;
    mutex_unlock(wait_mutex(self));
    return OPERATION_PENDING;
}

/* Under the mutex: the first of the queue goes into the lock's. */
static bool
notify_one(Condition *self)
{
    Waiter *waiter = waiter_pop(&self->queue);

    if (waiter == NULL) {
        return false;
    }
    ConditionWait *wait = LIST_ENTRY(waiter, ConditionWait, acquire.waiter);
    wait->notified = true;
    wait->phase = WAIT_LOCKS;
    list_push_tail(&self->lock->permits.queue, &waiter->node);
    return true;
}

static OperationResult
wait_cancelled(Operation *op, Task *Py_UNUSED(task))
{
    ConditionWait *self = (ConditionWait *)op;
    TaskChain chain = TASK_CHAIN_EMPTY;

    if (self->phase == WAIT_NEW) {
        return OPERATION_READY; /* the wait has not begun: the task has the lock */
    }
    op->timeout = -1.0;
    mutex_lock(wait_mutex(self));
    if (self->notified && !self->cancelled) {
        notify_one(self->condition);
        permits_serve(self->acquire.permits, &chain);
    }
    self->cancelled = true;
    mutex_unlock(wait_mutex(self));
    scheduler_wake_chain(&chain);
    return OPERATION_PENDING;
}

static void
wait_abandoned(Operation *op, Task *task)
{
    ConditionWait *self = (ConditionWait *)op;

    mutex_lock(wait_mutex(self));
    bool taken = permits_take(&self->acquire, owner_of(task));
    if (taken) {
        resume_ownership(self);
    }
    mutex_unlock(wait_mutex(self));
    if (!taken) {
        task->flags |= TASK_UNLOCKED;
    }
}

static PyObject *
wait_describe(Operation *op)
{
    ConditionWait *self = (ConditionWait *)op;

    mutex_lock(wait_mutex(self));
    bool locks = self->phase == WAIT_LOCKS;
    mutex_unlock(wait_mutex(self));
    return PyUnicode_FromFormat(locks ? "the lock, to leave %s of %R" : "%s of %R", op->cls->name,
                                self->condition);
}

#define WAIT_KIND(text)                                                                            \
    {                                                                                              \
        .cls =                                                                                     \
            {                                                                                      \
                .name = text,                                                                      \
                .describe = wait_describe,                                                         \
                .poll = wait_poll,                                                                 \
                .arm = wait_arm,                                                                   \
                .finish = wait_finish,                                                             \
                .detach = wait_detach,                                                             \
                .timed_out = wait_timed_out,                                                       \
                .cancelled = wait_cancelled,                                                       \
                .abandoned = wait_abandoned,                                                       \
            },                                                                                     \
        .exclusive = true,                                                                         \
    }

static const AcquireKind wait_kind = WAIT_KIND("Condition.wait()");
static const AcquireKind wait_for_kind = WAIT_KIND("Condition.wait_for()");

/* `predicate` may be NULL. New reference or NULL. */
static PyObject *
wait_new(const AcquireKind *kind, PyObject *object, PyObject *predicate, double timeout)
{
    Condition *condition = (Condition *)object;
    ConditionWait *self = PyObject_GC_New(ConditionWait, &ConditionWait_Type);

    if (self == NULL) {
        return NULL;
    }
    acquire_init(&self->acquire, kind, (PyObject *)condition->lock, &condition->lock->permits, 1,
                 timeout);
    self->condition = (Condition *)Py_NewRef(object);
    self->predicate = Py_XNewRef(predicate);
    self->phase = WAIT_NEW;
    self->notified = self->checked = self->late = self->cancelled = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
ConditionWait_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((ConditionWait *)object)->predicate);
    return 0;
}

static int
ConditionWait_clear(PyObject *object)
{
    Py_CLEAR(((ConditionWait *)object)->predicate);
    return 0;
}

static void
ConditionWait_dealloc(PyObject *object)
{
    ConditionWait *self = (ConditionWait *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&self->acquire.base);
    Py_XDECREF(self->acquire.name);
    Py_XDECREF(self->predicate);
    Py_DECREF(self->acquire.object);
    Py_DECREF(self->condition);
    PyObject_GC_Del(object);
}

static PyTypeObject ConditionWait_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ConditionWait",
    .tp_basicsize = sizeof(ConditionWait),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = ConditionWait_dealloc,
    .tp_traverse = ConditionWait_traverse,
    .tp_clear = ConditionWait_clear,
};

/* ---- the lock -------------------------------------------------------------------------------------------- */

static const AcquireKind condition_kind = {
    .cls =
        {
            .name = "Condition.acquire()",
            .describe = acquire_describe,
            .poll = acquire_poll,
            .arm = acquire_arm,
            .finish = acquire_finish,
            .detach = acquire_detach,
        },
    .exclusive = true,
    .forms = CONDITION_FORMS,
};

static Permits *
condition_permits(PyObject *object)
{
    return &((Condition *)object)->lock->permits;
}

static PyObject *
Condition_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds;

    if (arguments_parse("acquire()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
        seconds_from_object(timeout, "timeout", &seconds) < 0) {
        return NULL;
    }
    return (PyObject *)acquire_new(&condition_kind, object, condition_permits(object), 1, seconds);
}

static PyObject *
Condition_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return Condition_acquire(object, args, PyVectorcall_NARGS(nargsf), kwnames);
}

static PyObject *
Condition_release(PyObject *object, PyObject *Py_UNUSED(args))
{
    return permits_give_owned(condition_permits(object), 1, "the condition's lock") < 0
               ? NULL
               : Py_NewRef(Py_None);
}

static PyObject *
Condition_try_acquire(PyObject *object, PyObject *Py_UNUSED(args))
{
    uint64_t generation;
    return permits_try(&condition_kind, condition_permits(object), 1, &generation) < 0
               ? NULL
               : Py_NewRef(Py_True);
}

static PyObject *
Condition_or_raise(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_or_raise(&condition_kind, object, condition_permits(object), 1);
}

static PyObject *
Condition_locked(PyObject *object, PyObject *Py_UNUSED(args))
{
    PermitsState state = permits_state(condition_permits(object));
    Py_XDECREF(state.name);
    return PyBool_FromLong(state.owned);
}

static PyObject *
Condition_refuse(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    return with_refused("a Condition", CONDITION_FORMS);
}

static PyObject *
Condition_aenter(PyObject *object, PyObject *Py_UNUSED(args))
{
    return acquire_new_async(&condition_kind, object, condition_permits(object), 1);
}

static PyObject *
Condition_aexit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return permits_give_owned(condition_permits(object), 1, "the condition's lock") < 0
               ? NULL
               : Py_NewRef(ready_none);
}

/* ---- Condition ------------------------------------------------------------------------------------------- */

static PyObject *
Condition_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"lock", NULL};
    PyObject *lock = Py_None;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Condition", names, &lock)) {
        return NULL;
    }
    if (lock != Py_None && !Py_IS_TYPE(lock, &Lock_Type)) {
        PyErr_Format(PyExc_TypeError, "lock must be a Lock, not %.200s", Py_TYPE(lock)->tp_name);
        return NULL;
    }
    Lock *owned = lock == Py_None ? lock_new() : (Lock *)Py_NewRef(lock);
    if (owned == NULL) {
        return NULL;
    }
    Condition *self = PyObject_New(Condition, type);
    if (self == NULL) {
        Py_DECREF(owned);
        return NULL;
    }
    self->vectorcall = Condition_call;
    self->lock = owned;
    list_init(&self->queue);
    return (PyObject *)self;
}

static void
Condition_dealloc(PyObject *object)
{
    /* whoever waits holds a reference, so nobody does */
    Py_DECREF(((Condition *)object)->lock);
    PyObject_Free(object);
}

static PyObject *
Condition_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds;

    if (arguments_parse("wait()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
        seconds_from_object(timeout, "timeout", &seconds) < 0) {
        return NULL;
    }
    return wait_new(&wait_kind, object, NULL, seconds);
}

static PyObject *
Condition_wait_for(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"predicate", "timeout", NULL};
    PyObject *values[2];
    double seconds;

    if (arguments_parse("wait_for()", names, 1, args, nargs, kwnames, values) < 0 ||
        seconds_from_object(values[1], "timeout", &seconds) < 0) {
        return NULL;
    }
    if (!PyCallable_Check(values[0])) {
        PyErr_Format(PyExc_TypeError, "predicate must be callable, not %.200s",
                     Py_TYPE(values[0])->tp_name);
        return NULL;
    }
    return wait_new(&wait_for_kind, object, values[0], seconds);
}

/* Notifies up to `most`. New reference to how many, or NULL. */
static PyObject *
condition_notify(Condition *self, Py_ssize_t most)
{
    Permits *permits = &self->lock->permits;
    Owner owner = owner_current();
    Py_ssize_t count = 0;

    mutex_lock(&permits->mutex);
    bool mine = owner_equal(permits->owner, owner);
    while (mine && count < most && notify_one(self)) {
        count++;
    }
    mutex_unlock(&permits->mutex);
    if (!mine && !caller_is_unlocked()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "notifying needs the lock: do it inside of 'with (yield condition()):' or "
                        "'async with condition():'");
        return NULL;
    }
    return PyLong_FromSsize_t(count);
}

static PyObject *
Condition_notify(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"n", NULL};
    PyObject *number = NULL;
    Py_ssize_t n = 1;

    if (arguments_parse("notify()", names, 0, args, nargs, kwnames, &number) < 0 ||
        (number != NULL && size_from_object(number, "n", 0, &n) < 0)) {
        return NULL;
    }
    return condition_notify((Condition *)object, n);
}

static PyObject *
Condition_notify_all(PyObject *object, PyObject *Py_UNUSED(args))
{
    return condition_notify((Condition *)object, PY_SSIZE_T_MAX);
}

static PyObject *
Condition_get_lock(PyObject *object, void *Py_UNUSED(closure))
{
    return Py_NewRef(((Condition *)object)->lock);
}

static PyObject *
Condition_repr(PyObject *object)
{
    Condition *self = (Condition *)object;

    mutex_lock(&self->lock->permits.mutex);
    size_t waiting = waiter_count(&self->queue);
    mutex_unlock(&self->lock->permits.mutex);
    return PyUnicode_FromFormat("<Condition %zu waiting, with %R, at %p>", waiting, self->lock,
                                object);
}

PyDoc_STRVAR(acquire_doc, "acquire($self, /, timeout=None)\n--\n\n"
                          "Takes the condition's lock, as Lock.acquire() does: yield or await what "
                          "this returns, or what calling the condition\n"
                          "returns.\n\n"
                          "    with (yield condition()):\n"
                          "        ...");
PyDoc_STRVAR(release_doc, "release($self, /)\n--\n\nReleases the lock, as Lock.release() does.");
PyDoc_STRVAR(
    try_acquire_doc,
    "try_acquire($self, /)\n--\n\nTakes the lock at once and returns True, or raises WouldBlock.");
PyDoc_STRVAR(or_raise_doc,
             "or_raise($self, /)\n--\n\n"
             "Takes the lock at once, or raises WouldBlock. The result is a context manager that "
             "releases.");
PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\nIs the lock taken, by whomever? Any thread.");
PyDoc_STRVAR(
    wait_doc,
    "wait($self, /, timeout=None)\n--\n\n"
    "Releases the lock, waits to be notified and takes the lock again: yield or await what this "
    "returns; the result is None.\n\n"
    "The task holds the lock again however the wait ends, cancellation included, and even if "
    "that takes longer than `timeout`\n"
    "(seconds). Only if the run is abandoned, by a second Ctrl-C or in a deadlock, it is closed "
    "without a lock that is not free.\n"
    "It may end without a notification: look again at what is waited for, or use "
    "wait_for().\n\n"
    "Raises TimeoutError if there was no notification in time, RuntimeError if this task does not "
    "hold the lock, ValueError for a\n"
    "negative or NaN timeout.\n\n"
    "    with (yield condition()):\n"
    "        while not items:\n"
    "            yield condition.wait()");
PyDoc_STRVAR(wait_for_doc,
             "wait_for($self, /, predicate, timeout=None)\n--\n\n"
             "Waits until `predicate()` is true, and gives what it returned: yield or await what "
             "this returns.\n\n"
             "The predicate is an ordinary function; it is called with the lock held, at first and "
             "after each notification. What it\n"
             "raises comes out, with the lock held. Otherwise as wait().\n\n"
             "    with (yield condition()):\n"
             "        yield condition.wait_for(lambda: len(items) > 3)");
PyDoc_STRVAR(notify_doc, "notify($self, /, n=1)\n--\n\n"
                         "Notifies the `n` tasks that have waited longest, or as many as there "
                         "are, and returns how many: each goes on when it\n"
                         "has got the lock.\n\n"
                         "Raises RuntimeError if the caller does not hold the lock, ValueError for "
                         "a negative `n`.");
PyDoc_STRVAR(notify_all_doc, "notify_all($self, /)\n--\n\n"
                             "Notifies all tasks that wait, and returns how many.\n\n"
                             "Raises RuntimeError if the caller does not hold the lock.");

static PyMethodDef Condition_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))Condition_acquire, METH_FASTCALL | METH_KEYWORDS,
     acquire_doc},
    {"release", Condition_release, METH_NOARGS, release_doc},
    {"try_acquire", Condition_try_acquire, METH_NOARGS, try_acquire_doc},
    {"or_raise", Condition_or_raise, METH_NOARGS, or_raise_doc},
    {"locked", Condition_locked, METH_NOARGS, locked_doc},
    {"wait", (PyCFunction)(void (*)(void))Condition_wait, METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"wait_for", (PyCFunction)(void (*)(void))Condition_wait_for, METH_FASTCALL | METH_KEYWORDS,
     wait_for_doc},
    {"notify", (PyCFunction)(void (*)(void))Condition_notify, METH_FASTCALL | METH_KEYWORDS,
     notify_doc},
    {"notify_all", Condition_notify_all, METH_NOARGS, notify_all_doc},
    {"__enter__", Condition_refuse, METH_NOARGS, NULL},
    {"__exit__", Condition_refuse, METH_VARARGS, NULL},
    {"__aenter__", Condition_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))Condition_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Condition_getset[] = {
    {"lock", Condition_get_lock, NULL, "The lock that it goes with.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(Condition_doc,
             "Condition(lock=None)\n--\n\n"
             "Lets tasks that hold a lock wait until another that holds it tells them to look "
             "again.\n\n"
             "Several conditions may go with one Lock; without one it has its own. Fair. Made and "
             "shared anywhere.\n\n"
             "    with (yield condition()):\n"
             "        yield condition.wait_for(lambda: items)\n"
             "        item = items.pop()");

static PyTypeObject Condition_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Condition",
    .tp_doc = Condition_doc,
    .tp_basicsize = sizeof(Condition),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Condition, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = Condition_new,
    .tp_dealloc = Condition_dealloc,
    .tp_repr = Condition_repr,
    .tp_methods = Condition_methods,
    .tp_getset = Condition_getset,
};

int
condition_module_init(PyObject *module)
{
    if (operation_type_ready(&ConditionWait_Type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Condition_Type);
}
