/* Poller: what an edge-triggered registration reports, wake-ups, time-outs, limits. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/poller.h"

#define MILLISECOND INT64_C(1000000)
/* Instead of for ever, so that a lost event fails the test. */
#define TOO_LONG (20000 * MILLISECOND)

static Poller poller;
static PollEvent events[POLLER_BATCH];

static int
setup(void **state)
{
    (void)state;
    return poller_open(&poller);
}

static int
teardown(void **state)
{
    (void)state;
    poller_close(&poller);
    return 0;
}

static void
sleep_us(long us)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = us * 1000};
    nanosleep(&pause, NULL);
}

/* The number of descriptors that this process has open. */
static int
count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* A pair of connected stream sockets, non-blocking. */
static void
open_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

static void
close_pair(int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static void
send_byte(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

/* Waits and checks that exactly this comes. */
static void
expect_event(uint64_t tag, uint32_t ready)
{
    assert_int_equal(poller_wait(&poller, events, TOO_LONG), 1);
    assert_true(events[0].tag == tag);
    assert_int_equal(events[0].ready, ready);
}

static void
expect_nothing(void)
{
    assert_int_equal(poller_wait(&poller, events, 0), 0);
}

/* --- readiness --- */

static void
test_registration_reports_what_is_ready_already(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    send_byte(pair[1]);
    assert_int_equal(poller_add(&poller, pair[0], 7), 0);
    expect_event(7, POLL_READABLE | POLL_WRITABLE);
    close_pair(pair);
}

static void
test_readiness_is_reported_once_and_again_for_new_data(void **state)
{
    (void)state;
    int pair[2];
    char buffer[8];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    expect_event(1, POLL_WRITABLE);
    expect_nothing();
    send_byte(pair[1]);
    expect_event(1, POLL_READABLE | POLL_WRITABLE);
    expect_nothing(); /* the byte is still there, but it is no news */
    send_byte(pair[1]);
    expect_event(1, POLL_READABLE | POLL_WRITABLE);
    assert_int_equal(read(pair[0], buffer, sizeof(buffer)), 2);
    expect_nothing();
    close_pair(pair);
}

static void
test_full_socket_becomes_writable_when_the_peer_reads(void **state)
{
    (void)state;
    int pair[2];
    static char block[65536];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    expect_event(1, POLL_WRITABLE);
    while (write(pair[0], block, sizeof(block)) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    expect_nothing();
    while (read(pair[1], block, sizeof(block)) > 0) {
    }
    expect_event(1, POLL_WRITABLE);
    close_pair(pair);
}

static void
test_data_and_end_of_stream_come_in_one_event(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    expect_event(1, POLL_WRITABLE);
    send_byte(pair[1]);
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
    expect_event(1, POLL_READABLE | POLL_WRITABLE | POLL_READ_CLOSED);
    expect_nothing();
    close_pair(pair);
}

static void
test_closed_peer_closes_both_directions(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    expect_event(1, POLL_WRITABLE);
    close(pair[1]);
    expect_event(1, POLL_READABLE | POLL_WRITABLE | POLL_READ_CLOSED | POLL_WRITE_CLOSED);
    close(pair[0]);
}

static void
test_pipe_without_writers_is_readable_and_closed(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(poller_add(&poller, ends[0], 1), 0);
    expect_nothing();
    close(ends[1]);
    assert_int_equal(poller_wait(&poller, events, TOO_LONG), 1);
    assert_true(events[0].ready & POLL_READABLE);
    assert_true(events[0].ready & POLL_READ_CLOSED);
    close(ends[0]);
}

static void
test_pipe_without_readers_is_writable_with_an_error(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(poller_add(&poller, ends[1], 1), 0);
    expect_event(1, POLL_WRITABLE);
    close(ends[0]);
    assert_int_equal(poller_wait(&poller, events, TOO_LONG), 1);
    assert_true(events[0].ready & POLL_WRITABLE);
    assert_true(events[0].ready & POLL_ERROR);
    close(ends[1]);
}

/* A TCP socket on the loopback interface, bound; its address is stored. */
static int
open_bound_socket(struct sockaddr_in *address)
{
    socklen_t length = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return fd;
}

static void
test_refused_connection_reports_an_error_and_both_directions(void **state)
{
    (void)state;
    struct sockaddr_in address;
    int bound = open_bound_socket(&address); /* does not listen */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    if (errno == EINPROGRESS) {
        assert_int_equal(poller_add(&poller, fd, 1), 0);
        assert_int_equal(poller_wait(&poller, events, TOO_LONG), 1);
        uint32_t expected = POLL_READABLE | POLL_WRITABLE | POLL_ERROR;
        assert_int_equal(events[0].ready & expected, expected);
    }
    close(fd);
    close(bound);
}

static void
test_listening_socket_reports_a_connection(void **state)
{
    (void)state;
    struct sockaddr_in address;
    int listener = open_bound_socket(&address);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(poller_add(&poller, listener, 1), 0);
    expect_nothing();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    expect_event(1, POLL_READABLE);
    close(fd);
    close(listener);
}

static void
test_fresh_tcp_socket_reports_a_hang_up(void **state)
{
    (void)state; /* not what one would like, but what poller.h warns of */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(poller_add(&poller, fd, 1), 0);
    expect_event(1, POLL_READABLE | POLL_WRITABLE | POLL_READ_CLOSED | POLL_WRITE_CLOSED);
    close(fd);
}

static void
test_urgent_data_counts_as_readable(void **state)
{
    (void)state;
    struct sockaddr_in address;
    int listener = open_bound_socket(&address);
    assert_int_equal(listen(listener, 4), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(peer >= 0);
    assert_int_equal(poller_add(&poller, peer, 1), 0);
    expect_event(1, POLL_WRITABLE);
    assert_int_equal(send(fd, "!", 1, MSG_OOB), 1);
    expect_event(1, POLL_READABLE | POLL_WRITABLE | POLL_URGENT);
    close(peer);
    close(fd);
    close(listener);
}

static void
test_more_ready_descriptors_than_a_batch_are_all_reported_once(void **state)
{
    (void)state;
    enum { COUNT = POLLER_BATCH + 44 };
    static int fds[COUNT];
    static int seen[COUNT];
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < COUNT; i++) {
        fds[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_true(fds[i] >= 0);
        assert_int_equal(poller_add(&poller, fds[i], (uint64_t)i), 0);
    }
    poller_wake(&poller); /* a wake-up among them takes no room and is not lost */
    int total = 0;
    while (total < COUNT) {
        int count = poller_wait(&poller, events, TOO_LONG);
        assert_true(count > 0 && count <= POLLER_BATCH);
        for (int i = 0; i < count; i++) {
            seen[events[i].tag]++;
        }
        total += count;
    }
    assert_int_equal(total, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(seen[i], 1);
        close(fds[i]);
    }
}

/* --- registration --- */

static void
test_regular_file_is_refused(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(poller_add(&poller, fileno(file), 1), -EPERM);
    fclose(file);
}

static void
test_bad_registrations_are_refused(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], UINT64_MAX), -EINVAL);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    assert_int_equal(poller_add(&poller, pair[0], 2), -EEXIST);
    assert_int_equal(poller_remove(&poller, pair[1]), -ENOENT);
    close_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), -EBADF);
    assert_int_equal(poller_remove(&poller, pair[0]), -EBADF);
}

