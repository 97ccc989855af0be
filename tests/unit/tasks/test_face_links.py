"""Rows of the nearest are those of comparing everybody with everybody, however clips came and went."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from store import erasure
from store.record import Batch
from store.sweep import erase_rows
from store.workspace import Workspace, open_workspace
from tasks import face_links, identity
from tasks.face_links import Near, compare, nearest_of_all
from tests.unit.tasks.test_identity import held, person, write

Rows = dict[str, list[tuple[str, float]]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows get full, and few clips take several blocks and commits."""
    monkeypatch.setattr(face_links, "MAX_LINKS", 3)
    monkeypatch.setattr(face_links, "BLOCK", 8)
    monkeypatch.setattr(face_links, "CHUNK", 16)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace")


def rows(workspace: Workspace) -> Rows:
    """What the next run would start from: the rows that hold."""
    with workspace.views() as reader:
        faces = face_links.read(workspace, reader)
    assert not faces.is_behind
    names = faces.shown["clip_id"].to_list()
    near = zip(faces.near.others.tolist(), faces.near.cosines.tolist(), strict=True)
    return {
        names[i]: [(names[o], c) for o, c in zip(others, cosines, strict=True) if o >= 0]
        for i, (others, cosines) in enumerate(near)
    }


def together(workspace: Workspace) -> set[frozenset[str]]:
    told = held(workspace)
    return {frozenset(c for c, name in told.items() if name == who) for who in told.values()}


def at_one_go(folder: Path, vectors: dict[str, np.ndarray | None]) -> tuple[Rows, set[frozenset[str]]]:
    fresh = open_workspace(folder)
    write(fresh, vectors)
    identity.assign(fresh)
    return rows(fresh), together(fresh)


def people() -> dict[str, np.ndarray | None]:
    """Six clips each of seven people, two of whom are alike and one of whose clips are all the same, and a bystander of all."""
    made: dict[str, np.ndarray | None] = {}
    for number in range(7):
        for clip in range(6):
            vector = person(number, seed=0 if number == 3 else clip, likeness=0.65)
            if number == 1:
                vector = vector + 0.7 * person(0, seed=clip)
            made[f"{(number * 31 + clip * 17) % 97:02d}"] = vector / np.linalg.norm(vector)
    return made


def test_rows_are_the_same_whatever_came_and_went_before(tmp_path: Path, workspace: Workspace, small: None) -> None:
    clips = people()
    order = np.random.default_rng(5).permutation(sorted(clips)).tolist()
    wrong, gone = order[3], order[4:10]
    write(workspace, {c: clips[c] for c in order[:20]} | {wrong: person(9)})
    identity.assign(workspace)
    write(workspace, {c: clips[c] for c in order[20:33]})
    identity.assign(workspace)
    write(workspace, {c: clips[c] for c in gone}, active=False)
    write(workspace, {wrong: clips[wrong]})
    identity.assign(workspace)
    left = {c: v for c, v in clips.items() if c in order[:33] and c not in gone}
    assert (rows(workspace), together(workspace)) == at_one_go(tmp_path / "left", left)
    write(workspace, {c: clips[c] for c in order[33:]})
    identity.assign(workspace)
    write(workspace, {c: clips[c] for c in gone})
    identity.assign(workspace)
    assert (rows(workspace), together(workspace)) == at_one_go(tmp_path / "all", clips)
    assert max(map(len, rows(workspace).values())) == 3


def test_rows_are_the_nearest_by_the_cosines_themselves(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    vectors = np.stack([v for v in people().values() if v is not None]).astype(np.float32)
    cosines = np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 5)
    np.fill_diagonal(cosines, -1)
    near = nearest_of_all(vectors, 0.5)
    for i, row in enumerate(cosines):
        nearest = [j for j in np.argsort(-row, kind="stable") if row[j] >= 0.5][:3]
        assert near.others[i][near.others[i] >= 0].tolist() == nearest
    _, first, second = near.pairs()
    assert {*zip(first.tolist(), second.tolist(), strict=True)} == {
        (min(i, int(j)), max(i, int(j))) for i, row in enumerate(near.others) for j in row if j >= 0
    }
    monkeypatch.setattr(face_links, "PAIRS_AT_ONCE", 5)
    monkeypatch.setattr(face_links, "CHUNK", 2)  # more are found than are held, so it prunes
    again = nearest_of_all(vectors, 0.5)
    assert (again.others.tolist(), again.cosines.tolist()) == (near.others.tolist(), near.cosines.tolist())


def test_whoever_enters_a_row_is_told_with_those_asked_for() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.96, 0.28], [-1, 0]], np.float32)
    near = Near.nobody(4, 1)
    compare(near, vectors, np.array([0, 1, 3]), 0.5)
    near.put(np.array([0, 1]), np.array([1, 0]), np.array([80_000, 80_000]))
    changed = compare(near, vectors, np.array([2]), 0.5, np.array([True, True, False, True]))
    assert changed.tolist() == [0, 1, 2]
    assert near.others[:, 0].tolist() == [2, 2, 0, -1]
    assert near.cosines[:, 0].tolist() == [96_000, 93_600, 96_000, 0]


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    told: list[int] = []
    original = face_links.compare

    def counting(near: Near, vectors: np.ndarray, asked: np.ndarray, *rest: Any) -> np.ndarray:
        told.append(len(asked))
        return original(near, vectors, asked, *rest)

    monkeypatch.setattr(face_links, "compare", counting)
    return told


