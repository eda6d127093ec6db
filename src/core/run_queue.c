/* Run queue of one worker: a ring that thieves take from, and an overflow behind it.
 *
 * Owns the ring's slots and the overflow; the nodes belong to whoever pushed them. `head` and
 * `tail` are positions that only ever grow, modulo 2^32; a position's slot is its remainder by the
 * capacity. The ring holds the positions from head up to tail.
 *
 * - tail: stored by the owner alone, with release: a slot is filled before the tail goes past it.
 * - head: moved by the owner (by one) and by thieves (by half of the ring), always by CAS, so that
 *   each position is taken once. A thief copies the slots first and moves the head afterwards. If
 * the owner has filled one of these slots anew in between, then the head had moved, and the CAS
 * fails. (The head would have to go round all 2^32 positions during one steal to defeat this.)
 * - The overflow is pushed to by the owner alone. Its own mutex guards it, the only lock here.
 *
 * Invariants: every node in the overflow is younger than every node in the ring. A node that stays
 * in the queue during a call to run_queue_length or run_queue_steal is seen by that call, also
 * while it moves from the overflow to the ring: the refill publishes the tail before it shortens
 * the overflow, and readers look at the overflow's length first.
 */
#include "core/run_queue.h"

#define SLOT_MASK (RUN_QUEUE_CAPACITY - 1u)
#define BATCH (RUN_QUEUE_CAPACITY / 2u) /* the most that a refill or a steal moves */
#define PREFETCH_BYTES 2048             /* how far ahead a refill fetches memory */

_Static_assert((RUN_QUEUE_CAPACITY & SLOT_MASK) == 0, "the capacity must be a power of two");

static inline void
slot_store(RunQueue *queue, uint32_t position, RunNode *node)
{
    /* relaxed: the release store of the tail publishes it. A thief may still read the slot for a
     * steal that is bound to fail, which is why slots are atomic at all. */
    atomic_store_explicit(&queue->slots[position & SLOT_MASK], node, memory_order_relaxed);
}

static inline RunNode *
slot_load(RunQueue *queue, uint32_t position)
{
    /* relaxed: the acquire load of the tail came before, and the CAS of the head decides afterwards
     * whether the value counts */
    return atomic_load_explicit(&queue->slots[position & SLOT_MASK], memory_order_relaxed);
}

/* Owner: the tail. */
static inline uint32_t
tail_own(RunQueue *queue)
{
    /* relaxed: the owner wrote it */
    return atomic_load_explicit(&queue->tail, memory_order_relaxed);
}

/* Owner: makes all positions before `tail` visible. */
static inline void
tail_publish(RunQueue *queue, uint32_t tail)
{
    /* release: slots and nodes come before; pairs with the acquire load of the tail in take_half
     * and run_queue_length */
    atomic_store_explicit(&queue->tail, tail, memory_order_release);
}

/* Owner: how many positions are free behind `tail`. */
static inline uint32_t
ring_room(RunQueue *queue, uint32_t tail)
{
    /* acquire: a thief has read its slots before we fill them anew; pairs with the release CAS in
     * take_half */
    uint32_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
    return RUN_QUEUE_CAPACITY - (tail - head);
}

/* Owner: may the next push go to the ring? Only if nothing older waits in the overflow. The owner
 * alone pushes there, so a zero that it reads is true: its own pushes have all been taken out. */
static inline bool
overflow_is_empty(RunQueue *queue)
{
    return inject_queue_length(&queue->overflow) == 0;
}

/* Owner, the ring is empty: moves up to half a ring from the overflow. False if nothing is there.
 * Not inline, so that a pop which needs none keeps its few instructions. */
static __attribute__((noinline)) bool
refill(RunQueue *queue)
{
    if (overflow_is_empty(queue)) {
        return false;
    }
    InjectQueue *overflow = &queue->overflow;
    uint32_t tail = tail_own(queue);
    uint32_t count = 0;
    mutex_lock(&overflow->mutex);
    RunNode *node = overflow->first;
    while (node != NULL && count < BATCH) {
        slot_store(queue, tail + count, node);
        /* Nodes that were pushed in a row mostly lie in a row, in things of some such size; by now they are out of the caches. */
        __builtin_prefetch((char *)node + PREFETCH_BYTES);
        node = node->next; /* before the tail is published: then the node may be a thief's */
        count++;
    }
    tail_publish(queue, tail + count);
    inject_queue_drop_locked(overflow, node, count);
    mutex_unlock(&overflow->mutex);
    return count != 0;
}

