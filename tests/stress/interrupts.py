"""Ctrl-C, again and again, in every state the main thread can be in.

    python tests/stress/interrupts.py [TIMES]

Each time a program is started, brought into a state and interrupted by a real signal. It must end
within a second, with `KeyboardInterrupt` out of `run` and the output of all `finally` blocks.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

STATES = ("poller", "futex", "python")
THREADS = (1, 4)
MOST_SECONDS = 1.0

PROGRAM = """
import os, signal, sys, threading, time
import tonio.colored as tonio

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
state, threads = sys.argv[1], int(sys.argv[2])

def say(what):
    os.write(1, f"{what}\\n".encode())

async def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await tonio.yield_now()

async def work(name):
    try:
        if state == "python":
            while True:
                sum(range(1000))
                await tonio.yield_now()
        await tonio.sleep(1000)
    finally:
        say(name)

async def main():
    try:
        async with tonio.scope() as scope:
            scope.spawn(work("task"))
            if threads > 1:
                await tonio.spawn(*[burn(0.05) for _ in range(8)])  # all workers are up
            with tonio.pinned():
                if state == "futex" and threading.current_thread() is threading.main_thread():
                    time.sleep(0.1)  # the others have parked, one of them in the poller
                say("ready")
                await work("main")
    finally:
        say("end")

try:
    tonio.run(main(), threads=threads)
except KeyboardInterrupt:
    say("interrupted")
"""


def interrupt(state: str, threads: int) -> float:
    """Runs the program once and interrupts it; how long it took from the signal to its end."""
    with subprocess.Popen(
        [sys.executable, "-P", "-X", "faulthandler", "-c", PROGRAM, state, str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", (line, process.communicate())
        time.sleep(0.05)  # it has gone to sleep: nobody tells
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=200)
        seconds = time.monotonic() - begun
    assert (process.returncode, errors) == (0, ""), (process.returncode, errors)
    lines = output.split()
    assert sorted(lines) == ["end", "interrupted", "main", "task"], lines
    assert lines[-2:] == ["end", "interrupted"], lines
    return seconds


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for state in STATES:
        for threads in THREADS:
            took = [interrupt(state, threads) for _ in range(times)]
            print(
                f"{state}, {threads} threads: {times} of {times}, "
                f"longest {max(took) * 1000:.0f} ms",
                flush=True,
            )
            assert max(took) < MOST_SECONDS


if __name__ == "__main__":
    main()
