/* Kernel: see kernel.h. Everything is one step of the thread that calls, atomically; epoll is edge-triggered.
 *
 * A call on a descriptor that is not open, which in a real program might by then be another thread's file, is a failure.
 */
#include "kernel.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/time_types.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "explore.h"

#define FIRST_FD 3
#define MOST_FDS 16
#define MOST_SLEEPERS 8

typedef enum FileKind { FILE_NONE, FILE_EPOLL, FILE_EVENT, FILE_STREAM, FILE_LISTENER } FileKind;

typedef struct File {
    FileKind kind;
    unsigned serial;  /* tells files apart that had the same number */
    unsigned waiting; /* bytes, or connections */
    bool watched;     /* by the one epoll that there is */
    bool edge;        /* an event that was not fetched yet */
    struct epoll_event event;
} File;

typedef struct Sleeper { /* on a futex */
    const void *word;
    bool woken;
    unsigned turn;
} Sleeper;

static File files[MOST_FDS];
static int poll_fd; /* the epoll */
static Sleeper *sleepers[MOST_SLEEPERS];
static unsigned turns;
static unsigned serials;

void
kernel_reset(void)
{
    memset(files, 0, sizeof(files));
    memset(sleepers, 0, sizeof(sleepers));
    turns = serials = 0;
    poll_fd = -1;
}

/* ---- futex ----------------------------------------------------------------------------------------------- */

static bool
sleeper_is_woken(void *sleeper)
{
    return ((Sleeper *)sleeper)->woken;
}

static long
futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline, const char *where)
{
    Sleeper sleeper = {word, false, ++turns};
    unsigned place = 0;

    uint32_t found;
    model_load(word, &found, sizeof(found), 0, where);
    /* the word's queue changes, too, in the same step; it goes by an address that nothing else has */
    model_touch((const char *)word + 1);
    if (found != value) {
        errno = EAGAIN;
        return -1;
    }
    while (sleepers[place] != NULL) {
        place++;
    }
    sleepers[place] = &sleeper;
    bool woken = model_wait(sleeper_is_woken, &sleeper, deadline, (const char *)word + 1, where);
    sleepers[place] = NULL;
    if (!woken) {
        errno = ETIMEDOUT;
        return -1;
    }
    return 0;
}

static long
futex_wake(const uint32_t *word, const char *where)
{
    Sleeper *first = NULL;

    model_change((const char *)word + 1, where);
    for (unsigned i = 0; i < MOST_SLEEPERS; i++) {
        Sleeper *sleeper = sleepers[i];
        if (sleeper != NULL && sleeper->word == word && !sleeper->woken &&
            (first == NULL || sleeper->turn < first->turn)) {
            first = sleeper;
        }
    }
    if (first != NULL) {
        first->woken = true;
    }
    return first != NULL;
}

/* ---- descriptors ----------------------------------------------------------------------------------------- */

static int
file_new(FileKind kind)
{
    for (int fd = FIRST_FD; fd < MOST_FDS; fd++) {
        if (files[fd].kind == FILE_NONE) {
            files[fd] = (File){.kind = kind, .serial = ++serials};
            return fd;
        }
    }
    model_fail("too many descriptors", MODEL_WHERE);
}

static File *
file_at(int fd, const char *where)
{
    if (fd < 0 || fd >= MOST_FDS || files[fd].kind == FILE_NONE) {
        model_fail("a call on a descriptor that is closed", where);
    }
    return &files[fd];
}

static bool
any_edge(void *unused)
{
    (void)unused;
    for (int fd = FIRST_FD; fd < MOST_FDS; fd++) {
        if (files[fd].watched && files[fd].edge) {
            return true;
        }
    }
    return false;
}

int
kernel_epoll_create(void)
{
    return poll_fd = file_new(FILE_EPOLL);
}

int
kernel_eventfd(void)
{
    return file_new(FILE_EVENT);
}

int
kernel_open(bool listens)
{
    return file_new(listens ? FILE_LISTENER : FILE_STREAM);
}

int
kernel_epoll_ctl(int poll, int operation, int fd, const struct epoll_event *event)
{
    model_change(&files[poll], MODEL_WHERE " epoll_ctl");
    File *file = file_at(fd, MODEL_WHERE);
    if (operation == EPOLL_CTL_DEL) {
        file->watched = file->edge = false;
        return 0;
    }
    if (file->watched) {
        errno = EEXIST;
        return -1;
    }
    file->watched = true;
    file->event = *event;
    file->edge = file->waiting > 0 || file->kind == FILE_STREAM; /* it can be written to */
    return 0;
}

