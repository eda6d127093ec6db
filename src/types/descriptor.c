/* Descriptor: the readiness of any descriptor that the system can poll - register(fd).
 *
 * A registration watches a descriptor that belongs to somebody else, who reads and writes it; it never closes it. What it
 * tells is what the system says at that moment: every wait looks with poll(2) first, and again when it is woken, so it does
 * not matter whether the owner took all there was. The poll source only serves to sleep until something has changed.
 *
 * `use` counts the calls that use the source, with a bit for "closed", as with sockets. close() waits for them, which do not
 * block: once it has returned, the descriptor may be closed and its number used again. A registration belongs to one
 * runtime and ends with it. All functions are called attached, by any thread.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "errors.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "types/types.h"

#define DESCRIPTOR_CLOSED (1u << 31)

typedef struct Descriptor {
    PyObject_HEAD int fd;  /* fixed, as are the next two */
    uint64_t serial;       /* of the runtime */
    PollSource *source;    /* not to be touched once the runtime has ended */
    _Atomic uint32_t use;  /* calls under way, and DESCRIPTOR_CLOSED */
    _Atomic uint32_t told; /* bit per SourceDirection: it was said to be ready, and not consumed */
} Descriptor;

typedef struct ReadinessWait {
    Operation base;
    Descriptor *descriptor; /* owned */
    SourceDirection direction;
} ReadinessWait;

static PyTypeObject Descriptor_Type;
static PyTypeObject ReadinessWait_Type;

/* ---- the registration ------------------------------------------------------------------------------------ */

