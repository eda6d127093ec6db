/* Select: waits for the first of several things, and ends the others.
 *
 * An operation that only waits (an event, a channel, a socket, a join ...) is a branch as it is: it is polled, and armed
 * through a proxy of the host in its queue. Whoever completes one claims the host's wait by that, so at most one is
 * completed, and nothing that is handed over gets lost. Everything else runs as a task of a scope that belongs to the
 * select, with its join as the branch.
 *
 * First the plain operations are polled, then the tasks are started, then the host parks. When a branch has won, the
 * tasks are cancelled and waited for. Everything here belongs to the host; others only see its proxies.
 */
#include <sched.h>

#include "core/clock.h"
#include "errors.h"
#include "runtime/driver.h"
#include "runtime/runtime.h"
#include "types/error_list.h"
#include "types/join.h"
#include "types/scope.h"
#include "types/types.h"

typedef struct Branch {
    PyObject *runnable; /* owned, claimed: what was given; NULL once it runs as a task */
    Operation *op;      /* owned: what is waited for; NULL for a task that was not started */
    Task *proxy;        /* owned; NULL until the first wait */
    bool polled;        /* it was not ready, and may hold on to something until it is detached */
    bool armed;         /* the proxy may be in a queue ... */
    bool timed;         /* ... and among the timers */
} Branch;

typedef enum SelectStep { SELECT_FRESH, SELECT_WAITS, SELECT_DRAINS } SelectStep;

typedef struct Select {
    Operation base;
    WaitGroup group;
    uint8_t step;        /* SelectStep */
    Scope *tasks;        /* owned: the scope of those that are tasks; NULL if there are none */
    CancelScope *target; /* borrowed: what of it is waited for */
    PyObject *value;     /* owned: of the winner */
    PyObject *error;     /* owned: of the winner */
    PyObject *errors;    /* owned: of tasks that lost */
    Py_ssize_t count;
    Branch branches[];
} Select;

static PyTypeObject Select_Type;

/* Is it an operation that only waits? */
static bool
is_plain(PyObject *runnable)
{
    if (!operation_check(runnable)) {
        return false;
    }
    const OperationClass *cls = ((Operation *)runnable)->cls;
    return cls->arm != NULL && cls->hosted_ended == NULL && cls->cancelled == NULL;
}

/* ---- ending ---------------------------------------------------------------------------------------------- */

/* All tasks have ended: what comes of it. */
static OperationResult
select_settle(Select *self, PyObject **result)
{
    PyObject *error = self->error;

    if (self->tasks != NULL) {
        scope_end(self->tasks, self->errors);
        Py_CLEAR(self->tasks);
    }
    Py_ssize_t count = error_list_count(self->errors);
    if (count > 0 && error != NULL && error_is_cancelled(error)) {
        error = NULL; /* the failures are graver, and the cancellation comes again */
    }
    if (count > 0 && (error != NULL || count > 1)) {
        if (error != NULL) {
            error_list_prepend(self->errors, error);
        }
        error_list_raise(self->errors);
        return OPERATION_ERROR;
    }
    if (count > 0) {
        error = error_list_first(self->errors);
    }
    if (error != NULL) {
        PyErr_SetRaisedException(Py_NewRef(error));
        return OPERATION_ERROR;
    }
    if (self->value == NULL) {
        error_set_cancelled(); /* it was cancelled before anything had ended */
        return OPERATION_ERROR;
    }
    *result = self->value;
    self->value = NULL;
    return OPERATION_READY;
}

static OperationResult
select_drain(Select *self, PyObject **result)
{
    if (self->tasks != NULL &&
        !cancel_scope_collect(&self->tasks->cancel, &self->target, self->errors)) {
        return OPERATION_PENDING;
    }
    return select_settle(self, result);
}

