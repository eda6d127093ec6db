/* Cancel scopes: entering, leaving, cancelling, expiring, waiting for what is in them. See cancel.h.
 *
 * Why nobody is missed: whoever cancels sets `cancelled` first and then looks, under each scope's mutex, at who is in it; whoever
 * adds a task enters it under the same mutex and then looks up the chain. One of the two sees the other.
 */
#include "runtime/cancel.h"

#include <sched.h>

#include "runtime/driver.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"

#define SPREAD_BATCH 64 /* members that are asked under one hold of the mutex */

void
cancel_scope_init(CancelScope *scope)
{
    scope->parent = NULL;
    scope->host = NULL;
    atomic_init(&scope->cancelled, 0);
    atomic_init(&scope->shield, 0);
    atomic_init(&scope->state, SCOPE_NEW);
    atomic_init(&scope->has_tree, 0);
    scope->linked = false;
    scope->cancelled_when_left = false;
    timer_node_init(&scope->timer);
    scope->mutex = (Mutex){0};
    list_init(&scope->members);
    list_init(&scope->asked);
    list_init(&scope->nested);
    scope->running = 0;
    scope->host_waits = false;
    list_node_init(&scope->sibling);
    list_node_init(&scope->spread);
    scope->spreading = 0;
    scope->spread_closed = false;
    scope->collect = NULL;
}

static ScopeState
scope_state(CancelScope *scope)
{
    /* acquire: pairs with the release in scope_set_state; who sees it entered sees parent and host */
    return (ScopeState)atomic_load_explicit(&scope->state, memory_order_acquire);
}

static void
scope_set_state(CancelScope *scope, ScopeState state)
{
    mutex_lock(&scope->mutex);
    atomic_store_explicit(&scope->state, (uint8_t)state, memory_order_release);
    mutex_unlock(&scope->mutex);
}

/* ---- entering and leaving -------------------------------------------------------------------------------- */

/* Makes a scope, and those around it that are not yet, findable from further out. Most time limits never need that. */
static void
scope_link(CancelScope *scope)
{
    for (; scope->parent != NULL && !scope->linked; scope = scope->parent) {
        CancelScope *parent = scope->parent;
        mutex_lock(&parent->mutex);
        list_push_tail(&parent->nested, &scope->sibling);
        /* seq_cst: either cancel_scope_expired sees the tree, or who adds a member to it sees the scope cancelled */
        atomic_store_explicit(&parent->has_tree, 1, memory_order_seq_cst);
        mutex_unlock(&parent->mutex);
        scope->linked = true;
    }
}

void
cancel_scope_enter(CancelScope *scope, Task *task, uint64_t deadline, bool tree)
{
    scope->parent = task->scope;
    scope->host = task;
    scope_set_state(scope, SCOPE_OPEN);
    task->scope = scope;
    if (tree) {
        scope_link(scope);
    }
    if (deadline != TIMER_NEVER) {
        driver_add_scope_timer(&task_runtime(task)->driver, &scope->timer, deadline);
    }
    /* relaxed: cancelled before it was entered, by somebody who is ordered by the mutex */
    if (atomic_load_explicit(&scope->cancelled, memory_order_relaxed)) {
        task_keep_cancel_request(task);
    }
}

void
cancel_scope_attach(CancelScope *scope, Task *task)
{
    scope->parent = task->scope;
    scope->host = task;
    scope_set_state(scope, SCOPE_CLOSED);
    scope_link(scope);
}

void
cancel_scope_close(CancelScope *scope, Task *task)
{
    scope_set_state(scope, SCOPE_CLOSED);
    task->scope = scope->parent;
    /* relaxed: who takes a shield away later asks again */
    if (atomic_load_explicit(&scope->shield, memory_order_relaxed)) {
        task_keep_cancel_request(task); /* what was held off may be in force from here */
    }
}

