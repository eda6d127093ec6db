/* Support: see support.h. */
#include "support.h"

Support support;

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
        {&support.enter_thread, "enter_thread"},
        {&support.install_interrupt, "install_interrupt"},
        {&support.is_main_thread, "is_main_thread"},
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
    support.name_close = PyUnicode_InternFromString("close");
    support.name_join = PyUnicode_InternFromString("join");
    support.name_throw = PyUnicode_InternFromString("throw");
    return support.name_close == NULL || support.name_join == NULL || support.name_throw == NULL
               ? -1
               : 0;
}
