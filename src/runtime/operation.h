/* Operation: the one kind of object that a coroutine can yield or await.
 *
 * `yield operation` gives the object to the run loop. `await operation` calls its __next__ (operation_next), which
 * tries it at once and only if it is not ready hands the object to the run loop. From there both are the same: the
 * run loop arms the operation once the coroutine has really suspended, because from that moment any other
 * thread may resume the task.
 *
 * An operation is used once: it is claimed by the first task that yields or awaits it. Joins are the exception
 * (OPERATION_SHARED): they keep no state of their own for a wait, so any number of tasks may wait for one.
 *
 * All functions of the class are called attached, by the worker that owns the task.
 */
#ifndef TONIO_RUNTIME_OPERATION_H
#define TONIO_RUNTIME_OPERATION_H

#include "runtime/task.h"

typedef enum OperationResult {
    OPERATION_READY,   /* done; *result is a new reference */
    OPERATION_PENDING, /* not yet: arm it */
    OPERATION_ERROR,   /* failed; an exception is set */
    OPERATION_PARKED,  /* arm only: the task is in the wait queue (or needs none) */
    OPERATION_HOSTS, /* poll only: *result is a coroutine (new reference) to run inside this operation */
    OPERATION_REQUEUE, /* poll only: let other tasks run, then poll again */
} OperationResult;

typedef struct OperationClass {
    const char *name; /* for messages: "Event.wait()" */

    /* The wait is ended by something that no task of ours has to do: a descriptor, a thread, a signal. A run in which all
     * tasks wait, but one like this, is no deadlock. */
    bool from_outside;

    /* What the task waits for, for people ("Lock at 0x..., held by task f"): new reference to a str, or NULL with an exception
     * set. Called attached while the task is parked and stays so. NULL: `name` says it. */
    PyObject *(*describe)(Operation *op);

    /* Tries to finish at once. */
    OperationResult (*poll)(Operation *op, Task *task, PyObject **result);

    /* Makes the task visible to what will wake it; looks again under that thing's lock. READY, ERROR, PARKED, or
     * PENDING for "poll me again". The coroutine is suspended; nothing of the task may be touched after PARKED
     * became visible except through its state word. */
    OperationResult (*arm)(Operation *op, Task *task, PyObject **result);

    /* The wait was claimed as completed: takes the result. PENDING: it was a false alarm, arm again. NULL: same
     * as poll. */
    OperationResult (*finish)(Operation *op, Task *task, PyObject **result);

    /* The wait was claimed by a timeout or a cancellation: takes the task out of the wait queue. */
    void (*detach)(Operation *op, Task *task);

    /* After detach, for the operation's own timeout. NULL: raises TimeoutError. */
    OperationResult (*timed_out)(Operation *op, Task *task, PyObject **result);

    /* A cancellation is in force: the wait was ended by it (and detached), or does not begin. READY: CancelledError is raised
     * now. PENDING: the operation owns something that must end first; it is polled again and waits uncancellably. What it
     * then gives is replaced by CancelledError, except an error of its own, or if `settles` is set. NULL: READY. */
    OperationResult (*cancelled)(Operation *op, Task *task);
    bool settles;

    /* The run is abandoned, and the operation would wait uncancellably (after detach, if it did already): it gives up what
     * kept it, and the task is closed. NULL: it goes on waiting, because that is for tasks or jobs, which are ended as well. */
    void (*abandoned)(Operation *op, Task *task);

    /* It waits through a WaitGroup: `detach` is called after every wait, however that has ended. */
    bool grouped;

    /* For operations that host a coroutine: it has ended with `value` or `error` (both stolen, one is NULL). PENDING: it is
     * to be polled (and armed, and so on) like any other before it gives a result. */
    OperationResult (*hosted_ended)(Operation *op, Task *task, PyObject *value, PyObject *error,
                                    PyObject **result);
} OperationClass;

enum {
    OPERATION_NEW = 0,
    OPERATION_CLAIMED = 1,
    OPERATION_SHARED = 2, /* never claimed, never warns */
};

struct Operation {
    PyObject_HEAD const OperationClass *cls;
    _Atomic uint8_t use; /* OPERATION_NEW ...; changed once by a compare-and-swap */
    uint8_t awaited;     /* owner task: it hosts a coroutine and was awaited */
    double timeout;      /* seconds, counted from the first wait; negative: none */
    uint64_t
        deadline; /* owner task: where the timeout ends, microseconds; 0 before the first wait */
};

/* The base type of all operations; it has no constructor. */
extern PyTypeObject Operation_Type;

/* tp_iternext of every operation: this is how one is recognised. */
PyObject *operation_next(PyObject *self);

static inline bool
operation_check(PyObject *object)
{
    return Py_TYPE(object)->tp_iternext == operation_next;
}

/* Fills in the base of a fresh object. */
static inline void
operation_init(Operation *op, const OperationClass *cls, uint8_t use, double timeout)
{
    op->cls = cls;
    op->awaited = 0;
    op->timeout = timeout;
    op->deadline = 0;
    atomic_init(&op->use, use);
}

/* Claims an operation for the calling task. -1 with RuntimeError set if it was used before. */
int operation_claim(Operation *op);

/* Sees to it that this worker can hand on the result of an `await`. -1 with an exception set. */
int operation_prepare_next(Worker *worker);

/* The first time it begins to wait: its timeout, if it has one, becomes a deadline. Is there a deadline? */
bool operation_set_deadline(Operation *op);

/* Sets the TimeoutError for an operation that has none of its own. */
void operation_set_timed_out(Operation *op);

/* Warns of an operation that nobody has waited for, which is going to be freed. */
void operation_warn_unused(Operation *op);

/* First thing in a dealloc: warns if the operation was never yielded or awaited. */
static inline void
operation_dealloc_warn(Operation *op)
{
    /* relaxed: nobody else has the object any more */
    if (atomic_load_explicit(&op->use, memory_order_relaxed) == OPERATION_NEW) {
        operation_warn_unused(op);
    }
}

/* tp_flags, am_await and so on that all operations share; called before PyType_Ready. */
int operation_type_ready(PyTypeObject *type);

/* Converts an optional number of seconds. *seconds is -1.0 for None and for infinity. -1 with an exception that
 * names `argument` for a wrong type, NaN or a negative number. */
int seconds_from_object(PyObject *object, const char *argument, double *seconds);

#endif
