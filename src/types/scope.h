/* Scope: what it is made of, for scope.c and for the operations that own tasks through one (select, as_completed). */
#ifndef TONIO_TYPES_SCOPE_H
#define TONIO_TYPES_SCOPE_H

#include "runtime/cancel.h"
#include "runtime/operation.h"

typedef struct Join Join;

typedef struct Scope {
    PyObject_HEAD CancelScope cancel;
    bool fails; /* an expiry that cut something off is a TimeoutError */
    bool
        independent; /* a group: a member that fails cancels nobody, errors are raised as they are */
    bool keeps_all;  /* `ended` gets the joins of all members, not just of those that failed */
    bool forced;     /* host: it was closed by the end of a scope around it */
    bool told;       /* host: its TimeoutError was raised */
    _Atomic bool took_effect;  /* something in it was ended by its cancellation */
    _Atomic double timeout;    /* seconds from entering; negative: none, or it has a deadline */
    _Atomic uint64_t deadline; /* microseconds, TIMER_NEVER: none; guarded by the scope's mutex */
    Join *first_ended; /* owned, in the order in which they ended; guarded by the scope's mutex */
    Join *last_ended;
    List
        waiters; /* tasks (by `wait`) that wait for the next to end; guarded by the scope's mutex */
} Scope;

/* A scope for tasks that an operation owns; it is attached with cancel_scope_attach(). New reference or NULL. */
Scope *scope_new_group(void);

/* The host: a group begins to take members. It holds a reference to itself until it has ended. */
void scope_attach(Scope *self, Task *task);

/* The host: ends a scope in which nothing runs any more, and appends the errors that nobody has seen to
 * `errors` (an error list; NULL: reports them). */
void scope_end(Scope *self, PyObject *errors);

/* Starts a task for a claimed coroutine or operation (stolen, also on failure) in a place that was reserved. New reference to its
 * join, or NULL. */
Join *scope_start(Scope *self, PyObject *runnable);

/* A member of the scope has ended. */
void scope_member_done(Scope *self, Join *join, bool failed, bool cancelled);

/* Takes the join of a member that has ended, in order; NULL if there is none. New reference. */
Join *scope_take_ended(Scope *self);

/* The host: closes what was opened in its innermost scopes, down to `scope`, and not closed. */
void scope_close_inner(CancelScope *scope, Task *task);

/* Its state, as seen by any thread. */
static inline ScopeState
scope_state(Scope *self)
{
    /* acquire: who sees it entered sees what was stored before */
    return (ScopeState)atomic_load_explicit(&self->cancel.state, memory_order_acquire);
}

/* The running task becomes the host. -1 with an exception set. */
int scope_enter(Scope *self, Task *task);

/* The host leaves the block, with an exception or (NULL) without. -1 with an exception set if it may not. */
int scope_leave(Scope *self, Task *task, PyObject *error);

/* The host has left: is the exception of its body this scope's own cancellation, which ends here? */
bool scope_absorbs(Scope *self, Task *task, PyObject *error);

/* For fail_after(): sets TimeoutError, once, if the time was up and that had an effect. */
bool scope_times_out(Scope *self);

/* ---- scope_wait.c ---------------------------------------------------------------------------------------- */

typedef enum ScopeStep { SCOPE_ENTERS, SCOPE_EXITS, SCOPE_IS_AWAITED, SCOPE_WAITS } ScopeStep;

extern PyTypeObject ScopeWait_Type;

/* An operation that enters, leaves (with `error`, NULL or None for none) or awaits a scope. New reference or NULL. */
PyObject *scope_wait_new(PyObject *scope, ScopeStep step, PyObject *error);

#endif
