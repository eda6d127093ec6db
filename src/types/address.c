/* Address: one place for the addresses of all families, in both directions.
 *
 * A family is a pair of functions in `families`. The forms are those of the standard module; a family that is not in the table
 * can be received from (its address is a pair of the family and the raw bytes) but not named. Numeric hosts are read here;
 * what only the resolver can tell becomes a Lookup, which the operation waits for. No state; attached, any thread.
 */
#include "types/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/can.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

/* ---- parts of addresses ---------------------------------------------------------------------------------- */

static AddressResult
wrong(const char *function, const char *expected, PyObject *object)
{
    PyErr_Format(PyExc_TypeError, "%s: address must be %s, not %.200s", function, expected,
                 Py_TYPE(object)->tp_name);
    return ADDRESS_ERROR;
}

PyObject *
host_encode(PyObject *host, const char *function)
{
    PyObject *bytes;

    if (PyUnicode_Check(host)) {
        bytes = PyUnicode_IS_ASCII(host) ? PyUnicode_AsASCIIString(host)
                                         : PyUnicode_AsEncodedString(host, "idna", NULL);
    }
    else if (PyBytes_Check(host)) {
        bytes = Py_NewRef(host);
    }
    else if (PyByteArray_Check(host)) {
        bytes = PyBytes_FromObject(host);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s: the host must be str or bytes, not %.200s", function,
                     Py_TYPE(host)->tp_name);
        return NULL;
    }
    if (bytes != NULL && strlen(PyBytes_AS_STRING(bytes)) != (size_t)PyBytes_GET_SIZE(bytes)) {
        Py_DECREF(bytes);
        PyErr_Format(PyExc_TypeError, "%s: the host must not contain a null character", function);
        return NULL;
    }
    return bytes;
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
    long long value = -1;
    PyObject *index = PyNumber_Index(object);
    if (index == NULL) {
        return -1;
    }
    value = PyLong_AsLongLong(index);
    Py_DECREF(index);
    bool failed = value == -1 && PyErr_Occurred();
    if (!failed && most == UINT32_MAX && value < 0 && value >= INT32_MIN) {
        value = (uint32_t)value; /* all bits of a word may be written -1 */
    }
    if (failed || value < 0 || (unsigned long long)value > most) {
        PyErr_Clear();
        PyErr_Format(PyExc_OverflowError, "%s: the %s must be 0-%lu", function, what, most);
        return -1;
    }
    *number = (unsigned long)value;
    return 0;
}

