/* Address: socket addresses between Python's form and the system's. */
#ifndef TONIO_TYPES_ADDRESS_H
#define TONIO_TYPES_ADDRESS_H

#include <sys/socket.h>

#include "runtime/lookup.h"

typedef struct Address {
    struct sockaddr_storage storage;
    socklen_t length;
} Address;

typedef enum AddressResult {
    ADDRESS_OK,
    ADDRESS_NAME,  /* the host is a name, which must be looked up first */
    ADDRESS_ERROR, /* an exception is set */
} AddressResult;

/* Reads `object` as an address for a socket of this family and protocol. With ADDRESS_NAME *lookup is a question, not yet
 * started, whose answer goes to address_take_answer; the rest of `address` is filled in. `function` is for messages. */
AddressResult address_from_object(int family, int proto, PyObject *object, const char *function,
                                  Address *address, Lookup **lookup);

/* The answer becomes the host of `address`. -1 with an exception set if nothing was found. */
int address_take_answer(Address *address, const Lookup *lookup);

/* New reference in the form the standard socket module gives, or NULL with an exception set. */
PyObject *address_to_object(const Address *address);

/* A host name as the resolver wants it: new reference to bytes, from str (non-ASCII ones in IDNA), bytes or bytearray. NULL
 * with an exception set. */
PyObject *host_encode(PyObject *host, const char *function);

#endif
