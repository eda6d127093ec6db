/* Timer wheel: a million pending deadlines, insertion and removal in constant time.
 *
 * Hierarchical: level L has 64 slots of 64^L microseconds; a deadline sits at the level of the
 * highest bit in which it differs from the wheel's time, and moves down a level when the time
 * reaches its slot. A bitmap per level finds the next occupied slot without walking. Deadlines are
 * microseconds of the runtime's clock. No lock of its own and no callback: the owner holds one lock
 * around every call, and that lock guards the nodes as well.
 */
#ifndef TONIO_CORE_TIMER_WHEEL_H
#define TONIO_CORE_TIMER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/list.h"

#define TIMER_NEVER UINT64_MAX /* no deadline */
#define TIMER_LEVELS 11        /* six bits each: every deadline of 64 bits has its place */
#define TIMER_SLOTS 64

typedef struct TimerNode {
    ListNode link;     /* unlinked when the timer is not pending; initialise with timer_node_init */
    uint64_t deadline; /* microseconds */
} TimerNode;

typedef struct TimerWheel {
    uint64_t now; /* everything due up to here has been handed out or waits in `expired` */
    size_t count; /* pending timers, those in `expired` included */
    List expired; /* due but not yet popped, in the order in which they are to be popped */
    uint64_t occupied[TIMER_LEVELS];
    List slots[TIMER_LEVELS][TIMER_SLOTS];
} TimerWheel;

void timer_wheel_init(TimerWheel *wheel, uint64_t now);

static inline void
timer_node_init(TimerNode *node)
{
    list_node_init(&node->link);
}

static inline bool
timer_node_is_pending(const TimerNode *node)
{
    return list_node_is_linked(&node->link);
}

/* Makes an unlinked node pending. A deadline that has passed expires at the next pop, after what
 * had expired before the insertion. */
void timer_wheel_insert(TimerWheel *wheel, TimerNode *node, uint64_t deadline);

/* Takes a pending node out, wherever it is (also out of `expired`). Nothing happens if it is not
 * pending. */
void timer_wheel_remove(TimerWheel *wheel, TimerNode *node);

/* Takes the next timer with deadline <= now, in the order of deadlines, equal ones in the order of
 * insertion; NULL when there is none left. The wheel's time never goes back: a `now` that is older
 * than that of an earlier pop counts as that one. */
TimerNode *timer_wheel_pop(TimerWheel *wheel, uint64_t now);

/* A time at which something is to be done: never later than the earliest deadline, possibly earlier
 * (a slot that must move down a level; exact if its slot holds no other timer). 0 if timers wait in
 * `expired`, TIMER_NEVER if nothing is pending. */
uint64_t timer_wheel_next(const TimerWheel *wheel);

#endif
