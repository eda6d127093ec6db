/* Timer wheel: order, removal, far deadlines, and a random model test against a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/timer_wheel.h"

#define START UINT64_C(1000000)

static TimerWheel wheel; /* 11 KiB: no good on a small stack */

static int
setup(void **state)
{
    (void)state;
    timer_wheel_init(&wheel, START);
    return 0;
}

static uint64_t
next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* A number whose magnitude, too, is random: below 2^bits. */
static uint64_t
random_magnitude(uint64_t *random, unsigned bits)
{
    unsigned magnitude = (unsigned)(next_random(random) % bits) + 1;
    return next_random(random) >> (64 - magnitude);
}

/* Every occupied bit has nodes, every node is where its deadline belongs, the count is right. */
static void
check_wheel(void)
{
    size_t count = 0;
    for (ListNode *link = wheel.expired.head.next; link != &wheel.expired.head; link = link->next) {
        count++;
    }
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            List *list = &wheel.slots[level][slot];
            assert_int_equal((wheel.occupied[level] >> slot) & 1, !list_is_empty(list));
            for (ListNode *link = list->head.next; link != &list->head; link = link->next) {
                TimerNode *node = LIST_ENTRY(link, TimerNode, link);
                assert_true(node->deadline > wheel.now);
                uint64_t difference = node->deadline ^ wheel.now;
                assert_true(difference >> (6 * level) != 0);
                assert_true(level + 1 == TIMER_LEVELS || difference >> (6 * (level + 1)) == 0);
                assert_int_equal((node->deadline >> (6 * level)) % TIMER_SLOTS, slot);
                count++;
            }
        }
    }
    assert_int_equal(wheel.count, count);
}

static void
test_new_wheel_has_nothing_to_do(void **state)
{
    (void)state;
    assert_true(timer_wheel_next(&wheel) == TIMER_NEVER);
    assert_null(timer_wheel_pop(&wheel, START));
    assert_null(timer_wheel_pop(&wheel, TIMER_NEVER));
    assert_int_equal(wheel.count, 0);
}

static void
test_timer_is_popped_at_its_deadline_and_not_before(void **state)
{
    (void)state;
    const uint64_t delays[] = {1, 2, 63, 64, 65, 4095, 4096, 1000000, UINT64_C(60) * 1000000};
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        TimerNode node;
        timer_node_init(&node);
        assert_false(timer_node_is_pending(&node));
        uint64_t deadline = wheel.now + delays[i];
        timer_wheel_insert(&wheel, &node, deadline);
        assert_true(timer_node_is_pending(&node));
        assert_int_equal(wheel.count, 1);
        assert_null(timer_wheel_pop(&wheel, deadline - 1));
        check_wheel();
        assert_ptr_equal(timer_wheel_pop(&wheel, deadline), &node);
        assert_false(timer_node_is_pending(&node));
        assert_int_equal(wheel.count, 0);
        assert_null(timer_wheel_pop(&wheel, deadline));
    }
}

static void
test_late_pop_delivers_in_order_of_deadlines(void **state)
{
    (void)state;
    const uint64_t delays[] = {500000, 3, 70, 4100, 64, 1, 262144, 65, 90000000, 4099};
    const size_t order[] = {5, 1, 4, 7, 2, 9, 3, 6, 0, 8};
    enum { COUNT = sizeof(delays) / sizeof(delays[0]) };
    TimerNode nodes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        timer_node_init(&nodes[i]);
        timer_wheel_insert(&wheel, &nodes[i], START + delays[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(timer_wheel_pop(&wheel, START + UINT64_C(1000000000)), &nodes[order[i]]);
    }
    assert_null(timer_wheel_pop(&wheel, START + UINT64_C(1000000000)));
}

static void
test_equal_deadlines_keep_the_order_of_insertion(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    TimerNode nodes[COUNT];
    uint64_t deadline = START + 300000;
    for (uint64_t i = 0; i < COUNT; i++) {
        /* from ever nearer, so at different levels at first */
        assert_null(timer_wheel_pop(&wheel, deadline - 1 - (COUNT - i) * (COUNT - i) * 150));
        timer_node_init(&nodes[i]);
        timer_wheel_insert(&wheel, &nodes[i], deadline);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(timer_wheel_pop(&wheel, deadline), &nodes[i]);
    }
}

static void
test_passed_deadline_expires_at_the_next_pop(void **state)
{
    (void)state;
    TimerNode nodes[3];
    for (size_t i = 0; i < 3; i++) {
        timer_node_init(&nodes[i]);
    }
    timer_wheel_insert(&wheel, &nodes[0], START);
    timer_wheel_insert(&wheel, &nodes[1], START - 5000);
    timer_wheel_insert(&wheel, &nodes[2], 0);
    assert_true(timer_wheel_next(&wheel) == 0);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(timer_wheel_pop(&wheel, START), &nodes[i]);
    }
    assert_null(timer_wheel_pop(&wheel, START));
}

