/* Task: transitions of the state word, memory, and the stack of nested coroutines.
 *
 * The compare-and-swap loops on `state` live here and nowhere else. Memory comes from slabs of the runtime:
 * a worker takes from and gives to its own cache without a lock; caches are filled from and spilled to the
 * runtime's free list under `task_mutex`, so a thread that only spawns and one that only finishes cost a lock
 * per hundreds of tasks.
 */
#include "runtime/task.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/operation.h"
#include "runtime/runtime.h"

/* ---- state word ------------------------------------------------------------------------------------------ */

/* The claim of a proxy is the claim of its host, if the gate is open. */
static bool
proxy_claim(Task *proxy, uint32_t reason, TaskChain *chain)
{
    WaitGroup *group = proxy->group;
    uint32_t gate = GROUP_CLOSED;

    /* release / acquire: pair with those of the host, which closes the gate, arms its proxies and opens it. The lock of the
     * queue that the proxy is in keeps the group alive. */
    if (atomic_compare_exchange_strong_explicit(&group->gate, &gate, GROUP_MISSED,
                                                memory_order_acq_rel, memory_order_acquire) ||
        gate != GROUP_OPEN || !task_claim(group->host, TASK_COMPLETED, chain)) {
        return false;
    }
    group->winner_reason = reason;
    /* release: pairs with the acquire of the host, which may be waiting for it */
    atomic_store_explicit(&group->winner, proxy, memory_order_release);
    return true;
}

