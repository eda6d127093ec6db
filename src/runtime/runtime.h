/* Runtime: what belongs to one `run`, and the workers that carry it.
 *
 * A Runtime comes into being when `run` starts and is gone when it returns. The thread that called `run` is
 * worker 0; further workers are started when there is work for them. Each field says who may touch it.
 */
#ifndef TONIO_RUNTIME_RUNTIME_H
#define TONIO_RUNTIME_RUNTIME_H

#include "compat.h"

#include "core/inject_queue.h"
#include "core/mutex.h"
#include "core/parker.h"
#include "core/run_queue.h"
#include "runtime/driver.h"
#include "runtime/task.h"

typedef struct BlockingPool BlockingPool;

/* Operations that finish at once before a task gives way to others. */
#define TASK_BUDGET 128
/* Most task runs between two looks at the outside (inject queue first, poller, timers, the interpreter's requests). */
#define WORKER_TICK 61
/* For so many runs after a long one, and at first, a worker looks at the clock after each. */
#define WATCHFUL_RUNS 1000u
/* Woken tasks in a row that may pass the run queue by through the slot. */
#define WORKER_SLOT_STREAK 16

/* Where a parked worker sleeps; see scheduler.c. */
enum {
    PARK_NONE = 0,
    PARK_ON_FUTEX = 1,
    PARK_IN_DRIVER = 2,
    PARK_NOTIFIED = 3, /* an unpark came; the next park returns at once */
};

struct Worker {
    RunQueue queue; /* the owner pushes and pops, others steal */
    _Atomic(Task *)
        slot;   /* the task woken last runs next; others take it only if its owner is stuck */
    Task *task; /* owner: the running task */
    Operation *awaiting;  /* owner, borrowed: the operation whose __next__ has just asked to wait */
    int awaiting_result;  /* OperationResult that goes with it */
    int budget;           /* owner: operations the running task may still finish at once */
    bool budget_is_short; /* owner: `budget` is that of a seeded run */
    uint64_t perturbation; /* owner: random numbers of a seeded run (perturb.h); 0: it is none */
    uint32_t slot_streak;  /* owner */
    uint32_t tick;         /* owner: task runs */
    uint32_t until_tick;   /* owner: task runs until it thinks of the outside */
    uint32_t watchful;     /* owner: for so many runs more it looks at the clock after each */
    uint32_t period_tick;  /* owner: `tick` when the present measuring period began */
    uint64_t period_start; /* owner: nanoseconds */
    uint32_t look_at;      /* owner: position in its queue from which it looks at sockets again */
    uint64_t look_by;      /* owner: microseconds; or it does by then */
    _Atomic uint32_t
        average_run;           /* owner writes: nanoseconds a task run takes on average, lately */
    _Atomic uint32_t progress; /* owner writes: copy of tick, for who watches */
    PyObject *stop_iteration;  /* owner: reused to carry results through `await` */
    bool carries;              /* owner: it may still hold the last one */
    TaskCache cache;           /* owner */
    Runtime *runtime;
    PyThreadState
        *tstate; /* set by the owner when it starts; read by others while the worker lives */
    int id;
    unsigned long ident; /* of its thread, as the interpreter counts; set with tstate */
    PyObject *
        thread; /* owned: to join it by; NULL for worker 0; written by the worker that started it */
    PyObject *context; /* owned: what tasks without a context of their own run in */
    Parker parker;
    _Atomic int park_state;  /* PARK_NONE ... */
    bool searching;          /* owner: counted in runtime->searching */
    bool watching;           /* owner: it is the watcher */
    uint32_t random;         /* owner: where to start looking for a victim */
    uint32_t *seen_progress; /* owner: what a watcher saw at its last look, per worker */
    uint32_t *seen_tail;
    int quiet_looks;          /* owner: looks in a row that saw nothing move */
    uint8_t swept;            /* owner: SWEPT_* */
    uint64_t next_breath;     /* owner: microseconds; when to look after threads that sleep again */
    bool no_strangers;        /* owner: while it sleeps no thread but the runtime's own exists */
    bool count_strangers;     /* owner: that is to be found out */
    bool looked_for_deadlock; /* owner: since it got up last */
    bool look_for_deadlock;   /* owner: when it attends next */
    InjectQueue pinned;       /* tasks that only this worker may run; any thread pushes */
    InjectQueue handed;       /* tasks that another worker gave up to this one */
    uint32_t contention;      /* owner: mutex_contention at the last measurement */
    _Atomic int
        victim; /* owner writes: id of the worker it stole from last, until it hands back; -1 */
    _Atomic uint64_t spawned;  /* owner writes; tasks created here */
    _Atomic uint64_t finished; /* owner writes; tasks ended here */
    _Atomic uint64_t executed; /* owner writes, others read for statistics */
    _Atomic uint64_t stolen;
    _Atomic uint64_t parked;
    PyObject *scratch; /* owner: a bytes object of WORKER_SCRATCH to receive into, or NULL */
};

