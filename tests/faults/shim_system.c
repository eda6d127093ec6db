/* Shim, system half: wrappers of allocators and system calls.
 *
 * A call that fails does nothing, but for those that have begun by the time they fail: a connect or a close that is interrupted
 * goes on, and one that goes on is interrupted when it is tried again. EAGAIN and a short transfer mean that there was no more
 * at that moment; more comes right afterwards, so the poller is made to say that it is ready, as the kernel would. For that
 * `epoll_ctl` is watched.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
#define SYMBOL(name, ...) SYMBOL_##name,
#include "symbols.h"
#undef SYMBOL
};

#define HERE(name) fault_here(SYMBOL_##name, __builtin_return_address(0))

/* A wrapper that fails with -1 and errno, and does nothing then. */
#define WRAP_CALL(type, name, parameters, arguments)                                               \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        int error = HERE(name);                                                                    \
        if (error != 0) {                                                                          \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* A wrapper that fails with NULL. */
#define WRAP_MEMORY(name, parameters, arguments)                                                   \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        if (HERE(name)) {                                                                          \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
        void *memory = __real_##name arguments;                                                    \
        fault_memory_taken(memory);                                                                \
        return memory;                                                                             \
    }

WRAP_MEMORY(malloc, (size_t size), (size))
WRAP_MEMORY(calloc, (size_t count, size_t size), (count, size))
WRAP_MEMORY(strdup, (const char *text), (text))
WRAP_MEMORY(PyMem_Malloc, (size_t size), (size))
WRAP_MEMORY(PyMem_Calloc, (size_t count, size_t size), (count, size))

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *
__wrap_realloc(void *memory, size_t size)
{
    if (HERE(realloc)) {
        errno = ENOMEM;
        return NULL;
    }
    void *moved = __real_realloc(memory, size);
    if (memory == NULL) {
        fault_memory_taken(moved);
    }
    return moved;
}

int __real_posix_memalign(void **memory, size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
int
__wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (HERE(posix_memalign)) {
        return ENOMEM;
    }
    int error = __real_posix_memalign(memory, alignment, size);
    if (error == 0) {
        fault_memory_taken(*memory);
    }
    return error;
}

#define WRAP_FREE(name, given)                                                                     \
    void __real_##name(void *memory);                                                              \
    void __wrap_##name(void *memory);                                                              \
    void __wrap_##name(void *memory)                                                               \
    {                                                                                              \
        given(memory);                                                                             \
        __real_##name(memory);                                                                     \
    }

WRAP_FREE(free, fault_memory_given)
WRAP_FREE(PyMem_Free, fault_memory_given)
WRAP_FREE(PyObject_Free, fault_object_given)
WRAP_FREE(PyObject_GC_Del, fault_object_given)

/* ---- readiness ------------------------------------------------------------------------------------------- */

#define WATCHED 4096

static _Atomic uint64_t watched_poller[WATCHED]; /* by descriptor: its poller, + 1 */
static _Atomic uint64_t watched_tag[WATCHED];
static _Atomic uint32_t watched_events[WATCHED];

int __real_epoll_ctl(int poller, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int poller, int operation, int fd, struct epoll_event *event);
int
__wrap_epoll_ctl(int poller, int operation, int fd, struct epoll_event *event)
{
    int error = operation == EPOLL_CTL_ADD ? HERE(epoll_ctl) : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    if (fd >= 0 && fd < WATCHED) {
        watched_poller[fd] = 0;
        if (operation == EPOLL_CTL_ADD) {
            watched_tag[fd] = event->data.u64;
            watched_events[fd] = event->events;
            watched_poller[fd] = (uint64_t)poller + 1;
        }
    }
    return __real_epoll_ctl(poller, operation, fd, event);
}

