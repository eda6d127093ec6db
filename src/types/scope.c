/* Scope: the Python object around a cancel scope - its block, what is spawned in it, and the wait for its end.
 *
 * A scope is entered by its host, closed when the host leaves the block, and ended when everything in it has ended and the
 * host has been told of the errors: at the end of `async with`, by `yield scope()`, or, if the host did neither, when what is
 * around it ends (another scope, a time limit, the task). From entering to ending it holds a reference to itself.
 *
 * Members report through their joins, from any worker: scope_member_done(). All else is done by the host, or guarded by the
 * mutex of the cancel scope. Invariant: a join is in the list of ended ones only while the scope owns a reference to it.
 */
#include "types/scope.h"

#include <math.h>

#include "core/clock.h"
#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/join.h"
#include "types/types.h"

static PyTypeObject Scope_Type;

/* Was it cancelled for a reason of its own? */
static bool
scope_was_cancelled(Scope *self)
{
    /* relaxed: who was ended by it has acquired the request, for others it is just a flag */
    uint8_t cancelled = atomic_load_explicit(&self->cancel.cancelled, memory_order_relaxed);

    return cancelled == SCOPE_CANCELLED || cancelled == SCOPE_EXPIRED;
}

/* ---- members --------------------------------------------------------------------------------------------- */

void
scope_member_done(Scope *self, Join *join, bool failed, bool cancelled)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    bool keeps = failed || self->keeps_all;

    if (cancelled && scope_was_cancelled(self)) {
        /* relaxed: the mutex below publishes it to the host */
        atomic_store_explicit(&self->took_effect, true, memory_order_relaxed);
    }
    if (failed && !self->independent) {
        cancel_scope_cancel(&self->cancel, SCOPE_CANCELLED);
    }
    if (keeps) {
        Py_INCREF(join);
    }
    mutex_lock(&self->cancel.mutex);
    if (keeps) {
        if (self->last_ended != NULL) {
            self->last_ended->next_ended = join;
        }
        else {
            self->first_ended = join;
        }
        self->last_ended = join;
        ListNode *node = list_pop_head(&self->waiters);
        while (node != NULL && !task_claim(LIST_ENTRY(node, Task, wait), TASK_COMPLETED, &chain)) {
            node = list_pop_head(&self->waiters);
        }
    }
    cancel_scope_remove_member(&self->cancel, &join->member, &chain);
    mutex_unlock(&self->cancel.mutex);
    scheduler_wake_chain(&chain);
}

Join *
scope_take_ended(Scope *self)
{
    mutex_lock(&self->cancel.mutex);
    Join *join = self->first_ended;
    if (join != NULL) {
        self->first_ended = join->next_ended;
        if (self->first_ended == NULL) {
            self->last_ended = NULL;
        }
        join->next_ended = NULL;
    }
    mutex_unlock(&self->cancel.mutex);
    return join;
}

void
scope_end(Scope *self, PyObject *errors)
{
    Join *join;

    while ((join = scope_take_ended(self)) != NULL) {
        join_take_errors(join, errors);
        Py_DECREF(join);
    }
    cancel_scope_end(&self->cancel);
    Py_DECREF(self); /* its own reference */
}

static void
scope_collect(CancelScope *cancel, PyObject *errors)
{
    scope_end(LIST_ENTRY(cancel, Scope, cancel), errors);
}

static Scope *
scope_new(void)
{
    Scope *self = PyObject_GC_New(Scope, &Scope_Type);

    if (self == NULL) {
        return NULL;
    }
    cancel_scope_init(&self->cancel);
    self->cancel.collect = scope_collect;
    self->fails = self->independent = self->keeps_all = self->forced = self->told = false;
    atomic_init(&self->took_effect, false);
    atomic_init(&self->timeout, -1.0);
    atomic_init(&self->deadline, TIMER_NEVER);
    self->first_ended = self->last_ended = NULL;
    list_init(&self->waiters);
    PyObject_GC_Track(self);
    return self;
}

Scope *
scope_new_group(void)
{
    Scope *self = scope_new();

    if (self != NULL) {
        self->independent = true;
        self->cancel.cancelled_when_left = true;
    }
    return self;
}

