"""Asynchronous generators are closed by the run that they were begun in."""

import gc
import sys
from typing import Any

import pytest
from helpers import Unraisables
from notation import as_written, both

import tonio.colored as tonio


@as_written
async def numbers(log: list[str], name: str = "closed", wait: Any = None) -> Any:
    try:
        yield 1
        yield 2
    finally:
        if wait is not None:
            await wait()
        log.append(name)


@as_written
async def take_one(log: list[str], wait: Any = None) -> None:
    async for _ in numbers(log, wait=wait):
        break


@both
def test_one_that_is_left_half_way_is_closed(threads: int) -> None:
    log: list[str] = []

    async def main() -> None:
        await take_one(log, lambda: tonio.sleep(0.001))
        gc.collect()
        while not log:
            await tonio.sleep(0.001)

    tonio.run(main(), threads=threads)
    assert log == ["closed"]


@both
def test_one_that_is_still_there_at_the_end_is_closed(threads: int) -> None:
    log: list[str] = []
    kept = []

    @as_written
    async def begin() -> None:
        generator = numbers(log, wait=lambda: tonio.sleep(0.001))
        kept.append(generator)
        assert await generator.__anext__() == 1

    async def main() -> str:
        await begin()
        return "done"

    assert tonio.run(main(), threads=threads) == "done"
    assert log == ["closed"]


@both
def test_one_that_is_dropped_while_the_run_ends_is_closed(threads: int) -> None:
    log: list[str] = []

    async def task() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            with pytest.raises(BaseException):  # noqa: B017
                await take_one(log, lambda: tonio.sleep(0.001))
                await tonio.sleep(1)

    async def main() -> None:
        tonio.spawn.without_tracking(task())
        await tonio.sleep(0.005)

    tonio.run(main(), threads=threads)
    gc.collect()
    assert log == ["closed"]


@both
def test_finished_ones_are_forgotten_and_hooks_restored(threads: int) -> None:
    before = sys.get_asyncgen_hooks()
    log: list[str] = []

    @as_written
    async def all_of_it() -> list[int]:
        return [number async for number in numbers(log)]

    async def main() -> None:
        assert sys.get_asyncgen_hooks() != before
        assert await tonio.spawn(*[all_of_it() for _ in range(20)]) == [[1, 2]] * 20

    tonio.run(main(), threads=threads)
    assert log == ["closed"] * 20
    assert sys.get_asyncgen_hooks() == before


@both
def test_error_in_the_clean_up_is_reported(threads: int, unraisables: Unraisables) -> None:
    kept = []

    @as_written
    async def failing() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("in clean-up")

    @as_written
    async def begin() -> None:
        generator = failing()
        kept.append(generator)
        await generator.__anext__()

    async def main() -> None:
        await begin()

    tonio.run(main(), threads=threads)
    (report,) = unraisables.take()
    assert report.type is ValueError
    assert report.message == "in clean-up"
