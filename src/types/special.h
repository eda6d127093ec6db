/* Special methods: those that `with` looks up each time, bound at less cost. See special.c. */
#ifndef TONIO_TYPES_SPECIAL_H
#define TONIO_TYPES_SPECIAL_H

#include "compat.h"

typedef struct SpecialMethod {
    const char *name;
    PyCFunctionFast function; /* called with as many arguments as the interpreter gives */
    Py_ssize_t arguments;     /* how many these are */
} SpecialMethod;

/* Adds them (the array ends with a NULL name and lives on) to a type that is not ready yet. -1 with an exception set. */
int special_methods_add(PyTypeObject *type, const SpecialMethod *methods);

#endif
