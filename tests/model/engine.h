/* Engine: a runtime whose tasks are run by threads of a model. Everything below the scheduler is real, as are the run loop
 * and the operations; the scheduler is a list (engine.c), or real as well (model_park.c). */
#ifndef TONIO_MODEL_ENGINE_H
#define TONIO_MODEL_ENGINE_H

#include "python.h"
#include "runtime/operation.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"

/* In `start`, first: kernel, interpreter and a runtime with so many workers, which are no threads yet. */
Runtime *engine_start(int workers);

/* How a task has ended. */
typedef struct Outcome {
    Completion completion;
    Task *task;
    bool ended;
    PyObject *value; /* owned; or ... */
    PyObject *error;
} Outcome;

/* A task for a coroutine or an operation (stolen), which will run. */
void engine_spawn(Runtime *runtime, PyObject *runnable, Outcome *outcome);

#endif
