"""Programs that misuse the API or their environment end as they must: see hostile/program.py.

They run several at a time in a process of their own, which begins when the first test asks.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
import corpus
from kinds import ASAN, FACTOR, TSAN

RUNNER = Path(__file__).parent / "hostile" / "run.py"


def unfit(name: str) -> str | None:
    """Why the program cannot be run here."""
    program = corpus.VARIANTS[name][0]
    if (ASAN or TSAN) and not program.sanitizers:
        return "the sanitizer has no room within its limits, or is too slow for it"
    if TSAN and any("DeadlockError" in text for text in program.tells):
        return "with a thread of the sanitizer's nobody can say that it is a deadlock"
    return None


@pytest.fixture(scope="module")
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str | None]]:
    """Gives what is wrong with a program, as soon as it is known."""
    chosen = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
        if hasattr(item, "callspec") and not unfit(item.callspec.params["name"])
    ]
    # the brackets of a name would mean a set of characters
    patterns = [name.replace("[", "[[]") for name in chosen]
    path = tmp_path_factory.mktemp("hostile") / "outcomes"
    # what counts lines of Python would be in their way; lines of C are counted all the same
    environment = {name: os.environ[name] for name in os.environ if "COVERAGE" not in name}
    with path.open("wb") as file:
        runner = subprocess.Popen(
            [sys.executable, RUNNER, "--json", *patterns],
            stdin=subprocess.DEVNULL,
            stdout=file,
            env=environment,
        )
    known: dict[str, str | None] = {}

    def outcome(name: str) -> str | None:
        deadline = monotonic() + 28 * FACTOR
        while name not in known:
            assert monotonic() < deadline, "the runner of the programs hangs"
            ended = runner.poll() is not None
            lines = path.read_text().split("\n")[:-1]
            known.update(map(json.loads, lines))
            assert name in known or not ended, "the runner of the programs has failed"
            sleep(0.02)
        return known[name]

    yield outcome
    runner.kill()
    runner.wait()


@pytest.mark.parametrize("name", corpus.VARIANTS)
def test_program(name: str, outcome: Callable[[str], str | None]) -> None:
    if reason := unfit(name):
        pytest.skip(reason)
    problem = outcome(name)
    assert problem is None, f"{name}: {problem}"
