/* Parker: remembered unparks, time-outs, signals, and none lost. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/parker.h"

#define MILLISECOND INT64_C(1000000)
/* Instead of for ever, so that a lost unpark fails the test. */
#define TOO_LONG (20000 * MILLISECOND)

static void
sleep_us(long us)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = us * 1000};
    nanosleep(&pause, NULL);
}

static void
test_an_unpark_that_comes_first_is_remembered(void **state)
{
    (void)state;
    Parker parker;
    assert_int_equal(parker_init(&parker), 0);
    parker_unpark(&parker);
    assert_int_equal(parker_park(&parker, PARK_FOREVER), PARK_UNPARKED);
    parker_unpark(&parker);
    assert_int_equal(parker_park(&parker, MILLISECOND), PARK_UNPARKED);
    parker_unpark(&parker);
    assert_int_equal(parker_park(&parker, 0), PARK_UNPARKED);
    parker_destroy(&parker);
}

static void
test_several_unparks_count_as_one(void **state)
{
    (void)state;
    Parker parker;
    assert_int_equal(parker_init(&parker), 0);
    parker_unpark(&parker);
    parker_unpark(&parker);
    parker_unpark(&parker);
    assert_int_equal(parker_park(&parker, 0), PARK_UNPARKED);
    assert_int_equal(parker_park(&parker, 0), PARK_TIMED_OUT);
    parker_destroy(&parker);
}

static void
test_zero_only_looks(void **state)
{
    (void)state;
    Parker parker;
    assert_int_equal(parker_init(&parker), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(parker_park(&parker, 0), PARK_TIMED_OUT);
    }
    parker_destroy(&parker);
}

static void
test_park_ends_at_its_time_out_and_not_before(void **state)
{
    (void)state;
    Parker parker;
    assert_int_equal(parker_init(&parker), 0);
    const int64_t timeouts[] = {1, 50000, MILLISECOND, 20 * MILLISECOND};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        uint64_t start = clock_now_ns();
        assert_int_equal(parker_park(&parker, timeouts[i]), PARK_TIMED_OUT);
        assert_true(clock_now_ns() - start >= (uint64_t)timeouts[i]);
    }
    parker_unpark(&parker); /* a time-out leaves the parker usable */
    assert_int_equal(parker_park(&parker, PARK_FOREVER), PARK_UNPARKED);
    parker_destroy(&parker);
}

static void *
unpark_soon(void *argument)
{
    sleep_us(20000);
    parker_unpark(argument);
    return NULL;
}

static void
test_unpark_wakes_a_sleeper(void **state)
{
    (void)state;
    /* the longest time-out there is must not overflow into a short one */
    const int64_t timeouts[] = {PARK_FOREVER, TOO_LONG, INT64_MAX};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        Parker parker;
        pthread_t thread;
        assert_int_equal(parker_init(&parker), 0);
        uint64_t start = clock_now_ns();
        assert_int_equal(pthread_create(&thread, NULL, unpark_soon, &parker), 0);
        assert_int_equal(parker_park(&parker, timeouts[i]), PARK_UNPARKED);
        assert_true(clock_now_ns() - start < (uint64_t)TOO_LONG / 2);
        pthread_join(thread, NULL);
        parker_destroy(&parker);
    }
}

static void
on_signal(int number)
{
    (void)number;
}

typedef struct Sleeper {
    Parker parker;
    int64_t timeout_ns;
    ParkResult result;
    atomic_bool returned;
} Sleeper;

static void *
park_once(void *argument)
{
    Sleeper *sleeper = argument;
    sleeper->result = parker_park(&sleeper->parker, sleeper->timeout_ns);
    atomic_store(&sleeper->returned, true);
    return NULL;
}

static void
expect_interruption(int flags, int64_t timeout_ns)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    struct sigaction previous;
    assert_int_equal(sigaction(SIGUSR1, &action, &previous), 0);
    Sleeper sleeper = {.timeout_ns = timeout_ns};
    pthread_t thread;
    assert_int_equal(parker_init(&sleeper.parker), 0);
    assert_int_equal(pthread_create(&thread, NULL, park_once, &sleeper), 0);
    for (int i = 0; i < 500 && !atomic_load(&sleeper.returned); i++) {
        sleep_us(5000);
        if (!atomic_load(&sleeper.returned)) {
            pthread_kill(thread, SIGUSR1);
        }
    }
    if (!atomic_load(&sleeper.returned)) {
        parker_unpark(&sleeper.parker); /* it slept through them: lets the test fail, not hang */
    }
    pthread_join(thread, NULL);
    assert_int_equal(sleeper.result, PARK_INTERRUPTED);
    parker_unpark(&sleeper.parker); /* an interruption leaves the parker usable */
    assert_int_equal(parker_park(&sleeper.parker, PARK_FOREVER), PARK_UNPARKED);
    parker_destroy(&sleeper.parker);
    sigaction(SIGUSR1, &previous, NULL);
}

