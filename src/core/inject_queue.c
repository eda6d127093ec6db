/* Inject queue: an unbounded FIFO for any thread.
 *
 * Owns no memory: the nodes are linked through their own `next`. The queue's mutex guards `first`,
 * `last` and the `next` of every node that is in the queue; it is held for a few instructions, or
 * for as long as it takes to unlink a batch. No other lock is taken under it.
 *
 * `length` is written under the mutex alone, with plain loads and stores, and read by anybody. A
 * pop that reads 0 does not take the lock. Invariant: under the mutex, `length` is the number of
 * linked nodes, and `first` and `last` are both NULL exactly if it is 0.
 */
#include "core/inject_queue.h"

/* Adds to the length. The mutex is held. */
static inline void
length_add(InjectQueue *queue, size_t count)
{
    /* relaxed: nobody but a holder of the mutex writes it */
    size_t length = atomic_load_explicit(&queue->length, memory_order_relaxed);
    /* relaxed: a reader that sees the new length takes the mutex before it looks at a node */
    atomic_store_explicit(&queue->length, length + count, memory_order_relaxed);
}

void
inject_queue_init(InjectQueue *queue)
{
    atomic_init(&queue->mutex.word, 0);
    atomic_init(&queue->length, 0);
    queue->first = NULL;
    queue->last = NULL;
}

void
inject_queue_push(InjectQueue *queue, RunNode *node)
{
    inject_queue_push_chain(queue, node, node, 1);
}

void
inject_queue_push_chain(InjectQueue *queue, RunNode *first, RunNode *last, size_t count)
{
    last->next = NULL;
    mutex_lock(&queue->mutex);
    if (queue->last == NULL) {
        queue->first = first;
    }
    else {
        queue->last->next = first;
    }
    queue->last = last;
    length_add(queue, count);
    mutex_unlock(&queue->mutex);
}

RunNode *
inject_queue_pop(InjectQueue *queue)
{
    RunNode *node = NULL;
    inject_queue_pop_batch(queue, &node, 1);
    return node;
}

size_t
inject_queue_pop_batch(InjectQueue *queue, RunNode **nodes, size_t max)
{
    if (inject_queue_length(queue) == 0) {
        return 0;
    }
    size_t count = 0;
    mutex_lock(&queue->mutex);
    /* relaxed: under the mutex */
    size_t length = atomic_load_explicit(&queue->length, memory_order_relaxed);
    RunNode *node = queue->first;
    if (length <= max) {
        /* Walking over what other threads have written takes a while, in which they shall not wait for the mutex. */
        inject_queue_drop_locked(queue, NULL, length);
        mutex_unlock(&queue->mutex);
    }
    while (node != NULL && count < max) {
        nodes[count++] = node;
        node = node->next;
    }
    if (length > max) {
        inject_queue_drop_locked(queue, node, count);
        mutex_unlock(&queue->mutex);
    }
    return count;
}