#define WORKER_SCRATCH 65536

/* What a worker knew of the end when it last cancelled all tasks. */
enum { SWEPT_CLOSING = 1, SWEPT_ABANDONED = 2 };

/* Where the start of a further worker stands. */
enum {
    START_NONE = 0,
    START_UNDER_WAY = 1, /* until the new thread counts itself as started */
    START_FAILED = 2,    /* no more attempts */
};

typedef enum RuntimePhase {
    RUNTIME_RUNNING,
    RUNTIME_CLOSING, /* the main task has ended: the others are cancelled, nothing new comes from outside */
    RUNTIME_ENDED, /* no task is left: workers leave */
} RuntimePhase;

struct Runtime {
    uint64_t serial;     /* distinguishes runtimes that had the same address */
    bool with_context;   /* each task has a contextvars.Context of its own */
    int worker_count;    /* most there may be */
    _Atomic int started; /* workers that have been started; guarded by start_mutex, read anywhere */
    Worker *workers;     /* worker_count of them; fixed */
    _Atomic int phase;   /* RuntimePhase */
    InjectQueue inject;  /* any thread */
    Driver driver;

    Mutex idle_mutex;       /* guards idle and idle_count */
    int *idle;              /* parked workers, the last one parked last */
    _Atomic int idle_count; /* read anywhere as a hint */
    _Atomic int searching;  /* workers that look for work */
    _Atomic int watcher;    /* id of the parked worker that looks after the busy ones, -1: none */
    _Atomic int starting;   /* START_*: of a further worker */

    Mutex gather_mutex;        /* guards the next three; see gather.c */
    uint64_t gather_since;     /* nanoseconds: when work was last gathered */
    uint64_t gather_length;    /* for so many looks of the watcher */
    _Atomic uint64_t gathered; /* how many are left; read anywhere as a hint */

    Mutex task_mutex; /* guards slabs and free_tasks */
    TaskSlab *slabs;
    TaskCache free_tasks;
    _Atomic uint64_t foreign_spawned; /* tasks created by threads that are no workers */
    _Atomic int visitors; /* foreign threads that are inside a function of this runtime */

    Mutex spread_mutex;          /* guards spread_list; see cancel.h */
    List spread_list;            /* scopes (by `spread`) whose cancellation is to be spread */
    _Atomic bool spread_pending; /* a hint that the list is not empty */
    _Atomic bool
        abandoned; /* what has not ended gets no more consideration: shields count for nothing */

    Completion main_completion;
    _Atomic(Task *) main_task; /* until it has ended */
    Mutex outcome_mutex;       /* guards the next four */
    bool stopped;              /* Runtime.stop() has ended the main task */
    PyObject *main_value;      /* owned */
    PyObject *main_error;      /* owned */
    PyObject *
        interrupt; /* owned: SystemExit, KeyboardInterrupt ... that ends the run whatever the rest does */

    PyObject *generators;        /* owned: looks after asynchronous generators (tonio._support) */
    PyObject *generator_begun;   /* owned: methods of it, which are the interpreter's hooks */
    PyObject *generator_dropped; /* owned */
    _Atomic uint64_t
        warn_at; /* microseconds: when tasks that hold up the end are named; TIMER_NEVER: not */
    double warn_after;   /* seconds; negative: never */
    uint64_t forks;      /* `fork_count` when it started: in a forked child they differ */
    bool on_main_thread; /* worker 0 is the interpreter's main thread: it handles signals */
    BlockingPool *pool;
    Runtime *next; /* in the list of running runtimes; guarded by its lock */
};

/* Ends what refuses to end: shields count for nothing any more, coroutines are closed, and Python code that runs on other
 * workers gets a KeyboardInterrupt. Attached. */
void runtime_abandon(Runtime *runtime);

/* Nothing can wake any task any more. Attached, on a worker. */
void runtime_deadlocked(Runtime *runtime);

/* The end takes long: warns, once, of the tasks that have not ended. Attached, on a worker. */
void runtime_warn_remaining(Runtime *runtime);

/* As if the main task had been cancelled, but `run` returns None. Any thread. True if there was a main task. */
bool runtime_stop(Runtime *runtime);

/* How many threads the runtime has. Any thread. */
size_t runtime_threads(Runtime *runtime);

/* Are there Python threads that may drop a reference while all workers sleep: busy ones of the blocking pool, or others? Attached; may run Python code. */
bool runtime_has_strangers(Runtime *runtime);

/* The worker that the calling thread is, or NULL. */
extern _Thread_local Worker *current_worker __attribute__((tls_model("initial-exec")));

/* How often this process is the child of a fork. Written while there is only one thread. */
extern uint64_t fork_count;

