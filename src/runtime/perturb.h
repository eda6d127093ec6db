/* Perturbation: seeded scheduling, for tests.
 *
 * With TONIO_SCHEDULE_SEED=n in the environment when a run starts, its workers decide differently, as random numbers say: which
 * of them gets a woken task, in which order tasks leave a queue, when work is stolen, how soon a task gives way; and they
 * dawdle where another thread might come in between. Each worker has numbers of its own, made from the seed, so the
 * same seed makes much the same run, though threads still take their time as the system gives it to them.
 *
 * Nothing that is promised changes. So a run on one thread, where the order of tasks is promised, is not perturbed. Everything
 * here belongs to the worker that calls.
 */
#ifndef TONIO_RUNTIME_PERTURB_H
#define TONIO_RUNTIME_PERTURB_H

#include "runtime/runtime.h"

/* Before the workers start: reads the environment. -1 with ValueError set. */
int perturb_begin(Runtime *runtime);

/* Is the run perturbed? */
static inline bool
is_perturbed(const Worker *worker)
{
    return __builtin_expect(worker->perturbation != 0, 0);
}

/* 0 ... count - 1, in a perturbed run. */
uint32_t perturb_choose(Worker *worker, uint32_t count);

/* A task begins to run: how many operations it may finish at once. */
static inline void
budget_begin(Worker *worker)
{
    worker->budget = TASK_BUDGET;
    if (is_perturbed(worker)) {
        worker->budget = 1 + (int)perturb_choose(worker, 6);
        worker->budget_is_short = true;
    }
}

/* It has one operation more: is it to give way first? Not for a short budget if it is cancelled: then giving way would raise,
 * long before it should. */
static inline bool
budget_is_spent(Worker *worker, Task *task)
{
    if (__builtin_expect(--worker->budget > 0, 1)) {
        return false;
    }
    if (worker->budget_is_short && task_cancel_requested(task)) {
        worker->budget_is_short = false;
        worker->budget = TASK_BUDGET;
        return false;
    }
    return true;
}

/* Now and then takes its time, in a perturbed run. No lock is held. */
void perturb_delay(Worker *worker);

/* Puts tasks that are woken together into another order, in a perturbed run. */
void perturb_chain(Worker *worker, TaskChain *chain);

#endif
