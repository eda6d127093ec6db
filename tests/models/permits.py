"""Models of Lock, Semaphore and RwLock: permits, a fair queue, and who holds them."""

import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from models.world import WAYS_OUT, Act, Machine, Task, one_of, pick
from tonio.colored import sync

ALL = 1 << 62

NUMBERS = range(8)
# "zero" does not wait at all, "select" can be withdrawn, "block" is `async with`
KINDS = ["plain", "zero", "select", "select", "block"]
ACTIONS = st.lists(
    one_of([*WAYS_OUT, "release", "release", "try"], NUMBERS),
    max_size=5,
)


@dataclass(eq=False)
class Request:
    """Somebody who waits for permits, and then has them."""

    amount: int
    exclusive: bool
    kind: str = "plain"
    task: Task | None = None
    owner: Literal["task", "main task", "thread"] = "task"
    held: Any = None  # the real context manager
    fresh: bool = False  # it was handed over and its task has not run since
    way_out: str | None = None  # by which it was told to leave


@dataclass
class Permits:
    """The model: who waits, who holds."""

    available: int
    most: int
    queue: list[Request] = field(default_factory=list)
    holders: list[Request] = field(default_factory=list)
    woken: list[Request] = field(default_factory=list)  # in the order in which their tasks run

    def can_take(self, amount: int) -> bool:
        return self.available >= amount and not self.queue

    def take(self, request: Request) -> None:
        self.available -= request.amount
        self.holders.append(request)

    def give(self, amount: int) -> bool:
        if self.available + amount > self.most:
            return False
        self.available += amount
        self.serve()
        return True

    def serve(self) -> None:
        while self.queue and self.queue[0].amount <= self.available:
            request = self.queue.pop(0)
            if request.way_out is None:  # else it is just leaving, and takes none
                assert request.task is not None
                self.take(request)
                self.woken.append(request)
                request.fresh = True
                request.task.expected.append("held")

    def release(self, request: Request) -> bool:
        self.holders.remove(request)
        return self.give(request.amount)

    def settle(self) -> None:
        """All who were woken run."""
        while self.woken:
            request = self.woken.pop(0)
            request.fresh = False
            if request.way_out is None:
                continue
            assert request.task is not None
            outcome = "withdrawn" if request.way_out == "withdraw" else "CancelledError"
            if request in self.holders:
                outcome = outcome if self.release(request) else "ValueError"
            elif request in self.queue:
                self.queue.remove(request)
                self.serve()
            request.task.expected.append(outcome)


def waiting(real: object) -> int:
    found = re.search(r"(\d+) waiting", repr(real))
    return int(found[1]) if found else 0


class PermitsMachine(Machine):
    """What the three have in common."""

    model: Permits
    asks: dict[str, tuple[int, bool]]  # what can be asked for: how many permits, exclusively?

    def ask(self, what: str, timeout: float | None) -> Any:
        """The real operation."""
        raise NotImplementedError

    def ask_now(self, what: str) -> Any:
        """The real or_raise()."""
        raise NotImplementedError

    def block(self) -> tuple[str, AbstractAsyncContextManager[None]]:
        """What can be used by `async with`, and what that asks for."""
        raise NotImplementedError

    def model_settles(self) -> None:
        self.model.settle()

    @rule(who=st.lists(one_of(NUMBERS, KINDS), max_size=4), actions=ACTIONS, outside=st.booleans())
    def some_come_and_things_happen(
        self, who: list[tuple[int, str]], actions: list[tuple[str, int]], outside: bool
    ) -> None:
        self.do(*[self.coming(number, kind) for number, kind in who])
        self.several_at_once(actions, outside)

    # --- tasks that wait and hold

    def coming(self, number: int, kind: str) -> Act:
        what = pick(list(self.asks), number)
        if kind == "block":
            what, block = self.block()
        amount, exclusive = self.asks[what]
        task = self.new_task()
        request = Request(amount, exclusive, kind, task)

        async def body(task: Task) -> None:
            if kind == "block":
                async with block:
                    await self.hold(task)
                task.say("left")
                return
            operation = self.ask(what, 0 if kind == "zero" else None)
            request.held = await task.wait(operation, kind == "select")
            if request.held is True:
                task.say("withdrawn")
                return
            with request.held:
                await self.hold(task)
            task.say("left")

        if self.model.can_take(amount):
            self.model.take(request)
            task.expected.append("held")
        elif kind == "zero":
            task.expected.append("TimeoutError")
        else:
            self.model.queue.append(request)
        return self.begin(task, body)

    async def hold(self, task: Task) -> None:
        task.say("held")
        while (order := await task.order()) != "leave":
            try:
                await task.wait(self.ask(order[0], None), order[1])
            except Exception as error:
                task.say(type(error).__name__)

    @precondition(lambda self: any(r.exclusive and r.task for r in self.model.holders))
    @rule(number=st.sampled_from(NUMBERS), selects=st.booleans())
    def owner_asks_again(self, number: int, selects: bool) -> None:
        (owner,) = [r for r in self.model.holders if r.exclusive]
        task = owner.task
        assert task is not None
        task.expected.append("DeadlockError")
        what = pick(list(self.asks), number)
        self.do((lambda: task.tell((what, selects)), None))

    @precondition(lambda self: any(r.task for r in self.model.holders))
    @rule(number=st.sampled_from(NUMBERS))
    def holder_leaves(self, number: int) -> None:
        request = pick([r for r in self.model.holders if r.task], number)
        task = request.task
        assert task is not None
        task.expected.append("left" if self.model.release(request) else "ValueError")
        self.do((lambda: task.tell("leave"), None))

    # --- several things at once, before anybody gets a turn

    def several_at_once(self, actions: list[tuple[str, int]], outside: bool) -> None:
        touched: list[Request] = []
        acts: list[Act] = []
        outside = outside and len(actions) == 1
        for action, number in actions:
            if action == "try":
                owner: Any = "thread" if outside else "main task"
                acts.append(self.trying(pick(list(self.asks), number), owner))
                continue
            candidates = [
                r
                for r in (*self.model.queue, *self.model.holders)
                if r not in touched and self.can_be(r, action)
            ]
            if candidates:
                touched.append(request := pick(candidates, number))
                acts.append(self.ending(request, action))
        self.do(*acts, outside=outside)

    @staticmethod
    def can_be(request: Request, action: str) -> bool:
        if action == "release":
            return request.held is not None
        if action == "withdraw":
            return request.kind == "select" and request.held is None
        return request.task is not None

    def ending(self, request: Request, action: str) -> Act:
        task = request.task
        if action == "release":
            expected = None if self.model.release(request) else "ValueError"
            if task is None:
                return request.held.release, expected

            def act() -> None:
                try:
                    request.held.release()
                finally:
                    task.tell("leave")

            task.expected.append("left")
            return act, expected
        assert task is not None
        if not (action == "withdraw" and request.fresh):  # else too late
            request.way_out = action
            if not request.fresh:
                self.model.woken.append(request)
        return (lambda: task.leave(action)), None

    def trying(self, what: str, owner: Literal["main task", "thread"]) -> Act:
        amount, exclusive = self.asks[what]
        request = Request(amount, exclusive, owner=owner)

        def act() -> bool:
            request.held = self.ask_now(what)
            return True

        if self.model.can_take(amount):
            self.model.take(request)
            return act, True
        return act, "WouldBlock"


