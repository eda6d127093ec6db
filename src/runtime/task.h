/* A task: one flow of control that the scheduler runs, and the word that says where it stands.
 *
 * A task is a plain structure from the runtime's slabs, not a Python object. Exactly one thread owns a task at
 * a time: the worker that runs it, or whoever holds it on the way into a run queue. While it waits nobody owns
 * it; whoever claims the wait (the completer, the timer, the canceller: one of them by one compare-and-swap)
 * becomes the owner and schedules it. All other fields belong to the owner unless they say otherwise.
 *
 * The memory of a task stays a task for as long as the runtime lives, so a stale look at `state` is harmless.
 */
#ifndef TONIO_RUNTIME_TASK_H
#define TONIO_RUNTIME_TASK_H

#include "compat.h"

#include "core/inject_queue.h"
#include "core/list.h"
#include "core/timer_wheel.h"

typedef struct Task Task;
typedef struct Runtime Runtime;
typedef struct Worker Worker;
typedef struct Operation Operation;
typedef struct CancelScope CancelScope;
typedef struct TaskHandle TaskHandle;

/* What becomes of a task's outcome. `done` is called once, attached, by the worker that finished the task;
 * it steals `value` or `error` (the other is NULL). The task's memory is released after it returns. */
typedef struct Completion {
    void (*done)(struct Completion *completion, Task *task, PyObject *value, PyObject *error);
} Completion;

/* ---- the state word -------------------------------------------------------------------------------------
 *
 * A task is running (or on its way to a worker) or, with TASK_WAITING, parked. One wait ends once: whoever sets
 * TASK_CLAIMED together with a reason has ended it. A wait may be claimed while its task still runs, because
 * the task becomes visible to wakers before it has parked; then the task itself notices, when it tries to park. */
enum {
    TASK_WAITING = 1u << 0,   /* parked; cleared by the claim */
    TASK_CLAIMED = 1u << 1,   /* the present wait has ended; cleared by the owner when it goes on */
    TASK_COMPLETED = 1u << 2, /* reason: what it waited for has happened */
    TASK_TIMED_OUT = 2u << 2, /* reason: the operation's own timeout */
    TASK_CANCELLED = 3u << 2, /* reason: cancellation */
    TASK_REASON = 3u << 2,    /* mask */
    TASK_CANCEL = 1u
        << 4, /* cancellation was asked for: the owner looks at its scopes before it waits */
    TASK_UNCANCELLABLE = 1u
        << 5, /* the present wait is not ended by a cancellation (it was delivered already) */
    TASK_FREE = 1u << 6,    /* no task: the memory is in a free list */
    TASK_STOPPED = 1u << 7, /* cancelled as a whole (Join.cancel); once set, never unset */
    TASK_PROXY = 1u
        << 8, /* stands in a wait queue for the host of its `group` and never runs; never changes */
    TASK_ABANDON = 1u
        << 9, /* the run is abandoned: with TASK_CANCEL, what uncancellable waits hear, too; the owner takes it away */
};

enum {
    TASK_AWAITED = 1u << 0, /* `operation` was awaited: its result goes through its own __next__ */
    TASK_HAS_TIMER = 1u
        << 1,              /* `timer` was inserted for the present wait and may still be pending */
    TASK_FAILED = 1u << 2, /* `value` is an exception to raise */
    TASK_HAS_RESULT = 1u
        << 3, /* `value` is the outcome of `operation`, to be fetched by its __next__ */
    TASK_CANCELLING = 1u
        << 4, /* cancelled in a wait whose subject must end first; then CancelledError is raised */
    TASK_CLOSING = 1u
        << 5, /* it refused cancellation too often and is being closed by GeneratorExit */
    TASK_BARE = 1u
        << 6, /* `top` is a claimed operation that was not polled yet, with no coroutine around it */
    TASK_PINNED = 1u << 7, /* only one worker may run it: stack->worker */
    TASK_UNLOCKED = 1u
        << 8, /* the run being abandoned, it had to leave Condition.wait() without the lock */
};

/* Several waits of one task at once (select). Each has a proxy: a task that never runs, in the wait queue in its host's
 * place. Whoever claims a proxy claims the host's wait by that, so of all the waits one ends. While the host goes from queue
 * to queue the group is closed: a proxy cannot be claimed then, and who tried leaves a mark, so that the host looks again
 * at everything instead of parking. */
