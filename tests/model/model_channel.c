/* Models of types/channel.c against cancellation, time-outs and close: a message is received once or still there, whatever ends
 * a wait at the same moment; and nobody waits for what is there.
 *
 * Real: the operations, run loop, task, cancellation, timers. A task here is a bare operation of the channel.
 */
#include "engine_list.h"
#include "errors.h"
#include "types/channel.h"

static Runtime *runtime;
static Channel *channel;
static ChannelHandle *sender;
static ChannelHandle *receiver;
static PyObject *message;
static Outcome first;
static Outcome second;
static bool cancelled;
static Transfer sent;
static PyObject *received;

static ChannelHandle *
handle_new(bool sends)
{
    static PyTypeObject type = {.tp_name = "handle", .tp_basicsize = sizeof(ChannelHandle)};
    ChannelHandle *handle = PyObject_New(ChannelHandle, &type);
    handle->channel = channel;
    handle->sends = sends;
    channel_open(handle);
    return handle;
}

static void
begin(size_t limit)
{
    runtime = engine_start(2);
    engine_list_reset();
    channel_core_init();
    channel = channel_new(limit);
    sender = handle_new(true);
    receiver = handle_new(false);
    message = python_object();
    first = second = (Outcome){0};
    cancelled = false;
    sent = TRANSFER_FAILED;
    received = NULL;
}

static void
worker_thread_new(int id)
{
    model_thread(id == 0 ? "worker 0" : "worker 1", engine_worker, &runtime->workers[id]);
}

/* ---- what threads do ------------------------------------------------------------------------------------- */

static void
cancels(void *outcome)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    task_request_cancel(((Outcome *)outcome)->task, TASK_STOPPED, &chain);
    scheduler_wake_chain(&chain);
    cancelled = true;
}

static void
sends(void *unused)
{
    (void)unused;
    PyObject *given = message;
    sent = channel_try_send(sender, &given);
}

static void
receives(void *unused)
{
    (void)unused;
    channel_try_receive(receiver, &received);
}

static void
closes(void *handle)
{
    channel_close(handle);
}

/* Time passes, and the driver is turned. */
static void
expires(void *unused)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    (void)unused;
    model_pass_time(10000000);
    model_check(driver_turn_begin(&runtime->driver));
    driver_turn(&runtime->driver, 0, &chain);
    scheduler_wake_chain(&chain);
}

/* ---- what has come of it --------------------------------------------------------------------------------- */

static bool
was_cancelled(const Outcome *outcome)
{
    return outcome->ended && outcome->error == error_type(ERROR_TASK_CANCELLED);
}

/* One receiver that is cancelled, another that is not, one message. */
static void
start_receive(void)
{
    begin(1);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &first);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &second);
    worker_thread_new(0);
    worker_thread_new(1);
    model_thread("cancels", cancels, &first);
    model_thread("sends", sends, NULL);
}

static void
finish_receive(void)
{
    model_check(sent == TRANSFER_DONE);
    model_check(first.ended);
    model_check(channel->count == 0); /* the second one would have taken it */
    if (first.value == message) {
        model_check(!second.ended);
    }
    else {
        model_check(was_cancelled(&first) && second.value == message);
    }
    model_check(!python_is_freed(message));
}

/* Less and less: what one thread does must not be mended by another. */
static void
start_receive_only(void)
{
    begin(1);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &first);
    worker_thread_new(0);
    model_thread("sends", sends, NULL);
}

static void
finish_receive_only(void)
{
    model_check(first.value == message && channel->count == 0);
}

static void
start_cancel_only(void)
{
    begin(1);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &first);
    worker_thread_new(0);
    model_thread("cancels", cancels, &first);
}

static void
finish_cancel_only(void)
{
    model_check(was_cancelled(&first) && list_is_empty(&channel->receiving));
}

static void
start_close_only(void)
{
    begin(1);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &first);
    worker_thread_new(0);
    model_thread("closes sender", closes, sender);
}

