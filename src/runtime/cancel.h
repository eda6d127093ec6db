/* Cancel scope: a part of a task's life, together with the tasks that were started in it, that is cancelled as one.
 *
 * Scopes form a tree. Upwards: each task has a chain, from the innermost scope that it runs in outwards; the outermost of
 * a task that was started in a scope of another task has that scope as its parent. Cancellation is a level, not an event: as
 * long as some scope of the chain is cancelled, up to the first one that is shielded, every operation that would park
 * raises CancelledError. At the outer end of every chain stands the run itself, which is cancelled when it ends.
 *
 * Downwards: to wake those who wait, a cancellation is spread over the scope's host (the task that opened it), its members
 * (tasks that were started in it) and the scopes nested in it. Woken, each looks up its chain and decides.
 *
 * Locks. `mutex` guards what is marked so below; to set a timer the timer lock is taken under it. `spread_mutex` of the
 * runtime guards the list of scopes to be spread over; it is taken under the mutex of a scope or the timer lock, and under it
 * nothing is. Members and nested scopes are gone before their scope ends, so upward pointers are always good; the host
 * ends a scope only when nobody is spreading over it.
 */
#ifndef TONIO_RUNTIME_CANCEL_H
#define TONIO_RUNTIME_CANCEL_H

#include "core/list.h"
#include "core/mutex.h"
#include "core/timer_wheel.h"
#include "runtime/runtime.h"

typedef enum ScopeState {
    SCOPE_NEW,
    SCOPE_OPEN,   /* its host runs in it */
    SCOPE_CLOSED, /* its host has left it; what was started in it may still run */
    SCOPE_ENDED,
} ScopeState;

typedef enum ScopeCancelled {
    SCOPE_NOT_CANCELLED,
    SCOPE_CANCELLED, /* by a call, or because something failed */
    SCOPE_EXPIRED,   /* by its deadline */
    SCOPE_DESERTED,  /* because a cancellation that is not its own has made its host leave */
} ScopeCancelled;

/* A task that was started in a scope. */
typedef struct ScopeMember {
    ListNode link; /* guarded by the scope's mutex */
    Task *task;    /* borrowed while linked */
} ScopeMember;

struct CancelScope {
    CancelScope *parent;       /* borrowed; fixed when it is entered */
    Task *host;                /* borrowed until it has ended; fixed when it is entered */
    _Atomic uint8_t cancelled; /* ScopeCancelled; any thread sets it, nobody takes it back */
    _Atomic uint8_t shield;    /* cancellations from further out stop here; any thread */
    _Atomic uint8_t state;     /* ScopeState; the host changes it, under mutex */
    _Atomic uint8_t has_tree;  /* it has or had members or nested scopes; set under mutex */
    bool linked;               /* host: it is in the parent's `nested` */
    bool cancelled_when_left;  /* who collects it cancels it first; fixed before it is entered */
    TimerNode timer;           /* guarded by the timer lock */
    Mutex mutex;               /* guards the following up to `host_waits` */
    List members;              /* ScopeMembers by `link` that are still to be asked to cancel ... */
    List asked;                /* ... and those that a spreading cancellation has asked */
    List nested;               /* CancelScopes by `sibling` */
    uint32_t running;          /* members that have not ended, and places reserved for some */
    bool host_waits;           /* the host is parked until `running` is 0 */
    ListNode sibling;          /* guarded by the parent's mutex */
    ListNode spread;    /* in the runtime's list; guarded, as are the next two, by spread_mutex */
    uint32_t spreading; /* threads that spread over it just now */
    bool spread_closed; /* it has ended: not to be put into the list */

    /* A nested scope that its host left without waiting for it is collected by the one around it: called by the host,
     * attached, when nothing of it runs any more. Ends the scope and appends the errors that nobody has seen to the error list. NULL
     * for scopes that are never left like that. */
    void (*collect)(CancelScope *scope, PyObject *errors);
};

/* Prepares a scope that was not entered yet. */
void cancel_scope_init(CancelScope *scope);

/* Owner of the task. Makes `scope` its innermost one; `deadline` in microseconds, TIMER_NEVER for none. `tree`: it is going to
 * have members, or to be left before what is in it has ended. */
