"""The three files of a new signal: a small one that works, to be changed step by step into what is wanted.

The example measures brightness, has a test with known answers and a scorecard on real footage, so that every check
passes from the first minute and each later failure is the author's own.
"""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parent.parent
MAX_NAME = 32
FOLDERS = {
    "signal": "tasks/signals/{}.py",
    "test": "tests/unit/tasks/signals/test_{}.py",
    "scorecard": "benchmarks/scorecards/{}.py",
}

SIGNAL_TEMPLATE = '''"""How bright the picture is: an example that works, to be changed into what $name shall tell."""

from __future__ import annotations

import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

FPS = 1
SIDE_PX = 160

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("luma", pa.float32(), "gray_levels", "brightness of the frames, mean", 0, 255, 2),
        Column("luma_range", pa.float32(), "gray_levels", "brightest minus darkest frame", 0, 255, 2),
    ),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.0003,
    params={"fps": FPS, "side_px": SIDE_PX},
    backend="mean_luma",
    summary="Brightness of one frame a second.",
    source="ITU-R BT.601 (luma).",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip of which no frame was decoded."""
    luma = [float(media.image(frame, SIDE_PX, "gray").mean()) for frame in media.at(FPS)]
    if not luma:
        raise NotApplicable("no frame")
    return Output(row={"luma": sum(luma) / len(luma), "luma_range": max(luma) - min(luma)})
'''

TEST_TEMPLATE = '''from __future__ import annotations

import numpy as np
import pytest

from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import $name


def gray(*levels: int) -> Media:
    """A second of each level, 64 x 48."""
    frames = [i * 25 for i in range(len(levels))]
    planes = [np.full((72, 64), level, np.uint8) for level in levels]
    return Media(0, 25 * len(levels), 64, 48, frames, planes, source_width_px=64)


def test_known_levels() -> None:
    row = $name.compute(gray(40, 80, 180), {}).row
    assert set(row) == {c.name for c in $name.SIGNAL.columns}
    assert row["luma"] == pytest.approx(100)
    assert row["luma_range"] == pytest.approx(140)


def test_without_a_frame_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="no frame"):
        $name.compute(gray(), {})
'''

SCORECARD_TEMPLATE = '''"""Scorecard of $name: does its first column fall in the order in which real footage is darkened?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames
from benchmarks.scorecards.score import Row, bootstrap_ci, command, spearman
from tasks.signals.$name import FPS, compute

GAINS = (1.0, 0.8, 0.6, 0.4, 0.2)
SECONDS = 2.0


def run(root: Path) -> list[Row]:
    agreement: dict[str, list[float]] = {}
    naive: list[float] = []
    for entry in manifest(root, "talk"):
        frames = read_frames(entry["path"], FPS, max_s=SECONDS)[0]
        darkened = [[(f * gain).astype(np.uint8) for f in frames] for gain in GAINS]
        values = [float(compute(media_of(d, FPS), {}).row["luma"]) for d in darkened]
        agreement.setdefault(entry["person"], []).append(spearman(values, GAINS))
        naive.append(spearman([float(d[0].max()) for d in darkened], GAINS))
    value, low, high = bootstrap_ci(agreement, np.mean)
    n = sum(len(v) for v in agreement.values())
    claim = ("$name", "follows the light", "mean Spearman against five gains")
    baseline = float(np.mean(naive))
    return [Row(*claim, value, low, high, n, len(agreement), baseline, 0.95, baseline_name="brightest pixel")]


if __name__ == "__main__":
    command(run)
'''
TEMPLATES = {"signal": SIGNAL_TEMPLATE, "test": TEST_TEMPLATE, "scorecard": SCORECARD_TEMPLATE}


def new_signal(name: str, root: Path = ROOT) -> list[Path]:
    """Writes the signal, its test and its scorecard into the checkout at `root`, and tells the lock file and the page
    of signals of it. Gives the files, the signal first.

    Raises ValueError for a name that can't be one, for files that exist, and where `root` is no checkout.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"signal {name!r}: a name is what is measured, in lower case and at most {MAX_NAME} letters, as face_track"
        )
    if lacking := [f for f in ("tests", "benchmarks") if not (root / f).is_dir()]:
        raise ValueError(f"{root} holds no {lacking[0]}/: signals are written in a checkout of Headroom, not installed")
    files = {kind: root / folder.format(name) for kind, folder in FOLDERS.items()}
    if taken := [f for f in files.values() if f.exists()]:
        raise ValueError(f"signal {name}: {taken[0].relative_to(root)} is there already; choose another name")
    for kind, file in files.items():
        file.write_text(Template(TEMPLATES[kind]).substitute(name=name), encoding="utf-8")
    for command in (["tasks.versions", "--write"], ["benchmarks.scorecards", "--page-only"]):
        told = subprocess.run(
            [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False, timeout=120
        )
        if told.returncode != 0:
            lines = told.stderr.strip().splitlines() or ["it said nothing"]
            raise ValueError(f"signal {name} is written, but python -m {' '.join(command)} ended with: {lines[-1]}")
    return list(files.values())
