/* Gathering: workers that are in each other's way leave the work to one of them. See gather.c. */
#ifndef TONIO_RUNTIME_GATHER_H
#define TONIO_RUNTIME_GATHER_H

#include "runtime/runtime.h"

/* Is work left where it is for now? A hint, any thread. */
static inline bool
work_is_gathered(Runtime *runtime)
{
    /* relaxed: a hint */
    return atomic_load_explicit(&runtime->gathered, memory_order_relaxed) != 0;
}

/* Has this worker met others at mutexes so often, since its measuring period began, that it is to hand back what it has
 * stolen? Then work is gathered from now on. `now` in nanoseconds. */
bool gather_measure(Worker *worker, uint64_t now);

/* A look of the watcher is over: after some, work is shared again. Called by the watcher only. */
void gather_count_look(Runtime *runtime);

#endif
