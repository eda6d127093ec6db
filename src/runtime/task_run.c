/* The run loop: resumes the coroutines of one task until it waits, gives way or ends.
 *
 * This is the only code that resumes a coroutine. A task is a stack of coroutines: one that is yielded is pushed and
 * runs at once, one that returns is popped and its value sent to the one below, an exception likewise; none of
 * this touches a queue. An operation that is yielded or awaited is polled; if it is ready the loop goes on, if not
 * it is armed and the task parks. An operation may also lie on the stack: as the host of the coroutine above
 * it (a timeout), or because it was spawned as it is.
 *
 * Everything here runs attached, on the worker that owns the task. After task_try_park succeeded, and after the task
 * was pushed to a queue, it is somebody else's and not touched again.
 */
#include "errors.h"
#include "runtime/cancel.h"
#include "runtime/operation.h"
#include "runtime/perturb.h"
#include "runtime/runtime.h"
#include "runtime/scheduler.h"
#include "runtime/task_handle.h"
#include "support.h"

/* What the loop does next. Values and operations are owned by the loop; exceptions are in the thread state. */
typedef enum Step {
    STEP_SEND,  /* give `value` (NULL: None) to the top of the stack */
    STEP_THROW, /* raise the current exception in the top of the stack */
    STEP_LEAVE, /* the task is gone: parked, queued or ended */
} Step;

/* A refusal to be cancelled: how often in a row a task may catch CancelledError. */
#define MOST_SWALLOWED 1000

#define THROW_ATTEMPTS 100

static Step task_drive(Worker *worker, Task *task, Operation *op, PyObject **value);
static Step task_poll(Worker *worker, Task *task, Operation *op, PyObject **value);

/* ---- ending ---------------------------------------------------------------------------------------------- */

