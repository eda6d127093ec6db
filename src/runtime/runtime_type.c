/* Runtime type: the Python object `tonio.Runtime` that holds the options and starts one run after another, and
 * runtime_stats().
 *
 * The object outlives its runs and owns nothing of them. `running` keeps two threads from using one object at once.
 */
#include "errors.h"
#include "runtime/operation.h"
#include "runtime/runtime.h"

typedef struct RuntimeObject {
    PyObject_HEAD RuntimeOptions options;
    _Atomic bool running;
    _Atomic uint64_t serial; /* of the present run; 0: none */
    _Atomic bool closed;
} RuntimeObject;

/* An option that is a whole number of at least 1. */
static int
option_count(PyObject *object, const char *name, size_t *count)
{
    if (!PyLong_Check(object) || PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %.200s", name,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    long value = PyLong_AsLong(object);
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s is out of range: %R", name, object);
        return -1;
    }
    if (value < 1 || value > 65536) {
        PyErr_Format(PyExc_ValueError, "%s must be between 1 and 65536, not %R", name, object);
        return -1;
    }
    *count = (size_t)value;
    return 0;
}

static PyObject *
Runtime_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "context",          "threads", "blocking_threadpool_size", "blocking_threadpool_idle_ttl",
        "shutdown_warning", NULL};
    PyObject *context;
    PyObject *threads;
    PyObject *pool_size;
    PyObject *ttl;
    PyObject *warning;
    RuntimeOptions options;
    size_t count;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$OOOOO:Runtime", names, &context, &threads,
                                     &pool_size, &ttl, &warning)) {
        return NULL;
    }
    if (!PyBool_Check(context)) {
        PyErr_Format(PyExc_TypeError, "context must be a bool, not %.200s",
                     Py_TYPE(context)->tp_name);
        return NULL;
    }
    options.context = context == Py_True;
    if (option_count(threads, "threads", &count) < 0) {
        return NULL;
    }
    options.threads = (int)count;
    if (option_count(pool_size, "blocking_threadpool_size", &options.pool_size) < 0) {
        return NULL;
    }
    if (ttl == Py_None) {
        PyErr_SetString(PyExc_TypeError,
                        "blocking_threadpool_idle_ttl must be a number of seconds, not NoneType");
        return NULL;
    }
    if (seconds_from_object(ttl, "blocking_threadpool_idle_ttl", &options.pool_idle_ttl) < 0) {
        return NULL;
    }
    if (warning == Py_None) {
        PyErr_SetString(PyExc_TypeError, "shutdown_warning must be a number of seconds (infinity "
                                         "for never), not NoneType");
        return NULL;
    }
    if (seconds_from_object(warning, "shutdown_warning", &options.shutdown_warning) < 0) {
        return NULL;
    }
    RuntimeObject *self = (RuntimeObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->options = options;
    }
    return (PyObject *)self;
}

static void
Runtime_dealloc(PyObject *self)
{
    Py_TYPE(self)->tp_free(self);
}

/* Runs a coroutine, or with NULL what never ends by itself. */
static PyObject *
runtime_start(RuntimeObject *self, PyObject *coroutine)
{
    bool expected = false;
    const char *problem = NULL;

    if (current_worker != NULL) {
        problem =
            "this thread is already running a runtime: yield or await the coroutine, or spawn it";
    }
    else if (atomic_load_explicit(&self->closed, memory_order_relaxed)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the runtime was closed: make a new one with tonio.runtime()");
        return NULL;
    }
    else if (!atomic_compare_exchange_strong_explicit(&self->running, &expected, true,
                                                      memory_order_acquire, memory_order_relaxed)) {
        problem = "this runtime is already running in another thread: use one runtime per thread";
    }
    if (problem != NULL) {
        if (coroutine_check(coroutine) && coroutine_claim(coroutine)) { /* else it is a task's */
            runnable_discard(Py_NewRef(coroutine));
        }
        PyErr_SetString(error_type(ERROR_ALREADY_INITIALIZED), problem);
        return NULL;
    }
    PyObject *claimed = runnable_claim(coroutine, "the main coroutine");
    PyObject *outcome =
        claimed == NULL ? NULL : runtime_run(&self->options, claimed, &self->serial);
    atomic_store_explicit(&self->running, false, memory_order_release);
    return outcome;
}

static PyObject *
Runtime_run_until_complete(PyObject *self, PyObject *coroutine)
{
    return runtime_start((RuntimeObject *)self, coroutine);
}

static OperationResult
forever_poll(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    return OPERATION_PENDING;
}

static OperationResult
forever_arm(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    return OPERATION_PARKED;
}

/* The main task of run_forever(). */
static const OperationClass forever_class = {
    .name = "run_forever()",
    .from_outside = true,
    .poll = forever_poll,
    .arm = forever_arm,
};

static PyTypeObject Forever_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Forever",
    .tp_basicsize = sizeof(Operation),
    .tp_dealloc = (destructor)PyObject_Free,
};

static PyObject *
Runtime_run_forever(PyObject *self, PyObject *Py_UNUSED(args))
{
    Operation *forever = PyObject_New(Operation, &Forever_Type);

    if (forever == NULL) {
        return NULL;
    }
    operation_init(forever, &forever_class, OPERATION_NEW, -1.0);
    PyObject *outcome = runtime_start((RuntimeObject *)self, (PyObject *)forever);
    Py_DECREF(forever);
    return outcome;
}

