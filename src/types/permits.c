/* Permits: see permits.h.
 *
 * `mutex` guards everything in a Permits and in the waiters of its queue; any attached thread takes it, for some tens of
 * nanoseconds. An uncontended acquire and release are one short critical section each and never come near the scheduler.
 *
 * Fairness: whoever comes while others wait queues behind them, also if there would be enough for it, and permits that
 * come back go to the first in the queue before anybody else can take them. So a big request is not starved by small ones.
 * A waiter that leaves may have stood in the way of those behind it: they are served then.
 *
 * Invariant: while the mutex is free the first in the queue asks for more than is available.
 *
 * An owner is remembered as task and serial number, which are compared and never followed, because a task that ends without
 * releasing leaves nothing behind. Its name is kept beside it for messages. A task that holds something and ends does not
 * release it: nobody else may know whether what was guarded is whole.
 */
#include "types/permits.h"

#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "runtime/task_handle.h"
#include "types/types.h"

/* Its address stands for a thread that holds something without running a task. */
static _Thread_local char thread_owner;

/* ---- owners ---------------------------------------------------------------------------------------------- */

Owner
owner_of(const Task *task)
{
    return (Owner){task, task->serial};
}

static Task *
running_task(void)
{
    return current_worker != NULL ? current_worker->task : NULL;
}

Owner
owner_current(void)
{
    Task *task = running_task();
    return task != NULL ? owner_of(task) : (Owner){&thread_owner, 0};
}

bool
caller_is_unlocked(void)
{
    Task *task = running_task();
    return task != NULL && task_is_unlocked(task);
}

/* What a task (NULL: the calling thread) is called. New reference, or NULL without an exception: then it has no name. */
static PyObject *
owner_name(Task *task)
{
    PyObject *name = task != NULL ? task_describe(task) : PyUnicode_FromString("thread");
    if (name == NULL) {
        PyErr_Clear();
    }
    return name;
}

bool
permits_is_owner(Permits *permits, Owner owner)
{
    mutex_lock(&permits->mutex);
    bool equal = owner_equal(permits->owner, owner);
    mutex_unlock(&permits->mutex);
    return equal;
}

/* ---- taking and giving, under the mutex ------------------------------------------------------------------ */

/* Can `amount` be taken without passing anybody by? */
static bool
can_take(const Permits *permits, uint64_t amount)
{
    return permits->available >= amount && list_is_empty(&permits->queue);
}

/* `name` is stolen. Returns the number of the ownership. */
static uint64_t
own(Permits *permits, Owner owner, PyObject *name)
{
    permits->owner = owner;
    permits->name = name;
    return permits->generation = ++permits->generations;
}

bool
permits_take(Acquire *acquire, Owner owner)
{
    Permits *permits = acquire->permits;

    if (!can_take(permits, acquire->amount)) {
        return false;
    }
    permits->available -= acquire->amount;
    if (((const AcquireKind *)acquire->base.cls)->exclusive) {
        acquire->generation = own(permits, owner, acquire->name);
        acquire->name = NULL;
    }
    return true;
}

void
permits_disown(Permits *permits, uint64_t amount, PyObject **name)
{
    *name = permits->name;
    permits->name = NULL;
    permits->owner = (Owner){NULL, 0};
    permits->available += amount;
}

void
permits_serve(Permits *permits, TaskChain *chain)
{
    Waiter *waiter;

    while ((waiter = waiter_first(&permits->queue)) != NULL) {
        Acquire *acquire = LIST_ENTRY(waiter, Acquire, waiter);
        bool exclusive = ((const AcquireKind *)acquire->base.cls)->exclusive;
        uint64_t amount = acquire->amount;
        PyObject *name = acquire->name;
        if (amount > permits->available) {
            return;
        }
        list_remove(&waiter->node);
        permits->available -= amount;
        if (exclusive) {
            acquire->generation = own(permits, acquire->owner, name);
            acquire->name = NULL;
        }
        if (!waiter_claim(waiter, chain)) {
            if (exclusive) {
                permits_disown(permits, amount, &acquire->name);
            }
            else {
                permits->available += amount;
            }
        }
    }
}

/* ---- the operation --------------------------------------------------------------------------------------- */

/* relaxed: the operation comes to other threads by way of something that orders it; two that release it at once are told apart
 * under the mutex */
static AcquireState
acquire_state(Acquire *self)
{
    return atomic_load_explicit(&self->state, memory_order_relaxed);
}

static void
acquire_set_state(Acquire *self, AcquireState state)
{
    atomic_store_explicit(&self->state, state, memory_order_relaxed);
}

