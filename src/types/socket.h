/* Socket: what the Python type and the files around it share.
 *
 *   socket.c            the type, and the life of the descriptor
 *   socket_options.c    methods that do not wait
 *   socket_calls.c      methods that wait: arguments to operations
 *   socket_message.c    sendmsg and recvmsg: scattered buffers and ancillary data
 *   stream.c            streams of bytes on top of it
 *   socket_operation.c  the waiting: poll, arm, detach of all of them
 *   socket_resolve.c    getaddrinfo, getnameinfo
 *
 * The rules of the descriptor's life are at the top of socket.c.
 */
#ifndef TONIO_TYPES_SOCKET_H
#define TONIO_TYPES_SOCKET_H

#include <sys/uio.h>

#include "core/mutex.h"
#include "runtime/driver.h"
#include "runtime/operation.h"
#include "types/address.h"

/* Socket.use: calls under way, and above their number ... */
enum {
    SOCKET_CLOSED = 1u << 31,
    SOCKET_DETACHED = 1u << 30,  /* closed, but the descriptor lives on in other hands */
    SOCKET_SENDING = 1u << 29,   /* a stream's direction belongs to an operation, */
    SOCKET_RECEIVING = 1u << 28, /* which need not have a call under way */
    SOCKET_DIRECTIONS = SOCKET_SENDING | SOCKET_RECEIVING,
    SOCKET_CALL = 1,
};

typedef struct Socket {
    PyObject_HEAD int fd; /* fixed */
    int family;
    int type;
    int proto;
    _Atomic uint32_t use;          /* SOCKET_CLOSED ... */
    _Atomic uint32_t source_index; /* in the driver of its runtime */
    _Atomic uint64_t serial;       /* of that; 0: it has no source. Stored after `source_index` */
    _Atomic double timeout;        /* of operations that are given none; negative: no limit */
    Mutex mutex;  /* guards lookups; and serial and source_index, while a source is made */
    List lookups; /* by `owned`: what its operations wait for by name */
    _Atomic uint32_t naming;        /* how many those are */
    _Atomic uint32_t last_received; /* a hint for how to receive */
    PyObject *weak_references;
} Socket;

typedef enum SocketCall {
    CALL_ACCEPT,
    CALL_BIND,
    CALL_CONNECT,
    CALL_RECV,
    CALL_RECV_INTO,
    CALL_RECVFROM,
    CALL_RECVFROM_INTO,
    CALL_RECEIVE, /* of a Stream, into its buffer */
    CALL_RECVMSG,
    CALL_RECVMSG_INTO,
    CALL_SEND,
    CALL_SENDALL,
    CALL_SENDTO,
    CALL_SENDMSG,
    CALL_SENDFILE,
} SocketCall;

/* What sendmsg sends, or recvmsg receives into. */
typedef struct Message {
    Address address; /* sendmsg; length 0: none */
    Py_buffer *buffers;
    struct iovec *parts; /* one per buffer */
    size_t count;
    char *control;
    size_t control_size;
} Message;

/* What sendfile sends. */
typedef struct FileRange {
    int fd;
    off_t offset;
    size_t left; /* SIZE_MAX: all there is */
} FileRange;

typedef struct Stream Stream;

typedef struct SocketOperation {
    Operation base;
    Socket *socket; /* owned */
    uint8_t call;   /* SocketCall */
    uint8_t direction;
    bool
        turns; /* others may wait for the same: they take turns, rather than there being one at a time */
    bool holds;     /* it has taken its direction of a stream */
    bool waiting;   /* connect: the system works on it */
    bool called;    /* it was woken as the first of its queue, and has not looked yet */
    bool first;     /* it was, and found nothing: it goes ahead of the others */
    bool at_once;   /* it does not wait, but fails with BlockingIOError */
    bool as_number; /* connect_ex: an error is a result */
    int flags;
    size_t size;        /* recv: most; sendall, sendfile: sent so far */
    PollSource *source; /* where it has queued; of its task's runtime */
    Lookup *lookup;     /* owned: while its address is still a name */
    Stream *stream;     /* owned: whose operation it is; NULL if it is the socket's own */
    union {             /* owned, from malloc, NULL if not used */
        void *extra;
        Address *address; /* bind, connect, sendto */
        Message *message; /* sendmsg, recvmsg */
        FileRange *range; /* sendfile */
    };
    Py_buffer buffer; /* send: from here; recv_into: to here. buf is NULL if unused */
} SocketOperation;

/* ---- socket.c -------------------------------------------------------------------------------------------- */

extern PyTypeObject Socket_Type;

/* A new Socket that owns `fd`, or NULL with an exception set; then the descriptor is closed. */
PyObject *socket_wrap(int fd, int family, int type, int proto);

/* Sets the exception for a socket of this `use`: it is closed, or one of the directions `free` is not. */
void socket_refuse(uint32_t use, uint32_t free);

