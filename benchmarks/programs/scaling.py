"""What more threads bring where there is something to compute.

    python scaling.py CONTENDER cpu|fan [--threads N] [--pieces N] [--rounds N]

`cpu`: 64 tasks compute piece by piece (about a millisecond each) and let others run in between.
`fan`: over and over 200 tasks are started, each computes a little, and all results are collected.
The contender `threads` does the same work on plain threads: on as many as there are, without a
pause, or (`fan`) in a pool from the standard library.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread

import libraries
from measure import Stopwatch, report, spin

TASKS = 64
FAN = 200
PIECE, SMALL_PIECE = 20_000, 400
"""Steps of the loop that is the work."""

type Result = dict[str, float]


def result(watch: Stopwatch, operations: int) -> Result:
    wall, cpu = watch.wall(), watch.cpu()
    return {
        "total_seconds": wall,
        "cpu_seconds": cpu,
        "seconds_per_op": wall / operations,
        "cpu_per_op": cpu / operations,
    }


# ---- plain threads ----


def compute(pieces: int) -> None:
    for _ in range(pieces):
        spin(PIECE)


def threads_cpu(threads: int, pieces: int, _rounds: int) -> Result:
    share = TASKS * pieces // threads
    workers = [Thread(target=compute, args=(share,)) for _ in range(threads)]
    watch = Stopwatch()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return result(watch, TASKS * pieces)


def threads_fan(threads: int, _pieces: int, rounds: int) -> Result:
    with ThreadPoolExecutor(threads) as pool:
        watch = Stopwatch()
        for _ in range(rounds):
            assert sum(pool.map(spin, [SMALL_PIECE] * FAN)) == FAN * SMALL_PIECE
        return result(watch, FAN * rounds)


# ---- TonIO ----


def tonio_cpu(threads: int, pieces: int, _rounds: int) -> Result:
    library = libraries.Tonio()
    checkpoint = library.checkpoint

    async def work() -> None:
        for _ in range(pieces):
            spin(PIECE)
            await checkpoint()

    async def main() -> Result:
        watch = Stopwatch()
        await library.together([work] * TASKS)
        return result(watch, TASKS * pieces)

    measured: Result = library.run(main, threads)
    return measured


def tonio_fan(threads: int, _pieces: int, rounds: int) -> Result:
    library = libraries.Tonio()
    spawn = library.tonio.spawn

    async def work() -> int:
        return spin(SMALL_PIECE)

    async def main() -> Result:
        watch = Stopwatch()
        for _ in range(rounds):
            assert sum(await spawn(*[work() for _ in range(FAN)])) == FAN * SMALL_PIECE
        return result(watch, FAN * rounds)

    measured: Result = library.run(main, threads)
    return measured


CONTENDERS: dict[tuple[str, str], Callable[[int, int, int], Result]] = {
    ("threads", "cpu"): threads_cpu,
    ("threads", "fan"): threads_fan,
    ("tonio", "cpu"): tonio_cpu,
    ("tonio", "fan"): tonio_fan,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="what more threads bring")
    parser.add_argument("contender", choices=["threads", "tonio"])
    parser.add_argument("work", choices=["cpu", "fan"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pieces", type=int, default=10, help="of each of the 64 tasks")
    parser.add_argument("--rounds", type=int, default=100, help="of starting and collecting")
    options = parser.parse_args()
    run = partial(CONTENDERS[options.contender, options.work], options.threads)
    report(run(options.pieces, options.rounds))


if __name__ == "__main__":
    main()
