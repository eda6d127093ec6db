/* Arguments: positional and keyword arguments of fast-call functions, and whole numbers among them. */
#include "types/types.h"

int
arguments_parse(const char *function, const char *const *names, Py_ssize_t required,
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **values)
{
    Py_ssize_t most = 0;
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);

    while (names[most] != NULL) {
        most++;
    }
    if (nargs > most) {
        PyErr_Format(PyExc_TypeError, "%s takes at most %zd arguments (%zd given)", function, most,
                     nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < most; i++) {
        values[i] = i < nargs ? args[i] : NULL;
    }
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = 0;
        while (i < most && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) {
            i++;
        }
        if (i == most || values[i] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         i == most ? "%s has no argument %R" : "%s got two values for %R", function,
                         name);
            return -1;
        }
        values[i] = args[nargs + k];
    }
    for (Py_ssize_t i = 0; i < required; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s needs the argument '%s'", function, names[i]);
            return -1;
        }
    }
    return 0;
}

int
size_from_object(PyObject *object, const char *argument, Py_ssize_t least, Py_ssize_t *size)
{
    int overflow;

    if (!PyLong_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be an integer, not %.200s", argument,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow > 0 || value > PY_SSIZE_T_MAX) {
        PyErr_Format(PyExc_ValueError, "%s must be at most %zd", argument, PY_SSIZE_T_MAX);
        return -1;
    }
    if (overflow < 0 || value < least) {
        PyErr_Format(PyExc_ValueError, "%s must be at least %zd", argument, least);
        return -1;
    }
    *size = (Py_ssize_t)value;
    return 0;
}
