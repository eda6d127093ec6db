"""`sync.Once`: something that is made once, by whoever is first."""

import pytest
from notation import both

import tonio.colored as tonio
from tonio.colored import sync


@both
async def test_once_makes_it_once() -> None:
    once = sync.Once()
    made: list[int] = []

    async def make() -> int:
        await tonio.sleep(0.001)
        made.append(1)
        return 42

    assert await tonio.spawn(*[once.get_or_init(make) for _ in range(10)]) == [42] * 10
    assert made == [1]
    assert once.get() == 42


@both
async def test_once_is_tried_again_after_a_failure() -> None:
    once = sync.Once()
    tries: list[int] = []

    async def make() -> str:
        tries.append(1)
        await tonio.yield_now()
        if len(tries) == 1:
            raise ValueError("the first time")
        return "made"

    with pytest.raises(ValueError, match="the first time"):
        await once.get_or_init(make)
    assert await once.get_or_init(make) == "made"
    assert len(tries) == 2
