"""Context variables, with the option `context` and without it."""

import contextvars
import decimal
from typing import Any

from notation import both

import tonio.colored as tonio

variable = contextvars.ContextVar("variable", default="default")


async def get() -> str:
    await tonio.yield_now()
    return variable.get()


async def set_to(value: str) -> str:
    variable.set(value)
    await tonio.sleep(0.0005)
    await tonio.yield_now()
    return variable.get()


# --- context=True -----------------------------------------------------------------------------


@both(context=True)
async def test_tasks_do_not_see_what_others_set() -> None:
    values = [f"value {number}" for number in range(200)]
    assert await tonio.map(set_to, values) == values
    assert variable.get() == "default"


@both(context=True)
async def test_task_has_a_copy_of_its_spawners_context() -> None:
    variable.set("mine")
    join = tonio.spawn(get(), set_to("child's"), get())
    variable.set("later")
    assert await join == ["mine", "child's", "mine"]
    assert variable.get() == "later"


@both(context=True)
async def test_copies_are_inherited_through_generations() -> None:
    async def generation(number: int) -> list[str]:
        before = variable.get()
        variable.set(f"generation {number}")
        await tonio.yield_now()
        if number == 3:
            return [before]
        return [before, *await tonio.spawn(generation(number + 1))]

    assert await generation(0) == ["default", "generation 0", "generation 1", "generation 2"]


@both(context=True)
async def test_nested_coroutine_shares_the_context_of_its_task() -> None:
    assert await set_to("nested") == "nested"
    assert variable.get() == "nested"
    assert await tonio.time.timeout(set_to("timed"), 10) == ("timed", True)
    assert variable.get() == "timed"


@both(context=True)
async def test_context_survives_every_kind_of_wait() -> None:
    event = tonio.Event()
    variable.set("mine")
    for wait in (
        lambda: tonio.sleep(0.001),
        lambda: event.wait(0.001),
        lambda: tonio.spawn(set_to("child's")),
        lambda: tonio.spawn_blocking(variable.set, "job's"),
        lambda: tonio.time.timeout(event.wait(), 0.001),
    ):
        await wait()
        assert variable.get() == "mine"


@both(context=True)
async def test_blocking_jobs_have_a_copy_too() -> None:
    def job() -> str:
        seen = variable.get()
        variable.set("job's")
        return seen

    variable.set("mine")
    assert await tonio.spawn_blocking(job) == "mine"
    assert await tonio.map_blocking(lambda _: job(), range(5)) == ["mine"] * 5
    assert variable.get() == "mine"


@both
def test_main_task_has_a_copy_of_the_callers_context(threads: int) -> None:
    async def main() -> str:
        seen = variable.get()
        await set_to("main's")
        return seen

    token = variable.set("caller's")
    try:
        assert tonio.run(main(), threads=threads, context=True) == "caller's"
        assert variable.get() == "caller's"
    finally:
        variable.reset(token)


@both(context=True)
async def test_token_can_be_used_after_a_wait() -> None:
    token = variable.set("inner")
    await tonio.sleep(0.001)
    variable.reset(token)
    assert variable.get() == "default"


@both(context=True)
async def test_decimal_context_belongs_to_the_task() -> None:
    async def divide(precision: int) -> str:
        with decimal.localcontext() as context:
            context.prec = precision
            await tonio.sleep(0.0005)
            return str(decimal.Decimal(1) / decimal.Decimal(3))

    assert await tonio.map(divide, range(1, 20)) == ["0." + "3" * n for n in range(1, 20)]


@both(context=True)
async def test_context_of_a_cancelled_task_is_its_own_in_clean_up() -> None:
    seen = []

    async def child() -> None:
        variable.set("child's")
        try:
            await tonio.sleep(1000)
        finally:
            seen.append(variable.get())

    async def expiring() -> Any:
        return await tonio.time.timeout(child(), 0.001)

    assert await tonio.spawn(expiring()) == (None, False)
    assert seen == ["child's"]
    assert variable.get() == "default"


@both(context=True)
async def test_copy_is_of_the_context_that_spawn_is_called_in() -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "own")
    assert await context.run(tonio.spawn, get()) == "own"


# --- context=False, the default ---------------------------------------------------------------


@both
def test_nothing_leaks_into_the_callers_context(threads: int) -> None:
    async def main() -> None:
        variable.set("main's")
        await tonio.map(set_to, ["child's"] * 10)

    tonio.run(main(), threads=threads)
    assert variable.get() == "default"
    tonio.run(main(), threads=threads, context=True)
    assert variable.get() == "default"


@both
async def test_without_the_option_the_context_of_the_spawner_plays_no_part() -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "own")
    assert await context.run(tonio.spawn, get()) == "default"
    assert await context.run(tonio.map_blocking, lambda _: variable.get(), [1]) == ["default"]


@both(threads=(1,))
async def test_without_the_option_a_worker_has_one_context() -> None:
    assert await tonio.spawn(set_to("child's")) == "child's"
    assert variable.get() == "child's"


@both
def test_without_the_option_workers_begin_with_the_callers_context(threads: int) -> None:
    async def main() -> str:
        return await get()

    token = variable.set("caller's")
    try:
        assert tonio.run(main(), threads=threads) == "caller's"
    finally:
        variable.reset(token)
