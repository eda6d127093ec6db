/* Error list: see error_list.h. An empty one has None in the place that is kept for the first error. */
#include "types/error_list.h"

#include "errors.h"

PyObject *
error_list_new(void)
{
    PyObject *list = PyList_New(1);

    if (list != NULL) {
        PyList_SET_ITEM(list, 0, Py_None);
    }
    return list;
}

Py_ssize_t
error_list_count(PyObject *list)
{
    return list == NULL || PyList_GET_ITEM(list, 0) == Py_None ? 0 : PyList_GET_SIZE(list);
}

PyObject *
error_list_first(PyObject *list)
{
    return PyList_GET_ITEM(list, 0);
}

/* The first one takes the place that is kept. */
static void
list_add(PyObject *list, PyObject *error, bool first)
{
    if (error_list_count(list) == 0) {
        PyList_SET_ITEM(list, 0, Py_NewRef(error)); /* None is immortal */
    }
    else if ((first ? PyList_Insert(list, 0, error) : PyList_Append(list, error)) < 0) {
        PyErr_Clear();
        error_report(error, "because there is no memory to raise it with others");
    }
}

void
error_list_append(PyObject *list, PyObject *error)
{
    list_add(list, error, false);
}

void
error_list_prepend(PyObject *list, PyObject *error)
{
    list_add(list, error, true);
}

void
error_list_raise(PyObject *list)
{
    PyObject *group =
        PyObject_CallFunction(PyExc_BaseExceptionGroup, "sO", "errors in a scope", list);

    if (group != NULL) {
        PyErr_SetRaisedException(group);
        return;
    }
    PyObject *reason = PyErr_GetRaisedException();
    error_list_report(list, "because there is no memory for a group of errors");
    PyErr_SetRaisedException(reason);
}

void
error_list_report(PyObject *list, const char *where)
{
    for (Py_ssize_t i = 0; i < error_list_count(list); i++) {
        error_report(PyList_GET_ITEM(list, i), where);
    }
}
