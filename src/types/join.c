/* Join: the outcome of tasks or blocking jobs that were started together, and the functions that start them.
 *
 * A Join is an operation that any number of tasks may wait for, again and again. While something of it still runs it
 * holds one reference to itself, so dropping it does not lose anything; an error that nobody retrieved is reported
 * when it goes.
 *
 * `mutex` guards what is marked so below. Tasks enter `tasks` before they can run and leave it when they end, so a cancel()
 * under the mutex reaches only tasks of this join. Invariant: `remaining` reaches 0 once, and whoever takes it there
 * claims all waiters; nobody enters the queue afterwards.
 */
#include <stdlib.h>

#include "core/mutex.h"
#include "errors.h"
#include "runtime/blocking.h"
#include "runtime/driver.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/types.h"

typedef struct Join Join;

/* An error of one part; in the order in which they came. */
typedef struct JoinError {
    struct JoinError *next;
    PyObject *error; /* owned */
    uint32_t index;
} JoinError;

/* One blocking job of a join. */
typedef struct JoinJob {
    Join *join;       /* borrowed: the join refers to itself while it runs */
    BlockingJob *job; /* owned; set before the join is handed out */
    uint32_t index;
} JoinJob;

typedef enum JoinShape {
    JOIN_VALUE,   /* the result is the value of the only part */
    JOIN_LIST,    /* the values in order */
    JOIN_NOTHING, /* None */
} JoinShape;

struct Join {
    Operation base;
    Completion completion; /* what its tasks report to */
    Mutex mutex;
    _Atomic uint32_t remaining; /* parts that have not ended; written under mutex */
    uint32_t total;
    uint8_t shape;          /* JoinShape */
    bool owned;             /* a cancelled waiter cancels the parts and waits for them */
    bool plain_error;       /* the error of the only part is raised as it is */
    _Atomic bool retrieved; /* somebody was told of the errors */
    bool cancelled;         /* guarded by mutex until remaining is 0: some part was cancelled */
    List waiters;           /* tasks by `wait`; guarded by mutex */
    List tasks;             /* tasks by `sibling`; guarded by mutex */
    PyObject *result;       /* owned: value, or list; its parts are filled in by those who end */
    JoinError *errors;      /* guarded by mutex until remaining is 0 */
    JoinJob *jobs;          /* owned: `total` of them, or NULL */
    PyObject *name;         /* owned or NULL */
};

static PyTypeObject Join_Type;
static const OperationClass join_class;

/* ---- making one ------------------------------------------------------------------------------------------ */

static void join_task_done(Completion *completion, Task *task, PyObject *value, PyObject *error);

/* A join of `total` parts that have not been started. New reference or NULL. */
static Join *
join_new(uint32_t total, JoinShape shape)
{
    Join *self = PyObject_GC_New(Join, &Join_Type);
    if (self == NULL) {
        return NULL;
    }
    operation_init(&self->base, &join_class, OPERATION_SHARED, -1.0);
    self->completion.done = join_task_done;
    self->mutex = (Mutex){0};
    atomic_init(&self->remaining, total);
    self->total = total;
    self->shape = (uint8_t)shape;
    self->owned = false;
    self->plain_error = false;
    atomic_init(&self->retrieved, false);
    self->cancelled = false;
    list_init(&self->waiters);
    list_init(&self->tasks);
    self->result = NULL;
    self->errors = NULL;
    self->jobs = NULL;
    self->name = NULL;
    if (shape == JOIN_LIST) {
        self->result = PyList_New(total);
        if (self->result == NULL) {
            Py_DECREF(self);
            return NULL;
        }
        /* its items are filled in by several threads: it stays out of sight until it is complete */
        PyObject_GC_UnTrack(self->result);
    }
    if (total > 0) {
        Py_INCREF(self); /* its own reference; dropped when the last part ends */
    }
    else if (shape == JOIN_LIST) {
        PyObject_GC_Track(self->result);
    }
    PyObject_GC_Track(self);
    return self;
}

