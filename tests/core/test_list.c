/* Intrusive list: order, removal from anywhere, moving whole lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/list.h"

typedef struct Item {
    int value;
    ListNode node;
} Item;

/* Checks that the list holds exactly these values, read in both directions. */
static void
assert_values(List *list, const int *values, size_t count)
{
    size_t seen = 0;
    for (ListNode *node = list->head.next; node != &list->head; node = node->next) {
        assert_true(seen < count);
        assert_int_equal(LIST_ENTRY(node, Item, node)->value, values[seen]);
        seen++;
    }
    assert_int_equal(seen, count);
    for (ListNode *node = list->head.prev; node != &list->head; node = node->prev) {
        seen--;
        assert_int_equal(LIST_ENTRY(node, Item, node)->value, values[seen]);
    }
    assert_int_equal(seen, 0);
}

static void
items_init(Item *items, int count)
{
    for (int i = 0; i < count; i++) {
        items[i].value = i;
        list_node_init(&items[i].node);
    }
}

static void
test_new_list_is_empty(void **state)
{
    (void)state;
    List list;
    list_init(&list);
    assert_true(list_is_empty(&list));
    assert_null(list_first(&list));
    assert_null(list_pop_head(&list));
}

static void
test_tail_pushes_come_out_in_order(void **state)
{
    (void)state;
    List list;
    Item items[3];
    list_init(&list);
    items_init(items, 3);
    for (int i = 0; i < 3; i++) {
        assert_false(list_node_is_linked(&items[i].node));
        list_push_tail(&list, &items[i].node);
        assert_true(list_node_is_linked(&items[i].node));
    }
    assert_values(&list, (int[]){0, 1, 2}, 3);
    assert_ptr_equal(list_first(&list), &items[0].node);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(list_pop_head(&list), &items[i].node);
        assert_false(list_node_is_linked(&items[i].node));
    }
    assert_true(list_is_empty(&list));
}

static void
test_head_pushes_come_out_in_reverse(void **state)
{
    (void)state;
    List list;
    Item items[3];
    list_init(&list);
    items_init(items, 3);
    for (int i = 0; i < 3; i++) {
        list_push_head(&list, &items[i].node);
    }
    assert_values(&list, (int[]){2, 1, 0}, 3);
}

static void
test_a_node_can_be_removed_from_anywhere(void **state)
{
    (void)state;
    List list;
    Item items[4];
    list_init(&list);
    items_init(items, 4);
    for (int i = 0; i < 4; i++) {
        list_push_tail(&list, &items[i].node);
    }
    list_remove(&items[1].node);
    assert_values(&list, (int[]){0, 2, 3}, 3);
    list_remove(&items[0].node);
    assert_values(&list, (int[]){2, 3}, 2);
    list_remove(&items[3].node);
    assert_values(&list, (int[]){2}, 1);
    list_remove(&items[2].node);
    assert_true(list_is_empty(&list));
    for (int i = 0; i < 4; i++) {
        assert_false(list_node_is_linked(&items[i].node));
    }
}

static void
test_removing_an_unlinked_node_does_nothing(void **state)
{
    (void)state;
    Item item;
    items_init(&item, 1);
    list_remove(&item.node);
    list_remove(&item.node);
    assert_false(list_node_is_linked(&item.node));
}

static void
test_append_all_moves_every_node_and_keeps_order(void **state)
{
    (void)state;
    List to;
    List from;
    Item items[4];
    list_init(&to);
    list_init(&from);
    items_init(items, 4);
    list_append_all(&to, &from);
    assert_true(list_is_empty(&to));
    list_push_tail(&from, &items[0].node);
    list_push_tail(&from, &items[1].node);
    list_append_all(&to, &from);
    assert_true(list_is_empty(&from));
    assert_values(&to, (int[]){0, 1}, 2);
    list_push_tail(&from, &items[2].node);
    list_push_tail(&from, &items[3].node);
    list_append_all(&to, &from);
    assert_true(list_is_empty(&from));
    assert_values(&to, (int[]){0, 1, 2, 3}, 4);
    list_append_all(&to, &from);
    assert_values(&to, (int[]){0, 1, 2, 3}, 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_list_is_empty),
        cmocka_unit_test(test_tail_pushes_come_out_in_order),
        cmocka_unit_test(test_head_pushes_come_out_in_reverse),
        cmocka_unit_test(test_a_node_can_be_removed_from_anywhere),
        cmocka_unit_test(test_removing_an_unlinked_node_does_nothing),
        cmocka_unit_test(test_append_all_moves_every_node_and_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
