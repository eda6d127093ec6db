"""Model of Condition: who has the lock, who waits for it, and who waits to be notified."""

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import tonio.colored as tonio
from models.permits import waiting
from models.world import TURN, Act, Machine, Task, one_of, pick
from tonio.colored import sync

NUMBERS = range(8)
TIMEOUT = 0.001
WAITS = ["wait", "wait", "wait", "wait_for", "wait_for", "wait_for", "wait zero", "wait_for zero"]
ACTIONS = st.lists(
    one_of(["take", "take", "release", "notify", "notify", "cancel", "scope"], NUMBERS),
    max_size=6,
)


@dataclass(eq=False)
class Member:
    """A task that has the lock, or wants it, or waits to be notified."""

    task: Task
    wait: str = ""  # how it waits, while it does
    fresh: bool = False  # it was handed the lock and has not run since
    notified: bool = False
    late: bool = False
    cancelled: bool = False
    doomed: bool = False  # it was cancelled in a wait: the lock is all that it still needs


@dataclass
class Model:
    owner: Member | Literal["main task"] | None = None
    lock_queue: list[Member] = field(default_factory=list)
    queue: list[Member] = field(default_factory=list)
    woken: list[Member] = field(default_factory=list)  # in the order in which they run
    predicate: Literal["no", "yes", "error"] = "no"

    # --- the lock

    def come(self, member: Member) -> None:
        """A running task takes the lock, or queues for it."""
        if self.owner is None and not self.lock_queue:
            self.owner = member
            self.goes_on(member)
        else:
            self.lock_queue.append(member)

    def release(self) -> None:
        self.owner = None
        self.serve()

    def serve(self) -> None:
        while self.owner is None and self.lock_queue:
            member = self.lock_queue.pop(0)
            if not member.cancelled or member.doomed:  # else it is just leaving
                self.owner = member
                member.fresh = True
                self.woken.append(member)

    # --- waiting

    def begin_wait(self, member: Member, wait: str) -> None:
        """The owner waits."""
        if "wait_for" in wait and self.predicate != "no":
            member.task.expected.append(self.predicate_outcome())
        elif "zero" in wait:
            member.task.expected.append("TimeoutError")
        else:
            member.wait = wait
            self.enter_queue(member)

    def enter_queue(self, member: Member) -> None:
        member.notified = False
        self.queue.append(member)
        self.release()

    def leave_queues(self, member: Member) -> None:
        for queue in (self.queue, self.lock_queue):
            if member in queue:
                queue.remove(member)

    def predicate_outcome(self) -> str:
        return "True" if self.predicate == "yes" else "ValueError"

    def notify(self, most: int) -> int:
        moved = self.queue[:most]
        del self.queue[:most]
        for member in moved:
            member.notified = True
        self.lock_queue += moved
        return len(moved)

    # --- tasks that run

    def settle(self) -> None:
        while self.woken:
            member = self.woken.pop(0)
            if member is not self.owner:
                self.leave(member)
            elif member.fresh:
                member.fresh = False
                self.goes_on(member)
            else:
                self.end(member)

    def end(self, owner: Member) -> None:
        owner.task.expected.append("CancelledError")
        self.release()

    def leave(self, member: Member) -> None:
        """It was cancelled in one of the queues."""
        self.leave_queues(member)
        if not member.wait:
            member.task.expected.append("CancelledError")
            self.serve()
            return
        if member.notified:
            self.notify(1)
            self.serve()
        member.doomed = True
        self.come(member)

    def goes_on(self, member: Member) -> None:
        """It has got the lock."""
        said = member.task.expected
        if member.doomed:
            self.end(member)
            return
        if not member.wait:
            said.append("locked")
        elif "wait_for" in member.wait and self.predicate != "no":
            said.append(self.predicate_outcome())
        elif member.late:
            said.append("TimeoutError")
        elif "wait_for" in member.wait:
            self.enter_queue(member)
            if member.cancelled:
                self.leave(member)
            return
        else:
            said.append("None")
        member.wait = ""
        member.late = False
        if member.cancelled:
            self.end(member)

    def time_is_up(self, member: Member) -> None:
        """If it still waits."""
        if member.wait:
            member.late = not member.notified or "wait_for" in member.wait
            self.leave_queues(member)
            self.come(member)


class ConditionMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.lock = sync.Lock()
        self.condition = sync.Condition(self.lock)
        self.model = Model()

    def model_settles(self) -> None:
        self.model.settle()

    def let_go(self) -> None:
        if self.model.owner == "main task":
            self.condition.release()

    def predicate(self) -> bool:
        if self.model.predicate == "error":
            raise ValueError
        return self.model.predicate == "yes"

    # --- tasks that come, wait and go

    @rule(
        by_lock=st.lists(st.booleans(), max_size=3),
        orders=st.lists(st.sampled_from([*WAITS, "leave", 0, 1, 1, 2]), max_size=4),
        actions=ACTIONS,
    )
    def some_come_and_things_happen(
        self, by_lock: list[bool], orders: list[Any], actions: list[tuple[str, int]]
    ) -> None:
        self.do(*[self.coming(one) for one in by_lock])
        for order in orders:
            if isinstance(self.model.owner, Member):
                self.owner_does(order)
        self.several_at_once(actions)

    def coming(self, by_lock: bool) -> Act:
        task = self.new_task()

        async def body(task: Task) -> None:
            async with self.lock() if by_lock else self.condition():
                task.say("locked")
                while (order := await task.order()) != "leave":
                    await self.obey(task, order)
            task.say("left")

        self.model.come(Member(task))
        return self.begin(task, body)

    async def obey(self, task: Task, order: Any) -> None:
        try:
            if isinstance(order, int):
                task.say(self.condition.notify(order))
                return
            timeout = 0 if "zero" in order else TIMEOUT if "timed" in order else None
            if "wait_for" in order:
                task.say(str(await self.condition.wait_for(self.predicate, timeout)))
            else:
                task.say(str(await self.condition.wait(timeout)))
        except (TimeoutError, ValueError) as error:
            task.say(type(error).__name__)

    def owner(self) -> Member:
        assert isinstance(self.model.owner, Member)
        return self.model.owner

    def telling_owner(self, order: object) -> Act:
        return functools.partial(self.owner().task.tell, order), None

    def owner_does(self, order: str | int) -> None:
        act = self.telling_owner(order)
        if isinstance(order, int):
            self.owner().task.expected.append(self.model.notify(order))
        elif order == "leave":
            self.owner().task.expected.append("left")
            self.model.release()
        else:
            self.model.begin_wait(self.owner(), order)
        self.do(act)

    @precondition(lambda self: isinstance(self.model.owner, Member))
    @rule(
        wait=st.sampled_from(["wait timed", "wait_for timed"]),
        before=st.lists(st.sampled_from(["take", "notify", "release"]), max_size=3, unique=True),
        after=st.sampled_from(["release", "notify"]),
    )
    def owner_waits_too_long(self, wait: str, before: list[str], after: str) -> None:
        """Its time is up when the main task has done what is to be done before."""
        owner = self.owner()
        acts = [self.telling_owner(wait), TURN]
        self.model.begin_wait(owner, wait)
        self.model.settle()
        acts += [self.act(action, 1) for action in before]
        acts.append((lambda: tonio.sleep(2 * TIMEOUT), None))
        self.model.settle()
        self.model.time_is_up(owner)
        self.model.settle()
        acts.append(self.act(after, 1))
        self.do(*acts)

    # --- the main task, and a thread

    @rule(predicate=st.sampled_from(["no", "no", "yes", "error"]))
    def something_changes(self, predicate: Any) -> None:
        self.model.predicate = predicate

    def act(self, action: str, count: int) -> Act:
        """Of the main task."""
        mine = self.model.owner == "main task"
        if action == "take":
            if self.model.owner is not None or self.model.lock_queue:
                return self.condition.try_acquire, "WouldBlock"
            self.model.owner = "main task"
            return self.condition.try_acquire, True
        if action == "notify":
            expected = self.model.notify(count) if mine else "RuntimeError"
            return functools.partial(self.condition.notify, count), expected
        if mine:
            self.model.release()
        return self.condition.release, None if mine else "RuntimeError"

    def several_at_once(self, actions: list[tuple[str, int]]) -> None:
        acts = []
        for action, number in actions:
            if action in {"cancel", "scope"}:
                model = self.model
                owner = [model.owner] if isinstance(model.owner, Member) else []
                everybody = (*owner, *model.lock_queue, *model.queue)
                candidates = [member for member in everybody if not member.cancelled]
                if number % 2:  # those whose notification must be passed on
                    candidates = [m for m in candidates if m.wait and m.notified] or candidates
                if candidates:
                    acts.append(self.cancelling(pick(candidates, number), action))
            else:
                acts.append(self.act(action, number))
        self.do(*acts)

    @precondition(lambda self: self.model.owner is None and len(self.model.queue) > 1)
    @rule(count=st.integers(1, 2), way=st.sampled_from(["cancel", "scope"]), late=st.booleans())
    def notified_one_is_cancelled(self, count: int, way: str, late: bool) -> None:
        """Before the lock is released, or too late."""
        acts = [self.act("take", 0), self.act("notify", count)]
        notified = self.model.lock_queue[0]
        if late:
            acts += [self.act("release", 0), self.cancelling(notified, way)]
        else:
            acts += [self.cancelling(notified, way), self.act("release", 0)]
        self.do(*acts)

    def cancelling(self, member: Member, way: str) -> Act:
        member.cancelled = True
        if not member.fresh:
            self.model.woken.append(member)
        return functools.partial(member.task.leave, way), None

    @rule()
    def stranger_notifies(self) -> None:
        self.do((self.condition.notify_all, "RuntimeError"), outside=True)

    def compare(self) -> None:
        model = self.model
        assert self.condition.locked() == self.lock.locked() == (model.owner is not None)
        assert waiting(self.condition) == len(model.queue)
        assert waiting(self.lock) == len(model.lock_queue)