/* Begins a call on the source, to be ended by descriptor_leave: the runtime, or NULL with ResourceClosed set. */
static Runtime *
descriptor_enter(Descriptor *self)
{
    /* relaxed: the compare-and-swap decides */
    uint32_t use = atomic_load_explicit(&self->use, memory_order_relaxed);
    Runtime *runtime;

    do {
        if (use & DESCRIPTOR_CLOSED) {
            PyErr_Format(error_type(ERROR_RESOURCE_CLOSED),
                         "the registration of descriptor %d is closed", self->fd);
            return NULL;
        }
        /* acquire: pairs with the release of descriptor_leave */
    } while (!atomic_compare_exchange_weak_explicit(&self->use, &use, use + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    runtime = runtime_find(self->serial);
    if (runtime == NULL) {
        atomic_fetch_sub_explicit(&self->use, 1, memory_order_release);
        PyErr_Format(error_type(ERROR_RESOURCE_CLOSED),
                     "the run in which descriptor %d was registered has ended", self->fd);
    }
    return runtime;
}

static void
descriptor_leave(Descriptor *self, Runtime *runtime)
{
    /* release: pairs with the acquire in descriptor_close */
    atomic_fetch_sub_explicit(&self->use, 1, memory_order_release);
    runtime_leave(runtime);
}

static void
descriptor_close(Descriptor *self)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    /* acquire: as in descriptor_enter */
    uint32_t before = atomic_fetch_or_explicit(&self->use, DESCRIPTOR_CLOSED, memory_order_acquire);

    if (before & DESCRIPTOR_CLOSED) {
        return;
    }
    if (before != 0) {
        Py_BEGIN_ALLOW_THREADS
        while (atomic_load_explicit(&self->use, memory_order_acquire) != DESCRIPTOR_CLOSED) {
            sched_yield();
        }
        Py_END_ALLOW_THREADS
    }
    Runtime *runtime = runtime_find(self->serial);
    if (runtime != NULL) {
        if (!runtime_is_forked(runtime)) {
            driver_remove_source(&runtime->driver, self->source, &chain);
            scheduler_wake_chain(&chain);
        }
        runtime_leave(runtime);
    }
}

/* What the system says now: 1 ready, 0 not, -1 with OSError set. The caller has entered. */
static int
descriptor_look(Descriptor *self, SourceDirection direction)
{
    struct pollfd look = {
        .fd = self->fd,
        .events = direction == SOURCE_READ ? POLLIN | POLLPRI | POLLRDHUP : POLLOUT,
    };
    uint32_t tick;
    int count;

    if (source_is_lost(self->source)) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    source_is_ready(self->source, direction, &tick);
    do {
        count = poll(&look, 1, 0);
    } while (count < 0 && errno == EINTR);
    if (count > 0 && (look.revents & POLLNVAL)) {
        errno = EBADF;
        count = -1;
    }
    if (count < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
    }
    else if (count == 0) {
        source_reset(self->source, direction, tick);
    }
    else {
        /* relaxed: each direction is one task's affair, or they do not mind */
        atomic_fetch_or_explicit(&self->told, 1u << direction, memory_order_relaxed);
    }
    return count;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

static OperationResult
readiness_poll(Operation *base, Task *Py_UNUSED(task), PyObject **result)
{
    ReadinessWait *op = (ReadinessWait *)base;
    Runtime *runtime = descriptor_enter(op->descriptor);

    if (runtime == NULL) {
        return OPERATION_ERROR;
    }
    int ready = descriptor_look(op->descriptor, op->direction);
    descriptor_leave(op->descriptor, runtime);
    if (ready <= 0) {
        return ready < 0 ? OPERATION_ERROR : OPERATION_PENDING;
    }
    *result = Py_None;
    return OPERATION_READY;
}

static OperationResult
readiness_arm(Operation *base, Task *task, PyObject **Py_UNUSED(result))
{
    ReadinessWait *op = (ReadinessWait *)base;
    Descriptor *self = op->descriptor;
    Runtime *runtime = descriptor_enter(self);

    if (runtime == NULL) {
        return OPERATION_ERROR;
    }
    if (runtime != task_runtime(task)) {
        descriptor_leave(self, runtime);
        PyErr_Format(PyExc_RuntimeError, "descriptor %d was registered in another runtime",
                     self->fd);
        return OPERATION_ERROR;
    }
    bool parked = source_arm(self->source, self, op->direction, task, WAIT_TOGETHER);
    descriptor_leave(self, runtime);
    return parked ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
readiness_detach(Operation *base, Task *task)
{
    ReadinessWait *op = (ReadinessWait *)base;

    /* also when it is closed: forgetting the source takes the task out, under the same mutex */
    source_detach(op->descriptor->source, op->direction, task);
}

static PyObject *
readiness_describe(Operation *base)
{
    ReadinessWait *op = (ReadinessWait *)base;
    return PyUnicode_FromFormat("descriptor %d to be %s", op->descriptor->fd,
                                op->direction == SOURCE_READ ? "readable" : "writable");
}

static const OperationClass readiness_class = {
    .name = "waiting for a descriptor",
    .from_outside = true,
    .describe = readiness_describe,
    .poll = readiness_poll,
    .arm = readiness_arm,
    .detach = readiness_detach,
};

static void
ReadinessWait_dealloc(PyObject *self)
{
    operation_dealloc_warn((Operation *)self);
    Py_DECREF(((ReadinessWait *)self)->descriptor);
    PyObject_Free(self);
}

static PyTypeObject ReadinessWait_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.ReadinessWait",
    .tp_basicsize = sizeof(ReadinessWait),
    .tp_dealloc = ReadinessWait_dealloc,
};

static PyObject *
readiness_wait(Descriptor *self, SourceDirection direction, double seconds)
{
    ReadinessWait *op = PyObject_New(ReadinessWait, &ReadinessWait_Type);

    if (op == NULL) {
        return NULL;
    }
    operation_init(&op->base, &readiness_class, OPERATION_NEW, seconds);
    op->descriptor = (Descriptor *)Py_NewRef(self);
    op->direction = direction;
    return (PyObject *)op;
}

/* ---- methods --------------------------------------------------------------------------------------------- */

static int
timeout_argument(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                 double *seconds)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout;

    return arguments_parse(function, names, 0, args, nargs, kwnames, &timeout) < 0 ||
                   seconds_from_object(timeout, "timeout", seconds) < 0
               ? -1
               : 0;
}

static PyObject *
descriptor_arm(PyObject *object, SourceDirection direction, const char *function,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Descriptor *self = (Descriptor *)object;
    double seconds;

    if (timeout_argument(function, args, nargs, kwnames, &seconds) < 0) {
        return NULL;
    }
    Runtime *runtime = descriptor_enter(self);
    if (runtime == NULL) {
        return NULL;
    }
    int ready = descriptor_look(self, direction);
    descriptor_leave(self, runtime);
    if (ready < 0) {
        return NULL;
    }
    return ready > 0 ? Py_NewRef(Py_None) : readiness_wait(self, direction, seconds);
}

static PyObject *
Descriptor_arm_r(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return descriptor_arm(self, SOURCE_READ, "arm_r()", args, nargs, kwnames);
}

static PyObject *
Descriptor_arm_w(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return descriptor_arm(self, SOURCE_WRITE, "arm_w()", args, nargs, kwnames);
}

static PyObject *
Descriptor_wait_readable(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    double seconds;

    return timeout_argument("wait_readable()", args, nargs, kwnames, &seconds) < 0
               ? NULL
               : readiness_wait((Descriptor *)self, SOURCE_READ, seconds);
}

static PyObject *
Descriptor_wait_writable(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    double seconds;

    return timeout_argument("wait_writable()", args, nargs, kwnames, &seconds) < 0
               ? NULL
               : readiness_wait((Descriptor *)self, SOURCE_WRITE, seconds);
}

static PyObject *
descriptor_consume(PyObject *object, SourceDirection direction)
{
    Descriptor *self = (Descriptor *)object;
    uint32_t bit = 1u << direction;

    /* relaxed: as in descriptor_look */
    return PyBool_FromLong(
        (atomic_fetch_and_explicit(&self->told, ~bit, memory_order_relaxed) & bit) != 0);
}

static PyObject *
Descriptor_consume_r(PyObject *self, PyObject *Py_UNUSED(args))
{
    return descriptor_consume(self, SOURCE_READ);
}

static PyObject *
Descriptor_consume_w(PyObject *self, PyObject *Py_UNUSED(args))
{
    return descriptor_consume(self, SOURCE_WRITE);
}

static PyObject *
Descriptor_close(PyObject *self, PyObject *Py_UNUSED(args))
{
    descriptor_close((Descriptor *)self);
    Py_RETURN_NONE;
}

static PyObject *
Descriptor_fileno(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyLong_FromLong(((Descriptor *)self)->fd);
}

static PyObject *
Descriptor_enter(PyObject *self, PyObject *Py_UNUSED(args))
{
    return Py_NewRef(self);
}

static PyObject *
Descriptor_repr(PyObject *object)
{
    Descriptor *self = (Descriptor *)object;
    /* relaxed: a look */
    bool closed = atomic_load_explicit(&self->use, memory_order_relaxed) & DESCRIPTOR_CLOSED;
    return PyUnicode_FromFormat("<Descriptor fd=%d%s>", self->fd, closed ? " closed" : "");
}

static void
Descriptor_dealloc(PyObject *self)
{
    PyObject *error = PyErr_GetRaisedException();
    descriptor_close((Descriptor *)self);
    PyErr_SetRaisedException(error);
    PyObject_Free(self);
}

PyDoc_STRVAR(arm_r_doc,
             "arm_r($self, /, timeout=None)\n--\n\n"
             "None if the descriptor is readable now, else something to yield or await, whose end "
             "says that it is.\n\n"
             "Readable is also one whose other side is gone. The wait can be cancelled, and raises "
             "TimeoutError after `timeout` seconds.\n"
             "Raises ResourceClosed once the registration is closed, OSError (EBADF) if the "
             "descriptor is.\n\n"
             "    if (wait := descriptor.arm_r()) is not None:\n"
             "        yield wait\n"
             "    data = os.read(fd, 4096)");
PyDoc_STRVAR(arm_w_doc, "arm_w($self, /, timeout=None)\n--\n\nThe same for writing.");
PyDoc_STRVAR(wait_readable_doc,
             "wait_readable($self, /, timeout=None)\n--\n\n"
             "Waits until the descriptor is readable, if it is not: yield or await. Ends as the "
             "wait of arm_r() does.");
PyDoc_STRVAR(wait_writable_doc,
             "wait_writable($self, /, timeout=None)\n--\n\nThe same for writing.");
PyDoc_STRVAR(consume_r_doc,
             "consume_r($self, /)\n--\n\n"
             "Takes note that the readiness was used up. True if arm_r() or a wait had told of "
             "one since the last time.\n\n"
             "Later waits do not depend on it: they look at the descriptor itself.");
PyDoc_STRVAR(consume_w_doc, "consume_w($self, /)\n--\n\nThe same for writing.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Ends the registration; the descriptor stays open. Whoever waits gets "
                        "ResourceClosed. Any thread; a second call does nothing.\n\n"
                        "Close it before the descriptor.");
PyDoc_STRVAR(fileno_doc, "fileno($self, /)\n--\n\nThe descriptor.");

#define CALL(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef Descriptor_methods[] = {
    {"arm_r", CALL(Descriptor_arm_r), arm_r_doc},
    {"arm_w", CALL(Descriptor_arm_w), arm_w_doc},
    {"wait_readable", CALL(Descriptor_wait_readable), wait_readable_doc},
    {"wait_writable", CALL(Descriptor_wait_writable), wait_writable_doc},
    {"consume_r", Descriptor_consume_r, METH_NOARGS, consume_r_doc},
    {"consume_w", Descriptor_consume_w, METH_NOARGS, consume_w_doc},
    {"close", Descriptor_close, METH_NOARGS, close_doc},
    {"fileno", Descriptor_fileno, METH_NOARGS, fileno_doc},
    {"__enter__", Descriptor_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)Descriptor_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(Descriptor_doc,
             "The registration of a descriptor, as register() makes it. Any number of tasks may "
             "wait for the same direction: all are woken.");

static PyTypeObject Descriptor_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tonio._core.Descriptor",
    .tp_doc = Descriptor_doc,
    .tp_basicsize = sizeof(Descriptor),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = Descriptor_dealloc,
    .tp_repr = Descriptor_repr,
    .tp_methods = Descriptor_methods,
};

