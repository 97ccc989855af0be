"""A clip that really kills the process that computes it, through the command: it alone is set aside, and can be tried again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from store.workspace import open_workspace
from tests.tables import differences, doubled
from tests.unit.flows.footage import environment, make_talk
from tests.unit.flows.poison import poison

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for name, seconds in (("before", 3.0), ("deadly", 4.0), ("later", 2.6)):
        make_talk(folder / f"{name}.mp4", seconds)
    return folder


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return poison(tmp_path_factory.mktemp("poison") / "site", frames=85)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, footage: Path, prefect: str) -> Path:
    """The workspace of a run that nothing disturbed."""
    workspace = tmp_path_factory.mktemp("alone") / "workspace"
    assert curate(workspace, footage, "threads", prefect).returncode == 0
    return workspace


def curate(
    workspace: Path, footage: Path, runner: str, prefect: str, *more: str, site: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """On one core, so that all clips are of one batch; with the tests' own Prefect API, which costs no start."""
    told = ["--signal", "motion", "--signal", "phash", "--runner", runner, "--json", *more]
    core = str(min(os.sched_getaffinity(0)))
    command = [
        "taskset",
        "-c",
        core,
        sys.executable,
        "-m",
        "headroom",
        "curate",
        str(footage),
        "--workspace",
        str(workspace),
        *told,
    ]
    path = {"PYTHONPATH": os.pathsep.join(str(p) for p in (site, ROOT) if p)}
    env = {**environment(prefect), **path}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def told_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def rows_of(workspace: Path) -> dict[str, dict[str, Any]]:
    with open_workspace(workspace).views() as reader:
        told = "name, clip_id, motion_status, motion_reason, phash_status"
        query = f"SELECT {told} FROM signals JOIN clips USING (clip_id) JOIN videos USING (video_id)"
        return {row["name"]: row for row in reader.sql(query).to_dicts()}


@pytest.mark.parametrize("runner", ["threads", "dask"])
def test_a_poisoned_clip_is_set_aside_alone_and_kills_no_further_run(
    runner: str, tmp_path: Path, footage: Path, poisoned: tuple[Path, Path], alone: Path, prefect: str
) -> None:
    site, deaths = poisoned
    before = set(deaths.iterdir())
    workspace = tmp_path / "workspace"
    if runner == "threads":  # the thread's process is the command
        assert curate(workspace, footage, runner, prefect, site=site).returncode == -signal.SIGKILL
        assert len(set(deaths.iterdir()) - before) == 1
    told = told_of(curate(workspace, footage, runner, prefect, site=site))
    assert told["lost_before"] == (3 if runner == "threads" else 0)
    assert len(set(deaths.iterdir()) - before) == 4, "with its batch, by itself, and its signal twice"

    rows = rows_of(workspace)
    clip = rows["deadly.mp4"]["clip_id"]
    assert {name: row["motion_status"] for name, row in rows.items()} == {
        "before.mp4": "ok", "deadly.mp4": "failed_permanent", "later.mp4": "ok",
    }  # fmt: skip
    assert {row["phash_status"] for row in rows.values()} == {"ok"}, "its other signals are not blamed"
    why = rows["deadly.mp4"]["motion_reason"]
    assert why.startswith(f"ProcessLost: clip {clip} of deadly.mp4: motion ended the process that computed it")
    assert [(row["signal"], row["what"]) for row in told["set_aside"]] == [("motion", f"clip {clip}")]
    assert told["failed"] == {"motion": 1}
    assert doubled(open_workspace(workspace)) == []

    again = told_of(curate(workspace, footage, runner, prefect, site=site))
    assert (again["computed"], again["failed"], again["set_aside"]) == ({}, {}, told["set_aside"])
    assert len(set(deaths.iterdir()) - before) == 4, "nothing died again"

    mended = told_of(curate(workspace, footage, runner, prefect, "--retry"))
    assert (mended["computed"], mended["set_aside"]) == ({"motion": 1}, [])
    assert differences(alone, workspace) == []
