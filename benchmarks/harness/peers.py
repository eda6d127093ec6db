"""The interpreters that run the contenders: one virtual environment for this project and each peer.

All are made from one and the same Python, as interpreters differ more than libraries do. Peers
live in the cache, outside the source tree. What is made, or why it could not be, is noted in a
stamp that is written last: without it the environment is made anew. A failure is remembered for a
day.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable
from pathlib import Path

from harness.machine import BENCHMARKS, BUILD, cache_folder
from harness.processes import environment

FAILURE_LIFETIME = 24 * 3600

INSTALLS: dict[str, tuple[str, ...]] = {
    "rust": ("--only-binary=:all:", "tonio"),
    "uvloop": ("--no-binary=uvloop", "uvloop"),
    "trio": ("trio",),
    "tinyio": ("tinyio",),
}
DISTRIBUTIONS = {"rust": "tonio", "uvloop": "uvloop", "trio": "trio", "tinyio": "tinyio"}

# With -P the folder of the caller, which may be this project's with its own tonio, is not searched.
PROBE = """
import importlib, importlib.metadata, sys
importlib.import_module(sys.argv[1])
print(importlib.metadata.version(sys.argv[1]))
"""

LOCATE = """
import importlib.metadata, os, tonio, tonio._core
print(importlib.metadata.version("tonio"))
print(os.path.dirname(tonio.__file__))
print(tonio._core.__file__)
"""


# Echo servers in other languages: the folder of the source, how to ask for the compiler's version,
# and how to build the program into a target.
NATIVE: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "go": ("go_echo", ("go", "version"), ("go", "build", "-o", "{target}", ".")),
    "tokio": (
        "tokio_echo",
        ("cargo", "--version"),
        ("cargo", "build", "--release", "--target-dir", "{target}.build"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Peer:
    """An interpreter with a library, or the reason why there is none.

    Of a peer in another language `python` is its echo server.
    """

    name: str
    python: Path
    version: str = ""
    problem: str = ""


def base_python() -> Path:
    """The interpreter that this one's virtual environment was made from."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def probe(name: str, python: Path) -> Peer:
    command = [str(python), "-P", "-c", PROBE, DISTRIBUTIONS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Peer(name, python, problem=reason)
    return Peer(name, python, version=done.stdout.strip())


def environment_for(folder: Path) -> tuple[Path, Path]:
    """A new virtual environment: its interpreter, and where its packages belong."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    packages = sysconfig.get_path("platlib", "venv", {"base": folder, "platbase": folder})
    return folder / "bin" / "python", Path(packages)


def copy_reader(packages: Path) -> None:
    """h11, which the HTTP server of the examples reads requests with."""
    found = Path(sysconfig.get_path("purelib")) / "h11"
    shutil.copytree(found, packages / "h11", ignore=shutil.ignore_patterns("__pycache__"))


def copy_of_project() -> Peer:
    """A copy of this project as it is built now, so that all rounds measure the same.

    In the editable installation an import would rebuild what someone edits in the meantime.
    """
    folder = BUILD / "project"
    command = [sys.executable, "-P", "-c", LOCATE]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if found.returncode != 0:
        reason = (found.stderr.strip().splitlines() or ["no message"])[-1]
        return Peer("project", folder, problem=reason)
    version, package, extension = found.stdout.splitlines()
    python, packages = environment_for(folder)
    shutil.copytree(package, packages / "tonio", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(extension, packages / "tonio")
    copy_reader(packages)
    return Peer("project", python, version=version)


def install(name: str, folder: Path, log: Path) -> Peer:
    """Makes the peer's environment from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-P", "-m", "pip", "install", "--disable-pip-version-check"]
    steps = [[str(base_python()), "-m", "venv", str(folder)], [*pip, *INSTALLS[name]]]
    with log.open("w") as output:
        for step in steps:
            done = subprocess.run(step, stdout=output, stderr=output, check=False)
            if done.returncode != 0:
                return Peer(name, python, problem=f"cannot be installed, see {log}")
    return probe(name, python)


def installed(name: str, *, refresh: bool, say: Callable[[str], None]) -> Peer:
    folder = cache_folder() / "peers" / name
    stamp = folder.with_suffix(".json")
    key = f"{base_python().resolve()} {sys.version} {' '.join(INSTALLS[name])}"
    if not refresh and stamp.exists():
        noted = json.loads(stamp.read_text())
        fresh = not noted["problem"] or time.time() - stamp.stat().st_mtime < FAILURE_LIFETIME
        if noted["key"] == key and fresh:
            return Peer(name, folder / "bin" / "python", noted["version"], noted["problem"])
    say(f"setting up the peer {name} (once; a minute or two where it must be compiled) ...")
    stamp.unlink(missing_ok=True)
    peer = install(name, folder, folder.with_suffix(".log"))
    new = stamp.with_suffix(".new")
    new.write_text(json.dumps({"key": key, "version": peer.version, "problem": peer.problem}))
    new.rename(stamp)
    return peer


def built(name: str, *, say: Callable[[str], None]) -> Peer:
    """An echo server in another language, compiled from a copy of its source if it changed."""
    folder, version, build = NATIVE[name]
    source = BENCHMARKS / "peers" / folder
    work = cache_folder() / "peers" / folder
    target = work / "bin" / folder
    try:
        asked = subprocess.run(version, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return Peer(name, target, problem=f"there is no {version[0]} here")
    newest = max(file.stat().st_mtime for file in source.rglob("*") if file.is_file())
    if not target.exists() or target.stat().st_mtime < newest:
        say(f"building the peer {name} (once) ...")
        shutil.rmtree(work / "source", ignore_errors=True)
        shutil.copytree(source, work / "source")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [part.format(target=target) for part in build]
        log = work / "build.log"
        with log.open("w") as output:
            done = subprocess.run(
                command, cwd=work / "source", stdout=output, stderr=output, check=False
            )
        if done.returncode != 0:
            return Peer(name, target, problem=f"cannot be built, see {log}")
        if name == "tokio":
            shutil.copy2(Path(f"{target}.build") / "release" / folder, target)
        os.utime(target)
    return Peer(name, target, version=asked.stdout.strip())


def set_up(*, refresh: bool, say: Callable[[str], None]) -> dict[str, Peer]:
    """The peers by name."""
    peers = {}
    for name in INSTALLS:
        if name == "rust" and (other := os.environ.get("TONIO_PEER")):
            peers[name] = probe(name, Path(other))
        else:
            peers[name] = installed(name, refresh=refresh, say=say)
    for name in NATIVE:
        peers[name] = built(name, say=say)
    return peers


def at_home() -> dict[str, Peer]:
    """What needs no set-up: `python` is the plain interpreter, `project` has this project."""
    return {
        "python": Peer("python", base_python(), version=sys.version.split()[0]),
        "project": copy_of_project(),
    }