/* What the one who waited gets. */
static PyObject *
acquire_result(Acquire *self)
{
    if (self->async) {
        acquire_set_state(self, ACQUIRE_ENTERED);
        return Py_None;
    }
    acquire_set_state(self, ACQUIRE_HELD);
    return Py_NewRef(self);
}

OperationResult
acquire_poll(Operation *op, Task *task, PyObject **result)
{
    Acquire *self = (Acquire *)op;
    Permits *permits = self->permits;
    Owner owner = owner_of(task);

    if (((const AcquireKind *)op->cls)->exclusive && self->name == NULL) {
        self->name = owner_name(task);
    }
    mutex_lock(&permits->mutex);
    bool mine = owner_equal(permits->owner, owner);
    bool taken = permits_take(self, owner);
    mutex_unlock(&permits->mutex);
    if (taken) {
        *result = acquire_result(self);
        return OPERATION_READY;
    }
    if (mine) {
        PyErr_Format(error_type(ERROR_DEADLOCK),
                     "%s: this task holds it already and would wait for itself", op->cls->name);
        return OPERATION_ERROR;
    }
    return OPERATION_PENDING;
}

OperationResult
acquire_arm(Operation *op, Task *task, PyObject **result)
{
    Acquire *self = (Acquire *)op;
    Permits *permits = self->permits;

    self->owner = owner_of(task_real(task));
    mutex_lock(&permits->mutex);
    bool taken = permits_take(self, self->owner);
    if (!taken) {
        waiter_push(&permits->queue, &self->waiter, task);
    }
    mutex_unlock(&permits->mutex);
    if (!taken) {
        return OPERATION_PARKED;
    }
    *result = acquire_result(self);
    return OPERATION_READY;
}

OperationResult
acquire_finish(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    *result = acquire_result((Acquire *)op);
    return OPERATION_READY;
}

void
acquire_detach(Operation *op, Task *Py_UNUSED(task))
{
    Acquire *self = (Acquire *)op;
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&self->permits->mutex);
    list_remove(&self->waiter.node);
    permits_serve(self->permits, &chain);
    mutex_unlock(&self->permits->mutex);
    scheduler_wake_chain(&chain);
}

PyObject *
acquire_describe(Operation *op)
{
    return PyUnicode_FromFormat("%s of %R", op->cls->name, ((Acquire *)op)->object);
}

void
acquire_init(Acquire *self, const AcquireKind *kind, PyObject *object, Permits *permits,
             uint64_t amount, double timeout)
{
    operation_init(&self->base, &kind->cls, OPERATION_NEW, timeout);
    list_node_init(&self->waiter.node);
    self->permits = permits;
    self->object = Py_NewRef(object);
    self->amount = amount;
    self->name = NULL;
    atomic_init(&self->state, ACQUIRE_NEW);
    self->async = false;
}

Acquire *
acquire_new(const AcquireKind *kind, PyObject *object, Permits *permits, uint64_t amount,
            double timeout)
{
    Acquire *self = PyObject_New(Acquire, &Acquire_Type);

    if (self != NULL) {
        acquire_init(self, kind, object, permits, amount, timeout);
    }
    return self;
}

PyObject *
acquire_new_async(const AcquireKind *kind, PyObject *object, Permits *permits, uint64_t amount)
{
    Acquire *self = acquire_new(kind, object, permits, amount, -1.0);
    if (self != NULL) {
        self->async = true;
    }
    return (PyObject *)self;
}

static void
Acquire_dealloc(PyObject *object)
{
    Acquire *self = (Acquire *)object;

    operation_dealloc_warn(&self->base);
    Py_XDECREF(self->name);
    Py_DECREF(self->object);
    PyObject_Free(object);
}

/* ---- without waiting ------------------------------------------------------------------------------------- */

int
permits_try(const AcquireKind *kind, Permits *permits, uint64_t amount, uint64_t *generation)
{
    PyObject *name = kind->exclusive ? owner_name(running_task()) : NULL;

    mutex_lock(&permits->mutex);
    bool taken = can_take(permits, amount);
    if (taken) {
        permits->available -= amount;
        if (kind->exclusive) {
            *generation = own(permits, owner_current(), name);
            name = NULL;
        }
    }
    mutex_unlock(&permits->mutex);
    Py_XDECREF(name);
    if (!taken) {
        PyErr_Format(error_type(ERROR_WOULD_BLOCK), "%s would have to wait", kind->cls.name);
        return -1;
    }
    return 0;
}

