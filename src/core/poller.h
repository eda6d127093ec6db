/* Poller: which descriptors became ready (epoll; kqueue is to be a second file behind this header).
 *
 * Every descriptor is registered once, for both directions, edge-triggered; the tag that was given
 * at registration comes back with its events. One thread at a time waits; any thread adds, removes
 * and wakes. Knows nothing of tasks; no allocation after poller_open.
 */
#ifndef TONIO_CORE_POLLER_H
#define TONIO_CORE_POLLER_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    POLL_READABLE = 1u << 0,
    POLL_WRITABLE = 1u << 1,
    POLL_READ_CLOSED = 1u << 2,  /* the other side will send no more, or hung up */
    POLL_WRITE_CLOSED = 1u << 3, /* nothing can be sent any more */
    POLL_URGENT = 1u << 5, /* urgent data is there, or on its way: a read may stop before it */
    POLL_ERROR = 1u << 4,  /* an error waits for the next system call (also: the readers of a pipe
                           * are gone); comes with both directions ready */
};

typedef struct PollEvent {
    uint64_t tag;
    uint32_t ready; /* POLL_* bits */
} PollEvent;

#define POLLER_BATCH 256 /* events that one wait can return */
#define POLL_FOREVER (-1)

typedef struct Poller {
    int fd;                        /* epoll descriptor */
    int wake_fd;                   /* eventfd that ends a wait */
    _Atomic uint32_t wake_pending; /* a wake-up was written and not yet consumed */
} Poller;

/* 0, or a negative errno with nothing left open. */
int poller_open(Poller *poller);
void poller_close(Poller *poller);

/* In a forked child: closes the descriptors without touching what the parent registered. */
void poller_abandon(Poller *poller);

/* Registers a descriptor. 0, or a negative errno (-EPERM: not pollable, -EEXIST: already there,
 * -EINVAL: the tag is UINT64_MAX). What is ready already is reported by the next wait. Beware: a
 * TCP socket that neither listens nor has begun to connect reports at once that both directions are
 * closed, so add it after listen or connect, or start its readiness afresh then. */
int poller_add(Poller *poller, int fd, uint64_t tag);

/* Forgets a descriptor; called before it is closed. Events already returned by a wait that is being
 * worked on are the caller's to recognise. 0, or a negative errno. */
int poller_remove(Poller *poller, int fd);

/* Waits for at most `timeout_ns` (0: only looks; POLL_FOREVER: no bound; positive values are
 * rounded up to what the system can do, epoll_pwait2 where it exists, else milliseconds). Returns
 * the number of events in `events` (room for POLLER_BATCH), 0 for time-out or a bare wake-up,
 * -EINTR, or another negative errno. A wake-up is never among the events; what the waking thread
 * wrote before poller_wake is visible after the wait that the wake-up ended. */
int poller_wait(Poller *poller, PollEvent *events, int64_t timeout_ns);

/* Any thread, async-signal-safe: ends the wait that is going on, or the next one. Several count as
 * one. */
void poller_wake(Poller *poller);

#endif
