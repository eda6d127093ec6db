"""The names that the same thing has in the libraries whose coroutines are generators."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from libraries import LONG, UnavailableError

type Steps = Generator[Any, Any, Any]
type Function = Callable[[], Steps]


class Library:
    """What both can do. The methods give what a task has to yield."""

    sleep: Callable[[float], Any]
    blocking: Callable[[Callable[[], Any]], Any]

    def run(self, function: Function, threads: int) -> Any:
        raise NotImplementedError

    def together(self, functions: list[Function]) -> Any:
        """Runs them as tasks and waits for all."""
        raise NotImplementedError

    def detached(self, functions: list[Function]) -> Any:
        """Starts tasks that nobody waits for."""
        raise NotImplementedError

    def limited(self, coroutine: Steps, seconds: float) -> Any:
        raise NotImplementedError

    def event(self) -> Any:
        raise NotImplementedError

    def wait_for(self, event: Any) -> Any:
        """Waits for an event with a time limit that is not reached."""
        return event.wait(LONG)

    def channel(self, size: int) -> tuple[Callable[[Any], Any], Callable[[], Any]]:
        raise NotImplementedError

    def lock(self) -> Any:
        raise NotImplementedError

    def semaphore(self, value: int) -> Any:
        raise NotImplementedError


class Tonio(Library):
    def __init__(self) -> None:
        import tonio
        from tonio import sync, time
        from tonio.sync import channel

        self.tonio, self.sync, self.time, self.channels = tonio, sync, time, channel
        self.sleep = tonio.sleep
        self.blocking = tonio.spawn_blocking

    def run(self, function: Function, threads: int) -> Any:
        return self.tonio.run(function(), threads=threads)

    def together(self, functions: list[Function]) -> Any:
        return self.tonio.spawn(*[function() for function in functions])

    def detached(self, functions: list[Function]) -> Any:
        self.tonio.spawn.without_tracking(*[function() for function in functions])

    def limited(self, coroutine: Steps, seconds: float) -> Any:
        return self.time.timeout(coroutine, seconds)

    def event(self) -> Any:
        return self.tonio.Event()

    def channel(self, size: int) -> tuple[Callable[[Any], Any], Callable[[], Any]]:
        sender, receiver = self.channels.channel(size)
        return sender.send, receiver.receive

    def lock(self) -> Any:
        return self.sync.Lock()

    def semaphore(self, value: int) -> Any:
        return self.sync.Semaphore(value)


class Tinyio(Library):
    def __init__(self) -> None:
        import tinyio

        self.tinyio = tinyio
        self.sleep = tinyio.sleep
        self.blocking = tinyio.run_in_thread

    def run(self, function: Function, _threads: int) -> Any:
        return self.tinyio.Loop().run(function())

    def together(self, functions: list[Function]) -> Any:
        return [function() for function in functions]

    def detached(self, functions: list[Function]) -> Any:
        return {function() for function in functions}

    def limited(self, coroutine: Steps, seconds: float) -> Any:
        return self.tinyio.timeout(coroutine, seconds)

    def event(self) -> Any:
        return self.tinyio.Event()

    def channel(self, size: int) -> tuple[Callable[[Any], Any], Callable[[], Any]]:  # noqa: ARG002
        raise UnavailableError("tinyio has no channels")

    def lock(self) -> Any:
        return self.tinyio.Lock()

    def semaphore(self, value: int) -> Any:
        return self.tinyio.Semaphore(value)


LIBRARIES: dict[str, type[Library]] = {"tonio-yield": Tonio, "tinyio": Tinyio}
