"""One hostile program: its source, how it is started, and what it must end with.

Programs are written with ``await`` and have what `PRELUDE` imports. Each runs in both notations
unless it says otherwise: `await` on four threads, `yield` on one.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field

from kinds import FACTOR, environment_for
from notation import translate

SECONDS = 25.0 * FACTOR  # no program takes a tenth of it, unless it hangs
VARIANTS = {"await": 4, "yield": 1}  # notation: threads

PRELUDE = """\
import gc, os, signal, sys, threading, time
import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.net import socket
from tonio.colored.sync import channel
from tonio.exceptions import *
THREADS = int(sys.argv[1])

def run(coroutine, **options):
    return tonio.run(coroutine, threads=THREADS, **options)

async def give(value):
    await tonio.yield_now()
    return value

async def works():
    "The runtime after a mistake."
    assert await tonio.spawn(give(2), give(3)) == [2, 3]
    assert await tonio.spawn_blocking(abs, -4) == 4
    assert (await tonio.time.timeout(tonio.sleep(10), 0.001)) == (None, False)
    return "works"

"""


@dataclass(frozen=True, slots=True)
class Hostile:
    name: str
    source: str
    prints: str = "works"  # the lines of its standard output, as one text
    status: int = 0  # how it ends; negative: by this signal
    tells: tuple[str, ...] = ()  # what its standard error says; nothing: it must be empty
    may_tell: tuple[str, ...] = ()  # what it may say besides, of the marks of a failure
    notations: tuple[str, ...] = ("await", "yield")
    flags: tuple[str, ...] = ()  # for the interpreter
    environment: dict[str, str] = field(default_factory=dict)
    limits: str = ""  # shell commands that come first, such as `ulimit -n 10`
    closed: str = ""  # redirections, such as `<&-`
    prelude: bool = True
    sanitizers: bool = True  # it can be run under them

    def command(self, notation: str) -> list[str]:
        source = textwrap.dedent(self.source)
        code = translate(PRELUDE + source if self.prelude else source, notation)
        # -P: the package is the installed one, wherever this runs
        python = [sys.executable, "-P", "-X", "faulthandler", *self.flags, "-c", code]
        arguments = shlex.join([*python, str(VARIANTS[notation])])
        return ["/bin/sh", "-c", f"{self.limits or ':'} && exec {arguments} {self.closed}"]

    def run(self, notation: str) -> str | None:
        """Runs it to its end; None, or what is wrong about it."""
        process = subprocess.Popen(
            self.command(notation),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            env={**environment_for(self.source), **self.environment},
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler shows where it is
            try:
                output, errors = process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                output, errors = "", "(a child of it holds the pipes)"
            problem = "it hangs"
        else:
            problem = self.judge(output, errors, process.returncode)
        finally:
            # what it has left behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if problem is None:
            return None
        return f"{problem}\n--- stdout\n{output}\n--- stderr\n{errors}"

    def judge(self, output: str, errors: str, status: int) -> str | None:
        # a sanitizer's helper complains of addresses that it has no name for
        lines = errors.splitlines(keepends=True)
        errors = "".join(line for line in lines if "llvm-symbolizer" not in line)
        if status != self.status:
            return f"it ends with status {status}, not {self.status}"
        if output.splitlines() != textwrap.dedent(self.prints).strip().splitlines():
            return f"it does not print {self.prints!r}"
        if errors and not self.tells and not self.may_tell:
            return "it writes to stderr"
        for part in self.tells:
            if part not in errors:
                return f"stderr does not tell {part!r}"
        for mark in ("Exception ignored", "Fatal Python error", "Segmentation", "SystemError"):
            if mark in errors and not any(mark in part for part in (*self.tells, *self.may_tell)):
                return f"stderr tells {mark!r}"
        return None
