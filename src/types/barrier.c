/* Barrier: tasks wait for each other until a number of them has arrived; then all go on, and the next round begins.
 *
 * `mutex` guards everything; any attached thread may arrive with ack(). The one that arrives last does not wait: it ends the
 * round for all others.
 *
 * A waiter that gives up (timeout, cancellation, another branch of a select) leaves: its arrival is taken back as if it had
 * never come, and those that came after it move up by one, so that the numbers of a round stay 0 to value - 1. It can leave
 * until the round is over; after that it has arrived, even if its task is cancelled before it goes on.
 *
 * Invariant: while the mutex is free fewer than `parties` have arrived, and those of them that wait are in `queue` in the order
 * of their numbers.
 */
#include "errors.h"
#include "runtime/scheduler.h"
#include "types/types.h"
#include "types/waiters.h"

typedef struct Barrier {
    PyObject_HEAD Mutex mutex;
    uint32_t parties; /* never changes */
    uint32_t arrived; /* in this round */
    bool broken;
    List queue; /* of BarrierWait, by waiter */
} Barrier;

typedef struct BarrierWait {
    Operation base;
    Waiter waiter;
    Barrier *barrier; /* owned */
    uint32_t number;  /* its place among the arrivals */
    uint8_t outcome;  /* WAIT_*; guarded by the barrier's mutex */
    bool armed;       /* owner task: it has been in the queue */
} BarrierWait;

enum { WAIT_OPEN = 0, WAIT_PASSED, WAIT_BROKEN };

static PyTypeObject BarrierWait_Type;
static PyTypeObject Barrier_Type;

/* ---- arriving -------------------------------------------------------------------------------------------- */

static void
set_broken(void)
{
    PyErr_SetString(error_type(ERROR_RESOURCE_BROKEN),
                    "the barrier was broken by abort(): reset() makes it usable again");
}

/* Under the mutex: nobody waits any longer. */
static void
end_round(Barrier *self, uint8_t outcome, TaskChain *chain)
{
    Waiter *waiter;

    self->arrived = 0;
    while ((waiter = waiter_pop(&self->queue)) != NULL) {
        LIST_ENTRY(waiter, BarrierWait, waiter)->outcome = outcome;
        waiter_claim(waiter, chain); /* or it is just giving up: too late, it has arrived */
    }
}

typedef enum Arrival { ARRIVAL_LAST, ARRIVAL_NOT_LAST, ARRIVAL_BROKEN } Arrival;

/* Arrives with the number *number. With `only_last` just if that ends the round. */
static Arrival
arrive(Barrier *self, bool only_last, uint32_t *number)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    Arrival arrival = ARRIVAL_BROKEN;

    mutex_lock(&self->mutex);
    if (!self->broken) {
        *number = self->arrived;
        arrival = *number + 1 == self->parties ? ARRIVAL_LAST : ARRIVAL_NOT_LAST;
        if (arrival == ARRIVAL_LAST) {
            end_round(self, WAIT_PASSED, &chain);
        }
        else if (!only_last) {
            self->arrived++;
        }
    }
    mutex_unlock(&self->mutex);
    scheduler_wake_chain(&chain);
    return arrival;
}

static OperationResult
number_result(uint32_t number, PyObject **result)
{
    *result = PyLong_FromUnsignedLong(number);
    return *result != NULL ? OPERATION_READY : OPERATION_ERROR;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

/* What came of having been in the queue, PENDING if nothing did. */
static OperationResult
wait_outcome(BarrierWait *self, PyObject **result)
{
    mutex_lock(&self->barrier->mutex);
    uint8_t outcome = self->outcome;
    mutex_unlock(&self->barrier->mutex);
    if (outcome == WAIT_PASSED) {
        return number_result(self->number, result);
    }
    if (outcome == WAIT_BROKEN) {
        set_broken();
        return OPERATION_ERROR;
    }
    return OPERATION_PENDING;
}

static OperationResult
wait_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    BarrierWait *self = (BarrierWait *)op;
    uint32_t number;

    if (self->armed) {
        /* again, because the wait was disturbed: perhaps the round ended just then */
        OperationResult outcome = wait_outcome(self, result);
        if (outcome != OPERATION_PENDING) {
            return outcome;
        }
    }
    switch (arrive(((BarrierWait *)op)->barrier, true, &number)) {
    case ARRIVAL_LAST:
        return number_result(number, result);
    case ARRIVAL_NOT_LAST:
        return OPERATION_PENDING;
    default:
        set_broken();
        return OPERATION_ERROR;
    }
}

