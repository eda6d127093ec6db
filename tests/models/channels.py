"""Models of channels, bounded, unbounded and of size 0: what is queued, who waits at which end."""

import functools
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from models.world import WAYS_OUT, Act, Machine, Task, one_of, pick
from tonio.colored.sync import channel

NUMBERS = range(8)
MOST_HANDLES = 6
ACTIONS = st.lists(
    one_of(
        [*WAYS_OUT, *["send"] * 4, *["receive"] * 4, "clone", "clone", "close"],
        [True, False],
        NUMBERS,
    ),
    max_size=5,
)


@dataclass(eq=False)
class Handle:
    real: Any
    sends: bool
    closed: bool = False

    def call(self, method: str, *arguments: object) -> object:
        """What is made by an earlier act of the same step is there by then."""
        return getattr(self.real, method)(*arguments)


@dataclass(eq=False)
class Waiting:
    task: Task
    handle: Handle
    kind: str
    message: int = 0

    def ends(self, outcome: object) -> None:
        if outcome == "EndOfChannel" and self.kind == "anext":
            outcome = "StopAsyncIteration"
        self.task.expected.append(outcome)


PARKS = object()


@dataclass
class Model:
    limit: int | None
    queued: list[int] = field(default_factory=list)
    sending: list[Waiting] = field(default_factory=list)
    receiving: list[Waiting] = field(default_factory=list)
    handles: list[Handle] = field(default_factory=list)

    def count(self, sends: bool) -> int:
        return sum(handle.sends == sends and not handle.closed for handle in self.handles)

    def send(self, handle: Handle, message: int) -> object:
        if handle.closed:
            return "ResourceClosed"
        if self.count(sends=False) == 0:
            return "ResourceBroken"
        if self.receiving:
            self.receiving.pop(0).ends(message)
        elif self.limit is None or len(self.queued) < self.limit:
            self.queued.append(message)
        else:
            return PARKS
        return None

    def receive(self, handle: Handle) -> object:
        if handle.closed:
            return "ResourceClosed"
        if self.sending:
            # the first one's message takes the place of the oldest, which may be itself
            sender = self.sending.pop(0)
            self.queued.append(sender.message)
            sender.ends(None)
        if self.queued:
            return self.queued.pop(0)
        return PARKS if self.count(sends=True) else "EndOfChannel"

    def close(self, handle: Handle) -> None:
        if handle.closed:
            return
        handle.closed = True
        waiting, others = self.sending, self.receiving
        if not handle.sends:
            waiting, others = others, waiting
        for one in [one for one in waiting if one.handle is handle]:
            waiting.remove(one)
            one.ends("ResourceClosed")
        if self.count(handle.sends) == 0:
            for one in others:
                one.ends("EndOfChannel" if handle.sends else "ResourceBroken")
            others.clear()
            if not handle.sends:
                self.queued.clear()


