"""Takes the samples: rounds in which every contender has its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness import processes
from harness.model import Bench, Contender, Suite
from harness.report import Progress
from harness.results import Results

type Contenders = Callable[[Suite, str], list[Contender]]
"""Who takes part in a case."""


def available(bench: Bench) -> Contenders:
    return lambda suite, case: [one for one in suite.contenders(case) if bench.has(one)]


def measure_all(
    bench: Bench, suites: Sequence[Suite], contenders: Contenders
) -> tuple[dict[str, Results], bool]:
    """All samples of all suites by the suite's name, and whether it came to its end."""
    measured = {suite.name: Results() for suite in suites}
    progress = Progress(
        sum(
            suite.rounds(case) * len(contenders(suite, case))
            for suite in suites
            for case in suite.cases()
        )
    )
    complete = True
    try:
        for suite in suites:
            _measure(bench, suite, contenders, measured[suite.name], progress)
    except KeyboardInterrupt:
        complete = False
        progress.say("interrupted: this is what was measured so far")
    progress.end()
    for suite in suites:
        _in_table_order(suite, contenders, measured[suite.name])
        suite.derive(measured[suite.name])
    return measured, complete


def _measure(
    bench: Bench, suite: Suite, contenders: Contenders, results: Results, progress: Progress
) -> None:
    rounds = max(map(suite.rounds, suite.cases()))
    for number in range(rounds):
        for case in suite.cases():
            if number >= suite.rounds(case):
                continue
            turn = contenders(suite, case)
            # Nobody always runs first, or always after the same one.
            shift = number % max(1, len(turn))
            where = f"{suite.name}, round {number + 1} of {rounds}, {suite.case_title(case)}"
            for contender in turn[shift:] + turn[:shift]:
                progress.step(where, contender.label)
                results.add(case, contender.label, _sample(bench, suite, case, contender, results))


def _sample(
    bench: Bench, suite: Suite, case: str, contender: Contender, results: Results
) -> dict[str, float] | None:
    """One measurement, or None and a note in the results. What failed once is not tried again."""
    key = (case, contender.label)
    if key in results.failed or key in results.skipped:
        return None
    try:
        measured: dict[str, Any] = suite.measure(bench, case, contender)
    except processes.MeasurementError as error:
        results.failed[key] = str(error)
        return None
    if "skipped" in measured:
        results.skipped[key] = measured["skipped"]
        return None
    return measured


def _in_table_order(suite: Suite, contenders: Contenders, results: Results) -> None:
    """Undoes the shifts: contenders appear as the suite lists them."""
    for case, found in results.samples.items():
        labels = [contender.label for contender in contenders(suite, case)]
        results.samples[case] = {label: found[label] for label in labels if label in found}


def missing(measured: dict[str, Results]) -> list[str]:
    """Why figures are not there, each reason once."""
    texts = []
    for name, results in measured.items():
        texts += [f"{name}, {case}: skipped: {why}" for (case, _), why in results.skipped.items()]
        texts += [f"{name}, {case}: {who}: {why}" for (case, who), why in results.failed.items()]
    return list(dict.fromkeys(texts))