void
scope_attach(Scope *self, Task *task)
{
    Py_INCREF(self); /* its own reference */
    cancel_scope_attach(&self->cancel, task);
}

/* ---- entering and leaving -------------------------------------------------------------------------------- */

int
scope_enter(Scope *self, Task *task)
{
    uint64_t deadline;

    mutex_lock(&self->cancel.mutex);
    bool fresh = self->cancel.host == NULL;
    if (fresh) {
        self->cancel.host = task; /* nobody else enters it from here */
    }
    mutex_unlock(&self->cancel.mutex);
    if (!fresh) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the scope was entered before: make a new one with scope()");
        return -1;
    }
    if (hosting_collect_task(task) < 0) {
        self->cancel.host = NULL;
        return -1;
    }
    /* relaxed: who sets the deadline at the same moment must not expect an order */
    double timeout = atomic_load_explicit(&self->timeout, memory_order_relaxed);
    if (timeout >= 0) {
        uint64_t now = clock_now_us();
        double us = ceil(timeout * 1e6);
        atomic_store_explicit(&self->deadline, us >= 9e18 ? TIMER_NEVER : now + (uint64_t)us,
                              memory_order_relaxed); /* relaxed: entering publishes it */
    }
    deadline = atomic_load_explicit(&self->deadline, memory_order_relaxed);
    Py_INCREF(self); /* its own reference */
    if (deadline != TIMER_NEVER && deadline <= clock_now_us()) {
        cancel_scope_enter(&self->cancel, task, TIMER_NEVER, true);
        cancel_scope_cancel_own(&self->cancel);
    }
    else {
        cancel_scope_enter(&self->cancel, task, deadline, true);
    }
    return 0;
}

/* Closes a scope that its block has not left. */
static void
scope_force(Scope *self, Task *task)
{
    self->forced = true;
    cancel_scope_close(&self->cancel, task);
    cancel_scope_cancel(&self->cancel, SCOPE_CANCELLED);
}

void
scope_close_inner(CancelScope *scope, Task *task)
{
    while (task->scope != scope) {
        /* a time limit lies on the task's stack and is left in order */
        scope_force(LIST_ENTRY(task->scope, Scope, cancel), task);
    }
}

int
scope_leave(Scope *self, Task *task, PyObject *error)
{
    CancelScope *inner = task->scope;

    if (scope_state(self) == SCOPE_NEW || self->cancel.host != task) {
        PyErr_SetString(PyExc_RuntimeError,
                        scope_state(self) == SCOPE_NEW
                            ? "the scope was not entered"
                            : "a scope is left by the task that entered it, not by another one");
        return -1;
    }
    if (self->forced) {
        return 0;
    }
    if (scope_state(self) != SCOPE_OPEN) {
        PyErr_SetString(PyExc_RuntimeError, "the scope was left before");
        return -1;
    }
    while (inner != &self->cancel && inner->collect != NULL) {
        inner = inner->parent;
    }
    if (inner != &self->cancel) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a scope that was entered outside of timeout() cannot be left inside");
        return -1;
    }
    if (task->scope != &self->cancel) {
        scope_close_inner(&self->cancel, task);
        scope_force(self, task);
        PyErr_SetString(PyExc_RuntimeError, "scopes must be left in the reverse order of entering: "
                                            "those inside are still open and are cancelled now");
        return -1;
    }
    cancel_scope_close(&self->cancel, task);
    if (scope_was_cancelled(self) && !task_is_cancelled(task)) {
        task->swallowed = 0; /* what it caught is over */
    }
    if (error != NULL) {
        bool passes_on = error_is_cancelled(error);
        cancel_scope_cancel(&self->cancel, passes_on ? SCOPE_DESERTED : SCOPE_CANCELLED);
    }
    return 0;
}

bool
scope_absorbs(Scope *self, Task *task, PyObject *error)
{
    /* relaxed: the exception came after it */
    if (error == NULL || !scope_was_cancelled(self) ||
        !PyErr_GivenExceptionMatches(error, error_type(ERROR_CANCELLED))) {
        return false;
    }
    /* one from further out goes on, if it could be what came in here */
    if (!cancel_scope_holds_off(&self->cancel) && task_is_cancelled(task)) {
        return false;
    }
    atomic_store_explicit(&self->took_effect, true, memory_order_relaxed);
    return true;
}

