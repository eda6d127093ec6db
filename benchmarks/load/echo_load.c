/* The load of the echo benchmarks: N connections, each with one message on its way.
 *
 *   echo_load -p PORT [-c CONNECTIONS] [-s SIZE] [-w WARMUP] [-d SECONDS | -n REQUESTS] [-P PID] [-i]
 *
 * Every connection sends a message, waits until the same bytes are back, and sends the next. All that
 * comes back is compared with what was sent; a message begins with a number of its own, so that a
 * wrong, late or surplus byte cannot pass. After the warm-up a window of SECONDS or REQUESTS is
 * measured, and then every connection must still get its last answer. With -P the CPU time of that process
 * in exactly this window is told too, and by how much its memory has grown since before the first
 * connection. With -i the connections are only held, without a message.
 *
 * Prints one line of JSON. One thread; the caller pins it to a core that the server does not use. */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 1024,
    PATIENCE_MS = 10000, /* without any event: the server is stuck */
    SUB_BITS = 6,        /* 64 bins per power of two: latencies are exact to 1.6 % */
    SUB_COUNT = 1 << SUB_BITS,
};

struct options {
    int port, connections;
    size_t size;
    double warmup, seconds;
    uint64_t requests; /* 0: the window is as long as seconds says */
    pid_t server;      /* 0: unknown */
    bool idle;
};

struct connection {
    int fd;
    size_t sent, received; /* of the present message */
    uint64_t number;       /* its first eight bytes */
    int64_t started;
};

/* What is measured in the window; until it closes, the clocks hold the values of its beginning. */
struct window {
    uint64_t requests;
    double seconds;
    int64_t start, own_cpu, server_cpu;
    uint64_t latencies[64 * SUB_COUNT];
};

static struct options options = {.connections = 64, .size = 1024, .warmup = 0.3, .seconds = 2};
static struct window window;
static char *message, *answer;
static long memory_before, memory_grown; /* of the server */
static bool leaving;                     /* no further messages are sent */
static int busy;                         /* connections with a message on its way */

static _Noreturn void
fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("echo_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static int64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        fail("cannot read a clock: %s", strerror(errno));
    }
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t
server_cpu_ns(void)
{
    clockid_t clock;
    if (options.server == 0) {
        return 0;
    }
    if (clock_getcpuclockid(options.server, &clock) != 0) {
        fail("process %d has gone", (int)options.server);
    }
    return clock_ns(clock);
}

/* The resident memory of the server. */
static long
server_memory(void)
{
    char name[64];
    long pages = 0;
    snprintf(name, sizeof name, "/proc/%d/statm", (int)options.server);
    FILE *file = options.server == 0 ? NULL : fopen(name, "r");
    if (file != NULL) {
        if (fscanf(file, "%*d %ld", &pages) != 1) {
            fail("cannot read %s", name);
        }
        fclose(file);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

static void
window_open(void)
{
    memset(&window, 0, sizeof window);
    window.server_cpu = server_cpu_ns();
    window.own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    window.start = clock_ns(CLOCK_MONOTONIC);
}

/* ---- latencies: a histogram with bins of constant relative width ---- */

static size_t
latency_bin(uint64_t ns)
{
    if (ns < SUB_COUNT) {
        return ns;
    }
    int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
    return (size_t)(shift + 1) * SUB_COUNT + (ns >> shift) - SUB_COUNT;
}

/* The middle of a bin, in microseconds. */
static double
bin_us(size_t bin)
{
    if (bin < SUB_COUNT) {
        return (double)bin / 1e3;
    }
    int shift = (int)(bin / SUB_COUNT) - 1;
    return ((double)(bin % SUB_COUNT + SUB_COUNT) + 0.5) * (double)(UINT64_C(1) << shift) / 1e3;
}

static double
percentile_us(double percent)
{
    uint64_t seen = 0, wanted = (uint64_t)(percent / 100 * (double)window.requests);
    for (size_t bin = 0; bin < 64 * SUB_COUNT; bin++) {
        seen += window.latencies[bin];
        if (seen > wanted) {
            return bin_us(bin);
        }
    }
    return 0;
}

static void
window_close(void)
{
    window.seconds = (double)(clock_ns(CLOCK_MONOTONIC) - window.start) / 1e9;
    window.own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - window.own_cpu;
    window.server_cpu = server_cpu_ns() - window.server_cpu;
    memory_grown = server_memory() - memory_before;
}

static void
window_print(void)
{
    printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f, \"requests_per_second\": %.1f, "
           "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"load_cpu_seconds\": %.6f",
           window.requests, window.seconds, (double)window.requests / window.seconds,
           percentile_us(50), percentile_us(99), percentile_us(99.9), (double)window.own_cpu / 1e9);
    if (options.server != 0) {
        printf(", \"server_cpu_seconds\": %.6f, \"server_grown_bytes\": %ld",
               (double)window.server_cpu / 1e9, memory_grown);
    }
    puts("}");
}

/* ---- connections ---- */

static void
connection_open(struct connection *connection, int poller)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = connection};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) {
        fail("cannot connect to port %d: %s", options.port, strerror(errno));
    }
    connection->fd = fd;
}