/* Drops a join (NULL for none) of which nothing was started. */
static void
join_abandon(Join *self)
{
    if (self != NULL) {
        /* relaxed: nobody else has it */
        if (atomic_exchange_explicit(&self->remaining, 0, memory_order_relaxed) > 0) {
            Py_DECREF(self); /* its own reference */
        }
        Py_DECREF(self);
    }
}

/* ---- ending ---------------------------------------------------------------------------------------------- */

/* A part has ended with `value` or `error` (stolen). `task` is NULL for a job. */
static void
join_part_done(Join *self, uint32_t index, Task *task, PyObject *value, PyObject *error)
{
    TaskChain chain = {NULL, NULL, 0};
    JoinError *entry = NULL;
    PyObject *unused = NULL;
    /* what ends the run leaves through it; a job's goes to who waits for the job */
    bool cancelled =
        error != NULL && (error_is_cancelled(error) || (task != NULL && error_ends_run(error)));
    bool last;
    ListNode *node;

    if (error != NULL && !cancelled) {
        entry = malloc(sizeof(JoinError));
        if (entry == NULL) {
            error_report(error, "because there is no memory to hand it to a join");
            cancelled = true;
        }
        else {
            *entry = (JoinError){NULL, error, index};
            error = NULL;
        }
    }
    mutex_lock(&self->mutex);
    if (task != NULL) {
        list_remove(&task->sibling);
    }
    if (value != NULL && self->shape == JOIN_LIST) {
        PyList_SET_ITEM(self->result, index, value);
    }
    else if (value != NULL && self->shape == JOIN_VALUE) {
        self->result = value;
    }
    else {
        unused = value;
    }
    self->cancelled = self->cancelled || cancelled;
    if (entry != NULL) {
        entry->next = self->errors;
        self->errors = entry;
    }
    /* release: pairs with the acquire in join_poll, which then reads the results without the mutex */
    last = atomic_fetch_sub_explicit(&self->remaining, 1, memory_order_release) == 1;
    if (last) {
        while ((node = list_pop_head(&self->waiters)) != NULL) {
            Task *waiter = LIST_ENTRY(node, Task, wait);
            if (task_claim(waiter, TASK_COMPLETED) == CLAIM_SCHEDULE) {
                task_chain_append(&chain, waiter);
            }
        }
    }
    mutex_unlock(&self->mutex);

    Py_XDECREF(unused);
    Py_XDECREF(error);
    if (!last) {
        return;
    }
    if (self->shape == JOIN_LIST && self->errors == NULL && !self->cancelled) {
        PyObject_GC_Track(self->result);
    }
    for (Task *waiter = chain.first; waiter != NULL;) {
        Task *next = waiter->run.next == NULL ? NULL : LIST_ENTRY(waiter->run.next, Task, run);
        scheduler_wake(waiter);
        waiter = next;
    }
    Py_DECREF(self);
}

static void
join_task_done(Completion *completion, Task *task, PyObject *value, PyObject *error)
{
    join_part_done(LIST_ENTRY(completion, Join, completion), task->index, task, value, error);
}

static void
join_job_done(void *owner, PyObject *value, PyObject *error)
{
    JoinJob *job = owner;
    join_part_done(job->join, job->index, NULL, value, error);
}

