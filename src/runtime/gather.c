/* Gathering: workers that are in each other's way leave the work to one of them.
 *
 * Where the tasks of two workers use the same objects all the time, as the two ends of a channel do, both together get
 * less done than one of them alone: with every operation the memory of these objects travels between processors. It shows
 * in how often a thread finds a mutex taken. A worker that has found one taken too often hands the tasks back that it has
 * stolen, and for a while nothing is stolen but what its owner does not come to. After that the work is shared again;
 * if the workers get into each other's way again, the next while is twice as long.
 *
 * Owns gathered and the other fields of a runtime that begin with gather_; gather_mutex guards them.
 */
#include "runtime/gather.h"

#include "runtime/parking.h"

#define CONTENTION_NS                                                                              \
    10000u /* a mutex found taken more often than once in so long is too often ... */
#define CONTENTION_LEAST 16u /* ... if it has happened so many times */
#define FIRST_LENGTH 16u     /* looks of the watcher */
#define MOST_LENGTH 1024u
#define FORGOTTEN_AFTER 4u /* lengths after which the first length counts again */

bool
gather_measure(Worker *worker, uint64_t now)
{
    Runtime *runtime = worker->runtime;
    uint32_t met = mutex_contention - worker->contention;

    worker->contention = mutex_contention;
    if (met < CONTENTION_LEAST || (uint64_t)met * CONTENTION_NS < now - worker->period_start) {
        return false;
    }
    mutex_lock(&runtime->gather_mutex);
    if (!work_is_gathered(runtime)) {
        uint64_t length = runtime->gather_length;
        if (now - runtime->gather_since > FORGOTTEN_AFTER * length * WATCH_INTERVAL * 1000) {
            length = FIRST_LENGTH;
        }
        else if (length < MOST_LENGTH) {
            length *= 2;
        }
        runtime->gather_length = length;
        runtime->gather_since = now;
        atomic_store_explicit(&runtime->gathered, length, memory_order_relaxed);
    }
    mutex_unlock(&runtime->gather_mutex);
    return true;
}

void
gather_count_look(Runtime *runtime)
{
    if (work_is_gathered(runtime)) {
        mutex_lock(&runtime->gather_mutex);
        uint64_t left = atomic_load_explicit(&runtime->gathered, memory_order_relaxed);
        if (left > 0) {
            atomic_store_explicit(&runtime->gathered, left - 1, memory_order_relaxed);
        }
        mutex_unlock(&runtime->gather_mutex);
    }
}
