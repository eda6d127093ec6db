/* Engine: a scheduler for models of what is below it: one list of tasks, from which threads take them. */
#include "engine_list.h"

_Thread_local Worker *current_worker __attribute__((tls_model("initial-exec")));

static TaskChain ready;

void
engine_list_reset(void)
{
    ready = (TaskChain)TASK_CHAIN_EMPTY;
}

/* The chain belongs to all; each use of it is a step. */
void
scheduler_wake_chain(TaskChain *chain)
{
    Task *task = chain->first;

    if (task == NULL) {
        return;
    }
    model_change(&ready, MODEL_WHERE " tasks are woken");
    while (task != NULL) {
        Task *next = task->run.next == NULL ? NULL : LIST_ENTRY(task->run.next, Task, run);
        task_chain_append(&ready, task);
        task = next;
    }
}

void
scheduler_push(Runtime *runtime, Task *task)
{
    (void)runtime;
    model_change(&ready, MODEL_WHERE " a task is pushed");
    task_chain_append(&ready, task);
}

static bool
is_ready(void *unused)
{
    (void)unused;
    return ready.first != NULL;
}

void
engine_worker(void *argument)
{
    Worker *worker = argument;

    current_worker = worker;
    for (;;) {
        model_wait(is_ready, NULL, MODEL_FOREVER, &ready, MODEL_WHERE " for a task");
        Task *task = ready.first;
        ready.first = task->run.next == NULL ? NULL : LIST_ENTRY(task->run.next, Task, run);
        if (ready.first == NULL) {
            ready.last = NULL;
        }
        task_run(worker, task);
    }
}

ModelQuiet
engine_quiet(void)
{
    return QUIET_DONE;
}