/* The tuple's items `first` ... as whole numbers up to `most`; those that it has not stay as they are. */
static int
whole_numbers(PyObject *tuple, const char *function, Py_ssize_t first, size_t count,
              const char *const *names, const unsigned long *most, unsigned long *numbers)
{
    for (size_t i = 0; i < count && first + (Py_ssize_t)i < PyTuple_GET_SIZE(tuple); i++) {
        if (whole_number(PyTuple_GET_ITEM(tuple, first + (Py_ssize_t)i), function, names[i],
                         most[i], &numbers[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static bool
is_tuple(PyObject *object, Py_ssize_t least, Py_ssize_t most)
{
    return PyTuple_Check(object) && PyTuple_GET_SIZE(object) >= least &&
           PyTuple_GET_SIZE(object) <= most;
}

/* The index of the network interface of this name; 0, which is any, for '' if that `may_be_any`. -1 with an exception set. */
static int
interface_index(PyObject *name, bool may_be_any, int *index)
{
    PyObject *bytes;
    int result = 0;

    if (!PyUnicode_FSConverter(name, &bytes)) {
        return -1;
    }
    *index = 0;
    if (PyBytes_GET_SIZE(bytes) > 0 || !may_be_any) {
        *index = (int)if_nametoindex(PyBytes_AS_STRING(bytes));
        if (*index == 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            result = -1;
        }
    }
    Py_DECREF(bytes);
    return result;
}

/* ---- internet -------------------------------------------------------------------------------------------- */

/* Puts the address that the resolver has found into `address`; port, flow and scope are there. */
static void
internet_take(Address *address, const struct sockaddr *found)
{
    if (address->storage.ss_family == AF_INET && found->sa_family == AF_INET) {
        ((struct sockaddr_in *)&address->storage)->sin_addr =
            ((const struct sockaddr_in *)found)->sin_addr;
    }
    else if (address->storage.ss_family == AF_INET6 && found->sa_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->storage;
        const struct sockaddr_in6 *other = (const struct sockaddr_in6 *)found;
        in6->sin6_addr = other->sin6_addr;
        if (in6->sin6_scope_id == 0) {
            in6->sin6_scope_id = other->sin6_scope_id;
        }
    }
}

/* The host, which is no plain number: one in a rarer form (127.1, fe80::1%eth0), or a name. */
static AddressResult
internet_resolve(const char *host, const char *function, Address *address, Lookup **lookup)
{
    struct addrinfo hints = {
        .ai_family = address->storage.ss_family,
        .ai_socktype = SOCK_DGRAM, /* one answer for each address, not one for each kind */
        .ai_flags = AI_NUMERICHOST,
    };
    struct addrinfo *found = NULL;
    int error;

    if (strcmp(host, "<broadcast>") == 0) {
        if (address->storage.ss_family != AF_INET) {
            PyErr_Format(PyExc_OSError, "%s: <broadcast> is an address of AF_INET", function);
            return ADDRESS_ERROR;
        }
        ((struct sockaddr_in *)&address->storage)->sin_addr.s_addr = htonl(INADDR_BROADCAST);
        return ADDRESS_OK;
    }
    error = getaddrinfo(host, NULL, &hints, &found);
    if (error == 0) {
        internet_take(address, found->ai_addr);
        freeaddrinfo(found);
        return ADDRESS_OK;
    }
    if (error != EAI_NONAME) {
        lookup_set_error_code(error, errno);
        return ADDRESS_ERROR;
    }
    *lookup = lookup_new(host, NULL);
    if (*lookup == NULL) {
        return ADDRESS_ERROR;
    }
    hints.ai_flags = 0;
    (*lookup)->hints = hints;
    return ADDRESS_NAME;
}

static AddressResult
inet_from_object(PyObject *object, const char *function, Address *address, Lookup **lookup)
{
    static const char *const names[] = {"port"};
    static const unsigned long most[] = {65535};
    struct sockaddr_in *in = (struct sockaddr_in *)&address->storage;
    unsigned long port = 0;
    AddressResult result = ADDRESS_OK;

    if (!is_tuple(object, 2, 2)) {
        return wrong(function, "a tuple (host, port) for AF_INET", object);
    }
    PyObject *host = host_encode(PyTuple_GET_ITEM(object, 0), function);
    if (host == NULL || whole_numbers(object, function, 1, 1, names, most, &port) < 0) {
        Py_XDECREF(host);
        return ADDRESS_ERROR;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    in->sin_addr.s_addr = htonl(INADDR_ANY);
    address->length = sizeof(*in);
    if (PyBytes_GET_SIZE(host) > 0 &&
        inet_pton(AF_INET, PyBytes_AS_STRING(host), &in->sin_addr) != 1) {
        result = internet_resolve(PyBytes_AS_STRING(host), function, address, lookup);
    }
    Py_DECREF(host);
    return result;
}

static AddressResult
inet6_from_object(PyObject *object, const char *function, Address *address, Lookup **lookup)
{
    static const char *const names[] = {"port", "flowinfo", "scope id"};
    static const unsigned long most[] = {65535, 0xfffff, UINT32_MAX};
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->storage;
    unsigned long numbers[3] = {0, 0, 0};
    AddressResult result = ADDRESS_OK;

    if (!is_tuple(object, 2, 4)) {
        return wrong(function, "a tuple (host, port[, flowinfo[, scope_id]]) for AF_INET6", object);
    }
    PyObject *host = host_encode(PyTuple_GET_ITEM(object, 0), function);
    if (host == NULL || whole_numbers(object, function, 1, 3, names, most, numbers) < 0) {
        Py_XDECREF(host);
        return ADDRESS_ERROR;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)numbers[0]);
    in6->sin6_flowinfo = htonl((uint32_t)numbers[1]);
    in6->sin6_scope_id = (uint32_t)numbers[2];
    in6->sin6_addr = in6addr_any;
    address->length = sizeof(*in6);
    if (PyBytes_GET_SIZE(host) > 0 &&
        inet_pton(AF_INET6, PyBytes_AS_STRING(host), &in6->sin6_addr) != 1) {
        result = internet_resolve(PyBytes_AS_STRING(host), function, address, lookup);
    }
    Py_DECREF(host);
    return result;
}

static PyObject *
inet_to_object(const Address *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
    char text[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    return Py_BuildValue("(si)", text, ntohs(in->sin_port));
}

static PyObject *
inet6_to_object(const Address *address)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->storage;
    char text[INET6_ADDRSTRLEN];

    inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
    return Py_BuildValue("(siII)", text, ntohs(in6->sin6_port), (unsigned)ntohl(in6->sin6_flowinfo),
                         (unsigned)in6->sin6_scope_id);
}

/* ---- Unix ------------------------------------------------------------------------------------------------ */

static AddressResult
unix_from_object(PyObject *object, const char *function, Address *address,
                 Lookup **Py_UNUSED(lookup))
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->storage;
    PyObject *path;
    Py_buffer bytes;

    if (PyUnicode_Check(object)) {
        path = PyUnicode_EncodeFSDefault(object);
    }
    else if (PyObject_CheckBuffer(object)) {
        path = Py_NewRef(object);
    }
    else {
        return wrong(function, "a path (str or bytes) for AF_UNIX", object);
    }
    if (path == NULL) {
        return ADDRESS_ERROR;
    }
    int failed = PyObject_GetBuffer(path, &bytes, PyBUF_SIMPLE);
    Py_DECREF(path);
    if (failed) {
        return ADDRESS_ERROR;
    }
    size_t length = (size_t)bytes.len;
    /* an empty one is the name that the system chooses */
    bool abstract = length == 0 || *(const char *)bytes.buf == '\0';
    AddressResult result = ADDRESS_ERROR;
    /* an abstract name may fill the field, a path needs its final zero */
    if (length > sizeof(un->sun_path) - (abstract ? 0 : 1)) {
        PyErr_Format(PyExc_OSError, "%s: the AF_UNIX path is too long (%zu bytes)", function,
                     length);
    }
    else if (!abstract && memchr(bytes.buf, '\0', length) != NULL) {
        PyErr_Format(PyExc_ValueError, "%s: the AF_UNIX path has a null character in it", function);
    }
    else {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, bytes.buf, length);
        address->length =
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
        result = ADDRESS_OK;
    }
    PyBuffer_Release(&bytes);
    return result;
}

static PyObject *
unix_to_object(const Address *address)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    size_t header = offsetof(struct sockaddr_un, sun_path);
    size_t length = address->length > header ? address->length - header : 0;

    if (length > sizeof(un->sun_path)) {
        length = sizeof(un->sun_path);
    }
    if (length > 0 && un->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(un->sun_path, (Py_ssize_t)length);
    }
    return PyUnicode_DecodeFSDefaultAndSize(un->sun_path,
                                            (Py_ssize_t)strnlen(un->sun_path, length));
}

/* ---- others ---------------------------------------------------------------------------------------------- */

static AddressResult
netlink_from_object(PyObject *object, const char *function, Address *address,
                    Lookup **Py_UNUSED(lookup))
{
    static const char *const names[] = {"pid", "groups"};
    static const unsigned long most[] = {UINT32_MAX, UINT32_MAX};
    struct sockaddr_nl *nl = (struct sockaddr_nl *)&address->storage;
    unsigned long numbers[2];

    if (!is_tuple(object, 2, 2)) {
        return wrong(function, "a tuple (pid, groups) for AF_NETLINK", object);
    }
    if (whole_numbers(object, function, 0, 2, names, most, numbers) < 0) {
        return ADDRESS_ERROR;
    }
    nl->nl_family = AF_NETLINK;
    nl->nl_pid = (uint32_t)numbers[0];
    nl->nl_groups = (uint32_t)numbers[1];
    address->length = sizeof(*nl);
    return ADDRESS_OK;
}

static PyObject *
netlink_to_object(const Address *address)
{
    const struct sockaddr_nl *nl = (const struct sockaddr_nl *)&address->storage;
    return Py_BuildValue("(II)", (unsigned)nl->nl_pid, (unsigned)nl->nl_groups);
}

static AddressResult
vsock_from_object(PyObject *object, const char *function, Address *address,
                  Lookup **Py_UNUSED(lookup))
{
    static const char *const names[] = {"cid", "port"};
    static const unsigned long most[] = {UINT32_MAX, UINT32_MAX};
    struct sockaddr_vm *vm = (struct sockaddr_vm *)&address->storage;
    unsigned long numbers[2];

    if (!is_tuple(object, 2, 2)) {
        return wrong(function, "a tuple (cid, port) for AF_VSOCK", object);
    }
    if (whole_numbers(object, function, 0, 2, names, most, numbers) < 0) {
        return ADDRESS_ERROR;
    }
    vm->svm_family = AF_VSOCK;
    vm->svm_cid = (uint32_t)numbers[0];
    vm->svm_port = (uint32_t)numbers[1];
    address->length = sizeof(*vm);
    return ADDRESS_OK;
}

static PyObject *
vsock_to_object(const Address *address)
{
    const struct sockaddr_vm *vm = (const struct sockaddr_vm *)&address->storage;
    return Py_BuildValue("(II)", (unsigned)vm->svm_cid, (unsigned)vm->svm_port);
}

static AddressResult
packet_from_object(PyObject *object, const char *function, Address *address,
                   Lookup **Py_UNUSED(lookup))
{
    static const char *const names[] = {"protocol", "packet type", "hardware type"};
    static const unsigned long most[] = {UINT16_MAX, UINT8_MAX, UINT16_MAX};
    struct sockaddr_ll *ll = (struct sockaddr_ll *)&address->storage;
    unsigned long numbers[3] = {0, PACKET_HOST, 0};

    if (!is_tuple(object, 2, 5) || !PyUnicode_Check(PyTuple_GET_ITEM(object, 0))) {
        return wrong(function,
                     "a tuple (interface, protocol[, packet type[, hardware type[, address]]]) for "
                     "AF_PACKET",
                     object);
    }
    if (whole_numbers(object, function, 1, 3, names, most, numbers) < 0) {
        return ADDRESS_ERROR;
    }
    ll->sll_family = AF_PACKET;
    ll->sll_protocol = htons((uint16_t)numbers[0]);
    ll->sll_pkttype = (uint8_t)numbers[1];
    ll->sll_hatype = (uint16_t)numbers[2];
    address->length = sizeof(*ll);
    if (PyTuple_GET_SIZE(object) == 5) {
        Py_buffer hardware;
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(object, 4), &hardware, PyBUF_SIMPLE) < 0) {
            return ADDRESS_ERROR;
        }
        bool fits = (size_t)hardware.len <= sizeof(ll->sll_addr);
        if (fits) {
            ll->sll_halen = (uint8_t)hardware.len;
            memcpy(ll->sll_addr, hardware.buf, (size_t)hardware.len);
        }
        PyBuffer_Release(&hardware);
        if (!fits) {
            PyErr_Format(PyExc_ValueError, "%s: the hardware address must be up to 8 bytes",
                         function);
            return ADDRESS_ERROR;
        }
    }
    return interface_index(PyTuple_GET_ITEM(object, 0), false, &ll->sll_ifindex) < 0 ? ADDRESS_ERROR
                                                                                     : ADDRESS_OK;
}

