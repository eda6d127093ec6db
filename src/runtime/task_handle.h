/* Task handle: the Python object `tonio.Task` that stands for a running task (current_task()). */
#ifndef TONIO_RUNTIME_TASK_HANDLE_H
#define TONIO_RUNTIME_TASK_HANDLE_H

#include "runtime/task.h"

/* Owner, before the task's memory is given back: the handle, if there is one, stands for an ended task from now on. */
void task_handle_ended(Task *task);

/* What the task is called: its coroutine's name. New reference, or NULL with an exception set. */
PyObject *task_describe(Task *task);

int task_handle_module_init(PyObject *module);

#endif
