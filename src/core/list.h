/* Intrusive doubly linked list.
 *
 * A node lives inside the thing that is listed; linking allocates nothing. A node that is in no
 * list points at itself, so "is it linked?" and "unlink it" need no list at hand. The list has no
 * lock: whoever owns it says which lock guards it, and the same lock guards its nodes.
 */
#ifndef TONIO_CORE_LIST_H
#define TONIO_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ListNode {
    struct ListNode *prev;
    struct ListNode *next;
} ListNode;

typedef struct List {
    ListNode head; /* head.next is the first node, head.prev the last */
} List;

/* The structure of `type` whose field `member` is `node`. */
#define LIST_ENTRY(node, type, member) ((type *)((char *)(node) - offsetof(type, member)))

static inline void
list_node_init(ListNode *node)
{
    node->prev = node;
    node->next = node;
}

static inline void
list_init(List *list)
{
    list_node_init(&list->head);
}

static inline bool
list_node_is_linked(const ListNode *node)
{
    return node->next != node;
}

static inline bool
list_is_empty(const List *list)
{
    return list->head.next == &list->head;
}

/* Puts an unlinked node at the end. */
static inline void
list_push_tail(List *list, ListNode *node)
{
    node->prev = list->head.prev;
    node->next = &list->head;
    list->head.prev->next = node;
    list->head.prev = node;
}

/* Puts an unlinked node at the front. */
static inline void
list_push_head(List *list, ListNode *node)
{
    node->prev = &list->head;
    node->next = list->head.next;
    list->head.next->prev = node;
    list->head.next = node;
}

/* Takes a node out of whatever list it is in; nothing happens if it is in none. */
static inline void
list_remove(ListNode *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_node_init(node);
}

/* The first node without taking it, or NULL. */
static inline ListNode *
list_first(const List *list)
{
    return list_is_empty(list) ? NULL : list->head.next;
}

/* Takes the first node, or NULL. */
static inline ListNode *
list_pop_head(List *list)
{
    ListNode *node = list_first(list);
    if (node != NULL) {
        list_remove(node);
    }
    return node;
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void
list_append_all(List *to, List *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->head.next->prev = to->head.prev;
    to->head.prev->next = from->head.next;
    from->head.prev->next = &to->head;
    to->head.prev = from->head.prev;
    list_init(from);
}

#endif