static void
finish_close_only(void)
{
    model_check(first.error == error_type(ERROR_END_OF_CHANNEL));
}

/* Nobody but one that is cancelled. */
static void
start_receive_alone(void)
{
    begin(1);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &first);
    worker_thread_new(0);
    model_thread("cancels", cancels, &first);
    model_thread("sends", sends, NULL);
}

static void
finish_receive_alone(void)
{
    model_check(first.ended && sent == TRANSFER_DONE);
    model_check(was_cancelled(&first) == (channel->count == 1));
    model_check(was_cancelled(&first) || first.value == message);
    model_check(list_is_empty(&channel->receiving));
}

/* A time-out instead, and a receiver that looks without waiting. */
static void
start_receive_timeout(void)
{
    begin(1);
    engine_spawn(runtime, channel_receive_new(receiver, 0.001, false), &first);
    worker_thread_new(0);
    model_thread("time", expires, NULL);
    model_thread("sends", sends, NULL);
    model_thread("receives", receives, NULL);
}

static void
finish_receive_timeout(void)
{
    int copies = (first.value == message) + (received == message) + (int)channel->count;

    model_check(sent == TRANSFER_DONE && copies == 1);
    if (first.ended) {
        model_check(first.value == message || first.error == PyExc_TimeoutError);
    }
    else {
        model_check(channel->count == 0 && timer_node_is_pending(&first.task->timer));
    }
    model_check(!first.ended || list_is_empty(&channel->receiving));
}

/* No room: a sender that waits is cancelled while the message is wanted. */
static void
start_send(void)
{
    begin(0);
    engine_spawn(runtime, channel_send_new(sender, message, -1), &first);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &second);
    worker_thread_new(0);
    worker_thread_new(1);
    model_thread("cancels", cancels, &first);
}

static void
finish_send(void)
{
    model_check(first.ended);
    if (was_cancelled(&first)) {
        model_check(!second.ended);
        model_check(channel->count == 0 && list_is_empty(&channel->sending));
    }
    else {
        model_check(first.value == Py_None && second.value == message);
    }
}

/* Both ends close while both wait, or begin to. */
static void
start_close(void)
{
    begin(0);
    engine_spawn(runtime, channel_receive_new(receiver, -1, false), &first);
    worker_thread_new(0);
    model_thread("closes sender", closes, sender);
    model_thread("closes receiver", closes, receiver);
    model_thread("sends", sends, NULL);
}

static void
finish_close(void)
{
    model_check(first.ended && list_is_empty(&channel->receiving));
    model_check((first.value == message) == (sent == TRANSFER_DONE));
    model_check(first.value != NULL || first.error == error_type(ERROR_END_OF_CHANNEL) ||
                first.error == error_type(ERROR_RESOURCE_CLOSED));
}

const Model models[] = {
    {"channel: receive and send", start_receive_only, finish_receive_only, engine_quiet, MODEL_ALL,
     true, false},
    {"channel: receive and cancel", start_cancel_only, finish_cancel_only, engine_quiet, MODEL_ALL,
     true, false},
    {"channel: receive, the sender closes", start_close_only, finish_close_only, engine_quiet,
     MODEL_ALL, true, false},
    {"channel: receive, cancel, send", start_receive_alone, finish_receive_alone, engine_quiet,
     MODEL_ALL, false, false},
    {"channel: receive, time-out, send, receive", start_receive_timeout, finish_receive_timeout,
     engine_quiet, MODEL_ALL, false, false},
    {"channel: rendezvous, the sender cancelled", start_send, finish_send, engine_quiet, MODEL_ALL,
     false, false},
    {"channel: two receive, one is cancelled, send", start_receive, finish_receive, engine_quiet, 3,
     false, false},
    {"channel: receive, send, both ends close", start_close, finish_close, engine_quiet, 3, false,
     false},
    {"channel: receive, cancel, send, stores delayed", start_receive_alone, finish_receive_alone,
     engine_quiet, 4, true, false},
    {0},
};
