/* Engine: the runtime, made by the static functions of runtime.c, which therefore is included here. See engine.h. */
#include "engine.h"

#include "runtime/runtime.c"

int
blocking_pool_new(Runtime *runtime, size_t most, double idle_ttl)
{
    (void)most;
    (void)idle_ttl;
    runtime->pool = NULL;
    return 0;
}

size_t
blocking_pool_threads(BlockingPool *pool)
{
    (void)pool;
    return 0;
}

bool
blocking_pool_is_busy(BlockingPool *pool)
{
    (void)pool;
    return false;
}

void
blocking_pool_breathe(BlockingPool *pool)
{
    (void)pool;
}

Runtime *
engine_start(int workers)
{
    RuntimeOptions options = {.threads = workers, .shutdown_warning = -1};

    kernel_reset();
    python_reset();
    model_local(&current_worker, sizeof(current_worker));
    registry = NULL;
    last_serial = 0;
    current_worker = NULL;
    Runtime *runtime = runtime_new(&options);
    registry_number(runtime);
    registry_add(runtime);
    for (int i = 0; i < workers; i++) {
        runtime->workers[i].tstate = PyThreadState_Get();
    }
    return runtime;
}

static void
outcome_done(Completion *completion, Task *task, PyObject *value, PyObject *error)
{
    Outcome *outcome = LIST_ENTRY(completion, Outcome, completion);

    (void)task;
    model_check(!outcome->ended);
    outcome->ended = true;
    outcome->value = value;
    outcome->error = error;
}

void
engine_spawn(Runtime *runtime, PyObject *runnable, Outcome *outcome)
{
    if (operation_check(runnable)) {
        model_check(operation_claim((Operation *)runnable) == 0);
    }
    *outcome = (Outcome){.completion.done = outcome_done};
    outcome->task = runtime_new_task(runtime, runnable, &outcome->completion, 0);
    runtime_start_task(runtime, outcome->task);
}
