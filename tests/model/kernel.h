/* Kernel: what the explored code needs of the system - futexes, epoll, descriptors - as steps of the explorer. */
#ifndef TONIO_MODEL_KERNEL_H
#define TONIO_MODEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

/* In a model's `start`: forgets what there was. */
void kernel_reset(void);

/* futex and epoll_pwait2. */
long kernel_syscall(const char *where, long number, ...);
int kernel_epoll_create(void);
int kernel_epoll_ctl(int poll, int operation, int fd, const struct epoll_event *event);
int kernel_epoll_wait(int poll, struct epoll_event *events, int most, int timeout_ms,
                      const char *where);
int kernel_eventfd(void);
int kernel_close(int fd, const char *where);
ssize_t kernel_write(int fd, const void *data, size_t size, const char *where);
ssize_t kernel_read(int fd, void *data, size_t size, const char *where);
int kernel_accept(int fd, unsigned *address_length, const char *where);
void *kernel_realloc(void *memory, size_t size);

/* ---- for models ------------------------------------------------------------------------------------------ */

/* A connected stream, or with `listens` a socket that accepts. Numbers of closed descriptors are used again. */
int kernel_open(bool listens);

/* What the other end of an open descriptor goes by. */
unsigned kernel_peer(int fd);

/* From there `count` bytes (connections) come, if the descriptor is still open. */
void kernel_arrive(unsigned peer, unsigned count, const char *where);

/* How many bytes were not read yet. */
unsigned kernel_waiting(int fd);

#endif
