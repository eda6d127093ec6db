"""The HTTP server of the examples, under the load of wrk."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.machine import BENCHMARKS, ROOT
from harness.model import TONIO, TONIO_2, Bench, Chart, Column, Contender, Suite
from harness.processes import MeasurementError, cpu_seconds, last_line, run_text, serving

SERVER = ROOT / "examples" / "httpd.py"
SCRIPT = BENCHMARKS / "load" / "wrk_report.lua"


class Http(Suite):
    name = "http"
    title = "HTTP"
    text = (
        "`examples/httpd.py`, a server written in Python on TonIO's sockets, sends a file of 1 KiB "
        "to 64 connections of `wrk`. It remembers for a second what it answered to the same bytes; "
        "in the second case it does not, and each request is parsed and each file read. No other "
        "library runs this program. On two threads the load shares a core with the server where "
        "there are only two."
    )
    columns = (
        Column("server CPU us/request", "cpu_us"),
        Column("requests/s", "requests_per_second"),
        Column("p50 us", "p50_us"),
        Column("p99 us", "p99_us"),
        Column("p99.9 us", "p999_us"),
    )
    costs = ("cpu_us", "p99_us")
    chart = Chart("dots", "HTTP: server CPU for a request", "us", "cpu_us")

    _cache: ClassVar[dict[str, float]] = {"answers remembered": 1.0, "every request parsed": 0.0}

    def why_not(self, bench: Bench) -> str:  # noqa: ARG002
        return "" if shutil.which("wrk") else "wrk is not installed"

    def cases(self) -> Sequence[str]:
        return list(self._cache)

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return [Contender(TONIO, "project"), Contender(TONIO_2, "project", threads=2)]

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        seconds = max(1, round(self.settings.echo_seconds))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "file").write_bytes(b"x" * 1024)
            command: list[str | Path] = [bench.peers[contender.peer].python, SERVER]
            command += ["--root", folder, "--port", "0", "--quiet"]
            command += ["--threads", str(contender.threads), "--cache", str(self._cache[case])]
            with serving(command, bench.pinned(contender)) as (process, line):
                if not (found := re.search(r"http://[\d.]+:\d+", line)):
                    raise MeasurementError(f"the server does not tell its address: {line!r}")
                wrk: list[str | Path] = ["wrk", "-t", "1", "-c", "64", "-s", SCRIPT, "-d"]
                address = f"{found[0]}/file"
                run_text([*wrk, "1", address], bench.load_core())  # warms up
                before = cpu_seconds(process.pid)
                output = run_text([*wrk, str(seconds), address], bench.load_core())
                used = cpu_seconds(process.pid) - before
        sample: dict[str, Any] = json.loads(last_line(output))
        if sample["errors"] or not sample["requests"]:
            raise MeasurementError(f"wrk met errors: {last_line(output)}")
        sample["cpu_us"] = used / sample["requests"] * 1e6
        return sample