/* What the descriptor is ready for is told again. */
static void
ready_again(int fd)
{
    if (fd >= 0 && fd < WATCHED && watched_poller[fd] != 0) {
        struct epoll_event event = {.events = watched_events[fd], .data.u64 = watched_tag[fd]};
        __real_epoll_ctl((int)watched_poller[fd] - 1, EPOLL_CTL_MOD, fd, &event);
    }
}

/* A wrapper of what transfers `size` bytes; `parameters` begin with `int fd`. */
#define WRAP_TRANSFER(name, parameters, arguments, size)                                           \
    ssize_t __real_##name parameters;                                                              \
    ssize_t __wrap_##name parameters;                                                              \
    ssize_t __wrap_##name parameters                                                               \
    {                                                                                              \
        int error = HERE(name);                                                                    \
        if (error == FAULT_SHORT && (size) > 1) {                                                  \
            size = 1;                                                                              \
            ssize_t count = __real_##name arguments;                                               \
            error = errno;                                                                         \
            ready_again(fd);                                                                       \
            errno = error;                                                                         \
            return count;                                                                          \
        }                                                                                          \
        if (error != 0 && error != FAULT_SHORT) {                                                  \
            if (error == EAGAIN) {                                                                 \
                ready_again(fd);                                                                   \
            }                                                                                      \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }

WRAP_TRANSFER(recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags), size)
WRAP_TRANSFER(send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags),
              size)
WRAP_TRANSFER(sendto,
              (int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t length),
              (fd, data, size, flags, address, length), size)
WRAP_TRANSFER(recvfrom,
              (int fd, void *data, size_t size, int flags, struct sockaddr *address,
               socklen_t *length),
              (fd, data, size, flags, address, length), size)
WRAP_TRANSFER(sendfile64, (int fd, int file, off_t *offset, size_t size), (fd, file, offset, size),
              size)

/* Messages: short is the first byte of the first buffer that has one. */
#define WRAP_MESSAGE(name, constant)                                                               \
    ssize_t __real_##name(int fd, constant struct msghdr *message, int flags);                     \
    ssize_t __wrap_##name(int fd, constant struct msghdr *message, int flags);                     \
    ssize_t __wrap_##name(int fd, constant struct msghdr *message, int flags)                      \
    {                                                                                              \
        int error = HERE(name);                                                                    \
        if (error == FAULT_SHORT && message->msg_iovlen > 0 && message->msg_iov[0].iov_len > 1) {  \
            struct msghdr *whole = (struct msghdr *)message;                                       \
            struct iovec first = {message->msg_iov[0].iov_base, 1};                                \
            struct msghdr part = *message;                                                         \
            part.msg_iov = &first;                                                                 \
            part.msg_iovlen = 1;                                                                   \
            ssize_t count = __real_##name(fd, &part, flags);                                       \
            error = errno;                                                                         \
            whole->msg_namelen = part.msg_namelen;                                                 \
            whole->msg_controllen = part.msg_controllen;                                           \
            whole->msg_flags = part.msg_flags;                                                     \
            ready_again(fd);                                                                       \
            errno = error;                                                                         \
            return count;                                                                          \
        }                                                                                          \
        if (error != 0 && error != FAULT_SHORT) {                                                  \
            if (error == EAGAIN) {                                                                 \
                ready_again(fd);                                                                   \
            }                                                                                      \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        return __real_##name(fd, message, flags);                                                  \
    }

WRAP_MESSAGE(sendmsg, const)
WRAP_MESSAGE(recvmsg, )

int __real_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int
__wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    int error = HERE(accept4);
    if (error != 0) {
        if (error == EAGAIN) {
            ready_again(fd);
        }
        errno = error;
        return -1;
    }
    return __real_accept4(fd, address, length, flags);
}

/* ---- other calls ----------------------------------------------------------------------------------------- */

WRAP_CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t length),
          (fd, address, length))
WRAP_CALL(int, epoll_create1, (int flags), (flags))
WRAP_CALL(int, epoll_wait, (int fd, struct epoll_event *events, int most, int timeout),
          (fd, events, most, timeout))
