"""Which forms of `with` a thing takes; the others say which is right."""

from typing import Any

import pytest
from notation import both

from tonio.colored import sync
from tonio.colored.sync import channel

THINGS: list[tuple[Any, str]] = [
    (sync.Lock(), "__enter__ __exit__"),
    (sync.Semaphore(1), "__enter__ __exit__"),
    (sync.RwLock(), "__enter__ __exit__ __aenter__ __aexit__"),
    (sync.Condition(), "__enter__ __exit__"),
    *[(end, "__aenter__ __aexit__") for end in channel.channel(1)],
    *[(end, "__aenter__ __aexit__") for end in channel.broadcast(1)],
    *[(end, "__aenter__ __aexit__") for end in channel.watch(1)],
]


@both
@pytest.mark.parametrize("number", range(len(THINGS)))
async def test_wrong_form_of_with_is_told(number: int) -> None:
    thing, methods = THINGS[number]
    for method in methods.split():
        with pytest.raises(TypeError, match="with"):
            getattr(thing, method)(*[None] * (3 if "exit" in method else 0))


@both
async def test_with_closes_the_end_of_a_hub() -> None:
    for make in (channel.broadcast, channel.watch):
        sender, receiver = make(1)
        with sender as entered, receiver:
            assert entered is sender
        with pytest.raises(Exception, match="closed"):
            await receiver.receive()


@both
async def test_methods_of_async_with_take_a_condition() -> None:
    condition = sync.Condition()
    assert await condition.__aenter__() is None
    assert condition.locked()
    await condition.__aexit__(None, None, None)
    assert not condition.locked()
