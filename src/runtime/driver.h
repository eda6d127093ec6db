/* Driver: what wakes tasks from outside - descriptors that become ready, and time.
 *
 * It owns the poller, the table of poll sources (one per registered descriptor) and two timer wheels (waits of tasks,
 * deadlines of cancel scopes). One thread at a time turns it: a worker that found nothing to run and blocks in
 * it, or a busy one that only looks. Whoever turns it owns the tasks which that wakes and schedules them.
 *
 * Locks: `turn` is held by the thread that turns the driver, for as long as it waits; others only try it. Each source
 * has a mutex for its wait queues, the wheels have `timer_mutex`, the table `source_mutex`. None of these is
 * held while another is taken, except that a turn takes the others one after the other.
 */
#ifndef TONIO_RUNTIME_DRIVER_H
#define TONIO_RUNTIME_DRIVER_H

#include <assert.h>

#include "core/list.h"
#include "core/mutex.h"
#include "core/poller.h"
#include "core/timer_wheel.h"
#include "runtime/task.h"

/* A descriptor that the poller watches. Sources live in chunks that are never freed before the driver, so an event
 * that is late finds a source, and the generation in its tag tells that it means another one. */
typedef struct PollSource {
    Mutex mutex;            /* guards generation, owner, waiters, turns, called */
    _Atomic uint32_t ready; /* SOURCE_* bits and a counter of events above them */
    uint32_t generation;
    uint32_t index;
    const void *owner;      /* who registered it; NULL: it is free, or about to be */
    uint8_t turns;          /* bit per direction: who waits takes turns, an event wakes the first */
    uint8_t called;         /* bit per direction: the first was woken and has not looked yet */
    _Atomic uint8_t queued; /* bit per direction: somebody waits for his turn; a hint */
    _Atomic bool lost; /* its descriptor was closed behind our back: the number is another's now */
    union {
        int fd;
        uint32_t next_free; /* of a free one: index of the next + 1; 0: none */
    };
    List waiters[2]; /* tasks (by `wait`) per direction: to read, accept ...; to write, connect */
} PollSource;

/* An event, and a task that waits again, touch one line of memory. */
static_assert(sizeof(PollSource) == 64, "a source is a cache line");

typedef enum SourceDirection { SOURCE_READ = 0, SOURCE_WRITE = 1 } SourceDirection;

/* How several tasks wait for one direction of a source. */
typedef enum SourceWait {
    WAIT_TOGETHER, /* an event wakes all */
    WAIT_TURN,     /* an event wakes the first; it calls the next one with source_turn_over */
    WAIT_FIRST,    /* the same, for one that was called and found nothing: ahead of the others */
} SourceWait;

#define SOURCE_CHUNK 256
#define SOURCE_CHUNKS 4096

typedef struct Driver {
    Mutex turn;
    Poller poller;

    Mutex timer_mutex;
    TimerWheel task_timers;
    TimerWheel scope_timers;
    _Atomic uint64_t next_deadline; /* written under timer_mutex; read anywhere as a hint */
    uint64_t
        sleeping_until; /* guarded by timer_mutex: when the sleeper in the poller gets up; 0: nobody sleeps */

    Mutex source_mutex;    /* guards the four below */
    uint32_t free_sources; /* index of the first + 1, 0: none */
    uint32_t source_count;
    uint32_t *by_fd; /* descriptor -> index of its source + 1, 0: none */
    size_t by_fd_size;
    _Atomic uint32_t open_sources;
    _Atomic(PollSource *) chunks[SOURCE_CHUNKS];

    int signal_fds[2]; /* pipe that the interpreter's signal handler writes to; -1: not in use */
    _Atomic bool signalled; /* a byte came through it and worker 0 has not looked yet */
} Driver;

/* 0 or a negative errno. */
int driver_open(Driver *driver);
void driver_close(Driver *driver);

/* Opens the pipe for signals; returns the end to write to, or a negative errno. */
int driver_open_signals(Driver *driver);