class ChannelMachine(Machine):
    limits: Any = st.integers(1, 3)
    message = 0

    @initialize(data=st.data())
    def begin_with_one(self, data: Any) -> None:
        self.make(data.draw(self.limits))

    @precondition(lambda self: 0 in {self.model.count(sends) for sends in (True, False)})
    @rule()
    def go_on_with_another(self) -> None:
        """When one end is gone, and so nobody waits, soon nothing more happens."""
        self.make(self.model.limit)

    def make(self, limit: int | None) -> None:
        ends = channel.unbounded() if limit is None else channel.channel(limit)
        self.model = Model(limit)
        self.model.handles = [Handle(ends[0], sends=True), Handle(ends[1], sends=False)]

    def handle(self, sends: bool, number: int) -> Handle:
        """An open one; now and then any."""
        handles = [handle for handle in self.model.handles if handle.sends == sends]
        still_open = [handle for handle in handles if not handle.closed]
        return pick(still_open if still_open and number < 7 else handles, number)

    def next_message(self) -> int:
        self.message += 1
        return self.message

    # --- tasks

    @rule(
        sends=st.booleans(),
        who=st.lists(one_of(NUMBERS, ["select", "plain", "zero"]), max_size=4),
        actions=ACTIONS,
        outside=st.booleans(),
    )
    def some_come_and_things_happen(
        self,
        sends: bool,
        who: list[tuple[int, str]],
        actions: list[tuple[str, bool, int]],
        outside: bool,
    ) -> None:
        sends = sends and self.model.limit is not None
        self.do(*[self.coming(sends, number, kind) for number, kind in who])
        self.several_at_once(actions, outside)

    def coming(self, sends: bool, number: int, kind: str) -> Act:
        handle = self.handle(sends, number)
        message = self.next_message()
        if not sends and kind == "plain" and number % 2:
            kind = "anext"
        waiting = Waiting(self.new_task(), handle, kind, message)
        timeout = 0 if kind == "zero" else None

        async def body(task: Task) -> None:
            real = handle.real
            if sends:
                operation = real.send(message, timeout)
            else:
                operation = real.__anext__() if kind == "anext" else real.receive(timeout)
            outcome = await task.wait(operation, kind == "select")
            task.say("withdrawn" if outcome is True else outcome)

        outcome = self.model.send(handle, message) if sends else self.model.receive(handle)
        if outcome is not PARKS:
            waiting.ends(outcome)
        elif kind == "zero":
            waiting.ends("TimeoutError")
        else:
            (self.model.sending if sends else self.model.receiving).append(waiting)
        return self.begin(waiting.task, body)

    # --- the main task, and a thread

    def act(self, action: str, sends: bool, number: int) -> Act:
        if action in {"send", "receive"}:
            handle = self.handle(action == "send", number)
            if handle.sends:
                message = self.next_message()
                outcome = self.model.send(handle, message)
                call = functools.partial(handle.call, "send_nowait", message)
            else:
                outcome = self.model.receive(handle)
                call = functools.partial(handle.call, "receive_nowait")
            return call, "WouldBlock" if outcome is PARKS else outcome
        handle = self.handle(sends, number)
        if action == "close":
            self.model.close(handle)
            return functools.partial(handle.call, "close"), None
        return self.cloning(handle)

    def cloning(self, handle: Handle) -> Act:
        if handle.closed:
            return functools.partial(handle.call, "clone"), "ResourceClosed"
        if self.model.count(handle.sends) >= MOST_HANDLES:
            return (lambda: None), None
        clone = Handle(None, handle.sends)
        self.model.handles.append(clone)

        def act() -> None:
            clone.real = handle.call("clone")

        return act, None

    def several_at_once(self, actions: list[tuple[str, bool, int]], outside: bool) -> None:
        """Who waits at first may leave, also too late."""
        everybody = [*self.model.sending, *self.model.receiving]
        acts = []
        for action, sends, number in actions:
            if action not in WAYS_OUT:
                acts.append(self.act(action, sends, number))
                continue
            if candidates := [w for w in everybody if action != "withdraw" or w.kind == "select"]:
                leaves = pick(candidates, number)
                everybody.remove(leaves)
                acts.append(self.leaving(leaves, action))
        self.do(*acts, outside=outside and len(acts) == 1)

    def leaving(self, waiting: Waiting, way: str) -> Act:
        for queue in (self.model.sending, self.model.receiving):
            if waiting in queue:
                queue.remove(waiting)
                waiting.ends("withdrawn" if way == "withdraw" else "CancelledError")
        return functools.partial(waiting.task.leave, way), None

    def compare(self) -> None:
        model = self.model
        for handle in model.handles:
            assert len(handle.real) == len(model.queued)
            assert tuple(handle.real.statistics()) == (
                len(model.queued),
                model.limit,
                model.count(sends=True),
                model.count(sends=False),
                len(model.sending),
                len(model.receiving),
            )
            assert (", closed," in repr(handle.real)) == handle.closed


class RendezvousMachine(ChannelMachine):
    limits = st.just(0)


class UnboundedMachine(ChannelMachine):
    limits = st.none()
