/* Mutex: exclusion, sleeping waiters are woken, plain data is handed over. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/mutex.h"

#define THREADS 4
#define ROUNDS 100000

static void
sleep_us(long us)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = us * 1000};
    nanosleep(&pause, NULL);
}

static void
test_zero_is_unlocked(void **state)
{
    (void)state;
    Mutex mutex = {0};
    assert_true(mutex_try_lock(&mutex));
    mutex_unlock(&mutex);
    mutex_lock(&mutex);
    mutex_unlock(&mutex);
    assert_int_equal(atomic_load(&mutex.word), 0);
}

static void
test_try_lock_fails_while_held(void **state)
{
    (void)state;
    Mutex mutex = {0};
    mutex_lock(&mutex);
    assert_false(mutex_try_lock(&mutex));
    mutex_unlock(&mutex);
    assert_true(mutex_try_lock(&mutex));
    mutex_unlock(&mutex);
}

typedef struct Shared {
    Mutex mutex;
    long hold_us; /* how long each holder sleeps with the lock: 0, or enough to make others sleep */
    long rounds;  /* of each thread */
    long counter; /* plain: only the lock protects it */
    int inside;   /* plain: holders at this moment */
    int collisions;
} Shared;

static void *
lock_repeatedly(void *argument)
{
    Shared *shared = argument;
    for (long i = 0; i < shared->rounds; i++) {
        mutex_lock(&shared->mutex);
        shared->inside++;
        if (shared->inside != 1) {
            shared->collisions++;
        }
        shared->counter++;
        if (shared->hold_us != 0) {
            sleep_us(shared->hold_us);
        }
        shared->inside--;
        mutex_unlock(&shared->mutex);
    }
    return NULL;
}

static void
run_contention(long rounds, long hold_us)
{
    Shared shared = {.rounds = rounds, .hold_us = hold_us};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, lock_repeatedly, &shared), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(shared.counter, THREADS * rounds);
    assert_int_equal(shared.collisions, 0);
    assert_int_equal(atomic_load(&shared.mutex.word), 0);
}

static void
test_one_holder_at_a_time(void **state)
{
    (void)state;
    run_contention(ROUNDS, 0);
}

static void
test_sleeping_waiters_are_all_woken(void **state)
{
    (void)state;
    run_contention(100, 200); /* holders sleep, so the others give up spinning and sleep as well */
}

static void
test_a_waiter_sleeps_instead_of_spinning(void **state)
{
    (void)state;
    Shared shared = {.rounds = 1};
    pthread_t thread;
    mutex_lock(&shared.mutex);
    assert_int_equal(pthread_create(&thread, NULL, lock_repeatedly, &shared), 0);
    sleep_us(50000);
    clockid_t clock;
    struct timespec used;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    mutex_unlock(&shared.mutex);
    pthread_join(thread, NULL);
    assert_int_equal(shared.counter, 1);
    assert_int_equal(used.tv_sec, 0);
    assert_true(used.tv_nsec < 30000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_is_unlocked),
        cmocka_unit_test(test_try_lock_fails_while_held),
        cmocka_unit_test(test_one_holder_at_a_time),
        cmocka_unit_test(test_sleeping_waiters_are_all_woken),
        cmocka_unit_test(test_a_waiter_sleeps_instead_of_spinning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