bool
scope_times_out(Scope *self)
{
    if (!self->fails || self->told ||
        atomic_load_explicit(&self->cancel.cancelled, memory_order_relaxed) != SCOPE_EXPIRED ||
        !atomic_load_explicit(&self->took_effect, memory_order_relaxed)) {
        return false;
    }
    self->told = true;
    PyErr_SetString(PyExc_TimeoutError, "what fail_after() limits took longer than that");
    return true;
}

/* ---- spawning -------------------------------------------------------------------------------------------- */

Join *
scope_start(Scope *self, PyObject *runnable)
{
    Join *join = join_new(1, JOIN_VALUE);

    if (join == NULL) {
        runnable_discard(runnable);
        cancel_scope_unreserve(&self->cancel);
        return NULL;
    }
    if (coroutine_check(runnable)) {
        join->name = Py_NewRef(coroutine_qualname(runnable));
    }
    join->plain_error = self->independent;
    Runtime *runtime = task_runtime(self->cancel.host);
    Task *task = runtime_new_task(runtime, runnable, &join->completion, 0);
    if (task == NULL) {
        join_abandon(join);
        cancel_scope_unreserve(&self->cancel);
        return NULL;
    }
    join->scope = self;
    list_push_tail(&join->tasks, &task->sibling); /* nobody else has the join yet */
    cancel_scope_add_member(&self->cancel, &join->member, task);
    runtime_start_task(runtime, task);
    return join;
}

/* The join of something that is not going to run. */
static PyObject *
join_new_cancelled(PyObject *runnable)
{
    Join *join = join_new(1, JOIN_VALUE);

    if (join != NULL) {
        if (coroutine_check(runnable)) {
            join->name = Py_NewRef(coroutine_qualname(runnable));
        }
        error_set_cancelled();
        join_part_done(join, 0, NULL, NULL, PyErr_GetRaisedException());
    }
    runnable_discard(runnable);
    return (PyObject *)join;
}

static PyObject *
Scope_spawn(PyObject *object, PyObject *coroutine)
{
    Scope *self = (Scope *)object;
    Worker *worker = current_worker;
    PyObject *runnable = runnable_claim(coroutine, "scope.spawn()");

    if (runnable == NULL) {
        return NULL;
    }
    if (scope_state(self) == SCOPE_NEW) {
        runnable_discard(runnable);
        PyErr_SetString(PyExc_RuntimeError,
                        "the scope was not entered: spawn inside of `with scope() as scope:`");
        return NULL;
    }
    bool inside = cancel_scope_is_around(&self->cancel, worker != NULL ? worker->task : NULL);
    Runtime *runtime = cancel_scope_visit(&self->cancel);
    bool reserved = runtime != NULL && cancel_scope_reserve(&self->cancel, inside);
    PyObject *join;
    if (reserved) {
        join = (PyObject *)scope_start(self, runnable);
    }
    else if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                              "the scope's block has ended: %R is closed and does not run",
                              coroutine) < 0) {
        runnable_discard(runnable);
        join = NULL;
    }
    else {
        join = join_new_cancelled(runnable);
    }
    if (runtime != NULL) {
        runtime_leave(runtime);
    }
    return join;
}

/* ---- the type -------------------------------------------------------------------------------------------- */

static int
Scope_traverse(PyObject *object, visitproc visit, void *arg)
{
    Scope *self = (Scope *)object;

    for (Join *join = self->first_ended; join != NULL; join = join->next_ended) {
        Py_VISIT(join);
    }
    return 0;
}

static void
Scope_dealloc(PyObject *object)
{
    Scope *self = (Scope *)object;
    Join *join;

    PyObject_GC_UnTrack(object);
    while ((join = scope_take_ended(self)) != NULL) {
        Py_DECREF(join);
    }
    PyObject_GC_Del(object);
}

static PyObject *
Scope_aenter(PyObject *self, PyObject *Py_UNUSED(args))
{
    return scope_wait_new(self, SCOPE_ENTERS, NULL);
}

