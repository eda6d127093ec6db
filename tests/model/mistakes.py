"""Mistakes that the models must find: what is replaced in which file of src, and who finds it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    name: str
    program: str
    model: str  # a part of the name of those that are to find it
    file: str  # in src
    before: str  # occurs once in it
    after: str

    def apply(self, text: str) -> str:
        if text.count(self.before) != 1:
            raise SystemExit(
                f"mistake {self.name!r}: {self.file} has changed; what it replaces occurs "
                f"{text.count(self.before)} times there"
            )
        return text.replace(self.before, self.after)


MISTAKES = (
    # --- core
    Mistake(
        "unlock-wakes-nobody",
        "mutex",
        "three",
        "core/mutex.h",
        "memory_order_release) == 2)",
        "memory_order_release) == 3)",
    ),
    Mistake(
        "sleeper-forgets-others",
        "mutex",
        "three",
        "core/mutex.c",
        "atomic_exchange_explicit(&mutex->word, 2, memory_order_acquire)",
        "atomic_exchange_explicit(&mutex->word, 1, memory_order_acquire)",
    ),
    Mistake(
        "park-overwrites-unpark",
        "parker",
        "parker",
        "core/parker.c",
        """    return atomic_compare_exchange_strong_explicit(&parker->state, &expected, PARKED,
                                                   memory_order_relaxed, memory_order_relaxed);""",
        """    (void)expected;
    atomic_store_explicit(&parker->state, PARKED, memory_order_relaxed);
    return true;""",
    ),
    Mistake(
        "wake-up-stays-pending",
        "poller",
        "poller",
        "core/poller.c",
        "            atomic_exchange_explicit(&poller->wake_pending, 0, memory_order_acquire);\n",
        "",
    ),
    Mistake(
        "pop-does-not-compare",
        "run_queue",
        "two thieves",
        "core/run_queue.c",
        """        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, head + 1,
                                                  memory_order_release, memory_order_relaxed)) {
            return node;
        }""",
        """        atomic_store_explicit(&queue->head, head + 1, memory_order_release);
        return node;""",
    ),
    Mistake(
        "refill-hides-nodes",
        "run_queue",
        "while counted",
        "core/run_queue.c",
        """    tail_publish(queue, tail + count);
    inject_queue_drop_locked(overflow, node, count);""",
        """    inject_queue_drop_locked(overflow, node, count);
    tail_publish(queue, tail + count);""",
    ),
    # --- the task's state word
    Mistake(
        "claimed-twice",
        "task",
        "time-out, then",
        "runtime/task.c",
        """        if (state & TASK_CLAIMED) {
            return false;
        }
        next =""",
        "        next =",
    ),
    Mistake(
        "parks-though-claimed",
        "task",
        "time-out, then",
        "runtime/task.c",
        """        if (state & TASK_CLAIMED) {
            return false;
        }
        if ((state""",
        "        if ((state",
    ),
    Mistake(
        "parks-though-cancelled",
        "channel",
        "receive and cancel",
        "runtime/task.c",
        "if ((state & TASK_CANCEL) &&",
        "if (false &&",
    ),
    Mistake(
        "cleared-too-early",
        "task",
        "time-out, then",
        "runtime/task_run.c",
        """    if ((task->flags & TASK_HAS_TIMER) && reason != TASK_TIMED_OUT) {""",
        """    task_wait_clear(task);
    if ((task->flags & TASK_HAS_TIMER) && reason != TASK_TIMED_OUT) {""",
    ),
    Mistake(
        "disturbed-though-deaf",
        "task",
        "waits for a member",
        "runtime/task.c",
        "(state & (TASK_UNCANCELLABLE | TASK_ABANDON)) != TASK_UNCANCELLABLE) {",
        "true) {",
    ),
    Mistake(
        "parks-though-abandoned",
        "task",
        "outlasts cancellations",
        "runtime/task.c",
        "(state & (TASK_UNCANCELLABLE | TASK_ABANDON)) != TASK_UNCANCELLABLE) {",
        "!(state & TASK_UNCANCELLABLE)) {",
    ),
    Mistake(
        "deaf-though-abandoned",
        "task",
        "outlasts cancellations",
        "runtime/task.c",
        "(!(state & TASK_UNCANCELLABLE) || (extra & TASK_ABANDON));",
        "!(state & TASK_UNCANCELLABLE);",
    ),
    Mistake(
        "abandoned-again-and-again",
        "task",
        "abandoned while it waits for a member",
        "runtime/task_run.c",
        "        task_clear_abandon_request(task);\n",
        "",
    ),
    Mistake(
        "member-does-not-look",
        "task",
        "a member starts",
        "runtime/cancel.c",
        """    if (atomic_load_explicit(&scope->cancelled, memory_order_seq_cst) ||
        chain_is""",
        """    if (false &&
        chain_is""",
    ),
    Mistake(
        "request-cleared-after-looking",
        "task",
        "and as a whole",
        "runtime/cancel.c",
        """    task_clear_cancel_request(task);
    if (!chain_is_cancelled(task->scope, task, task_runtime(task))) {
""",
        """    if (!chain_is_cancelled(task->scope, task, task_runtime(task))) {
        task_clear_cancel_request(task);
""",
    ),
    Mistake(
        "select-opens-unlooked",
        "task",
        "both happen",
        "types/select.c",
        """        select_disarm(self, task, NULL); /* something has happened meanwhile */
        return OPERATION_PENDING;""",
        """        atomic_store_explicit(&self->group.gate, GROUP_OPEN, memory_order_release);""",
    ),
    # --- channels
    Mistake(
        "handed-to-whom-is-gone",
        "channel",
        "receive, cancel, send",
        "types/channel.c",
        """        receive->outcome = TRANSFER_DONE;
        if (waiter_claim(waiter, chain)) {""",
        """        receive->outcome = TRANSFER_DONE;
        if (waiter_claim(waiter, chain) || true) {""",
    ),
    Mistake(
        "taken-from-whom-is-gone",
        "channel",
        "rendezvous",
        "types/channel.c",
        """        send->outcome = TRANSFER_DONE;
        if (waiter_claim(waiter, chain)) {""",
        """        send->outcome = TRANSFER_DONE;
        if (waiter_claim(waiter, chain) || true) {""",
    ),
    Mistake(
        "armed-without-looking",
        "channel",
        "receive and send",
        "types/channel.c",
        "    Transfer transfer = receive_locked(channel, self->handle, &message, &spare, &chain);",
        "    Transfer transfer = TRANSFER_WAITS;",
    ),
    Mistake(
        "stays-in-the-queue",
        "channel",
        "receive, cancel, send",
        "types/channel.c",
        """    ChannelReceive *self = (ChannelReceive *)op;

    mutex_lock(&self->handle->channel->mutex);
    list_remove(&self->waiter.node);""",
        """    ChannelReceive *self = (ChannelReceive *)op;

    mutex_lock(&self->handle->channel->mutex);""",
    ),
    Mistake(
        "close-forgets-receivers",
        "channel",
        "the sender closes",
        "types/channel.c",
        "                fail_receivers(self, NULL, TRANSFER_ENDED, &chain);",
        "",
    ),
    # --- sockets
    Mistake(
        "clears-what-it-has-not-seen",
        "socket",
        "two receives",
        "runtime/driver.c",
        "while (!(seen & final) && seen / READY_TICK == tick / READY_TICK &&",
        "while (!(seen & final) &&",
    ),
    Mistake(
        "parks-though-ready",
        "socket",
        "two receives",
        "runtime/driver.c",
        "(!source_has_readiness(source, direction) || (source->called & bit))) {",
        "true) {",
    ),
    Mistake(
        "closed-while-used",
        "socket",
        "close by another",
        "types/socket.c",
        "int error = (before & ~SOCKET_DIRECTIONS) == 0 ? socket_finalize(self, false) : 0;",
        "int error = !(before & SOCKET_CLOSED) ? socket_finalize(self, false) : 0;",
    ),
    Mistake(
        "closed-twice",
        "socket",
        "two closes",
        "types/socket.c",
        "int error = (before & ~SOCKET_DIRECTIONS) == 0 ? socket_finalize(self, false) : 0;",
        "int error = (before & SOCKET_CALL) == 0 ? socket_finalize(self, false) : 0;",
    ),
    Mistake(
        "last-one-does-not-close",
        "socket",
        "two closes",
        "types/socket.h",
        "    if ((use & ~SOCKET_DIRECTIONS) == SOCKET_CLOSED &&",
        "    if (use == 0 &&",
    ),
    Mistake(
        "waits-at-the-source-of-another",
        "socket",
        "the source is another's",
        "runtime/driver.c",
        "    if (source->owner == owner &&",
        "    if (source->owner != NULL && owner != NULL &&",
    ),
    Mistake(
        "nobody-calls-the-next",
        "socket",
        "two accept two",
        "runtime/driver.c",
        """    if (source->owner != NULL && source_has_readiness(source, direction)) {
        waiters_claim(source, direction, chain);
    }
    queue_hint(source, direction);""",
        """    (void)chain;
    queue_hint(source, direction);""",
    ),
    # --- the scheduler
    Mistake(
        "parks-without-looking",
        "park",
        "two workers, a wake",
        "runtime/parking.c",
        "    return inject_queue_length(&runtime->inject) == 0 &&\n",
        "    return ",
    ),
    Mistake(
        "taken-for-the-one-in-the-driver",
        "park",
        "two wakes",
        "runtime/parking.c",
        """    if (turns) {
        driver_turn(""",
        """    if (turns) {
        driver_turn_cancel(&runtime->driver);
        if (driver_turn_begin(&runtime->driver))
            driver_turn(""",
    ),
    Mistake(
        "forgets-notification",
        "park",
        "pinned",
        "runtime/parking.c",
        """        atomic_store_explicit(&worker->park_state, PARK_NONE, memory_order_relaxed);
        if (turns) {
            driver_turn_cancel(&runtime->driver);
        }
        return SLEEP_WOKEN;
    }
""",
        """        int to = turns ? PARK_IN_DRIVER : PARK_ON_FUTEX;
        atomic_store_explicit(&worker->park_state, to, memory_order_relaxed);
    }
""",
    ),
    Mistake(
        "sleeper-not-told-of-timer",
        "park",
        "timer set",
        "runtime/driver.c",
        "    wake = deadline < driver->sleeping_until;",
        "    wake = false;",
    ),
    Mistake(
        "nobody-watches",
        "park",
        "gets stuck later",
        "runtime/scheduler.c",
        "        called = idle_call(runtime, false);",
        "        called = NULL;",
    ),
    Mistake(
        "enters-without-watching",
        "park",
        "a stuck worker, after",
        "runtime/parking.c",
        "(others_run || worker->quiet_looks < WATCH_QUIET_LOOKS)) {",
        "((void)others_run, worker->quiet_looks < WATCH_QUIET_LOOKS)) {",
    ),
    Mistake(
        "retires-while-others-run",
        "park",
        "stuck worker, after",
        "runtime/parking.c",
        "    if (running == 0) {",
        "    if (running >= 0) {",
    ),
    Mistake(
        "watcher-leaves-the-slot",
        "park",
        "slot",
        "runtime/scheduler.c",
        "            task = slot_take(victim);",
        "            task = NULL;",
    ),
    Mistake(
        "hands-over-silently",
        "park",
        "work is handed over",
        "runtime/scheduler.c",
        "        worker_unpark(victim);\n",
        "",
    ),
    Mistake(
        "watcher-leaves-what-was-handed",
        "park",
        "handed to a stuck",
        "runtime/scheduler.c",
        "                task = handed_take(worker, victim);",
        "                task = NULL;",
    ),
    Mistake(
        "ends-with-visitors",
        "park",
        "visitor",
        "runtime/ending.c",
        "    if (atomic_load_explicit(&runtime->visitors, memory_order_seq_cst) != 0) {",
        "    if (false) {",
    ),
    Mistake(
        "unsure-look-counts",
        "park",
        "all wait for ever",
        "runtime/scheduler.c",
        "deadlock == DEADLOCK_NONE ||",
        "deadlock != DEADLOCK_FOUND ||",
    ),
    Mistake(
        "woken-without-looking",
        "park",
        "woken and wait for ever",
        "runtime/parking.c",
        "if (end != SLEEP_TIMED_OUT) {",
        "if (false) {",
    ),
    Mistake(
        "end-wakes-nobody",
        "park",
        "the end of a run",
        "runtime/ending.c",
        """        atomic_store_explicit(&runtime->phase, RUNTIME_ENDED, memory_order_release);
        workers_unpark_all(runtime);""",
        """        atomic_store_explicit(&runtime->phase, RUNTIME_ENDED, memory_order_release);""",
    ),
    # --- compat
    Mistake(
        "loser-cuts-the-link",
        "claim",
        "claim",
        "compat.h",
        """        atomic_compare_exchange_strong_explicit(link, &expected, """
        """NULL, memory_order_release,
                                                memory_order_relaxed);""",
        """        atomic_store_explicit(link, NULL, memory_order_release);""",
    ),
    Mistake(
        "claim-looks-once",
        "claim",
        "claim",
        "compat.h",
        """    if (atomic_load_explicit(state, memory_order_relaxed) != COROUTINE_FRAME_CREATED) {
        /* unless""",
        """    if (false) {
        /* unless""",
    ),
)