/* Nothing is waited for any more: the proxies, which are in no queue, go; the tasks, if there are any, are to end. */
static void
select_stop(Select *self, Task *task)
{
    self->step = SELECT_DRAINS;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        Task *proxy = branch->proxy;
        if (branch->polled && branch->op->cls->detach != NULL) {
            branch->polled = false;
            branch->op->cls->detach(branch->op, proxy != NULL ? proxy : task);
        }
        if (proxy != NULL) {
            branch->proxy = NULL;
            task_free(task_runtime(proxy), &current_worker->cache, proxy);
        }
        if (branch->runnable != NULL) {
            PyObject *unstarted = branch->runnable;
            branch->runnable = NULL;
            runnable_discard(unstarted);
        }
    }
    if (self->tasks != NULL) {
        self->target = &self->tasks->cancel;
        cancel_scope_cancel(&self->tasks->cancel, SCOPE_CANCELLED);
    }
}

/* A branch has ended, with *result or the current exception. PENDING: poll again. */
static OperationResult
select_won(Select *self, Task *task, OperationResult ended, PyObject **result)
{
    if (ended == OPERATION_READY) {
        self->value = *result;
        *result = NULL;
    }
    else {
        self->error = PyErr_GetRaisedException();
    }
    select_stop(self, task);
    return select_drain(self, result);
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

/* Starts what must run as tasks. -1 with an exception set. */
static int
select_start(Select *self, Task *task)
{
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        if (branch->op != NULL) {
            continue;
        }
        if (self->tasks == NULL) {
            self->errors = error_list_new();
            Scope *tasks =
                self->errors == NULL || hosting_collect_task(task) < 0 ? NULL : scope_new_group();
            if (tasks == NULL) {
                return -1;
            }
            self->tasks = tasks;
            self->target = &tasks->cancel;
            scope_attach(tasks, task);
        }
        PyObject *runnable = branch->runnable;
        branch->runnable = NULL;
        cancel_scope_reserve(&self->tasks->cancel, true);
        branch->op = (Operation *)scope_start(self->tasks, runnable);
        if (branch->op == NULL) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        branch->proxy = task_new_proxy(task_runtime(task), &current_worker->cache, &self->group);
        if (branch->proxy == NULL) {
            return -1;
        }
        branch->proxy->operation = (Operation *)Py_NewRef(branch->op);
    }
    return 0;
}

static OperationResult
select_poll(Operation *op, Task *task, PyObject **result)
{
    Select *self = (Select *)op;

    if (self->step == SELECT_DRAINS) {
        return select_drain(self, result);
    }
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        if (branch->op == NULL) {
            continue;
        }
        OperationResult polled = branch->op->cls->poll(branch->op, task, result);
        branch->polled = polled == OPERATION_PENDING;
        if (!branch->polled) {
            return select_won(self, task, polled, result);
        }
    }
    if (self->step == SELECT_FRESH) {
        self->step = SELECT_WAITS;
        self->group.host = task;
        if (select_start(self, task) < 0) {
            return select_won(self, task, OPERATION_ERROR, result);
        }
    }
    return OPERATION_PENDING;
}

/* Takes all proxies out of their queues; not `winner`, which was taken out and has got what it waited for. */
static void
select_disarm(Select *self, Task *task, Task *winner)
{
    /* relaxed: the queues' locks order it against those who find a proxy there */
    atomic_store_explicit(&self->group.gate, GROUP_CLOSED, memory_order_relaxed);
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        if (!branch->armed) {
            continue;
        }
        branch->armed = branch->polled = false;
        if (branch->timed) {
            branch->timed = false;
            driver_remove_task_timer(&task_runtime(task)->driver, &branch->proxy->timer);
        }
        if (branch->proxy != winner && branch->op->cls->detach != NULL) {
            branch->op->cls->detach(branch->op, branch->proxy);
        }
    }
}

