/* Engine: a scheduler for models of what is below it. */
#ifndef TONIO_MODEL_ENGINE_LIST_H
#define TONIO_MODEL_ENGINE_LIST_H

#include "engine.h"

/* In `start`. */
void engine_list_reset(void);

/* A thread: runs tasks for ever, as the worker that it is given. */
void engine_worker(void *worker);

/* For models with such threads: when nobody can go on, this was it. */
ModelQuiet engine_quiet(void);

#endif
