"""What is run under seeds: the tests of these modules that need nothing but a runtime.

They are asserted as ever, on four threads and in the notation in which they are written. Each seed
runs a sample of them, chosen by the seed, so that many seeds come round to all of them.
"""

import importlib
import inspect
import random
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

THREADS = 4
SAMPLE = 12  # tests per seed
SLOW_SECONDS = 0.1  # what takes longer by itself is left out

SUITES = {
    "scope": ("test_scope", "test_cancellation", "test_nesting", "test_deadlines"),
    "sync": (
        "test_channel",
        "test_event",
        "test_lock",
        "test_semaphore",
        "test_barrier",
        "test_select",
        "test_condition",
        "test_rwlock",
        "test_once",
        "test_broadcast",
        "test_watch",
        "test_as_completed",
    ),
    "socket": ("test_socket",),
}

# Tests that rely on more than is promised, and why; they are sound enough where nobody dawdles.
LEFT_OUT = {
    "test_channel::test_message_for_a_cancelled_receiver_goes_to_the_next": (
        "a receiver that is in the queue may not be parked yet, and then gets what it waits for"
    ),
    "test_cancellation::test_shield_lets_clean_up_wait_in_peace": "its child may start too late",
    "test_deadlines::test_shielded_clean_up_after_a_timeout": "the time may be up before it starts",
    "test_deadlines::test_timeout_and_scope_limit_each_other": (
        "a child that was cut off may have ended before its scope is left, which then need not wait"
    ),
    "test_scope::test_nested_scopes_end_from_the_inside_out": "20 ms may pass before 2 ms are seen",
    "test_socket::test_second_reader_is_refused": "the first reader may come second",
    "test_socket::test_second_writer_is_refused": "the first writer may come second",
    "test_select::test_losers_have_ended_before_it_returns": "the losers may start too late",
}

Scenario = Callable[[], Coroutine[Any, Any, None]]


def scenarios(suites: list[str]) -> dict[str, Scenario]:
    """Tests by name: ``module::function``."""
    found: dict[str, Scenario] = {}
    for suite in suites:
        for name in SUITES[suite]:
            for function in vars(importlib.import_module(name)).values():
                body = getattr(function, "body", None)
                if (
                    inspect.iscoroutinefunction(body)
                    and not inspect.signature(body).parameters
                    and body.__module__ == name
                    and _fits(function)
                    and f"{name}::{body.__name__}" not in LEFT_OUT
                ):
                    found[f"{name}::{body.__name__}"] = body
    return found


def _fits(function: Any) -> bool:
    """Is the test for as many threads, and for the notation in which it is written?"""
    return any(
        ("await", THREADS) in mark.args[1]
        for mark in function.pytestmark
        if mark.name == "parametrize" and mark.args[0] == ("notation", "threads")
    )


def sample(seed: int, names: list[str]) -> list[str]:
    return random.Random(seed).sample(names, min(SAMPLE, len(names)))


def duration(scenario: Scenario) -> float:
    import tonio

    start = perf_counter()
    tonio.run(scenario(), threads=THREADS)
    return perf_counter() - start
