"""Another commit of this project, built beside the work tree to be compared with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.machine import BUILD, ROOT, git
from harness.peers import Peer, copy_reader, environment_for
from harness.processes import last_line

NAME = "base"


def commit_of(name: str) -> str:
    """The full name of a commit; ends the program if there is no such."""
    if found := git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
        return found
    raise SystemExit(f"{name!r} is no commit of this repository")


def build(name: str, say: Callable[[str], None]) -> Peer:
    """Builds the commit in a git worktree under build/; what was built before is used again."""
    commit = commit_of(name)[:10]
    folder = BUILD / NAME / commit
    stamp = folder / "built"
    if not stamp.exists():
        say(f"building {commit} ...")
        shutil.rmtree(folder, ignore_errors=True)
        git("worktree", "prune")
        folder.mkdir(parents=True)
        _install(commit, folder)
        stamp.touch()
    return Peer(NAME, folder / "python" / "bin" / "python", version=commit)


def _install(commit: str, folder: Path) -> None:
    tree, log = folder / "tree", folder / "log"
    _, packages = environment_for(folder / "python")
    worktree = ["git", "-C", str(ROOT), "worktree"]
    # The project's own tools build it, with the options that its own build has.
    pip = [sys.executable, "-P", "-m", "pip", "install", "--disable-pip-version-check"]
    options = ["--no-build-isolation", "--no-deps", "--target", str(packages)]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with log.open("w") as output:
        for command in (
            [*worktree, "add", "--detach", str(tree), commit],
            [*pip, *options, str(tree)],
            [*worktree, "remove", "--force", str(tree)],
        ):
            environment = {**os.environ, "PATH": tools}
            done = subprocess.run(
                command, stdout=output, stderr=output, env=environment, check=False
            )
            if done.returncode != 0:
                raise SystemExit(
                    f"{commit} cannot be built, see {log}: {last_line(log.read_text())}"
                )
    copy_reader(packages)
