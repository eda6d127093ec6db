"""What several test files need: a look at the process from outside, errors, other programs."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from kinds import FACTOR, environment_for
from notation import translate

import tonio.colored as tonio

PROGRAM_SECONDS = 20.0 * FACTOR


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Polls something that nobody can be asked to tell: the state of the process. Blocks."""
    deadline = monotonic() + seconds * FACTOR
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.001)
    return True


async def is_let_go(seen: weakref.ref[Any]) -> bool:
    """Is an object gone, or in a moment? The worker that made it may have to merge its count."""
    for _ in range(100):
        if seen() is None:
            break
        await tonio.sleep(0.001)
    return seen() is None


def waiting(something: object) -> int:
    """How many tasks wait for a lock or its like, as its `repr` says."""
    found = re.search(r"(\d+) waiting", repr(something))
    return int(found[1]) if found else 0


def examples(short: int) -> int:
    """How many examples hypothesis makes: `short`, or what TONIO_EXAMPLES says."""
    return int(os.environ.get("TONIO_EXAMPLES", short))


# --- the process ------------------------------------------------------------------------------


def threads_of_process() -> int:
    """How many threads the system knows in this process, or, where it does not say, Python."""
    tasks = Path("/proc/self/task")
    return len(os.listdir(tasks)) if tasks.exists() else threading.active_count()


def open_descriptors() -> dict[int, str]:
    """The open file descriptors and what each of them is."""
    folder = "/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"
    found = {}
    for name in os.listdir(folder):
        try:
            found[int(name)] = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue  # it was the one of this listing
        except OSError:
            found[int(name)] = "?"
    return found


def in_thread[R](function: Callable[[], R]) -> R:
    """Calls a function in a thread of its own and hands on what comes of it. Blocks."""
    outcome: list[R] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


# --- errors -----------------------------------------------------------------------------------


def functions_in(error: BaseException) -> list[str]:
    """The names of the functions of a traceback, outermost first."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def traceback_functions(trace: TracebackType | None) -> tuple[str, ...]:
    return tuple(frame.name for frame in traceback.extract_tb(trace))


@dataclass(frozen=True, slots=True)
class Unraisable:
    """One report to `sys.unraisablehook`. It holds no object of the program's."""

    type: type[BaseException]
    message: str  # of the exception
    where: str  # "Exception ignored ..."
    functions: tuple[str, ...]  # of the traceback, outermost first
    members: tuple[str, ...] = ()  # of an exception group: what str() says of each


class Unraisables:
    """Collects what comes to `sys.unraisablehook`, from whichever thread."""

    def __init__(self) -> None:
        self.reports: list[Unraisable] = []

    def hook(self, report: "sys.UnraisableHookArgs") -> None:
        error = report.exc_value
        members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        self.reports.append(
            Unraisable(
                report.exc_type,
                str(error),
                f"{report.err_msg or 'Exception ignored in'} {report.object!r:.200}",
                traceback_functions(report.exc_traceback),
                tuple(map(str, members)),
            )
        )

    def take(self) -> list[Unraisable]:
        """All reports so far; they count as expected."""
        taken, self.reports = self.reports, []
        return taken


# --- programs ---------------------------------------------------------------------------------


class Program:
    """A Python program, written with ``await``, in a process of its own."""

    def __init__(self, source: str, notation: str, *arguments: object) -> None:
        code = translate(textwrap.dedent(source), notation)
        self.process = subprocess.Popen(
            # -P: the package is the installed one, wherever this runs
            [sys.executable, "-P", "-X", "faulthandler", "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that what it forks can be killed with it
            env=environment_for(source),
        )

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self.process.communicate()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait_for_line(self, line: str) -> None:
        """It has written this, as its next line."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line + "\n"

    def finish(self) -> tuple[int, str, str]:
        """Waits for its end: exit status, the rest of its standard output, standard error."""
        try:
            output, errors = self.process.communicate(timeout=PROGRAM_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # faulthandler shows where it is
            self.process.wait()
            self._kill()
            output, errors = self.process.communicate()
            raise AssertionError(f"the program hangs; so far:\n{output}\n{errors}") from None
        return self.process.returncode, output, errors


def run_program(source: str, notation: str, *arguments: object) -> tuple[int, str, str]:
    """Runs a program to its end: exit status, standard output and error."""
    with Program(source, notation, *arguments) as program:
        return program.finish()
