/* Time: sleeping, giving way, intervals, and the clock.
 *
 * A sleep waits for nothing but its own timeout, so it needs no queue: it is the operation whose `arm` does nothing. All
 * state belongs to the task that waits, except an interval's next tick, which `mutex` guards because several tasks may share
 * an interval.
 */
#include <math.h>

#include "core/clock.h"
#include "core/mutex.h"
#include "types/types.h"

/* ---- sleep and yield_now --------------------------------------------------------------------------------- */

typedef struct Sleep {
    Operation base;
    bool gave_way; /* a sleep of no time: others have had their turn */
} Sleep;

static PyTypeObject Sleep_Type;

static OperationResult
sleep_poll(Operation *op, Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    (void)op;
    return OPERATION_PENDING;
}

static OperationResult
sleep_arm(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject **Py_UNUSED(result))
{
    return OPERATION_PARKED;
}

static OperationResult
sleep_timed_out(Operation *Py_UNUSED(op), Task *Py_UNUSED(task), PyObject **result)
{
    *result = Py_None;
    return OPERATION_READY;
}

static const OperationClass sleep_class = {
    .name = "sleep()",
    .poll = sleep_poll,
    .arm = sleep_arm,
    .timed_out = sleep_timed_out,
};

/* Waits for nothing that could fail to come, so it is no deadlock: the program is to be ended from outside. */
static const OperationClass sleep_forever_class = {
    .name = "sleep_forever()",
    .from_outside = true,
    .poll = sleep_poll,
    .arm = sleep_arm,
};

static OperationResult
give_way_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    Sleep *self = (Sleep *)op;

    if (!self->gave_way) {
        self->gave_way = true;
        return OPERATION_REQUEUE;
    }
    *result = Py_None;
    return OPERATION_READY;
}

static const OperationClass yield_now_class = {
    .name = "yield_now()",
    .poll = give_way_poll,
};

static const OperationClass sleep_zero_class = {
    .name = "sleep()",
    .poll = give_way_poll,
};

static OperationResult
sleep_until_poll(Operation *op, Task *task, PyObject **result)
{
    return op->deadline > clock_now_us() ? OPERATION_PENDING : give_way_poll(op, task, result);
}

static const OperationClass sleep_until_class = {
    .name = "sleep_until()",
    .poll = sleep_until_poll,
    .arm = sleep_arm,
    .timed_out = sleep_timed_out,
};

static void
Sleep_dealloc(PyObject *self)
{
    operation_dealloc_warn((Operation *)self);
    PyObject_Free(self);
}

static PyTypeObject Sleep_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Sleep",
    .tp_basicsize = sizeof(Sleep),
    .tp_dealloc = Sleep_dealloc,
};

static PyObject *
sleep_new(const OperationClass *cls, double seconds)
{
    Sleep *op = PyObject_New(Sleep, &Sleep_Type);
    if (op != NULL) {
        operation_init(&op->base, cls, OPERATION_NEW, seconds);
        op->gave_way = false;
    }
    return (PyObject *)op;
}

/* A number of seconds that may be negative. -1 with an exception that names `argument`. */
static int
time_from_object(PyObject *object, const char *argument, double *seconds)
{
    *seconds = PyFloat_AsDouble(object);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not %.200s", argument,
                         Py_TYPE(object)->tp_name);
        }
        return -1;
    }
    if (isnan(*seconds)) {
        PyErr_Format(PyExc_ValueError, "%s must be a number of seconds that is not NaN", argument);
        return -1;
    }
    return 0;
}

static PyObject *
time_sleep(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"delay", NULL};
    PyObject *delay;

    if (arguments_parse("sleep()", names, 1, args, nargs, kwnames, &delay) < 0) {
        return NULL;
    }
    double seconds;

    if (time_from_object(delay, "delay", &seconds) < 0) {
        return NULL;
    }
    if (seconds <= 0) {
        return sleep_new(&sleep_zero_class, -1.0);
    }
    return isinf(seconds) ? sleep_new(&sleep_forever_class, -1.0)
                          : sleep_new(&sleep_class, seconds);
}

