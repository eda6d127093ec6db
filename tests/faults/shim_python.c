/* Shim, interpreter half: wrappers of functions of CPython that allocate. One that fails raises MemoryError and does nothing.
 *
 * Functions that set an exception need memory for it, so they may set MemoryError in its place.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "shim.h"

#include <errno.h>
#include <stdarg.h>

void fault_object_taken(void *object);

enum {
#define SYMBOL(name, ...) SYMBOL_##name,
#include "symbols.h"
#undef SYMBOL
};

#define HERE(name) fault_here(SYMBOL_##name, __builtin_return_address(0))

#define WRAP(type, name, parameters, arguments, failed)                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (HERE(name)) {                                                                          \
            PyErr_NoMemory();                                                                      \
            return failed;                                                                         \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }

#define WRAP_OBJECT(name, parameters, arguments) WRAP(PyObject *, name, parameters, arguments, NULL)
#define WRAP_STATUS(name, parameters, arguments) WRAP(int, name, parameters, arguments, -1)

/* ---- the extension's own objects ------------------------------------------------------------------------- */

#define WRAP_NEW(type, name, parameters, arguments)                                                \
    type *__real_##name parameters;                                                                \
    type *__wrap_##name parameters;                                                                \
    type *__wrap_##name parameters                                                                 \
    {                                                                                              \
        if (HERE(name)) {                                                                          \
            return (type *)PyErr_NoMemory();                                                       \
        }                                                                                          \
        type *object = __real_##name arguments;                                                    \
        fault_object_taken(object);                                                                \
        return object;                                                                             \
    }

WRAP_NEW(PyObject, _PyObject_New, (PyTypeObject * type), (type))
WRAP_NEW(PyObject, _PyObject_GC_New, (PyTypeObject * type), (type))
WRAP_NEW(PyVarObject, _PyObject_GC_NewVar, (PyTypeObject * type, Py_ssize_t count), (type, count))

/* ---- objects --------------------------------------------------------------------------------------------- */

WRAP_OBJECT(PyBytes_FromObject, (PyObject * object), (object))
WRAP_OBJECT(PyBytes_FromStringAndSize, (const char *data, Py_ssize_t size), (data, size))
WRAP_OBJECT(PyCapsule_New, (void *pointer, const char *name, PyCapsule_Destructor destructor),
            (pointer, name, destructor))
WRAP_OBJECT(PyCMethod_New,
            (PyMethodDef * method, PyObject *self, PyObject *module, PyTypeObject *type),
            (method, self, module, type))
WRAP_OBJECT(PyContext_CopyCurrent, (void), ())
WRAP_OBJECT(PyDict_New, (void), ())
WRAP_OBJECT(PyFloat_FromDouble, (double value), (value))
WRAP_OBJECT(PyImport_ImportModule, (const char *name), (name))
WRAP_OBJECT(PyList_New, (Py_ssize_t size), (size))
WRAP_OBJECT(PyTuple_New, (Py_ssize_t size), (size))
WRAP_OBJECT(PySequence_Fast, (PyObject * object, const char *message), (object, message))
WRAP_OBJECT(PySequence_List, (PyObject * object), (object))
WRAP_OBJECT(PySequence_Tuple, (PyObject * object), (object))
WRAP_OBJECT(PyStructSequence_New, (PyTypeObject * type), (type))
WRAP(PyTypeObject *, PyStructSequence_NewType, (PyStructSequence_Desc * description), (description),
     NULL)
WRAP_OBJECT(Py_GenericAlias, (PyObject * origin, PyObject *arguments), (origin, arguments))
WRAP_OBJECT(PyUnicode_AsASCIIString, (PyObject * text), (text))
WRAP_OBJECT(PyUnicode_AsEncodedString, (PyObject * text, const char *encoding, const char *errors),
            (text, encoding, errors))
WRAP_OBJECT(PyUnicode_AsUTF8String, (PyObject * text), (text))
WRAP_OBJECT(PyUnicode_DecodeFSDefault, (const char *text), (text))
WRAP_OBJECT(PyUnicode_DecodeFSDefaultAndSize, (const char *text, Py_ssize_t size), (text, size))
WRAP_OBJECT(PyUnicode_EncodeFSDefault, (PyObject * text), (text))
WRAP_OBJECT(PyUnicode_FromString, (const char *text), (text))
WRAP_OBJECT(PyUnicode_InternFromString, (const char *text), (text))
WRAP_OBJECT(PyUnicode_Join, (PyObject * separator, PyObject *parts), (separator, parts))
WRAP(const char *, PyUnicode_AsUTF8, (PyObject * text), (text), NULL)

/* The interpreter has small numbers ready. */
#define WRAP_NUMBER(name, type)                                                                    \
    PyObject *__real_##name(type value);                                                           \
    PyObject *__wrap_##name(type value);                                                           \
    PyObject *__wrap_##name(type value)                                                            \
    {                                                                                              \
        bool small = (long long)value >= -5 && (long long)value <= 256;                            \
        return !small && HERE(name) ? PyErr_NoMemory() : __real_##name(value);                     \
    }

