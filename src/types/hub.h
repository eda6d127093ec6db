/* Hub: the middle of a channel in which everybody gets everything (broadcast.c) or the latest (watch.c). */
#ifndef TONIO_TYPES_HUB_H
#define TONIO_TYPES_HUB_H

#include "runtime/operation.h"
#include "types/channel.h"

typedef struct Hub Hub;
typedef struct HubEnd HubEnd;

/* What one kind of hub does; the functions are called under its mutex. */
typedef struct HubKind {
    OperationClass receive;

    /* What `end` has not seen yet: DONE with a new reference, WAITS if there is nothing (whether or not a sender is left), or
     * LAGGED with the number of messages that it has missed. */
    Transfer (*take)(Hub *hub, HubEnd *end, PyObject **message, uint64_t *missed);

    /* Where a receiver starts that is made now. */
    uint64_t (*now)(const Hub *hub);
} HubKind;

struct Hub {
    PyObject_HEAD Mutex mutex; /* guards all that follows, and what a kind adds */
    const HubKind *kind;
    List waiting; /* of HubReceive, by waiter */
    size_t senders;
    size_t receivers;
};

/* A handle: the types of senders and receivers are made of this. */
struct HubEnd {
    PyObject_HEAD Hub *hub; /* owned */
    bool sends;             /* which end it is */
    bool closed;            /* guarded by the hub's mutex */
    uint64_t seen;          /* receiver: how far it has come; guarded by the hub's mutex */
};

/* The base types: close(), clone(), with, and for receivers receive(), receive_nowait() and iteration. */
extern PyTypeObject HubEnd_Type;
extern PyTypeObject HubReceiver_Type;

#define HUB_END_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION)

/* Parts of a HubKind's operation class. */
OperationResult hub_receive_poll(Operation *op, Task *task, PyObject **result);
OperationResult hub_receive_arm(Operation *op, Task *task, PyObject **result);
void hub_receive_detach(Operation *op, Task *task);
PyObject *hub_receive_describe(Operation *op);

/* Fills in what follows the object's head. */
void hub_init(Hub *hub, const HubKind *kind);

/* A handle of `type`, open; a receiver starts now. New reference or NULL. */
PyObject *hub_end_new(PyTypeObject *type, Hub *hub, bool sends);

/* (sender, receiver) of a new hub (stolen). New reference or NULL. */
PyObject *hub_ends(PyTypeObject *sender, PyTypeObject *receiver, Hub *hub);

/* sender.subscribe(): a receiver of `type` that starts now. New reference, or NULL with ResourceClosed set. */
PyObject *hub_subscribe(PyObject *sender, PyTypeObject *type);

/* Under the mutex: everybody who waits looks again. */
void hub_wake_all(Hub *hub, TaskChain *chain);

int hub_traverse_end(PyObject *end, visitproc visit, void *arg);

#endif
