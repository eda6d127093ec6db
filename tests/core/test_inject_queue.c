/* Inject queue: order, batches, and many producers and consumers at once. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/inject_queue.h"

static void
test_new_queue_is_empty(void **state)
{
    (void)state;
    InjectQueue queue;
    RunNode *nodes[4];
    inject_queue_init(&queue);
    assert_int_equal(inject_queue_length(&queue), 0);
    assert_null(inject_queue_pop(&queue));
    assert_int_equal(inject_queue_pop_batch(&queue, nodes, 4), 0);
}

static void
test_nodes_come_out_in_order_of_pushing(void **state)
{
    (void)state;
    InjectQueue queue;
    RunNode nodes[5];
    inject_queue_init(&queue);
    for (size_t i = 0; i < 5; i++) {
        inject_queue_push(&queue, &nodes[i]);
        assert_int_equal(inject_queue_length(&queue), i + 1);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(inject_queue_pop(&queue), &nodes[i]);
        assert_int_equal(inject_queue_length(&queue), 4 - i);
    }
    assert_null(inject_queue_pop(&queue));
}

static void
test_queue_works_again_after_running_empty(void **state)
{
    (void)state;
    InjectQueue queue;
    RunNode node;
    inject_queue_init(&queue);
    for (int i = 0; i < 3; i++) {
        inject_queue_push(&queue, &node);
        assert_ptr_equal(inject_queue_pop(&queue), &node);
        assert_null(inject_queue_pop(&queue));
    }
}

static void
test_chain_is_appended_in_its_order(void **state)
{
    (void)state;
    InjectQueue queue;
    RunNode nodes[5];
    inject_queue_init(&queue);
    inject_queue_push(&queue, &nodes[0]);
    nodes[1].next = &nodes[2];
    nodes[2].next = &nodes[3];
    nodes[3].next = &nodes[0]; /* whatever it was: the queue ends the chain */
    inject_queue_push_chain(&queue, &nodes[1], &nodes[3], 3);
    inject_queue_push(&queue, &nodes[4]);
    assert_int_equal(inject_queue_length(&queue), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(inject_queue_pop(&queue), &nodes[i]);
    }
    assert_null(inject_queue_pop(&queue));
}

static void
test_batch_takes_the_oldest_and_leaves_the_rest(void **state)
{
    (void)state;
    InjectQueue queue;
    RunNode nodes[5];
    RunNode *taken[8];
    inject_queue_init(&queue);
    for (size_t i = 0; i < 5; i++) {
        inject_queue_push(&queue, &nodes[i]);
    }
    assert_int_equal(inject_queue_pop_batch(&queue, taken, 3), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(taken[i], &nodes[i]);
    }
    assert_int_equal(inject_queue_length(&queue), 2);
    assert_int_equal(inject_queue_pop_batch(&queue, taken, 8), 2);
    assert_ptr_equal(taken[0], &nodes[3]);
    assert_ptr_equal(taken[1], &nodes[4]);
    assert_int_equal(inject_queue_pop_batch(&queue, taken, 8), 0);
    inject_queue_push(&queue, &nodes[0]);
    assert_ptr_equal(inject_queue_pop(&queue), &nodes[0]);
}

#define PRODUCERS 3
#define CONSUMERS 3
#define PER_PRODUCER 200000

typedef struct Item {
    RunNode node;
    int producer; /* plain: the queue must publish it */
    int number;
    atomic_int seen;
} Item;

typedef struct Stress {
    InjectQueue queue;
    Item *items; /* PRODUCERS * PER_PRODUCER */
    atomic_int next_producer;
    atomic_size_t taken;
    atomic_int disorders;
} Stress;

static void *
produce(void *argument)
{
    Stress *stress = argument;
    int producer = atomic_fetch_add(&stress->next_producer, 1);
    Item *items = stress->items + (ptrdiff_t)producer * PER_PRODUCER;
    int i = 0;
    while (i < PER_PRODUCER) {
        int length = i % 3 == 0 && i + 5 <= PER_PRODUCER ? 5 : 1; /* chains and single nodes */
        for (int k = i; k < i + length; k++) {
            items[k].producer = producer;
            items[k].number = k;
            items[k].node.next = k + 1 < i + length ? &items[k + 1].node : NULL;
        }
        if (length == 1) {
            inject_queue_push(&stress->queue, &items[i].node);
        }
        else {
            inject_queue_push_chain(&stress->queue, &items[i].node, &items[i + length - 1].node,
                                    (size_t)length);
        }
        i += length;
    }
    return NULL;
}

static void *
consume(void *argument)
{
    Stress *stress = argument;
    int last[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) {
        last[i] = -1;
    }
    unsigned round = 0;
    while (atomic_load(&stress->taken) < PRODUCERS * PER_PRODUCER) {
        RunNode *nodes[7];
        size_t count = 0;
        if (round++ % 2 == 0) {
            nodes[0] = inject_queue_pop(&stress->queue);
            count = nodes[0] != NULL;
        }
        else {
            count = inject_queue_pop_batch(&stress->queue, nodes, 7);
        }
        for (size_t i = 0; i < count; i++) {
            Item *item = (Item *)nodes[i];
            atomic_fetch_add(&item->seen, 1);
            if (item->number <= last[item->producer]) {
                atomic_fetch_add(&stress->disorders, 1);
            }
            last[item->producer] = item->number;
        }
        atomic_fetch_add(&stress->taken, count);
        if (count == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static void
test_every_node_is_taken_once_and_in_order_by_many_threads(void **state)
{
    (void)state;
    static Stress stress;
    pthread_t threads[PRODUCERS + CONSUMERS];
    size_t total = PRODUCERS * PER_PRODUCER;
    inject_queue_init(&stress.queue);
    stress.items = calloc(total, sizeof(Item));
    assert_non_null(stress.items);
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        void *(*body)(void *) = i < PRODUCERS ? produce : consume;
        assert_int_equal(pthread_create(&threads[i], NULL, body, &stress), 0);
    }
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        pthread_join(threads[i], NULL);
    }
    size_t once = 0;
    for (size_t i = 0; i < total; i++) {
        once += atomic_load(&stress.items[i].seen) == 1;
    }
    assert_int_equal(once, total);
    assert_int_equal(atomic_load(&stress.disorders), 0);
    assert_int_equal(inject_queue_length(&stress.queue), 0);
    free(stress.items);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_queue_is_empty),
        cmocka_unit_test(test_nodes_come_out_in_order_of_pushing),
        cmocka_unit_test(test_queue_works_again_after_running_empty),
        cmocka_unit_test(test_chain_is_appended_in_its_order),
        cmocka_unit_test(test_batch_takes_the_oldest_and_leaves_the_rest),
        cmocka_unit_test(test_every_node_is_taken_once_and_in_order_by_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
