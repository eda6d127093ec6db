"""Five philosophers at a round table, each needing both forks beside the plate.

Each takes the fork with the lower number first, so no circle of waiting can close. (Taking the left
one first would end in a `DeadlockError` sooner or later.)

    python examples/philosophers.py
"""

from collections.abc import Generator
from typing import Any

import tonio
from tonio import sync

MEALS = 100


def philosopher(place: int, forks: list[sync.Lock]) -> Generator[Any, Any, int]:
    first, second = sorted((place, (place + 1) % len(forks)))
    for _ in range(MEALS):
        yield  # think
        with (yield forks[first]()), (yield forks[second]()):
            yield  # eat
    return MEALS


def main() -> Generator[Any, Any]:
    forks = [sync.Lock() for _ in range(5)]
    meals = yield tonio.spawn(*[philosopher(place, forks) for place in range(5)])
    print("meals:", sum(meals))


if __name__ == "__main__":
    tonio.run(main())
