"""Model of Barrier: who has arrived in this round, with which number."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from models.permits import waiting
from models.world import WAYS_OUT, Act, Machine, Task, one_of, pick
from tonio.colored import sync

NUMBERS = range(8)
ACTIONS = st.lists(
    one_of([*WAYS_OUT, "ack", "abort", "reset", "reset", "reset"], NUMBERS),
    max_size=4,
)


@dataclass(eq=False)
class Arrival:
    task: Task
    selects: bool
    number: int
    way_out: str | None = None


class BarrierMachine(Machine):
    @initialize(parties=st.sampled_from([3, 1, 2, 4, 5, 6]))
    def make(self, parties: int) -> None:
        self.barrier = sync.Barrier(parties)
        self.parties = parties
        self.arrived = 0
        self.broken = False
        self.queue: list[Arrival] = []
        self.leaving: list[Arrival] = []

    # --- the model

    def arrive(self) -> object:
        """What ack() gives, and the wait of who is the last."""
        if self.broken:
            return "ResourceBroken"
        number = self.arrived
        self.arrived += 1
        if self.arrived == self.parties:
            self.end_round(None)
        return number

    def end_round(self, outcome: str | None) -> None:
        for arrival in self.queue:
            if arrival.way_out is None:  # else it is leaving, but too late: it has arrived
                arrival.task.expected.append(outcome or arrival.number)
        self.queue.clear()
        self.arrived = 0

    def model_settles(self) -> None:
        for arrival in self.leaving:
            if arrival in self.queue:
                place = self.queue.index(arrival)
                for later in self.queue[place:]:
                    later.number -= 1
                del self.queue[place]
                self.arrived -= 1
            withdraws = arrival.way_out == "withdraw"
            arrival.task.expected.append("withdrawn" if withdraws else "CancelledError")
        self.leaving.clear()

    # --- steps

    @rule(
        kinds=st.lists(st.sampled_from(["select", "plain", "zero"]), max_size=4),
        actions=ACTIONS,
        outside=st.booleans(),
    )
    def some_come_and_things_happen(
        self, kinds: list[str], actions: list[tuple[str, int]], outside: bool
    ) -> None:
        self.do(*[self.coming(kind) for kind in kinds])
        self.several_at_once(actions, outside)

    def coming(self, kind: str) -> Act:
        task = self.new_task()

        async def body(task: Task) -> None:
            operation = self.barrier.wait(0 if kind == "zero" else None)
            number: Any = await task.wait(operation, kind == "select")
            task.say("withdrawn" if number is True else number)

        if self.broken or self.arrived + 1 == self.parties:
            task.expected.append(self.arrive())
        elif kind == "zero":
            task.expected.append("TimeoutError")
        else:
            self.queue.append(Arrival(task, kind == "select", self.arrived))
            self.arrived += 1
        return self.begin(task, body)

    def act(self, action: str) -> Act:
        if action == "ack":
            return self.barrier.ack, self.arrive()
        self.broken = action == "abort"
        if self.broken:
            self.end_round("ResourceBroken")
        return (self.barrier.abort if self.broken else self.barrier.reset), None

    def several_at_once(self, actions: list[tuple[str, int]], outside: bool) -> None:
        acts: list[Act] = []
        for action, number in actions:
            if action not in WAYS_OUT:
                acts.append(self.act(action))
                continue
            candidates = [
                arrival
                for arrival in self.queue
                if arrival.way_out is None and (action != "withdraw" or arrival.selects)
            ]
            if candidates:
                acts.append(self.leaving_of(pick(candidates, number), action))
        self.do(*acts, outside=outside and len(acts) == 1)

    def leaving_of(self, arrival: Arrival, way: str) -> Act:
        arrival.way_out = way
        self.leaving.append(arrival)
        return (lambda: arrival.task.leave(way)), None

    def compare(self) -> None:
        assert self.barrier.value() == self.arrived
        assert self.barrier.broken() == self.broken
        assert waiting(self.barrier) == len(self.queue)
