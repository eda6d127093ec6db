/* Cancel scope: a part of a task's life that can be cancelled as one.
 *
 * Scopes form a chain from the innermost one a task runs in outwards. Cancellation is a level, not an event: as long as
 * some scope of the chain is cancelled, every operation that would park raises CancelledError. At the outer end of
 * every chain stands the run itself, which is cancelled when it ends (runtime->closing).
 *
 * `cancelled` may be set by any thread; it is followed by task_request_cancel on the host, whose release publishes
 * it. The host looks at the chain only when its TASK_CANCEL bit is set. The rest belongs to the host.
 */
#ifndef TONIO_RUNTIME_CANCEL_H
#define TONIO_RUNTIME_CANCEL_H

#include "core/timer_wheel.h"
#include "runtime/task.h"

struct CancelScope {
    CancelScope *parent; /* borrowed: it outlives this one, being further out in the same task */
    Task *host; /* borrowed while the scope is open; read by the timer under the timer lock */
    _Atomic uint8_t cancelled;
    TimerNode timer; /* guarded by the timer lock */
};

/* Owner of the task. Makes `scope` its innermost one; `deadline` in microseconds, TIMER_NEVER for none. */
void cancel_scope_enter(CancelScope *scope, Task *task, uint64_t deadline);

/* Owner of the task. Its innermost scope is cancelled from now on. */
void cancel_scope_cancel_own(CancelScope *scope);

/* Owner of the task. Leaves its innermost scope; after that nobody else knows the scope. Returns whether it was
 * cancelled. */
bool cancel_scope_leave(CancelScope *scope, Task *task);

/* Driver, under the timer lock: the deadline has passed. The host, if it is to be scheduled, goes to `chain`. */
void cancel_scope_expired(CancelScope *scope, TaskChain *chain);

/* Owner. Is a cancellation in force where the task runs now? Clears the request if there is none. */
bool task_is_cancelled(Task *task);

#endif