static OperationResult
wait_arm(Operation *op, Task *task, PyObject **Py_UNUSED(result))
{
    BarrierWait *self = (BarrierWait *)op;
    Barrier *barrier = self->barrier;

    mutex_lock(&barrier->mutex);
    bool waits = !barrier->broken && barrier->arrived + 1 < barrier->parties;
    if (waits) {
        self->number = barrier->arrived++;
        self->armed = true;
        waiter_push(&barrier->queue, &self->waiter, task);
    }
    mutex_unlock(&barrier->mutex);
    return waits ? OPERATION_PARKED
                 : OPERATION_PENDING; /* it is the last one now: poll does that */
}

static OperationResult
wait_finish(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    return wait_outcome((BarrierWait *)op, result);
}

static void
wait_detach(Operation *op, Task *Py_UNUSED(task))
{
    BarrierWait *self = (BarrierWait *)op;
    Barrier *barrier = self->barrier;

    mutex_lock(&barrier->mutex);
    if (list_node_is_linked(&self->waiter.node)) {
        ListNode *node = self->waiter.node.next;
        for (; node != &barrier->queue.head; node = node->next) {
            LIST_ENTRY(node, BarrierWait, waiter.node)->number--;
        }
        list_remove(&self->waiter.node);
        barrier->arrived--;
    }
    mutex_unlock(&barrier->mutex);
}

static PyObject *
wait_describe(Operation *op)
{
    return PyUnicode_FromFormat("%s of %R", op->cls->name, ((BarrierWait *)op)->barrier);
}

static const OperationClass wait_class = {
    .name = "Barrier.wait()",
    .describe = wait_describe,
    .poll = wait_poll,
    .arm = wait_arm,
    .finish = wait_finish,
    .detach = wait_detach,
};

static void
BarrierWait_dealloc(PyObject *self)
{
    operation_dealloc_warn((Operation *)self);
    Py_DECREF(((BarrierWait *)self)->barrier);
    PyObject_Free(self);
}

static PyTypeObject BarrierWait_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.BarrierWait",
    .tp_basicsize = sizeof(BarrierWait),
    .tp_dealloc = BarrierWait_dealloc,
};

/* ---- Barrier --------------------------------------------------------------------------------------------- */

static PyObject *
Barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", NULL};
    PyObject *object;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Barrier", names, &object)) {
        return NULL;
    }
    Py_ssize_t value;
    if (size_from_object(object, "value", 1, &value) < 0) {
        return NULL;
    }
    if (value > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "value must be at most %d, not %zd", INT32_MAX, value);
        return NULL;
    }
    Barrier *self = PyObject_New(Barrier, type);
    if (self == NULL) {
        return NULL;
    }
    self->mutex = (Mutex){0};
    self->parties = (uint32_t)value;
    self->arrived = 0;
    self->broken = false;
    list_init(&self->queue);
    return (PyObject *)self;
}

static void
Barrier_dealloc(PyObject *self)
{
    /* whoever waits holds a reference, so nobody does */
    PyObject_Free(self);
}

static PyObject *
Barrier_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    double seconds = -1.0;

    if ((nargs != 0 || kwnames != NULL) &&
        (arguments_parse("wait()", names, 0, args, nargs, kwnames, &timeout) < 0 ||
         seconds_from_object(timeout, "timeout", &seconds) < 0)) {
        return NULL;
    }
    BarrierWait *op = PyObject_New(BarrierWait, &BarrierWait_Type);
    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &wait_class, OPERATION_NEW, seconds);
    list_node_init(&op->waiter.node);
    op->barrier = (Barrier *)Py_NewRef(object);
    op->outcome = WAIT_OPEN;
    op->armed = false;
    return (PyObject *)op;
}

static PyObject *
Barrier_ack(PyObject *object, PyObject *Py_UNUSED(args))
{
    uint32_t number;

    if (arrive((Barrier *)object, false, &number) == ARRIVAL_BROKEN) {
        set_broken();
        return NULL;
    }
    return PyLong_FromUnsignedLong(number);
}

