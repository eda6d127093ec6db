"""`channel.broadcast`: every receiver gets every message, or learns how many it has missed."""

from typing import Any

import pytest
from notation import both

import tonio.colored as tonio
from tonio.colored.sync import channel
from tonio.exceptions import EndOfChannel, Lagged


@both
async def test_every_receiver_gets_every_message() -> None:
    sender, receiver = channel.broadcast(64)
    others = [receiver, *(sender.subscribe() for _ in range(3))]

    async def collect(source: Any) -> list[int]:
        got = []
        async for message in source:
            got.append(message)
        return got

    collecting = [tonio.spawn(collect(other)) for other in others]
    for number in range(20):
        sender.send(number)
        if number % 4 == 3:
            await tonio.sleep(0.005)  # nobody tells whether all have got it
    sender.close()
    for join in collecting:
        assert await join == list(range(20))


@both
async def test_slow_receiver_learns_how_many_it_missed() -> None:
    sender, receiver = channel.broadcast(2)
    for number in range(5):
        sender.send(number)
    with pytest.raises(Lagged) as lagged:
        await receiver.receive()
    assert lagged.value.missed == 3
    assert [await receiver.receive(), await receiver.receive()] == [3, 4]
    sender.close()
    with pytest.raises(EndOfChannel):
        await receiver.receive()


@both
async def test_broadcast_receiver_can_be_cancelled() -> None:
    sender, receiver = channel.broadcast(4)
    assert await tonio.time.timeout(receiver.receive(), 0.001) == (None, False)
    sender.send("later")
    assert await receiver.receive() == "later"


@both
async def test_capacity_must_be_a_positive_number() -> None:
    with pytest.raises(ValueError):
        channel.broadcast(0)
    with pytest.raises(TypeError):
        channel.broadcast("2")  # type: ignore[arg-type]
