/* Generators: asynchronous generators are closed by the run that they were begun in. See generators.c. */
#ifndef TONIO_RUNTIME_GENERATORS_H
#define TONIO_RUNTIME_GENERATORS_H

#include "runtime/runtime.h"

/* When the runtime has its serial number. -1 with an exception set. */
int generators_begin(Runtime *runtime);

/* When all tasks have ended and the other workers are gone: closes the generators that were begun and not finished, in a task;
 * worker 0 runs once more for that, alone. Closing some may leave others. */
void generators_end(Runtime *runtime);

#endif