/* Asks all parts that still run to end. True if there were any. Attached, no lock held. */
static bool
join_cancel(Join *self)
{
    TaskChain chain = {NULL, NULL, 0};
    bool any;

    mutex_lock(&self->mutex);
    any = atomic_load_explicit(&self->remaining, memory_order_relaxed) > 0;
    for (ListNode *node = self->tasks.head.next; node != &self->tasks.head; node = node->next) {
        Task *task = LIST_ENTRY(node, Task, sibling);
        if (task_request_cancel(task, TASK_STOPPED)) {
            task_chain_append(&chain, task);
        }
    }
    mutex_unlock(&self->mutex);
    if (chain.count > 0) {
        scheduler_wake_chain(task_runtime(chain.first), &chain);
    }
    for (uint32_t i = 0; self->jobs != NULL && i < self->total; i++) {
        if (self->jobs[i].job != NULL) {
            blocking_job_cancel(self->jobs[i].job);
        }
    }
    return any;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

/* Raises what the parts have raised. */
static OperationResult
join_raise(Join *self)
{
    PyObject *list;
    PyObject *group = NULL;
    Py_ssize_t count = 0;
    Py_ssize_t place = 0;

    /* relaxed: a mark for the dealloc, which comes after everything */
    atomic_store_explicit(&self->retrieved, true, memory_order_relaxed);
    if (self->plain_error && self->errors != NULL) {
        PyErr_SetRaisedException(Py_NewRef(self->errors->error));
        return OPERATION_ERROR;
    }
    if (self->errors == NULL) {
        PyErr_Format(error_type(ERROR_TASK_CANCELLED),
                     self->total == 1 ? "the task was cancelled"
                                      : "some of the %u tasks were cancelled",
                     self->total);
        return OPERATION_ERROR;
    }
    for (JoinError *entry = self->errors; entry != NULL; entry = entry->next) {
        count++;
    }
    list = PyList_New(count);
    if (list == NULL) {
        return OPERATION_ERROR;
    }
    /* by index: the next one is the smallest of those above the last */
    for (int64_t last = -1; place < count; place++) {
        JoinError *next = NULL;
        for (JoinError *entry = self->errors; entry != NULL; entry = entry->next) {
            if ((int64_t)entry->index > last && (next == NULL || entry->index < next->index)) {
                next = entry;
            }
        }
        last = next->index;
        PyList_SET_ITEM(list, place, Py_NewRef(next->error));
    }
    PyObject *message = PyUnicode_FromFormat("%zd of %u %s failed", count, self->total,
                                             self->total == 1 ? "task" : "tasks");
    if (message != NULL) {
        group = PyObject_CallFunctionObjArgs(PyExc_BaseExceptionGroup, message, list, NULL);
        Py_DECREF(message);
    }
    Py_DECREF(list);
    if (group != NULL) {
        PyErr_SetRaisedException(group);
    }
    return OPERATION_ERROR;
}

static OperationResult
join_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    Join *self = (Join *)op;

    /* acquire: pairs with the release in join_part_done */
    if (atomic_load_explicit(&self->remaining, memory_order_acquire) != 0) {
        return OPERATION_PENDING;
    }
    if (self->errors != NULL || self->cancelled) {
        return join_raise(self);
    }
    *result = Py_NewRef(self->result != NULL ? self->result : Py_None);
    return OPERATION_READY;
}

