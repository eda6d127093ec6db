"""The end of a run: interrupts, tasks that refuse to end, and what is said about them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import Program
from kinds import FACTOR
from notation import NOTATIONS, both

import tonio.colored as tonio

sys.path.insert(0, str(Path(__file__).parent / "stress"))
import interrupts


@pytest.mark.parametrize("threads", interrupts.THREADS)
@pytest.mark.parametrize("state", interrupts.STATES)
def test_interrupt_in_every_state(state: str, threads: int) -> None:
    for _ in range(2):
        assert interrupts.interrupt(state, threads) < interrupts.MOST_SECONDS * FACTOR


REFUSING = """
import os, sys, threading, time
import tonio.colored as tonio

kind, threads = sys.argv[1], int(sys.argv[2])

def say(what):
    os.write(1, f"{what}\\n".encode())

async def shielded():
    try:
        async with tonio.scope(shield=True):
            await tonio.sleep(1000)
    finally:
        say("ended")

async def hog():
    await tonio.yield_now()
    try:
        say("hogging")
        while True:
            sum(range(100))
    finally:
        say("ended")

async def swallow():
    try:
        async with tonio.scope(shield=True):
            while True:
                try:
                    await tonio.sleep(1000)
                except BaseException:
                    say("swallowed")
                    raise
    finally:
        say("ended")

async def main():
    if kind == "main hog":
        await hog()
    tonio.spawn.without_tracking({"shield": shielded, "hog": hog, "swallow": swallow}[kind]())
    await tonio.sleep(0.02)
    say("ready")
    await tonio.sleep(1000)

try:
    tonio.run(main(), threads=threads, shutdown_warning=float("inf"))
except KeyboardInterrupt:
    say("interrupted")
"""


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize(
    ("kind", "threads"),
    [("shield", 1), ("shield", 4), ("swallow", 2), ("hog", 4), ("main hog", 1)],
)
def test_second_interrupt_abandons_what_refuses(notation: str, kind: str, threads: int) -> None:
    with Program(REFUSING, notation, kind, threads) as program:
        if kind in {"hog", "main hog"}:
            program.wait_for_line("hogging")
        if kind != "main hog":
            program.wait_for_line("ready")
        program.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.3)
        program.process.send_signal(signal.SIGINT)
        status, output, errors = program.finish()
    assert status == 0, errors
    lines = [line for line in output.split() if line != "swallowed"]
    assert lines == ["ended", "interrupted"]


TERMINATED = """
import signal, sys, os
import tonio.colored as tonio

how, threads = sys.argv[1], int(sys.argv[2])
runtime = tonio.runtime(threads=threads)

def terminate(*_):
    if how == "stop":
        runtime.stop()
    else:
        raise SystemExit(3)

signal.signal(signal.SIGTERM, terminate)

async def main():
    try:
        print("ready", flush=True)
        await tonio.sleep(1000)
    finally:
        print("cleaned up", flush=True)

print(runtime.run_until_complete(main()), flush=True)
"""


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("how", "end"), [("stop", (0, ["None"])), ("exit", (3, []))])
def test_handler_of_another_signal_can_end_the_run(
    notation: str, threads: int, how: str, end: tuple[int, list[str]]
) -> None:
    with Program(TERMINATED, notation, how, threads) as program:
        program.wait_for_line("ready")
        program.process.send_signal(signal.SIGTERM)
        status, output, errors = program.finish()
    assert errors == ""
    assert (status, output.splitlines()) == (end[0], ["cleaned up", *end[1]])


@both
def test_what_holds_up_the_end_is_named_once(threads: int) -> None:
    async def goodbye() -> None:
        async with tonio.scope(shield=True):
            await tonio.sleep(0.15)

    async def main() -> str:
        tonio.spawn.without_tracking(goodbye())
        await tonio.sleep(0.005)
        return "done"

    with pytest.warns(RuntimeWarning, match="goodbye waits for sleep") as warned:
        assert tonio.run(main(), threads=threads, shutdown_warning=0.03) == "done"
    assert len(warned) == 1
    assert "test_shutdown.py:" in str(warned[0].message)


@both
def test_what_runs_and_holds_up_the_end_is_named(threads: int) -> None:
    if threads == 1:
        pytest.skip("there is nobody to say so")
    import time

    async def busy() -> None:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            sum(range(100))
        await tonio.yield_now()

    async def main() -> None:
        tonio.spawn.without_tracking(busy())
        await tonio.sleep(0.01)

    with pytest.warns(RuntimeWarning, match=r"busy runs, at .*test_shutdown\.py"):
        tonio.run(main(), threads=threads, shutdown_warning=0.03)


@both
def test_no_warning_if_the_end_is_quick_or_none_is_wanted(threads: int) -> None:
    async def goodbye() -> None:
        async with tonio.scope(shield=True):
            await tonio.sleep(0.03)

    async def main() -> None:
        tonio.spawn.without_tracking(goodbye())
        await tonio.sleep(0.005)

    assert tonio.run(main(), threads=threads, shutdown_warning=5) is None
    assert tonio.run(main(), threads=threads, shutdown_warning=float("inf")) is None


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)]
)
def test_bad_shutdown_warning(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="shutdown_warning"):
        tonio.runtime(shutdown_warning=value)  # type: ignore[arg-type]
