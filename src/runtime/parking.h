/* Parking: who sleeps where, and who gets up. See parking.c for why no wake-up is lost. */
#ifndef TONIO_RUNTIME_PARKING_H
#define TONIO_RUNTIME_PARKING_H

#include "runtime/runtime.h"

#define WATCH_INTERVAL 1000u /* microseconds between two looks of the watcher */
#define BREATH_INTERVAL                                                                            \
    50000u /* microseconds between two looks for references dropped by foreign threads */

/* Parks until there may be something to do. A task, or NULL: search again, or attend to the interpreter (*attend).
 * Detached. */
Task *worker_park(Worker *worker, bool *attend);

/* Is every worker but this one in the list of idle ones? */
bool worker_is_alone(Worker *worker);

/* Gets the worker that parked last out of the idle list. NULL if there is none or, with `search`, if somebody is
 * searching already; the caller unparks it. Any thread. */
Worker *idle_call(Runtime *runtime, bool search);

/* Gets a worker up; if it does not sleep, its next attempt to returns at once. Any thread. */
void worker_unpark(Worker *worker);

/* Gets every parked worker up (the phase changed). Any thread. */
void workers_unpark_all(Runtime *runtime);

/* Gets parked workers up of whom the interpreter wants something: to merge the count of an object that another thread
 * dropped, which that thread tells nobody. Any thread. */
void workers_breathe(Runtime *runtime);

#endif