static OperationResult
join_arm(Operation *op, Task *task, PyObject **Py_UNUSED(result))
{
    Join *self = (Join *)op;

    mutex_lock(&self->mutex);
    bool waits = atomic_load_explicit(&self->remaining, memory_order_relaxed) != 0;
    if (waits) {
        list_push_tail(&self->waiters, &task->wait);
    }
    mutex_unlock(&self->mutex);
    return waits ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
join_detach(Operation *op, Task *task)
{
    Join *self = (Join *)op;

    mutex_lock(&self->mutex);
    list_remove(&task->wait);
    mutex_unlock(&self->mutex);
}

static OperationResult
join_cancelled(Operation *op, Task *Py_UNUSED(task))
{
    Join *self = (Join *)op;

    if (!self->owned) {
        return OPERATION_READY;
    }
    join_cancel(self);
    return OPERATION_PENDING;
}

static const OperationClass join_class = {
    .name = "join",
    .poll = join_poll,
    .arm = join_arm,
    .detach = join_detach,
    .cancelled = join_cancelled,
};

/* ---- the type -------------------------------------------------------------------------------------------- */

static int
Join_traverse(PyObject *object, visitproc visit, void *arg)
{
    Join *self = (Join *)object;

    /* While parts run the join refers to itself and is no garbage, and its fields change. */
    Py_VISIT(self->result);
    for (JoinError *entry = self->errors; entry != NULL; entry = entry->next) {
        Py_VISIT(entry->error);
    }
    return 0;
}

static int
Join_clear(PyObject *object)
{
    Join *self = (Join *)object;
    JoinError *errors = self->errors;

    self->errors = NULL;
    Py_CLEAR(self->result);
    while (errors != NULL) {
        JoinError *next = errors->next;
        if (!atomic_load_explicit(&self->retrieved, memory_order_relaxed)) {
            error_report(errors->error, "in a task whose join was dropped without being awaited");
        }
        Py_DECREF(errors->error);
        free(errors);
        errors = next;
    }
    return 0;
}

static void
Join_dealloc(PyObject *object)
{
    Join *self = (Join *)object;

    PyObject_GC_UnTrack(object);
    Join_clear(object);
    for (uint32_t i = 0; self->jobs != NULL && i < self->total; i++) {
        if (self->jobs[i].job != NULL) {
            blocking_job_release(self->jobs[i].job);
        }
    }
    free(self->jobs);
    Py_XDECREF(self->name);
    PyObject_GC_Del(object);
}

static PyObject *
Join_cancel(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyBool_FromLong(join_cancel((Join *)self));
}

static PyObject *
Join_done(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyBool_FromLong(atomic_load_explicit(&((Join *)self)->remaining, memory_order_acquire) ==
                           0);
}

static PyObject *
Join_name(PyObject *object, void *Py_UNUSED(closure))
{
    Join *self = (Join *)object;
    return self->name != NULL ? Py_NewRef(self->name)
                              : PyUnicode_FromFormat("%u tasks", self->total);
}

static PyObject *
Join_repr(PyObject *object)
{
    Join *self = (Join *)object;
    uint32_t remaining = atomic_load_explicit(&self->remaining, memory_order_acquire);
    PyObject *name = Join_name(object, NULL);
    PyObject *repr = NULL;

    if (name == NULL) {
        return NULL;
    }
    if (remaining == 0) {
        repr = PyUnicode_FromFormat("<Join %U done>", name);
    }
    else {
        repr = PyUnicode_FromFormat("<Join %U, %u of %u running>", name, remaining, self->total);
    }
    Py_DECREF(name);
    return repr;
}

PyDoc_STRVAR(Join_cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Cancels everything of it that still runs: CancelledError is raised where it waits. "
             "Does not wait for the end; await the join for\n"
             "that, which raises TaskCancelled. True if something still ran. Any thread.");
PyDoc_STRVAR(Join_done_doc, "done($self, /)\n--\n\nHas everything ended? Any thread.");

static PyMethodDef Join_methods[] = {
    {"cancel", Join_cancel, METH_NOARGS, Join_cancel_doc},
    {"done", Join_done, METH_NOARGS, Join_done_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Join_getset[] = {
    {"name", Join_name, NULL, "The name of the coroutine or function, or how many there are.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(Join_doc, "The outcome of what spawn(), spawn_blocking() or map() has started: yield "
                       "or await it, as often as you like.\n\n"
                       "The result is what the starting function says. If tasks failed an "
                       "ExceptionGroup is raised after all have ended, if one was\n"
                       "cancelled TaskCancelled. Errors that nobody retrieves go to "
                       "sys.unraisablehook when the join is dropped.");

static PyTypeObject Join_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Join",
    .tp_doc = Join_doc,
    .tp_basicsize = sizeof(Join),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = Join_dealloc,
    .tp_traverse = Join_traverse,
    .tp_clear = Join_clear,
    .tp_repr = Join_repr,
    .tp_methods = Join_methods,
    .tp_getset = Join_getset,
};

/* ---- starting tasks -------------------------------------------------------------------------------------- */

/* Discards claimed runnables, and closes what has not been claimed if it is a coroutine that has not started. */
static void
runnables_discard(PyObject **claimed, Py_ssize_t count, PyObject *const *others,
                  Py_ssize_t other_count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *runnable = claimed[i];
        claimed[i] = NULL;
        runnable_discard(runnable);
    }
    for (Py_ssize_t i = 0; i < other_count; i++) {
        if (coroutine_check(others[i]) && coroutine_claim(others[i])) {
            runnable_discard(Py_NewRef(others[i]));
        }
    }
}

/* Starts a task for each of `count` coroutines (borrowed). New reference to the join, or NULL with nothing started; `detached`
 * makes no join and returns None. */
static PyObject *
spawn_all(const char *what, PyObject *const *coroutines, Py_ssize_t count, JoinShape shape,
          bool owned, bool detached)
{
    PyObject *few[8];
    PyObject **claimed = few;
    PyObject **allocated = NULL;
    Join *join = NULL;
    Runtime *runtime;
    PyObject *result = NULL;

    if (count > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s: too many coroutines", what);
        return NULL;
    }
    runtime = runtime_enter(what);
    if (runtime == NULL) {
        runnables_discard(NULL, 0, coroutines, count);
        return NULL;
    }
    if (!detached) {
        join = join_new((uint32_t)count, shape);
        if (join == NULL) {
            runnables_discard(NULL, 0, coroutines, count);
            goto end;
        }
        join->owned = owned;
    }
    if (join != NULL && shape == JOIN_LIST) {
        /* what will hold the results holds the coroutines until they have their tasks */
        claimed = ((PyListObject *)join->result)->ob_item;
    }
    else if (count > 8) {
        claimed = allocated = PyMem_New(PyObject *, (size_t)count);
        if (claimed == NULL) {
            PyErr_NoMemory();
            join_abandon(join);
            join = NULL;
            goto end;
        }
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        claimed[i] = runnable_claim(coroutines[i], what);
        if (claimed[i] == NULL) {
            PyObject *error = PyErr_GetRaisedException();
            runnables_discard(claimed, i, coroutines + i + 1, count - i - 1);
            join_abandon(join);
            join = NULL;
            PyErr_SetRaisedException(error);
            goto end;
        }
    }
    if (join != NULL && count == 1 && coroutine_check(claimed[0])) {
        join->name = Py_NewRef(coroutine_qualname(claimed[0]));
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *coroutine = claimed[i];
        claimed[i] = NULL;
        Task *task = runtime_new_task(runtime, coroutine, join != NULL ? &join->completion : NULL,
                                      (uint32_t)i);
        if (task == NULL) {
            PyObject *error = PyErr_GetRaisedException();
            runnables_discard(claimed + i + 1, count - i - 1, NULL, 0);
            if (join == NULL || i == 0) {
                join_abandon(join);
                join = NULL;
                PyErr_SetRaisedException(error);
                goto end;
            }
            /* some run already: the rest failed, and the join says so */
            for (Py_ssize_t k = i; k < count; k++) {
                join_part_done(join, (uint32_t)k, NULL, NULL, Py_NewRef(error));
            }
            Py_DECREF(error);
            break;
        }
        if (join != NULL) {
            mutex_lock(&join->mutex);
            list_push_tail(&join->tasks, &task->sibling);
            mutex_unlock(&join->mutex);
        }
        runtime_start_task(runtime, task);
    }
    result = join != NULL ? (PyObject *)join : Py_NewRef(Py_None);
    join = NULL;
end:
    runtime_leave(runtime);
    PyMem_Free(allocated);
    return result;
}

/* spawn is an object, so that its variants are its attributes. */
typedef struct SpawnObject {
    PyObject_HEAD vectorcallfunc vectorcall;
} SpawnObject;

static int
no_keywords(const char *what, PyObject *kwnames)
{
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0) {
        PyErr_Format(PyExc_TypeError, "%s takes no keyword arguments", what);
        return -1;
    }
    return 0;
}

static PyObject *
spawn_call(PyObject *Py_UNUSED(self), PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);

    if (no_keywords("spawn()", kwnames) < 0) {
        return NULL;
    }
    return spawn_all("spawn()", args, count, count == 1 ? JOIN_VALUE : JOIN_LIST, false, false);
}