static PyObject *
Scope_aexit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    Scope *self = (Scope *)object;
    PyObject *wait = scope_wait_new(object, SCOPE_EXITS, nargs > 1 ? args[1] : NULL);
    Worker *worker = current_worker;

    if (wait == NULL && worker != NULL && worker->task != NULL) {
        /* The block is left all the same, by this exception; what is around the scope collects it. */
        PyObject *error = PyErr_GetRaisedException();
        if (scope_leave(self, worker->task, error) < 0) {
            PyErr_Clear();
        }
        PyErr_SetRaisedException(error);
    }
    return wait;
}

static PyObject *
Scope_enter(PyObject *self, PyObject *Py_UNUSED(args))
{
    Task *task = runtime_current_task("scope()");

    return task == NULL || scope_enter((Scope *)self, task) < 0 ? NULL : Py_NewRef(self);
}

static PyObject *
Scope_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    Scope *self = (Scope *)object;
    Task *task = runtime_current_task("scope()");
    PyObject *error = nargs > 1 && args[1] != Py_None ? args[1] : NULL;

    if (task == NULL || scope_leave(self, task, error) < 0) {
        return NULL;
    }
    bool absorbed = scope_absorbs(self, task, error);
    mutex_lock(&self->cancel.mutex);
    bool empty = self->cancel.running == 0 && self->first_ended == NULL &&
                 list_is_empty(&self->cancel.nested) && scope_state(self) == SCOPE_CLOSED;
    mutex_unlock(&self->cancel.mutex);
    if (absorbed && scope_times_out(self)) {
        absorbed = false;
        error = NULL;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (empty) {
        scope_end(self, NULL); /* nothing to wait for, and no errors */
    }
    PyErr_SetRaisedException(raised);
    return raised != NULL ? NULL : PyBool_FromLong(absorbed);
}

static PyObject *
Scope_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "scope() of a scope takes no arguments");
        return NULL;
    }
    return scope_wait_new(self, SCOPE_IS_AWAITED, NULL);
}

static PyObject *
Scope_cancel(PyObject *object, PyObject *Py_UNUSED(args))
{
    Scope *self = (Scope *)object;

    if (scope_state(self) == SCOPE_ENDED || !cancel_scope_mark(&self->cancel, SCOPE_CANCELLED)) {
        Py_RETURN_FALSE;
    }
    /* one that is not entered yet is cancelled when it is */
    Runtime *runtime = cancel_scope_visit(&self->cancel);
    if (runtime != NULL) {
        cancel_scope_spread(&self->cancel);
        runtime_leave(runtime);
    }
    Py_RETURN_TRUE;
}

static PyObject *
Scope_get_cancel_called(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(scope_was_cancelled((Scope *)self));
}

static PyObject *
Scope_get_cancelled(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(
        atomic_load_explicit(&((Scope *)self)->took_effect, memory_order_relaxed));
}

static PyObject *
Scope_get_shield(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(
        atomic_load_explicit(&((Scope *)self)->cancel.shield, memory_order_relaxed));
}

static int
shield_from_object(PyObject *value, uint8_t *shield)
{
    if (value == NULL || !PyBool_Check(value)) {
        PyErr_Format(PyExc_TypeError, "shield must be a bool, not %.200s",
                     value == NULL ? "nothing" : Py_TYPE(value)->tp_name);
        return -1;
    }
    *shield = value == Py_True;
    return 0;
}

static int
Scope_set_shield(PyObject *object, PyObject *value, void *Py_UNUSED(closure))
{
    Scope *self = (Scope *)object;
    uint8_t shield;

    if (shield_from_object(value, &shield) < 0) {
        return -1;
    }
    /* relaxed: those who are held off or not any more are told below */
    atomic_store_explicit(&self->cancel.shield, shield, memory_order_relaxed);
    Runtime *runtime = cancel_scope_visit(&self->cancel);
    if (runtime != NULL) {
        cancel_scope_spread(&self->cancel); /* each looks up what is in force now */
        runtime_leave(runtime);
    }
    return 0;
}

static PyObject *
Scope_get_deadline(PyObject *self, void *Py_UNUSED(closure))
{
    /* relaxed: a number that nothing else hangs on */
    uint64_t deadline = atomic_load_explicit(&((Scope *)self)->deadline, memory_order_relaxed);

    return PyFloat_FromDouble(deadline == TIMER_NEVER ? Py_HUGE_VAL : (double)deadline / 1e6);
}

