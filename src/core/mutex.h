/* A plain mutex of four bytes for short critical sections.
 *
 * It knows nothing of the interpreter. Nothing that may block, run Python code, allocate or drop a
 * reference is called while it is held, so a holder is never suspended by the interpreter and a
 * waiter waits for tens of nanoseconds. That makes it right both for threads that are attached to
 * the interpreter and for those that are not. Zero is the unlocked state; nothing to destroy.
 */
#ifndef TONIO_CORE_MUTEX_H
#define TONIO_CORE_MUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Mutex {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may sleep on it */
} Mutex;

/* How often this thread has found a mutex taken: tells threads that are in each other's way. */
extern _Thread_local uint32_t mutex_contention;

void mutex_lock_slow(Mutex *mutex);   /* spins briefly, then sleeps */
void mutex_unlock_slow(Mutex *mutex); /* wakes one sleeper */

static inline bool
mutex_try_lock(Mutex *mutex)
{
    uint32_t expected = 0;
    /* acquire: pairs with the release in mutex_unlock */
    return atomic_compare_exchange_strong_explicit(&mutex->word, &expected, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void
mutex_lock(Mutex *mutex)
{
    if (!mutex_try_lock(mutex)) {
        mutex_lock_slow(mutex);
    }
}

static inline void
mutex_unlock(Mutex *mutex)
{
    /* release: what was done under the lock comes before it is free; pairs with mutex_try_lock and
     * the acquires in mutex_lock_slow */
    if (atomic_exchange_explicit(&mutex->word, 0, memory_order_release) == 2) {
        mutex_unlock_slow(mutex);
    }
}

#endif