enum { GROUP_CLOSED = 0, GROUP_MISSED = 1, GROUP_OPEN = 2 };

typedef struct WaitGroup {
    Task *host;
    _Atomic uint32_t
        gate; /* GROUP_*; the host opens and closes it, others may only set GROUP_MISSED */
    _Atomic(Task *)
        winner; /* the proxy that was claimed; stored after the host's wait was claimed for it */
    uint32_t winner_reason; /* stored before `winner`: TASK_COMPLETED or TASK_TIMED_OUT */
} WaitGroup;

/* What is below `top`, and what few tasks need. It stays with the task's memory when that is used again. */
typedef struct TaskStack {
    uint16_t pins;   /* pinned() blocks that the task is in */
    uint16_t worker; /* the only one that may run it then (TASK_PINNED) */
    uint32_t depth;
    uint32_t capacity;
    PyObject *items[]; /* owned, outermost first */
} TaskStack;

struct Task {
    RunNode run;            /* in a run queue, or in a chain of tasks that are to be scheduled */
    _Atomic uint32_t state; /* TASK_WAITING ...; any thread, only through the functions below */
    uint16_t flags;         /* TASK_AWAITED ... */
    uint16_t swallowed;     /* cancellations in a row that its coroutines caught */
    PyObject
        *top; /* owned: innermost coroutine, or the operation that hosts what ran above it; NULL
                                   * if the task is nothing but an operation */
    TaskStack *stack; /* the coroutines which wait for `top`; NULL until the first is pushed */
    PyObject *value;  /* owned or NULL: to be sent (TASK_FAILED: raised) next */
    Operation *
        operation; /* owned or NULL: what it is parked on, is to poll again, or has the result of */
    ListNode wait; /* in a wait queue; guarded by the lock of the object that has the queue */
    TimerNode timer; /* guarded by the runtime's timer lock */
    union {
        Completion *completion; /* borrowed; NULL: nobody takes the outcome */
        WaitGroup *group;       /* of a TASK_PROXY; borrowed */
    };
    ListNode sibling;   /* in its completion's list of tasks; guarded by the completion */
    CancelScope *scope; /* innermost cancel scope that it runs in, or NULL */
    PyObject *context;  /* owned or NULL: contextvars.Context */
    TaskHandle *handle; /* borrowed or NULL: what current_task() gave out */
    uint32_t index;     /* place among its completion's tasks */
    uint32_t serial;    /* counts the tasks that this memory has been: tells two of them apart */
};

/* Tasks that somebody has claimed and is about to schedule, in order. */
typedef struct TaskChain {
    Task *first;
    Task *last;
    size_t count;
} TaskChain;

#define TASK_CHAIN_EMPTY {NULL, NULL, 0}

static inline void
task_chain_append(TaskChain *chain, Task *task)
{
    task->run.next = NULL;
    if (chain->last != NULL) {
        chain->last->run.next = &task->run;
    }
    else {
        chain->first = task;
    }
    chain->last = task;
    chain->count++;
}

/* ---- state transitions ---------------------------------------------------------------------------------- */

/* Any thread that can see the task in what it waits on, under the lock that guards it there. Ends the present wait for
 * `reason`. False: somebody else has ended it, and what was to be handed over stays with the caller. True: it is ended; if
 * the task was parked the caller owns it now, and finds it at the end of `chain`, which it schedules (scheduler_wake_chain)
 * after it has let go of its lock. */
bool task_claim(Task *task, uint32_t reason, TaskChain *chain);

/* Any thread. Asks for cancellation; `extra` is 0, or TASK_STOPPED to cancel the task as a whole, or TASK_ABANDON, which
 * uncancellable waits hear as well. A task that was waiting is claimed (reason TASK_CANCELLED) and appended to `chain`, as
 * above. */
void task_request_cancel(Task *task, uint32_t extra, TaskChain *chain);

/* Any thread. Claims a parked task as if it were cancelled, to look at it; it finds out that it is not, and waits again. True:
 * it is in `chain`. */
bool task_borrow(Task *task, TaskChain *chain);

/* Owner, after the operation was armed. True: the task is parked and no longer the caller's. False: the wait has
 * been claimed meanwhile, or a cancellation is asked for that it hears. */
bool task_try_park(Task *task);

/* Owner. The reason for which the present wait was claimed, 0 if it was not. */
uint32_t task_wait_reason(Task *task);