/* ---- register() ------------------------------------------------------------------------------------------ */

static void
register_set_error(int fd, int error)
{
    if (error == EEXIST) {
        PyErr_Format(error_type(ERROR_RESOURCE_BUSY),
                     "descriptor %d is watched already, by a socket or another registration", fd);
        return;
    }
    errno = error;
    if (error != EPERM) {
        PyErr_SetFromErrno(PyExc_OSError);
        return;
    }
    PyObject *text = PyUnicode_FromFormat("descriptor %d cannot be waited for, as it is always "
                                          "ready (a regular file or a directory, say)",
                                          fd);
    PyObject *exception =
        text == NULL ? NULL : PyObject_CallFunction(PyExc_OSError, "iN", error, text);
    if (exception != NULL) {
        PyErr_SetRaisedException(exception);
    }
}

static PyObject *
register_(PyObject *Py_UNUSED(module), PyObject *object)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    int fd = PyObject_AsFileDescriptor(object);

    if (fd < 0) {
        return NULL;
    }
    Runtime *runtime = runtime_enter("register()");
    if (runtime == NULL) {
        return NULL;
    }
    Descriptor *self = PyObject_New(Descriptor, &Descriptor_Type);
    if (self != NULL) {
        self->fd = fd;
        self->serial = runtime->serial;
        atomic_init(&self->use, DESCRIPTOR_CLOSED);
        atomic_init(&self->told, 0);
        self->source = driver_add_source(&runtime->driver, fd, self, &chain);
        int error = errno;
        scheduler_wake_chain(&chain);
        if (self->source != NULL) {
            atomic_store_explicit(&self->use, 0, memory_order_relaxed); /* relaxed: ours still */
        }
        else {
            Py_CLEAR(self);
            register_set_error(fd, error);
        }
    }
    runtime_leave(runtime);
    return (PyObject *)self;
}

PyDoc_STRVAR(
    register_doc,
    "register(fd, /)\n--\n\n"
    "Watches a descriptor (an int, or an object with fileno()): the result waits for it to be "
    "readable or writable.\n\n"
    "The descriptor stays its owner's, who reads, writes and closes it; close the registration "
    "before that, or use it as a context\n"
    "manager. It belongs to the running runtime. Raises RuntimeNotInitializedError outside of "
    "one, OSError for what cannot be\n"
    "polled (regular files) or is not open, ResourceBusy if it is watched already.\n\n"
    "    with tonio.io.register(fd) as descriptor:\n"
    "        yield descriptor.wait_readable(timeout=5)\n"
    "        data = os.read(fd, 4096)");

static PyMethodDef functions[] = {
    {"register", register_, METH_O, register_doc},
    {NULL, NULL, 0, NULL},
};

int
descriptor_module_init(PyObject *module)
{
    if (operation_type_ready(&ReadinessWait_Type) < 0 ||
        PyModule_AddType(module, &Descriptor_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
