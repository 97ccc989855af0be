"""Neighbours are those of brute force, with an index or without, and rows that came after it are found too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store import nearest as search
from store.nearest import keep_indexed, nearest, vectors_of
from store.record import Batch, embedding_rows
from store.workspace import Workspace, open_workspace

DIM, TABLE = 16, "embeddings_looks_video"


def vectors(seed: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def write(workspace: Workspace, names: list[str], rows: list[np.ndarray | None]) -> None:
    batch = Batch()
    batch.add(TABLE, embedding_rows(names, names, rows, DIM, "x", [1] * len(names)))
    workspace.commit(batch)


def told(
    workspace: Workspace, asked: dict[str, np.ndarray], apart: dict[str, str], k: int = 3
) -> list[tuple[str, str]]:
    versions = workspace.ledger.manifest().versions
    rows = nearest(workspace.record, versions, TABLE, asked, k=k, apart=apart, least=0.2)
    return [(r.clip, r.other) for r in rows]


def brute(asked: dict[str, np.ndarray], stands: dict[str, np.ndarray], apart: dict[str, str]) -> list[tuple[str, str]]:
    found = []
    for name, vector in asked.items():
        near = sorted((-float(vector @ v), n) for n, v in stands.items() if n in apart and apart[n] != apart[name])
        found += [(name, n) for cosine, n in near[:3] if -cosine >= 0.2]
    return found


def test_neighbours_by_pass_and_by_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    assert told(workspace, {"a": vectors(9, 1)[0]}, {"a": "a"}) == []
    assert not keep_indexed(workspace.record, workspace.ledger, TABLE)
    names = [f"c{i:03}" for i in range(400)]
    stands = dict(zip(names, vectors(0, 400), strict=True))
    write(workspace, [*names, "none"], [*stands.values(), None])
    apart = {n: n[-2:] for n in names[:390]}  # ten clips are not named; every hundredth is of the same video
    asked = {n: stands[n] for n in names[:20]}
    monkeypatch.setattr(search, "BLOCK_ROWS", 64)
    assert told(workspace, asked, apart) == brute(asked, stands, apart)
    versions = workspace.ledger.manifest().versions
    read = vectors_of(workspace.record, versions, TABLE, ["c001", "none", "nobody"])
    assert list(read) == ["c001"]
    assert np.array_equal(read["c001"], stands["c001"])

    monkeypatch.setattr(search, "INDEX_FROM_ROWS", 300)
    assert keep_indexed(workspace.record, workspace.ledger, TABLE)
    assert not keep_indexed(workspace.record, workspace.ledger, TABLE), "it holds all rows"
    assert told(workspace, asked, apart) == brute(asked, stands, apart)
    crowd = dict.fromkeys(names[:399], "one video") | {names[399]: "another"}
    one = {names[0]: stands[names[399]]}
    assert told(workspace, one, crowd) == [(names[0], names[399])], "its own video's clips do not hide the copy"
    late = dict(zip([f"d{i:03}" for i in range(50)], vectors(1, 50), strict=True))
    write(workspace, list(late), list(late.values()))
    stands |= late
    apart |= {n: n for n in late}
    assert told(workspace, asked, apart) == brute(asked, stands, apart), "rows after the index are searched too"
    assert not keep_indexed(workspace.record, workspace.ledger, TABLE)
    more = dict(zip([f"e{i:03}" for i in range(500)], vectors(2, 500), strict=True))
    write(workspace, list(more), list(more.values()))
    assert keep_indexed(workspace.record, workspace.ledger, TABLE), "more came since than it holds"
