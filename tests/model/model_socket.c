/* Models of the life of a descriptor: readiness that comes between a system call and the wait is not lost; a close wakes who is
 * parked, closes once, and nobody touches the number afterwards; who takes turns is called.
 *
 * Real: types/socket.c, types/socket_operation.c, driver.c, poller.c, the run loop. The system is kernel.c, which fails a
 * call on a number that is not open, and gives it to the next who opens something.
 */
#include "engine_list.h"
#include "errors.h"

#include "types/socket.c"

static Runtime *runtime;
static Socket *shared;
static int fd;
static unsigned peer; /* the connection, seen from its other end */
static int stranger;  /* a descriptor that somebody else opens after a close */
static Outcome first;
static Outcome second;
static unsigned received; /* bytes */
static PyObject *failure; /* what ended receives_on */

/* ---- what is not real ------------------------------------------------------------------------------------ */

PyObject *
address_to_object(const Address *address)
{
    (void)address;
    return Py_NewRef(Py_None);
}

/* ---- set-up ---------------------------------------------------------------------------------------------- */

static PyObject *
operation(SocketCall call, double timeout)
{
    SocketOperation *op = socket_operation_new((PyObject *)shared, call, NULL);

    op->base.timeout = timeout;
    op->size = 1;
    return (PyObject *)op;
}

/* A thread that does nothing but turn the driver. */
static void
turns(void *unused)
{
    (void)unused;
    for (;;) {
        TaskChain chain = TASK_CHAIN_EMPTY;
        model_check(driver_turn_begin(&runtime->driver));
        driver_turn(&runtime->driver, TIMER_NEVER, &chain);
        scheduler_wake_chain(&chain);
    }
}

static void
begin(int workers, bool listens)
{
    runtime = engine_start(workers);
    engine_list_reset();
    socket_operation_type_ready();
    fd = kernel_open(listens);
    peer = kernel_peer(fd);
    shared = (Socket *)socket_wrap(fd, AF_INET, SOCK_STREAM, 0);
    first = second = (Outcome){0};
    received = 0;
    failure = NULL;
    stranger = -1;
    for (int i = 0; i < workers; i++) {
        model_thread(i == 0 ? "worker 0" : "worker 1", engine_worker, &runtime->workers[i]);
    }
    model_thread("driver", turns, NULL);
}

/* ---- what threads do ------------------------------------------------------------------------------------- */

static void
arrives(void *unused)
{
    (void)unused;
    kernel_arrive(peer, 1, MODEL_WHERE " one comes");
}

static void
arrives_twice(void *unused)
{
    arrives(unused);
    arrives(unused);
}

static void
closes(void *unused)
{
    (void)unused;
    model_check(socket_close(shared) == 0);
}

/* Somebody else gets the number, as soon as it is free, and has data of his own. */
static void
closes_and_opens(void *unused)
{
    closes(unused);
    stranger = kernel_open(false);
    kernel_arrive(kernel_peer(stranger), 1, MODEL_WHERE " a stranger's");
}

static void
stops(void *outcome)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    task_request_cancel(((Outcome *)outcome)->task, TASK_STOPPED, &chain);
    scheduler_wake_chain(&chain);
}

/* ---- receiving ------------------------------------------------------------------------------------------- */

static PyObject *
receives_twice(ModelCoroutine *self, PyObject *sent, PyObject *thrown)
{
    if (self->step > 0) {
        model_check(thrown == NULL && Py_SIZE(sent) == 1);
        received++;
    }
    return self->step < 2 ? operation(CALL_RECV, -1) : NULL;
}

static void
start_receive(void)
{
    begin(1, false);
    engine_spawn(runtime, python_coroutine(receives_twice, NULL), &first);
    model_thread("peer", arrives_twice, NULL);
}

static void
finish_receive(void)
{
    model_check(first.ended && received == 2);
}

static bool
descriptor_is_closed(void)
{
    return kernel_peer(fd) != peer;
}

static bool
was_closed(const Outcome *outcome)
{
    return outcome->ended && outcome->error == error_type(ERROR_RESOURCE_CLOSED);
}

static void
start_close(void)
{
    begin(1, false);
    engine_spawn(runtime, operation(CALL_RECV, -1), &first);
    model_thread("peer", arrives, NULL);
    model_thread("closes", closes_and_opens, NULL);
}

static void
finish_close(void)
{
    model_check(was_closed(&first) || (first.ended && Py_SIZE(first.value) == 1));
    model_check(kernel_waiting(stranger) == 1 && descriptor_is_closed());
    PollSource *source = socket_find_source(shared, runtime);
    model_check(source == NULL || list_is_empty(&source->waiters[SOURCE_READ]));
}

/* After a short read the next one knows, without a look at the socket, that it has to wait. */
static PyObject *
receives_on(ModelCoroutine *self, PyObject *sent, PyObject *thrown)
{
    if (self->step > 0) {
        failure = thrown;
        received += thrown == NULL ? (unsigned)Py_SIZE(sent) : 0;
    }
    if (failure != NULL) {
        return NULL;
    }
    SocketOperation *op = (SocketOperation *)operation(CALL_RECV, -1);
    op->size = 2;
    return (PyObject *)op;
}

