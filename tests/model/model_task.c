/* Models of the task's state word: a wait ends once, by whoever claims it, and what comes too late does not end the next one.
 *
 * Real: task.c, task_run.c, cancel.c, select.c, the timers, and channels to wait for.
 */
#include "engine_list.h"
#include "errors.h"
#include "runtime/cancel.h"
#include "types/channel.h"

#include "types/select.c"

static Runtime *runtime;
static ChannelHandle *senders[2];
static ChannelHandle *receivers[2];
static PyObject *messages[2];
static Transfer sent[2];
static PyObject *results[2]; /* of waits: a value, or an exception */
static Outcome outcome;
static Outcome member_outcome;
static CancelScope *scope;
static ScopeMember *member;
static bool cancelled; /* the scope was, while it was entered */

static void
begin(void)
{
    static PyTypeObject type = {.tp_name = "handle", .tp_basicsize = sizeof(ChannelHandle)};

    runtime = engine_start(2);
    engine_list_reset();
    channel_core_init();
    operation_type_ready(&Select_Type);
    for (int i = 0; i < 2; i++) {
        Channel *channel = channel_new(1);
        ChannelHandle **ends[] = {&senders[i], &receivers[i]};
        for (int end = 0; end < 2; end++) {
            *ends[end] = PyObject_New(ChannelHandle, &type);
            (*ends[end])->channel = channel;
            (*ends[end])->closed = false;
            (*ends[end])->sends = end == 0;
            channel_open(*ends[end]);
        }
        messages[i] = python_object();
        sent[i] = TRANSFER_FAILED;
        results[i] = NULL;
    }
    scope = model_memory(sizeof(*scope), 16);
    member = model_memory(sizeof(*member), 16);
    list_node_init(&member->link);
    cancel_scope_init(scope);
    outcome = member_outcome = (Outcome){0};
    cancelled = false;
}

static size_t
left_in(int channel)
{
    return senders[channel]->channel->count;
}

/* ---- what threads do ------------------------------------------------------------------------------------- */

static void
sends(void *message)
{
    int i = message == messages[1];
    PyObject *given = message;

    sent[i] = channel_try_send(senders[i], &given);
}

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

static void
borrows(void *unused)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    (void)unused;
    task_borrow(outcome.task, &chain);
    scheduler_wake_chain(&chain);
}

static void
stops(void *unused)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    (void)unused;
    task_request_cancel(outcome.task, TASK_STOPPED, &chain);
    scheduler_wake_chain(&chain);
}

/* As runtime_abandon() does, to the tasks that there may be. */
static void
abandons(void *unused)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    (void)unused;
    atomic_store_explicit(&runtime->abandoned, true, memory_order_relaxed);
    task_request_cancel(outcome.task, TASK_ABANDON, &chain);
    if (member->task != NULL) {
        task_request_cancel(member->task, TASK_ABANDON, &chain);
    }
    scheduler_wake_chain(&chain);
}

static void
cancels_scope(void *unused)
{
    (void)unused;
    Runtime *visited = cancel_scope_visit(scope);
    if (visited != NULL) {
        cancelled = true;
        cancel_scope_cancel(scope, SCOPE_CANCELLED);
        runtime_leave(visited);
    }
}

static void
worker_new(int id)
{
    model_thread(id == 0 ? "worker 0" : "worker 1", engine_worker, &runtime->workers[id]);
}

/* ---- one wait after the other ---------------------------------------------------------------------------- */

static PyObject *
waits_twice(ModelCoroutine *self, PyObject *sent_in, PyObject *thrown)
{
    if (self->step > 0) {
        results[self->step - 1] = thrown != NULL ? thrown : Py_NewRef(sent_in);
    }
    switch (self->step) {
    case 0:
        return channel_receive_new(receivers[0], 0.001, false);
    case 1:
        return channel_receive_new(receivers[1], -1, false);
    default:
        return NULL;
    }
}

static void
start_twice(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(waits_twice, NULL), &outcome);
    worker_new(0);
    model_thread("sends", sends, messages[0]);
    model_thread("time", expires, NULL);
    model_thread("sends 2", sends, messages[1]);
}

static void
finish_twice(void)
{
    if (outcome.ended) {
        bool late = results[0] == PyExc_TimeoutError;
        model_check(late ? left_in(0) == 1 : results[0] == messages[0]);
        model_check(results[1] == messages[1]);
    }
    else {
        model_fail("the task waits for what has happened", MODEL_WHERE);
    }
}

/* Somebody looks at the parked task, as if it were cancelled. */
static void
start_borrow(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(waits_twice, NULL), &outcome);
    worker_new(0);
    worker_new(1);
    model_thread("sends", sends, messages[0]);
    model_thread("sends 2", sends, messages[1]);
    model_thread("borrows", borrows, NULL);
}

static void
finish_borrow(void)
{
    model_check(outcome.ended && results[0] == messages[0] && results[1] == messages[1]);
}

/* ---- scopes ---------------------------------------------------------------------------------------------- */

