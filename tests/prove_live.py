"""`make prove PROVE=live`: the whole way on the sample footage, again, and with kills."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from store import deployments
from store.workspace import open_workspace

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 900.0
MOMENTS = ("training: step 120", "live  gates", "live  compare", "live  switch", "live  session")
"""A run is killed when it says so, and a moment later; the next one goes on to the next."""


@dataclass(frozen=True)
class Ran:
    out: str
    err: str
    wall_s: float
    cpu_s: float
    code: int

    @property
    def checkpoint(self) -> str:
        found = re.search(r"^training +checkpoint (\w+)", self.out, re.M)
        return found[1] if found else ""


def live(folder: Path, sample: bool) -> tuple[bool, str]:
    """`headroom demo --live` on a fresh workspace: samples, signals, tiers, training, evaluation, deployment, a session.

    A second run does nothing. Killed (kill -9) in each stage and run again, it comes to the same checkpoint, which serves.
    Setting up (`make setup`) is not counted: it depends on the network.
    """
    samples, workspace, killed = folder / "samples", folder / "workspace", folder / "killed"
    made = _run("-m", "tasks.samples", samples)
    curated = _run("-m", "headroom", "--workspace", workspace, "demo", samples)
    shutil.copytree(workspace, killed)
    whole = _run("-m", "headroom", "--workspace", workspace, "demo", "--live", samples)
    again = _run("-m", "headroom", "--workspace", workspace, "demo", "--live", samples)
    lines = ["| step | wall, s | CPU, s | exit |", "|---|---|---|---|"]
    steps = {
        "sample footage": made,
        "curated, tiers, report": curated,
        "trained, deployed, session": whole,
        "again": again,
    }
    lines += [f"| {name} | {ran.wall_s:.0f} | {ran.cpu_s:.0f} | {ran.code} |" for name, ran in steps.items()]
    total_s = made.wall_s + curated.wall_s + whole.wall_s
    good = all(ran.code == 0 for ran in steps.values()) and bool(whole.checkpoint)
    good &= total_s < LIMIT_S and _rests(workspace, whole.checkpoint)
    nothing = ("nothing to compute", "nothing was trained now", "serves already; nothing to do", "recorded before")
    good &= again.checkpoint == whole.checkpoint and all(told in again.out for told in nothing)
    for moment in MOMENTS[:1] if sample else MOMENTS:
        cut = _run("-m", "headroom", "--workspace", killed, "demo", "--live", samples, kill_at=moment)
        good &= cut.code == -9
        lines.append(f"| killed at `{moment}` | {cut.wall_s:.0f} | | {cut.code} |")
    last = _run("-m", "headroom", "--workspace", killed, "demo", "--live", samples)
    lines.append(f"| run to its end | {last.wall_s:.0f} | {last.cpu_s:.0f} | {last.code} |")
    place = open_workspace(killed)
    serves = [d.state for d in deployments.history(place)]
    good &= last.code == 0 and last.checkpoint == whole.checkpoint == deployments.serving(place).stable
    good &= serves == ["serving"] and _rests(killed, whole.checkpoint)
    said = f"All in all {total_s:.0f} s, allowed are {LIMIT_S:.0f}. Both ways to checkpoint `{whole.checkpoint}`, deployed once."
    shown = whole.out[whole.out.find("training") :].replace(str(folder), "...")
    return good, "\n".join([*lines, "", said, "", "What the command printed:", "", "```text", shown.rstrip(), "```"])


def _rests(workspace: Path, checkpoint: str) -> bool:
    """Whether the session's picture moves at the mouth at least three times as much in speech as in the silence after it."""
    import av
    import numpy as np

    with av.open(str(workspace / "live" / f"{checkpoint}.mp4")) as container:
        pictures = [f.to_ndarray(format="gray").astype(int) for f in container.decode(video=0)]
    height, width = pictures[0].shape
    mouth = (slice(height // 2, int(0.9 * height)), slice(width // 4, 3 * width // 4))
    change = np.array([np.abs(b[mouth] - a[mouth]).mean() for a, b in pairwise(pictures)])
    return bool(change[50:175].mean() > 3 * change[-45:].mean())  # 2 s to 7 s; the last 1.8 s


def _run(*arguments: str | Path, kill_at: str = "") -> Ran:
    began, before = time.monotonic(), os.times()
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stdout is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if kill_at and line.startswith(kill_at):
            time.sleep(0.3)
            process.kill()
    out = process.stdout.read()  # less than a pipe holds
    code, after = process.wait(), os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Ran(out, "".join(said), time.monotonic() - began, spent, code)