static int
epoll_fetch(int poll, struct epoll_event *events, uint64_t deadline, const char *where)
{
    int count = 0;

    file_at(poll, where);
    if (deadline == 0) {
        model_change(&files[poll], where);
    }
    else {
        model_wait(any_edge, NULL, deadline, &files[poll], where);
    }
    for (int fd = FIRST_FD; fd < MOST_FDS; fd++) {
        File *file = &files[fd];
        if (file->watched && file->edge) {
            file->edge = false;
            events[count] = file->event;
            events[count++].events = (file->waiting > 0 || file->kind == FILE_EVENT ? EPOLLIN : 0) |
                                     (file->kind == FILE_STREAM ? EPOLLOUT : 0);
        }
    }
    return count;
}

int
kernel_epoll_wait(int poll, struct epoll_event *events, int most, int timeout_ms, const char *where)
{
    (void)most;
    uint64_t deadline = timeout_ms < 0    ? MODEL_FOREVER
                        : timeout_ms == 0 ? 0
                                          : model_clock() + (uint64_t)timeout_ms * 1000000u;
    return epoll_fetch(poll, events, deadline, where);
}

int
kernel_close(int fd, const char *where)
{
    model_change(&files[poll_fd], where);
    file_at(fd, where);
    files[fd] = (File){.kind = FILE_NONE};
    return 0;
}

/* Only an eventfd does something with it: what is sent on a stream, nobody reads. */
ssize_t
kernel_write(int fd, const void *data, size_t size, const char *where)
{
    (void)data;
    model_change(&files[poll_fd], where);
    File *file = file_at(fd, where);
    if (file->kind == FILE_EVENT) {
        file->edge = true;
    }
    return (ssize_t)size;
}

ssize_t
kernel_read(int fd, void *data, size_t size, const char *where)
{
    model_change(&files[poll_fd], where);
    File *file = file_at(fd, where);
    if (file->waiting == 0) {
        errno = EAGAIN;
        return -1;
    }
    size_t count = size < file->waiting ? size : file->waiting;
    memset(data, 'x', count);
    file->waiting -= (unsigned)count;
    return (ssize_t)count;
}

int
kernel_accept(int fd, unsigned *address_length, const char *where)
{
    model_change(&files[poll_fd], where);
    File *file = file_at(fd, where);
    if (file->waiting == 0) {
        errno = EAGAIN;
        return -1;
    }
    file->waiting--;
    *address_length = 0;
    return file_new(FILE_STREAM);
}

unsigned
kernel_peer(int fd)
{
    return files[fd].serial;
}

void
kernel_arrive(unsigned peer, unsigned count, const char *where)
{
    model_change(&files[poll_fd], where);
    for (int fd = FIRST_FD; fd < MOST_FDS; fd++) {
        if (files[fd].kind != FILE_NONE && files[fd].serial == peer) {
            files[fd].waiting += count;
            files[fd].edge = true;
        }
    }
}

unsigned
kernel_waiting(int fd)
{
    return files[fd].waiting;
}

void *
kernel_realloc(void *memory, size_t size)
{
    void *bigger = model_memory(size, 16);

    if (memory != NULL) {
        memcpy(bigger, memory,
               size); /* what lies behind the old block is read, too: it is our memory */
    }
    return bigger;
}

/* ---- by number ------------------------------------------------------------------------------------------- */

long
kernel_syscall(const char *where, long number, ...)
{
    va_list arguments;
    long result = -1;

    va_start(arguments, number);
    if (number == SYS_futex) {
        const uint32_t *word = va_arg(arguments, const uint32_t *);
        int operation = va_arg(arguments, int);
        uint32_t value = va_arg(arguments, uint32_t);
        const struct timespec *time = va_arg(arguments, const struct timespec *);
        if (operation == FUTEX_WAKE_PRIVATE) {
            result = futex_wake(word, where);
        }
        else {
            uint64_t deadline =
                time == NULL || time->tv_sec == INT_MAX
                    ? MODEL_FOREVER
                    : (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
            result = futex_wait(word, value, deadline, where);
        }
    }
    else if (number == SYS_epoll_pwait2) {
        int poll = va_arg(arguments, int);
        struct epoll_event *events = va_arg(arguments, struct epoll_event *);
        (void)va_arg(arguments, int);
        const struct __kernel_timespec *timeout =
            va_arg(arguments, const struct __kernel_timespec *);
        uint64_t wait = (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
        result = epoll_fetch(poll, events, model_clock() + wait, where);
    }
    else {
        model_fail("a system call that the kernel of the models has not got", where);
    }
    va_end(arguments);
    return result;
}
