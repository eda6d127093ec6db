"""The examples say what they are to say, and the stress of the synchronisation finds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from kinds import FACTOR

sys.path.insert(0, str(Path(__file__).parent / "stress"))
import sync_stress

ROOT = Path(__file__).parent.parent

OUTPUTS = {
    "pipeline": ["sum of squares: 332833500"],
    "philosophers": ["meals: 500"],
    "work_queue": ["jobs done: 200 in order of submission: True"],
    "pubsub": [
        "quick got or missed: 20",
        "slow got or missed: 20 and missed some: True",
        "other: (0, 0)",
    ],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_example(name: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-X", "dev", ROOT / "examples" / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=25 * FACTOR,
        check=False,
    )
    assert finished.stderr == ""
    assert finished.stdout.splitlines() == OUTPUTS[name]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_message_or_permit_is_lost_under_stress(threads: int) -> None:
    assert "messages in" in sync_stress.run(50_000, threads)
