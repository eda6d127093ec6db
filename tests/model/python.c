/* Interpreter: see python.h. An exception is its type; each thread has its own current one. References are counted with the
 * inline functions of the real headers, for which all threads of a model are one. What is not here is not linked: the
 * explored code must not come to it.
 */
#include "python.h"

#include "errors.h"
#include "explore.h"
#include "support.h"

Support support;
static _Thread_local PyObject *current_error;
static PyThreadState thread_state;

static PyObject error_objects[ERROR_TYPES];
static PyObject type_error, runtime_error, os_error, timeout_error, memory_error, recursion_error,
    value_error, stop_async_iteration, generator_exit, keyboard_interrupt, overflow_error;
static PyStopIterationObject stop_iteration;

PyObject *PyExc_TypeError = &type_error;
PyObject *PyExc_RuntimeError = &runtime_error;
PyObject *PyExc_OSError = &os_error;
PyObject *PyExc_TimeoutError = &timeout_error;
PyObject *PyExc_MemoryError = &memory_error;
PyObject *PyExc_RecursionError = &recursion_error;
PyObject *PyExc_ValueError = &value_error;
PyObject *PyExc_StopAsyncIteration = &stop_async_iteration;
PyObject *PyExc_GeneratorExit = &generator_exit;
PyObject *PyExc_KeyboardInterrupt = &keyboard_interrupt;
PyObject *PyExc_OverflowError = &overflow_error;
PyObject *PyExc_StopIteration = (PyObject *)&stop_iteration;

PyTypeObject PyGen_Type;
PyTypeObject PyType_Type;
PyObject _Py_NoneStruct;

#define MOST_BYTES 16 /* of a message */

static void
object_free(PyObject *object)
{
    object->ob_type = NULL;
}

PyTypeObject PyCoro_Type = {.tp_name = "coroutine", .tp_dealloc = object_free};
PyTypeObject PyBaseObject_Type = {.tp_name = "object", .tp_dealloc = object_free};
PyTypeObject PyBytes_Type = {
    .tp_name = "bytes", .tp_dealloc = object_free, .tp_flags = Py_TPFLAGS_BYTES_SUBCLASS};
PyTypeObject PyTuple_Type = {
    .tp_name = "tuple", .tp_dealloc = object_free, .tp_flags = Py_TPFLAGS_TUPLE_SUBCLASS};

static void
immortal(PyObject *object)
{
    object->ob_ref_local = UINT32_MAX; /* not counted */
    object->ob_type = &PyBaseObject_Type;
}

void
python_reset(void)
{
    PyObject *errors[] = {
        PyExc_TypeError,     PyExc_RuntimeError,      PyExc_OSError,       PyExc_TimeoutError,
        PyExc_MemoryError,   PyExc_RecursionError,    PyExc_ValueError,    PyExc_StopAsyncIteration,
        PyExc_GeneratorExit, PyExc_KeyboardInterrupt, PyExc_OverflowError, PyExc_StopIteration,
        &_Py_NoneStruct,
    };

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        immortal(errors[i]);
    }
    for (size_t i = 0; i < ERROR_TYPES; i++) {
        immortal(&error_objects[i]);
    }
    stop_iteration.value = NULL;
    model_local(&current_error, sizeof(current_error));
}

/* ---- objects --------------------------------------------------------------------------------------------- */

static void *
object_new(PyTypeObject *type, size_t size)
{
    PyObject *object = model_memory(size, 16);
    object->ob_tid = _Py_ThreadId();
    object->ob_ref_local = 1;
    object->ob_type = type;
    return object;
}

PyObject *
_PyObject_New(PyTypeObject *type)
{
    return object_new(type, (size_t)type->tp_basicsize);
}

PyObject *
_PyObject_GC_New(PyTypeObject *type)
{
    return object_new(type, (size_t)type->tp_basicsize);
}

PyVarObject *
_PyObject_GC_NewVar(PyTypeObject *type, Py_ssize_t size)
{
    PyVarObject *object = object_new(type, (size_t)(type->tp_basicsize + size * type->tp_itemsize));
    object->ob_size = size;
    return object;
}

void
PyObject_GC_Track(void *object)
{
    (void)object;
}

void
PyObject_GC_UnTrack(void *object)
{
    (void)object;
}

void
PyObject_GC_Del(void *object)
{
    object_free(object);
}

void
PyObject_Free(void *object)
{
    object_free(object);
}

void
_Py_MergeZeroLocalRefcount(PyObject *object)
{
    model_check(object->ob_type != NULL);
    object->ob_type->tp_dealloc(object);
}

bool
python_is_freed(PyObject *object)
{
    return object->ob_type == NULL;
}

int
PyObject_CallFinalizerFromDealloc(PyObject *object)
{
    object->ob_type->tp_finalize(object);
    return 0;
}

PyObject *
python_object(void)
{
    return object_new(&PyBaseObject_Type, sizeof(PyObject));
}

