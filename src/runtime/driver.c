/* Driver: see driver.h for what it owns and which locks there are.
 *
 * The one rule that must not break: a readiness that was seen by nobody is never forgotten. The `ready` word has a
 * counter which each event increments, and clearing is a compare-and-swap against the word as it was before the
 * system call: an event that came in between makes it fail.
 *
 * Where tasks take turns (accept, datagrams) an event wakes the first one only. It has been `called` until it says, after its
 * system call, that it has looked; while a source is ready and somebody is queued there is always one who is called. So
 * nobody is forgotten, nobody passes another, and a hundred acceptors do not all get up for one connection.
 */
#include "runtime/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "runtime/cancel.h"

#define TAG_SIGNAL (UINT64_MAX - 1)

/* Bits of PollSource.ready; the counter is above. */
enum {
    READY_READ = 1u << 0,
    READY_WRITE = 1u << 1,
    READY_READ_FINAL = 1u << 2, /* the end of the stream was reported: readable for good */
    READY_WRITE_FINAL = 1u << 3,
    READY_URGENT = 1u
        << 4, /* urgent data has come: a short read does not mean that there is no more, for good */
    READY_TICK = 1u << 5, /* one event, in units of the counter */
};

int
driver_open(Driver *driver)
{
    uint64_t now = clock_now_us();

    driver->turn = (Mutex){0};
    driver->timer_mutex = (Mutex){0};
    driver->source_mutex = (Mutex){0};
    timer_wheel_init(&driver->task_timers, now);
    timer_wheel_init(&driver->scope_timers, now);
    atomic_init(&driver->next_deadline, TIMER_NEVER);
    driver->sleeping_until = 0;
    driver->free_sources = 0;
    driver->source_count = 0;
    driver->by_fd = NULL;
    driver->by_fd_size = 0;
    atomic_init(&driver->open_sources, 0);
    driver->signal_fds[0] = driver->signal_fds[1] = -1;
    atomic_init(&driver->signalled, false);
    return poller_open(&driver->poller);
}

void
driver_close(Driver *driver)
{
    poller_close(&driver->poller);
    for (int i = 0; i < 2; i++) {
        if (driver->signal_fds[i] >= 0) {
            close(driver->signal_fds[i]);
            driver->signal_fds[i] = -1;
        }
    }
    for (size_t i = 0; i < SOURCE_CHUNKS; i++) {
        /* relaxed: no other thread uses the driver any more */
        PollSource *chunk = atomic_load_explicit(&driver->chunks[i], memory_order_relaxed);
        if (chunk == NULL) {
            break;
        }
        free(chunk);
        atomic_store_explicit(&driver->chunks[i], NULL, memory_order_relaxed);
    }
    free(driver->by_fd);
    driver->by_fd = NULL;
}