/* From here the scope is in no list of spreading cancellations, and nobody is at it. */
static void
spread_close(CancelScope *scope)
{
    Runtime *runtime = task_runtime(scope->host);

    mutex_lock(&runtime->spread_mutex);
    scope->spread_closed = true;
    list_remove(&scope->spread);
    while (scope->spreading > 0) {
        mutex_unlock(&runtime->spread_mutex);
        Py_BEGIN_ALLOW_THREADS /* scheduling what it woke, it may start a thread, which runs Python code */
        sched_yield();
        Py_END_ALLOW_THREADS
        mutex_lock(&runtime->spread_mutex);
    }
    mutex_unlock(&runtime->spread_mutex);
}

void
cancel_scope_end(CancelScope *scope)
{
    scope_set_state(scope, SCOPE_ENDED); /* first: from here nobody sets its timer again */
    driver_remove_scope_timer(&task_runtime(scope->host)->driver, &scope->timer);
    if (scope->linked) {
        mutex_lock(&scope->parent->mutex);
        list_remove(&scope->sibling);
        mutex_unlock(&scope->parent->mutex);
        scope->linked = false;
    }
    spread_close(scope);
}

void
cancel_scope_leave(CancelScope *scope, Task *task)
{
    if (atomic_load_explicit(&scope->has_tree, memory_order_relaxed) || scope->linked) {
        cancel_scope_close(scope, task);
        cancel_scope_end(scope);
        return;
    }
    driver_remove_scope_timer(&task_runtime(task)->driver, &scope->timer);
    task->scope = scope->parent;
}

Runtime *
cancel_scope_visit(CancelScope *scope)
{
    Runtime *runtime = NULL;

    mutex_lock(&scope->mutex);
    ScopeState state = scope_state(scope);
    if (state == SCOPE_OPEN || state == SCOPE_CLOSED) {
        /* Its host has not ended, so neither has the run; from here the count of visitors keeps it. */
        runtime = task_runtime(scope->host);
        runtime_visit(runtime);
    }
    mutex_unlock(&scope->mutex);
    return runtime;
}

bool
cancel_scope_set_deadline(CancelScope *scope, uint64_t deadline)
{
    mutex_lock(&scope->mutex);
    ScopeState state = scope_state(scope);
    if (state == SCOPE_OPEN || state == SCOPE_CLOSED) {
        Driver *driver = &task_runtime(scope->host)->driver;
        driver_remove_scope_timer(driver, &scope->timer);
        if (deadline != TIMER_NEVER) {
            driver_add_scope_timer(driver, &scope->timer, deadline);
        }
    }
    mutex_unlock(&scope->mutex);
    return state != SCOPE_ENDED;
}

/* ---- spreading ------------------------------------------------------------------------------------------- */

/* Under the mutex of a scope or the timer lock. */
static void
spread_push(Runtime *runtime, CancelScope *scope)
{
    mutex_lock(&runtime->spread_mutex);
    if (!scope->spread_closed && !list_node_is_linked(&scope->spread)) {
        list_push_tail(&runtime->spread_list, &scope->spread);
        /* relaxed: a hint for cancel_spread_pending; whoever pushes goes there next */
        atomic_store_explicit(&runtime->spread_pending, true, memory_order_relaxed);
    }
    mutex_unlock(&runtime->spread_mutex);
}

/* Asks everybody in the scope, and puts the nested ones on the list. */
static void
spread_over(Runtime *runtime, CancelScope *scope)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    ListNode *node;
    int left = SPREAD_BATCH;

    if (scope_state(scope) == SCOPE_OPEN) {
        task_request_cancel(scope->host, 0, &chain);
    }
    mutex_lock(&scope->mutex);
    list_append_all(&scope->members, &scope->asked);
    while ((node = list_pop_head(&scope->members)) != NULL) {
        list_push_tail(&scope->asked, node);
        task_request_cancel(LIST_ENTRY(node, ScopeMember, link)->task, 0, &chain);
        if (--left == 0) {
            /* not longer than that: members that end need the mutex */
            left = SPREAD_BATCH;
            mutex_unlock(&scope->mutex);
            scheduler_wake_chain(&chain);
            chain = (TaskChain)TASK_CHAIN_EMPTY;
            mutex_lock(&scope->mutex);
        }
    }
    for (node = scope->nested.head.next; node != &scope->nested.head; node = node->next) {
        CancelScope *nested = LIST_ENTRY(node, CancelScope, sibling);
        if (!cancel_scope_holds_off(nested)) {
            spread_push(runtime, nested);
        }
    }
    mutex_unlock(&scope->mutex);
    scheduler_wake_chain(&chain);
}