/* A point in time, as tonio.time.time() counts, in microseconds. -1 with an exception set. */
static int
deadline_from_object(PyObject *value, uint64_t *deadline)
{
    double seconds = value == Py_None ? Py_HUGE_VAL : PyFloat_AsDouble(value);

    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "deadline must be a number of seconds, as time() gives it, not %.200s",
                         Py_TYPE(value)->tp_name);
        }
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "deadline must be a number of seconds that is not NaN");
        return -1;
    }
    *deadline = seconds <= 0 ? 0 : seconds >= 9e12 ? TIMER_NEVER : (uint64_t)ceil(seconds * 1e6);
    return 0;
}

static int
Scope_set_deadline(PyObject *object, PyObject *value, void *Py_UNUSED(closure))
{
    Scope *self = (Scope *)object;
    uint64_t deadline;

    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "deadline cannot be deleted: set it to infinity");
        return -1;
    }
    if (deadline_from_object(value, &deadline) < 0) {
        return -1;
    }
    /* relaxed: see scope_enter and the getter */
    atomic_store_explicit(&self->timeout, -1.0, memory_order_relaxed);
    atomic_store_explicit(&self->deadline, deadline, memory_order_relaxed);
    Runtime *runtime = cancel_scope_visit(&self->cancel);
    if (runtime != NULL) {
        bool over = deadline <= clock_now_us();
        cancel_scope_set_deadline(&self->cancel, over ? TIMER_NEVER : deadline);
        if (over) {
            cancel_scope_cancel(&self->cancel, SCOPE_EXPIRED);
        }
        runtime_leave(runtime);
    }
    return 0;
}

static PyObject *
Scope_repr(PyObject *object)
{
    static const char *const states[] = {"new", "open", "closed", "ended"};
    Scope *self = (Scope *)object;
    uint8_t cancelled = atomic_load_explicit(&self->cancel.cancelled, memory_order_relaxed);

    mutex_lock(&self->cancel.mutex);
    unsigned running = self->cancel.running;
    mutex_unlock(&self->cancel.mutex);
    return PyUnicode_FromFormat(
        "<Scope %s, %u running%s%s at %p>", states[scope_state(self)], running,
        cancelled ? ", cancelled" : "",
        atomic_load_explicit(&self->cancel.shield, memory_order_relaxed) ? ", shielded" : "",
        object);
}

PyDoc_STRVAR(
    spawn_doc,
    "spawn($self, coro, /)\n--\n\n"
    "Starts a task in the scope, now; returns its Join, which can be awaited on its own.\n\n"
    "The scope does not end before the task has. If it fails, the others and the block are "
    "cancelled and the scope "
    "raises an\n"
    "ExceptionGroup, unless somebody awaited the join and so got the error. Any thread may spawn "
    "while the block is "
    "open; after\n"
    "that only what runs in the scope may: for others the coroutine is closed, with a "
    "RuntimeWarning, and the join is "
    "cancelled.\n\n"
    "Raises TypeError for what cannot run, RuntimeError for a coroutine that was started before or "
    "a scope that was "
    "not entered.\n\n"
    "    join = scope.spawn(fetch(name))");
PyDoc_STRVAR(cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Cancels the block and everything in it: CancelledError is raised where they wait, "
             "and again at each further "
             "wait. True if\n"
             "it was not cancelled before and has not ended. Does not wait. Any thread.");

