/* Module: tonio._core, put together from what the layers offer. */
#include "errors.h"
#include "runtime/operation.h"
#include "runtime/runtime.h"
#include "runtime/task_handle.h"
#include "support.h"
#include "types/types.h"

static int
core_exec(PyObject *module)
{
    /* clang-format off */
    int (*const parts[])(PyObject *) = {
        errors_module_init,
        support_module_init,
        runtime_module_init,
        runtime_type_module_init,
        task_handle_module_init,
        event_module_init,
        join_module_init,
        spawn_module_init,
        time_module_init,
        hosting_module_init,
        scope_module_init,
        block_on_module_init,
        pinned_module_init,
        select_module_init,
        as_completed_module_init,
        socket_module_init,
        socket_resolve_module_init,
        stream_module_init,
        descriptor_module_init,
        permits_module_init,
        lock_module_init,
        semaphore_module_init,
        barrier_module_init,
        channel_module_init,
        condition_module_init,
        rwlock_module_init,
        once_module_init,
        hub_module_init,
        broadcast_module_init,
        watch_module_init,
    };
    /* clang-format on */

    if (operation_type_ready(&Operation_Type) < 0 ||
        PyModule_AddType(module, &Operation_Type) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i](module) < 0) {
            return -1;
        }
    }
    /* Functions that every thread calls all the time: counting references to them would make the threads wait for each
     * other. */
    PyObject *key;
    PyObject *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(PyModule_GetDict(module), &position, &key, &value)) {
        if (PyCFunction_Check(value)) {
            object_immortalize(value);
        }
    }
    return 0;
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
    {0, NULL},
};

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tonio._core",
    .m_doc = "The core of TonIO; use the package `tonio`.",
    .m_slots = core_slots,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
