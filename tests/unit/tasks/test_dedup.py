"""Copies are found once, the best is kept, and one that loses its best comes back by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows.curate import has_work
from store.record import Batch, embedding_rows, table_of
from store.schema import CLIPS, TIMELINES, VIDEOS
from store.workspace import Workspace, open_workspace
from tasks import dedup, freeze, plan, tier
from tasks.curate import bring_up_to_date
from tasks.dedup import Choice, Clip, chosen, reason
from tasks.signals import discover
from tasks.status import duplicates
from tasks.temporal_match import CHANNELS
from tasks.wanted import Pass

DIM = 1280
SIZE = {"c": (1280, 720), "d": (1920, 1080)}


def looks(scene: int, copy: int = 0) -> np.ndarray:
    """Vectors of one scene have a cosine of about 0.95, of two scenes about 0."""
    own = np.random.default_rng([scene, copy]).normal(0, np.sqrt(0.05 / DIM), DIM)
    vector = np.sqrt(0.95) * np.eye(DIM)[scene] + own
    return np.asarray(vector / np.linalg.norm(vector))


def moves(moment: int, copy: int = 0) -> np.ndarray:
    noise = np.random.default_rng([moment, copy, 1]).normal(0, 0.2, (50, len(CHANNELS)))
    return np.asarray(np.random.default_rng([moment, 0]).normal(0, 1, (50, len(CHANNELS))) + noise)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace")


def packed(rows_TC: np.ndarray) -> bytes:
    table = pa.table({"frame": pa.array(range(0, 100, 2), pa.int32())} | dict(zip(CHANNELS, rows_TC.T, strict=True)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def write(
    workspace: Workspace,
    *clips: tuple[str, int, int, float],
    active: bool = True,
    state: str = "done",
    status: str = "ok",
) -> None:
    """Clips (id, scene, moment, quality), each of a video of its own: the id without its last letter."""
    batch = Batch()
    ids = [c[0] for c in clips]
    videos = [i[:-1] for i in ids]
    batch.add("videos", table_of([{"video_id": v, "name": v, "state": state} for v in videos], VIDEOS))
    rows = []
    for clip, video in zip(ids, videos, strict=True):
        width, height = SIZE.get(clip[-1], (640, 360))
        size = {"source_width_px": width, "source_height_px": height}
        rows.append({"clip_id": clip, "video_id": video, "active": active, "duration_s": 4.0, **size})
    batch.add("clips", table_of(rows, CLIPS))
    wide: dict[str, Any] = {"clip_id": ids, "video_id": videos, "active": [active] * len(ids)}
    values = {"embedding": [s + 1 for _, s, _, _ in clips], "temporal_signature": [m + 1 for _, _, m, _ in clips]}
    values["visual_quality"] = [int(q * 1000) for _, _, _, q in clips]
    for name, digests in values.items():
        wide[f"{name}_status"] = [status] * len(ids)
        wide[f"{name}_fingerprint"] = [discover()[name].fingerprint] * len(ids)
        for part in ("input", "output"):
            wide[f"{name}_{part}_digest"] = pa.array(digests, pa.uint64())
        wide[f"{name}_not_before"] = pa.array([0.0] * len(ids))
    wide["visual_quality_quality"] = pa.array([q for *_, q in clips], pa.float32())
    batch.add("signals", pa.table(wide))
    vectors = [looks(s, number).astype(np.float32) for number, (_, s, _, _) in enumerate(clips)]
    batch.add(dedup.TABLE, embedding_rows(ids, videos, vectors, DIM, "x", [1] * len(ids)))
    lines = [
        {"key": f"{c}:s", "clip_id": c, "video_id": v, "name": dedup.SIGNATURE, "payload": packed(moves(m, number))}
        for number, (c, v, (_, _, m, _)) in enumerate(zip(ids, videos, clips, strict=True))
    ]
    batch.add("timelines", table_of(lines, TIMELINES))
    workspace.commit(batch)


def held(workspace: Workspace) -> dict[str, str | None]:
    """By clip the one that is kept in its place, None for a kept one."""
    with workspace.views() as reader:
        return dict(reader.sql("SELECT clip_id, best FROM duplicates ORDER BY clip_id").iter_rows())


def test_a_copy_is_told_from_another_moment_of_the_same_scene(workspace: Workspace) -> None:
    write(workspace, ("1a", 0, 0, 3.0), ("2a", 0, 0, 4.0), ("3a", 0, 1, 4.0), ("4a", 1, 0, 4.0))
    assert dedup.bring_up_to_date(workspace) == 4
    assert held(workspace) == {"1a": "2a", "2a": None, "3a": None, "4a": None}
    with workspace.views() as reader:
        row = reader.sql("SELECT * FROM duplicates WHERE clip_id = '1a'").to_dicts()[0]
        assert row == {
            "clip_id": "1a", "cluster": "1a", "kept": False, "best": "2a",
            "reason": "copy of 2a: quality 3.00 against quality 4.00",
        }  # fmt: skip
        assert duplicates(reader) == {"clusters": 1, "clips": 2, "copies": 1}


def test_a_copy_coded_to_pieces_is_told_by_its_movements(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine only says who is worth a look: another scene is not, whatever moves in it."""
    cosines = (1.0, 0.78, 0.78, 0.7)
    seen = [c * np.eye(DIM)[0] + np.sqrt(1 - c * c) * np.eye(DIM)[n] for n, c in enumerate(cosines)]
    monkeypatch.setattr(sys.modules[__name__], "looks", lambda _scene, number: seen[number])
    write(workspace, ("1a", 0, 0, 4.0), ("2a", 0, 0, 3.0), ("3a", 0, 1, 3.0), ("4a", 0, 0, 3.0))
    dedup.bring_up_to_date(workspace)
    assert held(workspace) == {"1a": None, "2a": "1a", "3a": None, "4a": None}