static void
test_signal_interrupts_a_park(void **state)
{
    (void)state;
#ifdef __linux__
    expect_interruption(0, PARK_FOREVER);
    expect_interruption(0, TOO_LONG);
#else
    (void)expect_interruption;
    skip();
#endif
}

static void
test_signal_interrupts_also_when_system_calls_are_restarted(void **state)
{
    (void)state;
#ifdef __linux__
    expect_interruption(SA_RESTART, PARK_FOREVER);
    expect_interruption(SA_RESTART, TOO_LONG);
#else
    skip();
#endif
}

/* --- many threads --- */

#define PING_PONG_ROUNDS 40000 /* two unparks each */

typedef struct PingPong {
    Parker parkers[2];
    int ball; /* plain: park and unpark must hand it over */
    atomic_int failures;
} PingPong;

/* Waits until the ball has the side's parity, and hits it back. */
static void
play(PingPong *game, int side)
{
    for (int i = 0; i < PING_PONG_ROUNDS; i++) {
        if (parker_park(&game->parkers[side], TOO_LONG) != PARK_UNPARKED ||
            game->ball != 2 * i + side) {
            atomic_fetch_add(&game->failures, 1);
            return;
        }
        game->ball++;
        parker_unpark(&game->parkers[!side]);
    }
}

static void *
play_second_side(void *argument)
{
    play(argument, 1);
    return NULL;
}

static void
test_each_unpark_wakes_one_park_and_hands_over_what_was_written(void **state)
{
    (void)state;
    static PingPong game;
    pthread_t thread;
    assert_int_equal(parker_init(&game.parkers[0]), 0);
    assert_int_equal(parker_init(&game.parkers[1]), 0);
    assert_int_equal(pthread_create(&thread, NULL, play_second_side, &game), 0);
    parker_unpark(&game.parkers[0]);
    play(&game, 0);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&game.failures), 0);
    assert_int_equal(game.ball, 2 * PING_PONG_ROUNDS);
    assert_int_equal(parker_park(&game.parkers[0], TOO_LONG), PARK_UNPARKED);
    parker_destroy(&game.parkers[0]);
    parker_destroy(&game.parkers[1]);
}

#define UNPARKERS 3
#define UNPARKS 70000 /* of each: over 200 000 in all */

typedef struct Crowd {
    Parker parker;
    atomic_int posted;
} Crowd;

static void *
post_repeatedly(void *argument)
{
    Crowd *crowd = argument;
    for (int i = 0; i < UNPARKS; i++) {
        /* relaxed: the unpark hands it over */
        atomic_fetch_add_explicit(&crowd->posted, 1, memory_order_relaxed);
        parker_unpark(&crowd->parker);
        if (i % 16 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static void
test_no_unpark_is_lost_among_many(void **state)
{
    (void)state;
    static Crowd crowd;
    pthread_t threads[UNPARKERS];
    assert_int_equal(parker_init(&crowd.parker), 0);
    for (int i = 0; i < UNPARKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_repeatedly, &crowd), 0);
    }
    ParkResult result = PARK_UNPARKED;
    unsigned parks = 0;
    while (atomic_load_explicit(&crowd.posted, memory_order_relaxed) < UNPARKERS * UNPARKS) {
        /* now and then a time-out that races with the unparks */
        bool brief = ++parks % 4 == 0;
        result = parker_park(&crowd.parker, brief ? 2000 : TOO_LONG);
        if (result == PARK_TIMED_OUT && !brief) {
            break;
        }
        result = PARK_UNPARKED;
    }
    for (int i = 0; i < UNPARKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(result, PARK_UNPARKED);
    parker_destroy(&crowd.parker);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unpark_that_comes_first_is_remembered),
        cmocka_unit_test(test_several_unparks_count_as_one),
        cmocka_unit_test(test_zero_only_looks),
        cmocka_unit_test(test_park_ends_at_its_time_out_and_not_before),
        cmocka_unit_test(test_unpark_wakes_a_sleeper),
        cmocka_unit_test(test_signal_interrupts_a_park),
        cmocka_unit_test(test_signal_interrupts_also_when_system_calls_are_restarted),
        cmocka_unit_test(test_each_unpark_wakes_one_park_and_hands_over_what_was_written),
        cmocka_unit_test(test_no_unpark_is_lost_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
