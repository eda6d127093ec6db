/* Blocking pool: threads that run ordinary functions which would block a worker.
 *
 * Jobs queue in order. The pool grows on demand up to its size, idle threads leave after a while. Waking a thread costs
 * more than many a job, so whoever queues a job wakes a thread only if none is on its way to the queue already
 * (`searching`); a thread that takes a job and leaves others behind passes the call on before it runs its own. So
 * every job gets a thread at once as long as there are threads, and short jobs do not pay for a wake-up each.
 *
 * Locks: `mutex` guards the queue, the idle stack, the counts and the states of jobs; nothing blocks under it. Each thread
 * has an `interrupt` lock: while it is held, the thread is neither taken off its job nor given another one, so an
 * asynchronous exception cannot hit the wrong job; it is a PyMutex because setting one may wait. Lock order: none is
 * taken while the other is held.
 *
 * Thread slots are not freed before the pool, so a canceller may look at a slot that has moved on to another job.
 */
#include "runtime/blocking.h"

#include <sched.h>
#include <stdlib.h>

#include "core/parker.h"
#include "errors.h"
#include "runtime/parking.h"
#include "runtime/scheduler.h"
#include "runtime/thread.h"
#include "support.h"

typedef enum JobState {
    JOB_QUEUED,
    JOB_TAKEN, /* a thread runs it, or has */
    JOB_DROPPED,
} JobState;

typedef struct PoolThread PoolThread;

struct BlockingJob {
    ListNode link; /* in the queue; guarded by the pool's mutex */
    _Atomic uint32_t references;
    JobState state;         /* guarded by the pool's mutex */
    PoolThread *thread;     /* set when it is taken; guarded by the pool's mutex */
    bool interrupted;       /* guarded by the thread's interrupt lock */
    _Atomic bool cancelled; /* it was to be interrupted, perhaps before its thread had begun */
    BlockingPool *pool;
    PyObject *fn; /* owned, as are the next three */
    PyObject *args;
    PyObject *kwargs;
    PyObject *context;
    BlockingDone done;
    void *owner;
};

struct PoolThread {
    PoolThread *next;      /* all slots of the pool; never changes once linked */
    PoolThread *next_idle; /* guarded by the pool's mutex */
    bool idle;             /* guarded by the pool's mutex: in the idle stack */
    bool
        searching; /* counted in pool->searching; its thread's, or under the mutex that of who calls it while it is idle */
    bool ended;    /* its thread's: it has run a job that is still counted as busy */
    bool used;     /* guarded by the pool's mutex: a thread has this slot */
    Parker parker;
    BlockingPool *pool;
    PyObject *
        thread; /* owned: the handle to join it by, once its starter has it; guarded by the pool's mutex */
    uint64_t uses;         /* guarded by the pool's mutex: threads that have had this slot */
    PyThreadState *tstate; /* while `idle`, for who looks after its dropped references */
    unsigned long ident;
    PyMutex interrupt; /* guards job, its `interrupted`, and nested */
    BlockingJob *job;  /* borrowed */
    Runtime *nested;   /* a runtime that the job runs on this thread */
};

struct BlockingPool {
    Runtime *runtime;
    size_t size;
    int64_t idle_ns; /* PARK_FOREVER: idle threads stay */
    Mutex mutex;
    List queue;        /* jobs by `link`, oldest first */
    PoolThread *slots; /* all, also unused */
    PoolThread *idle;  /* the one that became idle last first */
    size_t threads;    /* used slots */
    _Atomic size_t
        searching; /* threads that are on their way to the queue; goes down under the mutex only */
    _Atomic size_t busy; /* jobs queued or running; written under the mutex, read anywhere */
    bool closing;
    PyObject *
        leaver; /* owned: handle of the thread that left last; the next to leave joins it, or the end */
};

static _Thread_local PoolThread *own_slot; /* of the calling thread, if it is one of a pool's */

static void pool_thread(void *argument);