/* Adds to `use`, unless it is closed or one of the directions `free` is not; then false, with an exception set. */
static inline bool
socket_use(Socket *self, uint32_t free, uint32_t add)
{
    /* relaxed: the compare-and-swap decides */
    uint32_t use = atomic_load_explicit(&self->use, memory_order_relaxed);
    do {
        if (use & (SOCKET_CLOSED | free)) {
            socket_refuse(use, free);
            return false;
        }
        /* acquire: what earlier users of a direction did comes before; release: for the call that this may end */
    } while (!atomic_compare_exchange_weak_explicit(&self->use, &use, use + add,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

/* The last call on a closed socket has ended. Any exception that is set stays so. */
void socket_finish_close(Socket *self);

/* Takes from `use` what was added. */
static inline void
socket_unuse(Socket *self, uint32_t remove)
{
    /* acq_rel: the last one out sees what all others did */
    uint32_t use = atomic_fetch_sub_explicit(&self->use, remove, memory_order_acq_rel) - remove;
    if ((use & ~SOCKET_DIRECTIONS) == SOCKET_CLOSED && (remove & SOCKET_CALL)) {
        socket_finish_close(self);
    }
}

/* Begins a call on the descriptor, to be ended by socket_leave. False: it is closed; ResourceClosed is set. */
static inline bool
socket_enter(Socket *self)
{
    return socket_use(self, 0, SOCKET_CALL);
}

static inline void
socket_leave(Socket *self)
{
    socket_unuse(self, SOCKET_CALL);
}

/* Is it closed? A look, which may be out of date. */
bool socket_is_closed(const Socket *self);

/* The poll source in this runtime, or NULL if it has none there. Of one who has not entered it may be another's by now. */
PollSource *socket_find_source(Socket *self, Runtime *runtime);

/* The same, and if it has none one is made; the caller has entered. NULL with an exception set. Tasks that it wakes are
 * appended to `chain`. */
PollSource *socket_source(Socket *self, Runtime *runtime, TaskChain *chain);

/* Queues a task that waits for its lookup, so that a close finds it. False: try again, the answer is there or the socket is
 * closed. */
bool socket_arm_lookup(Socket *self, Lookup *lookup, Task *task);

/* The end of that, in whatever way; `task` may be NULL if it does not wait. */
void socket_detach_lookup(Socket *self, Lookup *lookup, Task *task);

/* ---- socket_operation.c ---------------------------------------------------------------------------------- */

/* New reference, or NULL with an exception set. The caller fills in what the call needs. `timeout` is an argument of the
 * method: NULL if it was not given. */
SocketOperation *socket_operation_new(PyObject *socket, SocketCall call, PyObject *timeout);

/* Steals an operation that will not be used after all; returns NULL. */
PyObject *socket_operation_drop(SocketOperation *op);

int socket_operation_type_ready(void);

/* For a stream's operation: makes the direction its own before the first look, until it ends. False: an exception is set,
 * and the operation has ended. */
bool socket_operation_take_direction(SocketOperation *op);

/* It is over, whatever came of it: what it borrowed is its owner's again, even if the operation lives on for a while. */
void socket_operation_end(SocketOperation *op);

/* What the classes of all operations on sockets are made of. */
OperationResult socket_operation_poll(Operation *base, Task *task, PyObject **result);
OperationResult socket_operation_arm(Operation *base, Task *task, PyObject **result);
void socket_operation_detach(Operation *base, Task *task);
OperationResult socket_operation_timed_out(Operation *base, Task *task, PyObject **result);
PyObject *socket_operation_describe(Operation *base);

/* ---- stream.c -------------------------------------------------------------------------------------------- */

/* One receive into the buffer of op->stream, whose direction is held: as operation_call. */
PyObject *stream_receive(SocketOperation *op, ssize_t *count, bool *partial, bool *more);

/* ---- socket_message.c ------------------------------------------------------------------------------------ */

/* One system call, as in operation_call: new reference, or NULL with *count < 0 and errno, or with *count >= 0 and an exception. */
PyObject *message_send(SocketOperation *op, ssize_t *count);
PyObject *message_receive(SocketOperation *op, ssize_t *count);
void message_free(Message *message);

/* Room for `size` bytes to receive, or NULL with MemoryError: also for sizes no object can have. */
PyObject *receive_room(size_t size);

/* What of such room (stolen) was filled. This does not fail, or what was received would be lost. */
PyObject *receive_room_filled(PyObject *room, size_t size);

PyObject *Socket_recvmsg(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);
PyObject *Socket_recvmsg_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames);
PyObject *Socket_sendmsg(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);

/* ---- socket_calls.c, socket_options.c -------------------------------------------------------------------- */

/* Arguments of methods that take them by position, but for `timeout`. -1 with an exception set. */
int position_arguments(const char *function, Py_ssize_t least, Py_ssize_t most,
                       PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                       PyObject **timeout);

/* An int argument; `object` may be NULL, then it is 0. A size is not negative. -1 with an exception set. */
int int_argument(const char *function, const char *name, PyObject *object, int *value);
int size_argument(const char *function, const char *name, PyObject *object, size_t *size);

/* A buffer to receive into. -1 with TypeError or BufferError set; then buffer->buf is NULL. */
int writable_buffer(const char *function, PyObject *object, Py_buffer *buffer);

/* Bytes to send. -1 as above. */
int readable_buffer(const char *function, const char *name, PyObject *object, Py_buffer *buffer);

/* An address argument: fills op->lookup or *address. -1 with an exception set. */
int address_argument(SocketOperation *op, const char *function, PyObject *object, Address *address);

extern PyMethodDef socket_call_methods[];
extern PyMethodDef socket_option_methods[];
extern PyGetSetDef socket_option_getset[];

/* Members of the standard module's enumerations, or the number itself. New reference. */
PyObject *family_to_object(int family);
PyObject *kind_to_object(int kind);

int socket_options_module_init(void);

#endif