/* There is room for what the models receive. */
PyObject *
PyBytes_FromStringAndSize(const char *bytes, Py_ssize_t size)
{
    PyVarObject *object = object_new(&PyBytes_Type, sizeof(PyBytesObject) + MOST_BYTES);
    (void)bytes;
    object->ob_size = size;
    return (PyObject *)object;
}

PyObject *
PyTuple_New(Py_ssize_t size)
{
    PyTupleObject *tuple =
        object_new(&PyTuple_Type, sizeof(PyTupleObject) + (size_t)size * sizeof(PyObject *));
    tuple->ob_base.ob_size = size;
    return (PyObject *)tuple;
}

void *
PyMem_Malloc(size_t size)
{
    return model_memory(size, 16);
}

void
PyMem_Free(void *memory)
{
    (void)memory;
}

int
PyType_Ready(PyTypeObject *type)
{
    (void)type;
    return 0;
}

PyObject *
PyContext_CopyCurrent(void)
{
    return Py_NewRef(Py_None);
}

/* ---- coroutines ------------------------------------------------------------------------------------------ */

PyObject *
python_coroutine(PyObject *(*body)(ModelCoroutine *, PyObject *, PyObject *), void *data)
{
    ModelCoroutine *self = object_new(&PyCoro_Type, sizeof(ModelCoroutine));
    self->body = body;
    self->data = data;
    return (PyObject *)self;
}

PySendResult
PyIter_Send(PyObject *object, PyObject *value, PyObject **result)
{
    ModelCoroutine *self = (ModelCoroutine *)object;
    *result = self->body(self, value, NULL);
    self->step++;
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

/* Only `throw` is asked for: the coroutine itself stands for its method. */
int
PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **method)
{
    (void)name;
    *method = Py_NewRef(object);
    return 1;
}

PyObject *
PyObject_CallOneArg(PyObject *method, PyObject *error)
{
    ModelCoroutine *self = (ModelCoroutine *)method;
    PyObject *result = self->body(self, NULL, error);
    self->step++;
    if (result == NULL) {
        self->base.gi_frame_state = 1; /* another than before: it has ended */
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

/* What PyObject_CallMethodOneArg() is made of. */
PyObject *
PyObject_VectorcallMethod(PyObject *name, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    (void)name;
    (void)nargsf;
    (void)kwnames;
    return PyObject_CallOneArg(args[0], args[1]);
}

/* ---- errors ---------------------------------------------------------------------------------------------- */

PyObject *
error_type(ErrorType type)
{
    return &error_objects[type];
}

void
error_set_cancelled(void)
{
    current_error = error_type(ERROR_TASK_CANCELLED);
}

bool
error_is_cancelled(PyObject *error)
{
    return error == error_type(ERROR_TASK_CANCELLED);
}

bool
error_ends_run(PyObject *error)
{
    (void)error;
    return false;
}

void
error_report(PyObject *error, const char *where)
{
    (void)error;
    model_fail("an error that nobody receives", where);
}

void
error_report_current(const char *where)
{
    model_fail("an error that nobody receives", where);
}

PyObject *
PyErr_Format(PyObject *type, const char *format, ...)
{
    (void)format;
    current_error = type;
    return NULL;
}

void
PyErr_SetString(PyObject *type, const char *text)
{
    (void)text;
    current_error = type;
}

void
PyErr_SetNone(PyObject *type)
{
    current_error = type;
}

PyObject *
PyErr_SetFromErrno(PyObject *type)
{
    current_error = type;
    return NULL;
}

PyObject *
PyErr_NoMemory(void)
{
    current_error = PyExc_MemoryError;
    return NULL;
}

PyObject *
PyErr_Occurred(void)
{
    return current_error;
}

void
PyErr_Clear(void)
{
    current_error = NULL;
}

int
PyErr_ExceptionMatches(PyObject *type)
{
    return current_error == type;
}

PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *error = current_error;
    current_error = NULL;
    return error;
}

void
PyErr_SetRaisedException(PyObject *error)
{
    current_error = error;
}

int
PyErr_WarnFormat(PyObject *category, Py_ssize_t level, const char *format, ...)
{
    (void)category;
    (void)level;
    model_fail("a warning", format);
}

/* ---- threads --------------------------------------------------------------------------------------------- */

PyThreadState *
PyEval_SaveThread(void)
{
    return &thread_state;
}

void
PyEval_RestoreThread(PyThreadState *state)
{
    (void)state;
}

int
Py_IsFinalizing(void)
{
    return 0;
}

PyThreadState *
PyThreadState_Get(void)
{
    return &thread_state;
}

PyThreadState *
PyThreadState_GetUnchecked(void)
{
    return &thread_state;
}

PyObject *
PyObject_CallNoArgs(PyObject *function)
{
    (void)function; /* only what lets the interpreter attend to the thread */
    return Py_NewRef(Py_None);
}

/* The count of the process's threads: none but the workers. */
size_t
PyLong_AsSize_t(PyObject *number)
{
    (void)number;
    return 1;
}
