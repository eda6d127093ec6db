"""Case: one scenario with one schedule of faults, and what must be true afterwards."""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared import GAI, MEMORY, ROOT, THREAD, Extension, extension_path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LIMIT = 10.0  # seconds for a case
SCENARIO_FILES = ("scenarios", "scenarios_sync", "scenarios_network")


class ExtensionFinder:
    """Has `tonio._core` imported from the build with the shim, the rest from the sources."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name.partition(".")[0] != "tonio":
            return None
        if name != "tonio._core":
            return importlib.machinery.PathFinder.find_spec(name, path or [str(ROOT)])
        where = str(extension_path())
        loader = importlib.machinery.ExtensionFileLoader(name, where)
        return importlib.util.spec_from_file_location(name, where, loader=loader)


def use_extension() -> None:
    if ExtensionFinder not in sys.meta_path:
        sys.meta_path.insert(0, ExtensionFinder)


def load_scenarios(notation: str) -> Any:
    """The module scenarios, in a notation; the others register theirs there."""
    from notation import translate

    for name in SCENARIO_FILES:
        path = Path(__file__).with_name(f"{name}.py")
        module = types.ModuleType(name)
        sys.modules[name] = module
        code = compile(translate(path.read_text(), notation), str(path), "exec")
        exec(code, module.__dict__)
    return sys.modules[SCENARIO_FILES[0]]


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    else:
        yield error


def tells_of_fault(error: BaseException, ways: list[int], also: tuple[type, ...]) -> bool:
    """May a fault of these kinds have become this exception?"""
    if isinstance(error, OSError) and error.errno == errno.EINTR:
        return False  # whoever is interrupted goes on
    if isinstance(error, MemoryError):
        return MEMORY in ways or any(way > GAI for way in ways)
    if isinstance(error, OSError) and error.errno in ways:
        return True
    if isinstance(error, OSError) and any(way > GAI for way in ways):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM and MEMORY in ways:
        return True
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return THREAD in ways
    return isinstance(error, also)


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # that of the listing
    return found


def coroutines() -> int:
    kinds = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


class Case:
    def __init__(self, extension: Extension, faults: Any, module: Any, name: str) -> None:
        self.extension = extension
        self.faults = faults
        self.module = module
        self.scenario = module.SCENARIOS[name]
        self.unraisable: list[BaseException] = []
        self.problems: list[str] = []

    def start(self, threads: int) -> Any:
        if self.scenario.plain:
            return self.scenario.function(threads)
        options = {"threads": threads, "shutdown_warning": LIMIT / 2, **self.scenario.options}
        return self.module.tonio.run(self.scenario.function(), **options)

    def warm_up(self, threads: int) -> None:
        """Once without faults: caches are filled, and the scenario is right by itself."""
        for _ in range(2):
            self.module.CHECKS.clear()
            outcome = self.start(threads)
            assert outcome == "done", outcome
            for check in self.module.CHECKS:
                check()
            check = None  # it holds on to the scenario's objects
        self.module.CHECKS.clear()
        gc.collect()
        gc.freeze()

    def _hook(self, report: Any) -> None:
        self.unraisable.append(report.exc_value or report.exc_type())

    def _problem(self, text: str, error: BaseException | None = None) -> None:
        if error is not None:
            text += "\n" + "".join(traceback.format_exception(error)).rstrip()
        self.problems.append(text)

    def run(self, threads: int) -> list[str]:
        """What was wrong, in words."""
        faults = self.faults
        sys.unraisablehook = self._hook
        warnings.simplefilter("ignore")
        before = self._look()
        warned = threading.excepthook
        threading.excepthook = lambda args: self._hook(args)
        outcome, error = None, None
        faults.armed = 1
        try:
            outcome = self.start(threads)
        except BaseException as raised:
            error = raised
        faults.armed = 0
        fired = [faults.first[i] for i in range(min(faults.fired, len(faults.first)))]
        ways = [self.extension.variants[one.symbol][one.variant] for one in fired]
        threading.excepthook = warned

        self._outcome(outcome, error, ways)
        self._unraisables(ways)
        for check in self.module.CHECKS:
            try:
                check()
            except BaseException as failed:
                self._problem("a check failed", failed)
        self.module.CHECKS.clear()
        outcome = error = check = None
        self._afterwards(threads, before)
        self._unraisables(ways)
        return self.problems

    def _outcome(self, outcome: Any, error: BaseException | None, ways: list[int]) -> None:
        if error is None and outcome != "done":
            self._problem(f"the result is {outcome!r}")
        also = self.scenario.also if ways else ()
        if error is not None and not all(tells_of_fault(e, ways, also) for e in leaves(error)):
            self._problem("this came out", error)

    def _unraisables(self, ways: list[int]) -> None:
        lost = self.scenario.lost if ways else ()
        if len(ways) > 1:  # the second may be that there is no memory to keep what the first led to
            lost += self.scenario.also
        for report in self.unraisable:
            if not all(tells_of_fault(leaf, ways, lost) for leaf in leaves(report)):
                self._problem("reported as unraisable", report)
        self.unraisable.clear()

    def _look(self) -> dict[str, Any]:
        gc.collect()
        return {
            "descriptors": descriptors(),
            "threads": len(os.listdir("/proc/self/task")),
            "coroutines": coroutines(),
            "blocks of memory": self.faults.live_memory,
            "objects": self.faults.live_objects,
            "handler of SIGINT": str(signal.getsignal(signal.SIGINT)),
        }

    def _afterwards(self, threads: int, before: dict[str, Any]) -> None:
        """The process is as it was, and another run works."""
        event = threading.Event()
        for attempt in range(10):
            now = self._look()
            if now == before:
                break
            event.wait(0.001 * 2**attempt)  # the threads of lookups end by themselves
        for what, value in now.items():
            if value != before[what]:
                self._problem(f"{what}: {before[what]} before, {value} afterwards")
        if signal.set_wakeup_fd(-1) != -1:
            self._problem("the wake-up descriptor for signals is still set")
        hooks = sys.get_asyncgen_hooks()
        if any(hooks):
            self._problem("the hooks for asynchronous generators are still set")
        try:
            again = self.module.tonio.run(self.module.sanity(), threads=threads)
        except BaseException as failed:
            self._problem("the next run failed", failed)
        else:
            if again != [1, 2]:
                self._problem(f"the next run gave {again!r}")


def attach(extension: Extension, faults: Any) -> None:
    extension.attach(faults)
    ctypes.memset(ctypes.byref(faults), 0, ctypes.sizeof(faults))