/* Owner. Gets ready for the next wait. Not before the task is out of the queue and its timer removed: until then the claim is
 * what keeps the timer and the completer, if they come too late, from ending the next wait instead of this one. */
void task_wait_clear(Task *task);

/* Owner. Makes the next wait deaf to cancellation; takes that back, if there was no wait. */
void task_set_uncancellable(Task *task);
void task_clear_uncancellable(Task *task);

/* Owner. The request bit: is it set, take it away (acquiring what was stored before it was set), put it back. */
static inline bool
task_cancel_requested(Task *task)
{
    /* relaxed: a request that comes later is found by task_try_park, which works on the same word */
    return (atomic_load_explicit(&task->state, memory_order_relaxed) & TASK_CANCEL) != 0;
}

void task_clear_cancel_request(Task *task);
void task_keep_cancel_request(Task *task);

/* Owner. It has heard that the run is abandoned: what follows finds out by runtime_is_abandoned(). */
void task_clear_abandon_request(Task *task);

/* Owner. */
static inline bool
task_is_stopped(Task *task)
{
    /* relaxed: task_clear_cancel_request has acquired the request that came with it */
    return (atomic_load_explicit(&task->state, memory_order_relaxed) & TASK_STOPPED) != 0;
}

/* Whose wait it is: the task itself, or the host of a proxy. For an object that remembers who has got it. */
static inline Task *
task_real(Task *task)
{
    /* relaxed: the bit was set before the task got to where the caller found it */
    return (atomic_load_explicit(&task->state, memory_order_relaxed) & TASK_PROXY)
               ? task->group->host
               : task;
}

/* ---- memory --------------------------------------------------------------------------------------------- */

/* A block of tasks. Slabs are only ever added to a runtime's list, and freed with it. They are aligned, so that a task
 * finds its slab, and through it its runtime; the size leaves room for the allocator's header, or every second page would
 * be lost to alignment. */
#define TASK_SLAB_ALIGNMENT 65536u
#define TASK_SLAB_TASKS ((TASK_SLAB_ALIGNMENT - 2 * sizeof(void *) - 16) / sizeof(Task))

typedef struct TaskSlab {
    struct TaskSlab *next;
    Runtime *runtime;
    Task tasks[TASK_SLAB_TASKS];
} TaskSlab;

/* The runtime that a task belongs to. Any thread. */
static inline Runtime *
task_runtime(const Task *task)
{
    return ((TaskSlab *)((uintptr_t)task & ~(uintptr_t)(TASK_SLAB_ALIGNMENT - 1)))->runtime;
}

/* A worker's free tasks; what is too much for it goes to the runtime's. */
typedef struct TaskCache {
    RunNode *first;
    size_t count;
} TaskCache;

/* A new task which owns `coroutine` (stolen on success; claimed by runnable_claim). NULL with MemoryError set. Attached. `cache` may be NULL (a thread that is no worker). */
Task *task_new(Runtime *runtime, TaskCache *cache, PyObject *coroutine);

/* A proxy for `group`, in no queue yet. NULL with MemoryError set. Ends with task_free. Attached. */
Task *task_new_proxy(Runtime *runtime, TaskCache *cache, WaitGroup *group);

/* Drops what the task still owns and puts its memory back. Attached; runs Python code. */
void task_free(Runtime *runtime, TaskCache *cache, Task *task);

/* Room for so many more on the stack. -1 with RecursionError or MemoryError set. */
int task_reserve(Task *task, uint32_t count);

/* Puts `coroutine` (stolen, also on failure; claimed, or the host of what comes next) on top of the stack. -1 with RecursionError or MemoryError set. */
int task_push(Task *task, PyObject *coroutine);

/* Puts `host`, an operation that hosts what is above it (stolen, also on failure), below everything else. -1 with MemoryError or
 * RecursionError set. */
int task_push_bottom(Task *task, PyObject *host);

/* A block of pinned() begins and ends. -1 with an exception set. */
int task_pin(Task *task, int worker);
void task_unpin(Task *task);

/* Takes the top off the stack: new reference, or NULL if there is none. */
PyObject *task_take(Task *task);

/* Drops the top of the stack. True if something is left. */
bool task_pop(Task *task);

/* How deep `yield` may nest coroutines in one task. */
#define TASK_MAX_DEPTH 100000u

#endif