/* The last coroutine is gone; the outcome is *value, or with NULL the current exception. */
static Step
task_end(Worker *worker, Task *task, PyObject *value)
{
    Runtime *runtime = task_runtime(task);
    PyObject *error = value == NULL ? PyErr_GetRaisedException() : NULL;
    Completion *completion = task->completion;

    worker->task = NULL;
    if (task->context != NULL) {
        /* entered by task_run; left here because `done` may run code that does not belong to the task */
        PyContext_Exit(task->context);
        Py_CLEAR(task->context);
    }
    task_handle_ended(task);
    if (error != NULL && error_ends_run(error)) {
        runtime_interrupt(runtime, Py_NewRef(error));
    }
    if (completion != NULL) {
        completion->done(completion, task, value, error);
    }
    else {
        if (error != NULL && !error_is_cancelled(error) && !error_ends_run(error)) {
            error_report(error, "in a task that nobody waits for");
        }
        Py_XDECREF(value);
        Py_XDECREF(error);
    }
    task_free(runtime, &worker->cache, task);
    /* relaxed: written by this thread only; runtime_end_if_empty says how it is read */
    atomic_store_explicit(&worker->finished,
                          atomic_load_explicit(&worker->finished, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return STEP_LEAVE;
}

/* The top of the stack has returned *value. */
static Step
task_returned(Worker *worker, Task *task, PyObject **value)
{
    if (task_pop(task)) {
        return STEP_SEND;
    }
    PyObject *outcome = *value != NULL ? *value : Py_NewRef(Py_None);
    *value = NULL;
    return task_end(worker, task, outcome);
}

/* The top of the stack has failed with the current exception. */
static Step
task_raised(Worker *worker, Task *task)
{
    /* popping may run code, which must not find an exception */
    PyObject *error = PyErr_GetRaisedException();
    bool more = task_pop(task);
    PyErr_SetRaisedException(error);
    if (more) {
        return STEP_THROW;
    }
    return task_end(worker, task, NULL);
}

/* ---- giving way ------------------------------------------------------------------------------------------ */

/* A cancellation is in force and the task is about to wait or give way: sets CancelledError. A task that has caught it again
 * and again is closed for good, and so is one that has not ended when the run is abandoned. */
static void
task_set_cancelled(Task *task)
{
    Runtime *runtime = task_runtime(task);

    if (++task->swallowed <= MOST_SWALLOWED && !runtime_is_abandoned(runtime)) {
        error_set_cancelled();
        return;
    }
    task->flags |= TASK_CLOSING;
    if (runtime_is_abandoned(runtime)) {
        PyErr_SetNone(PyExc_GeneratorExit);
        return;
    }
    PyObject *name = task_describe(task);
    if (name != NULL && PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                         "%U caught CancelledError %d times in a row: it is closed",
                                         name, MOST_SWALLOWED) < 0) {
        error_report_current("in a warning about a task that refuses to be cancelled");
    }
    Py_XDECREF(name);
    PyErr_SetNone(PyExc_GeneratorExit);
}

/* A cancellation was delivered that `op` outlasts. PENDING: it goes on, deaf to further ones, until what it owns has ended.
 * ERROR: the run is abandoned and it had to give up; the exception to raise is set. */
static OperationResult
operation_outlasts_cancel(Task *task, Operation *op)
{
    if (op->cls->abandoned != NULL && runtime_is_abandoned(task_runtime(task))) {
        op->cls->abandoned(op, task);
        task_set_cancelled(task);
        return OPERATION_ERROR;
    }
    task_set_uncancellable(task);
    return OPERATION_PENDING;
}

/* A cancellation is in force in which `op` (NULL: none) would wait or give way. PENDING and ERROR: as above. */
static OperationResult
task_deliver_cancel(Task *task, Operation *op)
{
    task_spread_stop(task);
    if (op != NULL && op->cls->cancelled != NULL &&
        op->cls->cancelled(op, task) == OPERATION_PENDING) {
        if (!op->cls->settles) {
            task->flags |= TASK_CANCELLING;
        }
        return operation_outlasts_cancel(task, op);
    }
    task_set_cancelled(task);
    return OPERATION_ERROR;
}

/* Puts the task at the tail of the queue; `task->operation`, if any, is polled when its turn comes. STEP_THROW if a
 * cancellation is in force. */
static Step
task_give_way(Worker *worker, Task *task)
{
    if (task_cancel_requested(task) && !(task->flags & TASK_CANCELLING) &&
        task_is_cancelled(task) && task_deliver_cancel(task, task->operation) == OPERATION_ERROR) {
        return STEP_THROW;
    }
    if (task->context != NULL) {
        PyContext_Exit(task->context);
    }
    worker->task = NULL;
    scheduler_push(task_runtime(task), task);
    return STEP_LEAVE;
}

/* ---- operations ------------------------------------------------------------------------------------------ */

/* The outcome of `op`, which the task owns in task->operation, goes to who asked for it: an awaited one has it fetched by
 * its __next__, a yielded one is sent it. READY: *value; ERROR: the current exception. */
static Step
operation_outcome(Task *task, OperationResult result, PyObject **value)
{
    task_clear_uncancellable(task); /* it may have had to wait no more */
    if (task->flags & TASK_CANCELLING) {
        /* what it waited for has ended; an error of its own goes before the cancellation */
        task->flags &= (uint16_t)~TASK_CANCELLING;
        if (result == OPERATION_READY || PyErr_ExceptionMatches(error_type(ERROR_TASK_CANCELLED))) {
            PyErr_Clear();
            Py_CLEAR(*value);
            error_set_cancelled();
            result = OPERATION_ERROR;
        }
    }
    if (task->flags & TASK_AWAITED) {
        task->flags &= (uint16_t)~TASK_AWAITED;
        task->flags |= TASK_HAS_RESULT;
        if (result == OPERATION_READY) {
            task->value = *value;
            *value = NULL;
        }
        else {
            task->flags |= TASK_FAILED;
            task->value = PyErr_GetRaisedException();
        }
        return STEP_SEND;
    }
    PyObject *error = result == OPERATION_READY ? NULL : PyErr_GetRaisedException();
    Py_CLEAR(task->operation);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return STEP_THROW;
    }
    return STEP_SEND;
}

/* As task_give_way, for a task that is using an operation. */
static Step
operation_give_way(Worker *worker, Task *task, PyObject **value)
{
    return task_give_way(worker, task) == STEP_LEAVE
               ? STEP_LEAVE
               : operation_outcome(task, OPERATION_ERROR, value);
}

/* The time of an operation, which is in no queue, is up. */
static OperationResult
operation_time_out(Operation *op, Task *task, PyObject **value)
{
    if (op->cls->timed_out != NULL) {
        return op->cls->timed_out(op, task, value);
    }
    operation_set_timed_out(op);
    return OPERATION_ERROR;
}

