/* Inject queue: an unbounded FIFO of run-queue nodes that any thread may push to and pop from.
 *
 * Intrusive and guarded by its own mutex; `length` may be read without it. The runtime has one that
 * threads which are no workers push to, and each worker one that its ring overflows into.
 */
#ifndef TONIO_CORE_INJECT_QUEUE_H
#define TONIO_CORE_INJECT_QUEUE_H

#include <stdatomic.h>
#include <stddef.h>

#include "core/mutex.h"

typedef struct RunNode {
    struct RunNode *next; /* guarded by the queue that the node is in */
} RunNode;

typedef struct InjectQueue {
    Mutex mutex;           /* guards first and last */
    _Atomic size_t length; /* written under the mutex, read anywhere */
    RunNode *first;
    RunNode *last;
} InjectQueue;

void inject_queue_init(InjectQueue *queue);

/* Appends one node. */
void inject_queue_push(InjectQueue *queue, RunNode *node);

/* Appends `count` nodes that are linked through `next` from `first` to `last`, in that order. */
void inject_queue_push_chain(InjectQueue *queue, RunNode *first, RunNode *last, size_t count);

/* Takes the oldest node, or NULL. Its `next` is left as it was. Cheap when the queue is empty (no
 * lock is taken). */
RunNode *inject_queue_pop(InjectQueue *queue);

/* Takes up to `max` of the oldest nodes into `nodes`, in order; returns how many. */
size_t inject_queue_pop_batch(InjectQueue *queue, RunNode **nodes, size_t max);

/* A hint that may be out of date as soon as it is read. */
static inline size_t
inject_queue_length(InjectQueue *queue)
{
    /* acquire: who sees a length that a drop left behind also sees what was done before the drop
     * (pairs with the release in inject_queue_drop_locked; the run queue's refill needs it).
     * Whoever must not miss a push puts a stronger fence of its own before this. */
    return atomic_load_explicit(&queue->length, memory_order_acquire);
}

/* For an owner that unlinks nodes by itself: drops the first `count` nodes, after which `first` is
 * the next one or NULL. The mutex is held. */
static inline void
inject_queue_drop_locked(InjectQueue *queue, RunNode *first, size_t count)
{
    queue->first = first;
    if (first == NULL) {
        queue->last = NULL;
    }
    /* relaxed: nobody but a holder of the mutex writes it */
    size_t length = atomic_load_explicit(&queue->length, memory_order_relaxed);
    /* release: pairs with the acquire in inject_queue_length */
    atomic_store_explicit(&queue->length, length - count, memory_order_release);
}

#endif
