"""`headroom shard`: from the command line, as a flow, and what it tells of what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.shard import run_shard
from headroom.command import main
from store.workspace import open_workspace
from tasks.shard_begin import Asked
from tests.unit.flows.test_pipeline import artifacts
from tests.unit.modeling.conftest import fill
from tests.unit.tasks.sharded import fill_with_sources

pytestmark = pytest.mark.usefixtures("quick_sql")


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    told = capsys.readouterr()
    return int(caught.value.code or 0), told.out, told.err


@pytest.mark.slow
def test_what_is_missing_is_told_and_strict_ends_with_1(
    prefect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(open_workspace(tmp_path / "ws"))  # whose sources are nowhere
    command = ("shard", "all_of_it", "-w", str(tmp_path / "ws"), "--no-timelines")
    code, out, _ = ended(capsys, *command, "--json")
    told: dict[str, Any] = json.loads(out)
    assert (code, told["num_clips"], len(told["left_out"])) == (0, 0, 3)
    assert told["place"] == str(tmp_path / "ws" / "shards" / told["snapshot"])
    code, out, _ = ended(capsys, *command, "--strict")
    assert code == 1
    assert "left out  b1: source: /footage/vb.mp4 is gone" in out
    assert "nothing was computed" in out
    code, _, err = ended(capsys, *command, "--timeline", "vad")
    assert (code, "give one of them" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.usefixtures("either_ledger")
def test_the_flow_writes_group_by_group_and_then_nothing(
    prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path / "ws")
    fill_with_sources(workspace, tmp_path / "footage")
    written: list[str] = []
    asked = Asked(timelines=())
    root, out = workspace.settings.workspace, str(tmp_path / "out")
    told = run_shard(root, "all_of_it", out, asked, lambda shard: written.append(shard["group"]))
    assert written == list(told["groups"]) == ["unknown/1080p/16x9/2-4s", "unknown/1080p/16x9/4-8s"]
    table = json.loads(artifacts(prefect, "shards")[0]["data"])
    assert [(row["group"], row["num_clips"]) for row in table] == [(written[0], 2), (written[1], 1)]
    assert artifacts(prefect, "progress-shard")[0]["data"] == 100
    monkeypatch.setattr("flows.server.prefect_api", None)  # it is not even started
    assert run_shard(root, "all_of_it", out, asked)["did"] == "nothing"
