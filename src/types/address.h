/* Address: socket addresses between Python's form and the system's. */
#ifndef TONIO_TYPES_ADDRESS_H
#define TONIO_TYPES_ADDRESS_H

#include <sys/socket.h>

#include "compat.h"

typedef struct Address {
    struct sockaddr_storage storage;
    socklen_t length;
} Address;

typedef enum AddressResult {
    ADDRESS_OK,
    ADDRESS_NAME,  /* the host is a name, which must be looked up first */
    ADDRESS_ERROR, /* an exception is set */
} AddressResult;

/* Reads `object` as an address of `family`; `function` is for messages. */
AddressResult address_from_object(int family, PyObject *object, const char *function,
                                  Address *address);

/* New reference in the form the standard socket module gives, or NULL with an exception set. */
PyObject *address_to_object(const Address *address);

#endif