static OperationResult
select_arm(Operation *op, Task *task, PyObject **result)
{
    Select *self = (Select *)op;
    uint32_t gate = GROUP_CLOSED;

    if (self->step == SELECT_DRAINS) {
        return cancel_scope_arm(self->target) ? OPERATION_PARKED : OPERATION_PENDING;
    }
    /* relaxed: no proxy is in a queue */
    atomic_store_explicit(&self->group.gate, GROUP_CLOSED, memory_order_relaxed);
    atomic_store_explicit(&self->group.winner, NULL, memory_order_relaxed);
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        OperationResult armed = branch->op->cls->arm(branch->op, branch->proxy, result);
        if (armed != OPERATION_PARKED) {
            select_disarm(self, task, NULL);
            return armed == OPERATION_PENDING ? OPERATION_PENDING
                                              : select_won(self, task, armed, result);
        }
        branch->armed = true;
        if (operation_set_deadline(branch->op)) {
            branch->timed = true;
            driver_add_task_timer(&task_runtime(task)->driver, &branch->proxy->timer,
                                  branch->op->deadline);
        }
    }
    /* release: the proxies are in order for whoever finds the gate open; pairs with proxy_claim */
    if (!atomic_compare_exchange_strong_explicit(&self->group.gate, &gate, GROUP_OPEN,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        select_disarm(self, task, NULL); /* something has happened meanwhile */
        return OPERATION_PENDING;
    }
    return OPERATION_PARKED;
}

/* The proxy for which the host's wait was claimed. */
static Task *
select_winner(Select *self)
{
    Task *winner;

    /* acquire: pairs with proxy_claim, which stores it right after the claim */
    while ((winner = atomic_load_explicit(&self->group.winner, memory_order_acquire)) == NULL) {
        sched_yield();
    }
    return winner;
}

/* Every wait ends with this. After it no proxy is in a queue, so nobody can claim the host's next wait for this one. */
static void
select_detach(Operation *op, Task *task)
{
    Select *self = (Select *)op;
    Task *winner = NULL;

    if (self->step == SELECT_DRAINS) {
        cancel_scope_disarm(self->target);
        return;
    }
    if (task_wait_reason(task) == TASK_COMPLETED) {
        winner = select_winner(self);
        if (self->group.winner_reason != TASK_COMPLETED) {
            winner = NULL;
        }
    }
    select_disarm(self, task, winner);
}

static OperationResult
select_finish(Operation *op, Task *task, PyObject **result)
{
    Select *self = (Select *)op;

    if (self->step == SELECT_DRAINS) {
        return select_drain(self, result);
    }
    Task *winner = select_winner(self);
    Operation *branch = winner->operation;
    const OperationClass *cls = branch->cls;
    OperationResult ended;
    if (self->group.winner_reason == TASK_COMPLETED) {
        ended = cls->finish != NULL ? cls->finish(branch, task, result)
                                    : cls->poll(branch, task, result);
    }
    else if (cls->timed_out != NULL) {
        ended = cls->timed_out(branch, task, result);
    }
    else {
        operation_set_timed_out(branch);
        ended = OPERATION_ERROR;
    }
    /* PENDING: a false alarm, all are polled again */
    return ended == OPERATION_PENDING ? OPERATION_PENDING : select_won(self, task, ended, result);
}

static OperationResult
select_cancelled(Operation *op, Task *task)
{
    Select *self = (Select *)op;

    if (self->step == SELECT_WAITS) {
        select_stop(self, task);
    }
    /* what has been won is kept: the cancellation comes at the next wait */
    return self->tasks != NULL || self->value != NULL || self->error != NULL ? OPERATION_PENDING
                                                                             : OPERATION_READY;
}

static PyObject *
select_describe(Operation *op)
{
    Select *self = (Select *)op;
    PyObject *text = PyUnicode_FromString("select() of ");

    for (Py_ssize_t i = 0; text != NULL && i < self->count; i++) {
        Operation *branch = self->branches[i].op;
        PyObject *what = branch == NULL ? PyUnicode_FromString("what did not start")
                         : branch->cls->describe != NULL ? branch->cls->describe(branch)
                                                         : PyUnicode_FromString(branch->cls->name);
        PyObject *longer =
            what == NULL ? NULL : PyUnicode_FromFormat("%U%s%U", text, i > 0 ? ", " : "", what);
        Py_XDECREF(what);
        Py_SETREF(text, longer);
    }
    return text;
}