static void
test_removed_descriptor_reports_no_more(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    expect_event(1, POLL_WRITABLE);
    send_byte(pair[1]);
    assert_int_equal(poller_remove(&poller, pair[0]), 0);
    expect_nothing();
    send_byte(pair[1]);
    expect_nothing();
    assert_int_equal(poller_remove(&poller, pair[0]), -ENOENT);
    close_pair(pair);
}

static void
test_descriptor_can_be_added_again_with_another_tag(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    assert_int_equal(poller_remove(&poller, pair[0]), 0);
    assert_int_equal(poller_add(&poller, pair[0], 2), 0);
    expect_event(2, POLL_WRITABLE);
    expect_nothing();
    close_pair(pair);
}

static void
test_tag_comes_back_whole(void **state)
{
    (void)state;
    const uint64_t tags[] = {0, UINT32_MAX, UINT64_C(0x123456789abcdef0), UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        int pair[2];
        open_pair(pair);
        assert_int_equal(poller_add(&poller, pair[0], tags[i]), 0);
        expect_event(tags[i], POLL_WRITABLE);
        close_pair(pair);
    }
}

/* --- time-outs --- */

static void
test_wait_ends_at_its_time_out_and_not_before(void **state)
{
    (void)state;
    const int64_t timeouts[] = {0, 1, 100000, 1500000, 20 * MILLISECOND};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        uint64_t start = clock_now_ns();
        assert_int_equal(poller_wait(&poller, events, timeouts[i]), 0);
        assert_true(clock_now_ns() - start >= (uint64_t)timeouts[i]);
    }
}

