/* Signals: what Ctrl-C does during a run on the main thread, and how it gets a sleeping worker up. See signals.c. */
#ifndef TONIO_RUNTIME_SIGNALS_H
#define TONIO_RUNTIME_SIGNALS_H

#include "runtime/runtime.h"

typedef struct SignalState {
    PyObject *restore; /* owned: puts the old handler back; NULL: nothing to do */
    int old_fd;
    bool fd_set;
} SignalState;

/* Before the run, on the thread that called it. -1 with an exception set; signals_end is called all the same. */
int signals_begin(Runtime *runtime, SignalState *state);

/* After it: everything is as it was before. */
void signals_end(SignalState *state);

#endif