/* The present wait was claimed (reason) or cannot begin (a cancellation is in force): takes the task out of it. */
static Step
task_wait_ended(Worker *worker, Task *task, uint32_t reason, PyObject **value)
{
    Operation *op = task->operation;
    OperationResult result = OPERATION_ERROR;

    if ((task->flags & TASK_HAS_TIMER) && reason != TASK_TIMED_OUT) {
        driver_remove_task_timer(&task_runtime(task)->driver, &task->timer);
    }
    task->flags &= (uint16_t)~TASK_HAS_TIMER;

    if ((reason != TASK_COMPLETED || op->cls->grouped) && op->cls->detach != NULL) {
        op->cls->detach(op, task);
    }
    task_wait_clear(task);

    switch (reason) {
    case TASK_COMPLETED:
        task->swallowed = 0;
        if (op->cls->finish == NULL) {
            return task_poll(worker, task, op, value);
        }
        result = op->cls->finish(op, task, value);
        break;
    case TASK_TIMED_OUT:
        task->swallowed = 0;
        result = operation_time_out(op, task, value);
        break;
    default: /* TASK_CANCELLED */
        /* if none is in force (the scope was left or changed meanwhile) it waits again; if one was delivered it goes on */
        result = OPERATION_PENDING;
        task_clear_abandon_request(task);
        if (task->flags & TASK_CANCELLING) {
            result = operation_outlasts_cancel(task, op);
        }
        else if (task_is_cancelled(task)) {
            result = task_deliver_cancel(task, op);
        }
        break;
    }
    if (result == OPERATION_PENDING) {
        return task_poll(worker, task, op, value);
    }
    return operation_outcome(task, result, value);
}

/* Parks the task on task->operation, which was polled and is not ready. */
static Step
task_park(Worker *worker, Task *task, PyObject **value)
{
    Operation *op = task->operation;
    OperationResult result;
    uint32_t reason;

    if (op->timeout == 0.0 && op->deadline == 0) {
        /* no time to wait at all: that is no wait, and no point of cancellation */
        if (op->cls->detach != NULL) {
            op->cls->detach(op, task);
        }
        op->deadline = 1; /* should it want to wait again: it is over */
        result = operation_time_out(op, task, value);
        return result == OPERATION_PENDING ? task_poll(worker, task, op, value)
                                           : operation_outcome(task, result, value);
    }
    result = op->cls->arm(op, task, value);
    if (result == OPERATION_PENDING) {
        return task_poll(worker, task, op, value);
    }
    if (result != OPERATION_PARKED) {
        return operation_outcome(task, result, value);
    }
    if (operation_set_deadline(op)) {
        task->flags |= TASK_HAS_TIMER;
        driver_add_task_timer(&task_runtime(task)->driver, &task->timer, op->deadline);
    }
    if (task->context != NULL) {
        PyContext_Exit(task->context);
    }
    worker->task = NULL;
    if (is_perturbed(worker)) {
        perturb_delay(worker); /* it may be claimed already */
    }
    if (task_try_park(task)) {
        return STEP_LEAVE;
    }
    /* Claimed while it was being armed, or to be cancelled before it waits. */
    worker->task = task;
    if (task->context != NULL) {
        PyContext_Enter(task->context);
    }
    reason = task_wait_reason(task);
    if (reason == 0) {
        /* a cancellation: it and whoever completes the wait just now race for the claim like everybody */
        TaskChain none = TASK_CHAIN_EMPTY; /* it is not parked */
        task_claim(task, TASK_CANCELLED, &none);
        reason = task_wait_reason(task);
    }
    return task_wait_ended(worker, task, reason, value);
}

