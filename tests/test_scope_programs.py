"""Generated programs: trees of scopes, tasks, waits, shields, failures and cancellations.

A program is data, made by hypothesis, and carried out on four threads. Whatever it is, no task
outlives its scope, each `finally` runs once, each error comes out once, and `run` returns.
"""

import itertools
from collections import Counter
from typing import Any

from helpers import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notation import both

import tonio.colored as tonio

# A step is ("sleep", ms) | ("yield",) | ("fail",) | ("cancel", depth) | ("scope", options, steps)
# | ("spawn", steps) | ("timeout", ms, steps) | ("shield", steps) | ("select", steps, steps)
LEAVES = st.one_of(
    st.tuples(st.just("sleep"), st.sampled_from([0, 1, 2, 1000])),
    st.just(("yield",)),
    st.just(("fail",)),
    st.tuples(st.just("cancel"), st.integers(0, 2)),
)


def _nested(steps: Any) -> Any:
    some = st.lists(steps, max_size=4)
    return st.one_of(
        st.tuples(st.just("scope"), st.sampled_from([None, 0, 1, 3]), some),
        st.tuples(st.just("spawn"), some),
        st.tuples(st.just("timeout"), st.sampled_from([0, 1, 3]), some),
        st.tuples(st.just("shield"), some),
        st.tuples(st.just("select"), some, some),
    )


PROGRAMS = st.lists(st.recursive(LEAVES, _nested, max_leaves=14), max_size=6)


NUMBERS = itertools.count()  # next() is one step for all threads


class Failure(Exception):
    pass


def failures_in(error: BaseException) -> list[int]:
    if isinstance(error, BaseExceptionGroup):
        return [number for inner in error.exceptions for number in failures_in(inner)]
    assert isinstance(error, Failure), repr(error)
    return [error.args[0]]


class World:
    """What happens while a program runs. Lists are appended to by several threads."""

    def __init__(self, notation: str) -> None:
        # `with` cannot wait: in the `yield` notation what a failing block leaves is collected later
        self.waits = notation == "await"
        self.begun: list[object] = []
        self.ended: list[object] = []
        self.raised: list[int] = []
        self.caught: list[int] = []
        self.outlived: list[object] = []

    async def steps(self, steps: Any, scopes: tuple[Any, ...]) -> None:
        me = object()
        self.begun.append(me)
        try:
            for step in steps:
                await self.step(step, scopes)
        finally:
            self.ended.append(me)

    async def child(self, steps: Any, scopes: tuple[Any, ...], over: list[bool]) -> None:
        try:
            await self.steps(steps, scopes)
        finally:
            if over:
                self.outlived.append(steps)

    async def step(self, step: Any, scopes: tuple[Any, ...]) -> None:
        kind = step[0]
        if kind == "sleep":
            await tonio.sleep(step[1] / 1000 if step[1] < 1000 else 0.02)
        elif kind == "yield":
            await tonio.yield_now()
        elif kind == "fail":
            error = Failure(next(NUMBERS))
            self.raised.append(error.args[0])
            raise error
        elif kind == "cancel":
            if step[1] < len(scopes):
                scopes[step[1]][0].cancel()
        elif kind in {"scope", "shield"}:
            limit = None if kind == "shield" or step[1] is None else step[1] / 1000
            over: list[bool] = []
            whole = False
            try:
                async with tonio.scope(timeout=limit, shield=kind == "shield") as scope:
                    await self.steps(step[-1], ((scope, over), *scopes))
                whole = True
            except* Failure as group:
                # the collected errors end here, or go on
                self.caught.extend(failures_in(group))
            finally:
                if whole or self.waits:
                    over.append(True)
        elif kind == "spawn":
            if scopes:
                scope, over = scopes[0]
                scope.spawn(self.child(step[1], scopes, over))
        elif kind == "timeout":
            await tonio.time.timeout(self.steps(step[2], scopes), step[1] / 1000)
        else:
            await tonio.select(self.steps(step[1], scopes), self.steps(step[2], scopes))


def carry_out(world: World, program: Any, threads: int, make: Any) -> None:
    async def main() -> None:
        try:
            await make(program, ())
        except* Failure as group:
            world.caught.extend(failures_in(group))

    try:
        tonio.run(main(), threads=threads)
    except* Failure as group:  # of scopes that were collected at the end of the task
        world.caught.extend(failures_in(group))
    assert Counter(world.begun) == Counter(world.ended)
    assert Counter(world.raised) == Counter(world.caught)
    assert world.outlived == []


@both(threads=(4,))
def test_generated_programs_keep_the_promises(threads: int, notation: str) -> None:
    @settings(
        max_examples=examples(60),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(PROGRAMS)
    def check(program: Any) -> None:
        world = World(notation)
        carry_out(world, program, threads, world.steps)

    check()
