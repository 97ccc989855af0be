"""People are told apart, a bridge between two joins nobody, and names stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from flows.curate import has_work
from store.record import Batch, embedding_rows, table_of
from store.schema import CLIPS, embeddings_table
from store.tier_sql import parse_tier
from store.workspace import Workspace, open_workspace
from tasks import identity, plan
from tasks.curate import bring_up_to_date
from tasks.identity import groups_of, named
from tasks.signals import discover
from tasks.status import identities
from tasks.wanted import Pass

DIMENSION = 128


def person(number: int, *, seed: int = 0, likeness: float = 0.8) -> np.ndarray:
    """A vector of length 1 whose cosine to that of anyone of the same number is about `likeness`."""
    own = np.sqrt(1 - likeness) * np.random.default_rng([number, seed]).normal(0, 1 / np.sqrt(DIMENSION), DIMENSION)
    vector = np.sqrt(likeness) * np.eye(DIMENSION)[number] + own
    return np.asarray(vector / np.linalg.norm(vector))


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == g).tolist()) for g in set(groups.tolist())}


def test_people_are_told_apart_in_any_order() -> None:
    vectors = np.stack([person(n, seed=s) for s in range(4) for n in range(3)])
    expected = {frozenset(range(n, 12, 3)) for n in range(3)}
    assert partition(groups_of(vectors)) == expected
    order = np.random.default_rng(0).permutation(12)
    back = np.argsort(order)
    assert partition(groups_of(vectors[order])[back]) == expected


def bridged() -> np.ndarray:
    """Four clips of one person, four of another, and one of a face halfway between them."""
    vectors = [person(n, seed=s) for n in (0, 1) for s in range(4)]
    middle = np.sum(vectors, axis=0)
    return np.stack([*vectors, middle / np.linalg.norm(middle)])


def test_a_face_between_two_people_does_not_chain_them() -> None:
    vectors = bridged()
    assert (vectors[8] @ vectors[:8].T).min() > identity.LINK_COSINE, "it is linked to every clip of both"
    assert len(partition(groups_of(vectors, join=-1.0))) == 1, "plain connected components make them one"
    told = groups_of(vectors)
    assert len(set(told[:4].tolist())) == len(set(told[4:8].tolist())) == 1
    assert told[0] != told[4]


def test_a_chain_of_likenesses_ends_where_the_group_is_no_longer_alike() -> None:
    angles = np.arange(12) * 0.6  # neighbours have a cosine of 0.83, every sixth is a stranger
    chain = np.zeros((12, DIMENSION))
    for i, angle in enumerate(angles):
        chain[i, int(angle // 1.5)], chain[i, int(angle // 1.5) + 1] = np.cos(angle % 1.5), np.sin(angle % 1.5)
    assert len(partition(groups_of(chain, join=-1.0))) == 1
    assert len(partition(groups_of(chain))) >= 3


def test_a_group_keeps_the_name_most_of_its_clips_had() -> None:
    clips = ["a", "b", "c", "d", "e"]
    first = named(clips[:3], np.array([0, 0, 1]), {})
    assert first["a"] == first["b"] != first["c"]
    grown = named(["0new", *clips], np.array([0, 0, 0, 1, 1, 1]), first)
    assert grown["0new"] == grown["a"] == first["a"], "an earlier clip does not rename the group"
    assert grown["d"] == grown["e"] == first["c"]
    split = named(clips, np.array([0, 1, 1, 1, 1]), dict.fromkeys(clips, "x"))
    assert split["b"] == "x"
    assert split["a"] not in ("x", "")
    merged = named(clips, np.zeros(5, int), {"a": "x", "b": "y", "c": "y"})
    assert set(merged.values()) == {"y"}


def test_a_new_name_is_none_that_is_taken() -> None:
    founded = named(["a", "b"], np.array([0, 1]), {})["a"]
    again = named(["a", "b"], np.array([0, 1]), {"b": founded})
    assert again["b"] == founded
    assert again["a"] != founded


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace")


def write(
    workspace: Workspace,
    vectors: dict[str, np.ndarray | None],
    *,
    active: bool = True,
    fingerprint: str | None = None,
) -> None:
    """Clips with these face vectors; None is a clip without a face."""
    told = fingerprint or discover()[identity.SIGNAL].fingerprint
    digests = [0 if v is None else int(abs(v.sum()) * 1e6) + 1 for v in vectors.values()]
    batch = Batch()
    rows = [{"clip_id": c, "video_id": "v", "active": active, "duration_s": 5.0} for c in vectors]
    batch.add("clips", table_of(rows, CLIPS))
    wide = pa.table(
        {
            "clip_id": list(vectors),
            "video_id": ["v"] * len(vectors),
            "active": [active] * len(vectors),
            "face_embedding_status": ["not_applicable" if v is None else "ok" for v in vectors.values()],
            "face_embedding_fingerprint": [told] * len(vectors),
            "face_embedding_input_digest": pa.array(digests, pa.uint64()),
            "face_embedding_output_digest": pa.array(digests, pa.uint64()),
            "face_embedding_not_before": pa.array([0.0] * len(vectors), pa.float64()),
        }
    )
    batch.add("signals", wide)
    values = [None if v is None else v.astype(np.float32) for v in vectors.values()]
    parts = embedding_rows(list(vectors), ["v"] * len(vectors), values, DIMENSION, told, digests)
    batch.add(embeddings_table("face_embedding", "face"), parts)
    workspace.commit(batch)


def held(workspace: Workspace) -> dict[str, str]:
    with workspace.views() as reader:
        return dict(reader.sql("SELECT clip_id, identity FROM identities").iter_rows())


def test_rows_are_written_once_and_names_stay(workspace: Workspace) -> None:
    assert identity.assign(workspace) == 0
    write(workspace, {"b0": person(0), "b1": person(0, seed=1), "c0": person(1), "d0": None})
    assert identity.assign(workspace) == 4
    first = held(workspace)
    assert set(first) == {"b0", "b1", "c0"}, "a clip without a face has no identity"
    assert first["b0"] == first["b1"] != first["c0"]
    manifest = workspace.ledger.manifest()
    assert identity.assign(workspace) == 0
    assert workspace.ledger.manifest() == manifest
    write(workspace, {"a0": person(0, seed=2), "e0": person(2)})
    assert identity.assign(workspace) == 2, "only the new clips' rows are written"
    assert held(workspace) == {**first, "a0": first["b0"], "e0": held(workspace)["e0"]}
    assert len(set(held(workspace).values())) == 3


def test_the_same_footage_gives_the_same_names(tmp_path: Path) -> None:
    clips = {f"c{i}": person(i % 2, seed=i) for i in range(6)}
    told = []
    for number, order in enumerate((list(clips), list(reversed(clips)))):
        workspace = open_workspace(tmp_path / str(number))
        write(workspace, {c: clips[c] for c in order})
        identity.assign(workspace)
        told.append(held(workspace))
    assert told[0] == told[1]


def test_a_clip_with_another_face_now_changes_hands(workspace: Workspace) -> None:
    write(workspace, {"a": person(0), "b": person(0, seed=1), "c": person(1)})
    identity.assign(workspace)
    first = held(workspace)
    write(workspace, {"b": person(1, seed=2)})
    assert identity.assign(workspace) == 1
    assert held(workspace) == {**first, "b": first["c"]}
    write(workspace, {"b": None})
    assert identity.assign(workspace) == 1
    assert held(workspace) == {c: first[c] for c in "ac"}


def test_retired_clips_have_no_identity_until_they_come_back(workspace: Workspace) -> None:
    write(workspace, {"a": person(0), "b": person(1)})
    identity.assign(workspace)
    first = held(workspace)
    write(workspace, {"b": person(1)}, active=False)
    assert held(workspace) == {"a": first["a"]}
    assert identity.assign(workspace) == 0
    write(workspace, {"b": person(1), "c": person(1, seed=3)})
    identity.assign(workspace)
    assert held(workspace) == {**first, "c": first["b"]}


def test_a_vector_of_another_version_waits_for_its_signal(workspace: Workspace) -> None:
    write(workspace, {"a": person(0)})
    write(workspace, {"b": person(0, seed=1)}, fingerprint="older")
    identity.assign(workspace)
    assert set(held(workspace)) == {"a"}


@pytest.mark.usefixtures("either_ledger")
def test_a_commit_in_between_is_read_and_it_is_done_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, {"a": person(0)})
    original = identity.changed_rows
    calls = []

    def and_another(*given: object) -> pl.DataFrame:
        rows = original(*given)  # type: ignore[arg-type]
        if not calls:
            write(workspace, {"b": person(0, seed=1)})
        calls.append(len(rows))
        return rows

    monkeypatch.setattr(identity, "changed_rows", and_another)
    assert identity.assign(workspace) == 2
    assert calls == [1, 2]
    assert len(set(held(workspace).values())) == 1
    calls.clear()
    monkeypatch.setattr(identity, "MAX_TRIES", 1)
    write(workspace, {"c": person(1)})
    with pytest.raises(ValueError, match="the workspace changed since this was proposed"):
        identity.assign(workspace)


def test_tiers_and_status_read_it(workspace: Workspace) -> None:
    write(workspace, {"a": person(0), "b": person(0, seed=1), "c": person(1), "d": None})
    identity.assign(workspace)
    name = held(workspace)["a"]
    sql = f"SELECT clip_id FROM clips JOIN identities USING (clip_id) WHERE identity = '{name}' AND duration_s > 2"
    tier = parse_tier("mine", sql, {}, ("face_embedding",))
    assert tier.clauses[0].sql == f"identities.identity = '{name}'"
    without = "SELECT clip_id FROM clips WHERE clip_id NOT IN (SELECT clip_id FROM identities)"
    with workspace.views() as reader:
        assert sorted(reader.guarded(tier.inlined)["clip_id"]) == ["a", "b"]
        assert reader.guarded(parse_tier("nobody", without, {}).inlined)["clip_id"].to_list() == ["d"]
        assert identities(reader) == {"people": 2, "clips": 3}


def test_a_run_ends_with_identities_and_one_without_faces_does_not(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, {"a": person(0), "b": person(1)})
    monkeypatch.setattr(plan, "next_jobs", lambda *given: plan.Plan())  # every signal is up to date

    def work(*signals: str) -> bool:
        return has_work(workspace, [Pass(signals, ())])

    def run(signal: str) -> int:
        return bring_up_to_date(workspace, lambda *given: iter(()), signals=[signal]).num_identified

    assert not work("vad")
    assert run("vad") == 0
    assert work("face_embedding")
    assert run("face_embedding") == 2
    assert not work("face_embedding")
    assert run("face_embedding") == 0
