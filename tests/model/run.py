"""Builds and runs the models: each explores the interleavings of a piece of the C code (explore.h).

First the code as it is, in which nothing may be found. Then the code with one deliberate mistake
after the other, each of which must be found: what an explorer does not find in broken code it
would not find in ours, either. Arguments: names of programs (and of mistakes), or nothing for all;
``--keep-going`` looks for further failures after the first.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from mistakes import MISTAKES, Mistake

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
MODELS = ROOT / "tests" / "model"
BUILD = ROOT / "build" / "model"

SECONDS = 240.0  # that one program may take

CORE = (
    "core/inject_queue.c",
    "core/parker.c",
    "core/poller.c",
    "core/run_queue.c",
    "core/timer_wheel.c",
)
ENGINE = (
    *CORE,
    "runtime/cancel.c",
    "runtime/driver.c",
    "runtime/operation.c",
    "runtime/perturb.c",
    "runtime/task.c",
    "runtime/worker.c",
)
TASKS = (*ENGINE, "runtime/task_handle.c", "runtime/task_run.c", "types/channel.c")


EXPLORER = ("explore.c", "kernel.c", "python.c")


@dataclass(frozen=True)
class Program:
    sources: tuple[str, ...]  # real ones, in src
    own: tuple[str, ...]  # of the models; what these include of src/*.c is real, too
    flags: tuple[str, ...] = ()


PROGRAMS = {
    "park": Program(
        (
            *ENGINE,
            "runtime/ending.c",
            "runtime/gather.c",
            "runtime/parking.c",
            "runtime/scheduler.c",
        ),
        ("model_park.c", "engine_runtime.c"),
    ),
    "task": Program(
        (*TASKS, "types/error_list.c"), ("model_task.c", "engine_runtime.c", "engine_list.c")
    ),
    "claim": Program((), ("model_claim.c",)),
    "mutex": Program(
        ("core/mutex.c",), ("model_mutex.c",), ("-DMODEL_REAL_MUTEX", "-DSPIN_MAXIMUM=1")
    ),
    "parker": Program(("core/parker.c",), ("model_parker.c",)),
    "poller": Program(("core/poller.c",), ("model_poller.c",)),
    "run_queue": Program(
        ("core/run_queue.c", "core/inject_queue.c"),
        ("model_run_queue.c",),
        ("-DRUN_QUEUE_CAPACITY=4u",),
    ),
    "channel": Program(TASKS, ("model_channel.c", "engine_runtime.c", "engine_list.c")),
    "socket": Program(
        (*TASKS, "types/socket_message.c", "types/socket_operation.c"),
        ("model_socket.c", "engine_runtime.c", "engine_list.c"),
    ),
}

FLAGS = (
    "-std=gnu11",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Wno-unused-value",
    "-Wno-unused-function",
    "-D_GNU_SOURCE",
)
SHIM = ("-include", str(MODELS / "shim.h"))
# What of the interpreter is not in python.c the models must not come to: it is address 0.
LINK = ("-no-pie", "-Wl,--unresolved-symbols=ignore-all", "-lm")


def compiler() -> str:
    return os.environ.get("CC", "gcc")


def run(command: Iterable[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


def compile_file(source: Path, target: Path, flags: tuple[str, ...], instead: Path | None) -> None:
    """Makes an object file. `instead`: a folder whose files take the place of those in src."""
    target.parent.mkdir(parents=True, exist_ok=True)
    places = [SOURCES, MODELS, Path(sysconfig.get_paths()["include"])]
    includes = [f"-I{place}" for place in ([instead] if instead is not None else []) + places]
    run([compiler(), *FLAGS, *includes, *flags, "-c", str(source), "-o", str(target)])


def build(name: str, mistake: Mistake | None) -> Path:
    """The executable of a program. What a mistake has no part in is there already."""
    program = PROGRAMS[name]
    plain = BUILD / name
    folder = plain if mistake is None else plain / mistake.name
    instead: Path | None = None
    if mistake is not None:
        instead = folder / "src"
        changed = instead / mistake.file
        changed.parent.mkdir(parents=True, exist_ok=True)
        changed.write_text(mistake.apply((SOURCES / mistake.file).read_text()))
    objects = []
    for source in program.sources + program.own:
        real = source in program.sources
        if mistake is None or source == mistake.file or mistake.file.endswith(".h"):
            affected = True
        else:
            affected = not real and mistake.file not in program.sources  # it includes the file
        target = (folder if affected else plain) / (source.replace("/", "_") + ".o")
        if affected:
            path = (SOURCES if real else MODELS) / source
            if mistake is not None and source == mistake.file:
                path = folder / "src" / source
            compile_file(path, target, (*SHIM, *program.flags), instead)
        objects.append(str(target))
    objects += [str(BUILD / f"{source}.o") for source in EXPLORER]
    executable = folder / "program"
    run([compiler(), *objects, *LINK, "-o", str(executable)])
    return executable


def explore(name: str) -> bool:
    """Runs a program's models as they are."""
    start = monotonic()
    done = subprocess.run(
        [str(BUILD / name / "program")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    print(f"{name}: {monotonic() - start:.1f} s\n{done.stdout}{done.stderr}", end="", flush=True)
    return done.returncode == 0


def find(mistake: Mistake) -> bool:
    """Runs the model that is to find a mistake."""
    start = monotonic()
    done = subprocess.run(
        [str(build(mistake.program, mistake)), mistake.model],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    found = re.search(r"The steps of this run, number (\d+):", done.stdout)
    where = f"{mistake.program}, {mistake.name}"
    if done.returncode == 1 and found is not None:
        what = done.stdout.rstrip().rpartition("\n")[2].strip()
        print(f"  {where}: found after {found[1]} schedules, {monotonic() - start:.1f} s: {what}")
        sys.stdout.flush()
        return True
    print(
        f"  {where}: NOT FOUND (status {done.returncode})\n{done.stdout}{done.stderr}", flush=True
    )
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="programs or mistakes; none: all")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    names = set(options.names)
    unknown = names - set(PROGRAMS) - {mistake.name for mistake in MISTAKES}
    if unknown:
        parser.error(f"no such program or mistake: {', '.join(sorted(unknown))}")

    start = monotonic()
    mistakes = [m for m in MISTAKES if not names or names & {m.name, m.program}]
    programs = [p for p in PROGRAMS if not names or p in names]
    needed = {*programs, *(mistake.program for mistake in mistakes)}
    shutil.rmtree(BUILD, ignore_errors=True)
    for source in EXPLORER:
        compile_file(MODELS / source, BUILD / f"{source}.o", (), None)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda name: build(name, None), [p for p in PROGRAMS if p in needed]))
        print("The code as it is; nothing may be found (all interleavings are those of")
        print("sequential consistency, SC, or with delayed stores, TSO):")
        good = list(pool.map(explore, programs))
        print("The code with a mistake, which must be found:")
        good += list(pool.map(find, mistakes))
    print(f"{len(good)} programs, {good.count(False)} failed, {monotonic() - start:.0f} s")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
