"""A million tasks that suspend once and return: time to create and execute them, and peak memory.

    python tasks.py CONTENDER [--threads N] [--count N]

The contender `bare` is the limit: a loop that calls `send` on as many generators. The end is when
everything the tasks needed has been freed.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Generator, Iterator
from typing import Any

from measure import Phases, report

type Result = dict[str, float]


def suspend_once() -> Generator[None]:
    yield


def bare(count: int, _threads: int) -> Result:
    phases = Phases.begin()
    tasks = [suspend_once() for _ in range(count)]
    phases.created()
    for task in tasks:
        task.send(None)
    for task in tasks:
        try:  # noqa: SIM105, a context manager would cost more than what is measured
            task.send(None)
        except StopIteration:
            pass
    del tasks, task
    return phases.ended()


def asyncio_gather(count: int, _threads: int) -> Result:
    async def suspend() -> None:
        await asyncio.sleep(0)

    async def main() -> Result:
        phases = Phases.begin()
        joined = asyncio.gather(*[suspend() for _ in range(count)])
        phases.created()
        await joined
        del joined
        return phases.ended()

    return asyncio.run(main())


def tonio_with(task: Callable[[], Any], count: int, threads: int) -> Result:
    import tonio

    def main() -> Generator[Any, Any, Result]:
        phases = Phases.begin()
        joined = tonio.spawn(*[task() for _ in range(count)])
        phases.created()
        yield joined
        del joined
        return phases.ended()

    return tonio.run(main(), threads=threads)


def tonio_yield(count: int, threads: int) -> Result:
    return tonio_with(suspend_once, count, threads)


def tonio_await(count: int, threads: int) -> Result:
    import tonio.colored as tonio

    yield_now = tonio.yield_now

    async def suspend() -> None:
        await yield_now()

    async def main() -> Result:
        phases = Phases.begin()
        joined = tonio.spawn(*[suspend() for _ in range(count)])
        phases.created()
        await joined
        del joined
        return phases.ended()

    return tonio.run(main(), threads=threads)


def tonio_nested(count: int, threads: int) -> Result:
    def middle() -> Iterator[Any]:
        yield suspend_once()

    def outer() -> Iterator[Any]:
        yield middle()

    return tonio_with(outer, count, threads)


CONTENDERS: dict[str, Callable[[int, int], Result]] = {
    "bare": bare,
    "asyncio": asyncio_gather,
    "tonio-yield": tonio_yield,
    "tonio-await": tonio_await,
    "tonio-nested": tonio_nested,
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
