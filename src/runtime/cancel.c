/* Cancel scopes: entering, leaving, expiring. See cancel.h. */
#include "runtime/cancel.h"

#include "runtime/driver.h"
#include "runtime/runtime.h"

void
cancel_scope_enter(CancelScope *scope, Task *task, uint64_t deadline)
{
    scope->parent = task->scope;
    scope->host = task;
    atomic_init(&scope->cancelled, 0);
    timer_node_init(&scope->timer);
    task->scope = scope;
    if (deadline != TIMER_NEVER) {
        driver_add_scope_timer(&task_runtime(task)->driver, &scope->timer, deadline);
    }
}

bool
cancel_scope_leave(CancelScope *scope, Task *task)
{
    driver_remove_scope_timer(&task_runtime(task)->driver, &scope->timer);
    task->scope = scope->parent;
    /* relaxed: the timer lock that was just held orders it after the driver's store */
    return atomic_load_explicit(&scope->cancelled, memory_order_relaxed) != 0;
}

void
cancel_scope_expired(CancelScope *scope, TaskChain *chain)
{
    /* relaxed: published by the release in task_request_cancel */
    atomic_store_explicit(&scope->cancelled, 1, memory_order_relaxed);
    task_request_cancel(scope->host, 0, chain);
}

void
cancel_scope_cancel_own(CancelScope *scope)
{
    /* relaxed: the owner tells itself */
    atomic_store_explicit(&scope->cancelled, 1, memory_order_relaxed);
    task_keep_cancel_request(scope->host);
}

static bool
chain_is_cancelled(Task *task)
{
    for (CancelScope *scope = task->scope; scope != NULL; scope = scope->parent) {
        /* relaxed: the caller has acquired the request that followed the store */
        if (atomic_load_explicit(&scope->cancelled, memory_order_relaxed)) {
            return true;
        }
    }
    return runtime_is_closing(task_runtime(task)) || task_is_stopped(task);
}

bool
task_is_cancelled(Task *task)
{
    if (!task_cancel_requested(task)) {
        return false;
    }
    /* Cleared first and set again if need be: a request that arrives in between is not lost. */
    task_clear_cancel_request(task);
    if (!chain_is_cancelled(task)) {
        return false;
    }
    task_keep_cancel_request(task);
    return true;
}
