/* Support: the functions of tonio._support and the attribute names that C code uses, looked up once.
 *
 * Written while the module is imported and never changed. Looking a method up by a C string makes a string object each
 * time, which the interpreter's cache of attributes then keeps.
 */
#ifndef TONIO_SUPPORT_H
#define TONIO_SUPPORT_H

#include "compat.h"

typedef struct Support {
    PyObject *after_fork;
    PyObject *
        breathe; /* an empty function: calling it lets the interpreter attend to what it wants of the thread */
    PyObject *count_threads;
    PyObject *describe_running; /* what the code of a thread is doing, or None */
    PyObject *describe_wait;    /* a line about a task that waits */
    PyObject *enter_thread;     /* makes the calling thread known to `threading` */
    PyObject *install_interrupt;
    PyObject *is_main_thread;
    PyObject *restore_interrupt;
    PyObject *make_generators; /* looks after the asynchronous generators of a run */
    PyObject *may_be_woken;    /* might a signal handler or another thread wake a task? */
    PyObject *name_begun;
    PyObject *name_close_all;
    PyObject *name_dropped;
    PyObject *start_joinable_thread; /* of the module _thread */
    PyObject *name_asyncio_future;
    PyObject *name_close;
    PyObject *name_join;
    PyObject *name_throw;
} Support;

extern Support support;

/* Calls what must be done whatever happens. An exception of a signal handler, or an interruption of the thread, may come before
 * or in the midst of it: then it is called again. Returns that exception (new reference), or NULL. Attached. */
PyObject *support_call_surely(PyObject *function, PyObject *argument);

int support_module_init(PyObject *module);

#endif
