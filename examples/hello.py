"""Three greetings at the same time, in the ``yield`` notation."""

from collections.abc import Generator
from typing import Any

import tonio


def greet(name: str, delay: float) -> Generator[Any, Any, str]:
    yield tonio.sleep(delay)
    return f"hello, {name}"


@tonio.main
def main() -> Generator[Any, Any]:
    greetings = yield tonio.spawn(greet("Ada", 0.3), greet("Grace", 0.2), greet("Radia", 0.1))
    print(*greetings, sep="\n")


if __name__ == "__main__":
    main()