static PyObject *
time_sleep_until(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const char *const names[] = {"deadline", NULL};
    PyObject *deadline;
    double seconds;

    if (arguments_parse("sleep_until()", names, 1, args, nargs, kwnames, &deadline) < 0 ||
        time_from_object(deadline, "deadline", &seconds) < 0) {
        return NULL;
    }
    if (seconds >= 9e12) {
        return sleep_new(&sleep_forever_class, -1.0);
    }
    Operation *op = (Operation *)sleep_new(&sleep_until_class, 0.0);
    if (op != NULL) {
        op->deadline = seconds <= 0 ? 1 : (uint64_t)ceil(seconds * 1e6);
    }
    return (PyObject *)op;
}

static PyObject *
time_sleep_forever(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    return sleep_new(&sleep_forever_class, -1.0);
}

static PyObject *
time_yield_now(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    return sleep_new(&yield_now_class, -1.0);
}

static PyObject *
time_time(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    return PyFloat_FromDouble((double)clock_now_us() / 1e6);
}

/* ---- interval -------------------------------------------------------------------------------------------- */

typedef struct Interval {
    PyObject_HEAD Mutex mutex;
    uint64_t first;  /* microseconds; ticks are at first + n * period */
    double period;   /* microseconds */
    uint64_t number; /* n of the next tick; guarded by mutex */
} Interval;

typedef struct IntervalTick {
    Operation base;
    Interval *interval; /* owned */
} IntervalTick;

static PyTypeObject IntervalTick_Type;

/* Is a tick due? Then it is taken, and those which were missed are skipped. Else *due is when it will be. */
static bool
interval_take(Interval *interval, uint64_t *due)
{
    uint64_t now = clock_now_us();
    bool taken;

    mutex_lock(&interval->mutex);
    *due = interval->first + (uint64_t)((double)interval->number * interval->period);
    taken = *due <= now;
    if (taken) {
        interval->number = (uint64_t)((double)(now - interval->first) / interval->period) + 1;
    }
    mutex_unlock(&interval->mutex);
    return taken;
}

static OperationResult
tick_poll(Operation *op, Task *Py_UNUSED(task), PyObject **result)
{
    uint64_t due;

    if (interval_take(((IntervalTick *)op)->interval, &due)) {
        *result = Py_None;
        return OPERATION_READY;
    }
    op->timeout = 0; /* the deadline counts */
    op->deadline = due;
    return OPERATION_PENDING;
}

static OperationResult
tick_timed_out(Operation *op, Task *task, PyObject **result)
{
    /* another task may have taken the tick: then wait for the next one */
    return tick_poll(op, task, result);
}

static const OperationClass tick_class = {
    .name = "Interval.tick()",
    .poll = tick_poll,
    .arm = sleep_arm,
    .timed_out = tick_timed_out,
};

static void
IntervalTick_dealloc(PyObject *self)
{
    operation_dealloc_warn((Operation *)self);
    Py_DECREF(((IntervalTick *)self)->interval);
    PyObject_Free(self);
}

static PyTypeObject IntervalTick_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.IntervalTick",
    .tp_basicsize = sizeof(IntervalTick),
    .tp_dealloc = IntervalTick_dealloc,
};

static PyObject *
Interval_tick(PyObject *self, PyObject *Py_UNUSED(args))
{
    IntervalTick *op = PyObject_New(IntervalTick, &IntervalTick_Type);
    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &tick_class, OPERATION_NEW, -1.0);
    op->interval = (Interval *)Py_NewRef(self);
    return (PyObject *)op;
}

static void
Interval_dealloc(PyObject *self)
{
    PyObject_Free(self);
}

static PyObject *
Interval_repr(PyObject *self)
{
    char buffer[64];
    PyOS_snprintf(buffer, sizeof(buffer), "<Interval period=%g>", ((Interval *)self)->period / 1e6);
    return PyUnicode_FromString(buffer);
}

PyDoc_STRVAR(tick_doc,
             "tick($self, /)\n--\n\n"
             "Waits for the next tick: yield or await what this returns; the result is None.\n\n"
             "A tick that is due already returns at once; ticks that were missed are skipped. When "
             "cancelled no tick is used up. Tasks that\n"
             "share an interval share its ticks: each goes to one of them.");

static PyMethodDef Interval_methods[] = {
    {"tick", Interval_tick, METH_NOARGS, tick_doc},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Interval_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Interval",
    .tp_doc = "Ticks at fixed distances; made by tonio.time.interval().",
    .tp_basicsize = sizeof(Interval),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = Interval_dealloc,
    .tp_repr = Interval_repr,
    .tp_methods = Interval_methods,
};