static void
test_time_never_goes_back(void **state)
{
    (void)state;
    TimerNode node;
    timer_node_init(&node);
    assert_null(timer_wheel_pop(&wheel, START + 5000));
    timer_wheel_insert(&wheel, &node, START + 4000);
    assert_ptr_equal(timer_wheel_pop(&wheel, START), &node);
    assert_null(timer_wheel_pop(&wheel, START));
    assert_true(wheel.now == START + 5000);
}

static void
test_timer_inserted_during_a_sweep_takes_part_in_it(void **state)
{
    (void)state;
    TimerNode nodes[3];
    for (size_t i = 0; i < 3; i++) {
        timer_node_init(&nodes[i]);
    }
    timer_wheel_insert(&wheel, &nodes[0], START + 100);
    timer_wheel_insert(&wheel, &nodes[2], START + 9000);
    assert_ptr_equal(timer_wheel_pop(&wheel, START + 10000), &nodes[0]);
    timer_wheel_insert(&wheel, &nodes[1], START + 5000);
    assert_ptr_equal(timer_wheel_pop(&wheel, START + 10000), &nodes[1]);
    assert_ptr_equal(timer_wheel_pop(&wheel, START + 10000), &nodes[2]);
    assert_null(timer_wheel_pop(&wheel, START + 10000));
}

static void
test_removed_timer_is_gone(void **state)
{
    (void)state;
    const uint64_t delays[] = {1, 64, 5000, 1000000, UINT64_C(1) << 50};
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        TimerNode node;
        timer_node_init(&node);
        timer_wheel_insert(&wheel, &node, START + delays[i]);
        timer_wheel_remove(&wheel, &node);
        assert_false(timer_node_is_pending(&node));
        assert_int_equal(wheel.count, 0);
        assert_true(timer_wheel_next(&wheel) == TIMER_NEVER);
        check_wheel();
        timer_wheel_remove(&wheel, &node); /* again: nothing happens */
        assert_int_equal(wheel.count, 0);
    }
    assert_null(timer_wheel_pop(&wheel, TIMER_NEVER));
}

static void
test_removing_one_of_several_in_a_slot_leaves_the_others(void **state)
{
    (void)state;
    TimerNode nodes[3];
    for (size_t removed = 0; removed < 3; removed++) {
        uint64_t deadline = wheel.now + 100000;
        for (size_t i = 0; i < 3; i++) {
            timer_node_init(&nodes[i]);
            timer_wheel_insert(&wheel, &nodes[i], deadline);
        }
        timer_wheel_remove(&wheel, &nodes[removed]);
        check_wheel();
        for (size_t i = 0; i < 3; i++) {
            if (i != removed) {
                assert_ptr_equal(timer_wheel_pop(&wheel, deadline), &nodes[i]);
            }
        }
        assert_null(timer_wheel_pop(&wheel, deadline));
    }
}

static void
test_expired_timer_can_still_be_removed(void **state)
{
    (void)state;
    TimerNode nodes[3];
    TimerNode later;
    timer_node_init(&later);
    timer_wheel_insert(&wheel, &later, START + 300);
    for (size_t i = 0; i < 3; i++) {
        timer_node_init(&nodes[i]);
        timer_wheel_insert(&wheel, &nodes[i], START + 200);
    }
    assert_ptr_equal(timer_wheel_pop(&wheel, START + 250), &nodes[0]);
    timer_wheel_remove(&wheel, &nodes[1]); /* waits in `expired`, with another */
    assert_int_equal(wheel.count, 2);
    timer_wheel_remove(&wheel, &nodes[2]); /* alone there */
    check_wheel();
    assert_null(timer_wheel_pop(&wheel, START + 250));
    assert_ptr_equal(timer_wheel_pop(&wheel, START + 300), &later);
}

static void
test_next_is_exact_for_a_lone_timer(void **state)
{
    (void)state;
    const uint64_t delays[] = {1, 100, 77777, 123456789, UINT64_C(1) << 58};
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        TimerNode node;
        timer_node_init(&node);
        timer_wheel_insert(&wheel, &node, START + delays[i]);
        assert_true(timer_wheel_next(&wheel) == START + delays[i]);
        timer_wheel_remove(&wheel, &node);
    }
}

