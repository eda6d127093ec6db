/* Timer wheel: eleven levels of 64 lists.
 *
 * Owns the lists; the nodes belong to whoever inserted them. No lock: the owner of the wheel holds
 * one around every call, and that lock guards the nodes' links too. Nothing is called back or
 * allocated.
 *
 * A deadline is read as eleven digits of six bits. A pending node is in `expired` if its deadline
 * is not after the wheel's time; otherwise at the level of the highest digit in which its deadline
 * differs from the wheel's time, in the slot that this digit of the deadline names.
 * That is the invariant, and what follows from it is:
 * - at each level only slots above the time's own digit are occupied;
 * - every node of a level is due before all nodes of higher levels, so that the next thing to do is
 *   at the first slot of the lowest level that has one, found with two bit scans;
 * - the nodes of a slot at level 0 have one and the same deadline;
 * - equal deadlines share a slot whenever they were inserted, and stay in order of insertion.
 * To keep it, the time stops where each occupied slot starts, and the slot's nodes move down. Empty
 * slots cost nothing, however far ahead the time goes. A node moves down at most once per level;
 * but a slot that holds a million of them is moved in one go.
 */
#include "core/timer_wheel.h"

#define LEVEL_BITS 6

_Static_assert(TIMER_SLOTS == 1 << LEVEL_BITS, "a slot for each value of a digit");
_Static_assert(64 <= TIMER_LEVELS * LEVEL_BITS, "a digit for each bit of a deadline");

static inline TimerNode *
timer_from_link(ListNode *link)
{
    return LIST_ENTRY(link, TimerNode, link);
}

/* Links the node where its deadline belongs at the wheel's time. */
static inline void
place(TimerWheel *wheel, TimerNode *node)
{
    uint64_t deadline = node->deadline;
    if (deadline <= wheel->now) {
        list_push_tail(&wheel->expired, &node->link);
        return;
    }
    unsigned highest_bit = 63u - (unsigned)__builtin_clzll(deadline ^ wheel->now);
    unsigned level = highest_bit / LEVEL_BITS;
    unsigned slot = (deadline >> (level * LEVEL_BITS)) & (TIMER_SLOTS - 1);
    wheel->occupied[level] |= UINT64_C(1) << slot;
    list_push_tail(&wheel->slots[level][slot], &node->link);
}

/* The lowest level that has nodes, or TIMER_LEVELS. */
static inline unsigned
lowest_level(const TimerWheel *wheel)
{
    unsigned level = 0;
    while (level < TIMER_LEVELS && wheel->occupied[level] == 0) {
        level++;
    }
    return level;
}

/* The first slot of `level` that has nodes. */
static inline List *
first_slot(const TimerWheel *wheel, unsigned level)
{
    return (List *)&wheel->slots[level][__builtin_ctzll(wheel->occupied[level])];
}

/* The time at which a slot of `level` that has nodes begins. */
static inline uint64_t
slot_start(const List *slot, unsigned level)
{
    unsigned low_bits = level * LEVEL_BITS;
    return timer_from_link(slot->head.next)->deadline >> low_bits << low_bits;
}

static inline bool
slot_has_single_node(const List *slot)
{
    return slot->head.next == slot->head.prev;
}

/* Places the nodes of the slot anew. Nothing comes back to it: they all agree with the time in the
 * digit of its level now. */
static void
move_down(TimerWheel *wheel, List *slot)
{
    ListNode *link = slot->head.next;
    list_init(slot);
    while (link != &slot->head) {
        ListNode *next = link->next;
        place(wheel, timer_from_link(link));
        link = next;
    }
}

/* Moves the time forward to `now`, or less far if something expires before. */
static void
advance(TimerWheel *wheel, uint64_t now)
{
    while (list_is_empty(&wheel->expired) && wheel->now < now) {
        unsigned level = lowest_level(wheel);
        List *slot = level < TIMER_LEVELS ? first_slot(wheel, level) : NULL;
        uint64_t start = slot != NULL ? slot_start(slot, level) : 0;
        if (slot == NULL || start > now) {
            wheel->now = now;
            return;
        }
        wheel->occupied[level] &= wheel->occupied[level] - 1;
        if (level == 0) {
            wheel->now = start;
            list_append_all(&wheel->expired, slot);
            continue;
        }
        wheel->now = start;
        if (slot_has_single_node(slot)) {
            /* Spares it the levels between: nothing else happens before its deadline. */
            uint64_t deadline = timer_from_link(slot->head.next)->deadline;
            wheel->now = deadline < now ? deadline : now;
        }
        move_down(wheel, slot);
    }
}

/* The index, counted over all levels, of the slot whose list head this is; -1 if it is none. */
static inline ptrdiff_t
slot_index(const TimerWheel *wheel, const ListNode *link)
{
    uintptr_t offset = (uintptr_t)link - (uintptr_t)wheel->slots;
    return offset < sizeof(wheel->slots) ? (ptrdiff_t)(offset / sizeof(List)) : -1;
}

void
timer_wheel_init(TimerWheel *wheel, uint64_t now)
{
    wheel->now = now;
    wheel->count = 0;
    list_init(&wheel->expired);
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void
timer_wheel_insert(TimerWheel *wheel, TimerNode *node, uint64_t deadline)
{
    node->deadline = deadline;
    wheel->count++;
    place(wheel, node);
}

void
timer_wheel_remove(TimerWheel *wheel, TimerNode *node)
{
    if (!timer_node_is_pending(node)) {
        return;
    }
    /* A node whose two neighbours are one is alone with its list's head. If that is the head of a
     * slot (and not `expired`), the slot becomes empty and its bit must go. */
    ListNode *neighbour = node->link.prev;
    if (neighbour == node->link.next) {
        ptrdiff_t index = slot_index(wheel, neighbour);
        if (index >= 0) {
            wheel->occupied[index / TIMER_SLOTS] &= ~(UINT64_C(1) << (index % TIMER_SLOTS));
        }
    }
    list_remove(&node->link);
    wheel->count--;
}

TimerNode *
timer_wheel_pop(TimerWheel *wheel, uint64_t now)
{
    advance(wheel, now);
    ListNode *link = list_pop_head(&wheel->expired);
    if (link == NULL) {
        return NULL;
    }
    wheel->count--;
    return timer_from_link(link);
}

uint64_t
timer_wheel_next(const TimerWheel *wheel)
{
    if (!list_is_empty(&wheel->expired)) {
        return 0;
    }
    unsigned level = lowest_level(wheel);
    if (level == TIMER_LEVELS) {
        return TIMER_NEVER;
    }
    const List *slot = first_slot(wheel, level);
    if (slot_has_single_node(slot)) {
        return timer_from_link(slot->head.next)->deadline;
    }
    return slot_start(slot, level);
}
