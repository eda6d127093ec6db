"""Models of broadcast and watch: how far each receiver has come, and who waits."""

import functools
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from models.permits import waiting
from models.world import WAYS_OUT, Act, Machine, Task, one_of, pick
from tonio.colored.sync import channel
from tonio.exceptions import Lagged

NUMBERS = range(8)
MOST_HANDLES = 5
ACTIONS = st.lists(
    one_of(
        [*WAYS_OUT, *["send"] * 4, "receive", "receive", "clone", "subscribe", "close"],
        [True, False],
        NUMBERS,
    ),
    max_size=5,
)
WAITS = object()


@dataclass(eq=False)
class End:
    real: Any
    sends: bool
    seen: int = 0
    closed: bool = False

    def call(self, method: str, *arguments: object) -> object:
        """What is made by an earlier act of the same step is there by then."""
        try:
            return getattr(self.real, method)(*arguments)
        except Lagged as lagged:
            return ("missed", lagged.missed)


@dataclass(eq=False)
class Waiting:
    task: Task
    end: End
    kind: str
    called: bool = False  # to look again, before it was told to leave
    way_out: str | None = None

    def ends(self, outcome: object) -> None:
        if outcome == "EndOfChannel" and self.kind == "anext":
            outcome = "StopAsyncIteration"
        self.task.expected.append(outcome)


