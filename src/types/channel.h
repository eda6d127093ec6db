/* Channel: the queue between the handles of a channel (channel_handle.c), and the operations that wait at its ends. */
#ifndef TONIO_TYPES_CHANNEL_H
#define TONIO_TYPES_CHANNEL_H

#include "runtime/operation.h"
#include "types/waiters.h"

#define CHANNEL_UNBOUNDED SIZE_MAX

typedef struct Channel {
    PyObject_HEAD Mutex mutex; /* guards all that follows */
    size_t limit;              /* most messages that are queued; never changes */
    PyObject **ring;           /* owned references; NULL before the first message */
    size_t capacity;           /* of ring */
    size_t head;               /* where the oldest one is */
    size_t count;
    List sending;   /* of ChannelSend, by waiter: those who wait for room */
    List receiving; /* of ChannelReceive, by waiter: those who wait for a message */
    size_t senders; /* handles that are open */
    size_t receivers;
} Channel;

/* One end: a Sender or a Receiver. */
typedef struct ChannelHandle {
    PyObject_HEAD Channel *channel; /* owned */
    bool closed;                    /* guarded by the channel's mutex */
    bool sends;                     /* which end it is */
} ChannelHandle;

/* How an attempt to send or receive went, and what became of a wait. */
typedef enum Transfer {
    TRANSFER_WAITS = 0, /* no room, or no message */
    TRANSFER_DONE,
    TRANSFER_CLOSED, /* this handle is closed */
    TRANSFER_BROKEN, /* send: no receiver is left */
    TRANSFER_ENDED,  /* receive: no message and no sender is left */
    TRANSFER_LAGGED, /* receive, hub.c: messages were missed */
    TRANSFER_GROWS,  /* send: the ring has to grow first (only inside channel.c) */
    TRANSFER_FAILED, /* out of memory; an exception is set */
} Transfer;

/* An empty channel without handles: new reference or NULL. */
Channel *channel_new(size_t limit);

/* Under no lock. Is there a handle more. */
void channel_open(ChannelHandle *handle);

/* Sends *message (stolen if DONE) or receives (new reference) without waiting. Attached, any thread. */
Transfer channel_try_send(ChannelHandle *handle, PyObject **message);
Transfer channel_try_receive(ChannelHandle *handle, PyObject **message);

/* Closes a handle; nothing happens if it is closed. Runs Python code: messages that nobody will receive are dropped. */
void channel_close(ChannelHandle *handle);

/* Sets the exception for what is not DONE. `waits`: the text for WouldBlock. */
void transfer_set_error(Transfer transfer, const char *waits);

/* Operations, new reference or NULL. `iterates`: the end of the channel is the end of an `async for`. */
PyObject *channel_send_new(ChannelHandle *handle, PyObject *message, double timeout);
PyObject *channel_receive_new(ChannelHandle *handle, double timeout, bool iterates);

/* Has a receiver nothing more to expect? */
bool channel_is_finished(Channel *channel);

typedef struct ChannelState {
    size_t queued, limit, senders, receivers, sending, receiving;
    bool closed; /* the handle */
} ChannelState;
ChannelState channel_state(ChannelHandle *handle);

int channel_core_init(void);

#endif
