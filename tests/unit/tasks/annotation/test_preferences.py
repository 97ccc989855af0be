"""Decided pairs go out for reward models and DPO: who was chosen, what was a tie, where the media lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import headroom
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import Workspace
from tasks.annotation.delivery import deliver
from tasks.annotation.preferences import export_preferences
from tests.annotators import Crew
from tests.unit.tasks.annotation.conftest import A, B, C, answered, shown

PAIR = [(0.0, [shown(A)[0][1][0], shown(C)[0][1][0]])]
SIDES = {"identity": "right", "expression": "tie", "sync": "both_bad"}


def seen(held: dict[str, Any], **other: str) -> dict[str, str]:
    """Always the same sides of the item, whichever the rater saw left."""
    told = SIDES | other
    return {k: {"left": "right", "right": "left"}.get(v, v) if held["swapped"] else v for k, v in told.items()}


@pytest.fixture
def decided(workspace: Workspace, crew: Crew) -> Workspace:
    batch = Batch()
    batch.add("videos", table_of([{"video_id": v, "state": "done", "proxy_uri": f"/m/{v}.mp4"} for v in "vw"], VIDEOS))
    workspace.commit(batch)
    answered(crew, "pairwise", PAIR, seen, lambda held: seen(held, identity="right"))
    deliver(workspace, crew.database)
    return workspace


def test_pairs_tell_chosen_rejected_ties_and_where_they_come_from(decided: Workspace, tmp_path: Path) -> None:
    told = export_preferences(decided, tmp_path / "new" / "pairs.parquet")
    assert (told["pairs"], told["without_media"]) == (3, 0)
    assert told["dimensions"] == {"expression": {"tie": 1}, "identity": {"preferred": 1}, "sync": {"both_bad": 1}}
    rows = {r["dimension"]: r for r in pl.read_parquet(told["path"]).to_dicts()}
    one = rows["identity"]
    assert (one["chosen"], one["rejected"]) == ("/m/w.mp4#t=0.00,4.00", "/m/v.mp4#t=0.00,4.00")
    assert (one["chosen_clip_id"], one["rejected_clip_id"], one["chosen_end_frame"]) == ("c", "a", 100)
    assert (one["schema"], one["guideline_version"], one["agreement"], one["num_raters"]) == ("s_pairwise", 1, 1.0, 2)
    for dimension in ("expression", "sync"):
        assert (rows[dimension]["chosen_clip_id"], rows[dimension]["rejected_clip_id"]) == ("a", "c"), (
            "the item's order"
        )
    assert [rows[d]["verdict"] for d in ("identity", "expression", "sync")] == ["preferred", "tie", "both_bad"]


def test_the_same_record_gives_the_same_bytes(decided: Workspace, crew: Crew, tmp_path: Path) -> None:
    answered(crew, "pairwise", [(0.0, [shown(B)[0][1][0], shown(C)[0][1][0]])], seen)
    deliver(decided, crew.database)
    for suffix in ("parquet", "jsonl"):
        files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
        for file in files:
            export_preferences(decided, file)
        assert files[0].read_bytes() == files[1].read_bytes()
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [(r["dimension"], r["chosen_clip_id"]) for r in lines] == [
        ("expression", "a"), ("expression", "b"), ("identity", "c"), ("identity", "c"), ("sync", "a"), ("sync", "b"),
    ]  # fmt: skip
    assert sorted(f.name for f in tmp_path.glob("*.jsonl")) == ["0.jsonl", "1.jsonl"]


def test_the_command_delivers_first_and_refuses_what_is_not_there(
    workspace: Workspace, crew: Crew, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(workspace.settings.workspace)]
    with pytest.raises(ValueError, match="no preference is decided yet; a batch of a pairwise schema"):
        export_preferences(workspace, tmp_path / "pairs.jsonl")
    with pytest.raises(ValueError, match="are written as .parquet or .jsonl"):
        export_preferences(workspace, tmp_path / "pairs.csv")
    answered(crew, "pairwise", PAIR, seen)
    deliver(workspace, crew.database)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="can't be written"):
        export_preferences(workspace, tmp_path / "file" / "pairs.jsonl")
    for given in (["labels", "export", str(tmp_path / "a.jsonl"), *place], ["labels", *place, "export", str(tmp_path / "b.jsonl")]):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            headroom.main(given)
        assert end.value.code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    told = " ".join(capsys.readouterr().out.split())
    assert "3 pairs in" in told
    assert "expression 1 ties" in told
    assert "3 of them show a clip whose media are gone" in told, "these videos have no proxy"