static void
test_longest_time_out_does_not_end_at_once(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    assert_int_equal(poller_wait(&poller, events, INT64_MAX), 1);
    assert_int_equal(poller_remove(&poller, pair[0]), 0);
    poller_wake(&poller);
    assert_int_equal(poller_wait(&poller, events, INT64_MAX), 0);
    close_pair(pair);
}

/* In a child: makes the kernel answer `error` to epoll_pwait2, and uses the poller. The exit status
 * is 0 if all is as it should be. */
static int
use_without_pwait2(unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        return 77; /* not to be had here */
    }
    for (int i = 0; i < 2; i++) {
        uint64_t start = clock_now_ns();
        int count = poller_wait(&poller, events, 1200000);
        if (count != 0 || clock_now_ns() - start < 1200000) {
            return 1;
        }
    }
    int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poller_add(&poller, fd, 5) != 0 || poller_wait(&poller, events, MILLISECOND) != 1 ||
        events[0].tag != 5) {
        return 2;
    }
    return 0;
}

static void
test_wait_works_where_the_kernel_has_only_milliseconds(void **state)
{
    (void)state;
    const unsigned errors[] = {ENOSYS, EPERM};
    for (size_t i = 0; i < 2; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            poller_abandon(&poller);
            _exit(poller_open(&poller) == 0 ? use_without_pwait2(errors[i]) : 3);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
            skip();
        }
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void
on_signal(int number)
{
    (void)number;
    poller_wake(&poller); /* allowed in a handler, and leaves errno alone */
}

typedef struct Waiter {
    int result;
    atomic_bool returned;
} Waiter;

static void *
wait_once(void *argument)
{
    Waiter *waiter = argument;
    waiter->result = poller_wait(&poller, events, TOO_LONG);
    atomic_store(&waiter->returned, true);
    return NULL;
}

static void
test_signal_ends_a_wait_and_its_handler_may_wake(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction previous;
    Waiter waiter = {0};
    pthread_t thread;
    assert_int_equal(sigaction(SIGUSR1, &action, &previous), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_once, &waiter), 0);
    sleep_us(30000);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    /* 0 if the handler ran before the wait had begun, or its wake-up came first */
    assert_true(waiter.result == -EINTR || waiter.result == 0);
    if (waiter.result == -EINTR) {
        assert_int_equal(poller_wait(&poller, events, TOO_LONG), 0); /* the wake-up is not lost */
    }
    sigaction(SIGUSR1, &previous, NULL);
}

/* --- wake-ups --- */

static void
test_wake_up_before_the_wait_ends_it(void **state)
{
    (void)state;
    poller_wake(&poller);
    uint64_t start = clock_now_ns();
    assert_int_equal(poller_wait(&poller, events, TOO_LONG), 0);
    assert_true(clock_now_ns() - start < (uint64_t)TOO_LONG / 2);
}

static void
test_several_wake_ups_count_as_one(void **state)
{
    (void)state;
    uint64_t written;
    for (int i = 0; i < 5; i++) {
        poller_wake(&poller);
    }
    assert_int_equal(poller_wait(&poller, events, TOO_LONG), 0);
    assert_int_equal(read(poller.wake_fd, &written, sizeof(written)), sizeof(written));
    assert_true(written == 1); /* one system call for the five */
    uint64_t start = clock_now_ns();
    assert_int_equal(poller_wait(&poller, events, 20 * MILLISECOND), 0);
    assert_true(clock_now_ns() - start >= 20 * MILLISECOND);
}

