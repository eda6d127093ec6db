"""Deadlocks are reported, and only deadlocks.

In processes of their own: the time limit of a test is a signal handler, which might wake a task.
"""

import pytest
from helpers import Program
from kinds import FACTOR, needs_no_other_thread
from notation import NOTATIONS

HEAD = """
import os, signal, socket, sys, threading, time
import tonio.colored as tonio
from tonio.exceptions import DeadlockError

threads = int(sys.argv[1])

async def forgotten(event):
    try:
        await event.wait()
    finally:
        print("cleaned up")
"""

DEADLOCKED = (
    HEAD
    + """
async def main():
    event = tonio.Event()
    tonio.spawn.without_tracking(forgotten(event))
    await forgotten(event)

begun = time.monotonic()
try:
    tonio.run(main(), threads=threads)
except DeadlockError as error:
    assert time.monotonic() - begun < float(sys.argv[2])
    print(error)
"""
)

HELD_OFF = (
    HEAD
    + """
async def stubborn(event):
    async with tonio.scope(shield=True):
        await forgotten(event)

async def main():
    tonio.spawn.without_tracking(stubborn(tonio.Event()))
    await tonio.sleep(0.01)

try:
    tonio.run(main(), threads=threads)
except DeadlockError as error:
    print(error)
"""
)

NO_DEADLOCK = (
    HEAD
    + """
kind = sys.argv[2]
pair = socket.socketpair()

def later(function, *arguments):
    def target():
        time.sleep(0.4)
        function(*arguments)
    threading.Thread(target=target).start()

async def main():
    event = tonio.Event()
    if kind == "thread":
        later(event.set)
        await event.wait()
    elif kind == "job":
        await tonio.spawn_blocking(time.sleep, 0.4)
    elif kind == "timer":
        await tonio.select(event.wait(), tonio.sleep(0.4))
    elif kind == "deadline":
        async with tonio.scope(timeout=0.4) as scope:
            await event.wait()
        assert scope.cancelled
    elif kind == "handler":
        signal.signal(signal.SIGUSR1, lambda *_: event.set())
        if os.fork() == 0:
            time.sleep(0.4)
            os.kill(os.getppid(), signal.SIGUSR1)
            os._exit(0)
        await event.wait()
    elif kind == "descriptor":
        watched = tonio.io.register(pair[0])
        if os.fork() == 0:
            time.sleep(0.4)
            os.write(pair[1].fileno(), b"x")
            os._exit(0)
        await watched.wait_readable()
        watched.close()
    elif kind == "forever":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if os.fork() == 0:
            time.sleep(0.4)
            os.kill(os.getppid(), signal.SIGINT)
            os._exit(0)
        await tonio.time.sleep_forever()
    return "ended"

try:
    print(tonio.run(main(), threads=threads))
except KeyboardInterrupt:
    print("ended")
"""
)


def run(source: str, notation: str, *arguments: object) -> list[str]:
    with Program(source, notation, *arguments) as program:
        status, output, errors = program.finish()
    assert (status, errors) == (0, "")
    return output.splitlines()


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_deadlock_is_reported_after_clean_up(notation: str, threads: int) -> None:
    lines = run(DEADLOCKED, notation, threads, 1.5 * FACTOR)
    assert lines[:3] == [
        "cleaned up",
        "cleaned up",
        "all tasks wait, and nothing is left that could wake one:",
    ]
    assert len(lines) == 5
    for line, name in zip(sorted(lines[3:]), ("forgotten", "main"), strict=True):
        assert line.startswith(f"  {name} waits for <Event unset at 0x")
        assert "<string>:" in line
        assert line.endswith(" in forgotten")


@needs_no_other_thread
@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 4])
def test_task_that_waits_for_ever_behind_a_shield_does_not_hold_up_the_end(
    notation: str, threads: int
) -> None:
    lines = run(HELD_OFF, notation, threads)
    assert "cleaned up" in lines
    assert any(line.startswith("  stubborn waits for <Event unset") for line in lines)


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "kind", ["thread", "job", "timer", "deadline", "handler", "descriptor", "forever"]
)
def test_what_may_still_be_woken_is_no_deadlock(notation: str, threads: int, kind: str) -> None:
    if kind in {"handler", "descriptor", "forever"} and threads > 1:
        pytest.skip("a fork of several threads warns")
    assert run(NO_DEADLOCK, notation, threads, kind) == ["ended"]
