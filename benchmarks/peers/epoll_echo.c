/* The limit of the echo benchmark: a single-threaded echo server in plain C.
 *
 * Level-triggered epoll, one receive per event and one send for what it brought. What the other side
 * does not take at once is kept, and nothing more is received from that connection until it is gone.
 * Prints {"port": N} once it listens, and runs until it is killed. The only argument is how much one
 * receive asks for (default: 64 KiB). */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 1024 };

/* What is still to be sent to a connection; data is NULL if there is nothing. */
struct backlog {
    char *data;
    size_t offset, length;
};

static int poller;
static struct backlog *backlogs; /* by descriptor */
static size_t receive_size = 64 * 1024;
static char *buffer;

static void
fail(const char *what)
{
    perror(what);
    exit(1);
}

static void
watch(int fd, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

static int
listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        fail("listen");
    }
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void
accept_all(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) {
        fail("accept");
    }
}

static void
close_connection(int fd)
{
    free(backlogs[fd].data);
    backlogs[fd].data = NULL;
    close(fd);
}

/* Sends what it can; returns how much, or -1 when the connection is broken. */
static ssize_t
send_some(int fd, const char *data, size_t length)
{
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void
receive_and_echo(int fd)
{
    ssize_t received = recv(fd, buffer, receive_size, 0);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    ssize_t sent = received > 0 ? send_some(fd, buffer, received) : -1;
    if (sent < 0) {
        close_connection(fd);
    }
    else if (sent < received) {
        struct backlog *backlog = &backlogs[fd];
        *backlog = (struct backlog){.data = malloc(received - sent), .length = received - sent};
        if (backlog->data == NULL) {
            fail("malloc");
        }
        memcpy(backlog->data, buffer + sent, backlog->length);
        watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
    }
}

static void
send_backlog(int fd)
{
    struct backlog *backlog = &backlogs[fd];
    ssize_t sent =
        send_some(fd, backlog->data + backlog->offset, backlog->length - backlog->offset);
    if (sent < 0) {
        close_connection(fd);
        return;
    }
    backlog->offset += sent;
    if (backlog->offset == backlog->length) {
        free(backlog->data);
        backlog->data = NULL;
        watch(fd, EPOLL_CTL_MOD, EPOLLIN);
    }
}

int
main(int count, char **arguments)
{
    if (count > 1) {
        receive_size = strtoul(arguments[1], NULL, 10);
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 1000000 ? files.rlim_max : 1000000;
    setrlimit(RLIMIT_NOFILE, &files);
    backlogs = calloc(files.rlim_cur, sizeof *backlogs);
    poller = epoll_create1(0);
    buffer = malloc(receive_size);
    if (backlogs == NULL || buffer == NULL || poller < 0) {
        fail("start");
    }
    int listener = listen_on_loopback();
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);

    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        int ready = epoll_wait(poller, events, MAX_EVENTS, -1);
        if (ready < 0 && errno != EINTR) {
            fail("epoll_wait");
        }
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(fd);
            }
            else if (backlogs[fd].data != NULL) {
                send_backlog(fd);
            }
            else {
                receive_and_echo(fd);
            }
        }
    }
}
