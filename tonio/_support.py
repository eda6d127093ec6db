"""What the C core asks of the interpreter and is simpler to say in Python."""

from __future__ import annotations

import _thread
import contextlib
import inspect
import os
import signal
import sys
import threading
import warnings
import weakref
from _thread import start_joinable_thread
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import FrameType
from typing import Any

__all__ = [
    "Generators",
    "after_fork",
    "breathe",
    "count_threads",
    "describe_running",
    "describe_wait",
    "enter_thread",
    "install_interrupt",
    "is_main_thread",
    "may_be_woken",
    "restore_interrupt",
    "start_joinable_thread",
]


def breathe() -> None:
    """Nothing: while any Python code runs, the interpreter attends to what it has put off."""


def enter_thread(name: str) -> None:
    """Makes the calling thread, which C code has started, known to `threading`."""
    threading.current_thread().name = name
    trace, profile = threading.gettrace(), threading.getprofile()
    if trace is not None:
        sys.settrace(trace)
    if profile is not None:
        sys.setprofile(profile)


def count_threads() -> int:
    """How many threads run, as far as Python knows."""
    return max(threading.active_count(), _thread._count() + 1)


def after_fork(hook: Callable[[], None]) -> None:
    """Has `hook` called in the child of every fork."""
    os.register_at_fork(after_in_child=hook)


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def install_interrupt(handler: Callable[..., None]) -> None:
    """Makes `handler` what Ctrl-C calls. A handler that the program has set itself stays."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)


def restore_interrupt(handler: Callable[..., None]) -> None:
    """Undoes that, if it was done."""
    if signal.getsignal(signal.SIGINT) is handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def may_be_woken(threads: int) -> bool:
    """Might a signal handler of the program's own, or a thread beyond so many, wake a task?

    All threads of the process count, also those that Python has not seen yet.
    """
    with contextlib.suppress(OSError):
        if len(os.listdir("/proc/self/task")) > threads:
            return True
    usual = (signal.SIG_DFL, signal.SIG_IGN, None, signal.default_int_handler)
    return any(
        signal.getsignal(number) not in usual
        for number in signal.valid_signals()
        if number != signal.SIGINT
    )


# --- what tasks and threads are doing ---------------------------------------------------------


def _frame(awaited: Any) -> FrameType | None:
    """The frame of a generator, coroutine or asynchronous generator."""
    for name in ("gi_frame", "cr_frame", "ag_frame"):
        frame: FrameType | None = getattr(awaited, name, None)
        if frame is not None:
            return frame
    return None


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def describe_wait(name: str, what: str, coroutine: Any) -> str:
    """A line about a task that waits: its name, what for, and its innermost line of code."""
    frame = None
    while coroutine is not None:
        frame = _frame(coroutine) or frame
        for attribute in ("gi_yieldfrom", "cr_await", "ag_await"):
            if hasattr(coroutine, attribute):
                coroutine = getattr(coroutine, attribute)
                break
        else:
            break
    place = "" if frame is None else f", at {_place(frame)}"
    return f"  {name} waits for {what}{place}"


def describe_running(ident: int) -> str | None:
    """A line about the task that runs in a thread, if one does."""
    innermost = sys._current_frames().get(ident)
    outermost, frame = None, innermost
    while frame is not None:
        if frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR):
            outermost = frame
        frame = frame.f_back
    if innermost is None or outermost is None:
        return None
    return f"  {outermost.f_code.co_qualname} runs, at {_place(innermost)}"


# --- asynchronous generators ------------------------------------------------------------------


class Generators:
    """The asynchronous generators that were begun in a run: each is closed by it in the end.

    Any thread may begin, drop or finish one, so all that is shared is changed by single operations
    of dictionaries and lists.
    """

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], bool]) -> None:
        self._spawn = spawn
        self._alive: dict[weakref.ref[AsyncGenerator[Any, Any]], None] = {}
        self._orphans: list[AsyncGenerator[Any, Any]] = []
        self._left: list[AsyncGenerator[Any, Any]] = []
        self._closed = False

    def begun(self, generator: AsyncGenerator[Any, Any]) -> None:
        """The interpreter's hook for one that is iterated for the first time."""
        self._alive[weakref.ref(generator, self._forget)] = None

    def _forget(self, reference: weakref.ref[AsyncGenerator[Any, Any]]) -> None:
        self._alive.pop(reference, None)

    def dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """The interpreter's hook for one that has not finished when its last reference goes.

        On any thread, at any time.
        """
        if self._closed:
            warnings.warn(
                f"{generator!r} was not finished when its run ended, and is left as it is",
                ResourceWarning,
                source=generator,
                stacklevel=1,
            )
            return
        closing = _close(generator)
        if not self._spawn(closing):
            closing.close()
            self._orphans.append(generator)

    def close_all(self) -> Coroutine[Any, Any, None] | None:
        """What closes all that are left, or None; to be run when nothing else does."""
        # A signal handler may raise at any line, and then this is called again: in that case some
        # are in the list twice, but none is in none.
        orphans = self._orphans[:]
        self._left += orphans
        del self._orphans[: len(orphans)]
        self._left += [generator for reference in list(self._alive) if (generator := reference())]
        if not self._left:
            self._closed = True
            return None
        return _close_each(self._left)


async def _close(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()


async def _close_each(generators: list[AsyncGenerator[Any, Any]]) -> None:
    errors: list[Exception] = []
    while generators:
        try:
            await generators.pop().aclose()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("asynchronous generators failed while they were closed", errors)
