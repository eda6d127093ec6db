/* Spawn: the functions that start tasks and blocking jobs - spawn, spawn_blocking, map, map_blocking and their variants.
 *
 * All of them act when they are called and return a Join. Any attached thread may call them while it can tell which runtime
 * is meant. Either all parts are started or none; what was claimed for nothing is closed.
 */
#include <stdlib.h>

#include "core/list.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/join.h"
#include "types/types.h"

/* ---- starting tasks -------------------------------------------------------------------------------------- */

void
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

/* Lets tasks run, which are parts of `join`; it may be NULL. */
static void
tasks_start(Runtime *runtime, Join *join, Task *const *tasks, size_t count)
{
    if (count == 0) {
        return;
    }
    if (join != NULL) {
        mutex_lock(&join->mutex);
        for (size_t i = 0; i < count; i++) {
            list_push_tail(&join->tasks, &tasks[i]->sibling);
        }
        mutex_unlock(&join->mutex);
    }
    scheduler_push_new(runtime, tasks, count);
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
    Task *ready[SPAWN_BATCH]; /* made, but not started yet: one lock for all of them */
    size_t ready_count = 0;

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
                tasks_start(runtime, join, ready, ready_count);
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
        ready[ready_count++] = task;
        if (ready_count == SPAWN_BATCH) {
            tasks_start(runtime, join, ready, ready_count);
            ready_count = 0;
        }
    }
    tasks_start(runtime, join, ready, ready_count);
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
    JoinJob *jobs = malloc(((size_t)count + 1) * sizeof(JoinJob));
    if (jobs == NULL) {
        PyErr_NoMemory();
        join_abandon(join);
        join = NULL;
        goto end;
    }
    object_lend((PyObject *)join); /* its own reference: a thread of the pool drops it */
    if (count == 1 && PyFunction_Check(fn)) {
        join->name = Py_NewRef(((PyFunctionObject *)fn)->func_qualname);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        jobs[i].join = join;
        jobs[i].index = (uint32_t)i;
        jobs[i].job = blocking_submit(runtime, fn, PyList_GET_ITEM(calls, i), kwargs, join_job_done,
                                      &jobs[i]);
        if (jobs[i].job == NULL) {
            join_part_done(join, (uint32_t)i, NULL, NULL, PyErr_GetRaisedException());
        }
    }
    /* relaxed: nobody else has the join yet */
    atomic_store_explicit(&join->jobs, jobs, memory_order_relaxed);
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
spawn_module_init(PyObject *module)
{
    if (PyType_Ready(&Spawn_Type) < 0 || PyType_Ready(&SpawnBlocking_Type) < 0 ||
        PyModule_AddObjectRef(module, "spawn", (PyObject *)&spawn_object) < 0 ||
        PyModule_AddObjectRef(module, "spawn_blocking", (PyObject *)&spawn_blocking_object) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