def test_a_new_clip_is_compared_with_what_stands_and_nothing_else_is(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    original = dedup.nearest

    def counting(*given: Any, **options: Any) -> Any:
        asked.append(sorted(given[3]))
        return original(*given, **options)

    monkeypatch.setattr(dedup, "nearest", counting)
    write(workspace, ("1a", 0, 0, 3.0), ("2a", 1, 1, 3.0))
    dedup.bring_up_to_date(workspace)
    manifest = workspace.ledger.manifest()
    assert dedup.bring_up_to_date(workspace) == 0
    assert workspace.ledger.manifest() == manifest
    write(workspace, ("3d", 0, 0, 3.04))
    assert dedup.bring_up_to_date(workspace) == 1
    assert asked == [["1a", "2a"], ["3d"]]
    assert held(workspace) == {"1a": "3d", "2a": None, "3d": None}, "equal quality: the larger picture is kept"


def test_a_clip_that_loses_its_better_copy_comes_back(workspace: Workspace) -> None:
    pair = ("1a", 0, 0, 3.0), ("2a", 0, 0, 4.0)
    write(workspace, *pair)
    dedup.bring_up_to_date(workspace)
    assert held(workspace) == {"1a": "2a", "2a": None}
    write(workspace, pair[1], active=False)
    assert dedup.bring_up_to_date(workspace) == 0, "nothing is compared anew"
    assert held(workspace) == {"1a": None}
    write(workspace, pair[1])
    dedup.bring_up_to_date(workspace)
    assert held(workspace) == {"1a": "2a", "2a": None}
    write(workspace, pair[1], state="quarantined")
    assert dedup.bring_up_to_date(workspace) == 0
    assert held(workspace) == {"1a": None, "2a": None}
    with workspace.views() as reader:
        told = reader.sql("SELECT clip_id, reason FROM duplicates WHERE NOT kept").rows()
        assert told == [("2a", "its video is quarantined or removed")]
    write(workspace, ("2a", 0, 0, 2.0))
    assert dedup.bring_up_to_date(workspace) == 0, "a new grade compares nothing anew"
    assert held(workspace) == {"1a": None, "2a": "1a"}
    write(workspace, ("2a", 0, 1, 2.0))
    assert dedup.bring_up_to_date(workspace) == 1
    assert held(workspace) == {"1a": None, "2a": None}, "another moment now"


def test_killed_between_two_commits_it_goes_on(workspace: Workspace) -> None:
    write(workspace, *((f"{i}a", i // 2, i // 2, 1.0 + i / 2) for i in range(6)))
    assert dedup.compare(workspace, chunk=4) == 4
    assert held(workspace) == {}, "nothing is chosen before all are compared"
    assert dedup.bring_up_to_date(workspace) == 2
    assert [best for best in held(workspace).values() if best] == ["1a", "3a", "5a"]


def test_what_can_not_be_compared_is_kept(workspace: Workspace) -> None:
    write(workspace, ("1a", 0, 0, 3.0), status="not_applicable")
    write(workspace, ("2a", 0, 0, 3.0), status="failed_transient")
    assert dedup.bring_up_to_date(workspace) == 0
    assert held(workspace) == {"1a": None}, "2a is not decided yet"


def test_a_chain_drops_only_what_a_kept_clip_shows() -> None:
    clips = [Clip("a", 3.0, 100, 4), Clip("b", 4.0, 100, 4), Clip("c", 3.0, 100, 4), Clip("d", 2.0, 100, 4)]
    made = chosen(clips, [("a", "b"), ("b", "c"), ("c", "d")])
    assert {c for c, told in made.items() if told.kept} == {"b", "d"}, "d is a copy of c alone, which is not kept"
    assert {told.cluster for told in made.values()} == {"a"}
    assert chosen([Clip("a", None, 1, 1)], []) == {"a": Choice(None, True)}


def test_ranks_and_their_reasons() -> None:
    worse, better = Clip("b", 3.0, 100, 4.0), Clip("a", 3.8, 50, 4.0)
    assert better.rank < worse.rank
    assert reason(worse, better) == "copy of a: quality 3.00 against quality 3.80"
    assert reason(Clip("b", None, 1, 1), better) == "copy of a: no quality against quality 3.80"
    assert reason(Clip("b", 4.2, 1000, 4), Clip("a", 3.8, 2000, 4)) == "copy of a: 1,000 px against 2,000 px"
    assert Clip("b", 4.2, 1000, 4).rank > Clip("a", 3.8, 2000, 4).rank, "grades this near say nothing"
    assert reason(Clip("b", 3.8, 50, 4, has_sound=False), better) == "copy of a: no sound against sound"
    assert reason(Clip("b", 3.8, 50, 3), better) == "copy of a: 3.00 s against 4.00 s"
    assert reason(Clip("b", 3.8, 50, 4), better) == "copy of a, equal in all, of the lesser id"


def test_a_run_ends_with_it_and_tiers_wait_for_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, ("1a", 0, 0, 3.0), ("2a", 0, 0, 4.0))
    monkeypatch.setattr(plan, "next_jobs", lambda *given: plan.Plan())  # every signal is up to date
    own = workspace.settings.workspace / "tiers" / "once.sql"
    own.parent.mkdir()
    own.write_text("SELECT clip_id FROM clips JOIN duplicates USING (clip_id) WHERE duplicates.kept")
    parsed = tier.parsed(workspace, "once")
    assert parsed.signals == dedup.SIGNALS
    assert [c.reads for c in parsed.clauses] == ["others"], "a winner's quality is wanted of every clip"
    assert not has_work(workspace, [Pass(("embedding",), ())])
    assert has_work(workspace, [Pass(None, ("once",))])
    with pytest.raises(ValueError, match="tier once: duplicates are older than the clips; run headroom reprocess"):
        freeze.build(workspace, "once")
    outcome = bring_up_to_date(workspace, lambda *given: iter(()), tiers=[parsed])
    assert outcome.num_compared == 2
    assert not has_work(workspace, [Pass(None, ("once",))])
    assert tier.members(workspace, "once")["clip_id"].to_list() == ["2a"]
    told = tier.explain(workspace, "1a", "once")
    assert [(t["clause"], t["passed"], t["values"]) for t in told] == [("duplicates.kept", False, {"kept": False})]


def test_a_commit_in_between_makes_it_choose_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, ("1a", 0, 0, 3.0), ("2a", 0, 0, 4.0))
    original = dedup.changed_rows

    def and_another(*given: Any) -> list[dict[str, object]]:
        rows = original(*given)
        write(workspace, ("3a", 5, 5, 3.0))
        return rows

    monkeypatch.setattr(dedup, "changed_rows", and_another)
    with pytest.raises(ValueError, match="the workspace changed since this was proposed"):
        dedup.bring_up_to_date(workspace)
    monkeypatch.setattr(dedup, "changed_rows", original)
    assert dedup.bring_up_to_date(workspace) == 1
    assert held(workspace) == {"1a": "2a", "2a": None, "3a": None}
