"""What is written beside the figures, as they depend on it: machine, interpreter, commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
PROGRAMS = BENCHMARKS / "programs"
BUILD = ROOT / "build" / "benchmarks"
RESULTS = BENCHMARKS / "results"


def cache_folder() -> Path:
    if folder := os.environ.get("TONIO_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tonio"


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """The commit that is measured; `-dirty` if there are changes on top of it."""
    name = git("rev-parse", "--short=10", "HEAD") or "no-commit"
    return f"{name}-dirty" if git("status", "--porcelain") else name


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def build_options() -> dict[str, Any]:
    """How the extension was built: a debug build must not pass for a slow one."""
    file = ROOT / "build" / "python" / "meson-info" / "intro-buildoptions.json"
    if not file.exists():
        return {}
    wanted = ("buildtype", "optimization", "b_lto", "checks", "c_args")
    options = json.loads(file.read_text())
    return {option["name"]: option["value"] for option in options if option["name"] in wanted}


def compiler() -> str:
    command = [*os.environ.get("CC", "cc").split(), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.returncode == 0 else ""


def describe() -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory_bytes(),
        "system": platform.platform(),
        "python": sys.version,
        "compiler": compiler(),
        "build": build_options(),
        "load_average": os.getloadavg()[0],
    }