static void
start_close_waiting(void)
{
    begin(1, false);
    engine_spawn(runtime, python_coroutine(receives_on, NULL), &first);
    model_thread("peer", arrives, NULL);
    model_thread("closes", closes_and_opens, NULL);
}

static void
finish_close_waiting(void)
{
    model_check(failure == error_type(ERROR_RESOURCE_CLOSED) && first.ended && received <= 1);
    model_check(kernel_waiting(stranger) == 1 && descriptor_is_closed());
}

/* Another socket gets the source, as soon as it is free, and nothing comes for it. */
static void
closes_and_registers(void *unused)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    uint32_t tick;

    closes(unused);
    Socket *other = (Socket *)socket_wrap(kernel_open(false), AF_INET, SOCK_STREAM, 0);
    PollSource *source = socket_source(other, runtime, &chain);
    source_is_ready(source, SOURCE_READ, &tick);
    source_clear(source, SOURCE_READ, tick);
    scheduler_wake_chain(&chain);
}

static void
start_close_reuse(void)
{
    begin(1, false);
    engine_spawn(runtime, operation(CALL_RECV, -1), &first);
    model_thread("closes", closes_and_registers, NULL);
}

static void
finish_close_reuse(void)
{
    model_check(was_closed(&first));
}

static void
start_close_twice(void)
{
    begin(1, false);
    engine_spawn(runtime, operation(CALL_RECV, -1), &first);
    model_thread("closes", closes, NULL);
    model_thread("closes too", closes, NULL);
}

static void
finish_close_twice(void)
{
    model_check(was_closed(&first) && descriptor_is_closed());
}

/* A cancellation at the same moment. */
static void
start_close_cancel(void)
{
    begin(1, false);
    engine_spawn(runtime, operation(CALL_RECV, -1), &first);
    model_thread("stops", stops, &first);
    model_thread("closes", closes_and_opens, NULL);
}

static void
finish_close_cancel(void)
{
    model_check(was_closed(&first) || first.error == error_type(ERROR_TASK_CANCELLED));
    model_check(kernel_waiting(stranger) == 1);
}

/* ---- taking turns ---------------------------------------------------------------------------------------- */

static void
start_accept(void)
{
    begin(1, true);
    engine_spawn(runtime, operation(CALL_ACCEPT, -1), &first);
    engine_spawn(runtime, operation(CALL_ACCEPT, -1), &second);
    model_thread("peer", arrives_twice, NULL);
}

static void
finish_accept(void)
{
    model_check(first.value != NULL && second.value != NULL && kernel_waiting(fd) == 0);
}

/* The one that is called is cancelled: the other one gets the connection. */
static void
start_accept_cancel(void)
{
    begin(1, true);
    engine_spawn(runtime, operation(CALL_ACCEPT, -1), &first);
    engine_spawn(runtime, operation(CALL_ACCEPT, -1), &second);
    model_thread("peer", arrives, NULL);
    model_thread("stops", stops, &first);
}

static void
finish_accept_cancel(void)
{
    model_check(first.ended && kernel_waiting(fd) == 0);
    model_check((first.value != NULL) != (second.value != NULL));
}

static void
start_accept_close(void)
{
    begin(1, true);
    engine_spawn(runtime, operation(CALL_ACCEPT, -1), &first);
    engine_spawn(runtime, operation(CALL_ACCEPT, -1), &second);
    model_thread("closes", closes, NULL);
}

static void
finish_accept_close(void)
{
    model_check(was_closed(&first) && was_closed(&second) && descriptor_is_closed());
}

const Model models[] = {
    {"socket: two receives, two bytes", start_receive, finish_receive, engine_quiet, MODEL_ALL,
     false, false},
    {"socket: receive, and close by another", start_close, finish_close, engine_quiet, 3, false,
     false},
    {"socket: receive again and again, and close", start_close_waiting, finish_close_waiting,
     engine_quiet, 3, false, false},
    {"socket: receive, close, the source is another's", start_close_reuse, finish_close_reuse,
     engine_quiet, 3, false, false},
    {"socket: receive, and two closes", start_close_twice, finish_close_twice, engine_quiet, 3,
     false, false},
    {"socket: receive, cancel, close", start_close_cancel, finish_close_cancel, engine_quiet, 3,
     false, false},
    {"socket: two accept two", start_accept, finish_accept, engine_quiet, 3, false, false},
    {"socket: two accept, the first is cancelled", start_accept_cancel, finish_accept_cancel,
     engine_quiet, 3, false, false},
    {"socket: two accept, and close", start_accept_close, finish_accept_close, engine_quiet, 3,
     false, false},
    {"socket: receive and close, stores delayed", start_close, finish_close, engine_quiet, 2, true,
     false},
    {0},
};
