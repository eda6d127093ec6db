/* As completed: the outcomes of several coroutines in the order in which they end.
 *
 * They run as tasks of a group scope, which keeps the joins of those that have ended in that order (see scope.c); the
 * operations that the iteration gives out each take the next one. The group belongs to the task that waits first. If the
 * iteration is left early the group is cancelled when the object goes, and is collected when what is around it ends; after the
 * last outcome it is ended at once.
 *
 * The host writes all fields but `given`: other tasks may iterate as well, and learn only when they wait that they are not
 * the host.
 */
#include "errors.h"
#include "runtime/runtime.h"
#include "types/join.h"
#include "types/scope.h"
#include "types/types.h"

typedef struct AsCompleted {
    PyObject_HEAD Scope *group; /* owned */
    PyObject *runnables;        /* owned: a list of what was not started yet; NULL then */
    Py_ssize_t count;
    _Atomic Py_ssize_t given; /* operations that were handed out; any task that iterates */
    Py_ssize_t taken;         /* outcomes that were handed out */
} AsCompleted;

typedef struct NextCompleted {
    Operation base;
    AsCompleted *
        source; /* owned; NULL when it has given an outcome, so that it does not hold up the end of the group */
} NextCompleted;

static PyTypeObject AsCompleted_Type;
static PyTypeObject NextCompleted_Type;

/* ---- the next one ---------------------------------------------------------------------------------------- */

/* -1 with an exception set: what was not started is closed. */
static int
start_all(AsCompleted *self, Task *task)
{
    PyObject *runnables = self->runnables;
    int result = 0;

    self->runnables = NULL;
    if (hosting_collect_task(task) < 0) {
        result = -1;
    }
    else {
        scope_attach(self->group, task);
    }
    for (Py_ssize_t i = 0; i < self->count; i++) {
        PyObject *runnable = Py_NewRef(PyList_GET_ITEM(runnables, i));
        Join *join = NULL;
        if (result == 0) {
            cancel_scope_reserve(&self->group->cancel, true);
            join = scope_start(self->group, runnable);
            result = join == NULL ? -1 : 0;
        }
        else {
            runnable_discard(runnable);
        }
        Py_XDECREF(join);
    }
    Py_DECREF(runnables);
    return result;
}

static OperationResult
next_poll(Operation *op, Task *task, PyObject **result)
{
    AsCompleted *self = ((NextCompleted *)op)->source;

    if (self->runnables != NULL && start_all(self, task) < 0) {
        return OPERATION_ERROR;
    }
    if (self->group->cancel.host != task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "as_completed() is iterated by one task: the one that waited first");
        return OPERATION_ERROR;
    }
    Join *join = scope_take_ended(self->group);
    if (join == NULL && scope_state(self->group) == SCOPE_ENDED) {
        PyErr_SetString(PyExc_RuntimeError, "as_completed() ended with the scope or time limit in "
                                            "which it was first waited for");
        return OPERATION_ERROR;
    }
    if (join == NULL) {
        return OPERATION_PENDING;
    }
    self->taken++;
    OperationResult ended = join->base.cls->poll(&join->base, task, result);
    Py_DECREF(join);
    PyObject *error = PyErr_GetRaisedException();
    if (self->taken == self->count && scope_state(self->group) == SCOPE_CLOSED) {
        scope_end(self->group,
                  NULL); /* nothing is left in it: it need not wait for what is around it */
    }
    Py_CLEAR(((NextCompleted *)op)->source);
    PyErr_SetRaisedException(error);
    return ended;
}

static OperationResult
next_arm(Operation *op, Task *task, PyObject **Py_UNUSED(result))
{
    Scope *group = ((NextCompleted *)op)->source->group;

    mutex_lock(&group->cancel.mutex);
    bool waits = group->first_ended == NULL;
    if (waits) {
        list_push_tail(&group->waiters, &task->wait);
    }
    mutex_unlock(&group->cancel.mutex);
    return waits ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
next_detach(Operation *op, Task *task)
{
    Scope *group = ((NextCompleted *)op)->source->group;

    mutex_lock(&group->cancel.mutex);
    list_remove(&task->wait);
    mutex_unlock(&group->cancel.mutex);
}

static const OperationClass next_class = {
    .name = "as_completed()",
    .poll = next_poll,
    .arm = next_arm,
    .detach = next_detach,
};

static void
NextCompleted_dealloc(PyObject *object)
{
    NextCompleted *op = (NextCompleted *)object;

    PyObject_GC_UnTrack(object);
    operation_dealloc_warn(&op->base);
    Py_XDECREF(op->source);
    PyObject_GC_Del(object);
}

static int
NextCompleted_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((NextCompleted *)object)->source);
    return 0;
}

static PyTypeObject NextCompleted_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.NextCompleted",
    .tp_basicsize = sizeof(NextCompleted),
    .tp_flags = Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = NextCompleted_dealloc,
    .tp_traverse = NextCompleted_traverse,
};

/* ---- iterating ------------------------------------------------------------------------------------------- */

