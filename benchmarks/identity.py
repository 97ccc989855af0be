"""The steps over all clips among many: who is who, reference pairs, and the choice among copies; time, memory, exactness.

    python -m benchmarks.identity [--clips 1000000] [--added 1000] [--asked 200] [--folder DIR]

Faces are made: people of 1 to 60 clips with 20 on average, whose cosine to each other is about 0.8, as that of recordings of
one person is, among them one of a hundredth of all clips. Measured are the first grouping, a run that adds clips, and a run
that finds nothing to do; then the same of reference pairs and of the choice among copies (every tenth clip has one).
Nearest clips are held against brute force in float64, people against who they were made as. Prints machine and figures, and ends with 1
beyond a limit.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import benchmarks.one_thread  # noqa: F401 - before anything numeric

# isort: split
import numpy as np
import pyarrow as pa

from benchmarks.machine import machine
from store.record import Batch
from store.schema import BASE_SCHEMAS, embedding_schema
from store.workspace import Workspace, open_workspace
from tasks import dedup, face_links, identity, pairs
from tasks.digest import digest
from tasks.signals import discover

DIM, ROOM_DIM = 128, 384
LIKENESS = 0.8
ROWS = 50_000
LEAST_RECALL, LEAST_F1 = 0.9999, 0.99
LIMIT_FIRST_CPU_S = 6000.0
"""Of a million clips; it grows by their square."""
LIMIT_ADDED_CPU_S = 120.0
"""Of a thousand clips beside a million; it grows with the clips that stand."""
LIMIT_UNCHANGED_CPU_S = 20.0
LIMIT_MEMORY_GIB = 4.0


@dataclass
class Found:
    """What one run measured. Seconds are of one core."""

    clips: int
    cpu_s: dict[str, float] = field(default_factory=dict)
    recall: float = 0.0
    f1: float = 0.0
    peak_gib: float = 0.0

    def wrong(self) -> list[str]:
        """What is beyond a limit."""
        millions = self.clips / 1e6
        most = {
            "first grouping": LIMIT_FIRST_CPU_S * millions**2 + LIMIT_ADDED_CPU_S * millions,
            "grouping after more clips": LIMIT_ADDED_CPU_S * millions,
            "choice among copies after more clips": LIMIT_ADDED_CPU_S * millions,
            "unchanged": LIMIT_UNCHANGED_CPU_S * millions,
        }
        told = {f"{n}: {self.cpu_s[n]:.1f} CPU-s > {s:.1f}": self.cpu_s[n] > max(s, 1.0) for n, s in most.items()}
        told |= {
            f"nearest found: {self.recall:.5f} < {LEAST_RECALL}": self.recall < LEAST_RECALL,
            f"people told apart: F1 {self.f1:.4f} < {LEAST_F1}": self.f1 < LEAST_F1,
            f"{self.peak_gib:.2f} GiB > {LIMIT_MEMORY_GIB:g}": self.peak_gib > LIMIT_MEMORY_GIB,
        }
        return [what for what, is_wrong in told.items() if is_wrong]


def owners(num_clips: int) -> np.ndarray:
    """By clip whose it is, int (N,)."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, num_clips // 10 + 10)
    sizes[::20] = 60
    sizes[0] = max(1, num_clips // 100)
    told = np.repeat(np.arange(len(sizes)), sizes)
    assert len(told) >= num_clips
    return rng.permutation(told[:num_clips])


def unit(rows_ND: np.ndarray) -> np.ndarray:
    return np.asarray(rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True), np.float32)


def faces_of(owner: np.ndarray, start: int, count: int) -> np.ndarray:
    """The vectors of clips `start` to `start + count`, float32 (N, DIM): those of one owner at a cosine of about LIKENESS to
    each other."""
    people = unit(np.random.default_rng(0).standard_normal((int(owner.max()) + 1, DIM), np.float32))
    away = unit(np.random.default_rng([1, start]).standard_normal((count, DIM), np.float32))
    return unit(people[owner[start : start + count]] + np.float32(np.sqrt((1 - LIKENESS) / LIKENESS)) * away)


def names_of(first: int, count: int) -> list[str]:
    """Ids in no order of persons or time, as digests are."""
    return [f"{(i * 0x9E3779B97F4A7C15) % 2**64:016x}" for i in range(first, first + count)]


def write(workspace: Workspace, owner: np.ndarray, first: int, end: int) -> None:
    """Clips `first` to `end` with all that the three steps read; every tenth is a copy of the next, and known to be one."""
    for at in range(first, end, ROWS):
        count = min(ROWS, end - at)
        ids = pa.array(names_of(at, count))
        digests = pa.array(np.arange(at + 1, at + count + 1, dtype=np.uint64))
        batch, plain = Batch(), {"clip_id": ids, "video_id": ids}
        batch.add("videos", _table("videos", count, video_id=ids, state="done", has_audio=True))
        size = {"source_width_px": 640, "source_height_px": 360, "duration_s": 8.0}
        batch.add("clips", _table("clips", count, **plain, active=True, **size))
        wide: dict[str, pa.Array] = {**plain, "active": pa.array([True] * count)}
        for signal in dict.fromkeys((face_links.SIGNAL, pairs.BACKGROUND, *dedup.SIGNALS)):
            wide[f"{signal}_status"] = pa.array(["ok"] * count)
            wide[f"{signal}_fingerprint"] = pa.array([discover()[signal].fingerprint] * count)
            for part in ("input", "output"):
                wide[f"{signal}_{part}_digest"] = digests
        wide[f"{dedup.QUALITY}_quality"] = pa.array(np.linspace(1, 5, count, dtype=np.float32))
        batch.add("signals", pa.table(wide))
        # A clip's room is its own, so that people are seen in many places.
        rooms_ND = unit(np.random.default_rng([2, at]).standard_normal((count, ROOM_DIM), np.float32))
        for table, some in ((face_links.VECTORS, faces_of(owner, at, count)), (pairs.TABLES[1], rooms_ND)):
            held = pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), some.shape[1])
            columns = [ids, ids, held, pa.array(["x"] * count), digests]
            batch.add(table, pa.Table.from_arrays(columns, schema=embedding_schema(some.shape[1])))
        _add_compared(batch, ids.to_pylist(), digests.to_pylist())
        workspace.commit(batch)


