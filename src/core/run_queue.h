/* Run queue of one worker: a bounded ring which others may steal from, and behind it an overflow.
 *
 * The owner pushes at the tail and pops at the head, so tasks start in the order in which they were
 * pushed. Thieves take half of the ring from the head by one compare-and-swap. When the ring is
 * full a push goes to the overflow (an inject queue of the worker's own), and so do all later
 * pushes until the overflow has been emptied into the ring again: order is kept, and thieves can
 * reach every task.
 *
 * Invariant: every node in the overflow is younger than every node in the ring.
 * Only the owner calls run_queue_push and run_queue_pop; any thread may steal and read the length.
 */
#ifndef TONIO_CORE_RUN_QUEUE_H
#define TONIO_CORE_RUN_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/inject_queue.h"

#ifndef RUN_QUEUE_CAPACITY
#define RUN_QUEUE_CAPACITY 256u /* a power of two */
#endif

typedef struct RunQueue {
    _Alignas(64) _Atomic uint32_t head; /* next to take; moved by the owner and by thieves */
    _Alignas(64) _Atomic uint32_t tail; /* next to fill; moved by the owner alone */
    _Atomic(RunNode *) slots[RUN_QUEUE_CAPACITY];
    _Alignas(64) InjectQueue overflow; /* pushed to by the owner alone */
} RunQueue;

void run_queue_init(RunQueue *queue);

/* Owner. Appends a node; never fails. It only releases: whoever then decides by another variable
 * whether to wake a thief puts a sequentially consistent fence in between. */
void run_queue_push(RunQueue *queue, RunNode *node);

/* Owner. Appends `count` nodes in order (used after a steal from an inject queue). */
void run_queue_push_batch(RunQueue *queue, RunNode **nodes, size_t count);

/* Owner. Takes the oldest node, or NULL; refills the ring from the overflow when it runs dry. */
RunNode *run_queue_pop(RunQueue *queue);

/* Any worker but the owner: takes half of `victim` (at least one if there is one; from its overflow
 * if the ring is empty). Returns the oldest of them to be run at once and puts the others into the
 * caller's own `thief` queue; *count is how many were taken. NULL if there was nothing. */
RunNode *run_queue_steal(RunQueue *victim, RunQueue *thief, size_t *count);

/* Any thread: a hint, overflow included. A node that is in the queue during the whole call is
 * counted. */
size_t run_queue_length(RunQueue *queue);

/* Any thread: the position of the head, which grows by one with each node that leaves the ring
 * (modulo 2^32). Two equal readings with a non-zero length between them mean that the owner has
 * popped nothing (thieves may have taken from the overflow, which does not count here). */
static inline uint32_t
run_queue_head(RunQueue *queue)
{
    /* relaxed: a hint for whoever watches the worker's progress */
    return atomic_load_explicit(&queue->head, memory_order_relaxed);
}

#endif
