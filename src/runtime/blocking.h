/* Blocking pool: threads that run ordinary functions which would block a worker. See blocking.c. */
#ifndef TONIO_RUNTIME_BLOCKING_H
#define TONIO_RUNTIME_BLOCKING_H

#include "runtime/runtime.h"

typedef struct BlockingJob BlockingJob;

/* Who gets a job's outcome: called once, attached, on the pool thread that ran it, or on the thread that dropped it (then
 * error is a CancelledError). Steals value or error. */
typedef void (*BlockingDone)(void *owner, PyObject *value, PyObject *error);

/* 0, or -1 with MemoryError. `idle_ttl` in seconds. */
int blocking_pool_new(Runtime *runtime, size_t size, double idle_ttl);

/* Drops what is queued, interrupts what runs, waits for the threads, frees the pool. Attached. */
void blocking_pool_close(BlockingPool *pool);

/* Queues fn(*args, **kwargs); all borrowed. Starts a thread if none is free. New job, to be released by
 * blocking_job_release, but not before `done` was called; NULL with an exception set. What was to be called is dropped with the
 * job: best by the thread that has made it, for which that is cheapest. */
BlockingJob *blocking_submit(Runtime *runtime, PyObject *fn, PyObject *args, PyObject *kwargs,
                             BlockingDone done, void *owner);

/* Any attached thread: a queued job is dropped (its `done` runs here), one that runs is interrupted with CancelledError at
 * its next bytecode. The outcome reaches `done` in either case. */
void blocking_job_cancel(BlockingJob *job);

/* Any attached thread. */
void blocking_job_retain(BlockingJob *job);
void blocking_job_release(BlockingJob *job);

/* For the collector, on behalf of who owns the job. */
int blocking_job_traverse(BlockingJob *job, visitproc visit, void *arg);

/* Threads of the pool, for counting strangers. */
size_t blocking_pool_threads(BlockingPool *pool);

/* Wakes idle threads of whom the interpreter wants something. Any thread. */
void blocking_pool_breathe(BlockingPool *pool);

/* Are there jobs queued or running? */
bool blocking_pool_is_busy(BlockingPool *pool);

/* The calling thread begins and ends a run of its own. If it is a thread of a pool, the run is what is interrupted when the job
 * is. The main task is there; between the two calls `runtime` waits for visitors. Attached. */
void blocking_enter_run(Runtime *runtime);
void blocking_leave_run(void);

#endif
