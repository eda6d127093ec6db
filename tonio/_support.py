"""What the C core asks of the interpreter and is simpler to say in Python."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any


def breathe() -> None:
    """Nothing: while any Python code runs, the interpreter attends to what it has put off."""


def start_thread(target: Callable[[Any], None], argument: Any, name: str) -> threading.Thread:
    """Starts a `Thread` like any other, so that names, tracing and profilers see it."""
    thread = threading.Thread(target=target, args=(argument,), name=name)
    try:
        thread.start()
    except KeyError as error:
        # A signal handler raised just when the thread had come to life, and `start` stumbles over
        # its own clean-up.
        if error.args == (thread,) and error.__context__ is not None:
            raise error.__context__ from None
        raise
    return thread


def current_thread() -> threading.Thread:
    return threading.current_thread()


def count_threads() -> int:
    return threading.active_count()


def after_fork(hook: Callable[[], None]) -> None:
    """Has `hook` called in the child of every fork."""
    os.register_at_fork(after_in_child=hook)


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def install_interrupt(handler: Callable[..., None]) -> Callable[[], None]:
    """Makes `handler` what Ctrl-C calls, if it would raise KeyboardInterrupt now; returns what undoes that.

    A handler that the program has set itself stays.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return breathe
    signal.signal(signal.SIGINT, handler)

    def restore() -> None:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    return restore