static PyObject *
packet_to_object(const Address *address)
{
    const struct sockaddr_ll *ll = (const struct sockaddr_ll *)&address->storage;
    char name[IF_NAMESIZE] = "";

    if (ll->sll_ifindex != 0 && if_indextoname((unsigned)ll->sll_ifindex, name) == NULL) {
        name[0] = '\0'; /* the interface has gone */
    }
    return Py_BuildValue("(O&iiiy#)", PyUnicode_DecodeFSDefault, name, ntohs(ll->sll_protocol),
                         ll->sll_pkttype, ll->sll_hatype, (const char *)ll->sll_addr,
                         (Py_ssize_t)ll->sll_halen);
}

static AddressResult
can_from_object(PyObject *object, const char *function, Address *address,
                Lookup **Py_UNUSED(lookup))
{
    struct sockaddr_can *can = (struct sockaddr_can *)&address->storage;

    if (!is_tuple(object, 1, 1)) {
        return wrong(function, "a tuple (interface,) for AF_CAN", object);
    }
    can->can_family = AF_CAN;
    address->length = sizeof(*can);
    return interface_index(PyTuple_GET_ITEM(object, 0), true, &can->can_ifindex) < 0 ? ADDRESS_ERROR
                                                                                     : ADDRESS_OK;
}