int
blocking_pool_new(Runtime *runtime, size_t size, double idle_ttl)
{
    BlockingPool *pool = calloc(1, sizeof(BlockingPool));
    if (pool == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    pool->runtime = runtime;
    pool->size = size;
    pool->idle_ns = idle_ttl < 0 || idle_ttl > 9e9 ? PARK_FOREVER : (int64_t)(idle_ttl * 1e9);
    list_init(&pool->queue);
    runtime->pool = pool;
    return 0;
}

void
blocking_job_retain(BlockingJob *job)
{
    /* relaxed: the caller knows of one that there is */
    atomic_fetch_add_explicit(&job->references, 1, memory_order_relaxed);
}

void
blocking_job_release(BlockingJob *job)
{
    /* acq_rel: the last one to let go sees what the others did */
    if (atomic_fetch_sub_explicit(&job->references, 1, memory_order_acq_rel) == 1) {
        Py_DECREF(job->fn);
        Py_DECREF(job->args);
        Py_XDECREF(job->kwargs);
        Py_XDECREF(job->context);
        free(job);
    }
}

int
blocking_job_traverse(BlockingJob *job, visitproc visit, void *arg)
{
    Py_VISIT(job->fn);
    Py_VISIT(job->args);
    Py_VISIT(job->kwargs);
    Py_VISIT(job->context);
    return 0;
}

/* ---- calling threads ------------------------------------------------------------------------------------- */

/* What is to be done, after the mutex is released, so that somebody comes to the queue. */
typedef struct Call {
    PoolThread *wake;
    PoolThread *start;
} Call;

/* Under the mutex: somebody shall come to the queue, unless somebody does already. */
static Call
pool_call(BlockingPool *pool)
{
    Call call = {NULL, NULL};

    /* relaxed: whoever has counted itself takes the mutex later, and takes itself off then */
    if (atomic_load_explicit(&pool->searching, memory_order_relaxed) > 0 ||
        list_is_empty(&pool->queue)) {
        return call;
    }
    if (pool->idle != NULL) {
        call.wake = pool->idle;
        pool->idle = call.wake->next_idle;
        call.wake->idle = false;
    }
    else if (pool->threads < pool->size && !pool->closing) {
        PoolThread *slot = pool->slots;
        while (slot != NULL && slot->used) {
            slot = slot->next;
        }
        if (slot == NULL) {
            slot = calloc(1, sizeof(PoolThread));
            if (slot == NULL || parker_init(&slot->parker) < 0) {
                free(slot);
                return call; /* the job waits for a thread that there is; pool_make_call sees to the first */
            }
            slot->pool = pool;
            slot->next = pool->slots;
            pool->slots = slot;
        }
        slot->used = true;
        slot->uses++;
        pool->threads++;
        call.start = slot;
    }
    else {
        return call;
    }
    PoolThread *called = call.wake != NULL ? call.wake : call.start;
    called->searching = true;
    atomic_fetch_add_explicit(&pool->searching, 1, memory_order_relaxed);
    return call;
}

/* A thread has come to the queue. Under the mutex. */
static void
slot_arrive(PoolThread *slot)
{
    if (slot->searching) {
        slot->searching = false;
        atomic_fetch_sub_explicit(&slot->pool->searching, 1, memory_order_relaxed);
    }
}

/* A thread gives its slot back. Under the mutex. */
static void
slot_leave(PoolThread *slot)
{
    slot_arrive(slot);
    slot->used = false;
    slot->pool->threads--;
}

/* Attached, no lock held. -1 with an exception set if a thread was to be started and could not. */
static int
pool_make_call(BlockingPool *pool, Call call)
{
    if (call.wake != NULL) {
        parker_unpark(&call.wake->parker);
    }
    if (call.start != NULL) {
        /* not yet started, so it cannot change under us */
        uint64_t use = call.start->uses;
        PyObject *handle = thread_start("tonio-blocking", pool_thread, call.start);
        mutex_lock(&pool->mutex);
        if (handle == NULL) {
            slot_leave(call.start);
            mutex_unlock(&pool->mutex);
            return -1;
        }
        if (call.start->used && call.start->uses == use) {
            call.start->thread = handle;
            handle = NULL;
        }
        mutex_unlock(&pool->mutex);
        thread_join(pool->runtime, handle); /* it has left already */
    }
    return 0;
}

/* Counts jobs that are queued or running. Under the mutex. */
static void
busy_add(BlockingPool *pool, int jobs)
{
    /* relaxed: only a holder of the mutex writes it */
    size_t busy = atomic_load_explicit(&pool->busy, memory_order_relaxed);
    /* release: what a job's end has done is seen by who finds it gone; pairs with blocking_pool_is_busy */
    atomic_store_explicit(&pool->busy, busy + (size_t)jobs, memory_order_release);
}

/* ---- jobs ------------------------------------------------------------------------------------------------ */

/* Ends a job that never ran. */
static void
job_drop(BlockingJob *job)
{
    PyObject *error = PyObject_CallNoArgs(error_type(ERROR_CANCELLED));

    if (error == NULL) {
        error = PyErr_GetRaisedException();
    }
    BlockingPool *pool = job->pool;
    job->done(job->owner, NULL, error); /* the job may be gone now */
    /* after `done`: until then somebody may still be woken */
    mutex_lock(&pool->mutex);
    busy_add(pool, -1);
    mutex_unlock(&pool->mutex);
}

BlockingJob *
blocking_submit(Runtime *runtime, PyObject *fn, PyObject *args, PyObject *kwargs, BlockingDone done,
                void *owner)
{
    BlockingPool *pool = runtime->pool;
    BlockingJob *job = malloc(sizeof(BlockingJob));
    bool nobody;

    if (job == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *job = (BlockingJob){.references = 1, .pool = pool, .done = done, .owner = owner};
    if (runtime->with_context) {
        job->context = PyContext_CopyCurrent();
        if (job->context == NULL) {
            free(job);
            return NULL;
        }
    }
    job->fn = Py_NewRef(fn);
    job->args = Py_NewRef(args);
    job->kwargs = Py_XNewRef(kwargs);

    mutex_lock(&pool->mutex);
    busy_add(pool, 1);
    list_push_tail(&pool->queue, &job->link);
    Call call = pool_call(pool);
    nobody = pool->threads == 0;
    mutex_unlock(&pool->mutex);
    if (nobody) {
        PyErr_NoMemory();
    }
    if (!nobody && pool_make_call(pool, call) == 0) {
        return job;
    }
    /* No thread could be started. If there are others the job waits for one of them, else nobody will run it. */
    PyObject *error = PyErr_GetRaisedException();
    mutex_lock(&pool->mutex);
    bool taken_back = pool->threads == 0 && job->state == JOB_QUEUED;
    if (taken_back) {
        list_remove(&job->link);
        job->state = JOB_DROPPED;
        busy_add(pool, -1);
    }
    mutex_unlock(&pool->mutex);
    if (!taken_back) {
        Py_DECREF(error);
        return job;
    }
    blocking_job_release(job);
    PyErr_SetRaisedException(error);
    return NULL;
}

/* Interrupts the job, if the thread runs it; with NULL, any that was not interrupted before. Attached. */
static void
thread_interrupt(PoolThread *thread, BlockingJob *job)
{
    Runtime *nested = NULL;

    PyMutex_Lock(&thread->interrupt);
    if (thread->job != NULL && (job == NULL ? !thread->job->interrupted : thread->job == job)) {
        thread->job->interrupted = true;
        nested = thread->nested;
        if (nested != NULL) {
            runtime_visit(nested);
        }
        else {
            PyThreadState_SetAsyncExc(thread->ident, error_type(ERROR_CANCELLED));
        }
    }
    PyMutex_Unlock(&thread->interrupt);
    if (nested != NULL) {
        /* an exception out of the blue would only cancel the task that it hits, or be late to a thread that sleeps */
        error_set_cancelled();
        runtime_interrupt(nested, PyErr_GetRaisedException());
        runtime_leave(nested);
    }
}

void
blocking_enter_run(Runtime *runtime)
{
    if (own_slot == NULL) {
        return;
    }
    PyMutex_Lock(&own_slot->interrupt);
    own_slot->nested = runtime;
    PyMutex_Unlock(&own_slot->interrupt);
    /* an interruption that came before that strikes here at the latest */
    PyObject *nothing = PyObject_CallNoArgs(support.breathe);
    if (nothing == NULL) {
        runtime_interrupt(runtime, PyErr_GetRaisedException());
    }
    Py_XDECREF(nothing);
}

void
blocking_leave_run(void)
{
    if (own_slot != NULL) {
        PyMutex_Lock(&own_slot->interrupt);
        own_slot->nested = NULL;
        PyMutex_Unlock(&own_slot->interrupt);
    }
}

void
blocking_job_cancel(BlockingJob *job)
{
    BlockingPool *pool = job->pool;
    PoolThread *thread = NULL;
    bool drop = false;

    mutex_lock(&pool->mutex);
    if (job->state == JOB_QUEUED) {
        list_remove(&job->link);
        job->state = JOB_DROPPED;
        drop = true;
    }
    else if (job->state == JOB_TAKEN) {
        /* relaxed: the thread's interrupt lock, which comes next, orders it before the thread's look; see job_run */
        atomic_store_explicit(&job->cancelled, true, memory_order_relaxed);
        thread = job->thread;
    }
    mutex_unlock(&pool->mutex);
    if (drop) {
        job_drop(job);
    }
    if (thread != NULL) {
        thread_interrupt(thread, job);
    }
}

static void
job_run(PoolThread *self, BlockingJob *job)
{
    PyObject *context = job->context;
    PyObject *value = NULL;
    PyObject *error;

    PyMutex_Lock(&self->interrupt);
    self->job = job;
    PyMutex_Unlock(&self->interrupt);
    /* A canceller that came before that found another job here; what it has left is seen now. */
    if (atomic_load_explicit(&job->cancelled, memory_order_relaxed)) {
        error_set_cancelled();
    }
    else if (context == NULL || PyContext_Enter(context) == 0) {
        value = PyObject_Call(job->fn, job->args, job->kwargs);
        if (context != NULL) {
            PyContext_Exit(context);
        }
    }
    error = value == NULL ? PyErr_GetRaisedException() : NULL;
    if (runtime_is_forked(self->pool->runtime)) {
        runtime_leave_fork(error);
    }
    PyMutex_Lock(&self->interrupt);
    self->job = NULL;
    if (job->interrupted) {
        /* it may not have struck yet: it must not strike the next job */
        PyThreadState_SetAsyncExc(self->ident, NULL);
    }
    PyMutex_Unlock(&self->interrupt);

    /* Counted as on its way to the queue from here: whoever `done` wakes may queue the next job at once, for which no other
     * thread is needed. */
    self->searching = self->ended = true;
    atomic_fetch_add_explicit(&self->pool->searching, 1, memory_order_relaxed);
    job->done(job->owner, value, error); /* the job may be gone now */
}

/* ---- threads --------------------------------------------------------------------------------------------- */

/* Out of the idle stack, if it is still there. Under the mutex. */
static bool
idle_remove(PoolThread *self)
{
    PoolThread **link = &self->pool->idle;

    if (!self->idle) {
        return false;
    }
    while (*link != self) {
        link = &(*link)->next_idle;
    }
    *link = self->next_idle;
    self->idle = false;
    return true;
}

/* The next job, or NULL: leave. Attached. */
static BlockingJob *
thread_next_job(PoolThread *self)
{
    BlockingPool *pool = self->pool;
    BlockingJob *job = NULL;

    for (;;) {
        Call call = {NULL, NULL};
        ParkResult result;

        mutex_lock(&pool->mutex);
        ListNode *node = list_pop_head(&pool->queue);
        slot_arrive(self);
        if (self->ended) {
            /* after `done`, until which somebody may still be woken */
            self->ended = false;
            busy_add(pool, -1);
        }
        if (node != NULL) {
            idle_remove(self);
            job = LIST_ENTRY(node, BlockingJob, link);
            job->state = JOB_TAKEN;
            job->thread = self;
            call = pool_call(pool);
            mutex_unlock(&pool->mutex);
            if (pool_make_call(pool, call) < 0) {
                PyErr_Clear(); /* the job that this was for waits for a thread that there is: this one at the latest */
            }
            return job;
        }
        if (pool->closing) {
            idle_remove(self);
            mutex_unlock(&pool->mutex);
            return NULL;
        }
        if (!self->idle) {
            self->idle = true;
            self->next_idle = pool->idle;
            pool->idle = self;
        }
        mutex_unlock(&pool->mutex);

        PyThreadState *tstate = PyEval_SaveThread();
        result = parker_park(&self->parker, pool->idle_ns);
        PyEval_RestoreThread(tstate);
        if (thread_state_has_requests(tstate)) {
            PyObject *nothing = PyObject_CallNoArgs(support.breathe);
            if (nothing == NULL) {
                error_report_current("in an idle thread of the blocking pool");
            }
            Py_XDECREF(nothing);
        }
        if (result == PARK_TIMED_OUT) {
            mutex_lock(&pool->mutex);
            bool leaves = idle_remove(self) && list_is_empty(&pool->queue);
            mutex_unlock(&pool->mutex);
            if (leaves) {
                return NULL;
            }
        }
    }
}

/* What a thread of the pool does. */
static void
pool_thread(void *argument)
{
    PoolThread *self = argument;
    BlockingPool *pool = self->pool;
    Runtime *runtime = pool->runtime;
    PyObject *before = NULL;
    BlockingJob *job;

    pool_runtime = runtime;
    own_slot = self;
    self->tstate = PyThreadState_Get();
    self->ident = PyThread_get_thread_ident();
    for (;;) {
        while ((job = thread_next_job(self)) != NULL) {
            job_run(self, job);
            workers_breathe(runtime);
        }
        /* A job may have come since it was told to leave: whoever queued it counts on this thread. */
        mutex_lock(&pool->mutex);
        if (list_is_empty(&pool->queue)) {
            break;
        }
        mutex_unlock(&pool->mutex);
    }
    pool_runtime = NULL;
    own_slot = NULL;
    if (self->thread != NULL) {
        before = pool->leaver;
        pool->leaver = self->thread;
        self->thread = NULL;
    }
    slot_leave(self); /* last: without a used slot the pool may be gone */
    mutex_unlock(&pool->mutex);
    thread_join(NULL, before); /* the runtime may be gone, too */
}

/* ---- the end --------------------------------------------------------------------------------------------- */

void
blocking_pool_close(BlockingPool *pool)
{
    List dropped;
    ListNode *node;

    list_init(&dropped);
    mutex_lock(&pool->mutex);
    pool->closing = true;
    while ((node = list_pop_head(&pool->queue)) != NULL) {
        LIST_ENTRY(node, BlockingJob, link)->state = JOB_DROPPED;
        list_push_tail(&dropped, node);
    }
    mutex_unlock(&pool->mutex);
    while ((node = list_pop_head(&dropped)) != NULL) {
        job_drop(LIST_ENTRY(node, BlockingJob, link));
    }
    for (;;) {
        PyObject *thread = NULL;
        bool left = false;

        /* `slots` only grows in front, and nothing grows any more */
        for (PoolThread *slot = pool->slots; slot != NULL; slot = slot->next) {
            thread_interrupt(slot, NULL);
            parker_unpark(&slot->parker);
            mutex_lock(&pool->mutex);
            left = left || slot->used;
            if (thread == NULL && slot->used) {
                thread = slot->thread;
                slot->thread = NULL;
            }
            mutex_unlock(&pool->mutex);
        }
        if (!left) {
            break;
        }
        if (thread == NULL) {
            /* its starter has not stored the handle yet, or it is on its way out */
            Py_BEGIN_ALLOW_THREADS
            sched_yield();
            Py_END_ALLOW_THREADS
        }
        thread_join(pool->runtime, thread);
    }
    thread_join(pool->runtime, pool->leaver);
    pool->leaver = NULL;
    while (pool->slots != NULL) {
        PoolThread *slot = pool->slots;
        pool->slots = slot->next;
        parker_destroy(&slot->parker);
        free(slot);
    }
    free(pool);
}

size_t
blocking_pool_threads(BlockingPool *pool)
{
    mutex_lock(&pool->mutex);
    size_t threads = pool->threads;
    mutex_unlock(&pool->mutex);
    return threads;
}

bool
blocking_pool_is_busy(BlockingPool *pool)
{
    return atomic_load_explicit(&pool->busy, memory_order_acquire) != 0;
}

void
blocking_pool_breathe(BlockingPool *pool)
{
    mutex_lock(&pool->mutex);
    for (PoolThread *slot = pool->idle; slot != NULL; slot = slot->next_idle) {
        if (detached_state_has_requests(slot->tstate)) {
            parker_unpark(&slot->parker);
        }
    }
    mutex_unlock(&pool->mutex);
}
