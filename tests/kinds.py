"""What kind of interpreter the tests run on, and what that means for them.

Sanitizers and a debug build make everything slower: all limits of time are given as for a plain
build and multiplied by `FACTOR`. What cannot work on a kind is skipped with the reason, by the
marks below.
"""

import os
import sysconfig

import pytest

_configuration = sysconfig.get_config_var("CONFIG_ARGS") or ""

TSAN = "--with-thread-sanitizer" in _configuration
ASAN = "--with-address-sanitizer" in _configuration
DEBUG = bool(sysconfig.get_config_var("Py_DEBUG"))
COVERAGE = "COVERAGE_PROCESS_CONFIG" in os.environ

FACTOR = 10.0 if TSAN else 5.0 if ASAN or COVERAGE else 4.0 if DEBUG else 1.0


def environment_for(source: str) -> dict[str, str]:
    """The environment of a program.

    One that forks does not count its lines of Python: that takes locks, which in the child of
    several threads may be held for ever.
    """
    forks = "os.fork()" in source
    return {
        name: value
        for name, value in os.environ.items()
        if not (forks and name.startswith("COVERAGE_PROCESS"))
    }


needs_no_other_thread = pytest.mark.skipif(
    TSAN,
    reason="a deadlock is looked for only if the process has no thread but the runtime's, and the "
    "sanitizer has one",
)
