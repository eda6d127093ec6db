/* Socket: what the Python type (socket.c) and its waiting operations (socket_operation.c) share.
 *
 * The rules of the descriptor's life are at the top of socket.c.
 */
#ifndef TONIO_TYPES_SOCKET_H
#define TONIO_TYPES_SOCKET_H

#include "core/mutex.h"
#include "runtime/driver.h"
#include "runtime/operation.h"
#include "types/address.h"

#define SOCKET_CLOSED (1u << 31)

typedef struct Socket {
    PyObject_HEAD int fd; /* fixed */
    int family;
    int type;
    int proto;
    _Atomic uint32_t use;    /* calls under way, and SOCKET_CLOSED */
    _Atomic uint32_t busy;   /* bit per SourceDirection: a parked reader or writer of a stream */
    Mutex mutex;             /* guards the next two while a source is made */
    _Atomic uint64_t serial; /* the runtime that `source` is of; 0: none. Stored after `source` */
    PollSource *source;
    _Atomic uint32_t last_received; /* a hint for how to receive */
} Socket;

typedef enum SocketCall {
    CALL_ACCEPT,
    CALL_BIND,
    CALL_CONNECT,
    CALL_RECV,
    CALL_RECV_INTO,
    CALL_SEND,
    CALL_SENDALL,
} SocketCall;

typedef struct SocketOperation {
    Operation base;
    Socket *socket; /* owned */
    uint8_t call;   /* SocketCall */
    uint8_t direction;
    bool holds;   /* it has taken its direction of a stream */
    bool waiting; /* connect: the system works on it */
    int flags;
    size_t size;      /* recv: most; sendall: sent so far */
    Py_buffer buffer; /* send: from here; recv_into: to here. buf is NULL if unused */
    Address address;  /* bind, connect */
} SocketOperation;

/* ---- socket.c -------------------------------------------------------------------------------------------- */

/* A new Socket that owns `fd`, or NULL with an exception set; then the descriptor is closed. */
PyObject *socket_wrap(int fd, int family, int type, int proto);

/* Begins a call on the descriptor, to be ended by socket_leave. False: it is closed; ResourceClosed is set. */
bool socket_enter(Socket *self);
void socket_leave(Socket *self);

/* The poll source in this runtime; the caller has entered. NULL with OSError set. */
PollSource *socket_source(Socket *self, Runtime *runtime);

/* ---- socket_operation.c ---------------------------------------------------------------------------------- */

/* New reference, or NULL with an exception set. The caller fills in what the call needs. */
SocketOperation *socket_operation_new(PyObject *socket, SocketCall call, SourceDirection direction);

/* Steals an operation that will not be used after all. */
void socket_operation_drop(SocketOperation *op);

int socket_operation_type_ready(void);

#endif
