"""What the C core asks of the interpreter and is simpler to say in Python."""

from __future__ import annotations

import os
import signal
import sys
import threading
from _thread import start_joinable_thread
from collections.abc import Callable

__all__ = [
    "after_fork",
    "breathe",
    "count_threads",
    "enter_thread",
    "install_interrupt",
    "is_main_thread",
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
    return threading.active_count()


def after_fork(hook: Callable[[], None]) -> None:
    """Has `hook` called in the child of every fork."""
    os.register_at_fork(after_in_child=hook)


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def install_interrupt(handler: Callable[..., None]) -> Callable[[], None]:
    """Makes `handler` what Ctrl-C calls; returns what undoes that.

    A handler that the program has set itself stays.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return breathe
    signal.signal(signal.SIGINT, handler)

    def restore() -> None:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    return restore
