/* Waiters: what the queues of the synchronisation types consist of.
 *
 * A Waiter is part of the operation that waits, which one task claims once, so it is in one queue at most; the task that is
 * parked on it keeps it alive. All of it is guarded by the mutex of the object that has the queue.
 *
 * Who wakes a waiter takes it out of the queue, stores what it is to get and then claims its task. Where the claim fails the
 * waiter is gone (timed out, cancelled, another branch of a select was taken): what was stored is taken back, which is safe
 * because the waiter's `detach` needs the same mutex. Where it succeeds the waiter is not touched any more: its task may be
 * running on another thread and drop the operation.
 */
#ifndef TONIO_TYPES_WAITERS_H
#define TONIO_TYPES_WAITERS_H

#include "core/list.h"
#include "core/mutex.h"
#include "runtime/task.h"

typedef struct Waiter {
    ListNode node;
    Task *task; /* that is parked on the operation, or its proxy */
} Waiter;

/* At the end of the queue. */
static inline void
waiter_push(List *queue, Waiter *waiter, Task *task)
{
    waiter->task = task;
    list_push_tail(queue, &waiter->node);
}

/* The first one without taking it out, or NULL. */
static inline Waiter *
waiter_first(const List *queue)
{
    ListNode *node = list_first(queue);
    return node != NULL ? LIST_ENTRY(node, Waiter, node) : NULL;
}

/* The first one, taken out, or NULL. */
static inline Waiter *
waiter_pop(List *queue)
{
    ListNode *node = list_pop_head(queue);
    return node != NULL ? LIST_ENTRY(node, Waiter, node) : NULL;
}

static inline bool
waiter_claim(Waiter *waiter, TaskChain *chain)
{
    return task_claim(waiter->task, TASK_COMPLETED, chain);
}

/* How many wait: walks the queue, for people. */
static inline size_t
waiter_count(const List *queue)
{
    size_t count = 0;
    for (const ListNode *node = queue->head.next; node != &queue->head; node = node->next) {
        count++;
    }
    return count;
}

#endif