/* The state, as it is at one moment. */
static Barrier
barrier_look(Barrier *self, size_t *waiting)
{
    mutex_lock(&self->mutex);
    Barrier copy = {.parties = self->parties, .arrived = self->arrived, .broken = self->broken};
    *waiting = waiter_count(&self->queue);
    mutex_unlock(&self->mutex);
    return copy;
}

static PyObject *
Barrier_value(PyObject *object, PyObject *Py_UNUSED(args))
{
    size_t waiting;
    return PyLong_FromUnsignedLong(barrier_look((Barrier *)object, &waiting).arrived);
}

static PyObject *
Barrier_broken(PyObject *object, PyObject *Py_UNUSED(args))
{
    size_t waiting;
    return PyBool_FromLong(barrier_look((Barrier *)object, &waiting).broken);
}

static PyObject *
Barrier_abort(PyObject *object, PyObject *Py_UNUSED(args))
{
    Barrier *self = (Barrier *)object;
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&self->mutex);
    self->broken = true;
    end_round(self, WAIT_BROKEN, &chain);
    mutex_unlock(&self->mutex);
    scheduler_wake_chain(&chain);
    Py_RETURN_NONE;
}

static PyObject *
Barrier_reset(PyObject *object, PyObject *Py_UNUSED(args))
{
    Barrier *self = (Barrier *)object;

    mutex_lock(&self->mutex);
    self->broken = false;
    mutex_unlock(&self->mutex);
    Py_RETURN_NONE;
}

static PyObject *
Barrier_repr(PyObject *object)
{
    size_t waiting;
    Barrier state = barrier_look((Barrier *)object, &waiting);
    return PyUnicode_FromFormat("<Barrier %u of %u arrived, %zu waiting%s, at %p>", state.arrived,
                                state.parties, waiting, state.broken ? ", broken" : "", object);
}

PyDoc_STRVAR(wait_doc, "wait($self, /, timeout=None)\n--\n\n"
                       "Arrives, and waits until as many have as the barrier was made for: yield "
                       "or await what this returns.\n\n"
                       "The result is the place in the order of arrival, from 0; the last one does "
                       "not wait. Who is cancelled, or whose\n"
                       "`timeout` (seconds) ends before the round is over, leaves: it has not "
                       "arrived, and another is needed.\n\n"
                       "Raises TimeoutError, ResourceBroken if somebody calls abort(), ValueError "
                       "for a negative or NaN timeout.\n\n"
                       "    place = yield barrier.wait()");
PyDoc_STRVAR(ack_doc,
             "ack($self, /)\n--\n\n"
             "Arrives without waiting; returns the place in the order of arrival, from 0. Any "
             "thread.\n\n"
             "Raises ResourceBroken after abort().");
PyDoc_STRVAR(value_doc, "value($self, /)\n--\n\nHow many have arrived in this round. Any thread.");
PyDoc_STRVAR(broken_doc, "broken($self, /)\n--\n\nWas it broken by abort()? Any thread.");
PyDoc_STRVAR(abort_doc,
             "abort($self, /)\n--\n\n"
             "Breaks the barrier: all who wait and all who come get ResourceBroken, until reset(). "
             "For one who cannot arrive any more,\n"
             "as when it fails. Any thread.");
PyDoc_STRVAR(reset_doc, "reset($self, /)\n--\n\n"
                        "Makes a broken barrier usable again, with nobody arrived. Otherwise does "
                        "nothing. Any thread.");

static PyMethodDef Barrier_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))Barrier_wait, METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"ack", Barrier_ack, METH_NOARGS, ack_doc},
    {"value", Barrier_value, METH_NOARGS, value_doc},
    {"broken", Barrier_broken, METH_NOARGS, broken_doc},
    {"abort", Barrier_abort, METH_NOARGS, abort_doc},
    {"reset", Barrier_reset, METH_NOARGS, reset_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Barrier_doc,
             "Barrier(value)\n--\n\n"
             "Lets `value` tasks wait for each other, round after round. Made and shared "
             "anywhere.\n\n"
             "    place = yield barrier.wait()");

static PyTypeObject Barrier_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Barrier",
    .tp_doc = Barrier_doc,
    .tp_basicsize = sizeof(Barrier),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Barrier_new,
    .tp_dealloc = Barrier_dealloc,
    .tp_repr = Barrier_repr,
    .tp_methods = Barrier_methods,
};

int
barrier_module_init(PyObject *module)
{
    if (operation_type_ready(&BarrierWait_Type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, &Barrier_Type);
}
