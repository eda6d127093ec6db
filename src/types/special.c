/* Special methods: those that `with` looks up each time, bound at less cost.
 *
 * `async with` binds two methods, __aenter__ and __aexit__, each time. The interpreter makes an object for it that can be
 * referred to weakly and that the collector knows; for an operation that lives as long as the block these two are a fifth
 * of what a free lock costs. A BoundSpecial is neither. So it fits only types whose objects have no attributes of
 * their own: such an object can never refer to its bound method, and no cycle comes into being.
 *
 * Nothing is shared: a descriptor never changes, and a bound method belongs to whoever looked it up.
 */
#include "types/special.h"

#include "types/types.h"

typedef struct SpecialDescriptor {
    PyObject_HEAD const SpecialMethod *method;
} SpecialDescriptor;

typedef struct BoundSpecial {
    PyObject_HEAD vectorcallfunc vectorcall;
    const SpecialMethod *method;
    PyObject *self; /* owned */
} BoundSpecial;

static PyTypeObject SpecialDescriptor_Type;
static PyTypeObject BoundSpecial_Type;

static PyObject *
BoundSpecial_call(PyObject *object, PyObject *const *args, size_t flags, PyObject *names)
{
    BoundSpecial *bound = (BoundSpecial *)object;
    Py_ssize_t count = PyVectorcall_NARGS(flags);

    if (count != bound->method->arguments || (names != NULL && PyTuple_GET_SIZE(names) > 0)) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments", bound->method->name,
                     bound->method->arguments);
        return NULL;
    }
    return bound->method->function(bound->self, args, count);
}

static PyObject *
SpecialDescriptor_get(PyObject *object, PyObject *self, PyObject *Py_UNUSED(type))
{
    if (self == NULL) {
        return Py_NewRef(object);
    }
    BoundSpecial *bound = PyObject_New(BoundSpecial, &BoundSpecial_Type);
    if (bound != NULL) {
        bound->vectorcall = BoundSpecial_call;
        bound->method = ((SpecialDescriptor *)object)->method;
        bound->self = Py_NewRef(self);
    }
    return (PyObject *)bound;
}

static void
BoundSpecial_dealloc(PyObject *object)
{
    Py_DECREF(((BoundSpecial *)object)->self);
    PyObject_Free(object);
}

static PyObject *
BoundSpecial_repr(PyObject *object)
{
    BoundSpecial *bound = (BoundSpecial *)object;
    return PyUnicode_FromFormat("<bound method %s of %R>", bound->method->name, bound->self);
}

static PyObject *
SpecialDescriptor_repr(PyObject *object)
{
    return PyUnicode_FromFormat("<method %s>", ((SpecialDescriptor *)object)->method->name);
}

static PyTypeObject BoundSpecial_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.BoundSpecial",
    .tp_basicsize = sizeof(BoundSpecial),
    .tp_dealloc = BoundSpecial_dealloc,
    .tp_repr = BoundSpecial_repr,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(BoundSpecial, vectorcall),
    .tp_call = PyVectorcall_Call,
};

static PyTypeObject SpecialDescriptor_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.SpecialDescriptor",
    .tp_basicsize = sizeof(SpecialDescriptor),
    .tp_dealloc = (destructor)PyObject_Free,
    .tp_repr = SpecialDescriptor_repr,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_descr_get = SpecialDescriptor_get,
};

int
special_methods_add(PyTypeObject *type, const SpecialMethod *methods)
{
    if (type->tp_dict == NULL && (type->tp_dict = PyDict_New()) == NULL) {
        return -1;
    }
    for (; methods->name != NULL; methods++) {
        SpecialDescriptor *descriptor = PyObject_New(SpecialDescriptor, &SpecialDescriptor_Type);
        if (descriptor == NULL) {
            return -1;
        }
        descriptor->method = methods;
        int added = PyDict_SetItemString(type->tp_dict, methods->name, (PyObject *)descriptor);
        Py_DECREF(descriptor);
        if (added < 0) {
            return -1;
        }
    }
    return 0;
}

int
special_module_init(PyObject *Py_UNUSED(module))
{
    return PyType_Ready(&BoundSpecial_Type) < 0 || PyType_Ready(&SpecialDescriptor_Type) < 0 ? -1
                                                                                             : 0;
}