WRAP_NUMBER(PyLong_FromLong, long)
WRAP_NUMBER(PyLong_FromSize_t, size_t)
WRAP_NUMBER(PyLong_FromSsize_t, Py_ssize_t)
WRAP_NUMBER(PyLong_FromUnsignedLong, unsigned long)
WRAP_NUMBER(PyLong_FromUnsignedLongLong, unsigned long long)

/* ---- changing objects ------------------------------------------------------------------------------------ */

WRAP_STATUS(PyDict_SetItem, (PyObject * dict, PyObject *key, PyObject *value), (dict, key, value))
WRAP_STATUS(PyList_Append, (PyObject * list, PyObject *item), (list, item))
WRAP_STATUS(PyList_Insert, (PyObject * list, Py_ssize_t index, PyObject *item), (list, index, item))
WRAP_STATUS(PyModule_AddFunctions, (PyObject * module, PyMethodDef *functions), (module, functions))
WRAP_STATUS(PyModule_AddObjectRef, (PyObject * module, const char *name, PyObject *value),
            (module, name, value))
WRAP_STATUS(PyModule_AddType, (PyObject * module, PyTypeObject *type), (module, type))
WRAP_STATUS(PyObject_GetBuffer, (PyObject * object, Py_buffer *view, int flags),
            (object, view, flags))
WRAP_STATUS(PyType_Ready, (PyTypeObject * type), (type))

int __real_PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **value);
int __wrap_PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **value);
int
__wrap_PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **value)
{
    if (HERE(PyObject_GetOptionalAttr)) {
        *value = NULL;
        PyErr_NoMemory();
        return -1;
    }
    return __real_PyObject_GetOptionalAttr(object, name, value);
}

/* ---- calls ----------------------------------------------------------------------------------------------- */

WRAP_OBJECT(PyObject_Call, (PyObject * callable, PyObject *args, PyObject *kwargs),
            (callable, args, kwargs))
WRAP_OBJECT(PyObject_CallNoArgs, (PyObject * callable), (callable))
WRAP_OBJECT(PyObject_CallOneArg, (PyObject * callable, PyObject *argument), (callable, argument))
WRAP_OBJECT(PyObject_VectorcallMethod,
            (PyObject * name, PyObject *const *args, size_t nargsf, PyObject *kwnames),
            (name, args, nargsf, kwnames))
WRAP_OBJECT(PyObject_GetAttr, (PyObject * object, PyObject *name), (object, name))
WRAP_OBJECT(PyObject_GetAttrString, (PyObject * object, const char *name), (object, name))
WRAP_OBJECT(PyObject_Repr, (PyObject * object), (object))
WRAP_OBJECT(PyObject_Str, (PyObject * object), (object))

#define MOST_ARGUMENTS 8

PyObject *__wrap_PyObject_CallFunctionObjArgs(PyObject *callable, ...);
PyObject *
__wrap_PyObject_CallFunctionObjArgs(PyObject *callable, ...)
{
    PyObject *args[MOST_ARGUMENTS];
    size_t count = 0;
    va_list arguments;

    va_start(arguments, callable);
    while ((args[count] = va_arg(arguments, PyObject *)) != NULL) {
        if (++count == MOST_ARGUMENTS) {
            Py_FatalError("the shim knows calls of seven arguments only");
        }
    }
    va_end(arguments);
    return HERE(PyObject_CallFunctionObjArgs) ? PyErr_NoMemory()
                                              : PyObject_Vectorcall(callable, args, count, NULL);
}

PyObject *__wrap_PyTuple_Pack(Py_ssize_t count, ...);
PyObject *
__wrap_PyTuple_Pack(Py_ssize_t count, ...)
{
    va_list arguments;
    PyObject *tuple = HERE(PyTuple_Pack) ? NULL : __real_PyTuple_New(count);

    if (tuple == NULL) {
        return PyErr_NoMemory();
    }
    va_start(arguments, count);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(va_arg(arguments, PyObject *)));
    }
    va_end(arguments);
    return tuple;
}

/* What the arguments of a format would have had taken from them is released by building them all the same. */
PyObject *__wrap_Py_BuildValue(const char *format, ...);
PyObject *
__wrap_Py_BuildValue(const char *format, ...)
{
    va_list arguments;
    bool fails = HERE(Py_BuildValue) != 0;

    va_start(arguments, format);
    PyObject *value = Py_VaBuildValue(format, arguments);
    va_end(arguments);
    if (fails) {
        Py_XDECREF(value);
        return PyErr_NoMemory();
    }
    return value;
}

PyObject *__wrap_PyObject_CallFunction(PyObject *callable, const char *format, ...);
PyObject *
__wrap_PyObject_CallFunction(PyObject *callable, const char *format, ...)
{
    va_list arguments;
    bool fails = HERE(PyObject_CallFunction) != 0;
    PyObject *result = NULL;

    va_start(arguments, format);
    PyObject *value = Py_VaBuildValue(format, arguments);
    va_end(arguments);
    if (fails) {
        Py_XDECREF(value);
        return PyErr_NoMemory();
    }
    if (value != NULL && !PyTuple_Check(value)) {
        result = __real_PyObject_CallOneArg(callable, value);
    }
    else if (value != NULL) {
        result = __real_PyObject_Call(callable, value, NULL);
    }
    Py_XDECREF(value);
    return result;
}

