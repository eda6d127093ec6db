"""A runtime that does what it is told, and the state machine that all models are made of.

The runtime runs in a thread of its own. What a machine wants is done by its main task, several
things at once if need be: nobody else runs in between. Then all tasks get their turns until nothing
moves any more, and the machine compares what each of them says with the model.
"""

import itertools
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

import tonio.colored as tonio
from tonio.exceptions import CancelledError

PATIENCE = 10.0  # seconds; then the runtime hangs

# What the main task is to do, and what must come of it. If that is awaitable it is awaited, and
# others run meanwhile.
type Act = tuple[Callable[[], object], object]
TURN: Act = (tonio.yield_now, None)

WAYS_OUT = ("cancel", "scope", "withdraw")  # how somebody who waits is made to leave


class Task:
    """A task as the machine knows it: what it has said, what it is to do, and how to end it."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.expected: list[object] = []
        self.join: Any = None
        self.scope: Any = None
        self.elsewhere = tonio.Event()
        self._orders: list[Any] = []
        self._ordered = tonio.Event()

    def say(self, what: object) -> None:
        self.said.append(what)

    def tell(self, order: Any) -> None:
        self._orders.append(order)
        self._ordered.set()

    async def order(self) -> Any:
        await self._ordered.wait()
        self._ordered.clear()
        return self._orders.pop(0)

    def leave(self, way: str) -> None:
        """Ends its wait from outside."""
        if way == "cancel":
            self.join.cancel()
        elif way == "scope":
            self.scope.cancel()
        else:
            self.elsewhere.set()

    async def wait(self, operation: Any, selects: bool) -> Any:
        """Waits for the operation; if it selects it can be withdrawn, and returns True then."""
        if not selects:
            return await operation
        return await tonio.select(operation, self.elsewhere.wait())

    async def live(self, body: Callable[["Task"], Awaitable[None]]) -> None:
        async with tonio.scope() as self.scope:
            try:
                await body(self)
            except CancelledError:
                self.say("CancelledError")
                raise
            except Exception as error:
                self.say(type(error).__name__)


class World:
    """The runtime, seen from the machine's thread."""

    def __init__(self) -> None:
        self._asked = tonio.Event()
        self._answered = threading.Semaphore(0)
        self._acts: list[Callable[[], object]] | None = []
        self._outcomes: list[object] = []
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            tonio.run(self._main(), threads=1)
        except BaseException as error:
            self._failure.append(error)
        self._answered.release()

    async def _main(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            if self._acts is None:
                return
            self._outcomes = [await self._perform(act) for act in self._acts]
            await self._settle()
            self._answered.release()

    @staticmethod
    async def _perform(act: Callable[[], object]) -> object:
        outcome = outcome_of(act)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    @staticmethod
    async def _settle() -> None:
        """Gives way until nobody but this task has run in between."""
        runs = 0
        while runs != 1:
            before = tonio.runtime_stats()[0]["executed"]
            await tonio.yield_now()
            runs = tonio.runtime_stats()[0]["executed"] - before

    def _ask(self, acts: list[Callable[[], object]] | None) -> None:
        self._acts = acts
        self._asked.set()
        assert self._answered.acquire(timeout=PATIENCE), "the runtime does not answer"
        assert self._failure == []

    def do(self, acts: list[Callable[[], object]]) -> list[object]:
        """Does it all in the main task, and settles."""
        self._ask(acts)
        return self._outcomes

    def do_outside(self, acts: list[Callable[[], object]]) -> list[object]:
        """Does it in this thread, which is none of the runtime's, and settles. One thing, because
        others run meanwhile."""
        assert len(acts) <= 1
        outcomes = [outcome_of(act) for act in acts]
        self._ask([])
        return outcomes

    def close(self) -> None:
        if self._thread.is_alive():
            self._ask(None)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the run does not end"


def outcome_of(act: Callable[[], object]) -> object:
    """What it returns, or the name of the exception that it raises."""
    try:
        return act()
    except Exception as error:
        return type(error).__name__


class Machine(RuleBasedStateMachine):
    """What all models share: tasks, and the comparison after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.tasks: list[Task] = []

    # --- to be overridden

    def model_settles(self) -> None:
        """In the model: all tasks have had their turns."""

    def compare(self) -> None:
        """The state of the object and that of the model."""

    def let_go(self) -> None:
        """At the end, in the main task: whatever keeps a task from ending that is cancelled."""

    # --- for the rules

    def new_task(self) -> Task:
        task = Task()
        self.tasks.append(task)
        return task

    @staticmethod
    def begin(task: Task, body: Callable[[Task], Awaitable[None]]) -> Act:
        """Tasks start in the order in which they are begun."""

        def act() -> None:
            task.join = tonio.spawn(task.live(body))

        return act, None

    def do(self, *acts: Act, outside: bool = False) -> None:
        """The model has gone as far as it is before all tasks get their turns."""
        calls = [call for call, _ in acts]
        outcomes = self.world.do_outside(calls) if outside else self.world.do(calls)
        self.model_settles()
        assert outcomes == [expected for _, expected in acts]
        self.agrees()

    @invariant()
    def agrees(self) -> None:
        said = [task.said for task in self.tasks]
        assert said == [task.expected for task in self.tasks]
        self.compare()

    def teardown(self) -> None:
        def cancel_all() -> None:
            for task in self.tasks:
                task.join.cancel()

        try:
            assert self.world.do([cancel_all, self.let_go]) == [None, None]
            left = [n for n, task in enumerate(self.tasks) if not task.join.done()]
            assert left == [], "tasks do not end"
        finally:
            self.world.close()


def one_of(*choices: Sequence[Any]) -> st.SearchStrategy[Any]:
    """A tuple of one of each; hypothesis draws it at once, which is what takes the time."""
    return st.sampled_from(list(itertools.product(*choices)))


def pick[T](from_: Sequence[T], number: int) -> T:
    return from_[number % len(from_)]