static PyObject *
Runtime_stop(PyObject *object, PyObject *Py_UNUSED(args))
{
    RuntimeObject *self = (RuntimeObject *)object;
    /* acquire: pairs with the release in runtime_run */
    uint64_t serial = atomic_load_explicit(&self->serial, memory_order_acquire);
    Runtime *runtime = serial == 0 ? NULL : runtime_find(serial);
    bool stopped = false;

    if (runtime != NULL) {
        stopped = runtime_stop(runtime);
        runtime_leave(runtime);
    }
    return PyBool_FromLong(stopped);
}

static PyObject *
Runtime_enter(PyObject *self, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(self);
}

static PyObject *
Runtime_close(PyObject *object, PyObject *Py_UNUSED(args))
{
    RuntimeObject *self = (RuntimeObject *)object;
    if (atomic_load_explicit(&self->running, memory_order_acquire)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the runtime is still running: let its main coroutine end first");
        return NULL;
    }
    atomic_store_explicit(&self->closed, true, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *
Runtime_exit(PyObject *self, PyObject *Py_UNUSED(args))
{
    PyObject *result = Runtime_close(self, NULL);
    Py_XDECREF(result);
    return result == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *
Runtime_repr(PyObject *object)
{
    RuntimeObject *self = (RuntimeObject *)object;
    const char *state = atomic_load_explicit(&self->closed, memory_order_relaxed)    ? "closed"
                        : atomic_load_explicit(&self->running, memory_order_relaxed) ? "running"
                                                                                     : "idle";
    return PyUnicode_FromFormat("<Runtime threads=%d %s>", self->options.threads, state);
}

PyDoc_STRVAR(
    run_until_complete_doc,
    "run_until_complete($self, coro, /)\n--\n\n"
    "Runs a coroutine, generator or operation to its end on this thread and the runtime's "
    "workers.\n\n"
    "Returns its value or raises its exception. What it spawned and left behind is cancelled and "
    "has ended when this\n"
    "returns. May be called any number of times, from any thread that is not inside a runtime.\n\n"
    "Raises RuntimeAlreadyInitializedError inside a running runtime, TypeError for what cannot "
    "run, RuntimeError for a\n"
    "coroutine that was started before, KeyboardInterrupt after Ctrl-C.\n\n"
    "    runtime = tonio.runtime(threads=2)\n"
    "    runtime.run_until_complete(main())");

PyDoc_STRVAR(run_forever_doc, "run_forever($self, /)\n--\n\n"
                              "Runs whatever other threads, or tasks that they start, spawn, until "
                              "stop() or Ctrl-C. Returns None.\n\n"
                              "Raises as run_until_complete().\n\n"
                              "    threading.Thread(target=runtime.run_forever).start()");
PyDoc_STRVAR(stop_doc, "stop($self, /)\n--\n\n"
                       "Ends the present run early: the main coroutine is cancelled, all else as "
                       "usual, and the run returns None "
                       "after clean-up.\n"
                       "Does not wait. True if there was a run to stop. Any thread or task.");

static PyMethodDef Runtime_methods[] = {
    {"run_until_complete", Runtime_run_until_complete, METH_O, run_until_complete_doc},
    {"run_forever", Runtime_run_forever, METH_NOARGS, run_forever_doc},
    {"stop", Runtime_stop, METH_NOARGS, stop_doc},
    {"close", Runtime_close, METH_NOARGS,
     "close($self, /)\n--\n\nNo further run is allowed. RuntimeError while one runs."},
    {"__enter__", Runtime_enter, METH_NOARGS, NULL},
    {"__exit__", Runtime_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Runtime_doc,
             "A runtime that can run one main coroutine after another; made by tonio.runtime().\n\n"
             "Between runs it holds no thread and no descriptor. As a context manager it is closed "
             "at the end of the block.");

static PyTypeObject Runtime_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Runtime",
    .tp_doc = Runtime_doc,
    .tp_basicsize = sizeof(RuntimeObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Runtime_new,
    .tp_dealloc = Runtime_dealloc,
    .tp_repr = Runtime_repr,
    .tp_methods = Runtime_methods,
};

/* ---- statistics ------------------------------------------------------------------------------------------ */

static PyObject *
runtime_stats(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    Runtime *runtime = runtime_enter("runtime_stats()");
    if (runtime == NULL) {
        return NULL;
    }
    int started = atomic_load_explicit(&runtime->started, memory_order_acquire);
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < started; i++) {
        Worker *worker = &runtime->workers[i];
        PyObject *entry = Py_BuildValue(
            "{s:i,s:K,s:K,s:K}", "worker", i, "executed",
            (unsigned long long)atomic_load_explicit(&worker->executed, memory_order_relaxed),
            "stolen",
            (unsigned long long)atomic_load_explicit(&worker->stolen, memory_order_relaxed),
            "parked",
            (unsigned long long)atomic_load_explicit(&worker->parked, memory_order_relaxed));
        if (entry == NULL || PyList_Append(list, entry) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(entry);
    }
    runtime_leave(runtime);
    return list;
}

PyDoc_STRVAR(
    runtime_stats_doc,
    "runtime_stats()\n--\n\n"
    "What each worker thread of the running runtime has done so far, as a list of dictionaries.\n\n"
    "\"worker\" is its number (0 is the thread that called run), \"executed\" how often it resumed "
    "a task, \"stolen\" how many\n"
    "tasks it took from others, \"parked\" how often it went to sleep. Any thread may ask.\n\n"
    "Raises RuntimeNotInitializedError if no runtime runs.");

static PyMethodDef functions[] = {
    {"runtime_stats", runtime_stats, METH_NOARGS, runtime_stats_doc},
    {NULL, NULL, 0, NULL},
};

int
runtime_type_module_init(PyObject *module)
{
    if (operation_type_ready(&Forever_Type) < 0 || PyModule_AddType(module, &Runtime_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
