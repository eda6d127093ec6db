/* Parker: one thread sleeps until another unparks it; an unpark that comes first is remembered.
 *
 * A futex where the system has one, a mutex and a condition variable elsewhere. One thread parks,
 * any thread unparks; several unparks before a park count as one.
 */
#ifndef TONIO_CORE_PARKER_H
#define TONIO_CORE_PARKER_H

#include <stdatomic.h>
#include <stdint.h>

#ifndef __linux__
#include <pthread.h>
#endif

typedef enum ParkResult {
    PARK_UNPARKED, /* somebody called parker_unpark */
    PARK_TIMED_OUT,
    PARK_INTERRUPTED, /* a signal arrived, SA_RESTART or not (only with a futex): the caller looks
                       * at its signals and may park again */
} ParkResult;

#define PARK_FOREVER (-1)

typedef struct Parker {
    _Atomic uint32_t state; /* EMPTY, PARKED, NOTIFIED: see parker.c */
#ifndef __linux__
    pthread_mutex_t mutex;
    pthread_cond_t condition;
#endif
} Parker;

int parker_init(Parker *parker); /* 0, or a negative errno */
void parker_destroy(Parker *parker);

/* Sleeps until unparked, for at most `timeout_ns` (PARK_FOREVER: no bound; 0: only looks).
 * Everything the unparking thread wrote before parker_unpark is visible after PARK_UNPARKED. */
ParkResult parker_park(Parker *parker, int64_t timeout_ns);

/* Wakes the thread, or makes its next park return at once. A system call only if it sleeps. */
void parker_unpark(Parker *parker);

#endif