def test_only_new_and_changed_clips_are_compared(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    told = asked(monkeypatch)
    write(workspace, {"a": person(0), "b": person(0, seed=1), "c": person(1), "d": None})
    identity.assign(workspace)
    manifest = workspace.ledger.manifest()
    assert identity.assign(workspace) == 0
    assert workspace.ledger.manifest() == manifest
    write(workspace, {"e": person(0, seed=2)})
    identity.assign(workspace)
    write(workspace, {"b": person(1, seed=2)})
    identity.assign(workspace)
    write(workspace, {"c": None})
    identity.assign(workspace)
    assert told == [3, 1, 1]
    assert {c: [o for o, _ in near] for c, near in rows(workspace).items()} == {"a": ["e"], "b": [], "e": ["a"]}
    with workspace.views() as reader:
        left = reader.sql("SELECT * FROM _face_links WHERE clip_id = 'c'").to_dicts()
        assert [(row["digest"], row["others"]) for row in left] == [(None, None)]


KILLED = """
import os, signal, sys
from store.workspace import open_workspace
from tasks import face_links, identity
face_links.MAX_LINKS, face_links.CHUNK = 3, 16
original, calls = face_links.compare, []
def dying(*given):
    calls.append(1)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*given)
face_links.compare = dying
identity.changed_rows = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
identity.assign(open_workspace(sys.argv[1]))
"""


def test_killed_at_any_step_it_goes_on_behind_the_last_commit(
    tmp_path: Path, workspace: Workspace, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = people()
    write(workspace, clips)
    for calls in ("2", "9"):  # in the second chunk; with all compared, before the groups are written
        told = [sys.executable, "-c", KILLED, str(workspace.settings.workspace), calls]
        assert subprocess.run(told, check=False).returncode == -signal.SIGKILL
        with workspace.views() as reader:
            assert reader.sql("SELECT count(*) FROM _face_links").item() == (16 if calls == "2" else 42)
            assert reader.sql("SELECT count(*) FROM _identities").item() == 0
    compared = asked(monkeypatch)
    assert identity.assign(workspace) == 42
    assert compared == []
    assert (rows(workspace), together(workspace)) == at_one_go(tmp_path / "all", clips)


def test_after_an_erasure_rows_that_named_it_are_made_again(tmp_path: Path, workspace: Workspace, small: None) -> None:
    clips = people()
    write(workspace, clips)
    identity.assign(workspace)
    gone = [c for c, near in rows(workspace).items() if len(near) == 3][:2]
    named_by = [c for c, near in rows(workspace).items() if {o for o, _ in near} & {*gone}]
    manifest = workspace.ledger.manifest()
    for table in manifest.versions:  # the clips share one video here: what is erased is told by the clip alone
        workspace.record.delete(workspace.ledger, table, f"clip_id IN ('{gone[0]}', '{gone[1]}')")
    erase_rows(workspace.record, workspace.ledger, [], gone)
    with workspace.views() as reader:
        there = set(reader.sql("SELECT clip_id FROM _face_links")["clip_id"])
    assert named_by
    assert there == set(clips) - {*gone, *named_by}
    identity.assign(workspace)
    left = {c: v for c, v in clips.items() if c not in gone}
    assert (rows(workspace), together(workspace)) == at_one_go(tmp_path / "left", left)


def test_rows_that_others_wrote_are_not_written_over(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, {"a": person(0), "b": person(0, seed=1)})
    identity.assign(workspace)
    write(workspace, {"c": person(0, seed=2)})
    original, calls = face_links.compare, []

    def meanwhile(*given: Any) -> np.ndarray:
        if not calls:
            calls.append(1)
            write(workspace, {"d": person(0, seed=3)})
            identity.assign(workspace)
        return original(*given)

    monkeypatch.setattr(face_links, "compare", meanwhile)
    assert identity.assign(workspace) == 0, "the other run did it all"
    assert {c: {o for o, _ in near} for c, near in rows(workspace).items()} == {c: set("abcd") - {c} for c in "abcd"}


def test_the_first_rows_of_all_are_written_only_on_what_was_read(workspace: Workspace) -> None:
    """An erasure meanwhile leaves no trace in a table that was not there yet."""
    write(workspace, {"a": person(0), "b": person(0, seed=1)})
    with workspace.views() as reader:
        faces = face_links.read(workspace, reader)
        write(workspace, {"b": person(0, seed=1)}, active=False)
        assert not face_links.bring_up_to_date(workspace, reader, faces)
    assert face_links.TABLE not in workspace.ledger.manifest().versions
    identity.assign(workspace)
    assert rows(workspace) == {"a": []}


def test_faces_of_an_erasure_that_was_cut_off_are_not_compared_for_ever(workspace: Workspace) -> None:
    write(workspace, {"a": person(0), "b": person(0, seed=1)})
    erasure.begin(workspace, erasure.Erasure("e", 1.0, video_ids=["v"]))
    with pytest.raises(ValueError, match="are being erased"):
        identity.assign(workspace)


def test_names_that_nobody_disputes_are_those_of_the_whole_rule(workspace: Workspace) -> None:
    rng = np.random.default_rng(3)
    workspace.commit(Batch())
    clips = [f"{i:02d}" for i in range(60)]
    for round_ in range(20):
        before = [None if n == 0 else f"n{n}" for n in rng.integers(0, 9, 60)]
        groups = np.where(rng.random(60) < 0.15, rng.integers(0, 12, 60), [int(b[1:]) if b else 11 for b in before])
        told = pl.DataFrame({"clip_id": clips, "before": before, "group": groups})
        with workspace.views() as reader:
            made = identity.names_of(told, reader).to_list()
        expected = identity.named(clips, groups, dict(zip(clips, before, strict=True)))
        assert dict(zip(clips, made, strict=True)) == expected, round_
