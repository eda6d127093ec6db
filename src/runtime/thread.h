/* Thread: starts and joins the runtime's threads, as `threading.Thread`s that names, tracing and profilers see. */
#ifndef TONIO_RUNTIME_THREAD_H
#define TONIO_RUNTIME_THREAD_H

#include "compat.h"

/* What a thread does, attached; `thread` is its threading.Thread (owned by the body, NULL if it could not be had). */
typedef void (*ThreadBody)(void *argument, PyObject *thread);

/* Starts a thread that calls body(argument). -1 with an exception set: it will not be called. *stray is NULL or an
 * exception (new reference) that a signal handler raised meanwhile, which has nothing to do with the start. Attached, no
 * lock held; runs Python code. */
int thread_start(const char *name, ThreadBody body, void *argument, PyObject **stray);

/* Waits for the end of a thread (borrowed, NULL for none). Exceptions of signal handlers do not end the wait: the first one
 * is put into *stray if that is NULL, further ones are reported. Attached. */
void thread_join(PyObject *thread, PyObject **stray);

int thread_module_init(PyObject *module);

#endif