static PyObject *
time_interval(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"period", "at", NULL};
    PyObject *values[2];
    double period;
    double at;

    if (arguments_parse("interval()", names, 1, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    if (values[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "period must be a number of seconds, not NoneType");
        return NULL;
    }
    if (seconds_from_object(values[0], "period", &period) < 0 ||
        seconds_from_object(values[1], "at", &at) < 0) {
        return NULL;
    }
    if (period < 1e-6 || period > 1e9) {
        PyErr_Format(PyExc_ValueError,
                     "period must be between a microsecond and 1e9 seconds, not %R", values[0]);
        return NULL;
    }
    Interval *self = PyObject_New(Interval, &Interval_Type);
    if (self == NULL) {
        return NULL;
    }
    self->mutex = (Mutex){0};
    self->first = at < 0 ? clock_now_us() : (uint64_t)(at * 1e6);
    self->period = period * 1e6;
    self->number = 0;
    return (PyObject *)self;
}

/* ---- module ---------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(time_doc, "time()\n--\n\n"
                       "The runtime's clock in seconds, with a resolution of a microsecond. It is "
                       "monotonic, the same in all threads and runtimes,\n"
                       "and counts from no particular moment.");
PyDoc_STRVAR(
    sleep_doc,
    "sleep(delay)\n--\n\n"
    "Waits for `delay` seconds, at least: yield or await what this returns; the result is None.\n\n"
    "The time counts from the first wait. Zero or less lets other tasks run once; infinity waits "
    "until it is cancelled. Can be\n"
    "cancelled.\n\n"
    "Raises TypeError for what is no number, ValueError for NaN.\n\n"
    "    yield tonio.sleep(0.5)");
PyDoc_STRVAR(sleep_until_doc, "sleep_until(deadline)\n--\n\n"
                              "Waits until the clock (see time()) shows `deadline`: yield or await "
                              "what this returns; the result is None.\n\n"
                              "A time that has passed lets other tasks run once; infinity waits "
                              "until it is cancelled. Can be cancelled.\n\n"
                              "Raises TypeError for what is no number, ValueError for NaN.\n\n"
                              "    yield tonio.time.sleep_until(started + 10)");
PyDoc_STRVAR(sleep_forever_doc, "sleep_forever()\n--\n\n"
                                "Waits until it is cancelled: yield or await what this returns. A "
                                "program in which nothing else waits is no "
                                "deadlock.");
PyDoc_STRVAR(yield_now_doc, "yield_now()\n--\n\n"
                            "Lets other tasks run: await what this returns. The same as a bare "
                            "`yield` in a generator. A point of cancellation.");
PyDoc_STRVAR(interval_doc, "interval(period, at=None)\n--\n\n"
                           "Ticks every `period` seconds: an object whose tick() is to be yielded "
                           "or awaited again and again.\n\n"
                           "The first tick is due at once, or at the time `at` of this clock (see "
                           "time()). Later ones keep their distance to the first,\n"
                           "however long the work in between takes; missed ones are skipped.\n\n"
                           "    every = tonio.time.interval(0.25)\n"
                           "    while True:\n"
                           "        yield every.tick()");

static PyMethodDef functions[] = {
    {"time", time_time, METH_NOARGS, time_doc},
    {"sleep", (PyCFunction)(void (*)(void))time_sleep, METH_FASTCALL | METH_KEYWORDS, sleep_doc},
    {"sleep_until", (PyCFunction)(void (*)(void))time_sleep_until, METH_FASTCALL | METH_KEYWORDS,
     sleep_until_doc},
    {"sleep_forever", time_sleep_forever, METH_NOARGS, sleep_forever_doc},
    {"yield_now", time_yield_now, METH_NOARGS, yield_now_doc},
    {"interval", (PyCFunction)(void (*)(void))time_interval, METH_FASTCALL | METH_KEYWORDS,
     interval_doc},
    {NULL, NULL, 0, NULL},
};

int
time_module_init(PyObject *module)
{
    if (operation_type_ready(&Sleep_Type) < 0 || operation_type_ready(&IntervalTick_Type) < 0 ||
        PyModule_AddType(module, &Interval_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