bool
task_claim(Task *task, uint32_t reason, TaskChain *chain)
{

    /* relaxed: the compare-and-swap below decides */
    uint32_t state = atomic_load_explicit(&task->state, memory_order_relaxed);
    uint32_t next;

    do {
        if (state & TASK_PROXY) {
            return proxy_claim(task, reason, chain);
        }
        if (state & TASK_CLAIMED) {
            return false;
        }
        next = (state | TASK_CLAIMED | reason) & ~(uint32_t)TASK_WAITING;
        /* acquire: pairs with the release in task_try_park, the winner goes on with what the task left;
         * release: what the winner stored for the task (a result) is seen by task_wait_reason */
    } while (!atomic_compare_exchange_weak_explicit(&task->state, &state, next,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (state & TASK_WAITING) {
        task_chain_append(chain, task);
    }
    return true; /* a task that has not parked yet notices by itself */
}

void
task_request_cancel(Task *task, uint32_t extra, TaskChain *chain)
{
    /* relaxed: the compare-and-swap below decides */
    uint32_t state = atomic_load_explicit(&task->state, memory_order_relaxed);
    uint32_t next;
    bool claims;

    do {
        if (state & TASK_FREE) {
            return;
        }
        claims = (state & (TASK_WAITING | TASK_CLAIMED)) == TASK_WAITING &&
                 (!(state & TASK_UNCANCELLABLE) || (extra & TASK_ABANDON));
        next = state | TASK_CANCEL | extra;
        if (claims) {
            next = (next | TASK_CLAIMED | TASK_CANCELLED) & ~(uint32_t)TASK_WAITING;
        }
        /* acq_rel: as in task_claim; release also publishes the scope's `cancelled` to the owner */
    } while (!atomic_compare_exchange_weak_explicit(&task->state, &state, next,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (claims) {
        task_chain_append(chain, task);
    }
}

bool
task_borrow(Task *task, TaskChain *chain)
{
    /* relaxed: the compare-and-swap decides */
    uint32_t state = atomic_load_explicit(&task->state, memory_order_relaxed);
    uint32_t next = (state | TASK_CLAIMED | TASK_CANCELLED) & ~(uint32_t)TASK_WAITING;

    /* acq_rel: as in task_claim */
    if (!(state & TASK_WAITING) ||
        !atomic_compare_exchange_strong_explicit(&task->state, &state, next, memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        return false;
    }
    task_chain_append(chain, task);
    return true;
}

bool
task_try_park(Task *task)
{
    /* relaxed: the compare-and-swap below decides */
    uint32_t state = atomic_load_explicit(&task->state, memory_order_relaxed);

    do {
        if (state & TASK_CLAIMED) {
            return false;
        }
        if ((state & TASK_CANCEL) &&
            (state & (TASK_UNCANCELLABLE | TASK_ABANDON)) != TASK_UNCANCELLABLE) {
            return false;
        }
        /* release: all the owner did to the task comes before it can be claimed as waiting; pairs with the
         * acquire in task_claim */
    } while (!atomic_compare_exchange_weak_explicit(&task->state, &state, state | TASK_WAITING,
                                                    memory_order_release, memory_order_relaxed));
    return true;
}

uint32_t
task_wait_reason(Task *task)
{
    /* acquire: pairs with the release of the claim, whose result the owner now reads */
    uint32_t state = atomic_load_explicit(&task->state, memory_order_acquire);

    return (state & TASK_CLAIMED) ? state & TASK_REASON : 0;
}

void
task_wait_clear(Task *task)
{
    const uint32_t cleared = TASK_CLAIMED | TASK_REASON | TASK_UNCANCELLABLE;

    /* relaxed: nobody but a canceller, who works on the same word, can reach the task now */
    atomic_fetch_and_explicit(&task->state, ~cleared, memory_order_relaxed);
}

void
task_set_uncancellable(Task *task)
{
    /* relaxed: only task_try_park (same thread) and task_request_cancel (same word) look at it */
    atomic_fetch_or_explicit(&task->state, TASK_UNCANCELLABLE, memory_order_relaxed);
}

void
task_clear_uncancellable(Task *task)
{
    /* relaxed: as above */
    if (atomic_load_explicit(&task->state, memory_order_relaxed) & TASK_UNCANCELLABLE) {
        atomic_fetch_and_explicit(&task->state, ~(uint32_t)TASK_UNCANCELLABLE,
                                  memory_order_relaxed);
    }
}

void
task_clear_cancel_request(Task *task)
{
    /* acquire: pairs with the release in task_request_cancel */
    atomic_fetch_and_explicit(&task->state, ~(uint32_t)TASK_CANCEL, memory_order_acquire);
}

void
task_clear_abandon_request(Task *task)
{
    /* relaxed: most never get one */
    if (atomic_load_explicit(&task->state, memory_order_relaxed) & TASK_ABANDON) {
        /* acquire: pairs with the release in task_request_cancel, which followed the store that abandoned the run */
        atomic_fetch_and_explicit(&task->state, ~(uint32_t)TASK_ABANDON, memory_order_acquire);
    }
}

void
task_keep_cancel_request(Task *task)
{
    /* relaxed: nothing is published, the owner reminds itself */
    atomic_fetch_or_explicit(&task->state, TASK_CANCEL, memory_order_relaxed);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

#define CACHE_LIMIT 1024u /* a cache that grows beyond this gives half away */

/* Has the system back a slab with memory in one call: a fault for each page would cost as much again as the page itself. A
 * hint: where it fails, or there is no such call, the faults do it. */
static void
slab_populate(TaskSlab *slab)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)slab + page - 1) / page * page;
    uintptr_t end = (uintptr_t)(slab + 1) / page * page;

    madvise((void *)begin, end - begin, MADV_POPULATE_WRITE);
#else
    (void)slab;
#endif
}

/* Takes a new slab and links all of its tasks but the first into the cache; returns the first. Under no lock but for
 * the insertion into the runtime's list. */
static Task *
slab_add(Runtime *runtime, TaskCache *cache)
{
    TaskSlab *slab;

    if (posix_memalign((void **)&slab, TASK_SLAB_ALIGNMENT, sizeof(TaskSlab)) != 0) {
        return NULL;
    }
    slab_populate(slab);
    slab->runtime = runtime;
    for (size_t i = 0; i < TASK_SLAB_TASKS; i++) {
        Task *task = memset(&slab->tasks[i], 0, sizeof(Task));
        /* spread, because the memory may have been a slab of an earlier runtime */
        task->serial = (uint32_t)runtime->serial * 2654435761u;
        atomic_init(&task->state, TASK_FREE);
        timer_node_init(&task->timer);
        list_node_init(&task->wait);
        list_node_init(&task->sibling);
        task->run.next = i + 1 < TASK_SLAB_TASKS ? &slab->tasks[i + 1].run : cache->first;
    }
    cache->first = &slab->tasks[1].run;
    cache->count += TASK_SLAB_TASKS - 1;

    mutex_lock(&runtime->task_mutex);
    slab->next = runtime->slabs;
    runtime->slabs = slab;
    mutex_unlock(&runtime->task_mutex);
    return &slab->tasks[0];
}

/* Moves up to `count` tasks from one list to another. */
static void
cache_move(TaskCache *from, TaskCache *to, size_t count)
{
    while (count-- > 0 && from->first != NULL) {
        RunNode *node = from->first;
        from->first = node->next;
        from->count--;
        node->next = to->first;
        to->first = node;
        to->count++;
    }
}

static Task *
cache_take(Runtime *runtime, TaskCache *cache)
{
    if (cache->first == NULL) {
        mutex_lock(&runtime->task_mutex);
        cache_move(&runtime->free_tasks, cache, CACHE_LIMIT / 2);
        mutex_unlock(&runtime->task_mutex);
        if (cache->first == NULL) {
            return slab_add(runtime, cache);
        }
    }
    RunNode *node = cache->first;
    cache->first = node->next;
    cache->count--;
    return LIST_ENTRY(node, Task, run);
}

static void
cache_give(Runtime *runtime, TaskCache *cache, Task *task)
{
    task->run.next = cache->first;
    cache->first = &task->run;
    if (++cache->count > CACHE_LIMIT) {
        mutex_lock(&runtime->task_mutex);
        cache_move(cache, &runtime->free_tasks, CACHE_LIMIT / 2);
        mutex_unlock(&runtime->task_mutex);
    }
}

Task *
task_new(Runtime *runtime, TaskCache *cache, PyObject *coroutine)
{
    TaskCache none = {NULL, 0};
    Task *task = cache_take(runtime, cache != NULL ? cache : &none);

    if (none.first != NULL) {
        mutex_lock(&runtime->task_mutex);
        cache_move(&none, &runtime->free_tasks, none.count);
        mutex_unlock(&runtime->task_mutex);
    }
    if (task == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    task->flags = 0;
    task->swallowed = 0;
    task->top = coroutine;
    task->value = NULL;
    task->operation = NULL;
    task->completion = NULL;
    task->scope = NULL;
    task->context = NULL;
    task->handle = NULL;
    task->index = 0;
    /* release: whoever walks the slabs and sees an allocated task sees it initialised */
    atomic_store_explicit(&task->state, 0, memory_order_release);
    return task;
}

Task *
task_new_proxy(Runtime *runtime, TaskCache *cache, WaitGroup *group)
{
    Task *task = task_new(runtime, cache, NULL);

    if (task != NULL) {
        task->group = group;
        /* relaxed: whoever walks the slabs passes it over; one that came in between has left a mark nobody reads */
        atomic_store_explicit(&task->state, TASK_PROXY | TASK_FREE, memory_order_relaxed);
    }
    return task;
}

void
task_free(Runtime *runtime, TaskCache *cache, Task *task)
{
    /* relaxed: from here a walk over the slabs passes it over; the walk needs nothing else of it */
    atomic_store_explicit(&task->state, TASK_FREE, memory_order_relaxed);
    while (task->top != NULL) {
        task_pop(task);
    }
    Py_CLEAR(task->value);
    Py_CLEAR(task->operation);
    Py_CLEAR(task->context);
    task->serial++;
    if (cache != NULL) {
        cache_give(runtime, cache, task);
    }
    else {
        mutex_lock(&runtime->task_mutex);
        task->run.next = runtime->free_tasks.first;
        runtime->free_tasks.first = &task->run;
        runtime->free_tasks.count++;
        mutex_unlock(&runtime->task_mutex);
    }
}

void
task_slabs_free(Runtime *runtime)
{
    TaskSlab *slab = runtime->slabs;
    while (slab != NULL) {
        TaskSlab *next = slab->next;
        for (size_t i = 0; i < TASK_SLAB_TASKS; i++) {
            free(slab->tasks[i].stack);
        }
        free(slab);
        slab = next;
    }
    runtime->slabs = NULL;
    runtime->free_tasks = (TaskCache){NULL, 0};
}

/* ---- stack ----------------------------------------------------------------------------------------------- */

/* A larger stack. */
static int
stack_grow(Task *task)
{
    uint32_t capacity = task->stack != NULL ? task->stack->capacity : 0;

    if (capacity >= TASK_MAX_DEPTH) {
        PyErr_Format(PyExc_RecursionError, "a task cannot nest more than %u coroutines",
                     TASK_MAX_DEPTH);
        return -1;
    }
    capacity = capacity == 0 ? 6 : capacity * 2;
    if (capacity > TASK_MAX_DEPTH) {
        capacity = TASK_MAX_DEPTH;
    }
    TaskStack *stack = realloc(task->stack, sizeof(TaskStack) + capacity * sizeof(PyObject *));
    if (stack == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (task->stack == NULL) {
        stack->depth = 0;
        stack->pins = 0;
    }
    stack->capacity = capacity;
    task->stack = stack;
    return 0;
}

int
task_reserve(Task *task, uint32_t count)
{
    while (task->stack == NULL || task->stack->capacity - task->stack->depth < count) {
        if (stack_grow(task) < 0) {
            return -1;
        }
    }
    return 0;
}

int
task_push(Task *task, PyObject *coroutine)
{
    TaskStack *stack = task->stack;

    if (task->top == NULL) {
        task->top = coroutine;
        return 0;
    }
    if (stack == NULL || stack->depth == stack->capacity) {
        if (stack_grow(task) < 0) {
            Py_DECREF(coroutine);
            return -1;
        }
        stack = task->stack;
    }
    stack->items[stack->depth++] = task->top;
    task->top = coroutine;
    return 0;
}

int
task_push_bottom(Task *task, PyObject *host)
{
    if (task_push(task, host) < 0) {
        return -1;
    }
    TaskStack *stack = task->stack;
    if (stack != NULL && stack->depth > 0) {
        /* it lies on top now: one place up for all others */
        task->top = stack->items[stack->depth - 1];
        memmove(&stack->items[1], &stack->items[0], (stack->depth - 1) * sizeof(PyObject *));
        stack->items[0] = host;
    }
    return 0;
}

int
task_pin(Task *task, int worker)
{
    if (task->stack == NULL && stack_grow(task) < 0) {
        return -1;
    }
    if (!(task->flags & TASK_PINNED)) {
        task->stack->pins = 0; /* of an earlier task in this memory */
    }
    if (task->stack->pins == UINT16_MAX) {
        PyErr_SetString(PyExc_RecursionError, "blocks of pinned() are nested too deeply");
        return -1;
    }
    task->stack->pins++;
    task->stack->worker = (uint16_t)worker;
    task->flags |= TASK_PINNED;
    return 0;
}

void
task_unpin(Task *task)
{
    if (--task->stack->pins == 0) {
        task->flags &= (uint16_t)~TASK_PINNED;
    }
}

PyObject *
task_take(Task *task)
{
    PyObject *top = task->top;
    TaskStack *stack = task->stack;

    task->top = (stack != NULL && stack->depth > 0) ? stack->items[--stack->depth] : NULL;
    return top;
}

bool
task_pop(Task *task)
{
    PyObject *top = task_take(task);
    bool more = task->top != NULL;

    Py_XDECREF(top); /* last: it may run code */
    return more;
}