/* The right to turn it; false: another thread has it. It ends with driver_turn(), or driver_turn_cancel(). */
bool driver_turn_begin(Driver *driver);
void driver_turn_cancel(Driver *driver);

/* One turn: waits at most until `wake_at` (microseconds; 0: only looks; TIMER_NEVER: until the next timer or
 * event), then appends the woken tasks to `chain`. Detached, or attached with wake_at == 0. */
void driver_turn(Driver *driver, uint64_t wake_at, TaskChain *chain);

/* Would a turn that only looks be worth its price now? Any thread. */
bool driver_is_due(Driver *driver, uint64_t now);

/* Wakes whom a timer is due for, as a turn does too. Any thread. */
void driver_expire_timers(Driver *driver, TaskChain *chain);

/* Is any timer set? Any thread. */
bool driver_has_timers(Driver *driver);

/* Timers of a task's wait and of a cancel scope. Any thread. `deadline` in microseconds. */
void driver_add_task_timer(Driver *driver, TimerNode *node, uint64_t deadline);
void driver_add_scope_timer(Driver *driver, TimerNode *node, uint64_t deadline);
void driver_remove_task_timer(Driver *driver, TimerNode *node);
void driver_remove_scope_timer(Driver *driver, TimerNode *node);

/* ---- poll sources ---------------------------------------------------------------------------------------- */

/* Registers a descriptor for `owner`, an address that nobody else has; not before it is listening or connecting, until when
 * the poller takes it for hung up. NULL with errno set (EEXIST: it is registered; EPERM: it cannot be polled). A source
 * that still has the same number is lost: its waiters are appended to `chain`. Any thread. */
PollSource *driver_add_source(Driver *driver, int fd, const void *owner, TaskChain *chain);

/* The source with this index, or NULL; its owner may be another by now. Any thread. */
static inline PollSource *
driver_source(Driver *driver, uint32_t index)
{
    /* acquire: pairs with the release in source_take, which published the chunk */
    PollSource *chunk =
        atomic_load_explicit(&driver->chunks[index / SOURCE_CHUNK], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk[index % SOURCE_CHUNK];
}

/* Before the descriptor is closed: forgets it and wakes everybody who waits for it (appended to `chain`). */
void driver_remove_source(Driver *driver, PollSource *source, TaskChain *chain);

/* Was the descriptor closed by somebody else, and its number given to another? Then it must not be touched. */
bool source_is_lost(const PollSource *source);

/* Does nobody wait for it, or is about to? */
bool source_is_idle(PollSource *source);

/* Is the descriptor perhaps ready? *tick is to be given to source_clear. Any thread. */
bool source_is_ready(PollSource *source, SourceDirection direction, uint32_t *tick);

/* A system call found nothing (EAGAIN): forget the readiness, unless an event came since `tick`. What will not change any
 * more (the other side is gone) stays. */
void source_clear(PollSource *source, SourceDirection direction, uint32_t tick);

/* The same after one that did less than it was asked for, which saves the call that would find nothing. A read may also
 * have stopped before urgent data: then there is more, of which no event will tell. */
void source_clear_short(PollSource *source, SourceDirection direction, uint32_t tick);

/* The same for what was reported as final, too: the descriptor begins something new (a connection), or is looked at before
 * each wait. False: there was nothing to forget, or an event came since. */
bool source_reset(PollSource *source, SourceDirection direction, uint32_t tick);

/* Does somebody wait for his turn? A hint. */
bool source_is_queued(const PollSource *source, SourceDirection direction);

/* Puts the task into the wait queue. False: it is ready now, or no more this owner's: try again instead. */
bool source_arm(PollSource *source, const void *owner, SourceDirection direction, Task *task,
                SourceWait how);

/* Takes the task out of the wait queue if it is still there. */
void source_detach(PollSource *source, SourceDirection direction, Task *task);

/* The task that was called has looked: calls the next one if the source is still ready. */
void source_turn_over(PollSource *source, SourceDirection direction, TaskChain *chain);

#endif
