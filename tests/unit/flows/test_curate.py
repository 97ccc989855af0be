"""`curate` from outside: what a second run costs, and that every runner writes the same tables."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flows.curate import check_runner
from tests.tables import differences
from tests.unit.flows.footage import environment

ROOT = Path(__file__).resolve().parents[3]

CURATE = """
import json, sys, time
from flows.curate import run_curate
if __name__ == "__main__":
    began = time.monotonic()
    told = run_curate(sys.argv[1], paths=[sys.argv[2]], signals=["motion"], runner=sys.argv[3])
    heavy = sorted({"prefect", "distributed", "torch"} & set(sys.modules))
    print(json.dumps({**told, "modules": heavy, "took_s": time.monotonic() - began}))
"""


def curate(workspace: Path, footage: Path, runner: str = "threads", prefect: str = "") -> dict[str, Any]:
    command = [sys.executable, "-c", CURATE, str(workspace), str(footage), runner]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment(prefect))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory, talks: Path) -> tuple[Path, dict[str, Any]]:
    workspace = tmp_path_factory.mktemp("curated") / "workspace"
    return workspace, curate(workspace, talks)


@pytest.mark.slow
def test_the_first_run_does_everything(curated: tuple[Path, dict[str, Any]]) -> None:
    _, told = curated
    assert told["videos"] == {"done": 2, "quarantined": 1, "unchanged": 0}
    assert told["clips"] == 2
    assert told["computed"] == {"faces": 2, "flow": 2, "keyframes": 2, "cuts": 2, "motion": 2}
    assert told["totals"] == told["computed"]
    assert (told["failed"], told["stopped"]) == ({}, {})
    assert [name for name, _ in told["quarantined_files"]] == ["broken.mp4"]
    assert told["cpu_s"] > 0
    assert told["modules"] == ["prefect"]


@pytest.mark.slow
def test_the_second_run_computes_nothing_and_imports_no_prefect(
    curated: tuple[Path, dict[str, Any]], talks: Path
) -> None:
    told = curate(curated[0], talks)
    assert told["videos"] == {"done": 0, "quarantined": 0, "unchanged": 3}
    assert (told["computed"], told["failed"], told["clips"]) == ({}, {}, 2)
    assert told["modules"] == []


@pytest.mark.slow
def test_dask_writes_the_same_tables_as_threads(
    curated: tuple[Path, dict[str, Any]], talks: Path, tmp_path: Path, prefect: str
) -> None:
    with socket.socket() as another_cluster:  # it has the port that Dask's dashboards take
        with suppress(OSError):
            another_cluster.bind(("", 8787))
            another_cluster.listen()
        told = curate(tmp_path / "workspace", talks, "dask", prefect)
    assert told["computed"] == curated[1]["computed"]
    assert told["modules"] == ["distributed", "prefect"]
    assert differences(curated[0], tmp_path / "workspace") == []


def test_an_unknown_runner_is_refused_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runner 'spark': say threads, dask"):
        check_runner("spark")
    with pytest.raises(ValueError, match="runner tcp://127.0.0.1:1: no Dask scheduler answers there"):
        check_runner("tcp://127.0.0.1:1")
