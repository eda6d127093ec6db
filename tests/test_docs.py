"""Every Python snippet of the documentation runs as it stands there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificate
from kinds import FACTOR

ROOT = Path(__file__).parent.parent
SNIPPET = re.compile(
    r"^(?P<indent> *)(?P<mark><!-- no-run: .+? -->\n+ *)?```python\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


def documents() -> list[Path]:
    return [path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))) if path.exists()]


def snippets() -> Iterator[object]:
    """Those which no comment ``<!-- no-run: reason -->`` stands right before."""
    for path in documents():
        text = path.read_text()
        for match in SNIPPET.finditer(text):
            if match["mark"] is None:
                first = text[: match.start("code")].count("\n") + 1
                # The blank lines make line numbers of tracebacks those of the document.
                code = "\n" * (first - 1) + re.sub(
                    rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE
                )
                name = str(path.relative_to(ROOT))
                yield pytest.param(name, code, id=f"{name}:{first}")


@pytest.mark.parametrize(("name", "code"), list(snippets()))
def test_snippet_runs(name: str, code: str, tmp_path: Path) -> None:
    if "certificate.pem" in code:
        for file in (certificate().certificate, certificate().key):
            shutil.copy(file, tmp_path)
    finished = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=25 * FACTOR,
        check=False,
    )
    assert finished.returncode == 0, f"{name}:\n{finished.stderr}"
    assert finished.stderr == ""


def test_every_fence_is_closed_and_every_mark_has_a_snippet() -> None:
    for path in documents():
        text = path.read_text()
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) % 2 == 0, path
        assert text.count("```python") == len(SNIPPET.findall(text)), path
        marked = [match for match in SNIPPET.finditer(text) if match["mark"]]
        assert text.count("<!-- no-run:") == len(marked), path