/* One wait in a scope, the other one outside of it. */
static PyObject *
leaves_scope(ModelCoroutine *self, PyObject *sent_in, PyObject *thrown)
{
    Task *task = current_worker->task;

    if (self->step > 0) {
        results[self->step - 1] = thrown != NULL ? thrown : Py_NewRef(sent_in);
    }
    switch (self->step) {
    case 0:
        cancel_scope_enter(scope, task, TIMER_NEVER, true);
        return channel_receive_new(receivers[0], -1, false);
    case 1:
        cancel_scope_close(scope, task);
        cancel_scope_end(scope);
        return channel_receive_new(receivers[1], -1, false);
    default:
        return NULL;
    }
}

static void
start_scope(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(leaves_scope, NULL), &outcome);
    worker_new(0);
    model_thread("cancels", cancels_scope, NULL);
    model_thread("sends", sends, messages[0]);
    model_thread("sends 2", sends, messages[1]);
}

static void
finish_scope(void)
{
    model_check(outcome.ended && results[1] == messages[1]);
    if (results[0] == messages[0]) {
        model_check(left_in(0) == 0);
    }
    else {
        model_check(cancelled && results[0] == error_type(ERROR_TASK_CANCELLED) && left_in(0) == 1);
    }
}

/* A request that comes while the task finds out that an earlier one is none any more. */
static void
start_scope_stop(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(leaves_scope, NULL), &outcome);
    worker_new(0);
    model_thread("cancels", cancels_scope, NULL);
    model_thread("stops", stops, NULL);
}

static void
finish_scope_stop(void)
{
    model_check(outcome.ended && results[1] == error_type(ERROR_TASK_CANCELLED));
}

/* A wait for what runs in the scope: as the end of a scope's block. */
static OperationResult
wait_poll(Operation *op, Task *task, PyObject **result)
{
    CancelScope *target = scope;

    (void)op;
    (void)task;
    if (!cancel_scope_collect(scope, &target, NULL)) {
        return OPERATION_PENDING;
    }
    *result = Py_None;
    return OPERATION_READY;
}

static OperationResult
wait_arm(Operation *op, Task *task, PyObject **result)
{
    (void)op;
    (void)task;
    (void)result;
    return cancel_scope_arm(scope) ? OPERATION_PARKED : OPERATION_PENDING;
}

static void
wait_detach(Operation *op, Task *task)
{
    (void)op;
    (void)task;
    cancel_scope_disarm(scope);
}

static OperationResult
wait_cancelled(Operation *op, Task *task)
{
    (void)op;
    (void)task;
    return OPERATION_PENDING;
}

static const OperationClass wait_class = {
    .name = "scope()",
    .poll = wait_poll,
    .arm = wait_arm,
    .detach = wait_detach,
    .cancelled = wait_cancelled,
};

static PyTypeObject wait_type = {
    .tp_name = "wait", .tp_basicsize = sizeof(Operation), .tp_dealloc = (destructor)PyObject_Free};

static void
member_done(Completion *completion, Task *task, PyObject *value, PyObject *error)
{
    TaskChain chain = TASK_CHAIN_EMPTY;

    (void)completion;
    (void)task;
    member_outcome.ended = true;
    member_outcome.value = value;
    member_outcome.error = error;
    mutex_lock(&scope->mutex);
    cancel_scope_remove_member(scope, member, &chain);
    mutex_unlock(&scope->mutex);
    scheduler_wake_chain(&chain);
}

/* Starts a member and waits for it. */
static PyObject *
has_member(ModelCoroutine *self, PyObject *sent_in, PyObject *thrown)
{
    Task *task = current_worker->task;

    (void)sent_in;
    if (self->step > 0) {
        results[0] = thrown != NULL ? thrown : Py_None;
        cancel_scope_end(scope);
        return NULL;
    }
    cancel_scope_enter(scope, task, TIMER_NEVER, true);
    model_check(cancel_scope_reserve(scope, true));
    Operation *receive = (Operation *)channel_receive_new(receivers[0], -1, false);
    operation_claim(receive);
    member_outcome.completion.done = member_done;
    Task *started = runtime_new_task(runtime, (PyObject *)receive, &member_outcome.completion, 0);
    cancel_scope_add_member(scope, member, started);
    runtime_start_task(runtime, started);
    cancel_scope_close(scope, task);
    operation_type_ready(&wait_type);
    Operation *wait = PyObject_New(Operation, &wait_type);
    operation_init(wait, &wait_class, OPERATION_NEW, -1);
    return (PyObject *)wait;
}

static void
start_member(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(has_member, NULL), &outcome);
    worker_new(0);
    worker_new(1);
    model_thread("cancels", cancels_scope, NULL);
}

static void
finish_member(void)
{
    model_check(member_outcome.ended == cancelled && outcome.ended == cancelled);
    if (cancelled) {
        model_check(member_outcome.error == error_type(ERROR_TASK_CANCELLED));
    }
}

static void
start_member_ends(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(has_member, NULL), &outcome);
    worker_new(0);
    model_thread("stops", stops, NULL);
    model_thread("sends", sends, messages[0]);
}