int
driver_open_signals(Driver *driver)
{
    if (pipe2(driver->signal_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        driver->signal_fds[0] = driver->signal_fds[1] = -1;
        return -errno;
    }
    int error = poller_add(&driver->poller, driver->signal_fds[0], TAG_SIGNAL);
    return error < 0 ? error : driver->signal_fds[1];
}

/* ---- time ------------------------------------------------------------------------------------------------ */

/* Under timer_mutex, after every change of a wheel. */
static void
deadline_update(Driver *driver)
{
    uint64_t tasks = timer_wheel_next(&driver->task_timers);
    uint64_t scopes = timer_wheel_next(&driver->scope_timers);
    /* relaxed: a hint; the sleeper's own bound is computed under the mutex */
    atomic_store_explicit(&driver->next_deadline, tasks < scopes ? tasks : scopes,
                          memory_order_relaxed);
}

static void
timer_add(Driver *driver, TimerWheel *wheel, TimerNode *node, uint64_t deadline)
{
    bool wake;

    mutex_lock(&driver->timer_mutex);
    timer_wheel_insert(wheel, node, deadline);
    /* relaxed: written under this mutex */
    if (deadline < atomic_load_explicit(&driver->next_deadline, memory_order_relaxed)) {
        deadline_update(driver);
    }
    wake = deadline < driver->sleeping_until;
    mutex_unlock(&driver->timer_mutex);
    if (wake) {
        poller_wake(&driver->poller);
    }
}

static void
timer_remove(Driver *driver, TimerWheel *wheel, TimerNode *node)
{
    mutex_lock(&driver->timer_mutex);
    /* next_deadline may now be too early; that costs one look for nothing and mends itself there */
    timer_wheel_remove(wheel, node);
    mutex_unlock(&driver->timer_mutex);
}

void
driver_add_task_timer(Driver *driver, TimerNode *node, uint64_t deadline)
{
    timer_add(driver, &driver->task_timers, node, deadline);
}

void
driver_add_scope_timer(Driver *driver, TimerNode *node, uint64_t deadline)
{
    timer_add(driver, &driver->scope_timers, node, deadline);
}

void
driver_remove_task_timer(Driver *driver, TimerNode *node)
{
    timer_remove(driver, &driver->task_timers, node);
}

void
driver_remove_scope_timer(Driver *driver, TimerNode *node)
{
    timer_remove(driver, &driver->scope_timers, node);
}

bool
driver_has_timers(Driver *driver)
{
    mutex_lock(&driver->timer_mutex);
    bool any = driver->task_timers.count + driver->scope_timers.count > 0;
    mutex_unlock(&driver->timer_mutex);
    return any;
}

/* Claims happen under timer_mutex, so a timer that was removed can no longer touch its task
 * or scope. */
void
driver_expire_timers(Driver *driver, TaskChain *chain)
{
    uint64_t now = clock_now_us();
    TimerNode *node;

    /* relaxed: a timer that is added right now is not due, or its adder's wake-up brings the next turn */
    if (now < atomic_load_explicit(&driver->next_deadline, memory_order_relaxed)) {
        return;
    }
    mutex_lock(&driver->timer_mutex);
    while ((node = timer_wheel_pop(&driver->task_timers, now)) != NULL) {
        task_claim(LIST_ENTRY(node, Task, timer), TASK_TIMED_OUT, chain);
    }
    while ((node = timer_wheel_pop(&driver->scope_timers, now)) != NULL) {
        cancel_scope_expired(LIST_ENTRY(node, CancelScope, timer), chain);
    }
    deadline_update(driver);
    mutex_unlock(&driver->timer_mutex);
}

bool
driver_is_due(Driver *driver, uint64_t now)
{
    /* relaxed: hints. Signals need no look: the interpreter tells a busy worker of them by itself. */
    return atomic_load_explicit(&driver->open_sources, memory_order_relaxed) != 0 ||
           now >= atomic_load_explicit(&driver->next_deadline, memory_order_relaxed);
}

/* ---- sources --------------------------------------------------------------------------------------------- */

static uint64_t
source_tag(const PollSource *source)
{
    return (uint64_t)source->generation << 32 | source->index;
}

/* The free list; under source_mutex. */
static PollSource *
free_source_pop(Driver *driver)
{
    if (driver->free_sources == 0) {
        return NULL;
    }
    PollSource *source = driver_source(driver, driver->free_sources - 1);
    driver->free_sources = source->next_free;
    return source;
}

static void
free_source_push(Driver *driver, PollSource *source)
{
    source->next_free = driver->free_sources;
    driver->free_sources = source->index + 1;
}

/* A source from the free list or a new chunk, or NULL with errno set. */
static PollSource *
source_take(Driver *driver)
{
    void *memory = NULL;

    mutex_lock(&driver->source_mutex);
    PollSource *source = free_source_pop(driver);
    mutex_unlock(&driver->source_mutex);
    if (source != NULL) {
        return source;
    }

    if (posix_memalign(&memory, sizeof(PollSource), SOURCE_CHUNK * sizeof(PollSource)) != 0) {
        errno = ENOMEM;
        return NULL;
    }
    PollSource *fresh = memset(memory, 0, SOURCE_CHUNK * sizeof(PollSource));
    for (size_t i = 0; i < SOURCE_CHUNK; i++) {
        list_init(&fresh[i].waiters[SOURCE_READ]);
        list_init(&fresh[i].waiters[SOURCE_WRITE]);
    }
    mutex_lock(&driver->source_mutex);
    uint32_t chunk = driver->source_count / SOURCE_CHUNK;
    if (chunk == SOURCE_CHUNKS) {
        mutex_unlock(&driver->source_mutex);
        free(fresh);
        errno = EMFILE;
        return NULL;
    }
    /* release: pairs with the acquire in driver_source */
    atomic_store_explicit(&driver->chunks[chunk], fresh, memory_order_release);
    for (uint32_t i = 0; i < SOURCE_CHUNK; i++) {
        fresh[i].index = chunk * SOURCE_CHUNK + i;
        free_source_push(driver, &fresh[i]);
    }
    driver->source_count += SOURCE_CHUNK;
    source = free_source_pop(driver);
    mutex_unlock(&driver->source_mutex);
    return source;
}

static void
source_give(Driver *driver, PollSource *source)
{
    mutex_lock(&driver->source_mutex);
    free_source_push(driver, source);
    mutex_unlock(&driver->source_mutex);
}

/* Makes room in the table for `fd`. 0, or -1 with errno set. */
static int
table_reserve(Driver *driver, int fd)
{
    mutex_lock(&driver->source_mutex);
    size_t size = driver->by_fd_size;
    mutex_unlock(&driver->source_mutex);
    if ((size_t)fd < size) {
        return 0;
    }
    while (size <= (size_t)fd) {
        size = size == 0 ? 64 : size * 2;
    }
    uint32_t *table = calloc(size, sizeof(uint32_t));
    if (table == NULL) {
        errno = ENOMEM;
        return -1;
    }
    mutex_lock(&driver->source_mutex);
    if (driver->by_fd_size < size) {
        uint32_t *before = driver->by_fd;
        if (before != NULL) {
            memcpy(table, before, driver->by_fd_size * sizeof(uint32_t));
        }
        driver->by_fd = table;
        driver->by_fd_size = size;
        table = before;
    }
    mutex_unlock(&driver->source_mutex);
    free(table);
    return 0;
}

/* Under the source's mutex: is the hint right? */
static void
queue_hint(PollSource *source, SourceDirection direction)
{
    uint8_t bit = (uint8_t)(1u << direction);
    /* relaxed: written under the mutex, read as a hint */
    uint8_t queued = atomic_load_explicit(&source->queued, memory_order_relaxed);
    bool waits = (source->turns & bit) &&
                 ((source->called & bit) || !list_is_empty(&source->waiters[direction]));

    atomic_store_explicit(&source->queued, (uint8_t)(waits ? queued | bit : queued & ~bit),
                          memory_order_relaxed);
}

/* Under the source's mutex, which is ready: wakes all who wait, or calls the first. */
static void
waiters_claim(PollSource *source, SourceDirection direction, TaskChain *chain)
{
    uint8_t bit = (uint8_t)(1u << direction);
    ListNode *node;

    if (source->called & bit) {
        return; /* who was called calls the next one */
    }
    while ((node = list_pop_head(&source->waiters[direction])) != NULL) {
        if (task_claim(LIST_ENTRY(node, Task, wait), TASK_COMPLETED, chain) &&
            (source->turns & bit)) {
            source->called |= bit;
            break;
        }
    }
    if (source->turns & bit) {
        queue_hint(source, direction);
    }
}

/* Under the source's mutex, for one whose descriptor is gone: wakes all who wait. */
static void
waiters_dismiss(PollSource *source, TaskChain *chain)
{
    source->turns = source->called = 0;
    waiters_claim(source, SOURCE_READ, chain);
    waiters_claim(source, SOURCE_WRITE, chain);
    atomic_store_explicit(&source->queued, 0, memory_order_relaxed); /* relaxed: as in queue_hint */
}

PollSource *
driver_add_source(Driver *driver, int fd, const void *owner, TaskChain *chain)
{
    if (fd < 0) {
        errno = EBADF;
        return NULL;
    }
    PollSource *source = table_reserve(driver, fd) < 0 ? NULL : source_take(driver);
    if (source == NULL) {
        return NULL;
    }
    mutex_lock(&source->mutex);
    source->generation++;
    source->fd = fd;
    source->owner = owner;
    source->turns = source->called = 0;
    atomic_store_explicit(&source->queued, 0, memory_order_relaxed); /* relaxed: as in queue_hint */
    atomic_store_explicit(&source->lost, false, memory_order_relaxed);
    /* Ready until a system call says otherwise: the first call is made before anything is waited for. relaxed: the
     * mutex and the registration publish it */
    atomic_store_explicit(&source->ready, READY_READ | READY_WRITE, memory_order_relaxed);
    mutex_unlock(&source->mutex);

    /* One step with the entry in the table: who removes a source must know whether the number is still its own. */
    mutex_lock(&driver->source_mutex);
    int error = poller_add(&driver->poller, fd, source_tag(source));
    uint32_t before = 0;
    if (error == 0) {
        before = driver->by_fd[fd];
        driver->by_fd[fd] = source->index + 1;
    }
    mutex_unlock(&driver->source_mutex);
    if (error < 0) {
        mutex_lock(&source->mutex);
        source->owner = NULL;
        mutex_unlock(&source->mutex);
        source_give(driver, source);
        errno = -error;
        return NULL;
    }
    if (before != 0) {
        /* The poller knew nothing of the number, so the descriptor that had it is gone, and not by our doing. */
        PollSource *other = driver_source(driver, before - 1);
        mutex_lock(&other->mutex);
        atomic_store_explicit(&other->lost, true, memory_order_relaxed); /* relaxed: see there */
        waiters_dismiss(other, chain);
        mutex_unlock(&other->mutex);
    }
    /* relaxed: a count that driver_is_due takes as a hint */
    atomic_fetch_add_explicit(&driver->open_sources, 1, memory_order_relaxed);
    return source;
}

void
driver_remove_source(Driver *driver, PollSource *source, TaskChain *chain)
{
    mutex_lock(&driver->source_mutex);
    if (driver->by_fd[source->fd] == source->index + 1) {
        driver->by_fd[source->fd] = 0;
        /* It may have been closed behind our back; then it is out of the poller already. */
        (void)poller_remove(&driver->poller, source->fd);
    }
    mutex_unlock(&driver->source_mutex);
    mutex_lock(&source->mutex);
    source->owner = NULL;
    source->generation++;
    waiters_dismiss(source, chain);
    mutex_unlock(&source->mutex);
    source_give(driver, source);
    /* relaxed: see driver_add_source */
    atomic_fetch_sub_explicit(&driver->open_sources, 1, memory_order_relaxed);
}

bool
source_is_lost(const PollSource *source)
{
    /* relaxed: the number may be taken over at any moment, so it is of use only when it is long known; a waiter that is
     * woken for it has the store from the claim */
    return atomic_load_explicit(&source->lost, memory_order_relaxed);
}

bool
source_is_idle(PollSource *source)
{
    mutex_lock(&source->mutex);
    bool idle = source->called == 0 && list_is_empty(&source->waiters[SOURCE_READ]) &&
                list_is_empty(&source->waiters[SOURCE_WRITE]);
    mutex_unlock(&source->mutex);
    return idle;
}

static void
source_event(Driver *driver, const PollEvent *event, TaskChain *chain)
{
    PollSource *source = driver_source(driver, (uint32_t)event->tag);
    uint32_t bits = 0;

    if (event->ready & (POLL_READABLE | POLL_READ_CLOSED | POLL_ERROR)) {
        bits |= READY_READ;
    }
    if (event->ready & (POLL_WRITABLE | POLL_WRITE_CLOSED | POLL_ERROR)) {
        bits |= READY_WRITE;
    }
    /* Data and the end of the stream may come as one edge; after the data is read no other follows. */
    if (event->ready & POLL_READ_CLOSED) {
        bits |= READY_READ_FINAL;
    }
    if (event->ready & POLL_WRITE_CLOSED) {
        bits |= READY_WRITE_FINAL;
    }
    if (event->ready & POLL_URGENT) {
        bits |= READY_URGENT;
    }
    if (source == NULL) {
        return;
    }
    mutex_lock(&source->mutex);
    if (source->owner != NULL && source->generation == (uint32_t)(event->tag >> 32)) {
        uint32_t ready = atomic_load_explicit(&source->ready, memory_order_relaxed);
        /* release: whoever sees the readiness makes its system call after it; a loop because source_clear runs
         * without the mutex */
        while (!atomic_compare_exchange_weak_explicit(&source->ready, &ready,
                                                      (ready | bits) + READY_TICK,
                                                      memory_order_release, memory_order_relaxed)) {
        }
        if (bits & READY_READ) {
            waiters_claim(source, SOURCE_READ, chain);
        }
        if (bits & READY_WRITE) {
            waiters_claim(source, SOURCE_WRITE, chain);
        }
    }
    mutex_unlock(&source->mutex);
}

bool
source_is_ready(PollSource *source, SourceDirection direction, uint32_t *tick)
{
    /* acquire: pairs with the release in source_event */
    *tick = atomic_load_explicit(&source->ready, memory_order_acquire);
    return (*tick & (direction == SOURCE_READ ? READY_READ : READY_WRITE)) != 0;
}

void
source_clear(PollSource *source, SourceDirection direction, uint32_t tick)
{
    uint32_t final = direction == SOURCE_READ ? READY_READ_FINAL : READY_WRITE_FINAL;
    uint32_t bit = direction == SOURCE_READ ? READY_READ : READY_WRITE;
    uint32_t seen = tick;

    /* relaxed on failure: an event or the other direction's clear came in between. The other direction changes bits
     * but not the counter, so try again as long as the counter stands still. */
    while (!(seen & final) && seen / READY_TICK == tick / READY_TICK &&
           !atomic_compare_exchange_weak_explicit(&source->ready, &seen, seen & ~bit,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

void
source_clear_short(PollSource *source, SourceDirection direction, uint32_t tick)
{
    if (direction == SOURCE_WRITE || !(tick & READY_URGENT)) {
        source_clear(source, direction, tick);
    }
}

bool
source_reset(PollSource *source, SourceDirection direction, uint32_t tick)
{
    uint32_t bits =
        direction == SOURCE_READ ? READY_READ | READY_READ_FINAL : READY_WRITE | READY_WRITE_FINAL;
    uint32_t seen = tick;

    /* relaxed on failure: as in source_clear */
    while ((seen & bits) && seen / READY_TICK == tick / READY_TICK) {
        if (atomic_compare_exchange_weak_explicit(&source->ready, &seen, seen & ~bits,
                                                  memory_order_release, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

bool
source_is_queued(const PollSource *source, SourceDirection direction)
{
    /* relaxed: a hint; source_arm decides */
    return (atomic_load_explicit(&source->queued, memory_order_relaxed) >> direction) & 1;
}

/* Under the source's mutex. */
static bool
source_has_readiness(PollSource *source, SourceDirection direction)
{
    /* relaxed: events change the word under the mutex */
    return (atomic_load_explicit(&source->ready, memory_order_relaxed) &
            (direction == SOURCE_READ ? READY_READ : READY_WRITE)) != 0;
}

bool
source_arm(PollSource *source, const void *owner, SourceDirection direction, Task *task,
           SourceWait how)
{
    uint8_t bit = (uint8_t)(1u << direction);
    List *waiters = &source->waiters[direction];
    bool parked = false;

    mutex_lock(&source->mutex);
    /* A ready source has waiters only while somebody is called, who will call them. */
    if (source->owner == owner && !source_is_lost(source) &&
        (!source_has_readiness(source, direction) || (source->called & bit))) {
        if (how != WAIT_TOGETHER) {
            source->turns |= bit;
        }
        if (how == WAIT_FIRST) {
            list_push_head(waiters, &task->wait);
        }
        else {
            list_push_tail(waiters, &task->wait);
        }
        parked = true;
        if (source->turns & bit) {
            queue_hint(source, direction);
        }
    }
    mutex_unlock(&source->mutex);
    return parked;
}

void
source_detach(PollSource *source, SourceDirection direction, Task *task)
{
    mutex_lock(&source->mutex);
    list_remove(&task->wait);
    if (source->turns & (1u << direction)) {
        queue_hint(source, direction);
    }
    mutex_unlock(&source->mutex);
}

void
source_turn_over(PollSource *source, SourceDirection direction, TaskChain *chain)
{
    mutex_lock(&source->mutex);
    source->called &= (uint8_t)~(1u << direction);
    if (source->owner != NULL && source_has_readiness(source, direction)) {
        waiters_claim(source, direction, chain);
    }
    queue_hint(source, direction);
    mutex_unlock(&source->mutex);
}

/* ---- a turn ---------------------------------------------------------------------------------------------- */

static void
signals_drain(Driver *driver)
{
    char bytes[64];
    while (read(driver->signal_fds[0], bytes, sizeof(bytes)) > 0) {
    }
    /* release: pairs with worker 0's exchange */
    atomic_store_explicit(&driver->signalled, true, memory_order_release);
}

/* How long the poller may sleep, in nanoseconds, and the promise to get up then. */
static int64_t
sleep_begin(Driver *driver, uint64_t wake_at)
{
    uint64_t now = clock_now_us();
    uint64_t until;

    mutex_lock(&driver->timer_mutex);
    deadline_update(driver);
    /* relaxed: under the mutex */
    until = atomic_load_explicit(&driver->next_deadline, memory_order_relaxed);
    if (wake_at < until) {
        until = wake_at;
    }
    driver->sleeping_until = until;
    mutex_unlock(&driver->timer_mutex);
    if (until == TIMER_NEVER) {
        return POLL_FOREVER;
    }
    if (until <= now) {
        return 0;
    }
    /* a bound keeps the multiplication from overflowing; a sleeper that gets up early sleeps again */
    uint64_t wait = until - now;
    return wait > 3600000000u ? 3600000000000 : (int64_t)wait * 1000;
}

static void
sleep_end(Driver *driver)
{
    mutex_lock(&driver->timer_mutex);
    driver->sleeping_until = 0;
    mutex_unlock(&driver->timer_mutex);
}

bool
driver_turn_begin(Driver *driver)
{
    return mutex_try_lock(&driver->turn);
}

void
driver_turn_cancel(Driver *driver)
{
    mutex_unlock(&driver->turn);
}

void
driver_turn(Driver *driver, uint64_t wake_at, TaskChain *chain)
{
    PollEvent events[POLLER_BATCH];
    int64_t timeout = 0;
    int count;

    if (wake_at != 0) {
        timeout = sleep_begin(driver, wake_at);
    }
    count = poller_wait(&driver->poller, events, timeout);
    if (wake_at != 0) {
        sleep_end(driver);
    }
    for (int i = 0; i < count; i++) {
        if (events[i].tag == TAG_SIGNAL) {
            signals_drain(driver);
        }
        else {
            source_event(driver, &events[i], chain);
        }
    }
    driver_expire_timers(driver, chain);
    mutex_unlock(&driver->turn);
}
