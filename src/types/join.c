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
#include "types/join.h"

#include <stdlib.h>

#include "errors.h"
#include "runtime/driver.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/error_list.h"
#include "types/scope.h"
#include "types/types.h"

static PyTypeObject Join_Type;
static const OperationClass join_class;

/* ---- making one ------------------------------------------------------------------------------------------ */

static void join_task_done(Completion *completion, Task *task, PyObject *value, PyObject *error);

Join *
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
    atomic_init(&self->jobs, NULL);
    self->name = NULL;
    self->scope = NULL;
    list_node_init(&self->member.link);
    self->member.task = NULL;
    self->next_ended = NULL;
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

void
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

/* ---- errors ---------------------------------------------------------------------------------------------- */

/* For when there is no memory: a failure is still a failure. Which of them are in use is in the bits of the word. */
#define RESERVED_ERRORS 64
static JoinError reserved_errors[RESERVED_ERRORS];
static _Atomic uint64_t reserved_used;

static JoinError *
join_error_reserved(void)
{
    /* relaxed: the compare-and-swap decides */
    uint64_t used = atomic_load_explicit(&reserved_used, memory_order_relaxed);
    int place;

    do {
        for (place = 0; place < RESERVED_ERRORS && (used >> place & 1); place++) {
        }
        if (place == RESERVED_ERRORS) {
            return NULL;
        }
        /* acquire: pairs with the release in join_error_free */
    } while (!atomic_compare_exchange_weak_explicit(&reserved_used, &used,
                                                    used | UINT64_C(1) << place,
                                                    memory_order_acquire, memory_order_relaxed));
    return &reserved_errors[place];
}

/* An entry for an error (stolen), or NULL: then it was reported. */
static JoinError *
join_error_new(PyObject *error, uint32_t index)
{
    JoinError *entry = malloc(sizeof(JoinError));

    if (entry == NULL) {
        entry = join_error_reserved();
    }
    if (entry == NULL) {
        error_report(error, "because there is no memory to hand it to a join");
        Py_DECREF(error);
        return NULL;
    }
    *entry = (JoinError){NULL, error, index};
    return entry;
}

static void
join_error_free(JoinError *entry)
{
    Py_DECREF(entry->error);
    if (entry >= reserved_errors && entry < reserved_errors + RESERVED_ERRORS) {
        /* release: whoever takes it next writes after this thread has read */
        atomic_fetch_and_explicit(&reserved_used, ~(UINT64_C(1) << (entry - reserved_errors)),
                                  memory_order_release);
    }
    else {
        free(entry);
    }
}

/* ---- ending ---------------------------------------------------------------------------------------------- */

void
join_part_done(Join *self, uint32_t index, Task *task, PyObject *value, PyObject *error)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    JoinError *entry = NULL;
    PyObject *unused = NULL;
    /* what ends the run leaves through it; a job's goes to who waits for the job */
    bool cancelled =
        error != NULL && (error_is_cancelled(error) || (task != NULL && error_ends_run(error)));
    bool last;
    ListNode *node;

    bool failed = error != NULL && !cancelled;
    if (failed) {
        entry = join_error_new(error, index);
        cancelled = entry == NULL;
        error = NULL;
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
            task_claim(LIST_ENTRY(node, Task, wait), TASK_COMPLETED, &chain);
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
    scheduler_wake_chain(&chain);
    if (self->scope != NULL && task != NULL) {
        scope_member_done(self->scope, self, failed, cancelled);
    }
    Py_DECREF(self);
}

static void
join_task_done(Completion *completion, Task *task, PyObject *value, PyObject *error)
{
    join_part_done(LIST_ENTRY(completion, Join, completion), task->index, task, value, error);
}

void
join_job_done(void *owner, PyObject *value, PyObject *error)
{
    JoinJob *job = owner;
    join_part_done(job->join, job->index, NULL, value, error);
}

/* Most joins have none. relaxed: who goes on to them takes the mutex, and looks again */
static bool
join_has_jobs(Join *self)
{
    return atomic_load_explicit(&self->jobs, memory_order_relaxed) != NULL;
}

/* New reference to the job of a part, or NULL if it has none or has let go of it. */
static BlockingJob *
join_job(Join *self, uint32_t index)
{
    BlockingJob *job = NULL;

    mutex_lock(&self->mutex);
    JoinJob *jobs = atomic_load_explicit(&self->jobs, memory_order_relaxed);
    if (jobs != NULL && jobs[index].job != NULL) {
        job = jobs[index].job;
        blocking_job_retain(job);
    }
    mutex_unlock(&self->mutex);
    return job;
}