static void
test_next_leads_to_every_deadline_in_few_steps(void **state)
{
    (void)state;
    TimerNode nodes[2];
    uint64_t deadline = START + UINT64_C(86400) * 1000000 + 12345;
    for (size_t i = 0; i < 2; i++) {
        timer_node_init(&nodes[i]);
        timer_wheel_insert(&wheel, &nodes[i], deadline);
    }
    int steps = 0;
    uint64_t next;
    while ((next = timer_wheel_next(&wheel)) < deadline) {
        assert_true(next > wheel.now);
        assert_null(timer_wheel_pop(&wheel, next));
        steps++;
    }
    assert_true(next == deadline);
    assert_true(steps < TIMER_LEVELS);
    assert_ptr_equal(timer_wheel_pop(&wheel, next), &nodes[0]);
    assert_ptr_equal(timer_wheel_pop(&wheel, next), &nodes[1]);
}

static void
test_deadlines_reach_to_the_end_of_time(void **state)
{
    (void)state;
    const uint64_t deadlines[] = {
        UINT64_C(1) << 40,       (UINT64_C(1) << 54) - 1,     UINT64_C(1) << 54,
        (UINT64_C(1) << 54) + 1, (UINT64_C(1) << 60) - 1,     UINT64_C(1) << 60,
        UINT64_C(1) << 63,       (UINT64_C(1) << 63) + 99999, TIMER_NEVER,
    };
    enum { COUNT = sizeof(deadlines) / sizeof(deadlines[0]) };
    TimerNode nodes[COUNT];
    for (size_t i = COUNT; i-- > 0;) {
        timer_node_init(&nodes[i]);
        timer_wheel_insert(&wheel, &nodes[i], deadlines[i]);
        check_wheel();
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_null(timer_wheel_pop(&wheel, deadlines[i] - 1));
        assert_ptr_equal(timer_wheel_pop(&wheel, deadlines[i]), &nodes[i]);
        check_wheel();
    }
}

static int
compare_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void
test_a_million_timers(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    uint64_t random = 88172645463325252u;
    TimerNode *nodes = malloc(COUNT * sizeof(TimerNode));
    uint64_t *kept = malloc(COUNT * sizeof(uint64_t));
    assert_non_null(nodes);
    assert_non_null(kept);
    for (size_t i = 0; i < COUNT; i++) {
        timer_node_init(&nodes[i]);
        timer_wheel_insert(&wheel, &nodes[i], START + next_random(&random) % 30000000);
    }
    size_t remaining = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (next_random(&random) % 3 == 0) {
            timer_wheel_remove(&wheel, &nodes[i]);
        }
        else {
            kept[remaining++] = nodes[i].deadline;
        }
    }
    assert_int_equal(wheel.count, remaining);
    check_wheel();
    qsort(kept, remaining, sizeof(uint64_t), compare_numbers);
    size_t popped = 0;
    size_t disorders = 0;
    for (uint64_t now = START; now <= START + 30000000; now += 777) {
        for (TimerNode *node; (node = timer_wheel_pop(&wheel, now)) != NULL; popped++) {
            disorders += popped >= remaining || node->deadline != kept[popped] ||
                         node->deadline > now || node->deadline + 777 <= now;
        }
    }
    while (timer_wheel_pop(&wheel, START + 30000777) != NULL) {
        popped++;
    }
    assert_int_equal(popped, remaining);
    assert_int_equal(disorders, 0);
    assert_int_equal(wheel.count, 0);
    free(nodes);
    free(kept);
}

/* --- model --- */

#define MODEL_NODES 1500
#define MODEL_STEPS 60000

typedef struct ModelNode {
    TimerNode timer;
    uint64_t due; /* its deadline, or the wheel's time at insertion if that was later */
} ModelNode;

/* The pending nodes in the order in which they must be popped. */
typedef struct Model {
    ModelNode nodes[MODEL_NODES];
    ModelNode *pending[MODEL_NODES];
    size_t count;
} Model;