static void
test_wake_up_comes_beside_events_and_is_not_among_them(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 9), 0);
    poller_wake(&poller);
    expect_event(9, POLL_WRITABLE);
    expect_nothing();
    close_pair(pair);
}

static void *
wake_soon(void *argument)
{
    (void)argument;
    sleep_us(20000);
    poller_wake(&poller);
    return NULL;
}

static void
test_wake_up_ends_a_wait_that_is_going_on(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) { /* again after the first has been consumed */
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, wake_soon, NULL), 0);
        uint64_t start = clock_now_ns();
        assert_int_equal(poller_wait(&poller, events, POLL_FOREVER), 0);
        assert_true(clock_now_ns() - start < (uint64_t)TOO_LONG / 2);
        pthread_join(thread, NULL);
    }
}

#define WAKERS 3
#define WAKES 50000 /* of each */

static atomic_int posted;

static void *
post_repeatedly(void *argument)
{
    int *box = argument;
    for (int i = 0; i < WAKES; i++) {
        *box = i; /* plain, read only after all has been posted */
        /* relaxed: the wake-up hands it over */
        atomic_fetch_add_explicit(&posted, 1, memory_order_relaxed);
        poller_wake(&poller);
    }
    return NULL;
}

static void
test_no_wake_up_is_lost_among_many(void **state)
{
    (void)state;
    pthread_t threads[WAKERS];
    int boxes[WAKERS];
    atomic_store(&posted, 0);
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_repeatedly, &boxes[i]), 0);
    }
    bool lost = false;
    while (!lost && atomic_load_explicit(&posted, memory_order_relaxed) < WAKERS * WAKES) {
        uint64_t start = clock_now_ns();
        int count = poller_wait(&poller, events, TOO_LONG);
        lost = count != 0 || clock_now_ns() - start >= (uint64_t)TOO_LONG;
    }
    for (int i = 0; i < WAKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(boxes[i], WAKES - 1);
    }
    assert_false(lost);
}

#define CHURNERS 3
#define CHURNS 3000 /* of each */

static atomic_int churners_left;
static atomic_int churn_failures;

/* Adds a socket, makes it readable, sees its event through the waiting thread, removes it. */
typedef struct Churn {
    _Atomic uint32_t ready; /* what the waiting thread was told */
    uint64_t tag;
} Churn;

static Churn churns[CHURNERS];

static void *
churn(void *argument)
{
    Churn *own = argument;
    for (int i = 0; i < CHURNS; i++) {
        int pair[2];
        atomic_store(&own->ready, 0);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
            atomic_fetch_add(&churn_failures, 1);
            break;
        }
        int status = poller_add(&poller, pair[0], own->tag);
        ssize_t written = write(pair[1], "x", 1);
        uint64_t start = clock_now_ns();
        while (!(atomic_load(&own->ready) & POLL_READABLE)) {
            if (clock_now_ns() - start > (uint64_t)TOO_LONG) {
                status = -ETIMEDOUT;
                break;
            }
            sched_yield();
        }
        if (status != 0 || written != 1 || poller_remove(&poller, pair[0]) != 0) {
            atomic_fetch_add(&churn_failures, 1);
        }
        close_pair(pair);
    }
    atomic_fetch_sub(&churners_left, 1);
    poller_wake(&poller);
    return NULL;
}

