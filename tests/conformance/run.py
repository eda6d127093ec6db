"""Runs CPython's own test_socket against TonIO's sockets.

    python tests/conformance/run.py [--all] [-v] [PATTERN ...]

The source of the tests is not part of an installed interpreter. It is looked for in the folder that
TONIO_CPYTHON_TESTS names (the one with test/test_socket.py in it), beside the interpreter that the
project has built, and in other installations of the same version. Which cases are excluded, and
why, is in excluded.py; `--all` runs those, too. The exit status is 1 if a case that is not excluded
fails.
"""

from __future__ import annotations

import argparse
import faulthandler
import glob
import os
import re
import sys
import time
import unittest
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def candidates() -> Iterator[Path]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if named := os.environ.get("TONIO_CPYTHON_TESTS"):
        yield Path(named)
    yield Path(sys.base_prefix, "share", "cpython-tests")
    for prefix in (sys.base_prefix, "/usr", "/usr/local", *glob.glob("/opt/*")):
        yield from Path(prefix).glob(f"lib/{version}*")
    yield from Path.home().glob(f".pyenv/versions/*/lib/{version}*")


def source_of_tests() -> Path | None:
    return next(
        (path for path in candidates() if (path / "test" / "test_socket.py").exists()), None
    )


class Result(unittest.TextTestResult):
    """Counts, and tells of what fails as it happens."""


def all_cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from all_cases(entry)
        else:
            yield entry


def excluded(name: str, patterns: dict[str, str]) -> str | None:
    return next((why for pattern, why in patterns.items() if re.search(pattern, name)), None)


def main() -> int:
    parser = argparse.ArgumentParser(description="CPython's test_socket against TonIO's sockets")
    parser.add_argument("patterns", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--all", action="store_true", help="also those that are excluded")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()

    folder = source_of_tests()
    if folder is None:
        print("conformance: no source of CPython's tests here; name it in TONIO_CPYTHON_TESTS")
        return 2
    # Only the package `test` may come from there, not another version's library.
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "test", folder / "test" / "__init__.py", submodule_search_locations=[str(folder / "test")]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["test"] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(HERE))
    import adapter
    from excluded import EXCLUDED

    adapter.install()
    warnings.simplefilter("ignore")
    faulthandler.enable()
    faulthandler.dump_traceback_later(600, exit=True)
    from test import support, test_socket

    support.use_resources = ["network", "walltime"]
    test_socket.setUpModule()
    suite = unittest.TestSuite()
    reasons: Counter[str] = Counter()
    for case in all_cases(unittest.defaultTestLoader.loadTestsFromModule(test_socket)):
        name = case.id().removeprefix("test.test_socket.")
        if options.patterns and not any(part in name for part in options.patterns):
            continue
        if (why := excluded(name, EXCLUDED)) and not options.all:
            reasons[why] += 1
            continue
        suite.addTest(case)
    begun = time.monotonic()
    runner = unittest.TextTestRunner(verbosity=2 if options.verbose else 1, resultclass=Result)
    result = runner.run(suite)
    adapter.bridge().stop()
    failed = len(result.failures) + len(result.errors)
    skipped: Counter[str] = Counter(reason for _, reason in result.skipped)
    passed = result.testsRun - failed - len(result.skipped)
    print(f"conformance: the tests of {folder}, {time.monotonic() - begun:.0f} s")
    print(f"conformance: {passed} passed, {failed} failed")
    for what, counted in (("skipped by itself", skipped), ("excluded", reasons)):
        print(f"conformance: {sum(counted.values())} {what}")
        for reason, count in counted.most_common():
            print(f"    {count:4} {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
