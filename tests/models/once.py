"""Model of Once: whose turn it is to make the value, and who waits for it."""

import functools
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from models.world import Act, Machine, Task, one_of, pick
from tonio.colored import sync
from tonio.exceptions import DeadlockError

NUMBERS = range(8)
VICTIMS = st.lists(one_of(NUMBERS, ["cancel", "scope"]), max_size=4)


@dataclass(eq=False)
class Getter:
    """A task that wants the value, and how it would make it."""

    task: Task
    makes: str  # "value", "error", "coroutine"
    value: str
    way_out: str = ""
    victims: tuple[tuple[Task, str], ...] = ()  # it cancels them when its attempt has failed


class OnceMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.once: Any = sync.Once()
        self.value: str | None = None
        self.maker: Any = None  # the Getter that makes it
        self.queue: list[Getter] = []

    # --- the model

    def turn_of(self, getter: Getter) -> None:
        """It calls its function."""
        self.maker = getter
        said = getter.task.expected
        said.append("makes")
        if getter.makes == "value":
            self.is_made(getter.value)
        elif getter.makes == "error":
            said.append("ValueError")
            self.pass_on()
        elif getter.way_out:
            said.append("CancelledError")
            self.pass_on()

    def is_made(self, value: str) -> None:
        self.value = value
        for getter in (self.maker, *self.queue):
            getter.task.expected.append(value)
        self.maker = None
        self.queue.clear()

    def pass_on(self) -> None:
        self.maker = None
        if self.queue:
            self.turn_of(self.queue.pop(0))

    # --- steps

    @rule(
        who=st.lists(st.sampled_from(["coroutine"] * 5 + ["error", "error", "value"]), max_size=4),
        event=st.sampled_from(["cancel", "cancel", "fail", "fail", "ask", "make"]),
        victims=VICTIMS,
    )
    def some_come_and_something_happens(
        self, who: list[str], event: str, victims: list[tuple[int, str]]
    ) -> None:
        self.do(*[self.coming(makes) for makes in who])
        if self.maker is None:
            return
        if event == "cancel":
            self.some_are_cancelled(victims)
        elif event == "fail":
            self.making_fails(victims)
        elif event == "ask":
            self.maker_asks_again()
        else:
            self.it_is_made()

    @precondition(lambda self: self.value)
    @rule()
    def go_on_with_another(self) -> None:
        self.once = sync.Once()
        self.value = None

    def coming(self, makes: str) -> Act:
        value = f"made by {len(self.tasks)}"
        task = self.new_task()
        getter = Getter(task, makes, value)

        async def make() -> str:
            while True:
                order, victims = await task.order()
                if order == "make":
                    return value
                if order == "fail":
                    getter.victims = victims
                    raise ValueError
                try:
                    await self.once.get_or_init(make)
                except DeadlockError as error:
                    task.say(type(error).__name__)

        def function() -> Any:
            task.say("makes")
            if makes == "error":
                raise ValueError
            return value if makes == "value" else make()

        async def body(task: Task) -> None:
            try:
                task.say(await self.once.get_or_init(function))
            except ValueError:
                # the turn was passed on, and who has it has not begun
                for victim, way in getter.victims:
                    victim.leave(way)
                raise

        if self.value is not None:
            task.expected.append(self.value)
        elif self.maker is not None:
            self.queue.append(getter)
        else:
            self.turn_of(getter)
        return self.begin(task, body)

    def it_is_made(self) -> None:
        task = self.maker.task
        self.is_made(self.maker.value)
        self.do((lambda: task.tell(("make", ())), None))

    def making_fails(self, victims: list[tuple[int, str]]) -> None:
        """And some who wait are cancelled just then."""
        task = self.maker.task
        task.expected.append("ValueError")
        leaving = self.choose(self.queue, victims)
        # the first one has the turn already: it begins, and ends where it would wait
        gone = [getter for getter in leaving if getter is not self.queue[0]]
        self.queue = [getter for getter in self.queue if getter not in gone]
        for getter in gone:
            getter.task.expected.append("CancelledError")
        self.pass_on()
        orders = tuple((getter.task, getter.way_out) for getter in leaving)
        self.do((lambda: task.tell(("fail", orders)), None))

    def maker_asks_again(self) -> None:
        task = self.maker.task
        task.expected.append("DeadlockError")
        self.do((lambda: task.tell(("ask", ())), None))

    def some_are_cancelled(self, victims: list[tuple[int, str]]) -> None:
        maker = self.maker
        leaving = self.choose([maker, *self.queue], victims)
        self.queue = [getter for getter in self.queue if getter not in leaving]
        for getter in leaving:
            getter.task.expected.append("CancelledError")
        if maker in leaving:
            self.pass_on()
        self.do(*[(functools.partial(g.task.leave, g.way_out), None) for g in leaving])

    @staticmethod
    def choose(candidates: list[Getter], victims: list[tuple[int, str]]) -> list[Getter]:
        leaving: list[Getter] = []
        for number, way in victims:
            rest = [getter for getter in candidates if getter not in leaving]
            if rest:
                leaving.append(pick(rest, number))
                leaving[-1].way_out = way
        return leaving

    @rule(outside=st.booleans())
    def somebody_looks(self, outside: bool) -> None:
        self.do((self.once.get, self.value or "WouldBlock"), outside=outside)

    def compare(self) -> None:
        assert self.once.done() == (self.value is not None)
        state = "done" if self.value else "being made" if self.maker else "empty"
        assert f"<Once {state}, {len(self.queue)} waiting" in repr(self.once)