/* Polls task->operation (the task owns it and has claimed it) and goes on with what comes of it. */
static Step
task_poll(Worker *worker, Task *task, Operation *op, PyObject **value)
{
    OperationResult result;

    if (budget_is_spent(worker, task)) {
        return operation_give_way(worker, task, value);
    }
    /* The coroutine of one that hosts will lie on top of it: once it hosts there is no way back. */
    if (op->cls->hosted_ended != NULL && task_reserve(task, 2) < 0) {
        return operation_outcome(task, OPERATION_ERROR, value);
    }
    result = op->cls->poll(op, task, value);
    switch (result) {
    case OPERATION_PENDING:
        return task_park(worker, task, value);
    case OPERATION_REQUEUE:
        return operation_give_way(worker, task, value);
    case OPERATION_HOSTS: {
        /* The operation stays on the stack below the coroutine that it hosts. */
        PyObject *hosted = *value;
        *value = NULL;
        op->awaited = (task->flags & TASK_AWAITED) != 0;
        task->flags &= (uint16_t)~TASK_AWAITED;
        task->operation = NULL;
        task_push(task, (PyObject *)op); /* there is room for both */
        task_push(task, hosted);
        if (operation_check(hosted)) {
            task->flags |= TASK_BARE;
        }
        return STEP_SEND;
    }
    default:
        return operation_outcome(task, result, value);
    }
}

/* A coroutine has handed out `op` (stolen). */
static Step
task_drive(Worker *worker, Task *task, Operation *op, PyObject **value)
{
    if (worker->awaiting == op) {
        /* Awaited: it is claimed and, unless it asks for another turn, polled. */
        worker->awaiting = NULL;
        task->operation = op;
        task->flags |= TASK_AWAITED;
        if (worker->awaiting_result == OPERATION_PENDING) {
            return task_park(worker, task, value);
        }
        if (worker->awaiting_result == OPERATION_REQUEUE && op->cls->hosted_ended == NULL) {
            return operation_give_way(worker, task, value);
        }
        return task_poll(worker, task, op, value);
    }
    if (operation_claim(op) < 0) {
        Py_DECREF(op);
        return STEP_THROW;
    }
    task->operation = op;
    return task_poll(worker, task, op, value);
}

/* The coroutine that the operation on top of the stack hosts has ended with *value or the current exception. */
static Step
host_ended(Worker *worker, Task *task, bool failed, PyObject **value)
{
    Operation *op = (Operation *)task->top; /* the task's; it lives until this is over */
    OperationResult result;
    PyObject *error = failed ? PyErr_GetRaisedException() : NULL;
    PyObject *outcome = failed ? NULL : (*value != NULL ? *value : Py_NewRef(Py_None));
    *value = NULL;
    result = op->cls->hosted_ended(op, task, outcome, error, value);
    if (result == OPERATION_PENDING) {
        /* it has to wait for something: off the stack, and then as if it had just been yielded or awaited */
        task->operation = (Operation *)task_take(task);
        if (op->awaited) {
            task->flags |= TASK_AWAITED;
        }
        return task_poll(worker, task, op, value);
    }
    if (op->awaited) {
        /* below it lies the coroutine that awaits it */
        task->operation = (Operation *)Py_NewRef(op);
        task->flags |= TASK_AWAITED;
        error = result == OPERATION_READY ? NULL : PyErr_GetRaisedException();
        task_pop(task);
        if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
        return operation_outcome(task, result, value);
    }
    return result == OPERATION_READY ? task_returned(worker, task, value)
                                     : task_raised(worker, task);
}

/* ---- coroutines ------------------------------------------------------------------------------------------ */

/* A coroutine has handed out `object` (stolen). */
static Step
task_yielded(Worker *worker, Task *task, PyObject *object, PyObject **value)
{
    if (task->flags & TASK_CLOSING) {
        /* It has ignored GeneratorExit. It is finalized here, as a task, which the interpreter reports: left to whichever
         * thread drops the last reference, its next wait would fail instead of suspending, and it might go on for ever. */
        worker->awaiting = NULL;
        Py_DECREF(object);
        if (task->top != NULL && coroutine_check(task->top)) {
            PyObject_CallFinalizer(task->top);
            worker->awaiting = NULL;
        }
        PyErr_SetNone(PyExc_GeneratorExit);
        return task_raised(worker, task);
    }
    if (object == Py_None) {
        return task_give_way(worker, task);
    }
    if (operation_check(object)) {
        return task_drive(worker, task, (Operation *)object, value);
    }
    worker->awaiting = NULL;
    PyObject *runnable = runnable_claim(object, "what a task yields");
    Py_DECREF(object);
    if (runnable == NULL || task_push(task, runnable) < 0) {
        return STEP_THROW;
    }
    if (operation_check(runnable)) {
        task->flags |= TASK_BARE; /* what __await__ of some object gave */
    }
    return STEP_SEND;
}

