/* Error list: what the tasks of a scope have failed with, until it is raised as a group.
 *
 * A Python list, so that its owner can be collected, with a place for the first error from the beginning: what has failed
 * makes its scope fail, even if there is no memory by then. Errors for which there is none are reported, never dropped.
 */
#ifndef TONIO_ERROR_LIST_H
#define TONIO_ERROR_LIST_H

#include "compat.h"

/* An empty one. New reference or NULL. */
PyObject *error_list_new(void);

/* How many errors there are; 0 also for NULL. */
Py_ssize_t error_list_count(PyObject *list);

/* The first one. Borrowed; there is one. */
PyObject *error_list_first(PyObject *list);

/* Adds an error (borrowed) at the end, or before all others. */
void error_list_append(PyObject *list, PyObject *error);
void error_list_prepend(PyObject *list, PyObject *error);

/* Sets the exception that stands for them, of which there are some: a group. */
void error_list_raise(PyObject *list);

/* Reports all of them; `where` as for error_report(). */
void error_list_report(PyObject *list, const char *where);

#endif
