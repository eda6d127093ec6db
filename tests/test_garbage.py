"""Cycles of references through objects of the runtime are found by the collector."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from helpers import wait_until
from notation import both

import tonio.colored as tonio
from tonio.colored import sync


class Witness:
    """Something that a cycle holds on to, and that calls."""

    held: Any = None

    def __call__(self) -> bool:
        return False


async def nothing() -> None:
    pass


def of_as_completed(witness: Witness) -> Any:
    class Held:
        def __await__(self) -> Any:
            return nothing().__await__()

        witness = None

    runnable: Any = Held()
    runnable.witness = witness
    return tonio.as_completed(runnable)


def of_condition(witness: Witness) -> Any:
    return sync.Condition().wait_for(witness)


def of_once(witness: Witness) -> Any:
    return sync.Once().get_or_init(witness)


def of_job(witness: Witness) -> Any:
    join = tonio.spawn_blocking(witness)
    assert wait_until(join.done)
    return join


@both
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [of_as_completed, of_condition, of_once, of_job])
async def test_cycle_is_collected(make: Callable[[Witness], Any]) -> None:
    witness = Witness()
    witness.held = make(witness)
    gone = weakref.ref(witness)
    gc.collect()
    assert gone() is witness
    del witness
    for _ in range(10):
        if gone() is None:
            break
        gc.collect()
    assert gone() is None