static PyObject *
can_to_object(const Address *address)
{
    const struct sockaddr_can *can = (const struct sockaddr_can *)&address->storage;
    char name[IF_NAMESIZE] = "";

    if (can->can_ifindex != 0 && if_indextoname((unsigned)can->can_ifindex, name) == NULL) {
        name[0] = '\0';
    }
    return Py_BuildValue("(O&)", PyUnicode_DecodeFSDefault, name);
}

/* One of the two names, with its final zero, to `room`. */
static int
alg_name(PyObject *object, const char *function, const char *what, size_t size, unsigned char *room)
{
    Py_ssize_t length;

    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: the %s must be a str, not %.200s", function, what,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    const char *text = PyUnicode_AsUTF8AndSize(object, &length);
    if (text == NULL) {
        return -1;
    }
    if (strlen(text) != (size_t)length || (size_t)length >= size) {
        PyErr_Format(PyExc_ValueError, "%s: the %s must be shorter than %zu bytes, none of them 0",
                     function, what, size);
        return -1;
    }
    memcpy(room, text, (size_t)length + 1);
    return 0;
}

static AddressResult
alg_from_object(PyObject *object, const char *function, Address *address,
                Lookup **Py_UNUSED(lookup))
{
    static const char *const names[] = {"features", "mask"};
    static const unsigned long most[] = {UINT32_MAX, UINT32_MAX};
    struct sockaddr_alg *alg = (struct sockaddr_alg *)&address->storage;
    unsigned long numbers[2] = {0, 0};

    if (!is_tuple(object, 2, 4)) {
        return wrong(function, "a tuple (type, name[, features[, mask]]) for AF_ALG", object);
    }
    if (alg_name(PyTuple_GET_ITEM(object, 0), function, "type", sizeof(alg->salg_type),
                 alg->salg_type) < 0 ||
        alg_name(PyTuple_GET_ITEM(object, 1), function, "name", sizeof(alg->salg_name),
                 alg->salg_name) < 0 ||
        whole_numbers(object, function, 2, 2, names, most, numbers) < 0) {
        return ADDRESS_ERROR;
    }
    alg->salg_family = AF_ALG;
    alg->salg_feat = (uint32_t)numbers[0];
    alg->salg_mask = (uint32_t)numbers[1];
    address->length = sizeof(*alg);
    return ADDRESS_OK;
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

static const struct {
    int family;
    AddressResult (*from)(PyObject *object, const char *function, Address *address,
                          Lookup **lookup);
    PyObject *(*to)(const Address *address); /* NULL: the system never gives one */
} families[] = {
    {AF_INET, inet_from_object, inet_to_object},
    {AF_INET6, inet6_from_object, inet6_to_object},
    {AF_UNIX, unix_from_object, unix_to_object},
    {AF_NETLINK, netlink_from_object, netlink_to_object},
    {AF_VSOCK, vsock_from_object, vsock_to_object},
    {AF_PACKET, packet_from_object, packet_to_object},
    {AF_CAN, can_from_object, can_to_object},
    {AF_ALG, alg_from_object, NULL},
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

AddressResult
address_from_object(int family, int proto, PyObject *object, const char *function, Address *address,
                    Lookup **lookup)
{
    memset(&address->storage, 0, sizeof(address->storage));
    address->length = 0;
    *lookup = NULL;
    for (size_t i = 0; i < FAMILIES; i++) {
        if (families[i].family == family && !(family == AF_CAN && proto > CAN_BCM)) {
            return families[i].from(object, function, address, lookup);
        }
    }
    PyErr_Format(PyExc_OSError, "%s: addresses of family %d, protocol %d are not supported",
                 function, family, proto);
    return ADDRESS_ERROR;
}

int
address_take_answer(Address *address, const Lookup *lookup)
{
    if (lookup->error != 0) {
        lookup_set_error(lookup);
        return -1;
    }
    internet_take(address, lookup->found->ai_addr);
    return 0;
}

PyObject *
address_to_object(const Address *address)
{
    if (address->length == 0) {
        Py_RETURN_NONE;
    }
    for (size_t i = 0; i < FAMILIES; i++) {
        if (families[i].family == address->storage.ss_family && families[i].to != NULL) {
            return families[i].to(address);
        }
    }
    return Py_BuildValue("(iy#)", (int)address->storage.ss_family, (const char *)&address->storage,
                         (Py_ssize_t)address->length);
}
