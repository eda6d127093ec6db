"""Breaks the code on purpose and looks whether the hunt for such defects finds them.

    python3 tests/sanitizers/sabotage.py            # all of them
    python3 tests/sanitizers/sabotage.py leak       # those with such a name
    python3 tests/sanitizers/sabotage.py --list

Each mistake is put into a copy of the checkout in build/sabotage, which has its own builds. There
a command runs that is part of a target; it must fail and say why. Before, the same command must
pass on the code as it is. For models of interleavings there is tests/model/mistakes.py.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "sabotage"

SECONDS = 1200.0  # that one command may take, the set-up of its environment included


@dataclass(frozen=True)
class Mistake:
    name: str
    target: str  # that has the command
    command: str
    found: str  # a regular expression: how the command says it
    file: str  # in src
    before: str  # occurs once in it
    after: str


ASAN = "scripts/test_python.sh asan -q -x -k await "
FAULTS = "scripts/build.sh faults && .venv/bin/python tests/faults/run.py --notation await "

MISTAKES = (
    Mistake(
        "missing-barrier-in-the-queue",
        "test-core-san",
        "scripts/bootstrap.sh tools && scripts/test_core.sh thread run_queue",
        "WARNING: ThreadSanitizer: data race",
        "core/run_queue.c",
        "atomic_store_explicit(&queue->tail, tail, memory_order_release);",
        "atomic_store_explicit(&queue->tail, tail, memory_order_relaxed);",
    ),
    Mistake(
        "double-free",
        "test-asan",
        ASAN + "tests/test_socket_methods.py",
        "ERROR: AddressSanitizer: attempting double-free",
        "types/socket_message.c",
        "    free(message->parts);\n",
        "    free(message->parts);\n    free(message->parts);\n",
    ),
    Mistake(
        "leak",
        "test-asan",
        ASAN + "tests/test_socket_methods.py",
        "in parts_from_object .*socket_message.c",
        "types/socket_message.c",
        "    free(message->parts);\n",
        "",
    ),
    Mistake(
        "unchecked-allocation",
        "test-faults",
        FAULTS + "--threads 1 --scenario blocking_calls",
        "the process ended with status -11",
        "runtime/blocking.c",
        """    if (job == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
""",
        "",
    ),
    Mistake(
        "lost-interruption",
        "test-faults",
        FAULTS + "--threads 1 --scenario streams",
        "InterruptedError",
        "types/socket_operation.c",
        "        if (errno == EINTR) {\n            if (PyErr_CheckSignals() < 0) {",
        "        if (false) {\n            if (PyErr_CheckSignals() < 0) {",
    ),
)


def update_copy() -> None:
    """Files that are as they were keep their dates, so little is compiled again."""
    COPY.mkdir(parents=True, exist_ok=True)
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        source, copy = ROOT / name, COPY / name
        if not source.exists():
            copy.unlink(missing_ok=True)
            continue
        data = source.read_bytes()
        if not copy.exists() or copy.read_bytes() != data:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
            copy.chmod(source.stat().st_mode)


def run(command: str) -> tuple[bool, str, float]:
    """Whether it passed, what it said, and the seconds it took."""
    started = monotonic()
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=COPY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={key: value for key, value in os.environ.items() if key != "MAKEFLAGS"},
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        output += f"\nit took more than {SECONDS:.0f} s"
    return process.returncode == 0, output, monotonic() - started


def try_mistake(mistake: Mistake) -> bool:
    path = COPY / "src" / mistake.file
    text = path.read_text()
    if text.count(mistake.before) != 1:
        print(f"{mistake.name}: {mistake.file} has changed; what it replaces is not there once")
        return False
    path.write_text(text.replace(mistake.before, mistake.after))
    try:
        passed, output, seconds = run(mistake.command)
    finally:
        path.write_text(text)
    said = re.search(rf"^.*{mistake.found}.*$", output, re.MULTILINE)
    found = not passed and said is not None
    print(f"{mistake.name}: {'found' if found else 'NOT FOUND'} in {seconds:.0f} s")
    print(f"    make {mistake.target}: {mistake.command}")
    if said is not None:
        print(f"    {said[0].strip()[:160]}")
    if not found:
        print(output[-3000:])
    sys.stdout.flush()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Breaks the code on purpose.")
    parser.add_argument("names", nargs="*", help="parts of the names of mistakes")
    parser.add_argument("--list", action="store_true", help="only name them")
    options = parser.parse_args()
    mistakes = [
        mistake
        for mistake in MISTAKES
        if not options.names or any(name in mistake.name for name in options.names)
    ]
    if options.list:
        for mistake in mistakes:
            print(f"{mistake.name:32} make {mistake.target}")
        return 0
    if not mistakes:
        parser.error("there is no mistake of that name")
    update_copy()
    good = True
    for command in dict.fromkeys(mistake.command for mistake in mistakes):
        passed, output, seconds = run(command)
        print(f"as it is: {'passed' if passed else 'FAILED'} in {seconds:.0f} s: {command}")
        if not passed:
            print(output[-3000:])
            good = False
        sys.stdout.flush()
    for mistake in mistakes:
        good = try_mistake(mistake) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
