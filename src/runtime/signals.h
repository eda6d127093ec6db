/* Signals: what Ctrl-C does during a run on the main thread, and how it gets a sleeping worker up. See signals.c. */
#ifndef TONIO_RUNTIME_SIGNALS_H
#define TONIO_RUNTIME_SIGNALS_H

#include "runtime/runtime.h"

typedef struct SignalState {
    PyObject *handler; /* owned: that for SIGINT; NULL: nothing to put back */
    int old_fd;
    bool fd_set;
} SignalState;

/* Before the run, on the thread that called it. -1 with an exception set; signals_end is called all the same. */
int signals_begin(Runtime *runtime, SignalState *state);

/* After it: everything is as it was before. What a signal handler of the program's raises meanwhile interrupts the run. */
void signals_end(Runtime *runtime, SignalState *state);

#endif
