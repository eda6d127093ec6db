/* Socket resolve: getaddrinfo() and getnameinfo() as operations that wait for a Lookup (runtime/lookup.h).
 *
 * The arguments and results are those of the standard functions. Attached; the operation belongs to its task, the lookup is
 * shared with the thread that works on it.
 */
#include <errno.h>
#include <string.h>

#include "runtime/runtime.h"
#include "types/socket.h"
#include "types/types.h"

typedef struct ResolveOperation {
    Operation base;
    Lookup *lookup; /* owned */
} ResolveOperation;

static PyTypeObject ResolveOperation_Type;

/* ---- results --------------------------------------------------------------------------------------------- */

static PyObject *
entry_to_object(const struct addrinfo *entry)
{
    Address address = {.length = entry->ai_addrlen};
    PyObject *family = family_to_object(entry->ai_family);
    PyObject *kind = family == NULL ? NULL : kind_to_object(entry->ai_socktype);

    if (kind == NULL || entry->ai_addrlen > sizeof(address.storage)) {
        Py_XDECREF(family);
        Py_XDECREF(kind);
        return NULL;
    }
    memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    PyObject *name = address_to_object(&address);
    if (name == NULL) {
        Py_DECREF(family);
        Py_DECREF(kind);
        return NULL;
    }
    return Py_BuildValue("(NNisN)", family, kind, entry->ai_protocol,
                         entry->ai_canonname != NULL ? entry->ai_canonname : "", name);
}

