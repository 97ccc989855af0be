"""People in two places: pairs are found once, and again only of whom something changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flows.curate import has_work
from store.record import Batch, embedding_rows, table_of
from store.schema import CLIPS, embeddings_table
from store.sweep import erase_rows
from store.tier_sql import parse_tier
from store.workspace import Workspace, open_workspace
from tasks import corpus, identity, pairs, plan, tier
from tasks.curate import bring_up_to_date
from tasks.pairs import pairs_of
from tasks.signals import discover
from tasks.status import pairs as counted
from tasks.wanted import Pass
from tests.unit.tasks.test_identity import person

ROOMS = 16


def room(number: int, *, seed: int = 0) -> np.ndarray:
    """Backgrounds of one room have a cosine of about 0.95, of two rooms about 0.4, as features of pictures have."""
    own = np.random.default_rng([number, seed, 5]).normal(0, np.sqrt(0.05 / ROOMS), ROOMS)
    vector = np.sqrt(0.55) * np.eye(ROOMS)[number] + np.sqrt(0.4) * np.eye(ROOMS)[ROOMS - 1] + own
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace")


def write(workspace: Workspace, clips: dict[str, tuple[int, int]], *, active: bool = True, length: float = 5.0) -> None:
    """Clips by id: the number of the person, that of the room."""
    ids, videos = list(clips), [f"v{c}" for c in clips]
    batch = Batch()
    size = {"source_width_px": 1280, "source_height_px": 720, "duration_s": length}
    rows = [{"clip_id": c, "video_id": v, "active": active, **size} for c, v in zip(ids, videos, strict=True)]
    batch.add("clips", table_of(rows, CLIPS))
    wide: dict[str, object] = {"clip_id": ids, "video_id": videos, "active": [active] * len(ids)}
    for signal, name, vectors in (
        ("face_embedding", "face", [person(p, seed=int(c[1:])) for c, (p, _) in clips.items()]),
        ("background_embedding", "background", [room(r, seed=int(c[1:])) for c, (_, r) in clips.items()]),
    ):
        digests = [int(abs(v.sum()) * 1e9) + 1 for v in vectors]
        told = discover()[signal].fingerprint
        values = [v.astype(np.float32) for v in vectors]
        batch.add(embeddings_table(signal, name), embedding_rows(ids, videos, values, len(values[0]), told, digests))
        wide |= {f"{signal}_status": ["ok"] * len(ids), f"{signal}_fingerprint": [told] * len(ids)}
        wide |= {f"{signal}_{d}_digest": pa.array(digests, pa.uint64()) for d in ("input", "output")}
        wide[f"{signal}_not_before"] = pa.array([0.0] * len(ids), pa.float64())
    batch.add("signals", pa.table(wide))
    workspace.commit(batch)


def run(workspace: Workspace) -> dict[str, int]:
    return corpus.bring_up_to_date(workspace, ["face_embedding", "background_embedding"])


def held(workspace: Workspace) -> list[tuple[str, str]]:
    with workspace.views() as reader:
        return reader.sql("SELECT clip_a, clip_b FROM pairs ORDER BY ALL").rows()


def test_a_pair_is_near_by_the_face_and_far_by_the_background() -> None:
    faces = np.stack([person(0, seed=s) for s in range(4)] + [person(1)])
    rooms = np.stack([room(n, seed=s) for s, n in enumerate((0, 0, 1, 2, 1))])
    found = pairs_of(faces, rooms)
    assert [(i, j) for i, j, _, _ in found] == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for i, j, face, background in found:
        assert face == pytest.approx(float(faces[i] @ faces[j]), abs=1e-4)
        assert background == pytest.approx(float(rooms[i] @ rooms[j]), abs=1e-4)


def test_of_each_clip_the_farthest_backgrounds_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MAX_PARTNERS", 1)
    faces = np.ones((4, 1))
    angles = np.array([0.0, 0.9, 1.2, 1.5])
    found = pairs_of(faces, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert [(i, j) for i, j, _, _ in found] == [(0, 1), (0, 2), (0, 3)], "each one's farthest is the first"
    monkeypatch.setattr(pairs, "BLOCK", 3)
    assert pairs_of(faces, np.stack([np.cos(angles), np.sin(angles)], axis=1)) == found


def test_pairs_are_made_once_and_only_the_changed_person_is_compared_again(workspace: Workspace) -> None:
    assert run(workspace)["pairs"] == 0
    write(workspace, {"a0": (0, 0), "a1": (0, 1), "a2": (0, 0), "b0": (1, 0), "b1": (1, 0)})
    write(workspace, {"a3": (0, 5)}, length=2.5)
    assert run(workspace)["pairs"] == 5, "too short a clip is not compared"
    assert held(workspace) == [("a0", "a1"), ("a1", "a2")]
    manifest = workspace.ledger.manifest()
    assert run(workspace) == {"identities": 0, "pairs": 0}
    assert workspace.ledger.manifest() == manifest
    with workspace.views() as reader:
        stamps = dict(reader.sql("SELECT key, computed_at FROM _pairs").iter_rows())
        assert counted(reader) == {"pairs": 2, "people": 1}
    write(workspace, {"b2": (1, 3)})
    assert run(workspace)["pairs"] == 3, "person b alone"
    assert held(workspace) == [("a0", "a1"), ("a1", "a2"), ("b0", "b2"), ("b1", "b2")]
    with workspace.views() as reader:
        now = dict(reader.sql("SELECT key, computed_at FROM _pairs WHERE identity <> ? OR true", [""]).iter_rows())
    assert {k: v for k, v in now.items() if k.startswith("a")} == {k: v for k, v in stamps.items() if k[0] == "a"}


def test_what_is_no_pair_any_more_is_not_told(workspace: Workspace) -> None:
    write(workspace, {"a0": (0, 0), "a1": (0, 1), "a2": (0, 2)})
    run(workspace)
    write(workspace, {"a1": (0, 0)})
    assert run(workspace)["pairs"] == 3
    assert held(workspace) == [("a0", "a2"), ("a1", "a2")], "it moved into the room of a0"
    write(workspace, {"a2": (1, 2)})
    run(workspace)
    assert held(workspace) == [], "it shows somebody else now"
    write(workspace, {"a2": (0, 2)})
    run(workspace)
    assert len(held(workspace)) == 2
    write(workspace, {"a2": (0, 2)}, active=False)
    assert held(workspace) == [], "retired clips are none"
    assert run(workspace)["pairs"] == 2
    write(workspace, {"a2": (0, 2)})
    run(workspace)
    assert held(workspace) == [("a0", "a2"), ("a1", "a2")]


def test_a_person_who_is_seen_no_more_leaves_no_pair(workspace: Workspace) -> None:
    write(workspace, {"a0": (0, 0), "a1": (0, 1)})
    run(workspace)
    write(workspace, {"a0": (0, 0), "a1": (0, 1)}, length=1.0)
    assert run(workspace)["pairs"] == 0
    assert held(workspace) == []
    with workspace.views() as reader:
        assert not pairs.has_stale(reader)


def test_rows_go_with_an_erased_clip(workspace: Workspace) -> None:
    write(workspace, {"a0": (0, 0), "a1": (0, 1), "a2": (0, 2)})
    run(workspace)
    erase_rows(workspace.record, workspace.ledger, ["va1"], ["a1"])
    with workspace.views() as reader:
        left = reader.sql("SELECT clip_a, clip_b FROM _pairs ORDER BY ALL").rows()
    assert left == [("a0", "a0"), ("a0", "a2"), ("a2", "a2")]
    assert run(workspace)["pairs"] == 2


def test_small_chunks_and_other_hands_in_between_give_the_same(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = {f"{'abc'[p]}{n}": (p, n) for p in range(3) for n in range(3)}
    write(workspace, clips)
    run(workspace)
    monkeypatch.delenv("HEADROOM_LEDGER_URL", raising=False)  # each has a ledger of its own
    other = open_workspace(tmp_path / "other")
    monkeypatch.setattr(pairs, "CLIPS_AT_ONCE", 4)
    original, calls = pairs.changed_rows, []

    def and_another(place: Workspace, *given: object) -> list[dict[str, object]]:
        rows = original(place, *given)  # type: ignore[arg-type]
        calls.append(len(rows))
        if len(calls) == 1:
            write(place, {"c9": (2, 0)}, length=1.0)
        return rows

    monkeypatch.setattr(pairs, "changed_rows", and_another)
    write(other, clips)
    assert run(other)["pairs"] == 9
    assert held(other) == held(workspace)
    assert len(calls) == 4, "a person a commit, and the first one twice"
    monkeypatch.setattr(pairs, "MAX_TRIES", 1)
    calls.clear()
    write(other, {"a1": (0, 0)})
    with pytest.raises(ValueError, match="the workspace changed since this was proposed"):
        pairs.bring_up_to_date(other)


@pytest.mark.usefixtures("quick_sql")
def test_tiers_read_pairs_and_wait_for_them(workspace: Workspace) -> None:
    write(workspace, {"a0": (0, 0), "a1": (0, 1), "b0": (1, 0)})
    run(workspace)
    sql = (
        "SELECT clip_id FROM clips WHERE clip_id IN (SELECT clip_a FROM pairs) OR clip_id IN (SELECT clip_b FROM pairs)"
    )
    made = parse_tier("seen_twice", sql, {}, ("face_embedding", "background_embedding"))
    assert made.signals == ("background_embedding", "face_embedding")
    assert [c.reads for c in made.clauses] == ["others"]
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir()
    (folder / "seen_twice.sql").write_text(sql)
    with workspace.views() as reader:
        assert sorted(reader.guarded(made.inlined)["clip_id"]) == ["a0", "a1"]
    told = tier.query(workspace, "SELECT duration_s, short_side_px, face_similarity FROM pairs").row(0)
    assert told[:2] == (5.0, 720)
    write(workspace, {"a2": (0, 1)})
    with workspace.views() as reader, pytest.raises(ValueError, match="pairs are older than the clips"):
        corpus.refuse_stale(reader, made)
    identity.assign(workspace)
    with workspace.views() as reader, pytest.raises(ValueError, match="tier seen_twice: pairs are older"):
        corpus.refuse_stale(reader, made)
    run(workspace)
    with workspace.views() as reader:
        corpus.refuse_stale(reader, made)


def test_a_run_ends_with_pairs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, {"a0": (0, 0), "a1": (0, 1)})
    monkeypatch.setattr(plan, "next_jobs", lambda *given: plan.Plan())  # every signal is up to date
    asked = ("face_embedding", "background_embedding")
    assert has_work(workspace, [Pass(asked, ())])
    assert bring_up_to_date(workspace, lambda *given: iter(()), signals=asked).num_paired == 2
    assert not has_work(workspace, [Pass(asked, ())])
    assert bring_up_to_date(workspace, lambda *given: iter(()), signals=asked).num_paired == 0