static Step
task_send(Worker *worker, Task *task, PyObject **value)
{
    PyObject *top = task->top;
    PyObject *sent = *value;
    PyObject *out = NULL;
    PySendResult result;

    if (top == NULL) {
        *value = NULL;
        return task_end(worker, task, sent != NULL ? sent : Py_NewRef(Py_None));
    }
    if (operation_check(top)) {
        if (task->flags & TASK_BARE) {
            task->flags &= (uint16_t)~TASK_BARE;
            task->operation = (Operation *)task_take(task);
            return task_poll(worker, task, task->operation, value);
        }
        return host_ended(worker, task, false, value);
    }
    *value = NULL;
    result = PyIter_Send(top, sent != NULL ? sent : Py_None, &out);
    Py_XDECREF(sent);
    if (worker->carries) {
        /* the result of the last await has long been fetched: it is not to live on in the worker */
        worker->carries = false;
        Py_CLEAR(((PyStopIterationObject *)worker->stop_iteration)->value);
    }
    switch (result) {
    case PYGEN_NEXT:
        return task_yielded(worker, task, out, value);
    case PYGEN_RETURN:
        *value = out;
        return task_returned(worker, task, value);
    default:
        return task_raised(worker, task);
    }
}

/* Raises `error` in a coroutine: what it hands out, or NULL with the exception that it ends with. */
static PyObject *
coroutine_throw(PyObject *coroutine, PyObject *error)
{
    int before = coroutine_state(coroutine);
    PyObject *out = PyObject_CallMethodOneArg(coroutine, support.name_throw, error);

    /* A call that fails before it gets there is made again: else the coroutine would be dropped as it stands, and what it has
     * to tidy up would not be done by its task. */
    for (int attempt = 1; out == NULL && coroutine_state(coroutine) == before; attempt++) {
        if (attempt == THROW_ATTEMPTS) {
            PyObject *reason = PyErr_GetRaisedException();
            PyException_SetContext(reason, Py_NewRef(error));
            PyErr_SetRaisedException(reason);
            break;
        }
        PyErr_Clear();
        out = PyObject_CallMethodOneArg(coroutine, support.name_throw, error);
    }
    return out;
}

/* The same for another iterator, which may know nothing of exceptions: then it ends with this one. */
static PyObject *
iterator_throw(PyObject *iterator, PyObject *error)
{
    PyObject *method = NULL;

    if (PyObject_GetOptionalAttr(iterator, support.name_throw, &method) < 0) {
        return NULL;
    }
    if (method == NULL) {
        PyErr_SetRaisedException(Py_NewRef(error));
        return NULL;
    }
    PyObject *out = PyObject_CallOneArg(method, error);
    Py_DECREF(method);
    return out;
}

static Step
task_throw(Worker *worker, Task *task, PyObject **value)
{
    PyObject *top = task->top;

    if (top == NULL) {
        return task_end(worker, task, NULL);
    }
    if (operation_check(top)) {
        return host_ended(worker, task, true, value);
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *out = coroutine_check(top) ? coroutine_throw(top, error) : iterator_throw(top, error);
    Py_DECREF(error);
    if (out != NULL) {
        return task_yielded(worker, task, out, value);
    }
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyStopIterationObject *stop = (PyStopIterationObject *)PyErr_GetRaisedException();
        *value = Py_XNewRef(stop->value);
        Py_DECREF(stop);
        return task_returned(worker, task, value);
    }
    return task_raised(worker, task);
}

void
task_run(Worker *worker, Task *task)
{
    PyObject *value = NULL;
    uint32_t reason = task->operation != NULL ? task_wait_reason(task) : 0;
    Step step = STEP_SEND;

    worker->task = task;
    budget_begin(worker);
    if (task->context != NULL && PyContext_Enter(task->context) < 0) {
        Py_CLEAR(task->context); /* it is not entered, so it must not be left */
        step = STEP_THROW;
    }
    else if (task->operation != NULL) {
        step = reason != 0 ? task_wait_ended(worker, task, reason, &value)
                           : task_poll(worker, task, task->operation, &value);
    }
    while (step != STEP_LEAVE) {
        step =
            step == STEP_SEND ? task_send(worker, task, &value) : task_throw(worker, task, &value);
    }
}