PyObject *
acquire_or_raise(const AcquireKind *kind, PyObject *object, Permits *permits, uint64_t amount)
{
    Acquire *self = acquire_new(kind, object, permits, amount, -1.0);

    if (self == NULL) {
        return NULL;
    }
    /* relaxed: nobody else has it yet */
    atomic_store_explicit(&self->base.use, OPERATION_CLAIMED, memory_order_relaxed);
    if (permits_try(kind, permits, amount, &self->generation) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    acquire_set_state(self, ACQUIRE_HELD);
    return (PyObject *)self;
}

/* Under the mutex. False: there would be too many. */
static bool
give(Permits *permits, uint64_t amount, TaskChain *chain)
{
    if (amount > permits->most - permits->available) {
        return false;
    }
    permits->available += amount;
    permits_serve(permits, chain);
    return true;
}

static int
refuse_to_give(const Permits *permits)
{
    PyErr_Format(PyExc_ValueError,
                 "released too often: there would be more than %llu tokens (max_value)",
                 (unsigned long long)permits->most);
    return -1;
}

int
permits_give(Permits *permits, uint64_t amount)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&permits->mutex);
    bool given = give(permits, amount, &chain);
    mutex_unlock(&permits->mutex);
    if (!given) {
        return refuse_to_give(permits);
    }
    scheduler_wake_chain(&chain);
    return 0;
}

int
permits_give_owned(Permits *permits, uint64_t amount, const char *what)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    Owner owner = owner_current();
    PyObject *name = NULL;

    mutex_lock(&permits->mutex);
    bool owned = permits->owner.who != NULL;
    bool mine = owner_equal(permits->owner, owner);
    if (mine) {
        permits_disown(permits, amount, &name);
        permits_serve(permits, &chain);
    }
    else {
        name = Py_XNewRef(permits->name);
    }
    mutex_unlock(&permits->mutex);
    scheduler_wake_chain(&chain);
    bool passes = mine || caller_is_unlocked();
    if (!passes && owned) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s is held by another task, '%V': only that may release it", what, name,
                     "unknown");
    }
    else if (!passes) {
        PyErr_Format(PyExc_RuntimeError, "%s is not locked: there is nothing to release", what);
    }
    Py_XDECREF(name);
    return passes ? 0 : -1;
}

/* Gives back what this operation took, whoever calls. */
static int
acquire_give(Acquire *self)
{
    Permits *permits = self->permits;
    TaskChain chain = TASK_CHAIN_EMPTY;
    PyObject *name = NULL;
    bool mine = false;
    bool given = true;

    mutex_lock(&permits->mutex);
    if (acquire_state(self) != ACQUIRE_RELEASED) {
        acquire_set_state(self, ACQUIRE_RELEASED);
        if (!((const AcquireKind *)self->base.cls)->exclusive) {
            mine = true;
            given = give(permits, self->amount, &chain);
        }
        else if (permits->owner.who != NULL && permits->generation == self->generation) {
            mine = true;
            permits_disown(permits, self->amount, &name);
            permits_serve(permits, &chain);
        }
    }
    mutex_unlock(&permits->mutex);
    scheduler_wake_chain(&chain);
    Py_XDECREF(name);
    if (!mine && !caller_is_unlocked()) {
        PyErr_Format(PyExc_RuntimeError, "%s: it was released already", self->base.cls->name);
        return -1;
    }
    return given ? 0 : refuse_to_give(permits);
}

/* ---- with ------------------------------------------------------------------------------------------------ */

PyObject *
with_refused(const char *what, const char *forms)
{
    PyErr_Format(PyExc_TypeError, "%s cannot be used like this: write %s", what, forms);
    return NULL;
}

static PyObject *
Acquire_refuse(Acquire *self)
{
    static const char *const states[] = {
        [ACQUIRE_NEW] = "an operation that was not waited for",
        [ACQUIRE_HELD] = "what was acquired already",
        [ACQUIRE_ENTERED] = "what is in use by another with block",
        [ACQUIRE_RELEASED] = "what was released already",
    };
    uint8_t expected = OPERATION_NEW;

    /* the error says it; a warning that it was never awaited would not help. relaxed: as in operation_claim */
    atomic_compare_exchange_strong_explicit(&self->base.use, &expected, OPERATION_CLAIMED,
                                            memory_order_relaxed, memory_order_relaxed);
    return with_refused(states[acquire_state(self)], ((const AcquireKind *)self->base.cls)->forms);
}

static PyObject *
Acquire_enter(PyObject *object, PyObject *Py_UNUSED(args))
{
    Acquire *self = (Acquire *)object;

    if (acquire_state(self) != ACQUIRE_HELD) {
        return Acquire_refuse(self);
    }
    acquire_set_state(self, ACQUIRE_ENTERED);
    return Py_NewRef(object);
}

