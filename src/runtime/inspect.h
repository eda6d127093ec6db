/* Inspect: what the tasks of a run are doing, for people - deadlock reports and tasks that hold up the end. See inspect.c. */
#ifndef TONIO_RUNTIME_INSPECT_H
#define TONIO_RUNTIME_INSPECT_H

#include "runtime/runtime.h"

typedef enum Deadlock {
    DEADLOCK_NONE,
    DEADLOCK_UNSURE, /* another worker is up, and may be looking just now, too: whoever parks last is to look again */
    DEADLOCK_FOUND,
} Deadlock;

/* A worker that is not in the list of idle ones, attached, while no thread but the runtime's own exists: do all tasks wait
 * for something that only they could bring about? */
Deadlock inspect_is_deadlocked(Worker *worker);

/* The same worker, while that holds: a line for each task. New reference to a str, or NULL with an exception set. */
PyObject *inspect_deadlock(Runtime *runtime);

/* Any worker, attached, at any time: the tasks that have not ended, a line each. New reference to a str, or NULL. */
PyObject *inspect_remaining(Runtime *runtime);

#endif
