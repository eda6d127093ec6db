/* Parker: one thread sleeps, any thread wakes it.
 *
 * Owns one state word. Only the parking thread leaves NOTIFIED or enters PARKED; only unparking
 * threads enter NOTIFIED.
 *   EMPTY     the thread runs, and nobody has unparked it since it last looked
 *   PARKED    the thread sleeps or is about to; whoever replaces this must wake it
 *   NOTIFIED  an unpark that the thread has not consumed yet
 * Invariant: an unpark leaves NOTIFIED behind, and nothing but a park that returns PARK_UNPARKED
 * takes it away. So none is lost, whichever of the two comes first.
 *
 * An unpark hands over what its thread wrote before (release), the park takes it over (acquire);
 * unparks that count as one all do, because each writes the word by an exchange and so continues
 * the release sequence of those before it.
 *
 * On Linux every sleep has a deadline, "forever" one of decades: the kernel resumes a futex wait
 * that has none by itself after a signal whose handler was installed with SA_RESTART, and the
 * caller would never get to see the signal. Without a futex, signals do not end a park.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "core/parker.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <time.h>

#include "core/clock.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum {
    EMPTY = 0,
    PARKED = 1,
    NOTIFIED = 2,
};

/* Parking thread: takes an unpark that has come, and is EMPTY either way. */
static inline bool
state_consume(Parker *parker)
{
    /* acquire: pairs with the release in parker_unpark */
    return atomic_exchange_explicit(&parker->state, EMPTY, memory_order_acquire) == NOTIFIED;
}

/* Parking thread: EMPTY to PARKED; false if an unpark has come. */
static inline bool
state_park(Parker *parker)
{
    uint32_t expected = EMPTY;
    /* relaxed: success hands nothing over, and after a failure state_consume acquires */
    return atomic_compare_exchange_strong_explicit(&parker->state, &expected, PARKED,
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* Any thread: true if the parking thread must be woken. */
static inline bool
state_notify(Parker *parker)
{
    /* release: pairs with the acquire in state_consume */
    return atomic_exchange_explicit(&parker->state, NOTIFIED, memory_order_release) == PARKED;
}

/* The absolute time that lies `timeout_ns` ahead. */
static struct timespec
deadline_after(int64_t timeout_ns)
{
    if (timeout_ns == PARK_FOREVER) {
        return (struct timespec){.tv_sec = INT_MAX, .tv_nsec = 0};
    }
    uint64_t deadline = clock_now_ns() + (uint64_t)timeout_ns;
    uint64_t seconds = deadline / 1000000000u;
    return (struct timespec){
        .tv_sec = seconds < INT_MAX ? (time_t)seconds : INT_MAX,
        .tv_nsec = (long)(deadline % 1000000000u),
    };
}

#ifdef __linux__

int
parker_init(Parker *parker)
{
    atomic_init(&parker->state, EMPTY);
    return 0;
}

void
parker_destroy(Parker *parker)
{
    (void)parker;
}

ParkResult
parker_park(Parker *parker, int64_t timeout_ns)
{
    if (timeout_ns == 0) {
        return state_consume(parker) ? PARK_UNPARKED : PARK_TIMED_OUT;
    }
    if (!state_park(parker)) {
        state_consume(parker);
        return PARK_UNPARKED;
    }
    struct timespec deadline = deadline_after(timeout_ns);
    for (;;) {
        /* The bitset form takes an absolute time of the monotonic clock. */
        long status = syscall(SYS_futex, &parker->state, FUTEX_WAIT_BITSET_PRIVATE, PARKED,
                              &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
        int error = status == 0 ? 0 : errno;
        if (error == ETIMEDOUT || error == EINTR) {
            if (state_consume(parker)) {
                return PARK_UNPARKED;
            }
            return error == EINTR ? PARK_INTERRUPTED : PARK_TIMED_OUT;
        }
        /* Woken, or not asleep at all; a wake without an unpark is possible and means nothing.
         * relaxed: state_consume acquires */
        if (atomic_load_explicit(&parker->state, memory_order_relaxed) == NOTIFIED) {
            state_consume(parker);
            return PARK_UNPARKED;
        }
    }
}

void
parker_unpark(Parker *parker)
{
    if (state_notify(parker)) {
        /* The thread may be up and gone already; the kernel takes the address for what it is. */
        syscall(SYS_futex, &parker->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

#else /* no futex: a mutex and a condition variable, used only when the thread really sleeps */

int
parker_init(Parker *parker)
{
    atomic_init(&parker->state, EMPTY);
    int error = pthread_mutex_init(&parker->mutex, NULL);
    if (error != 0) {
        return -error;
    }
#ifdef __APPLE__
    error = pthread_cond_init(&parker->condition, NULL);
#else
    pthread_condattr_t attributes;
    error = pthread_condattr_init(&attributes);
    if (error == 0) {
        error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (error == 0) {
            error = pthread_cond_init(&parker->condition, &attributes);
        }
        pthread_condattr_destroy(&attributes);
    }
#endif
    if (error != 0) {
        pthread_mutex_destroy(&parker->mutex);
    }
    return -error;
}

void
parker_destroy(Parker *parker)
{
    pthread_cond_destroy(&parker->condition);
    pthread_mutex_destroy(&parker->mutex);
}

/* Sleeps until signalled or until the deadline; the mutex is held. ETIMEDOUT, or 0. */
static int
condition_wait(Parker *parker, const struct timespec *deadline)
{
#ifdef __APPLE__
    uint64_t now = clock_now_ns();
    uint64_t until = (uint64_t)deadline->tv_sec * 1000000000u + (uint64_t)deadline->tv_nsec;
    uint64_t left = until > now ? until - now : 0;
    struct timespec relative = {
        .tv_sec = (time_t)(left / 1000000000u),
        .tv_nsec = (long)(left % 1000000000u),
    };
    return pthread_cond_timedwait_relative_np(&parker->condition, &parker->mutex, &relative);
#else
    return pthread_cond_timedwait(&parker->condition, &parker->mutex, deadline);
#endif
}

ParkResult
parker_park(Parker *parker, int64_t timeout_ns)
{
    if (timeout_ns == 0) {
        return state_consume(parker) ? PARK_UNPARKED : PARK_TIMED_OUT;
    }
    /* The mutex is taken before PARKED can be seen and given up only by the wait: an unpark that
     * replaces PARKED cannot signal before this thread listens. */
    pthread_mutex_lock(&parker->mutex);
    if (state_park(parker)) {
        struct timespec deadline = deadline_after(timeout_ns);
        /* relaxed: state_consume acquires */
        while (atomic_load_explicit(&parker->state, memory_order_relaxed) == PARKED &&
               condition_wait(parker, &deadline) != ETIMEDOUT) {
        }
    }
    bool unparked = state_consume(parker);
    pthread_mutex_unlock(&parker->mutex);
    return unparked ? PARK_UNPARKED : PARK_TIMED_OUT;
}

void
parker_unpark(Parker *parker)
{
    if (state_notify(parker)) {
        pthread_mutex_lock(&parker->mutex);
        pthread_cond_signal(&parker->condition);
        pthread_mutex_unlock(&parker->mutex);
    }
}

#endif
