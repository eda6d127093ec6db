"""A million tasks that suspend once and return: time to create and execute them, and peak memory.

    python tasks.py CONTENDER [--threads N] [--count N]

The contender `bare` is the limit: a loop that calls `send` on as many generators. The end is when
everything the tasks needed has been freed. Of the `deep` contenders each task suspends in a
coroutine that is the tenth in a row of calls.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import partial
from typing import Any

from measure import Phases, report

type Result = dict[str, float]
type Checkpoint = Callable[[], Coroutine[Any, Any, None]]


def suspend_once() -> Generator[None]:
    yield


def called(depth: int) -> Iterator[Any]:
    """Calls as a runtime does them: each is a coroutine of its own that the runtime runs."""
    if depth > 1:
        yield called(depth - 1)
    else:
        yield


def delegated(depth: int) -> Iterator[Any]:
    """Calls as the language does them."""
    if depth > 1:
        yield from delegated(depth - 1)
    else:
        yield


async def awaited(depth: int, checkpoint: Checkpoint) -> None:
    if depth > 1:
        await awaited(depth - 1, checkpoint)
    else:
        await checkpoint()


def await_at(depth: int, checkpoint: Checkpoint) -> Checkpoint:
    """What makes a task: nothing is to lie between the one who makes them all and the coroutine."""
    return checkpoint if depth == 1 else partial(awaited, depth, checkpoint)


def bare_with(task: Callable[[], Any], count: int, _threads: int) -> Result:
    phases = Phases.begin()
    tasks = [task() for _ in range(count)]
    phases.created()
    for one in tasks:
        one.send(None)
    for one in tasks:
        try:  # noqa: SIM105, a context manager would cost more than what is measured
            one.send(None)
        except StopIteration:
            pass
    del tasks, one
    return phases.ended()


def asyncio_with(depth: int, count: int, _threads: int) -> Result:
    async def suspend() -> None:
        await asyncio.sleep(0)

    task = await_at(depth, suspend)

    async def main() -> Result:
        phases = Phases.begin()
        joined = asyncio.gather(*[task() for _ in range(count)])
        phases.created()
        await joined
        del joined
        return phases.ended()

    return asyncio.run(main())


def trio_nursery(count: int, _threads: int) -> Result:
    import trio

    checkpoint = trio.lowlevel.checkpoint

    async def suspend() -> None:
        await checkpoint()

    async def main() -> Result:
        phases = Phases.begin()
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(suspend)
            phases.created()
        return phases.ended()

    result: Result = trio.run(main)
    return result


def tinyio_gather(count: int, _threads: int) -> Result:
    import tinyio

    def main() -> Generator[Any, Any, Result]:
        phases = Phases.begin()
        tasks = [suspend_once() for _ in range(count)]
        phases.created()
        yield tasks
        del tasks
        return phases.ended()

    result: Result = tinyio.Loop().run(main())
    return result


def tonio_yield(
    task: Callable[[], Any], count: int, threads: int, *, context: bool = False
) -> Result:
    import tonio

    def main() -> Generator[Any, Any, Result]:
        phases = Phases.begin()
        joined = tonio.spawn(*[task() for _ in range(count)])
        phases.created()
        yield joined
        del joined
        return phases.ended()

    return tonio.run(main(), threads=threads, context=context)


def tonio_await(depth: int, count: int, threads: int, *, context: bool = False) -> Result:
    import tonio.colored as tonio

    yield_now = tonio.yield_now

    async def suspend() -> None:
        await yield_now()

    task = await_at(depth, suspend)

    async def main() -> Result:
        phases = Phases.begin()
        joined = tonio.spawn(*[task() for _ in range(count)])
        phases.created()
        await joined
        del joined
        return phases.ended()

    return tonio.run(main(), threads=threads, context=context)


CONTENDERS: dict[str, Callable[[int, int], Result]] = {
    "bare": partial(bare_with, suspend_once),
    "asyncio": partial(asyncio_with, 1),
    "trio": trio_nursery,
    "tinyio": tinyio_gather,
    "tonio-yield": partial(tonio_yield, suspend_once),
    "tonio-await": partial(tonio_await, 1),
    "tonio-context": partial(tonio_yield, suspend_once, context=True),
    "tonio-nested": partial(tonio_yield, partial(called, 3)),
    "bare-deep": partial(bare_with, partial(delegated, 10)),
    "asyncio-deep": partial(asyncio_with, 10),
    "tonio-yield-deep": partial(tonio_yield, partial(called, 10)),
    "tonio-from-deep": partial(tonio_yield, partial(delegated, 10)),
    "tonio-await-deep": partial(tonio_await, 10),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="a million tasks that suspend once and return")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    result = CONTENDERS[options.contender](options.count, options.threads)
    report({**result, "bytes_per_task": result["grown_bytes"] / options.count})


if __name__ == "__main__":
    main()