/* Asks all parts that still run to end. True if there were any. Attached, no lock held. */
static bool
join_cancel(Join *self)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    bool any;

    mutex_lock(&self->mutex);
    any = atomic_load_explicit(&self->remaining, memory_order_relaxed) > 0;
    for (ListNode *node = self->tasks.head.next; node != &self->tasks.head; node = node->next) {
        task_request_cancel(LIST_ENTRY(node, Task, sibling), TASK_STOPPED, &chain);
    }
    mutex_unlock(&self->mutex);
    scheduler_wake_chain(&chain);
    for (uint32_t i = 0; any && join_has_jobs(self) && i < self->total; i++) {
        BlockingJob *job = join_job(self, i);
        if (job != NULL) {
            blocking_job_cancel(job);
            blocking_job_release(job);
        }
    }
    return any;
}

/* Everything has ended: drops its jobs, and with them what they were given. */
static void
join_release_jobs(Join *self)
{
    if (!join_has_jobs(self)) {
        return;
    }
    mutex_lock(&self->mutex);
    JoinJob *jobs = atomic_exchange_explicit(&self->jobs, NULL, memory_order_relaxed);
    mutex_unlock(&self->mutex);
    for (uint32_t i = 0; jobs != NULL && i < self->total; i++) {
        if (jobs[i].job != NULL) {
            blocking_job_release(jobs[i].job);
        }
    }
    free(jobs);
}

void
join_take_errors(Join *self, PyObject *errors)
{
    /* relaxed: its parts have ended, and whoever else is told of the errors is told of all */
    if (atomic_exchange_explicit(&self->retrieved, true, memory_order_relaxed)) {
        return;
    }
    for (JoinError *entry = self->errors; entry != NULL; entry = entry->next) {
        if (errors != NULL) {
            error_list_append(errors, entry->error);
        }
        else {
            error_report(entry->error, "because there is no memory to collect it");
        }
    }
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

/* Its errors are about to be raised. relaxed: a mark for the dealloc, which comes after everything */
static void
join_mark_retrieved(Join *self)
{
    atomic_store_explicit(&self->retrieved, true, memory_order_relaxed);
}

/* Raises what the parts have raised. */
static OperationResult
join_raise(Join *self, Task *task)
{
    PyObject *list;
    PyObject *group = NULL;
    Py_ssize_t count = 0;
    Py_ssize_t place = 0;

    if (self->plain_error && self->errors != NULL) {
        join_mark_retrieved(self);
        PyErr_SetRaisedException(Py_NewRef(self->errors->error));
        return OPERATION_ERROR;
    }
    if (self->errors == NULL && task_is_cancelled(task)) {
        /* most likely by the same cancellation: then that is what happens to the waiter */
        error_set_cancelled();
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
        join_mark_retrieved(self); /* without it they are reported when the join goes */
        PyErr_SetRaisedException(group);
    }
    return OPERATION_ERROR;
}

static OperationResult
join_poll(Operation *op, Task *task, PyObject **result)
{
    Join *self = (Join *)op;

    /* acquire: pairs with the release in join_part_done */
    if (atomic_load_explicit(&self->remaining, memory_order_acquire) != 0) {
        return OPERATION_PENDING;
    }
    join_release_jobs(self);
    if (self->errors != NULL || self->cancelled) {
        return join_raise(self, task);
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

    return self->owned && join_cancel(self) ? OPERATION_PENDING : OPERATION_READY;
}

static PyObject *
join_describe(Operation *op)
{
    return PyObject_Repr((PyObject *)op);
}

static const OperationClass join_class = {
    .name = "join",
    .describe = join_describe,
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
    JoinJob *jobs = atomic_load_explicit(&self->jobs, memory_order_relaxed);
    for (uint32_t i = 0; jobs != NULL && i < self->total; i++) {
        int stop = jobs[i].job != NULL ? blocking_job_traverse(jobs[i].job, visit, arg) : 0;
        if (stop != 0) {
            return stop;
        }
    }
    return 0;
}

/* Before anything of it is taken apart, also by the collector: errors that nobody was told of are reported. */
static void
Join_finalize(PyObject *object)
{
    Join *self = (Join *)object;

    /* relaxed: nobody waits for it any more */
    if (atomic_exchange_explicit(&self->retrieved, true, memory_order_relaxed)) {
        return;
    }
    for (JoinError *entry = self->errors; entry != NULL; entry = entry->next) {
        error_report(entry->error, "in a task whose join was dropped without being awaited");
    }
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
        join_error_free(errors);
        errors = next;
    }
    join_release_jobs(self);
    return 0;
}

static void
Join_dealloc(PyObject *object)
{
    Join *self = (Join *)object;

    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return; /* a hook has kept it */
    }
    PyObject_GC_UnTrack(object);
    Join_clear(object);
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
    .tp_finalize = Join_finalize,
    .tp_repr = Join_repr,
    .tp_methods = Join_methods,
    .tp_getset = Join_getset,
};

int
join_module_init(PyObject *module)
{
    return operation_type_ready(&Join_Type) < 0 ? -1 : PyModule_AddType(module, &Join_Type);
}