static void
connection_send(struct connection *connection)
{
    memcpy(message, &connection->number, sizeof connection->number);
    while (connection->sent < options.size) {
        ssize_t sent = send(connection->fd, message + connection->sent,
                            options.size - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EAGAIN) {
                fail("cannot send: %s", strerror(errno));
            }
            return;
        }
        connection->sent += sent;
    }
}

static void
connection_start(struct connection *connection, int64_t now)
{
    connection->number++;
    connection->sent = connection->received = 0;
    connection->started = now;
    busy++;
    connection_send(connection);
}

/* Takes what has come; with the last byte of a message it sends the next one. A short read has taken
 * everything, so nothing asks again until the next edge. */
static void
connection_receive(struct connection *connection)
{
    size_t wanted = options.size - connection->received;
    ssize_t received = recv(connection->fd, answer, wanted, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received < 0) {
        fail("cannot receive: %s", strerror(errno));
    }
    memcpy(message, &connection->number, sizeof connection->number);
    if (connection->received + received > connection->sent ||
        memcmp(answer, message + connection->received, received) != 0) {
        fail("an answer is not what was sent");
    }
    connection->received += received;
    if (connection->received == options.size) {
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        busy--;
        if (!leaving) {
            window.requests++;
            window.latencies[latency_bin(now - connection->started)]++;
            connection_start(connection, now);
        }
    }
}

/* Runs the load until the window has so many requests or so many seconds have passed; when leaving,
 * until all answers are there. */
static void
run_load(int poller, double seconds, uint64_t requests)
{
    struct epoll_event events[MAX_EVENTS];
    int64_t end = clock_ns(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e9);
    while (leaving        ? busy > 0
           : requests > 0 ? window.requests < requests
                          : clock_ns(CLOCK_MONOTONIC) < end) {
        int count = epoll_wait(poller, events, MAX_EVENTS, PATIENCE_MS);
        if (count == 0) {
            fail("no answer for %d s", PATIENCE_MS / 1000);
        }
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
                fail("the server closed a connection");
            }
            if (connection->sent < options.size) {
                connection_send(connection);
            }
            if (events[i].events & EPOLLIN) {
                connection_receive(connection);
            }
        }
    }
}

static void
hold(double seconds)
{
    struct timespec rest = {.tv_sec = (time_t)seconds};
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    nanosleep(&rest, NULL);
}

static void
parse(int count, char **arguments)
{
    int letter;
    while ((letter = getopt(count, arguments, "p:c:s:w:d:n:P:i")) != -1) {
        switch (letter) {
        case 'p':
            options.port = atoi(optarg);
            break;
        case 'c':
            options.connections = atoi(optarg);
            break;
        case 's':
            options.size = strtoul(optarg, NULL, 10);
            break;
        case 'w':
            options.warmup = strtod(optarg, NULL);
            break;
        case 'd':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'n':
            options.requests = strtoull(optarg, NULL, 10);
            break;
        case 'P':
            options.server = atoi(optarg);
            break;
        case 'i':
            options.idle = true;
            break;
        default:
            exit(2);
        }
    }
    if (options.port <= 0 || options.connections <= 0 || options.size < sizeof(uint64_t)) {
        fail("-p PORT is needed, and at least one connection and messages of 8 bytes");
    }
}

int
main(int count, char **arguments)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    parse(count, arguments);
    int poller = epoll_create1(0);
    struct connection *connections = calloc(options.connections, sizeof *connections);
    message = malloc(options.size);
    answer = malloc(options.size);
    if (poller < 0 || connections == NULL || message == NULL || answer == NULL) {
        fail("cannot start: %s", strerror(errno));
    }
    for (size_t i = 0; i < options.size; i++) {
        message[i] = (char)(i * 31 + (i >> 8));
    }
    memory_before = server_memory();
    for (int i = 0; i < options.connections; i++) {
        connections[i].number = (uint64_t)i << 40;
        connection_open(&connections[i], poller);
    }

    if (options.idle) {
        hold(options.warmup);
        window_open();
        hold(options.seconds);
    }
    else {
        for (int i = 0; i < options.connections; i++) {
            connection_start(&connections[i], clock_ns(CLOCK_MONOTONIC));
        }
        run_load(poller, options.warmup, 0);
        window_open();
        run_load(poller, options.seconds, options.requests);
    }
    window_close();
    leaving = true;
    run_load(poller, 0, 0);
    window_print();
    return 0;
}