void cancel_scope_enter(CancelScope *scope, Task *task, uint64_t deadline, bool tree);

/* Puts a scope below the host's innermost one without running in it: for tasks started by an operation. */
void cancel_scope_attach(CancelScope *scope, Task *task);

/* The host, of its innermost scope: leaves it. */
void cancel_scope_close(CancelScope *scope, Task *task);

/* The host, of its innermost scope in which nothing runs, and which only its own deadline can cancel: leaves and ends it. */
void cancel_scope_leave(CancelScope *scope, Task *task);

/* The host, of a scope it has left, when nothing runs in it: from here nobody else knows the scope. */
void cancel_scope_end(CancelScope *scope);

/* Cancels, `how` being SCOPE_CANCELLED or SCOPE_EXPIRED. Any thread, attached or not, while the scope was entered and has not
 * ended (see cancel_scope_visit). True if it was not cancelled before. No lock held. */
bool cancel_scope_cancel(CancelScope *scope, ScopeCancelled how);

/* The two halves of cancel_scope_cancel(): to mark it as cancelled (any time), and to have everybody in it look up what is in
 * force, also after a shield was put up or taken away. */
bool cancel_scope_mark(CancelScope *scope, ScopeCancelled how);
void cancel_scope_spread(CancelScope *scope);

/* Keeps the runtime of a scope from ending until runtime_leave(). NULL if the scope was not entered or has ended. Any thread. */
Runtime *cancel_scope_visit(CancelScope *scope);

/* Any thread. Moves the deadline of a scope; false if it has ended. */
bool cancel_scope_set_deadline(CancelScope *scope, uint64_t deadline);

/* Any thread. May a task be started in the scope? Then a place is reserved for it, which keeps the scope from ending, until
 * it is given back or its task has ended. `inside`: who asks runs in the scope, and so may do it after the block has ended. */
bool cancel_scope_reserve(CancelScope *scope, bool inside);
void cancel_scope_unreserve(CancelScope *scope);

/* A new task, which does not run yet, takes a reserved place. */
void cancel_scope_add_member(CancelScope *scope, ScopeMember *member, Task *task);

/* Under the scope's mutex: the member's task has ended, if it had got one (NULL: a place is given back). The host, if it waited
 * for that, goes to `chain`. As soon as the mutex is released the scope may be gone. */
void cancel_scope_remove_member(CancelScope *scope, ScopeMember *member, TaskChain *chain);

/* Does the current task, if there is one, run in the scope? */
bool cancel_scope_is_around(CancelScope *scope, Task *task);

/* Driver, under the timer lock: the deadline has passed. The host, if it is to be scheduled, goes to `chain`. */
void cancel_scope_expired(CancelScope *scope, TaskChain *chain);

/* After a turn of the driver, no lock held: spreads cancellations of scopes that have expired. */
void cancel_spread_pending(Runtime *runtime);

/* Do cancellations from further out stop at this scope? A run that is abandoned knows no shields. */
static inline bool
cancel_scope_holds_off(CancelScope *scope)
{
    /* relaxed: whoever takes a shield away spreads what it held off afterwards */
    return atomic_load_explicit(&scope->shield, memory_order_relaxed) &&
           !runtime_is_abandoned(task_runtime(scope->host));
}

/* ---- waiting for a scope --------------------------------------------------------------------------------- */

/* The host, attached. Has everything in the scope ended? Nested scopes that were left behind are collected on the way, their
 * errors appended to `errors`. If not, *target (at first the scope itself) is the one of them to wait for. */
bool cancel_scope_collect(CancelScope *scope, CancelScope **target, PyObject *errors);

/* The host: it will be claimed when nothing runs in `target`. False: nothing does. */
bool cancel_scope_arm(CancelScope *target);
void cancel_scope_disarm(CancelScope *target);

/* ---- the task's side ------------------------------------------------------------------------------------- */

/* Owner. Is a cancellation in force where the task runs now? Clears the request if there is none. */
bool task_is_cancelled(Task *task);

/* Owner. The innermost scope is cancelled from now on. */
void cancel_scope_cancel_own(CancelScope *scope);

/* Owner. A task that was cancelled as a whole passes that on to what it has started in scopes. */
void task_spread_stop(Task *task);

#endif
