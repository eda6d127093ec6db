/* Support: see support.h. */
#include "support.h"

Support support;

PyObject *
support_call_surely(PyObject *function, PyObject *argument)
{
    PyObject *struck = NULL;

    for (int attempts = 0; attempts < 3; attempts++) {
        PyObject *result = argument == NULL ? PyObject_CallNoArgs(function)
                                            : PyObject_CallOneArg(function, argument);
        if (result != NULL) {
            Py_DECREF(result);
            break;
        }
        PyObject *error = PyErr_GetRaisedException();
        Py_XSETREF(struck, error);
    }
    return struck;
}

int
support_module_init(PyObject *Py_UNUSED(module))
{
    const struct {
        PyObject **place;
        const char *name;
    } functions[] = {
        {&support.after_fork, "after_fork"},
        {&support.breathe, "breathe"},
        {&support.count_threads, "count_threads"},
        {&support.describe_running, "describe_running"},
        {&support.describe_wait, "describe_wait"},
        {&support.enter_thread, "enter_thread"},
        {&support.install_interrupt, "install_interrupt"},
        {&support.is_main_thread, "is_main_thread"},
        {&support.make_generators, "Generators"},
        {&support.may_be_woken, "may_be_woken"},
        {&support.restore_interrupt, "restore_interrupt"},
        {&support.start_joinable_thread, "start_joinable_thread"},
    };
    PyObject *source = PyImport_ImportModule("tonio._support");

    if (source == NULL) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        *functions[i].place = PyObject_GetAttrString(source, functions[i].name);
        if (*functions[i].place == NULL) {
            Py_DECREF(source);
            return -1;
        }
    }
    Py_DECREF(source);
    const struct {
        PyObject **place;
        const char *name;
    } attributes[] = {
        {&support.name_asyncio_future, "_asyncio_future_blocking"},
        {&support.name_begun, "begun"},
        {&support.name_close, "close"},
        {&support.name_close_all, "close_all"},
        {&support.name_dropped, "dropped"},
        {&support.name_join, "join"},
        {&support.name_throw, "throw"},
    };
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        *attributes[i].place = PyUnicode_InternFromString(attributes[i].name);
        if (*attributes[i].place == NULL) {
            return -1;
        }
    }
    return 0;
}
