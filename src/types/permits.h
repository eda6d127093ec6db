/* Permits: a number of them, a fair queue for who waits for some, and the operation that takes them.
 *
 * Lock, Semaphore and RwLock are made of this: a lock is one permit, a reader of a RwLock takes one and a writer all. What is
 * taken by an `exclusive` kind has an owner, the task (or thread) that took it.
 */
#ifndef TONIO_TYPES_PERMITS_H
#define TONIO_TYPES_PERMITS_H

#include "runtime/operation.h"
#include "types/waiters.h"

/* More than anybody can have: a writer takes this many, and there are as many. */
#define PERMITS_ALL ((uint64_t)1 << 62)

/* Who holds something: a task, or a thread that runs none. Only ever compared: the task may have ended and its memory be
 * another task's, or no task's. */
typedef struct Owner {
    const void *who; /* NULL: nobody */
    uint32_t serial;
} Owner;

typedef struct Permits {
    Mutex mutex; /* guards all of this and the waiters */
    uint64_t available;
    uint64_t most;        /* there may never be more */
    List queue;           /* of Acquire, by waiter */
    Owner owner;          /* of what an exclusive kind has taken */
    PyObject *name;       /* owned or NULL: what that owner is called */
    uint64_t generation;  /* which of the owners there were this one is */
    uint64_t generations; /* how many there were */
} Permits;

/* A kind of acquiring: the operation class with more to it. */
typedef struct AcquireKind {
    OperationClass cls;
    bool exclusive;
    const char *forms; /* how it is used, for an error message */
} AcquireKind;

typedef enum AcquireState {
    ACQUIRE_NEW = 0,
    ACQUIRE_HELD,    /* the permits were taken */
    ACQUIRE_ENTERED, /* and a `with` block was entered, which will give them back */
    ACQUIRE_RELEASED,
} AcquireState;

/* The operation that takes permits, and afterwards the context manager that gives them back. */
typedef struct Acquire {
    Operation base;
    Waiter waiter;
    Permits *permits; /* part of `object` */
    PyObject *object; /* owned */
    uint64_t amount;
    uint64_t generation;   /* exclusive: which of the owners this is */
    Owner owner;           /* who waits, to become the owner */
    PyObject *name;        /* owned or NULL; goes to the permits with the ownership */
    _Atomic uint8_t state; /* AcquireState; ACQUIRE_RELEASED is set under the mutex */
    bool async;            /* used by `async with`, which takes no context manager */
} Acquire;

extern PyTypeObject Acquire_Type;

/* Parts of an AcquireKind's class. */
OperationResult acquire_poll(Operation *op, Task *task, PyObject **result);
OperationResult acquire_arm(Operation *op, Task *task, PyObject **result);
OperationResult acquire_finish(Operation *op, Task *task, PyObject **result);
void acquire_detach(Operation *op, Task *task);
PyObject *acquire_describe(Operation *op);

void permits_init(Permits *permits, uint64_t available, uint64_t most);
void permits_clear(Permits *permits);

/* Fills in what follows the object's head. */
void acquire_init(Acquire *self, const AcquireKind *kind, PyObject *object, Permits *permits,
                  uint64_t amount, double timeout);

/* A fresh operation that takes `amount` of the permits of `object`: new reference or NULL. */
Acquire *acquire_new(const AcquireKind *kind, PyObject *object, Permits *permits, uint64_t amount,
                     double timeout);
/* The same for `async with`: the awaitable for __aenter__. */
PyObject *acquire_new_async(const AcquireKind *kind, PyObject *object, Permits *permits,
                            uint64_t amount);

/* Takes them at once. Exclusive ones are owned by the calling task, or thread. 0, or -1 with WouldBlock set. */
int permits_try(const AcquireKind *kind, Permits *permits, uint64_t amount, uint64_t *generation);

/* The same: new reference to the context manager that gives them back. */
PyObject *acquire_or_raise(const AcquireKind *kind, PyObject *object, Permits *permits,
                           uint64_t amount);

/* Gives `amount` back, and on to who waits. -1 with ValueError set if there would be more than there may be. */
int permits_give(Permits *permits, uint64_t amount);

/* Gives back what the calling task or thread owns. -1 with RuntimeError set ("`what` is ...") if it owns nothing. */
int permits_give_owned(Permits *permits, uint64_t amount, const char *what);

/* The calling task, or thread. A task (not a proxy). */
Owner owner_current(void);
Owner owner_of(const Task *task);

/* Did the run, being abandoned, have the task leave Condition.wait() without the lock? Then what it does with locks that it
 * does not hold is passed over. The owner of the task asks. */
static inline bool
task_is_unlocked(const Task *task)
{
    return (task->flags & TASK_UNLOCKED) != 0;
}

/* The same of the calling task, if there is one. */
bool caller_is_unlocked(void);

static inline bool
owner_equal(Owner a, Owner b)
{
    return a.who == b.who && a.serial == b.serial;
}

/* Is it the owner? Takes the mutex. */
bool permits_is_owner(Permits *permits, Owner owner);

/* Under the mutex: takes what `acquire` wants if that passes nobody by. True: it has it. */
bool permits_take(Acquire *acquire, Owner owner);

/* Under the mutex: hands permits to those first in the queue for whom there are enough. */
void permits_serve(Permits *permits, TaskChain *chain);

/* Under the mutex, by the exclusive owner that it is taken from: its permits are free. *name is to be dropped afterwards. */
void permits_disown(Permits *permits, uint64_t amount, PyObject **name);

/* What the owner is called (new reference, or NULL: nobody, or not known), how many wait, how many are available. */
typedef struct PermitsState {
    uint64_t available;
    size_t waiting;
    bool owned;
    PyObject *name;
} PermitsState;
PermitsState permits_state(Permits *permits);

/* What `async with` awaits when it leaves: it is ready at once, and the result is None. Borrowed, immortal. */
extern PyObject *const ready_none;

/* `with` on something that cannot be used so: TypeError saying which form is right. NULL. */
PyObject *with_refused(const char *what, const char *forms);

#endif
