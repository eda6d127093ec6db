"""A pipeline of three stages with bounded channels between them: the slowest stage sets the pace.

python examples/pipeline.py
"""

from typing import Any

import tonio.colored as tonio
from tonio.colored.sync import channel


async def numbers(sender: Any, count: int) -> None:
    with sender:
        for number in range(count):
            await sender.send(number)


async def squares(receiver: Any, sender: Any) -> None:
    with sender:
        async for number in receiver:
            await tonio.yield_now()  # the work
            await sender.send(number * number)


async def total(receiver: Any) -> int:
    result = 0
    async for number in receiver:
        result += number
    return result


async def main(count: int = 1000, workers: int = 4) -> None:
    numbers_in, numbers_out = channel.channel(8)
    squares_in, squares_out = channel.channel(8)
    async with tonio.scope() as scope:
        scope.spawn(numbers(numbers_in, count))
        for _ in range(workers):
            scope.spawn(squares(numbers_out.clone(), squares_in.clone()))
        numbers_out.close()
        squares_in.close()
        result = scope.spawn(total(squares_out))
    print("sum of squares:", await result)


if __name__ == "__main__":
    tonio.run(main())