WRAP_CALL(int, eventfd, (unsigned value, int flags), (value, flags))
WRAP_CALL(int, getpeername, (int fd, struct sockaddr *address, socklen_t *length),
          (fd, address, length))
WRAP_CALL(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length),
          (fd, address, length))
WRAP_CALL(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *length),
          (fd, level, option, value, length))
WRAP_CALL(int, listen, (int fd, int backlog), (fd, backlog))
WRAP_CALL(int, pipe2, (int fds[2], int flags), (fds, flags))
WRAP_CALL(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
WRAP_CALL(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size))
WRAP_CALL(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t length),
          (fd, level, option, value, length))
WRAP_CALL(int, shutdown, (int fd, int how), (fd, how))
WRAP_CALL(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *timeout),
          (set, info, timeout))
WRAP_CALL(int, socket, (int family, int type, int protocol), (family, type, protocol))

int __real_close(int fd);
int __wrap_close(int fd);
int
__wrap_close(int fd)
{
    int error = HERE(close);
    int result = __real_close(fd); /* on Linux it is closed in any case */
    if (error != 0) {
        errno = error;
        return -1;
    }
    return result;
}

int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
int
__wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    /* a descriptor that is connected, while its caller was told that it takes a while */
    static _Atomic int slow = -1;
    int expected = fd;
    int error = HERE(connect);

    if (error == 0 && atomic_compare_exchange_strong(&slow, &expected, -1)) {
        errno = EINTR;
        return -1;
    }
    if (error == EINTR || error == EINPROGRESS) {
        int result = __real_connect(fd, address, length);
        if (result < 0 && errno != EINPROGRESS) {
            return result;
        }
        if (error == EINPROGRESS) {
            atomic_store(&slow, fd);
        }
        errno = error; /* it goes on by itself */
        return -1;
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    return __real_connect(fd, address, length);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int
__wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    int error = HERE(fcntl64);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return __real_fcntl64(fd, command, argument);
}

int __real_ioctl(int fd, unsigned long command, ...);
int __wrap_ioctl(int fd, unsigned long command, ...);
int
__wrap_ioctl(int fd, unsigned long command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int error = HERE(ioctl);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return __real_ioctl(fd, command, argument);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long
__wrap_syscall(long number, ...)
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    bool waits = number == SYS_futex && (a[1] & FUTEX_CMD_MASK) != FUTEX_WAKE;
    if (waits || number == SYS_epoll_pwait2) {
        int error = HERE(syscall);
        if (number == SYS_futex && error == EPERM) {
            error = EAGAIN;
        }
        if (error == FAULT_WOKEN) {
            return 0;
        }
        if (error != 0) {
            errno = error;
            return -1;
        }
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);
int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                      void *argument)
{
    int error = HERE(pthread_create);
    return error != 0 ? error : __real_pthread_create(thread, attributes, body, argument);
}

/* ---- names ----------------------------------------------------------------------------------------------- */

/* What the fault says as a code of getaddrinfo. */
static int
lookup_code(int fault)
{
    int code = fault - FAULT_GAI - 100;
    if (code == EAI_SYSTEM) {
        errno = EMFILE;
    }
    return code;
}

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int
__wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                   struct addrinfo **found)
{
    int fault = HERE(getaddrinfo);
    return fault != 0 ? lookup_code(fault) : __real_getaddrinfo(host, service, hints, found);
}

int __real_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_size, char *service, socklen_t service_size, int flags);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                       socklen_t host_size, char *service, socklen_t service_size, int flags);
int
__wrap_getnameinfo(const struct sockaddr *address, socklen_t length, char *host,
                   socklen_t host_size, char *service, socklen_t service_size, int flags)
{
    int fault = HERE(getnameinfo);
    return fault != 0
               ? lookup_code(fault)
               : __real_getnameinfo(address, length, host, host_size, service, service_size, flags);
}
