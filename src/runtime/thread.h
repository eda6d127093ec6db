/* Thread: starts and joins the runtime's threads. */
#ifndef TONIO_RUNTIME_THREAD_H
#define TONIO_RUNTIME_THREAD_H

#include "runtime/runtime.h"

/* Starts a thread that calls body(argument), attached. Returns a handle to join it by (new reference), or NULL with an
 * exception set. `name` is what `threading` calls it. Attached, no lock held. */
PyObject *thread_start(const char *name, void (*body)(void *argument), void *argument);

/* Waits for the end of a thread; its handle (stolen, NULL for none) is done with. What a signal handler raises meanwhile
 * interrupts the run, or is reported if `runtime` is NULL, and the wait goes on. Attached; detaches while it waits. */
void thread_join(Runtime *runtime, PyObject *handle);

#endif