/* Has the process been forked while the runtime ran? Then this is the child, which has none of its other threads: the run
 * cannot go on. */
static inline bool
runtime_is_forked(const Runtime *runtime)
{
    return runtime->forks != fork_count;
}

/* In such a child, on a thread that nobody waits for: tells why, with `error` (stolen, or NULL) as the context, and ends the
 * process. Attached. */
_Noreturn void runtime_leave_fork(PyObject *error);

static inline bool
runtime_is_closing(Runtime *runtime)
{
    /* acquire: pairs with the release in runtime_close */
    return atomic_load_explicit(&runtime->phase, memory_order_acquire) != RUNTIME_RUNNING;
}

/* Is what refuses to end to be ended by force? */
static inline bool
runtime_is_abandoned(Runtime *runtime)
{
    /* relaxed: published by the requests for cancellation that follow */
    return atomic_load_explicit(&runtime->abandoned, memory_order_relaxed);
}

/* The running task of the calling thread, or NULL with RuntimeNotInitializedError set ("`what` needs ..."). */
Task *runtime_current_task(const char *what);

/* The runtime that the calling thread works for; from a foreign thread the only one that runs. Foreign callers are
 * counted as visitors, which keeps the runtime alive, until runtime_leave. NULL with an exception set. */
Runtime *runtime_enter(const char *what);

/* The calling thread becomes a visitor of a runtime that it knows to be there. Any thread. */
void runtime_visit(Runtime *runtime);
void runtime_leave(Runtime *runtime);

/* The runtime whose blocking pool the calling thread is of, or NULL. */
extern _Thread_local Runtime *pool_runtime __attribute__((tls_model("initial-exec")));

/* A task for a claimed coroutine or operation (stolen, also on failure), which does not run yet. The caller is inside the
 * runtime. NULL with an exception set (MemoryError, or the run has ended). */
Task *runtime_new_task(Runtime *runtime, PyObject *coroutine, Completion *completion,
                       uint32_t index);

/* Lets it run; from here it is the scheduler's. */
void runtime_start_task(Runtime *runtime, Task *task);

/* The main task is over, or is to be: cancels what is left. Attached. */
void runtime_close(Runtime *runtime);

/* Asks every task there is to be cancelled. Any thread. */
void runtime_cancel_tasks(Runtime *runtime);

/* Ends a closing runtime if no task is left. A worker calls it when it has nothing to do: the last one to do so sees
 * everything that the others did. */
void runtime_end_if_empty(Runtime *runtime);

/* Was it told to end by one of those below? */
bool runtime_has_interrupt(Runtime *runtime);

/* SystemExit, KeyboardInterrupt and their like (stolen) from a task nobody waits for in this sense, or from a signal
 * handler: the main task is cancelled, and `run` raises it. Attached. */
void runtime_interrupt(Runtime *runtime, PyObject *error);

/* The current exception came while a worker did something for the runtime that lets signal handlers run: one of theirs
 * interrupts the run; if it was lack of memory the run goes on, and the worker tries again. Attached. */
void runtime_housekeeping_failed(Runtime *runtime);

/* Frees the slabs (task.c). */
void task_slabs_free(Runtime *runtime);

/* The running runtime with this serial number, or NULL if it is gone. The caller is a visitor until runtime_leave. */
Runtime *runtime_find(uint64_t serial);

/* Checks `object` to be something that can run as a task and claims it: new reference to a coroutine or operation, or
 * NULL with TypeError (naming `what`) or RuntimeError set. */
PyObject *runnable_claim(PyObject *object, const char *what);

/* Undoes runnable_claim for something that will not run: closes it. Steals. No exception is left set or lost. */
void runnable_discard(PyObject *runnable);

typedef struct RuntimeOptions {
    bool context;
    int threads;
    size_t pool_size;
    double pool_idle_ttl;
    double shutdown_warning; /* seconds; negative: never */
} RuntimeOptions;

/* Runs a claimed coroutine (stolen) to its end on the calling thread: what it returns, new reference, or NULL with what it
 * raised. Meanwhile *serial says which runtime it is (see runtime_find); 0 before and after. */
PyObject *runtime_run(const RuntimeOptions *options, PyObject *coroutine, _Atomic uint64_t *serial);

/* Makes the parts of a worker (the structure is zeroed). -1 with an exception set; worker_destroy takes a half-made one. */
int worker_init(Worker *worker, Runtime *runtime, int id);
void worker_destroy(Worker *worker);

/* The calling thread is this worker until the runtime has ended. */
void worker_main(Worker *worker);

/* Joins the worker threads. What they counted is counted for worker 0, which may go on alone. */
void workers_join(Runtime *runtime);

/* The process is a child that was forked during the run. */
extern const char runtime_forked_message[];

int runtime_module_init(PyObject *module);
int runtime_type_module_init(PyObject *module);

#endif