/* NULL without an exception: there is none left. */
static PyObject *
AsCompleted_next(PyObject *object)
{
    AsCompleted *self = (AsCompleted *)object;
    /* relaxed: a number by itself */
    Py_ssize_t given = atomic_load_explicit(&self->given, memory_order_relaxed);

    if (given == self->count) {
        return NULL;
    }
    NextCompleted *op = PyObject_GC_New(NextCompleted, &NextCompleted_Type);
    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &next_class, OPERATION_NEW, -1.0);
    op->source = (AsCompleted *)Py_NewRef(object);
    PyObject_GC_Track(op);
    while (!atomic_compare_exchange_weak_explicit(&self->given, &given, given + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
        if (given == self->count) {
            /* another task has got the last one meanwhile; relaxed: nobody else has this one */
            atomic_store_explicit(&op->base.use, OPERATION_CLAIMED, memory_order_relaxed);
            Py_DECREF(op);
            return NULL;
        }
    }
    return (PyObject *)op;
}

static PyObject *
AsCompleted_anext(PyObject *object)
{
    PyObject *op = AsCompleted_next(object);

    if (op == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    return op;
}

static void
AsCompleted_dealloc(PyObject *object)
{
    AsCompleted *self = (AsCompleted *)object;

    PyObject_GC_UnTrack(object);
    if (self->runnables != NULL) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->runnables); i++) {
            runnable_discard(Py_NewRef(PyList_GET_ITEM(self->runnables, i)));
        }
        Py_DECREF(self->runnables);
    }
    else if (self->taken < self->count) {
        Runtime *runtime = cancel_scope_visit(&self->group->cancel);
        if (runtime != NULL) {
            cancel_scope_cancel(&self->group->cancel, SCOPE_CANCELLED);
            runtime_leave(runtime);
        }
    }
    Py_DECREF(self->group);
    PyObject_GC_Del(object);
}

static int
AsCompleted_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((AsCompleted *)object)->runnables);
    Py_VISIT(((AsCompleted *)object)->group);
    return 0;
}

static PyAsyncMethods as_completed_async = {
    .am_aiter = PyObject_SelfIter,
    .am_anext = AsCompleted_anext,
};

static PyTypeObject AsCompleted_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.AsCompleted",
    .tp_doc = "The outcomes of several coroutines in the order in which they end; made by "
              "tonio.as_completed().",
    .tp_basicsize = sizeof(AsCompleted),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = AsCompleted_dealloc,
    .tp_traverse = AsCompleted_traverse,
    .tp_as_async = &as_completed_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = AsCompleted_next,
};

static PyObject *
as_completed(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *runnables = PyList_New(0);
    Scope *group = runnables == NULL ? NULL : scope_new_group();
    AsCompleted *self = NULL;

    for (Py_ssize_t i = 0; group != NULL && i < nargs; i++) {
        PyObject *runnable = runnable_claim(args[i], "as_completed()");
        if (runnable == NULL || PyList_Append(runnables, runnable) < 0) {
            PyObject *error = PyErr_GetRaisedException();
            if (runnable != NULL) {
                runnable_discard(runnable);
            }
            runnables_discard(NULL, 0, args + i + 1, nargs - i - 1);
            PyErr_SetRaisedException(error);
            Py_CLEAR(group);
            break;
        }
        Py_DECREF(runnable);
    }
    if (group != NULL) {
        group->keeps_all = true;
        self = PyObject_GC_New(AsCompleted, &AsCompleted_Type);
    }
    if (self == NULL) {
        PyObject *error = PyErr_GetRaisedException();
        for (Py_ssize_t i = 0; runnables != NULL && i < PyList_GET_SIZE(runnables); i++) {
            runnable_discard(Py_NewRef(PyList_GET_ITEM(runnables, i)));
        }
        Py_XDECREF(runnables);
        Py_XDECREF(group);
        PyErr_SetRaisedException(error);
        return NULL;
    }
    self->group = group;
    self->runnables = runnables;
    self->count = nargs;
    atomic_init(&self->given, 0);
    self->taken = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyDoc_STRVAR(as_completed_doc,
             "as_completed(*coros)\n--\n\n"
             "Runs coroutines, generators or operations at the same time and gives their outcomes "
             "in the order in which they end.\n\n"
             "`async for value in as_completed(...)`, or `for next in as_completed(...): value = "
             "yield next`. They start at the "
             "first wait; an\n"
             "error is raised at its turn. If the iteration is left early the others are "
             "cancelled; they have ended at the latest when "
             "the scope,\n"
             "time limit or task around it has, and errors of their clean-up come out there.\n\n"
             "Raises TypeError for what cannot run, RuntimeError for what was started before.\n\n"
             "    async for page in tonio.as_completed(*map(fetch, names)):\n"
             "        print(page)");

static PyMethodDef functions[] = {
    {"as_completed", (PyCFunction)(void (*)(void))as_completed, METH_FASTCALL, as_completed_doc},
    {NULL, NULL, 0, NULL},
};

int
as_completed_module_init(PyObject *module)
{
    if (operation_type_ready(&NextCompleted_Type) < 0 ||
        PyModule_AddType(module, &AsCompleted_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
