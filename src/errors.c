/* Errors: see errors.h. */
#include "errors.h"

static PyObject
    *types[ERROR_TYPES]; /* owned for ever; written once, while the module is imported */

static const char *const names[ERROR_TYPES] = {
    [ERROR_CANCELLED] = "CancelledError",
    [ERROR_TASK_CANCELLED] = "TaskCancelled",
    [ERROR_WOULD_BLOCK] = "WouldBlock",
    [ERROR_DEADLOCK] = "DeadlockError",
    [ERROR_NOT_INITIALIZED] = "RuntimeNotInitializedError",
    [ERROR_ALREADY_INITIALIZED] = "RuntimeAlreadyInitializedError",
    [ERROR_RESOURCE_BROKEN] = "ResourceBroken",
    [ERROR_RESOURCE_CLOSED] = "ResourceClosed",
    [ERROR_RESOURCE_BUSY] = "ResourceBusy",
    [ERROR_END_OF_CHANNEL] = "EndOfChannel",
    [ERROR_LAGGED] = "Lagged",
    [ERROR_INCOMPLETE_READ] = "IncompleteRead",
    [ERROR_DELIMITER_NOT_FOUND] = "DelimiterNotFound",
};

PyObject *
error_type(ErrorType type)
{
    return types[type];
}

void
error_set_cancelled(void)
{
    PyErr_SetNone(types[ERROR_CANCELLED]);
}

bool
error_is_cancelled(PyObject *error)
{
    return PyErr_GivenExceptionMatches(error, types[ERROR_CANCELLED]) ||
           PyErr_GivenExceptionMatches(error, PyExc_GeneratorExit);
}

bool
error_ends_run(PyObject *error)
{
    return PyErr_GivenExceptionMatches(error, PyExc_SystemExit) ||
           PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt);
}

void
error_report(PyObject *error, const char *where)
{
    PyObject *before = PyErr_GetRaisedException();
    PyErr_SetRaisedException(Py_NewRef(error));
    error_report_current(where);
    PyErr_SetRaisedException(before);
}

void
error_report_current(const char *where)
{
    PyErr_FormatUnraisable("Exception ignored %s", where);
}

/* report_error(error, where): for what is written in Python. */
static PyObject *
report_error(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *error;
    const char *where;

    if (!PyArg_ParseTuple(args, "Os:report_error", &error, &where)) {
        return NULL;
    }
    error_report(error, where);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"report_error", report_error, METH_VARARGS,
     "report_error(error, where, /)\n--\n\nHands an exception to sys.unraisablehook; `where` "
     "completes \"Exception ignored\"."},
    {NULL, NULL, 0, NULL},
};

int
errors_module_init(PyObject *module)
{
    PyObject *exceptions = PyImport_ImportModule("tonio.exceptions");
    if (exceptions == NULL) {
        return -1;
    }
    for (int i = 0; i < ERROR_TYPES; i++) {
        types[i] = PyObject_GetAttrString(exceptions, names[i]);
        if (types[i] == NULL) {
            Py_DECREF(exceptions);
            return -1;
        }
    }
    Py_DECREF(exceptions);
    return PyModule_AddFunctions(module, functions);
}
