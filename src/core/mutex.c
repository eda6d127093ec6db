/* Mutex: the slow paths.
 *
 * Owns nothing but the word: 0 free, 1 held, 2 held and somebody may sleep on it. The fast paths
 * are inline in mutex.h. A thread that finds the word taken first spins for a bounded number of
 * pauses, because the holder needs tens of nanoseconds; how long a spin has paid lately is
 * remembered per thread, so that a machine on which it never pays (one processor, a holder that has
 * lost its time slice) soon stops doing it. Then the thread sets the word to 2 and sleeps while it
 * is 2.
 *
 * Invariant: while a thread sleeps, or is about to, the word is 2 or somebody is on the way to wake
 * it. So whoever has slept takes the lock by writing 2, never 1: it cannot know whether it was the
 * last sleeper. The price is at most one needless wake per burst of contention.
 *
 * mutex_unlock_slow passes the word's address to the kernel when the lock is free already, so the
 * next holder may have freed the memory: the call then fails or wakes a stranger, who looks again.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "core/mutex.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <time.h>
#endif

#ifndef SPIN_MAXIMUM
#define SPIN_MAXIMUM 64 /* pauses: about two microseconds */
#endif
#define SPIN_MINIMUM 4 /* always tried, so that a thread can learn that spinning pays again */

/* The pauses that a successful spin of this thread took lately. */
static _Thread_local unsigned spin_average = SPIN_MAXIMUM / 4;

_Thread_local uint32_t mutex_contention;

static inline void
processor_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield");
#endif
}

#ifdef __linux__

/* Sleeps while the word is 2; may return for no reason. */
static void
word_wait(Mutex *mutex)
{
    syscall(SYS_futex, &mutex->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static void
word_wake_one(Mutex *mutex)
{
    syscall(SYS_futex, &mutex->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#else /* no futex: a sleeper looks again every 50 microseconds, and nobody needs to wake it */

static void
word_wait(Mutex *mutex)
{
    (void)mutex;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 50000};
    nanosleep(&pause, NULL);
}

static void
word_wake_one(Mutex *mutex)
{
    (void)mutex;
}

#endif

/* Spins for a bounded time; true if it got the lock. */
static bool
spin_lock(Mutex *mutex)
{
    unsigned limit = spin_average * 2 + SPIN_MINIMUM;
    if (limit > SPIN_MAXIMUM) {
        limit = SPIN_MAXIMUM;
    }
    for (unsigned spins = 1; spins <= limit; spins++) {
        processor_pause();
        /* relaxed: only decides whether a try is worth while; the try itself acquires */
        if (atomic_load_explicit(&mutex->word, memory_order_relaxed) == 0 &&
            mutex_try_lock(mutex)) {
            spin_average = (spin_average * 7 + spins + 7) / 8;
            return true;
        }
    }
    spin_average = spin_average * 7 / 8;
    return false;
}

void
mutex_lock_slow(Mutex *mutex)
{
    mutex_contention++;
    if (spin_lock(mutex)) {
        return;
    }
    /* acquire: pairs with the release in mutex_unlock */
    while (atomic_exchange_explicit(&mutex->word, 2, memory_order_acquire) != 0) {
        word_wait(mutex);
    }
}

void
mutex_unlock_slow(Mutex *mutex)
{
    word_wake_one(mutex);
}
