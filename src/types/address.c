/* Address: one place for all families. Numeric hosts only: looking names up is the blocking pool's work. */
#include "types/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static AddressResult
wrong(const char *function, const char *expected, PyObject *object)
{
    PyErr_Format(PyExc_TypeError, "%s: address must be %s, not %.200s", function, expected,
                 Py_TYPE(object)->tp_name);
    return ADDRESS_ERROR;
}

/* The host of an internet address as C string, valid as long as the object. */
static const char *
host_text(PyObject *host, const char *function)
{
    if (PyUnicode_Check(host)) {
        return PyUnicode_AsUTF8(host);
    }
    if (PyBytes_Check(host)) {
        return PyBytes_AS_STRING(host);
    }
    PyErr_Format(PyExc_TypeError, "%s: the host must be a str, not %.200s", function,
                 Py_TYPE(host)->tp_name);
    return NULL;
}

static int
whole_number(PyObject *object, const char *function, const char *what, unsigned long most,
             unsigned long *number)
{
    if (!PyIndex_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: the %s must be an int, not %.200s", function, what,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    long value = PyLong_AsLong(object);
    if ((value == -1 && PyErr_Occurred()) || value < 0 || (unsigned long)value > most) {
        PyErr_Clear();
        PyErr_Format(PyExc_OverflowError, "%s: the %s must be 0-%lu", function, what, most);
        return -1;
    }
    *number = (unsigned long)value;
    return 0;
}

static AddressResult
inet_from_object(PyObject *object, const char *function, Address *address)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&address->storage;
    unsigned long port;
    const char *host;

    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) {
        return wrong(function, "a tuple (host, port) for AF_INET", object);
    }
    host = host_text(PyTuple_GET_ITEM(object, 0), function);
    if (host == NULL ||
        whole_number(PyTuple_GET_ITEM(object, 1), function, "port", 65535, &port) < 0) {
        return ADDRESS_ERROR;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    address->length = sizeof(*in);
    if (host[0] == '\0') {
        in->sin_addr.s_addr = htonl(INADDR_ANY);
        return ADDRESS_OK;
    }
    if (strcmp(host, "<broadcast>") == 0) {
        in->sin_addr.s_addr = htonl(INADDR_BROADCAST);
        return ADDRESS_OK;
    }
    return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? ADDRESS_OK : ADDRESS_NAME;
}

static AddressResult
inet6_from_object(PyObject *object, const char *function, Address *address)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->storage;
    unsigned long port;
    unsigned long flow = 0;
    unsigned long scope = 0;
    const char *host;
    Py_ssize_t size = PyTuple_Check(object) ? PyTuple_GET_SIZE(object) : 0;

    if (size < 2 || size > 4) {
        return wrong(function, "a tuple (host, port[, flowinfo[, scope_id]]) for AF_INET6", object);
    }
    host = host_text(PyTuple_GET_ITEM(object, 0), function);
    if (host == NULL ||
        whole_number(PyTuple_GET_ITEM(object, 1), function, "port", 65535, &port) < 0 ||
        (size > 2 &&
         whole_number(PyTuple_GET_ITEM(object, 2), function, "flowinfo", 0xfffff, &flow) < 0) ||
        (size > 3 &&
         whole_number(PyTuple_GET_ITEM(object, 3), function, "scope id", UINT32_MAX, &scope) < 0)) {
        return ADDRESS_ERROR;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    in6->sin6_flowinfo = htonl((uint32_t)flow);
    in6->sin6_scope_id = (uint32_t)scope;
    address->length = sizeof(*in6);
    if (host[0] == '\0') {
        in6->sin6_addr = in6addr_any;
        return ADDRESS_OK;
    }
    return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? ADDRESS_OK : ADDRESS_NAME;
}

static AddressResult
unix_from_object(PyObject *object, const char *function, Address *address)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->storage;
    PyObject *path;
    size_t length;

    if (PyBytes_Check(object)) {
        path = Py_NewRef(object);
    }
    else if (PyUnicode_Check(object)) {
        path = PyUnicode_EncodeFSDefault(object);
    }
    else {
        return wrong(function, "a path (str or bytes) for AF_UNIX", object);
    }
    if (path == NULL) {
        return ADDRESS_ERROR;
    }
    length = (size_t)PyBytes_GET_SIZE(path);
    const char *text = PyBytes_AS_STRING(path);
    bool abstract = length > 0 && text[0] == '\0';
    /* an abstract name may fill the field, a path needs its final zero */
    if (length > sizeof(un->sun_path) - (abstract ? 0 : 1)) {
        PyErr_Format(PyExc_OSError, "%s: the AF_UNIX path is too long (%zu bytes)", function,
                     length);
        Py_DECREF(path);
        return ADDRESS_ERROR;
    }
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, text, length);
    address->length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
    Py_DECREF(path);
    return ADDRESS_OK;
}

AddressResult
address_from_object(int family, PyObject *object, const char *function, Address *address)
{
    memset(&address->storage, 0, sizeof(address->storage));
    switch (family) {
    case AF_INET:
        return inet_from_object(object, function, address);
    case AF_INET6:
        return inet6_from_object(object, function, address);
    case AF_UNIX:
        return unix_from_object(object, function, address);
    default:
        PyErr_Format(PyExc_OSError, "%s: addresses of family %d are not supported", function,
                     family);
        return ADDRESS_ERROR;
    }
}

PyObject *
address_to_object(const Address *address)
{
    char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];

    if (address->length == 0) {
        Py_RETURN_NONE;
    }
    switch (address->storage.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        return Py_BuildValue("(si)", text, ntohs(in->sin_port));
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->storage;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        if (in6->sin6_scope_id != 0 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)) {
            char name[IF_NAMESIZE];
            if (if_indextoname(in6->sin6_scope_id, name) != NULL) {
                size_t used = strlen(text);
                snprintf(text + used, sizeof(text) - used, "%%%s", name);
            }
        }
        return Py_BuildValue("(siII)", text, ntohs(in6->sin6_port),
                             (unsigned)ntohl(in6->sin6_flowinfo), (unsigned)in6->sin6_scope_id);
    }
    case AF_UNIX: {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
        size_t length = address->length - offsetof(struct sockaddr_un, sun_path);
        if (address->length > offsetof(struct sockaddr_un, sun_path) && un->sun_path[0] == '\0') {
            return PyBytes_FromStringAndSize(un->sun_path, (Py_ssize_t)length);
        }
        if (address->length <= offsetof(struct sockaddr_un, sun_path)) {
            length = 0;
        }
        return PyUnicode_DecodeFSDefaultAndSize(un->sun_path,
                                                (Py_ssize_t)strnlen(un->sun_path, length));
    }
    default:
        return Py_BuildValue("(iy#)", (int)address->storage.ss_family,
                             (const char *)&address->storage, (Py_ssize_t)address->length);
    }
}