static void
test_any_thread_adds_and_removes_while_one_waits(void **state)
{
    (void)state;
    pthread_t threads[CHURNERS];
    atomic_store(&churners_left, CHURNERS);
    atomic_store(&churn_failures, 0);
    for (int i = 0; i < CHURNERS; i++) {
        churns[i].tag = (uint64_t)i;
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
    }
    int count = 0;
    while (atomic_load(&churners_left) != 0 && count >= 0) {
        count = poller_wait(&poller, events, TOO_LONG);
        for (int i = 0; i < count; i++) {
            atomic_fetch_or(&churns[events[i].tag].ready, events[i].ready);
        }
    }
    for (int i = 0; i < CHURNERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(count >= 0);
    assert_int_equal(atomic_load(&churn_failures), 0);
}

/* --- life --- */

static void
test_close_leaves_no_descriptor_open(void **state)
{
    (void)state;
    int before = count_descriptors();
    for (int i = 0; i < 10; i++) {
        Poller another;
        assert_int_equal(poller_open(&another), 0);
        assert_true(fcntl(another.fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(another.wake_fd, F_GETFD) & FD_CLOEXEC);
        poller_close(&another);
    }
    assert_int_equal(count_descriptors(), before);
}

static void
test_open_that_fails_leaves_nothing_open(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int before = count_descriptors();
    int lowest = dup(0); /* the descriptor that the next open will get */
    assert_true(lowest >= 0);
    close(lowest);
    for (rlim_t room = 0; room < 2; room++) { /* none, or enough for one of the two */
        struct rlimit tight = {.rlim_cur = (rlim_t)lowest + room, .rlim_max = limit.rlim_max};
        Poller another;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        int status = poller_open(&another);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(status, -EMFILE);
        assert_int_equal(count_descriptors(), before);
    }
}

static void
test_child_that_abandons_leaves_the_parents_registrations_alone(void **state)
{
    (void)state;
    int pair[2];
    open_pair(pair);
    assert_int_equal(poller_add(&poller, pair[0], 1), 0);
    expect_event(1, POLL_WRITABLE);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd = poller.fd;
        poller_abandon(&poller);
        _exit(fcntl(fd, F_GETFD) == -1 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_nothing();
    send_byte(pair[1]);
    expect_event(1, POLL_READABLE | POLL_WRITABLE);
    poller_wake(&poller);
    assert_int_equal(poller_wait(&poller, events, TOO_LONG), 0);
    close_pair(pair);
}

#define POLLER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(test_registration_reports_what_is_ready_already),
        POLLER_TEST(test_readiness_is_reported_once_and_again_for_new_data),
        POLLER_TEST(test_full_socket_becomes_writable_when_the_peer_reads),
        POLLER_TEST(test_data_and_end_of_stream_come_in_one_event),
        POLLER_TEST(test_closed_peer_closes_both_directions),
        POLLER_TEST(test_pipe_without_writers_is_readable_and_closed),
        POLLER_TEST(test_pipe_without_readers_is_writable_with_an_error),
        POLLER_TEST(test_refused_connection_reports_an_error_and_both_directions),
        POLLER_TEST(test_listening_socket_reports_a_connection),
        POLLER_TEST(test_fresh_tcp_socket_reports_a_hang_up),
        POLLER_TEST(test_urgent_data_counts_as_readable),
        POLLER_TEST(test_more_ready_descriptors_than_a_batch_are_all_reported_once),
        POLLER_TEST(test_regular_file_is_refused),
        POLLER_TEST(test_bad_registrations_are_refused),
        POLLER_TEST(test_removed_descriptor_reports_no_more),
        POLLER_TEST(test_descriptor_can_be_added_again_with_another_tag),
        POLLER_TEST(test_tag_comes_back_whole),
        POLLER_TEST(test_wait_ends_at_its_time_out_and_not_before),
        POLLER_TEST(test_longest_time_out_does_not_end_at_once),
        POLLER_TEST(test_wait_works_where_the_kernel_has_only_milliseconds),
        POLLER_TEST(test_signal_ends_a_wait_and_its_handler_may_wake),
        POLLER_TEST(test_wake_up_before_the_wait_ends_it),
        POLLER_TEST(test_several_wake_ups_count_as_one),
        POLLER_TEST(test_wake_up_comes_beside_events_and_is_not_among_them),
        POLLER_TEST(test_wake_up_ends_a_wait_that_is_going_on),
        POLLER_TEST(test_no_wake_up_is_lost_among_many),
        POLLER_TEST(test_any_thread_adds_and_removes_while_one_waits),
        POLLER_TEST(test_close_leaves_no_descriptor_open),
        POLLER_TEST(test_open_that_fails_leaves_nothing_open),
        POLLER_TEST(test_child_that_abandons_leaves_the_parents_registrations_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
