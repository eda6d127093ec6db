"""Other threads and the runtime: block_on, run_forever, stop."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread, wait_until
from notation import both

import tonio.colored as tonio
from tonio import _support
from tonio.exceptions import (
    CancelledError,
    RuntimeAlreadyInitializedError,
    RuntimeNotInitializedError,
    TaskCancelled,
)


async def give(value: Any) -> Any:
    await tonio.sleep(0.001)
    return value


async def fail() -> None:
    await tonio.yield_now()
    raise ValueError("failed")


class Forever:
    """A runtime that runs in a thread of its own."""

    def __init__(self, threads: int) -> None:
        self.runtime = tonio.runtime(threads=threads)
        self.results: list[Any] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.results.append(self.runtime.run_forever())

    def __enter__(self) -> tonio.Runtime:
        self.thread.start()
        assert wait_until(self._runs)
        return self.runtime

    @staticmethod
    def _runs() -> bool:
        try:
            tonio.runtime_stats()
        except RuntimeNotInitializedError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self.runtime.stop()
        self.thread.join(10)
        assert self.results == [None]


@both
def test_block_on_gives_the_value_or_raises_the_error(threads: int) -> None:
    with Forever(threads):
        assert tonio.block_on(give(5)) == 5
        assert tonio.block_on(tonio.sleep(0.001)) is None
        with pytest.raises(ValueError, match="failed"):
            tonio.block_on(fail())
        with pytest.raises(TypeError, match="coro must be a coroutine"):
            tonio.block_on(5)  # type: ignore[arg-type]


@both
def test_many_threads_block_at_once(threads: int) -> None:
    with Forever(threads):
        found: list[int] = []

        def ask(number: int) -> None:
            found.append(tonio.block_on(give(number)))

        asking = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert sorted(found) == list(range(20))


@both
async def test_block_on_works_in_a_blocking_job() -> None:
    assert await tonio.spawn_blocking(lambda: tonio.block_on(give(3))) == 3


@both
async def test_block_on_in_a_task_is_an_error() -> None:
    coroutine = give(1)
    with pytest.raises(RuntimeError, match="yield or await"):
        tonio.block_on(coroutine)
    with pytest.raises(RuntimeError, match="already started, has ended"):
        tonio.spawn(coroutine)  # it was closed


@both
def test_block_on_without_a_runtime_is_an_error() -> None:
    with pytest.raises(RuntimeNotInitializedError, match="block_on"):
        tonio.block_on(give(1))


@both
async def test_interrupted_job_cancels_what_it_blocks_on() -> None:
    log: list[str] = []
    started = tonio.Event()

    async def slow() -> None:
        started.set()
        try:
            await tonio.sleep(1000)
        finally:
            log.append("ended")

    def job() -> None:
        try:
            tonio.block_on(slow())
        except CancelledError:
            log.append("interrupted")
            raise

    async with tonio.scope() as scope:

        async def wait() -> None:
            await tonio.spawn_blocking(job)

        scope.spawn(wait())
        await started.wait()
        scope.cancel()
    assert log == ["ended", "interrupted"]


@both
def test_run_that_fails_to_begin_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    outcome: list[type[BaseException]] = []

    def ask() -> None:
        try:
            tonio.block_on(give(1))
        except BaseException as error:
            outcome.append(type(error))

    thread = threading.Thread(target=ask)

    def fail(*_: object) -> None:
        thread.start()
        thread.join(1)
        raise MemoryError

    monkeypatch.setattr(_support.Generators, "__init__", fail)
    with pytest.raises(MemoryError):
        tonio.run(give(2), threads=threads)
    thread.join(10)
    assert outcome == [RuntimeNotInitializedError]


@both
def test_end_of_the_run_ends_who_blocks(threads: int) -> None:
    outcome: list[type[BaseException]] = []

    async def wait() -> None:
        await tonio.sleep(1000)

    def ask() -> None:
        try:
            tonio.block_on(wait())  # if it comes too late it is refused, and this closed
        except BaseException as error:
            outcome.append(type(error))

    with Forever(threads):
        thread = threading.Thread(target=ask)
        thread.start()
        assert wait_until(lambda: tonio.runtime_stats()[0]["executed"] > 1 or threads > 1)
    thread.join(10)
    assert outcome[0] in {TaskCancelled, RuntimeNotInitializedError}


def stopped(stop: Callable[[tonio.Runtime], Any], threads: int) -> list[str]:
    log: list[str] = []
    runtime = tonio.runtime(threads=threads)

    async def background() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            log.append("background")

    async def main() -> str:
        tonio.spawn.without_tracking(background())
        try:
            await tonio.sleep(0.005)
            await stop(runtime)
            await tonio.sleep(1000)
        finally:
            log.append("main")
        return "never"

    assert runtime.run_until_complete(main()) is None
    assert runtime.stop() is False
    assert runtime.run_until_complete(give("again")) == "again"
    return log


@both
def test_stop_from_a_task(threads: int) -> None:
    async def stop(runtime: tonio.Runtime) -> None:
        assert runtime.stop() is True
        await tonio.Event().wait(0)

    assert sorted(stopped(stop, threads)) == ["background", "main"]


@both
def test_stop_from_another_thread(threads: int) -> None:
    async def stop(runtime: tonio.Runtime) -> None:
        threading.Timer(0.01, runtime.stop).start()
        await tonio.yield_now()

    assert sorted(stopped(stop, threads)) == ["background", "main"]


@both
def test_error_in_the_clean_up_of_a_stopped_run_is_raised(threads: int) -> None:
    runtime = tonio.runtime(threads=threads)

    async def main() -> None:
        try:
            runtime.stop()
            await tonio.sleep(1000)
        finally:
            raise ValueError("clean-up")

    with pytest.raises(ValueError, match="clean-up"):
        runtime.run_until_complete(main())


@both
async def test_run_forever_inside_a_runtime_is_an_error() -> None:
    with pytest.raises(RuntimeAlreadyInitializedError):
        tonio.runtime().run_forever()


@both
def test_run_forever_serves_other_threads(threads: int) -> None:
    with Forever(threads):
        joins = in_thread(lambda: [tonio.spawn(give(number)) for number in range(5)])
        assert [tonio.block_on(join) for join in joins] == list(range(5))