/* Thief: takes half of the ring, rounded up, into `nodes`. */
static uint32_t
take_half(RunQueue *victim, RunNode **nodes)
{
    /* acquire: the tail read below is not older than this head; pairs with the release CAS of
     * whoever moved the head here (run_queue_pop, or another thief) */
    uint32_t head = atomic_load_explicit(&victim->head, memory_order_acquire);
    for (;;) {
        /* acquire: slots and nodes up to here are visible; pairs with tail_publish */
        uint32_t tail = atomic_load_explicit(&victim->tail, memory_order_acquire);
        uint32_t length = tail - head;
        if (length == 0) {
            return 0;
        }
        uint32_t count = length - length / 2;
        if (count > BATCH) {
            /* the head is out of date: more has been pushed since than the ring holds */
            head = atomic_load_explicit(&victim->head, memory_order_acquire);
            continue;
        }
        for (uint32_t i = 0; i < count; i++) {
            nodes[i] = slot_load(victim, head + i);
        }
        /* release: the slots have been read before the owner may fill them anew (pairs with
         * ring_room), and the tail that we saw is passed on to the next thief.
         * acquire (also on failure): as for the first load of the head */
        if (atomic_compare_exchange_weak_explicit(&victim->head, &head, head + count,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return count;
        }
    }
}

void
run_queue_init(RunQueue *queue)
{
    atomic_init(&queue->head, 0);
    atomic_init(&queue->tail, 0);
    for (uint32_t i = 0; i < RUN_QUEUE_CAPACITY; i++) {
        atomic_init(&queue->slots[i], NULL);
    }
    inject_queue_init(&queue->overflow);
}

void
run_queue_push(RunQueue *queue, RunNode *node)
{
    uint32_t tail = tail_own(queue);
    if (ring_room(queue, tail) != 0 && overflow_is_empty(queue)) {
        slot_store(queue, tail, node);
        tail_publish(queue, tail + 1);
    }
    else {
        inject_queue_push(&queue->overflow, node);
    }
}

void
run_queue_push_batch(RunQueue *queue, RunNode **nodes, size_t count)
{
    size_t ringed = 0; /* how many of them go to the ring */
    if (overflow_is_empty(queue)) {
        uint32_t tail = tail_own(queue);
        uint32_t room = ring_room(queue, tail);
        ringed = count < room ? count : room;
        for (size_t i = 0; i < ringed; i++) {
            slot_store(queue, tail + (uint32_t)i, nodes[i]);
        }
        tail_publish(queue, tail + (uint32_t)ringed);
    }
    if (ringed < count) {
        for (size_t i = ringed; i + 1 < count; i++) {
            nodes[i]->next = nodes[i + 1];
        }
        inject_queue_push_chain(&queue->overflow, nodes[ringed], nodes[count - 1], count - ringed);
    }
}

RunNode *
run_queue_pop(RunQueue *queue)
{
    /* relaxed, also on failure below: the owner filled the slots itself, so it has nothing to learn
     * from who moved the head */
    uint32_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    for (;;) {
        if (head == tail_own(queue)) {
            if (!refill(queue)) {
                return NULL;
            }
            head = atomic_load_explicit(&queue->head, memory_order_relaxed);
            continue;
        }
        RunNode *node = slot_load(queue, head);
        /* release: a thief that sees this head sees a tail that is not behind it; pairs with the
         * acquire loads of the head in take_half */
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, head + 1,
                                                  memory_order_release, memory_order_relaxed)) {
            return node;
        }
    }
}

RunNode *
run_queue_steal(RunQueue *victim, RunQueue *thief, size_t *count)
{
    RunNode *nodes[BATCH];
    size_t taken;
    for (;;) {
        size_t waiting = inject_queue_length(&victim->overflow); /* before the ring: see above */
        taken = take_half(victim, nodes);
        if (taken != 0) {
            break;
        }
        if (waiting == 0) {
            *count = 0;
            return NULL;
        }
        size_t half = waiting - waiting / 2;
        taken = inject_queue_pop_batch(&victim->overflow, nodes, half < BATCH ? half : BATCH);
        if (taken != 0) {
            break;
        }
        /* the overflow has been emptied under our hands, perhaps into the ring: look again */
    }
    run_queue_push_batch(thief, nodes + 1, taken - 1);
    *count = taken;
    return nodes[0];
}

size_t
run_queue_length(RunQueue *queue)
{
    size_t waiting = inject_queue_length(&queue->overflow); /* before the ring: see above */
    /* acquire: the tail read below is not older; pairs with the release CAS of the head */
    uint32_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
    uint32_t length = atomic_load_explicit(&queue->tail, memory_order_acquire) - head;
    return waiting + (length < RUN_QUEUE_CAPACITY ? length : RUN_QUEUE_CAPACITY);
}