class HubMachine(Machine):
    """What the two have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[End] = []
        self.waiting: list[Waiting] = []
        self.woken: list[Waiting] = []  # in the order in which they run
        self.sent = 0  # how many messages, or values, there have been

    def real_ends(self) -> tuple[Any, Any]:
        """Of a new one."""
        raise NotImplementedError

    @precondition(lambda self: 0 in {self.count(sends) for sends in (True, False)})
    @precondition(lambda self: not self.waiting)
    @rule()
    def go_on_with_another(self) -> None:
        """When one end is gone, soon nothing more happens."""
        self.make()

    def make(self) -> None:
        self.sent = 0
        ends = self.real_ends()
        self.ends = [End(ends[0], sends=True), End(ends[1], sends=False)]

    def take(self, end: End) -> object:
        """What it has not seen, or WAITS."""
        raise NotImplementedError

    def is_sent(self) -> None:
        """There is one more; its number is `sent`."""
        raise NotImplementedError

    # --- the model

    def count(self, sends: bool) -> int:
        return sum(end.sends == sends and not end.closed for end in self.ends)

    def receive(self, end: End) -> object:
        if end.closed:
            return "ResourceClosed"
        outcome = self.take(end)
        return "EndOfChannel" if outcome is WAITS and self.count(sends=True) == 0 else outcome

    def call(self, some: list[Waiting]) -> None:
        for one in list(some):
            self.waiting.remove(one)
            one.called = True
            self.woken.append(one)

    def close(self, end: End) -> None:
        if end.closed:
            return
        end.closed = True
        if not end.sends:
            self.call([one for one in self.waiting if one.end is end])
        elif self.count(sends=True) == 0:
            self.call(self.waiting)

    def model_settles(self) -> None:
        while self.woken:
            one = self.woken.pop(0)
            outcome = self.receive(one.end) if one.called else WAITS
            one.called = False
            if outcome is not WAITS:
                one.ends(outcome)
            elif one.way_out is not None:
                one.ends("withdrawn" if one.way_out == "withdraw" else "CancelledError")
            else:
                self.waiting.append(one)

    # --- steps

    def end(self, sends: bool, number: int) -> End:
        """An open one; now and then any."""
        ends = [end for end in self.ends if end.sends == sends]
        still_open = [end for end in ends if not end.closed]
        return pick(still_open if still_open and number < 7 else ends, number)

    @rule(
        who=st.lists(one_of(NUMBERS, ["select", "plain", "anext", "zero"]), max_size=4),
        actions=ACTIONS,
        outside=st.booleans(),
    )
    def some_come_and_things_happen(
        self, who: list[tuple[int, str]], actions: list[tuple[str, bool, int]], outside: bool
    ) -> None:
        self.do(*[self.coming(number, kind) for number, kind in who])
        self.several_at_once(actions, outside)

    def coming(self, number: int, kind: str) -> Act:
        end = self.end(False, number)
        one = Waiting(self.new_task(), end, kind)

        async def body(task: Task) -> None:
            receiver = end.real
            operation = (
                receiver.__anext__()
                if kind == "anext"
                else receiver.receive(0 if kind == "zero" else None)
            )
            try:
                outcome = await task.wait(operation, kind == "select")
            except Lagged as lagged:
                outcome = ("missed", lagged.missed)
            task.say("withdrawn" if outcome is True else outcome)

        outcome = self.receive(end)
        if outcome is not WAITS:
            one.ends(outcome)
        elif kind == "zero":
            one.ends("TimeoutError")
        else:
            self.waiting.append(one)
        return self.begin(one.task, body)

    def act(self, action: str, sends: bool, number: int) -> Act:
        if action == "send":
            return self.sending(self.end(True, number))
        if action == "receive":
            end = self.end(False, number)
            outcome = self.receive(end)
            expected = "WouldBlock" if outcome is WAITS else outcome
            return functools.partial(end.call, "receive_nowait"), expected
        if action == "subscribe":
            return self.another(self.end(True, number), "subscribe")
        end = self.end(sends, number)
        if action == "close":
            self.close(end)
            return functools.partial(end.call, "close"), None
        return self.another(end, "clone")

    def sending(self, end: End) -> Act:
        receivers = self.count(sends=False)
        call = functools.partial(end.call, "send", self.sent + 1)
        if end.closed:
            return call, "ResourceClosed"
        self.is_sent()
        return call, receivers

    def another(self, end: End, method: str) -> Act:
        call = functools.partial(end.call, method)
        if end.closed:
            return call, "ResourceClosed"
        sends = end.sends and method == "clone"
        if self.count(sends) >= MOST_HANDLES:
            return (lambda: None), None
        new = End(None, sends, end.seen if not end.sends else self.sent)
        self.ends.append(new)

        def act() -> None:
            new.real = call()

        return act, None

    def several_at_once(self, actions: list[tuple[str, bool, int]], outside: bool) -> None:
        everybody = list(self.waiting)
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

    def leaving(self, one: Waiting, way: str) -> Act:
        one.way_out = way
        if one in self.waiting:
            self.waiting.remove(one)
            self.woken.append(one)
        return functools.partial(one.task.leave, way), None

    def compare(self) -> None:
        for end in self.ends:
            senders, receivers = self.count(sends=True), self.count(sends=False)
            assert f"{senders} senders, {receivers} receivers" in repr(end.real)
            assert waiting(end.real) == len(self.waiting)
            assert (", closed," in repr(end.real)) == end.closed


class BroadcastMachine(HubMachine):
    """Message n is the number n."""

    @initialize(size=st.integers(1, 3))
    def begin_with_one(self, size: int) -> None:
        self.size = size
        self.make()

    def real_ends(self) -> Any:
        return channel.broadcast(self.size)

    def take(self, end: End) -> object:
        behind = self.sent - end.seen
        if behind > self.size:
            end.seen = self.sent - self.size
            return ("missed", behind - self.size)
        if behind == 0:
            return WAITS
        end.seen += 1
        return end.seen

    def is_sent(self) -> None:
        if self.count(sends=False) > 0:
            self.sent += 1
            self.call(self.waiting)


class WatchMachine(HubMachine):
    """Value n is the number n."""

    @initialize()
    def begin_with_one(self) -> None:
        self.make()

    def real_ends(self) -> Any:
        return channel.watch(0)

    def take(self, end: End) -> object:
        if end.seen == self.sent:
            return WAITS
        end.seen = self.sent
        return end.seen

    def is_sent(self) -> None:
        self.sent += 1
        self.call(self.waiting)

    def compare(self) -> None:
        super().compare()
        for end in self.ends:
            assert end.real.value == self.sent
            assert end.sends or end.real.changed() == (end.seen != self.sent)
