/* Types: what each file of this directory adds to the module, and the helpers that they share. */
#ifndef TONIO_TYPES_TYPES_H
#define TONIO_TYPES_TYPES_H

#include "runtime/operation.h"

int event_module_init(PyObject *module);
int join_module_init(PyObject *module);
int spawn_module_init(PyObject *module);
int time_module_init(PyObject *module);
int hosting_module_init(PyObject *module);
int scope_module_init(PyObject *module);
int select_module_init(PyObject *module);
int as_completed_module_init(PyObject *module);
int block_on_module_init(PyObject *module);
int pinned_module_init(PyObject *module);

/* hosting.c; the running task: it is going to have scopes, which it must not outlive. -1 with an exception set. */
int hosting_collect_task(Task *task);
int socket_module_init(PyObject *module);
int permits_module_init(PyObject *module);
int lock_module_init(PyObject *module);
int semaphore_module_init(PyObject *module);
int barrier_module_init(PyObject *module);
int channel_module_init(PyObject *module);
int socket_resolve_module_init(PyObject *module);
int stream_module_init(PyObject *module);
int descriptor_module_init(PyObject *module);

/* spawn.c: discards claimed runnables, and closes what has not been claimed if it is a coroutine that has not started. */
void runnables_discard(PyObject **claimed, Py_ssize_t count, PyObject *const *others,
                       Py_ssize_t other_count);
int condition_module_init(PyObject *module);
int rwlock_module_init(PyObject *module);
int once_module_init(PyObject *module);
int hub_module_init(PyObject *module);
int broadcast_module_init(PyObject *module);
int watch_module_init(PyObject *module);

/* Finds keyword arguments of a vectorcall: fills values[i] (borrowed) for names[i], positional ones first; at least
 * `required` must be there. -1 with TypeError set. `names` ends with NULL. */
int arguments_parse(const char *function, const char *const *names, Py_ssize_t required,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **values);

/* Converts a whole number of at least `least`. -1 with TypeError or ValueError set, which name `argument`. */
int size_from_object(PyObject *object, const char *argument, Py_ssize_t least, Py_ssize_t *size);

#endif