static PyObject *
spawn_without_results(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs)
{
    return spawn_all("spawn.without_results()", args, nargs, JOIN_NOTHING, false, false);
}

static PyObject *
spawn_without_tracking(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs)
{
    return spawn_all("spawn.without_tracking()", args, nargs, JOIN_NOTHING, false, true);
}

PyDoc_STRVAR(without_results_doc,
             "without_results($self, *coros)\n--\n\n"
             "As spawn(), but awaiting it gives None. Failures are raised all the same.");
PyDoc_STRVAR(
    without_tracking_doc,
    "without_tracking($self, *coros)\n--\n\n"
    "Starts tasks that nobody waits for; returns None. Their errors go to sys.unraisablehook.");

static PyMethodDef spawn_methods[] = {
    {"without_results", (PyCFunction)(void (*)(void))spawn_without_results, METH_FASTCALL,
     without_results_doc},
    {"without_tracking", (PyCFunction)(void (*)(void))spawn_without_tracking, METH_FASTCALL,
     without_tracking_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    spawn_doc,
    "spawn(*coros)\n--\n\n"
    "Starts a task for each coroutine, generator or operation, now; returns a Join to yield or "
    "await.\n\n"
    "Its result is the list of their values in order, the value itself for a single one. If some "
    "fail, one ExceptionGroup with all\n"
    "failures is raised after all have ended. The tasks belong to the run: what is left when the "
    "main coroutine returns is\n"
    "cancelled. Any thread may spawn while one runtime runs.\n\n"
    "Raises TypeError for what cannot run, RuntimeError for a coroutine that was started before,\n"
    "RuntimeNotInitializedError without a runtime.\n\n"
    "    first, second = yield tonio.spawn(fetch(1), fetch(2))");

static PyTypeObject Spawn_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Spawn",
    .tp_doc = spawn_doc,
    .tp_basicsize = sizeof(SpawnObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(SpawnObject, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_methods = spawn_methods,
};

static SpawnObject spawn_object = {PyObject_HEAD_INIT(&Spawn_Type).vectorcall = spawn_call};

/* ---- starting jobs --------------------------------------------------------------------------------------- */

/* Queues a job for each args tuple (stolen) in `calls`. New reference to the join, or NULL. */
static PyObject *
submit_all(const char *what, PyObject *fn, PyObject *calls, PyObject *kwargs, JoinShape shape,
           bool owned, bool plain_error)
{
    Py_ssize_t count = PyList_GET_SIZE(calls);
    Runtime *runtime = runtime_enter(what);
    Join *join;

    if (runtime == NULL) {
        Py_DECREF(calls);
        return NULL;
    }
    join = join_new((uint32_t)count, shape);
    if (join == NULL) {
        goto end;
    }
    join->owned = owned;
    join->plain_error = plain_error;
    join->jobs = calloc((size_t)count + 1, sizeof(JoinJob));
    if (join->jobs == NULL) {
        PyErr_NoMemory();
        join_abandon(join);
        join = NULL;
        goto end;
    }
    if (count == 1 && PyFunction_Check(fn)) {
        join->name = Py_NewRef(((PyFunctionObject *)fn)->func_qualname);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        join->jobs[i].join = join;
        join->jobs[i].index = (uint32_t)i;
        join->jobs[i].job = blocking_submit(runtime, fn, PyList_GET_ITEM(calls, i), kwargs,
                                            join_job_done, &join->jobs[i]);
        if (join->jobs[i].job == NULL) {
            join_part_done(join, (uint32_t)i, NULL, NULL, PyErr_GetRaisedException());
        }
    }
end:
    runtime_leave(runtime);
    Py_DECREF(calls);
    return (PyObject *)join;
}

/* spawn_blocking and its variant: fn, then its arguments. */
static PyObject *
submit_one(const char *what, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, bool owned)
{
    PyObject *calls = NULL;
    PyObject *kwargs = NULL;
    PyObject *join = NULL;

    if (nargs == 0) {
        PyErr_Format(PyExc_TypeError, "%s needs the function to call", what);
        return NULL;
    }
    if (!PyCallable_Check(args[0])) {
        PyErr_Format(PyExc_TypeError, "%s: fn must be callable, not %.200s", what,
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    PyObject *tuple = PyTuple_New(nargs - 1);
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 1; i < nargs; i++) {
        PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
    }
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0) {
        kwargs = PyDict_New();
        for (Py_ssize_t i = 0; kwargs != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
            if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0) {
                Py_CLEAR(kwargs);
            }
        }
        if (kwargs == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
    }
    calls = PyList_New(1);
    if (calls != NULL) {
        PyList_SET_ITEM(calls, 0, tuple);
        join = submit_all(what, args[0], calls, kwargs, JOIN_VALUE, owned, true);
    }
    else {
        Py_DECREF(tuple);
    }
    Py_XDECREF(kwargs);
    return join;
}

static PyObject *
spawn_blocking_call(PyObject *Py_UNUSED(self), PyObject *const *args, size_t nargsf,
                    PyObject *kwnames)
{
    return submit_one("spawn_blocking()", args, PyVectorcall_NARGS(nargsf), kwnames, true);
}

static PyObject *
spawn_blocking_abandon(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    return submit_one("spawn_blocking.abandon()", args, nargs, kwnames, false);
}

PyDoc_STRVAR(
    abandon_doc,
    "abandon($self, fn, /, *args, **kwargs)\n--\n\n"
    "As spawn_blocking(), but a cancelled waiter leaves at once and lets the function go on.");

static PyMethodDef spawn_blocking_methods[] = {
    {"abandon", (PyCFunction)(void (*)(void))spawn_blocking_abandon, METH_FASTCALL | METH_KEYWORDS,
     abandon_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    spawn_blocking_doc,
    "spawn_blocking(fn, /, *args, **kwargs)\n--\n\n"
    "Calls fn(*args, **kwargs) on a thread of the blocking pool, now; returns a Join to yield or "
    "await.\n\n"
    "Awaiting it gives what fn returned or raises what it raised. The pool grows as needed up to "
    "`blocking_threadpool_size`; jobs\n"
    "beyond that queue. If the waiter is cancelled, a job that has not started is dropped, and one "
    "that runs is interrupted by\n"
    "CancelledError at its next bytecode and waited for. Any thread may call it while one runtime "
    "runs.\n\n"
    "Raises TypeError if fn cannot be called, RuntimeNotInitializedError without a runtime.\n\n"
    "    text = yield tonio.spawn_blocking(path.read_text)");

static PyTypeObject SpawnBlocking_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.SpawnBlocking",
    .tp_doc = spawn_blocking_doc,
    .tp_basicsize = sizeof(SpawnObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(SpawnObject, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_methods = spawn_blocking_methods,
};

static SpawnObject spawn_blocking_object = {PyObject_HEAD_INIT(&SpawnBlocking_Type).vectorcall =
                                                spawn_blocking_call};

/* ---- map ------------------------------------------------------------------------------------------------- */

static int
map_arguments(const char *what, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "%s takes a function and an iterable (%zd arguments given)",
                     what, nargs);
        return -1;
    }
    if (!PyCallable_Check(args[0])) {
        PyErr_Format(PyExc_TypeError, "%s: fn must be callable, not %.200s", what,
                     Py_TYPE(args[0])->tp_name);
        return -1;
    }
    return 0;
}

static PyObject *
map_tasks(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *elements;
    PyObject *coroutines;
    PyObject *join = NULL;
    Py_ssize_t count;
    Py_ssize_t made = 0;

    if (map_arguments("map()", args, nargs) < 0) {
        return NULL;
    }
    elements = PySequence_Tuple(args[1]);
    if (elements == NULL) {
        return NULL;
    }
    count = PyTuple_GET_SIZE(elements);
    coroutines = PyTuple_New(count);
    while (coroutines != NULL && made < count) {
        PyObject *coroutine = PyObject_CallOneArg(args[0], PyTuple_GET_ITEM(elements, made));
        if (coroutine == NULL) {
            break;
        }
        PyTuple_SET_ITEM(coroutines, made++, coroutine);
    }
    if (coroutines != NULL) {
        PyObject *const *items = ((PyTupleObject *)coroutines)->ob_item;
        if (made == count) {
            join = spawn_all("map()", items, count, JOIN_LIST, true, false);
        }
        else {
            PyObject *error = PyErr_GetRaisedException();
            runnables_discard(NULL, 0, items, made);
            PyErr_SetRaisedException(error);
        }
    }
    Py_XDECREF(coroutines);
    Py_DECREF(elements);
    return join;
}

static PyObject *
map_jobs(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *calls;

    if (map_arguments("map_blocking()", args, nargs) < 0) {
        return NULL;
    }
    calls = PySequence_List(args[1]);
    for (Py_ssize_t i = 0; calls != NULL && i < PyList_GET_SIZE(calls); i++) {
        PyObject *call = PyTuple_Pack(1, PyList_GET_ITEM(calls, i));
        if (call == NULL) {
            Py_CLEAR(calls);
            break;
        }
        PyList_SetItem(calls, i, call);
    }
    return calls == NULL
               ? NULL
               : submit_all("map_blocking()", args[0], calls, NULL, JOIN_LIST, true, false);
}

PyDoc_STRVAR(
    map_doc,
    "map(fn, xs, /)\n--\n\n"
    "Starts a task for fn(x) for each x of an iterable, now; returns a Join to yield or await.\n\n"
    "Its result is the list of their values in order. Failures are raised as one ExceptionGroup "
    "after all have ended. The waiter owns\n"
    "the tasks: if it is cancelled, they are cancelled and have ended.\n\n"
    "    pages = yield tonio.map(fetch, addresses)");
PyDoc_STRVAR(map_blocking_doc,
             "map_blocking(fn, xs, /)\n--\n\n"
             "Calls fn(x) on the blocking pool for each x of an iterable, now; returns a Join to "
             "yield or await.\n\n"
             "Its result is the list of what the calls returned, in order. Failures are raised as "
             "one ExceptionGroup after all have ended.\n"
             "If the waiter is cancelled the jobs are as those of spawn_blocking().\n\n"
             "    sizes = yield tonio.map_blocking(os.path.getsize, names)");

static PyMethodDef functions[] = {
    {"map", (PyCFunction)(void (*)(void))map_tasks, METH_FASTCALL, map_doc},
    {"map_blocking", (PyCFunction)(void (*)(void))map_jobs, METH_FASTCALL, map_blocking_doc},
    {NULL, NULL, 0, NULL},
};

int
join_module_init(PyObject *module)
{
    if (operation_type_ready(&Join_Type) < 0 || PyModule_AddType(module, &Join_Type) < 0 ||
        PyType_Ready(&Spawn_Type) < 0 || PyType_Ready(&SpawnBlocking_Type) < 0 ||
        PyModule_AddObjectRef(module, "spawn", (PyObject *)&spawn_object) < 0 ||
        PyModule_AddObjectRef(module, "spawn_blocking", (PyObject *)&spawn_blocking_object) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