class LockMachine(PermitsMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lock = sync.Lock()
        self.model = Permits(1, 1)
        self.asks = {"it": (1, True)}

    def ask(self, what: str, timeout: float | None) -> Any:
        return self.lock() if timeout is None else self.lock.acquire(timeout=timeout)

    def ask_now(self, what: str) -> Any:
        return self.lock.or_raise()

    def block(self) -> Any:
        return "it", self.lock

    @rule(outside=st.booleans())
    def main_task_or_a_thread_releases(self, outside: bool) -> None:
        """Only what is its own."""
        me = "thread" if outside else "main task"
        mine = [r for r in self.model.holders if r.owner == me]
        for request in mine:
            self.model.release(request)
        self.do((self.lock.release, None if mine else "RuntimeError"), outside=outside)

    @rule()
    def main_task_takes_it_for_a_moment(self) -> None:
        if self.model.can_take(1):
            self.do((self.lock.try_acquire, True), (self.lock.release, None))
        else:
            self.do((self.lock.try_acquire, "WouldBlock"))

    def compare(self) -> None:
        assert self.lock.locked() == (self.model.available == 0)
        assert waiting(self.lock) == len(self.model.queue)
        assert len(self.model.holders) <= 1


class RwLockMachine(PermitsMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lock = sync.RwLock()
        self.model = Permits(ALL, ALL)
        self.asks = {"read": (1, False), "write": (ALL, True)}

    def ask(self, what: str, timeout: float | None) -> Any:
        return (self.lock.read if what == "read" else self.lock.write)(timeout=timeout)

    def ask_now(self, what: str) -> Any:
        return self.lock.read_or_raise() if what == "read" else self.lock.write_or_raise()

    def block(self) -> Any:
        return "write", self.lock.write()

    def compare(self) -> None:
        writers = [r for r in self.model.holders if r.exclusive]
        readers = [r for r in self.model.holders if not r.exclusive]
        assert not (writers and readers)
        assert self.lock.locked() == bool(writers)
        assert self.lock.readers() == len(readers)
        assert waiting(self.lock) == len(self.model.queue)


class SemaphoreMachine(PermitsMachine):
    @initialize(value=st.sampled_from([2, 3, 4, 1, 0]), spare=st.none() | st.integers(0, 2))
    def make(self, value: int, spare: int | None) -> None:
        most = None if spare is None else max(value + spare, 1)
        self.semaphore = sync.Semaphore(value, max_value=most)
        self.model = Permits(value, (1 << 63) - 1 if most is None else most)
        self.asks = {str(k): (k, False) for k in range(1, min(self.model.most, 4) + 1)}

    def ask(self, what: str, timeout: float | None) -> Any:
        return self.semaphore.acquire(int(what), timeout)

    def ask_now(self, what: str) -> Any:
        return self.semaphore.or_raise(int(what))

    def block(self) -> Any:
        return "1", self.semaphore

    @rule(k=st.integers(1, 5), outside=st.booleans())
    def tokens_are_added(self, k: int, outside: bool) -> None:
        """That nobody has taken: with those that come back there may be too many."""
        expected = None if self.model.give(k) else "ValueError"
        self.do((lambda: self.semaphore.release(k), expected), outside=outside)

    @precondition(lambda self: self.model.available > 3 or self.model.most < 5)
    @rule(k=st.integers(1, 5))
    def tokens_are_taken_for_good(self, k: int) -> None:
        expected: object = "ValueError"
        if k <= self.model.most:
            taken = self.model.can_take(k)
            self.model.available -= k if taken else 0
            expected = taken or "WouldBlock"
        self.do((lambda: self.semaphore.try_acquire(k), expected))

    def compare(self) -> None:
        model = self.model
        assert self.semaphore.tokens() == model.available
        assert self.semaphore.locked() == (model.available == 0 or bool(model.queue))
        assert waiting(self.semaphore) == len(model.queue)