static const OperationClass select_class = {
    .name = "select()",
    .describe = select_describe,
    .poll = select_poll,
    .arm = select_arm,
    .finish = select_finish,
    .detach = select_detach,
    .cancelled = select_cancelled,
    .settles = true,
    .grouped = true,
};

/* ---- the type -------------------------------------------------------------------------------------------- */

static void
Select_dealloc(PyObject *object)
{
    Select *self = (Select *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&self->base);
    for (Py_ssize_t i = 0; i < self->count; i++) {
        Branch *branch = &self->branches[i];
        Py_XDECREF(branch->op);
        if (branch->runnable != NULL) {
            runnable_discard(branch->runnable);
        }
    }
    Py_XDECREF(self->tasks);
    Py_XDECREF(self->value);
    Py_XDECREF(self->error);
    Py_XDECREF(self->errors);
    PyObject_GC_Del(object);
}

static int
Select_traverse(PyObject *object, visitproc visit, void *arg)
{
    Select *self = (Select *)object;

    for (Py_ssize_t i = 0; i < self->count; i++) {
        Py_VISIT(self->branches[i].runnable);
        Py_VISIT(self->branches[i].op);
    }
    Py_VISIT(self->value);
    Py_VISIT(self->error);
    Py_VISIT(self->errors);
    return 0;
}

static PyTypeObject Select_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Select",
    .tp_basicsize = sizeof(Select),
    .tp_itemsize = sizeof(Branch),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = Select_dealloc,
    .tp_traverse = Select_traverse,
};

static PyObject *
select_call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t i;

    if (nargs == 0) {
        PyErr_SetString(PyExc_ValueError, "select() needs at least one coroutine to wait for");
        return NULL;
    }
    Select *self = PyObject_GC_NewVar(Select, &Select_Type, nargs);
    if (self == NULL) {
        runnables_discard(NULL, 0, args, nargs);
        return NULL;
    }
    operation_init(&self->base, &select_class, OPERATION_NEW, -1.0);
    atomic_init(&self->group.gate, GROUP_CLOSED);
    atomic_init(&self->group.winner, NULL);
    self->group.host = NULL;
    self->step = SELECT_FRESH;
    self->tasks = NULL;
    self->target = NULL;
    self->value = self->error = self->errors = NULL;
    self->count = nargs;
    memset(self->branches, 0, (size_t)nargs * sizeof(Branch));
    for (i = 0; i < nargs; i++) {
        Branch *branch = &self->branches[i];
        branch->runnable = runnable_claim(args[i], "select()");
        if (branch->runnable == NULL) {
            break;
        }
        if (is_plain(branch->runnable)) {
            branch->op = (Operation *)branch->runnable;
            branch->runnable = NULL;
        }
    }
    PyObject_GC_Track(self);
    if (i < nargs) {
        PyObject *error = PyErr_GetRaisedException();
        runnables_discard(NULL, 0, args + i + 1, nargs - i - 1);
        operation_claim(&self->base); /* it is not going to be awaited */
        Py_DECREF(self);
        PyErr_SetRaisedException(error);
        return NULL;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(select_doc, "select(*coros)\n--\n\n"
                         "Waits for the first of several coroutines, generators or operations to "
                         "end: yield or await what this returns.\n\n"
                         "The result is its value, or its error is raised. The others are "
                         "cancelled and have ended by then: their values are "
                         "dropped, an\n"
                         "error in their clean-up is raised (an ExceptionGroup if there are "
                         "several). Operations are tried in order before any "
                         "coroutine\n"
                         "is started, and of those that wait exactly one is completed, so no "
                         "message or permit is lost to one that came second. If "
                         "the\n"
                         "waiter is cancelled all of them are.\n\n"
                         "Raises ValueError without arguments, TypeError for what cannot run, "
                         "RuntimeError for what was started before.\n\n"
                         "    message = yield tonio.select(receiver.receive(), other.receive())");

static PyMethodDef functions[] = {
    {"select", (PyCFunction)(void (*)(void))select_call, METH_FASTCALL, select_doc},
    {NULL, NULL, 0, NULL},
};

int
select_module_init(PyObject *module)
{
    return operation_type_ready(&Select_Type) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
