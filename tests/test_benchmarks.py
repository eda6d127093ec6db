"""The programs that the benchmarks run do run, and their samples become the right verdicts."""

import json
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from harness import comparing
from harness.model import SETTINGS, TONIO, TONIO_2
from harness.report import number
from harness.results import Results
from suites import SUITES
from targets import BAD, GOOD, TARGETS, UNKNOWN

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

PROGRAMS = [
    "tasks.py bare --count 100",
    "tasks.py asyncio --count 100",
    "tasks.py tonio-yield --count 100 --threads 2",
    "tasks.py tonio-await --count 100",
    "tasks.py tonio-context --count 100",
    "tasks.py tonio-nested --count 100",
    "tasks.py tonio-yield-deep --count 100",
    "tasks.py tonio-await-deep --count 100",
    "operations.py tonio ping_pong --seconds 0.01",
    "operations.py tonio lock_contended --seconds 0.01",
    "operations.py tonio-yield semaphore_4 --seconds 0.01",
    "operations.py tonio-yield channel_8 --seconds 0.01",
    "operations.py asyncio timeout --seconds 0.01",
    "timers.py tonio --count 100",
    "timers.py tonio-yield --count 100",
    "memory.py tonio sleeping --count 100",
    "memory.py tonio-yield waiting --count 100",
    "scaling.py tonio cpu --threads 2 --pieces 1",
    "scaling.py threads fan --threads 2 --rounds 1",
    "idle.py tonio --tasks 10 --seconds 0.1",
    "startup.py tonio --runs 1 --waiting 10",
]


@pytest.mark.parametrize("command", PROGRAMS)
def test_program_prints_a_result(command: str) -> None:
    name, *arguments = command.split()
    finished = subprocess.run(
        [sys.executable, BENCHMARKS / "programs" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout.splitlines()[-1])
    assert len(result) > 1
    assert result["gil"] is False or not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled()


def results_of(**columns: list[float]) -> Results:
    """One case, named `case`, with a metric `cost`."""
    samples = {label: [{"cost": value} for value in found] for label, found in columns.items()}
    return Results({"case": dict(samples)})


def test_ratios_are_taken_within_a_round() -> None:
    results = results_of(mine=[1, 10, 100], other=[2, 20, 200])
    ratio = results.ratio("case", "cost", "mine", "other")
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ([1.1, 1.2, 1.05], comparing.SLOWER),
        ([1.1, 1.2, 0.99], comparing.SAME),  # one round disagrees
        ([1.01, 1.01, 1.01], comparing.SAME),  # a trifle
        ([0.9, 0.8, 0.95], comparing.FASTER),
    ],
)
def test_a_change_is_what_all_rounds_agree_on(now: list[float], verdict: str) -> None:
    suite = SUITES["fairness"](SETTINGS["smoke"])
    samples = {
        "TonIO": [{"p99_us": value} for value in now],
        f"{comparing.PREFIX}TonIO": [{"p99_us": 1.0}] * 3,
    }
    (change,) = comparing.changes(suite, Results({"nobody computes": dict(samples)}))
    assert change.verdict() == verdict


@pytest.mark.parametrize(("speed", "verdict"), [(1.0, GOOD), (0.91, GOOD), (0.89, BAD)])
def test_target_of_two_threads(speed: float, verdict: str) -> None:
    (target,) = [one for one in TARGETS if one.case == "channel_1" and one.ours == TONIO_2]
    samples = {TONIO: [{"seconds_per_op": speed}], TONIO_2: [{"seconds_per_op": 1.0}]}
    results = Results({"channel_1": dict(samples)})
    assert target.verdict(target.measured(results)) == verdict
    assert target.verdict(target.measured(Results())) == UNKNOWN


def test_every_target_is_about_contenders_that_meet() -> None:
    for target in TARGETS:
        suite = SUITES[target.suite](SETTINGS["full"])
        labels = {contender.label for contender in suite.contenders(target.case)}
        assert {target.ours, *target.against} <= labels, target
        assert target.case in suite.cases()
        assert suite.rounds(target.case) >= 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (6.4e-8, "64 n"), (2.5e-4, "250 u"), (0.25, "0.250"), (1234, "1,234")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_results_become_a_document_with_pictures(tmp_path: Path) -> None:
    def sample(suite: str, cost: float) -> dict[str, float]:
        kind = SUITES[suite]
        metrics = {*kind.costs, kind.chart.metric, *(column.metric for column in kind.columns)}
        return {**dict.fromkeys(metrics, cost)}

    suites = {}
    for name, kind in SUITES.items():
        suite = kind(SETTINGS["smoke"])
        suites[name] = {
            case: {
                contender.label: [sample(name, 1.0 + place), None]
                for place, contender in enumerate(suite.contenders(case))
            }
            for case in suite.cases()
        }
    record = {
        "time": "today",
        "commit": "abc",
        "processor": "P",
        "cores": 2,
        "memory_bytes": 2**30,
        "system": "S",
        "python": "3",
        "compiler": "cc",
        "load_average": 0,
        "settings": SETTINGS["smoke"].__dict__,
        "peers": {"trio": "1", "uvloop": ""},
        "not_had": {"uvloop": "no compiler"},
        "missing": ["http: not measured: wrk is not installed"],
        "suites": suites,
    }
    (tmp_path / "results.json").write_text(json.dumps(record))
    finished = subprocess.run(
        [
            sys.executable,
            BENCHMARKS / "publish.py",
            tmp_path / "results.json",
            "--folder",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    document = (tmp_path / "benchmarks.md").read_text()
    for name, kind in SUITES.items():
        assert f"## {kind.title}\n" in document
        assert f"(benchmarks/{name}.svg)" in document
        xml.dom.minidom.parse(str(tmp_path / "benchmarks" / f"{name}.svg"))
    for target in TARGETS:
        assert f"| {target.suite}: {target.text} |" in document
    assert "no compiler" in document
    assert "raw C epoll" in document.split("## Where others are better")[1].split("\n## ")[0]
    assert "wrk is not installed" in document