/* The host is cancelled as a whole while it waits, which it passes on, and waits on. */
static void
finish_member_ends(void)
{
    model_check(outcome.ended && member_outcome.ended);
    model_check(member_outcome.value == messages[0] ? left_in(0) == 0 : left_in(0) == 1);
}

/* The same in a run that is abandoned: no wait of the host is ended before the member has. */
static void
start_member_abandoned(void)
{
    begin();
    engine_spawn(runtime, python_coroutine(has_member, NULL), &outcome);
    worker_new(0);
    model_thread("stops", stops, NULL);
    model_thread("abandons", abandons, NULL);
    model_thread("sends", sends, messages[0]);
}

/* ---- a wait that outlasts cancellations ------------------------------------------------------------------ */

static OperationResult
kept_poll(Operation *op, Task *task, PyObject **result)
{
    (void)op;
    (void)task;
    (void)result;
    return OPERATION_PENDING;
}

static OperationResult
kept_arm(Operation *op, Task *task, PyObject **result)
{
    (void)op;
    (void)task;
    (void)result;
    return OPERATION_PARKED;
}

static void
kept_abandoned(Operation *op, Task *task)
{
    (void)op;
    (void)task;
    model_check(results[0] == NULL);
    results[0] = Py_None;
}

/* A wait for a lock that nobody will ever give back: as that of a task which is cancelled in Condition.wait(). */
static const OperationClass kept_class = {
    .name = "kept",
    .poll = kept_poll,
    .arm = kept_arm,
    .cancelled = wait_cancelled,
    .abandoned = kept_abandoned,
};

static void
start_kept(void)
{
    begin();
    operation_type_ready(&wait_type);
    Operation *wait = PyObject_New(Operation, &wait_type);
    operation_init(wait, &kept_class, OPERATION_NEW, -1);
    engine_spawn(runtime, (PyObject *)wait, &outcome);
    worker_new(0);
    worker_new(1);
    model_thread("stops", stops, NULL);
    model_thread("abandons", abandons, NULL);
}

static void
finish_kept(void)
{
    model_check(outcome.ended && outcome.error == PyExc_GeneratorExit && results[0] == Py_None);
}

/* ---- several waits at once ------------------------------------------------------------------------------- */

static void
begin_select(void)
{
    begin();
    PyObject *branches[] = {channel_receive_new(receivers[0], -1, false),
                            channel_receive_new(receivers[1], -1, false)};
    engine_spawn(runtime, select_call(NULL, branches, 2), &outcome);
    worker_new(0);
    model_thread("sends", sends, messages[0]);
}

static void
start_select(void)
{
    begin_select();
    model_thread("sends 2", sends, messages[1]);
}

static void
start_select_cancel(void)
{
    begin_select();
    model_thread("stops", stops, NULL);
}

static void
finish_select(void)
{
    int got = outcome.value == messages[1];

    model_check(outcome.ended && outcome.value == messages[got]);
    model_check(left_in(got) == 0 && left_in(1 - got) == 1);
    model_check(list_is_empty(&receivers[0]->channel->receiving) &&
                list_is_empty(&receivers[1]->channel->receiving));
}

static void
finish_select_cancel(void)
{
    model_check(outcome.ended);
    if (outcome.value == NULL) {
        model_check(outcome.error == error_type(ERROR_TASK_CANCELLED) && left_in(0) == 1);
    }
    else {
        model_check(outcome.value == messages[0] && left_in(0) == 0);
    }
    model_check(list_is_empty(&receivers[0]->channel->receiving) &&
                list_is_empty(&receivers[1]->channel->receiving));
}

const Model models[] = {
    {"task: wake and time-out, then another wait", start_twice, finish_twice, engine_quiet, 3,
     false, false},
    {"task: borrowed while it is woken", start_borrow, finish_borrow, engine_quiet, 3, false,
     false},
    {"task: cancelled in a scope, waits outside", start_scope, finish_scope, engine_quiet, 3, false,
     false},
    {"task: cancelled in a scope and as a whole", start_scope_stop, finish_scope_stop, engine_quiet,
     3, false, false},
    {"task: a member starts in a cancelled scope", start_member, finish_member, engine_quiet, 3,
     false, false},
    {"task: cancelled while it waits for a member", start_member_ends, finish_member_ends,
     engine_quiet, 3, false, false},
    {"task: abandoned while it waits for a member", start_member_abandoned, finish_member_ends,
     engine_quiet, 3, false, false},
    {"task: abandoned in a wait that outlasts cancellations", start_kept, finish_kept, engine_quiet,
     MODEL_ALL, false, false},
    {"task: select of two, both happen", start_select, finish_select, engine_quiet, 4, false,
     false},
    {"task: select of two, and cancelled", start_select_cancel, finish_select_cancel, engine_quiet,
     MODEL_ALL, false, false},
    {"task: wake and time-out, stores delayed", start_twice, finish_twice, engine_quiet, 2, true,
     false},
    {0},
};
