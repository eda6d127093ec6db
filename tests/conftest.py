"""What every test is watched for: it leaves nothing behind, and it ends."""

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from typing import IO

import notation
import pytest
from helpers import Unraisables, open_descriptors, threads_of_process, wait_until
from kinds import FACTOR, TSAN

# pytest-timeout fails a test after the limit in pyproject.toml, or that of --timeout, and shows all
# stacks. It needs the main thread to run Python code; when even that hangs for so much longer, the
# process is ended.
GRACE_SECONDS = 30.0 * FACTOR

_stderr: IO[bytes] | None = None


def pytest_configure(config: pytest.Config) -> None:
    global _stderr
    notation.configure(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores it, and so would the programs that tests interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.timeout is None:
        config.option.timeout = float(config.getini("timeout")) * FACTOR
    _stderr = os.fdopen(os.dup(2), "wb", buffering=0)
    if TSAN:
        start_symbolizer()


def start_symbolizer() -> None:
    """ThreadSanitizer asks a program for names, also for reports that are suppressed.

    It starts that one at the first report, and the pipes to it would be what a test has left.
    """
    name = ctypes.create_string_buffer(100)
    sanitizer = ctypes.CDLL(None)
    here = ctypes.cast(sanitizer.PyObject_Call, ctypes.c_void_p)
    sanitizer.__sanitizer_symbolize_pc(here, b"%f", name, ctypes.c_size_t(len(name)))


def pytest_unconfigure() -> None:
    if _stderr is not None:
        faulthandler.cancel_dump_traceback_later()
        _stderr.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure under a seed of the scheduler says how to have it again."""
    report = yield
    seed = os.environ.get("TONIO_SCHEDULE_SEED")
    if report.failed and seed:
        again = f"TONIO_SCHEDULE_SEED={seed} {sys.executable} -m pytest '{item.nodeid}'"
        report.sections.append(("scheduled by a seed; again with", again))
    return report


def pytest_collection_finish() -> None:
    # Every test ends with a collection; what there is until here need not be looked at each time.
    gc.collect()
    gc.freeze()


collects = pytest.StashKey[bool]()  # whether a test is followed by a collection


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    assert _stderr is not None
    # A collection takes longer than most tests: one for all variants of a function.
    item.stash[collects] = nextitem is None or _function(item) != _function(nextitem)
    limit = float(item.config.getoption("timeout") or item.config.getini("timeout"))
    faulthandler.dump_traceback_later(limit + GRACE_SECONDS, exit=True, file=_stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        freeze_now_and_then()


_tests = 0


def freeze_now_and_then() -> None:
    """Every test ends with a collection, which need not look each time at what stays for good."""
    global _tests
    if _tests % 100 == 0:
        gc.collect()
        gc.freeze()
    _tests += 1


@pytest.fixture(autouse=True)
def no_callback_of_collections() -> None:
    """Hypothesis leaves one; in whatever test a cancellation strikes in it, it is reported."""
    gc.callbacks[:] = [
        callback for callback in gc.callbacks if not callback.__module__.startswith("hypothesis.")
    ]


@pytest.fixture
def unraisables() -> Iterator[Unraisables]:
    """Collects the reports to `sys.unraisablehook`; what the test does not take fails it."""
    collected = Unraisables()
    before = sys.unraisablehook
    sys.unraisablehook = collected.hook
    try:
        yield collected
    finally:
        sys.unraisablehook = before
    assert collected.reports == []


@pytest.fixture(autouse=True)
def nothing_left(unraisables: Unraisables, request: pytest.FixtureRequest) -> Iterator[None]:
    """No thread, no descriptor and no report to `sys.unraisablehook` is left by any test.

    Warnings are errors (pyproject.toml). Those of finalisers, such as "never awaited", can only be
    told to that hook, so they are found by it, too; the collection makes them come now.
    """
    threads = threads_of_process()
    descriptors = open_descriptors()
    yield
    if request.node.stash[collects]:
        gc.collect()
    assert wait_until(lambda: threads_of_process() <= threads), f"left: {threading.enumerate()}"
    left = {n: what for n, what in open_descriptors().items() if descriptors.get(n) != what}
    assert left == {}, "descriptors are left"