void
cancel_spread_pending(Runtime *runtime)
{
    /* relaxed: see spread_push */
    if (!atomic_load_explicit(&runtime->spread_pending, memory_order_relaxed)) {
        return;
    }
    mutex_lock(&runtime->spread_mutex);
    ListNode *node;
    while ((node = list_pop_head(&runtime->spread_list)) != NULL) {
        CancelScope *scope = LIST_ENTRY(node, CancelScope, spread);
        scope->spreading++;
        mutex_unlock(&runtime->spread_mutex);
        spread_over(runtime, scope);
        mutex_lock(&runtime->spread_mutex);
        scope->spreading--;
    }
    atomic_store_explicit(&runtime->spread_pending, false, memory_order_relaxed);
    mutex_unlock(&runtime->spread_mutex);
}

void
cancel_scope_spread(CancelScope *scope)
{
    Runtime *runtime = task_runtime(scope->host);

    spread_push(runtime, scope);
    cancel_spread_pending(runtime);
}

bool
cancel_scope_mark(CancelScope *scope, ScopeCancelled how)
{
    uint8_t expected = SCOPE_NOT_CANCELLED;

    /* seq_cst: see scope_link */
    return atomic_compare_exchange_strong_explicit(&scope->cancelled, &expected, (uint8_t)how,
                                                   memory_order_seq_cst, memory_order_relaxed);
}

bool
cancel_scope_cancel(CancelScope *scope, ScopeCancelled how)
{
    if (!cancel_scope_mark(scope, how)) {
        return false;
    }
    cancel_scope_spread(scope);
    return true;
}

void
cancel_scope_expired(CancelScope *scope, TaskChain *chain)
{
    if (!cancel_scope_mark(scope, SCOPE_EXPIRED)) {
        return;
    }
    if (scope_state(scope) == SCOPE_OPEN) {
        task_request_cancel(scope->host, 0, chain);
    }
    if (atomic_load_explicit(&scope->has_tree, memory_order_seq_cst)) {
        spread_push(task_runtime(scope->host), scope);
    }
}

/* ---- members --------------------------------------------------------------------------------------------- */

/* Is a cancellation in force in a scope? `task`: as seen by this task of its own. */
static bool
chain_is_cancelled(CancelScope *scope, Task *task, Runtime *runtime)
{
    bool own = task != NULL;

    for (;; scope = scope->parent) {
        if (own && (scope == NULL || scope->host != task)) {
            own = false; /* from here on further out than the task itself */
            if (task_is_stopped(task)) {
                return true;
            }
        }
        if (scope == NULL) {
            return runtime_is_closing(runtime);
        }
        /* relaxed: the caller has acquired the request that followed the store, or the mutex under which the one who
         * cancels has looked */
        if (atomic_load_explicit(&scope->cancelled, memory_order_relaxed)) {
            return true;
        }
        if (cancel_scope_holds_off(scope)) {
            return false;
        }
    }
}

bool
cancel_scope_reserve(CancelScope *scope, bool inside)
{
    mutex_lock(&scope->mutex);
    ScopeState state = scope_state(scope);
    bool may = state == SCOPE_OPEN || (state == SCOPE_CLOSED && inside);
    if (may) {
        scope->running++;
    }
    mutex_unlock(&scope->mutex);
    return may;
}

void
cancel_scope_unreserve(CancelScope *scope)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    mutex_lock(&scope->mutex);
    cancel_scope_remove_member(scope, NULL, &chain);
    mutex_unlock(&scope->mutex);
    scheduler_wake_chain(&chain);
}