def _add_compared(batch: Batch, ids: list[str], digests: list[int]) -> None:
    """As if copies had been searched for: what that takes is measured by benchmarks/dedup.py."""
    now = [digest(d, d) for d in digests]
    marks = {"compared_digest": pa.array(now, pa.uint64()), "compared_by": dedup.COMPARED_BY}
    batch.add("duplicates", _table("duplicates", len(ids), clip_id=pa.array(ids), video_id=pa.array(ids), **marks))
    rows = [
        {"key": f"{a}:{b}", "clip_a": a, "clip_b": b, "digest_a": da, "digest_b": db, "fingerprint": dedup.COMPARED_BY}
        for (a, da), (b, db) in (
            sorted(((ids[i], now[i]), (ids[i + 1], now[i + 1]))) for i in range(0, len(ids) - 1, 10)
        )
    ]
    batch.add("duplicate_pairs", pa.Table.from_pylist(rows, BASE_SCHEMAS["duplicate_pairs"]))


def _table(table: str, count: int, **columns: object) -> pa.Table:
    schema = BASE_SCHEMAS[table]
    made = {n: c if isinstance(c, pa.Array) else pa.array([c] * count) for n, c in columns.items()}
    arrays = [made[f.name].cast(f.type) if f.name in made else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def exactness(workspace: Workspace, owner: np.ndarray, num_asked: int) -> tuple[float, float]:
    """(share of the nearest by brute force in float64 that the rows hold, pairwise F1 of the people), both of a sample."""
    with workspace.views() as reader:
        faces = face_links.read(workspace, reader)
    clips = faces.shown["clip_id"].to_list()
    number = {name: i for i, name in enumerate(names_of(0, len(owner)))}
    whose = owner[[number[c] for c in clips]]
    asked = np.random.default_rng(1).choice(len(clips), min(num_asked, len(clips)), replace=False)
    held = num = 0
    for i in asked.tolist():
        cosine = np.concatenate(
            [faces.vectors[s : s + ROWS].astype(np.float64) @ faces.vectors[i] for s in range(0, len(clips), ROWS)]
        )
        cosine[i] = -1
        near = np.flatnonzero(cosine >= face_links.LINK_COSINE)
        near = near[np.argsort(-cosine[near])[: face_links.MAX_LINKS]]
        held, num = held + len(np.intersect1d(near, faces.near.others[i])), num + len(near)
    groups = faces.clips["identity"].to_numpy()
    groups = np.unique(groups, return_inverse=True)[1]
    same = [(groups[i] == groups, whose[i] == whose) for i in asked.tolist()]
    right, wrong = (sum(int((a & (b if is_same else ~b)).sum()) for a, b in same) for is_same in (True, False))
    missed = sum(int((~a & b).sum()) for a, b in same)
    return held / max(1, num), 2 * right / (2 * right + wrong + missed)


def measured(folder: Path, num_clips: int, num_added: int, num_asked: int) -> Found:
    told, workspace = Found(num_clips), open_workspace(folder / "workspace")

    def timed(name: str, work: Callable[[], int]) -> None:
        began = time.process_time()
        done = work()
        told.cpu_s[name] = time.process_time() - began
        print(f"{name}: {told.cpu_s[name]:.1f} CPU-s, {done:,} clips; peak memory {peak_mib():,.0f} MiB", flush=True)

    def unchanged() -> int:
        return identity.assign(workspace) + pairs.bring_up_to_date(workspace) + dedup.bring_up_to_date(workspace)

    owner = owners(num_clips + num_added)
    write(workspace, owner, 0, num_clips)
    print(f"{num_clips:,} clips written; peak memory {peak_mib():,.0f} MiB", flush=True)
    timed("first grouping", lambda: identity.assign(workspace))
    timed("first reference pairs", lambda: pairs.bring_up_to_date(workspace))
    timed("first choice among copies", lambda: dedup.bring_up_to_date(workspace) + num_clips)
    write(workspace, owner, num_clips, len(owner))
    timed("grouping after more clips", lambda: identity.assign(workspace))
    timed("reference pairs after more clips", lambda: pairs.bring_up_to_date(workspace))
    timed("choice among copies after more clips", lambda: dedup.bring_up_to_date(workspace) + num_added)
    timed("unchanged", unchanged)
    told.recall, told.f1 = exactness(workspace, owner, num_asked)
    told.peak_gib = peak_mib() / 1024
    print(f"nearest found: {told.recall:.5f} of brute force; people told apart: F1 {told.f1:.4f}")
    return told


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--added", type=int, default=1000)
    parser.add_argument("--asked", type=int, default=200, help="clips that are held against brute force")
    parser.add_argument("--folder", type=Path, help="where to make the workspace, 4 KB a clip (default: temporary)")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="identity", dir=options.folder))
    print(machine())
    try:
        told = measured(folder, options.clips, options.added, options.asked)
    finally:
        shutil.rmtree(folder)
    for what in told.wrong():
        print(f"beyond its limit: {what}", file=sys.stderr)
    return 1 if told.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
