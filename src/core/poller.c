/* Poller on epoll.
 *
 * Owns an epoll descriptor and an eventfd, which is registered in it. Any thread may add, remove
 * and wake; one at a time waits. There is no lock: the kernel has its own, and the one shared word
 * is `wake_pending`.
 *
 * Descriptors are registered once, edge-triggered and for everything. An event therefore says what
 * is ready by now, and says it once: who does not use it up must remember it.
 *
 * Wake-ups: the first to set `wake_pending` writes to the eventfd, the others leave it at that; the
 * wait that receives the event clears the word before it returns. The eventfd is edge-triggered too
 * and never read: each write is an edge of its own, and its counter lasts for 2^64 of them.
 * Invariant: while the word is set, an event is on its way to the waiting thread or is about to be
 * written. It is cleared by an exchange with acquire, so a wake-up that found it set, and wrote
 * nothing, has still handed over what its thread did before.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "core/poller.h"

#include <errno.h>
#include <limits.h>
#include <linux/time_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAKE_TAG UINT64_MAX

#define EVERYTHING (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Set once epoll_pwait2 has turned out to be missing; from then on waits are in milliseconds. */
static atomic_bool only_milliseconds;

/* What the kernel's event bits mean to us. A hang-up or an error makes both directions ready: the
 * next system call of either kind will not block, and tells the reason. */
static uint32_t
ready_from_epoll(uint32_t events)
{
    uint32_t ready = 0;
    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        ready |= POLL_READABLE;
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        ready |= POLL_WRITABLE;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP)) {
        ready |= POLL_READ_CLOSED;
    }
    if (events & EPOLLHUP) {
        ready |= POLL_WRITE_CLOSED;
    }
    if (events & EPOLLERR) {
        ready |= POLL_ERROR;
    }
    if (events & EPOLLPRI) {
        ready |= POLL_URGENT;
    }
    return ready;
}

static int
wait_milliseconds(int fd, struct epoll_event *events, int64_t timeout_ns)
{
    int timeout_ms = -1;
    if (timeout_ns >= 0) {
        int64_t rounded = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
        timeout_ms = rounded < INT_MAX ? (int)rounded : INT_MAX;
    }
    return epoll_wait(fd, events, POLLER_BATCH, timeout_ms);
}

/* As epoll_wait, with the best resolution that the system has. */
static int
wait_nanoseconds(int fd, struct epoll_event *events, int64_t timeout_ns)
{
#ifdef SYS_epoll_pwait2
    /* relaxed: who reads an old value finds out for itself */
    if (timeout_ns > 0 && !atomic_load_explicit(&only_milliseconds, memory_order_relaxed)) {
        struct __kernel_timespec timeout = {
            .tv_sec = timeout_ns / 1000000000,
            .tv_nsec = timeout_ns % 1000000000,
        };
        long count = syscall(SYS_epoll_pwait2, fd, events, POLLER_BATCH, &timeout, NULL, (size_t)0);
        /* EPERM: what some sandboxes answer to a system call that they do not know */
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return (int)count;
        }
        atomic_store_explicit(&only_milliseconds, true, memory_order_relaxed);
    }
#endif
    return wait_milliseconds(fd, events, timeout_ns);
}

int
poller_open(Poller *poller)
{
    int error;
    atomic_init(&poller->wake_pending, 0);
    poller->wake_fd = -1;
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0) {
        return -errno;
    }
    poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (poller->wake_fd < 0) {
        error = errno;
        goto fail;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = WAKE_TAG};
    if (epoll_ctl(poller->fd, EPOLL_CTL_ADD, poller->wake_fd, &event) < 0) {
        error = errno;
        goto fail;
    }
    return 0;

fail:
    poller_close(poller);
    return -error;
}

void
poller_close(Poller *poller)
{
    if (poller->wake_fd >= 0) {
        close(poller->wake_fd);
        poller->wake_fd = -1;
    }
    if (poller->fd >= 0) {
        close(poller->fd);
        poller->fd = -1;
    }
}

void
poller_abandon(Poller *poller)
{
    /* The child shares the kernel's objects with the parent: neither epoll_ctl nor a write to the
     * eventfd may come from here, but closing the child's descriptors is its own affair. */
    poller_close(poller);
}

int
poller_add(Poller *poller, int fd, uint64_t tag)
{
    if (tag == WAKE_TAG) {
        return -EINVAL;
    }
    struct epoll_event event = {.events = EVERYTHING, .data.u64 = tag};
    return epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int
poller_remove(Poller *poller, int fd)
{
    struct epoll_event unused = {0}; /* old kernels want a pointer */
    return epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &unused) < 0 ? -errno : 0;
}

int
poller_wait(Poller *poller, PollEvent *events, int64_t timeout_ns)
{
    struct epoll_event raw[POLLER_BATCH];
    int raw_count = wait_nanoseconds(poller->fd, raw, timeout_ns);
    if (raw_count < 0) {
        return -errno;
    }
    int count = 0;
    for (int i = 0; i < raw_count; i++) {
        if (raw[i].data.u64 == WAKE_TAG) {
            /* acquire: pairs with the release in poller_wake */
            atomic_exchange_explicit(&poller->wake_pending, 0, memory_order_acquire);
            continue;
        }
        events[count].tag = raw[i].data.u64;
        events[count].ready = ready_from_epoll(raw[i].events);
        count++;
    }
    return count;
}

void
poller_wake(Poller *poller)
{
    /* release: what the thread did before is visible after the wait; pairs with the acquire in
     * poller_wait */
    if (atomic_exchange_explicit(&poller->wake_pending, 1, memory_order_release) != 0) {
        return;
    }
    int saved = errno; /* this may run in a signal handler */
    uint64_t one = 1;
    ssize_t written = write(poller->wake_fd, &one, sizeof(one));
    (void)written; /* cannot fail: the counter never comes near its limit */
    errno = saved;
}