void
cancel_scope_add_member(CancelScope *scope, ScopeMember *member, Task *task)
{
    TaskChain none = TASK_CHAIN_EMPTY; /* it does not wait yet */

    member->task = task;
    task->scope = scope;
    mutex_lock(&scope->mutex);
    list_push_tail(&scope->members, &member->link);
    /* seq_cst: see scope_link */
    atomic_store_explicit(&scope->has_tree, 1, memory_order_seq_cst);
    mutex_unlock(&scope->mutex);
    if (atomic_load_explicit(&scope->cancelled, memory_order_seq_cst) ||
        chain_is_cancelled(scope, NULL, task_runtime(task))) {
        task_request_cancel(task, 0, &none);
    }
}

void
cancel_scope_remove_member(CancelScope *scope, ScopeMember *member, TaskChain *chain)
{
    if (member != NULL) {
        list_remove(&member->link);
        member->task = NULL;
    }
    if (--scope->running == 0 && scope->host_waits) {
        scope->host_waits = false;
        task_claim(scope->host, TASK_COMPLETED, chain);
    }
}

bool
cancel_scope_is_around(CancelScope *scope, Task *task)
{
    for (CancelScope *around = task != NULL ? task->scope : NULL; around != NULL;
         around = around->parent) {
        if (around == scope) {
            return true;
        }
    }
    return false;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

bool
cancel_scope_collect(CancelScope *scope, CancelScope **target, PyObject *errors)
{
    CancelScope *current = *target;

    for (;;) {
        mutex_lock(&current->mutex);
        bool runs = current->running > 0;
        ListNode *nested = list_first(&current->nested);
        mutex_unlock(&current->mutex);
        if (runs) {
            *target = current;
            return false;
        }
        if (nested != NULL) {
            /* the host's own: those of members went with them */
            current = LIST_ENTRY(nested, CancelScope, sibling);
            if (current->cancelled_when_left) {
                cancel_scope_cancel(current, SCOPE_CANCELLED);
            }
            continue;
        }
        if (current == scope) {
            *target = scope;
            return true;
        }
        CancelScope *parent = current->parent;
        current->collect(current, errors);
        current = parent;
    }
}

bool
cancel_scope_arm(CancelScope *target)
{
    mutex_lock(&target->mutex);
    target->host_waits = target->running > 0;
    bool waits = target->host_waits;
    mutex_unlock(&target->mutex);
    return waits;
}

void
cancel_scope_disarm(CancelScope *target)
{
    mutex_lock(&target->mutex);
    target->host_waits = false;
    mutex_unlock(&target->mutex);
}

/* ---- the task's side ------------------------------------------------------------------------------------- */

void
cancel_scope_cancel_own(CancelScope *scope)
{
    /* relaxed: the owner tells itself; nothing is in the scope yet */
    atomic_store_explicit(&scope->cancelled, SCOPE_EXPIRED, memory_order_relaxed);
    task_keep_cancel_request(scope->host);
}

bool
task_is_cancelled(Task *task)
{
    if (!task_cancel_requested(task)) {
        return false;
    }
    /* Cleared first and set again if need be: a request that arrives in between is not lost. */
    task_clear_cancel_request(task);
    if (!chain_is_cancelled(task->scope, task, task_runtime(task))) {
        /* a shield holds it off from the task, but not from what is outside of the shield */
        task_spread_stop(task);
        return false;
    }
    task_keep_cancel_request(task);
    return true;
}

void
task_spread_stop(Task *task)
{
    CancelScope *outermost = NULL;

    if (!task_is_stopped(task)) {
        return;
    }
    for (CancelScope *scope = task->scope; scope != NULL && scope->host == task;
         scope = scope->parent) {
        outermost = scope;
    }
    /* never a shielded one: the outermost is a time limit or the collector of left scopes */
    if (outermost != NULL) {
        cancel_scope_cancel(outermost, SCOPE_CANCELLED);
    }
}
