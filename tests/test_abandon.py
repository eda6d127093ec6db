"""A run that is abandoned ends every wait, also one that a cancellation does not end.

A task that is cancelled in `Condition.wait()` needs the lock to go on. Here it is not going to get
it, and no other task can do anything about that: a second Ctrl-C, or the report of a deadlock,
ends the run all the same.

In processes of their own, with a time limit for each.
"""

import signal
import subprocess

import pytest
from helpers import Program
from kinds import needs_no_other_thread
from notation import NOTATIONS

HEAD = """
import os, sys, threading
import tonio.colored as tonio
from tonio.colored import sync
from tonio.exceptions import CancelledError, DeadlockError

kind, threads = sys.argv[1], int(sys.argv[2])
condition = sync.Condition()

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def begin_of(something):
    return repr(something).partition(",")[0]

async def waiter(timeout=None):
    async with condition():
        try:
            while True:
                await condition.wait(timeout)
        except BaseException as error:
            say(f"left by {type(error).__name__},", begin_of(condition.lock))
            raise
        finally:
            condition.notify()  # the lock is needed for that

async def taker():
    "Takes the lock and ends with it."
    condition.try_acquire()

async def until_it_waits(count=1):
    while f"<Condition {count} waiting, with <Lock free" not in repr(condition):
        await tonio.yield_now()

def run(coroutine):
    try:
        tonio.run(coroutine, threads=threads, shutdown_warning=float("inf"))
    except DeadlockError as error:
        say(error)
    except KeyboardInterrupt:
        say("interrupted")
"""

OWNER_ENDED = (
    HEAD
    + """
async def main():
    if kind in {"scope", "deadline"}:
        # when the deadline comes nobody is woken by it: the deadlock is looked for again
        async with tonio.scope(timeout=0.5 if kind == "deadline" else None) as scope:
            scope.spawn(waiter())
            await until_it_waits()
            await tonio.spawn(taker())
            scope.cancel()
    elif kind == "time limit":
        join = tonio.spawn(tonio.time.timeout(waiter(), 0.05))
        await until_it_waits()
        await tonio.spawn(taker())
        await join
    else:
        join = tonio.spawn(waiter(0.05 if kind == "timeout" else None))
        await until_it_waits()
        await tonio.spawn(taker())
        if kind == "cancel":
            join.cancel()
        if kind != "end":
            await join

run(main())
say(begin_of(condition), begin_of(condition.lock))
"""
)

LEFT = "left by GeneratorExit, <Lock held by 'taker'"
TOLD = "all tasks wait, and nothing is left that could wake one:"


def run(source: str, notation: str, *arguments: object) -> list[str]:
    with Program(source, notation, *arguments) as program:
        status, output, errors = program.finish()
    assert (status, errors) == (0, "")
    return output.splitlines()


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["cancel", "end", "scope", "deadline", "time limit", "timeout"])
def test_waiter_whose_lock_was_kept_by_a_task_that_ended_is_a_deadlock(
    notation: str, threads: int, kind: str
) -> None:
    lines = run(OWNER_ENDED, notation, kind, threads)
    assert lines[:2] == [LEFT, TOLD]
    assert any(
        "waits for the lock, to leave Condition.wait() of <Condition 0 waiting, "
        "with <Lock held by 'taker', 1 waiting," in line
        for line in lines[2:-1]
    )
    assert lines[-1] == "<Condition 0 waiting <Lock held by 'taker'"  # it was not released


OWNER_WAITS = (
    HEAD
    + """
async def main():
    try:
        async with tonio.scope() as scope:
            scope.spawn(waiter())
            await until_it_waits()
            await condition.acquire()
            scope.cancel()
    finally:
        say("the scope has ended")
        condition.release()

run(main())
"""
)


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_scope_that_ends_with_the_lock_of_a_cancelled_waiter_is_a_deadlock(
    notation: str, threads: int
) -> None:
    """No cancellation ends any of the waits: neither the scope's nor the waiter's."""
    lines = run(OWNER_WAITS, notation, "", threads)
    assert lines[:3] == [
        "left by GeneratorExit, <Lock held by 'main'",
        "the scope has ended",
        TOLD,
    ]
    assert len(lines) == 5


INTERRUPTED = (
    HEAD
    + """
# what may wake somebody: no deadlock
threading.Thread(target=threading.Event().wait, daemon=True).start()

async def shielded():
    async with tonio.scope(shield=True):
        await waiter()

async def main():
    try:
        tonio.spawn.without_tracking(*[shielded() for _ in range(4)])
        await until_it_waits(4)
        if kind == "kept":
            await tonio.spawn(taker())
        say("ready")
        await tonio.sleep(1000)
    finally:
        say("ended")

run(main())
say(begin_of(condition), begin_of(condition.lock).partition(" at")[0])
"""
)


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["kept", "free"])
def test_second_interrupt_ends_waits_for_a_condition(
    notation: str, threads: int, kind: str
) -> None:
    with Program(INTERRUPTED, notation, kind, threads) as program:
        program.wait_for_line("ready")
        program.process.send_signal(signal.SIGINT)
        program.wait_for_line("ended")
        with pytest.raises(subprocess.TimeoutExpired):  # and nobody's code is interrupted then
            program.process.wait(0.3)
        program.process.send_signal(signal.SIGINT)
        status, output, errors = program.finish()
    assert (status, errors) == (0, "")
    *left, interrupted, end = output.splitlines()
    assert interrupted == "interrupted"
    assert len(left) == 4
    if kind == "kept":
        assert set(left) == {LEFT}
        assert end == "<Condition 0 waiting <Lock held by 'taker'"
    else:
        assert all(line.startswith("left by GeneratorExit, <Lock") for line in left)
        if threads == 1:  # one after the other
            assert set(left) == {"left by GeneratorExit, <Lock held by 'shielded'"}
        assert end == "<Condition 0 waiting <Lock free"


CLEAN_UP = (
    HEAD
    + """
async def tidies_up():
    held = await condition.acquire()
    try:
        await condition.wait()
    finally:
        for count in (condition.notify(), condition.notify_all()):
            assert count == 0
        held.release()
        condition.release()
        condition.lock.release()
        say("tidied up")

async def waits_again():
    async with condition():
        while True:
            try:
                await condition.wait_for(lambda: False)
            except BaseException:
                pass

async def main():
    join = tonio.spawn({"tidies up": tidies_up, "waits again": waits_again}[kind]())
    await until_it_waits()
    await tonio.spawn(taker())

run(main())
say(begin_of(condition), begin_of(condition.lock))
"""
)


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_clean_up_without_the_lock_is_quiet_and_leaves_it_to_its_owner(
    notation: str, threads: int
) -> None:
    lines = run(CLEAN_UP, notation, "tidies up", threads)
    assert lines[:2] == ["tidied up", TOLD]
    assert lines[-1] == "<Condition 0 waiting <Lock held by 'taker'"


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_task_that_waits_again_without_the_lock_is_finalized(notation: str, threads: int) -> None:
    with Program(CLEAN_UP, notation, "waits again", threads) as program:
        status, output, errors = program.finish()
    assert status == 0
    assert output.splitlines()[0] == TOLD
    assert "ignored GeneratorExit" in errors
    assert errors.count("Exception ignored") == 1
