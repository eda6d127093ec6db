/* Scheduler: which worker runs what, who sleeps, who is woken. See scheduler.c for the design. */
#ifndef TONIO_RUNTIME_SCHEDULER_H
#define TONIO_RUNTIME_SCHEDULER_H

#include "runtime/runtime.h"

/* Any thread, detached or attached, that owns the tasks (has claimed them): lets them run. On a worker the first goes into
 * its slot, so that it runs next while its data is hot; the others queue up. The tasks may be of several runtimes. */
void scheduler_wake_chain(TaskChain *chain);

/* The same for a new task, or one that gave way: at the tail of the queue. */
void scheduler_push(Runtime *runtime, Task *task);

/* The same for several new tasks, at most SPAWN_BATCH, in order. */
#define SPAWN_BATCH 64u
void scheduler_push_new(Runtime *runtime, Task *const *tasks, size_t count);

/* Runs tasks on the calling thread until the runtime has ended. Attached. */
void scheduler_run_worker(Worker *worker);

/* The watcher's look at the busy workers: work that was there at the last look and has not been come to is taken. *moved:
 * has anything changed since then? Detached. */
Task *watcher_look(Worker *worker, bool *moved);

/* Starts a further worker thread if there is one left to start. Attached, no lock held; runs Python code. */
void scheduler_start_worker(Runtime *runtime);

/* task_run.c: resumes a task until it waits, gives way or ends. Attached. */
void task_run(Worker *worker, Task *task);

#endif
