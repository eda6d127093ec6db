/* Lookup: a question to the system's resolver, answered by a thread of its own. See lookup.c. */
#ifndef TONIO_RUNTIME_LOOKUP_H
#define TONIO_RUNTIME_LOOKUP_H

#include <netdb.h>
#include <sys/socket.h>

#include "core/list.h"
#include "core/mutex.h"
#include "runtime/task.h"

/* Most lookups that are worked on at the same time, in all runtimes together; others queue. */
#define LOOKUP_THREADS 16

typedef struct Lookup {
    _Atomic uint32_t references; /* of who asks, and of the thread or queue */
    _Atomic bool done;           /* stored under `mutex`; the answer is there */
    bool started;                /* who asks */
    bool by_address;             /* fixed: getnameinfo, not getaddrinfo */
    Mutex mutex;                 /* guards waiters */
    List waiters;                /* tasks by `wait` */
    uint64_t serial;             /* the runtime that they are of; fixed when it is started */
    ListNode queued;             /* guarded by the mutex of lookup.c */
    ListNode owned;              /* for who asks; guarded by a lock of his */

    /* the question, fixed before it is started */
    char *host; /* or NULL */
    char *service;
    struct addrinfo hints;
    struct sockaddr_storage address;
    socklen_t length;
    int flags;

    /* the answer, fixed once it is done */
    int error; /* EAI_..., 0: found */
    int system_error;
    struct addrinfo *found;
    char host_name[NI_MAXHOST];
    char service_name[NI_MAXSERV];
} Lookup;

/* A question to be filled in, with one reference; host and service are copied (NULL: none). NULL with MemoryError set. */
Lookup *lookup_new(const char *host, const char *service);
void lookup_release(Lookup *lookup);

/* Begins to work on it, for waiters of the runtime with this serial number. -1 with OSError set. Attached. */
int lookup_start(Lookup *lookup, uint64_t serial);

/* Is the answer there? */
bool lookup_is_done(Lookup *lookup);

/* Puts the task into its wait queue. False: the answer is there. */
bool lookup_arm(Lookup *lookup, Task *task);
void lookup_detach(Lookup *lookup, Task *task);

/* Wakes who waits for it, without an answer. Any thread. */
void lookup_disturb(Lookup *lookup, TaskChain *chain);

/* Sets the exception for its error: OSError, or socket.gaierror. */
void lookup_set_error(const Lookup *lookup);

/* The same for a code that getaddrinfo or getnameinfo returned, with errno. */
void lookup_set_error_code(int error, int system_error);

int lookup_module_init(PyObject *module);

#endif