static PyObject *
answer_to_object(const Lookup *lookup)
{
    if (lookup->error != 0) {
        lookup_set_error(lookup);
        return NULL;
    }
    if (lookup->by_address) {
        return Py_BuildValue("(ss)", lookup->host_name, lookup->service_name);
    }
    PyObject *list = PyList_New(0);
    for (struct addrinfo *entry = lookup->found; list != NULL && entry != NULL;
         entry = entry->ai_next) {
        PyObject *object = entry_to_object(entry);
        if (object == NULL || PyList_Append(list, object) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(object);
    }
    return list;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

static OperationResult
resolve_poll(Operation *base, Task *task, PyObject **result)
{
    Lookup *lookup = ((ResolveOperation *)base)->lookup;

    if (!lookup->started && lookup_start(lookup, task_runtime(task)->serial) < 0) {
        return OPERATION_ERROR;
    }
    if (!lookup_is_done(lookup)) {
        return OPERATION_PENDING;
    }
    *result = answer_to_object(lookup);
    return *result == NULL ? OPERATION_ERROR : OPERATION_READY;
}

static OperationResult
resolve_arm(Operation *base, Task *task, PyObject **Py_UNUSED(result))
{
    return lookup_arm(((ResolveOperation *)base)->lookup, task) ? OPERATION_PARKED
                                                                : OPERATION_PENDING;
}

static void
resolve_detach(Operation *base, Task *task)
{
    lookup_detach(((ResolveOperation *)base)->lookup, task);
}

static PyObject *
resolve_describe(Operation *base)
{
    Lookup *lookup = ((ResolveOperation *)base)->lookup;
    const char *host = lookup->by_address || lookup->host == NULL ? "an address" : lookup->host;
    return PyUnicode_FromFormat("%s of %s", base->cls->name, host);
}

#define RESOLVE_CLASS(text)                                                                        \
    {.name = text,                                                                                 \
     .from_outside = true,                                                                         \
     .describe = resolve_describe,                                                                 \
     .poll = resolve_poll,                                                                         \
     .arm = resolve_arm,                                                                           \
     .detach = resolve_detach}

static const OperationClass addrinfo_class = RESOLVE_CLASS("getaddrinfo()");
static const OperationClass nameinfo_class = RESOLVE_CLASS("getnameinfo()");

static void
ResolveOperation_dealloc(PyObject *object)
{
    operation_dealloc_warn((Operation *)object);
    lookup_release(((ResolveOperation *)object)->lookup);
    PyObject_Free(object);
}

static PyTypeObject ResolveOperation_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ResolveOperation",
    .tp_basicsize = sizeof(ResolveOperation),
    .tp_dealloc = ResolveOperation_dealloc,
};

/* Steals the lookup. */
static PyObject *
resolve_operation(const OperationClass *cls, Lookup *lookup, double seconds)
{
    ResolveOperation *op = PyObject_New(ResolveOperation, &ResolveOperation_Type);

    if (op == NULL) {
        lookup_release(lookup);
        return NULL;
    }
    operation_init(&op->base, cls, OPERATION_NEW, seconds);
    op->lookup = lookup;
    return (PyObject *)op;
}

/* ---- functions ------------------------------------------------------------------------------------------- */

/* A service: its name or number as bytes, NULL for None. -1 with an exception set. */
static int
service_encode(PyObject *service, PyObject **bytes)
{
    *bytes = NULL;
    if (service == Py_None) {
        return 0;
    }
    if (PyLong_Check(service)) {
        PyObject *text = PyObject_Str(service);
        *bytes = text == NULL ? NULL : PyUnicode_AsASCIIString(text);
        Py_XDECREF(text);
    }
    else if (PyUnicode_Check(service)) {
        *bytes = PyUnicode_AsUTF8String(service);
    }
    else if (PyBytes_Check(service)) {
        *bytes = Py_NewRef(service);
    }
    else {
        PyErr_Format(PyExc_TypeError,
                     "getaddrinfo(): port must be an int, str, bytes or None, not %.200s",
                     Py_TYPE(service)->tp_name);
    }
    if (*bytes != NULL && strlen(PyBytes_AS_STRING(*bytes)) != (size_t)PyBytes_GET_SIZE(*bytes)) {
        Py_CLEAR(*bytes);
        PyErr_SetString(PyExc_ValueError, "getaddrinfo(): port must not contain a null character");
    }
    return *bytes == NULL ? -1 : 0;
}

static PyObject *
getaddrinfo_(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char function[] = "getaddrinfo()";
    static const char *const names[] = {"host",  "port",  "family",  "type",
                                        "proto", "flags", "timeout", NULL};
    PyObject *values[7];
    PyObject *host = NULL;
    PyObject *service = NULL;
    PyObject *result = NULL;
    struct addrinfo hints = {0};
    double seconds;

    if (nargs > 6) {
        PyErr_Format(PyExc_TypeError, "%s takes at most 6 arguments by position (%zd given)",
                     function, nargs);
        return NULL;
    }
    if (arguments_parse(function, names, 2, args, nargs, kwnames, values) < 0 ||
        int_argument(function, "family", values[2], &hints.ai_family) < 0 ||
        int_argument(function, "type", values[3], &hints.ai_socktype) < 0 ||
        int_argument(function, "proto", values[4], &hints.ai_protocol) < 0 ||
        int_argument(function, "flags", values[5], &hints.ai_flags) < 0 ||
        seconds_from_object(values[6], "timeout", &seconds) < 0) {
        return NULL;
    }
    if (values[0] != Py_None && (host = host_encode(values[0], function)) == NULL) {
        return NULL;
    }
    if (service_encode(values[1], &service) == 0) {
        Lookup *lookup = lookup_new(host == NULL ? NULL : PyBytes_AS_STRING(host),
                                    service == NULL ? NULL : PyBytes_AS_STRING(service));
        if (lookup != NULL) {
            lookup->hints = hints;
            result = resolve_operation(&addrinfo_class, lookup, seconds);
        }
    }
    Py_XDECREF(host);
    Py_XDECREF(service);
    return result;
}

static PyObject *
getnameinfo_(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char function[] = "getnameinfo()";
    PyObject *timeout;
    double seconds;
    int flags;
    Address address;
    Lookup *unused = NULL;
    AddressResult result;

    if (position_arguments(function, 2, 2, args, nargs, kwnames, &timeout) < 0 ||
        int_argument(function, "flags", args[1], &flags) < 0 ||
        seconds_from_object(timeout, "timeout", &seconds) < 0) {
        return NULL;
    }
    if (!PyTuple_Check(args[0]) || PyTuple_GET_SIZE(args[0]) < 1 ||
        !PyUnicode_Check(PyTuple_GET_ITEM(args[0], 0))) {
        PyErr_Format(PyExc_TypeError, "%s: sockaddr must be a tuple that begins with a host",
                     function);
        return NULL;
    }
    const char *host = PyUnicode_AsUTF8(PyTuple_GET_ITEM(args[0], 0));
    if (host == NULL) {
        return NULL;
    }
    int family = strchr(host, ':') != NULL || PyTuple_GET_SIZE(args[0]) > 2 ? AF_INET6 : AF_INET;
    result = address_from_object(family, 0, args[0], function, &address, &unused);
    if (result == ADDRESS_NAME || (result == ADDRESS_OK && (*host == '\0' || *host == '<'))) {
        /* the answer would be about one of perhaps several addresses; '' and '<broadcast>' are none */
        if (unused != NULL) {
            lookup_release(unused);
        }
        lookup_set_error_code(EAI_NONAME, 0);
        return NULL;
    }
    if (result != ADDRESS_OK) {
        return NULL;
    }
    Lookup *lookup = lookup_new(NULL, NULL);
    if (lookup == NULL) {
        return NULL;
    }
    lookup->by_address = true;
    lookup->address = address.storage;
    lookup->length = address.length;
    lookup->flags = flags;
    return resolve_operation(&nameinfo_class, lookup, seconds);
}

PyDoc_STRVAR(getaddrinfo_doc,
             "getaddrinfo(host, port, family=0, type=0, proto=0, flags=0, *, timeout=None)\n--\n\n"
             "Looks a host and a service up: yield or await; the result is the list of (family, "
             "type, proto, canonname, address) that\n"
             "the standard function gives.\n\n"
             "A thread of its own asks the system's resolver, which may take long; when it is "
             "cancelled or late nobody waits for that.\n"
             "Raises socket.gaierror, TimeoutError, UnicodeError for a host that is no name.\n\n"
             "    for family, *_, address in (yield socket.getaddrinfo('localhost', 80)):\n"
             "        ...");
PyDoc_STRVAR(getnameinfo_doc,
             "getnameinfo(sockaddr, flags, /, *, timeout=None)\n--\n\n"
             "Looks up what an address is called: yield or await; the result is (host, "
             "service).\n\n"
             "Waits and fails as getaddrinfo() does. The host of `sockaddr` must be numeric.");

static PyMethodDef functions[] = {
    {"getaddrinfo", (PyCFunction)(void (*)(void))getaddrinfo_, METH_FASTCALL | METH_KEYWORDS,
     getaddrinfo_doc},
    {"getnameinfo", (PyCFunction)(void (*)(void))getnameinfo_, METH_FASTCALL | METH_KEYWORDS,
     getnameinfo_doc},
    {NULL, NULL, 0, NULL},
};

int
socket_resolve_module_init(PyObject *module)
{
    if (lookup_module_init(module) < 0 || operation_type_ready(&ResolveOperation_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
