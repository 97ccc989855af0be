"""A new signal's three files work, pass the checks, and are known to the lock file and the page at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.new_signal import FOLDERS, ROOT, new_signal

NAME = "quite_a_long_name_of_a_new_sig"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what signals and their checks are made of, with one new signal."""
    root = tmp_path_factory.mktemp("checkout")
    code = shutil.ignore_patterns("__pycache__", "*.lance", "results")
    for folder in ("tasks", "infra", "benchmarks", "docs", "store"):
        shutil.copytree(ROOT / folder, root / folder, ignore=code)
    (root / "tests" / "unit" / "tasks" / "signals").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    run(root, "tasks.versions", "--write", "--same-output")
    new_signal(NAME, root)
    return root


def run(root: Path, *module: str) -> str:
    told = subprocess.run([sys.executable, "-m", *module], cwd=root, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_its_own_test_passes(checkout: Path) -> None:
    told = run(checkout, "pytest", "-v", "-p", "no:cacheprovider", FOLDERS["test"].format(NAME))
    assert "2 passed" in told


def test_the_checks_pass_and_the_signal_is_known(checkout: Path) -> None:
    files = [folder.format(NAME) for folder in FOLDERS.values()]
    run(checkout, "ruff", "format", "--check", *files)
    run(checkout, "ruff", "check", *files)
    assert NAME in json.loads((checkout / "tasks" / "signal_versions.json").read_text())
    assert f"\n## {NAME}\n" in (checkout / "docs" / "signals.md").read_text()
    run(checkout, "tasks.versions")


def test_the_scorecard_measures_what_it_claims(checkout: Path, tmp_path: Path) -> None:
    """On a flat clip every gain is told apart; with another column it would not be."""
    code = f"""
import av, json, numpy as np
from pathlib import Path
root = Path({str(tmp_path)!r})
(root / "talk").mkdir()
with av.open(str(root / "talk" / "a.mp4"), "w") as container:
    stream = container.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(60):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 200, np.uint8), format="rgb24")))
    container.mux(stream.encode(None))
(root / "manifest.jsonl").write_text(json.dumps({{"file": "talk/a.mp4", "w": 64, "identity": "ann"}}))
from benchmarks.scorecards.{NAME} import run
row = run(root)[0]
print(row.signal, row.value, row.n, row.people)
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    name, value, n, people = told.stdout.split()
    assert (name, float(value), n, people) == (NAME, pytest.approx(1.0), "1", "1")


@pytest.mark.parametrize("name", ["Face", "9lives", "a-b", "", "import", "a__b", "x" * 33])
def test_a_name_that_can_not_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a name is what is measured"):
        new_signal(name, tmp_path)


def test_nothing_is_overwritten(checkout: Path) -> None:
    before = (checkout / FOLDERS["signal"].format("faces")).read_text()
    with pytest.raises(ValueError, match=r"signal faces: tasks/signals/faces.py is there already"):
        new_signal("faces", checkout)
    assert (checkout / FOLDERS["signal"].format("faces")).read_text() == before


def test_an_installed_package_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tests/"):
        new_signal("gaze_at_moon", tmp_path)


def test_a_check_that_fails_is_told(tmp_path: Path) -> None:
    for folder in ("tasks/signals", "tests/unit/tasks/signals", "benchmarks/scorecards"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tasks" / "__init__.py").write_text("")
    (tmp_path / "tasks" / "versions.py").write_text("import sys; sys.exit('no lock')")
    with pytest.raises(ValueError, match="is written, but python -m tasks.versions --write ended with: no lock"):
        new_signal("moon", tmp_path)