static PyObject *
Acquire_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    Acquire *self = (Acquire *)object;

    if (acquire_state(self) == ACQUIRE_RELEASED) {
        Py_RETURN_NONE; /* by release(), inside the block */
    }
    return acquire_give(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
Acquire_aenter(PyObject *object, PyObject *Py_UNUSED(args))
{
    Acquire *self = (Acquire *)object;

    /* relaxed: decides about a message; of two tasks the second gets an error when it awaits */
    if (atomic_load_explicit(&self->base.use, memory_order_relaxed) != OPERATION_NEW) {
        return Acquire_refuse(self);
    }
    self->async = true;
    return Py_NewRef(object);
}

static PyObject *
Acquire_aexit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    Acquire *self = (Acquire *)object;

    if (acquire_state(self) != ACQUIRE_RELEASED && acquire_give(self) < 0) {
        return NULL;
    }
    return Py_NewRef(ready_none);
}

static PyObject *
Acquire_release(PyObject *object, PyObject *Py_UNUSED(args))
{
    Acquire *self = (Acquire *)object;

    if (acquire_state(self) != ACQUIRE_HELD && acquire_state(self) != ACQUIRE_ENTERED) {
        PyErr_Format(PyExc_RuntimeError, "%s: %s", self->base.cls->name,
                     acquire_state(self) == ACQUIRE_NEW ? "it was not acquired"
                                                        : "it was released already");
        return NULL;
    }
    return acquire_give(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
Acquire_repr(PyObject *object)
{
    static const char *const states[] = {
        [ACQUIRE_NEW] = "not acquired",
        [ACQUIRE_HELD] = "acquired",
        [ACQUIRE_ENTERED] = "acquired",
        [ACQUIRE_RELEASED] = "released",
    };
    Acquire *self = (Acquire *)object;
    return PyUnicode_FromFormat("<operation %s, %s, of %R>", self->base.cls->name,
                                states[acquire_state(self)], self->object);
}

PyDoc_STRVAR(Acquire_release_doc,
             "release($self, /)\n--\n\n"
             "Gives back what was acquired, before the end of the `with` block or without one. "
             "Any thread.\n\n"
             "Raises RuntimeError if it was not acquired, or was released already.");

static PyMethodDef Acquire_methods[] = {
    {"__enter__", Acquire_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))Acquire_exit, METH_FASTCALL, NULL},
    {"__aenter__", Acquire_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))Acquire_aexit, METH_FASTCALL, NULL},
    {"release", Acquire_release, METH_NOARGS, Acquire_release_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Acquire_doc,
             "What acquires: an operation to wait for once, and then the context manager that "
             "releases.\n\n"
             "    with (yield lock()):\n"
             "        ...\n\n"
             "    async with lock():\n"
             "        ...");

PyTypeObject Acquire_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Acquire",
    .tp_doc = Acquire_doc,
    .tp_basicsize = sizeof(Acquire),
    .tp_dealloc = Acquire_dealloc,
    .tp_repr = Acquire_repr,
    .tp_methods = Acquire_methods,
};

/* ---- ready at once --------------------------------------------------------------------------------------- */

static PyObject *
ready_self(PyObject *self)
{
    return Py_NewRef(self);
}

static PyObject *
ready_next(PyObject *Py_UNUSED(self))
{
    return NULL; /* the end, with None as the result */
}

static PyAsyncMethods ready_async = {
    .am_await = ready_self,
};

static PyTypeObject Ready_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Ready",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_async = &ready_async,
    .tp_iter = ready_self,
    .tp_iternext = ready_next,
};

static struct {
    PyObject ob_base;
} ready = {PyObject_HEAD_INIT(&Ready_Type)};

PyObject *const ready_none = (PyObject *)&ready;

/* ---- the rest -------------------------------------------------------------------------------------------- */

void
permits_init(Permits *permits, uint64_t available, uint64_t most)
{
    permits->mutex = (Mutex){0};
    permits->available = available;
    permits->most = most;
    list_init(&permits->queue);
    permits->owner = (Owner){NULL, 0};
    permits->name = NULL;
    permits->generation = 0;
}

void
permits_clear(Permits *permits)
{
    /* whoever waits holds a reference to the object, so nobody does */
    Py_CLEAR(permits->name);
}

PermitsState
permits_state(Permits *permits)
{
    mutex_lock(&permits->mutex);
    PermitsState state = {
        .available = permits->available,
        .waiting = waiter_count(&permits->queue),
        .owned = permits->owner.who != NULL,
        .name = Py_XNewRef(permits->name),
    };
    mutex_unlock(&permits->mutex);
    return state;
}

int
permits_module_init(PyObject *module)
{
    if (operation_type_ready(&Acquire_Type) < 0 || PyType_Ready(&Ready_Type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Acquire_Type);
}
