"""Three greetings at the same time, in the ``await`` notation."""

import tonio.colored as tonio


async def greet(name: str, delay: float) -> str:
    await tonio.sleep(delay)
    return f"hello, {name}"


@tonio.main
async def main() -> None:
    greetings = await tonio.spawn(greet("Ada", 0.3), greet("Grace", 0.2), greet("Radia", 0.1))
    print(*greetings, sep="\n")


if __name__ == "__main__":
    main()
