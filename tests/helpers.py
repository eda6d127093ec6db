"""What several test files need: a look at the process from outside, errors, other programs."""

import os
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

from notation import translate

PROGRAM_SECONDS = 20.0


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Polls something that nobody can be asked to tell: the state of the process. Blocks."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.001)
    return True


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
            os.fstat(int(name))
        except OSError:
            continue  # it was the one of this listing
        try:
            found[int(name)] = os.readlink(f"{folder}/{name}")
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


def start_program(source: str, notation: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a Python program, written with ``await``, in a process of its own."""
    code = translate(textwrap.dedent(source), notation)
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def finish_program(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for its end: exit status, standard output and error."""
    try:
        output, errors = process.communicate(timeout=PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"the program hangs; so far:\n{output}\n{errors}") from None
    return process.returncode, output, errors


def run_program(source: str, notation: str, *arguments: object) -> tuple[int, str, str]:
    return finish_program(start_program(source, notation, *arguments))