static PyMethodDef Scope_methods[] = {
    {"spawn", Scope_spawn, METH_O, spawn_doc},
    {"cancel", Scope_cancel, METH_NOARGS, cancel_doc},
    {"__enter__", Scope_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))Scope_exit, METH_FASTCALL, NULL},
    {"__aenter__", Scope_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))Scope_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Scope_getset[] = {
    {"cancel_called", Scope_get_cancel_called, NULL,
     "Was it cancelled: by cancel(), by its deadline, or because something in it failed?", NULL},
    {"cancelled", Scope_get_cancelled, NULL,
     "Did its cancellation take effect: was the block, or a task in it, ended by it?", NULL},
    {"deadline", Scope_get_deadline, Scope_set_deadline,
     "When it cancels itself, in seconds of tonio.time.time(); infinity for never. May be set by "
     "any "
     "thread; a time that has\n"
     "passed cancels at once.",
     NULL},
    {"shield", Scope_get_shield, Scope_set_shield,
     "Are cancellations from further out held off? May be set by any thread.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    Scope_doc,
    "A block whose tasks end before it does, and that can be cancelled; made by tonio.scope().\n\n"
    "`async with scope() as s:` waits at its end. After `with scope() as s:` yield (or await) s() "
    "for that; what was not "
    "waited for is\n"
    "collected when the scope, time limit or task around it ends.");

static PyTypeObject Scope_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Scope",
    .tp_doc = Scope_doc,
    .tp_basicsize = sizeof(Scope),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = Scope_dealloc,
    .tp_traverse = Scope_traverse,
    .tp_repr = Scope_repr,
    .tp_call = Scope_call,
    .tp_methods = Scope_methods,
    .tp_getset = Scope_getset,
};

static PyObject *
scope(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", "deadline", "shield", NULL};
    PyObject *timeout = NULL;
    PyObject *deadline = NULL;
    PyObject *shield = Py_False;
    double seconds;
    uint64_t end;
    uint8_t shielded;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOO:scope", names, &timeout, &deadline,
                                     &shield) ||
        seconds_from_object(timeout, "timeout", &seconds) < 0 ||
        deadline_from_object(deadline != NULL ? deadline : Py_None, &end) < 0 ||
        shield_from_object(shield, &shielded) < 0) {
        return NULL;
    }
    if (timeout != NULL && timeout != Py_None && deadline != NULL && deadline != Py_None) {
        PyErr_SetString(PyExc_ValueError, "give either timeout or deadline, not both");
        return NULL;
    }
    Scope *self = scope_new();
    if (self != NULL) {
        atomic_init(&self->timeout, seconds);
        atomic_init(&self->deadline, end);
        atomic_init(&self->cancel.shield, shielded);
    }
    return (PyObject *)self;
}

static PyObject *
fail_after(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout;
    double seconds;

    if (arguments_parse("fail_after()", names, 1, args, nargs, kwnames, &timeout) < 0 ||
        seconds_from_object(timeout, "timeout", &seconds) < 0) {
        return NULL;
    }
    Scope *self = scope_new();
    if (self != NULL) {
        atomic_init(&self->timeout, seconds);
        self->fails = true;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(scope_doc, "scope(*, timeout=None, deadline=None, shield=False)\n--\n\n"
                        "A block whose tasks end before it does, and that can be cancelled: use it "
                        "as a context manager.\n\n"
                        "`timeout` (seconds from entering) or `deadline` (in seconds of "
                        "tonio.time.time()) cancel it when the time is up, silently: "
                        "`cancelled`\n"
                        "tells. With `shield` cancellations from further out are held off. What "
                        "spawn() started in it and failed "
                        "comes out of it as\n"
                        "one ExceptionGroup.\n\n"
                        "Raises TypeError or ValueError for bad arguments.\n\n"
                        "    async with tonio.scope(timeout=5) as scope:\n"
                        "        for name in names:\n"
                        "            scope.spawn(fetch(name))\n\n"
                        "    with tonio.scope() as scope:\n"
                        "        scope.spawn(fetch(name))\n"
                        "    yield scope()");
PyDoc_STRVAR(fail_after_doc, "fail_after(timeout)\n--\n\n"
                             "A scope() that cancels itself after `timeout` seconds and raises "
                             "TimeoutError if that cut something off.\n\n"
                             "None or infinity is no limit, 0 lets the block run to its first "
                             "wait. Raises TypeError or ValueError "
                             "for bad arguments.\n\n"
                             "    async with tonio.time.fail_after(2.5):\n"
                             "        answer = await ask()");

static PyMethodDef functions[] = {
    {"scope", (PyCFunction)(void (*)(void))scope, METH_VARARGS | METH_KEYWORDS, scope_doc},
    {"fail_after", (PyCFunction)(void (*)(void))fail_after, METH_FASTCALL | METH_KEYWORDS,
     fail_after_doc},
    {NULL, NULL, 0, NULL},
};

int
scope_module_init(PyObject *module)
{
    if (operation_type_ready(&ScopeWait_Type) < 0 || PyModule_AddType(module, &Scope_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
