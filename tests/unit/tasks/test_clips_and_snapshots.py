"""What a curated workspace goes through: clips chosen anew, snapshots, another place, another clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from store.frozen import frozen, snapshot_row
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import Workspace, open_workspace
from tasks import clipping, reclip, trace
from tasks import tier as tiers
from tasks.clipping import ClipParams
from tasks.freeze import build
from tests.unit.tasks.stand_in import run, wide

pytestmark = pytest.mark.usefixtures("quick_sql")


@pytest.mark.usefixtures("either_ledger")
def test_reclip_shows_then_switches_then_goes_back(workspace: Workspace) -> None:
    run(workspace)
    before = wide(workspace)["clip_id"].to_list()
    stricter = reclip.changed(ClipParams(), {"min_s": "3.5"})
    proposal = reclip.propose(workspace, stricter)
    assert proposal.counts == {"kept": 1, "moved": 0, "lost": 1, "added": 0}
    assert list(proposal.where) == proposal.lost
    assert proposal.where[proposal.lost[0]].endswith(".mp4, 0.0 to 3.0 s")
    assert wide(workspace)["clip_id"].to_list() == before, "a proposal writes nothing"
    reclip.apply(workspace, proposal)
    assert len(wide(workspace)) == 1
    assert run(workspace).tally.computed == {}, "what stays keeps its rows"
    with workspace.views() as reader:
        unclipped = reader.sql("SELECT reason FROM videos WHERE state = 'done' AND stage = 'clip'")["reason"].to_list()
    assert len(unclipped) == 1
    assert "3.5" in unclipped[0]
    reclip.apply(workspace, reclip.propose(workspace, reclip.previous_params(workspace)))
    assert wide(workspace)["clip_id"].to_list() == before
    with workspace.views() as reader:
        assert reader.sql("SELECT count(*) FROM videos WHERE state = 'done' AND stage = 'clip'").item() == 0
    assert run(workspace).tally.computed == {}


def test_a_snapshot_is_traced_to_the_clips_it_was_frozen_with(curated: Workspace, quick_sql: None) -> None:
    (curated.settings.workspace / "tiers").mkdir()
    (curated.settings.workspace / "tiers" / "all.sql").write_text("SELECT clip_id FROM clips WHERE duration_s > 0")
    frozen = build(curated, "all")["snapshot"]
    proposal = reclip.propose(curated, reclip.changed(ClipParams(), {"min_s": "3.5"}))
    reclip.apply(curated, proposal)
    told = trace.trace(curated, frozen)
    clips = {clip.id: clip.facts for video in told.children for clip in video.children}
    assert clips == {proposal.kept[0]: {}, proposal.lost[0]: {"retired": True}}


def test_reclip_names_what_it_does_not_know(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="clipping parameter 'length' is none of"):
        reclip.changed(ClipParams(), {"length": "3"})
    with pytest.raises(ValueError, match="min_s: 'long' is no number"):
        reclip.changed(ClipParams(), {"min_s": "long"})
    with pytest.raises(ValueError, match="no earlier clipping run"):
        reclip.previous_params(workspace)


def test_a_reclip_proposed_before_a_commit_is_refused(curated: Workspace) -> None:
    proposal = reclip.propose(curated, reclip.changed(ClipParams(), {"min_s": "3.5"}))
    batch = Batch()
    batch.add("clips", curated.record.read(curated.ledger.manifest(), "clips"))
    curated.commit(batch)
    with pytest.raises(ValueError, match="changed since this was proposed"):
        reclip.apply(curated, proposal)


def test_a_reclip_keeps_the_clips_of_a_video_it_can_not_read(
    curated: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = clipping.Clipping((), "flow: died", ("flow",)), ("flow", "died")
    monkeypatch.setattr(reclip, "chosen_spans", lambda *_: failure)
    proposal = reclip.propose(curated, reclip.changed(ClipParams(), {"min_s": "3.5"}))
    assert proposal.counts == {"kept": 2, "moved": 0, "lost": 0, "added": 0}
    reclip.apply(curated, proposal)
    assert len(wide(curated)) == 2


def test_a_workspace_that_moved_goes_on_where_it_was(workspace: Workspace, tmp_path: Path) -> None:
    run(workspace)
    own = workspace.settings.workspace / "tiers"
    own.mkdir()
    (own / "whole.sql").write_text("SELECT clip_id FROM clips WHERE duration_s > 1")
    before = build(workspace, "whole")
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    workspace.settings.workspace.rename(moved)
    there = open_workspace(moved)
    assert run(there).tally.computed == {}
    again = build(there, "whole")
    assert again["snapshot"] == before["snapshot"]
    assert Path(again["path"]).is_relative_to(moved)
    assert Path(again["path"]).is_file()
    held = frozen(there, before["snapshot"])
    for row in held.clips.to_pylist():
        assert held.local(row["proxy_uri"]).is_relative_to(moved)
        assert held.local(row["proxy_uri"]).is_file()


@pytest.mark.usefixtures("either_ledger")
def test_a_clock_that_was_set_back_makes_no_older_snapshot_the_latest(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(workspace)
    own = workspace.settings.workspace / "tiers"
    own.mkdir()
    (own / "whole.sql").write_text(
        "SELECT clip_id FROM clips JOIN videos USING (video_id) WHERE videos.name <> 'b.mp4'"
    )
    first = build(workspace, "whole")
    before = time.time()
    monkeypatch.setattr(time, "time", lambda: before - 3600)
    batch = Batch()
    kept = workspace.record.read(workspace.ledger.manifest(), "videos").to_pylist()
    batch.add("videos", table_of([{**v, "name": "c.mp4"} for v in kept if v["name"] == "b.mp4"], VIDEOS))
    workspace.commit(batch)
    second = build(workspace, "whole")
    assert (first["clips"], second["clips"]) == (1, 2)
    assert snapshot_row(workspace, "whole")["id"] == second["snapshot"]
    assert build(workspace, "whole")["snapshot"] == second["snapshot"]


def test_columns_that_a_query_gives_twice_are_told_apart(curated: Workspace) -> None:
    found = tiers.query(curated, "SELECT clips.*, signals.* FROM clips JOIN signals ON clips.clip_id = signals.clip_id")
    assert found["clip_id"].to_list() == found["clip_id_1"].to_list()
    named = tiers.query(curated, "SELECT 1 AS a, 2 AS a, 3 AS a_1 FROM clips LIMIT 1")
    assert named.columns == ["a", "a_2", "a_1"]
