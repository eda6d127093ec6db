"""The same servers on the streams of each library: HTTP with a fixed answer, an echo over TLS."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.machine import BENCHMARKS
from harness.model import TONIO, TONIO_YIELD, Bench, Chart, Column, Contender, Suite
from harness.processes import MeasurementError, cpu_seconds, last_line, run_text, server

WRK_SCRIPT = BENCHMARKS / "load" / "wrk_report.lua"
TLS_LOAD = BENCHMARKS / "load" / "tls_load.py"
HTTP = "HTTP, 64 connections"


@functools.cache
def certificate() -> tuple[Path, Path]:
    """A certificate and its key, made by the openssl program."""
    folder = Path(tempfile.mkdtemp(prefix="tonio-benchmarks-"))
    pair = (folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "30"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    command += ["-out", str(pair[0]), "-keyout", str(pair[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return pair


class Streams(Suite):
    name = "streams"
    title = "HTTP and TLS on streams"
    text = (
        "A few lines of server, written for each library in the way its users would: HTTP with "
        "the same answer of 1 KiB to whatever is asked (load of `wrk`), and an echo over TLS 1.3 "
        "(load of a program in Python with a thread for each connection). One thread, one core. "
        "In both cases most of the time is not the library's but that of the kernel or of OpenSSL."
    )
    columns = (
        Column("server CPU us/request", "cpu_us"),
        Column("x TonIO await", "cpu_us", against=TONIO),
        Column("requests/s", "requests_per_second"),
        Column("p50 us", "p50_us"),
        Column("p99 us", "p99_us"),
        Column("p99.9 us", "p999_us"),
    )
    costs = ("cpu_us",)
    chart = Chart("dots", "HTTP and TLS: server CPU for a request", "us", "cpu_us")

    _tls: ClassVar[dict[str, tuple[int, int]]] = {
        "TLS echo, 16 connections, 1 KiB": (16, 1024),
        "TLS echo, 4 connections, 1 MiB": (4, 1 << 20),
    }

    def cases(self) -> Sequence[str]:
        return [*([HTTP] if shutil.which("wrk") else []), *self._tls]

    def why_not(self, bench: Bench) -> str:  # noqa: ARG002
        return "" if shutil.which("openssl") else "openssl is not installed"

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:
        kind = "http" if case == HTTP else "tls"
        return [
            Contender(TONIO, "project", ("tonio-await", kind)),
            Contender(TONIO_YIELD, "project", ("tonio-yield", kind)),
            Contender("uvloop streams", "uvloop", ("uvloop-streams", kind)),
            Contender("asyncio streams", "python", ("asyncio-streams", kind)),
        ]

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        files: list[object] = []
        if case != HTTP:
            chain, key = certificate()
            files = ["--certificate", chain, "--key", key]
        command = bench.command(contender, "stream_server.py", *files)
        with server(command, bench.pinned(contender)) as (process, port):
            self._load(bench, case, process.pid, port, 0.2)  # warms up
            return self._load(bench, case, process.pid, port, self.settings.echo_seconds)

    def _load(self, bench: Bench, case: str, pid: int, port: int, seconds: float) -> dict[str, Any]:
        command: list[str | Path]
        if case == HTTP:
            whole = str(max(1, round(seconds)))
            command = ["wrk", "-t", "1", "-c", "64", "-s", WRK_SCRIPT, "-d", whole]
            command.append(f"http://127.0.0.1:{port}/")
        else:
            connections, size = self._tls[case]
            command = [bench.peers["project"].python, TLS_LOAD, str(port), str(pid)]
            command += [str(connections), str(size), str(seconds)]
        before = cpu_seconds(pid)
        output = last_line(run_text(command, bench.load_core()))
        used = cpu_seconds(pid) - before
        sample: dict[str, Any] = json.loads(output)
        if sample.get("errors") or not sample["requests"]:
            raise MeasurementError(f"the load met errors: {output}")
        # A handshake costs as much as hundreds of requests: that load does not count it.
        sample["cpu_us"] = sample.get("server_cpu_seconds", used) / sample["requests"] * 1e6
        return sample
