/* Interpreter: just enough of one for tasks to run. The headers are the real ones, so the structures are, too. */
#ifndef TONIO_MODEL_PYTHON_H
#define TONIO_MODEL_PYTHON_H

#include "compat.h"

/* A coroutine. `body` is called for each resumption with what is sent, or thrown (borrowed, the other is NULL), and gives
 * what is yielded (new reference), or NULL at the end; `step` counts the calls. */
typedef struct ModelCoroutine {
    PyGenObject base; /* of which only the state is used */
    PyObject *(*body)(struct ModelCoroutine *self, PyObject *sent, PyObject *thrown);
    void *data;
    int step;
} ModelCoroutine;

PyObject *python_coroutine(PyObject *(*body)(ModelCoroutine *, PyObject *, PyObject *), void *data);

/* Any object: to be sent and received. */
PyObject *python_object(void);

/* In `start`. */
void python_reset(void);

/* What this object's last reference was dropped: at most once, and nobody has it then. */
bool python_is_freed(PyObject *object);

#endif