static void
model_insert(Model *model, ModelNode *node)
{
    size_t low = 0;
    size_t high = model->count;
    while (low < high) { /* behind all that are due at the same time or before */
        size_t middle = (low + high) / 2;
        if (model->pending[middle]->due <= node->due) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    memmove(&model->pending[low + 1], &model->pending[low],
            (model->count - low) * sizeof(model->pending[0]));
    model->pending[low] = node;
    model->count++;
}

static void
model_remove(Model *model, ModelNode *node)
{
    size_t i = 0;
    while (model->pending[i] != node) {
        i++;
    }
    model->count--;
    memmove(&model->pending[i], &model->pending[i + 1],
            (model->count - i) * sizeof(model->pending[0]));
}

/* Checks what the wheel says of the time against the model. */
static void
check_next(const Model *model)
{
    uint64_t next = timer_wheel_next(&wheel);
    if (model->count == 0) {
        assert_true(next == TIMER_NEVER);
    }
    else {
        assert_true(next <= model->pending[0]->due);
        assert_true(next > wheel.now || model->pending[0]->due <= wheel.now);
    }
}

static void
run_model(uint64_t seed, uint64_t start, unsigned delay_bits, unsigned step_bits)
{
    static Model model;
    uint64_t random = seed;
    uint64_t now = start;
    timer_wheel_init(&wheel, start);
    model.count = 0;
    for (size_t i = 0; i < MODEL_NODES; i++) {
        timer_node_init(&model.nodes[i].timer);
    }
    for (int step = 0; step < MODEL_STEPS; step++) {
        ModelNode *node = &model.nodes[next_random(&random) % MODEL_NODES];
        uint64_t choice = next_random(&random) % 16;
        if (choice < 13) {
            if (timer_node_is_pending(&node->timer)) {
                if (choice < 6) {
                    model_remove(&model, node);
                    timer_wheel_remove(&wheel, &node->timer);
                }
            }
            else {
                /* sometimes the very deadline of another, sometimes one that has passed */
                uint64_t deadline = now + random_magnitude(&random, delay_bits);
                if (choice == 0 && model.count != 0) {
                    deadline = model.pending[next_random(&random) % model.count]->timer.deadline;
                }
                else if (choice == 1) {
                    deadline = now - next_random(&random) % 1000;
                }
                node->due = deadline > wheel.now ? deadline : wheel.now;
                model_insert(&model, node);
                timer_wheel_insert(&wheel, &node->timer, deadline);
            }
        }
        else {
            now += random_magnitude(&random, step_bits);
            if (choice == 13 && model.count != 0) {
                uint64_t next = timer_wheel_next(&wheel);
                now = next > now ? next : now; /* as a driver does that sleeps until then */
            }
            /* all that is due, or only some of it: then the sweep goes on next time */
            uint64_t most = next_random(&random) % 4 == 0 ? next_random(&random) % 8 : UINT64_MAX;
            while (most-- > 0) {
                TimerNode *popped = timer_wheel_pop(&wheel, now);
                if (popped == NULL) {
                    assert_true(model.count == 0 || model.pending[0]->due > now);
                    assert_true(wheel.now == now);
                    break;
                }
                assert_true(model.count != 0);
                assert_ptr_equal(popped, &model.pending[0]->timer);
                assert_true(model.pending[0]->due <= now);
                assert_false(timer_node_is_pending(popped));
                model_remove(&model, model.pending[0]);
            }
        }
        assert_int_equal(wheel.count, model.count);
        check_next(&model);
        if (step % 512 == 0) {
            check_wheel();
        }
    }
    while (model.count != 0) {
        assert_ptr_equal(timer_wheel_pop(&wheel, TIMER_NEVER), &model.pending[0]->timer);
        model_remove(&model, model.pending[0]);
    }
    assert_null(timer_wheel_pop(&wheel, TIMER_NEVER));
    check_wheel();
}

static void
test_random_use_agrees_with_a_sorted_array(void **state)
{
    (void)state;
    run_model(1, START, 8, 6);                      /* crowded: many equal deadlines */
    run_model(2, START, 24, 14);                    /* seconds, in steps of milliseconds */
    run_model(3, UINT64_C(0xfffffffff000), 34, 22); /* hours, across a carry through all digits */
    run_model(4, 4095, 44, 40);                     /* months, in steps of days */
    run_model(5, UINT64_C(1) << 59, 56, 44);        /* beyond any real clock */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_new_wheel_has_nothing_to_do, setup),
        cmocka_unit_test_setup(test_timer_is_popped_at_its_deadline_and_not_before, setup),
        cmocka_unit_test_setup(test_late_pop_delivers_in_order_of_deadlines, setup),
        cmocka_unit_test_setup(test_equal_deadlines_keep_the_order_of_insertion, setup),
        cmocka_unit_test_setup(test_passed_deadline_expires_at_the_next_pop, setup),
        cmocka_unit_test_setup(test_time_never_goes_back, setup),
        cmocka_unit_test_setup(test_timer_inserted_during_a_sweep_takes_part_in_it, setup),
        cmocka_unit_test_setup(test_removed_timer_is_gone, setup),
        cmocka_unit_test_setup(test_removing_one_of_several_in_a_slot_leaves_the_others, setup),
        cmocka_unit_test_setup(test_expired_timer_can_still_be_removed, setup),
        cmocka_unit_test_setup(test_next_is_exact_for_a_lone_timer, setup),
        cmocka_unit_test_setup(test_next_leads_to_every_deadline_in_few_steps, setup),
        cmocka_unit_test_setup(test_deadlines_reach_to_the_end_of_time, setup),
        cmocka_unit_test_setup(test_a_million_timers, setup),
        cmocka_unit_test_setup(test_random_use_agrees_with_a_sorted_array, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