PyObject *__wrap_PyUnicode_FromFormat(const char *format, ...);
PyObject *
__wrap_PyUnicode_FromFormat(const char *format, ...)
{
    va_list arguments;

    if (HERE(PyUnicode_FromFormat)) {
        return PyErr_NoMemory();
    }
    va_start(arguments, format);
    PyObject *text = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    return text;
}

int __wrap_PyArg_ParseTuple(PyObject *args, const char *format, ...);
int
__wrap_PyArg_ParseTuple(PyObject *args, const char *format, ...)
{
    va_list arguments;

    if (HERE(PyArg_ParseTuple)) {
        PyErr_NoMemory();
        return 0;
    }
    va_start(arguments, format);
    int parsed = PyArg_VaParse(args, format, arguments);
    va_end(arguments);
    return parsed;
}

int __wrap_PyArg_ParseTupleAndKeywords(PyObject *args, PyObject *kwargs, const char *format,
                                       char *const *names, ...);
int
__wrap_PyArg_ParseTupleAndKeywords(PyObject *args, PyObject *kwargs, const char *format,
                                   char *const *names, ...)
{
    va_list arguments;

    if (HERE(PyArg_ParseTupleAndKeywords)) {
        PyErr_NoMemory();
        return 0;
    }
    va_start(arguments, names);
    int parsed = PyArg_VaParseTupleAndKeywords(args, kwargs, format, names, arguments);
    va_end(arguments);
    return parsed;
}

int __wrap_PySys_Audit(const char *event, const char *format, ...);
int
__wrap_PySys_Audit(const char *event, const char *format, ...)
{
    va_list arguments;
    int status = -1;

    if (HERE(PySys_Audit)) {
        PyErr_NoMemory();
        return -1;
    }
    va_start(arguments, format);
    PyObject *value = format == NULL || *format == '\0' ? __real_PyTuple_New(0)
                                                        : Py_VaBuildValue(format, arguments);
    va_end(arguments);
    if (value != NULL && !PyTuple_Check(value)) {
        PyObject *tuple = __real_PyTuple_New(1);
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, 0, Py_NewRef(value));
        }
        Py_SETREF(value, tuple);
    }
    if (value != NULL) {
        status = PySys_AuditTuple(event, value);
        Py_DECREF(value);
    }
    return status;
}

/* ---- setting exceptions ---------------------------------------------------------------------------------- */

#define WRAP_SET(name, parameters, arguments)                                                      \
    void __real_##name parameters;                                                                 \
    void __wrap_##name parameters;                                                                 \
    void __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (HERE(name)) {                                                                          \
            PyErr_NoMemory();                                                                      \
        }                                                                                          \
        else {                                                                                     \
            __real_##name arguments;                                                               \
        }                                                                                          \
    }

WRAP_SET(PyErr_SetNone, (PyObject * type), (type))
WRAP_SET(PyErr_SetObject, (PyObject * type, PyObject *value), (type, value))
WRAP_SET(PyErr_SetString, (PyObject * type, const char *text), (type, text))
WRAP_OBJECT(PyErr_SetFromErrno, (PyObject * type), (type))

PyObject *__wrap_PyErr_Format(PyObject *type, const char *format, ...);
PyObject *
__wrap_PyErr_Format(PyObject *type, const char *format, ...)
{
    va_list arguments;

    if (HERE(PyErr_Format)) {
        return PyErr_NoMemory();
    }
    va_start(arguments, format);
    PyErr_FormatV(type, format, arguments);
    va_end(arguments);
    return NULL;
}

int __wrap_PyErr_WarnFormat(PyObject *category, Py_ssize_t level, const char *format, ...);
int
__wrap_PyErr_WarnFormat(PyObject *category, Py_ssize_t level, const char *format, ...)
{
    va_list arguments;
    int status = -1;

    if (HERE(PyErr_WarnFormat)) {
        PyErr_NoMemory();
        return -1;
    }
    va_start(arguments, format);
    PyObject *text = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (text != NULL) {
        const char *utf8 = __real_PyUnicode_AsUTF8(text);
        status = utf8 == NULL ? -1 : PyErr_WarnEx(category, utf8, level);
        Py_DECREF(text);
    }
    return status;
}

/* ---- threads --------------------------------------------------------------------------------------------- */

PyObject *__real_thread_start(const char *name, void (*body)(void *argument), void *argument);
PyObject *__wrap_thread_start(const char *name, void (*body)(void *argument), void *argument);
PyObject *
__wrap_thread_start(const char *name, void (*body)(void *argument), void *argument)
{
    switch (HERE(thread_start)) {
    case 0:
        return __real_thread_start(name, body, argument);
    case FAULT_MEMORY:
        return PyErr_NoMemory();
    default:
        __real_PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
        return NULL;
    }
}
