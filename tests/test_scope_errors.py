"""Errors of a `scope`: a failing child, a failing body, and what comes out of the two."""

from contextlib import suppress
from typing import Any

import pytest
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError


class Odd(BaseException):
    """An error that is no `Exception`."""


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


async def fail(error: BaseException) -> None:
    await tonio.yield_now()
    raise error


async def hang(log: list[str], name: str = "child") -> None:
    """Waits for its cancellation and says so."""
    try:
        await tonio.sleep(1000)
    except CancelledError:
        log.append(name)
        raise


async def fail_when_cancelled(message: str = "child") -> None:
    try:
        await tonio.sleep(1000)
    finally:
        raise KeyError(message)


def messages(error: BaseExceptionGroup[Any]) -> list[str]:
    return sorted(map(str, error.exceptions))


# --- errors of children -----------------------------------------------------------------------


@both
async def test_failing_child_cancels_its_siblings_and_the_body() -> None:
    log: list[str] = []
    error = ValueError("child")
    with pytest.raises(ExceptionGroup) as caught:
        async with tonio.scope() as scope:
            scope.spawn(hang(log, "sibling"))
            await tonio.sleep(0.001)
            scope.spawn(fail(error))
            await hang(log, "body")
    assert caught.value.exceptions == (error,)
    assert sorted(log) == ["body", "sibling"]
    assert scope.cancel_called


@both
async def test_all_failures_come_in_one_group_after_all_have_ended() -> None:
    log: list[str] = []

    async def fail_in_clean_up() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            with tonio.scope(shield=True) as shielded:
                await tonio.sleep(0.005)
            await shielded()
            log.append("cleaned up")
            raise KeyError("clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with tonio.scope() as scope:
            scope.spawn(fail_in_clean_up())
            await tonio.sleep(0.001)
            scope.spawn(fail(ValueError("first")))
            scope.spawn(fail(ValueError("second")))
    assert messages(caught.value) in (["'clean-up'", "first", "second"], ["'clean-up'", "first"])
    assert log == ["cleaned up"]


@both
async def test_error_that_is_no_exception() -> None:
    error = Odd("odd")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with tonio.scope() as scope:
            scope.spawn(fail_when_cancelled())
            await tonio.sleep(0.002)
            scope.spawn(fail(error))
    assert type(caught.value) is BaseExceptionGroup
    assert messages(caught.value) == ["'child'", "odd"]
    assert error in caught.value.exceptions


@both
async def test_traceback_of_a_childs_error_is_intact() -> None:
    async def inner() -> None:
        await fail(ValueError("deep"))

    with pytest.raises(ExceptionGroup) as caught:
        async with tonio.scope() as scope:
            scope.spawn(inner())
    (error,) = caught.value.exceptions
    names = []
    trace = error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names == ["inner", "fail"]


@both
async def test_error_that_the_join_has_raised_is_not_raised_again() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        scope.spawn(hang(log, "sibling"))
        await tonio.sleep(0.001)
        join = scope.spawn(fail(ValueError("child")))
        while not join.done():
            with suppress(CancelledError):
                await tonio.yield_now()
        with pytest.raises(ExceptionGroup) as caught:
            await join
    assert messages(caught.value) == ["child"]
    assert log == ["sibling"]  # it was a failure all the same


@both
async def test_error_of_an_awaited_child_comes_once() -> None:
    for _ in range(20):
        seen: list[ExceptionGroup[Any]] = []
        try:
            async with tonio.scope() as scope:
                join = scope.spawn(fail(ValueError("child")))
                try:
                    await join
                except ExceptionGroup as group:
                    seen.append(group)
        except ExceptionGroup as group:
            seen.append(group)
        assert [messages(group) for group in seen] == [["child"]]


@both
async def test_groups_nest_with_the_scopes() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with tonio.scope() as outer:
            async with tonio.scope() as inner:
                inner.spawn(fail(ValueError("deep")))
            outer.spawn(give("never"))
    (error,) = caught.value.exceptions
    assert str(error) == "deep"

    async def child() -> None:
        async with tonio.scope() as inner:
            inner.spawn(fail(ValueError("deep")))

    with pytest.raises(ExceptionGroup) as caught:
        async with tonio.scope() as outer:
            outer.spawn(child())
    (group,) = caught.value.exceptions
    assert isinstance(group, ExceptionGroup)
    assert messages(group) == ["deep"]


# --- errors of the body -----------------------------------------------------------------------


@both
async def test_error_of_the_body_cancels_the_children_and_passes_as_it_is() -> None:
    log: list[str] = []
    error = ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:
        async with tonio.scope() as scope:
            scope.spawn(hang(log))
            await tonio.sleep(0.001)
            raise error
    await scope()  # what `with` could not wait for
    assert caught.value is error
    assert log == ["child"]
    assert scope.cancel_called


@both(notations=("await",))
async def test_children_have_ended_when_the_error_leaves_async_with() -> None:
    log: list[str] = []
    with pytest.raises(ValueError):
        async with tonio.scope() as scope:
            scope.spawn(hang(log))
            await tonio.sleep(0.001)
            raise ValueError("body")
    assert log == ["child"]


@both
def test_errors_of_body_and_children_end_the_task_in_one_group(threads: int) -> None:
    async def main() -> None:
        async with tonio.scope() as scope:
            scope.spawn(fail_when_cancelled())
            await tonio.sleep(0.002)
            raise ValueError("body")

    with pytest.raises(ExceptionGroup) as caught:
        tonio.run(main(), threads=threads)
    assert messages(caught.value) == ["'child'", "body"]


@both
async def test_errors_of_children_come_when_the_scope_is_collected() -> None:
    with pytest.raises(ValueError, match="body"):
        with tonio.scope() as scope:
            scope.spawn(fail_when_cancelled())
            await tonio.sleep(0.002)
            raise ValueError("body")
    with pytest.raises(ExceptionGroup) as caught:
        await scope()
    assert messages(caught.value) == ["'child'"]
    assert await scope() is None


@both
async def test_error_in_the_bodys_clean_up_replaces_the_cancellation() -> None:
    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: type[BaseException], *rest: object) -> None:
            assert kind is CancelledError
            raise OSError("from __exit__")

    with pytest.raises(OSError, match="from __exit__") as caught:
        async with tonio.scope() as scope:
            scope.cancel()
            with Manager():
                await tonio.sleep(1000)
    assert isinstance(caught.value.__context__, CancelledError)


@both
async def test_outer_cancellation_passes_through_but_not_before_errors_of_children() -> None:
    reached = []
    async with tonio.scope() as outer:
        async with tonio.scope() as inner:
            outer.cancel()
            await tonio.sleep(1000)
        reached.append("after the inner one")
    assert reached == []
    assert outer.cancelled
    assert not inner.cancelled

    async def host() -> None:
        async with tonio.scope() as scope:
            scope.spawn(fail_when_cancelled())
            await tonio.sleep(1000)

    join = tonio.spawn(host())
    await tonio.sleep(0.002)
    join.cancel()
    with pytest.raises(ExceptionGroup) as caught:
        await join
    (group,) = caught.value.exceptions
    while isinstance(group, ExceptionGroup):
        (group,) = group.exceptions
    assert str(group) == "'child'"
