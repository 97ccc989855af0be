"""Finding near-duplicates among many clips: time, memory, and recall of the index against brute force.

    python -m benchmarks.dedup [--clips 1000000] [--asked 200] [--folder DIR]

Vectors are made: scenes of 50 clips each, whose cosine to each other is about 0.9, as those of one recording are; what
is asked for are copies of clips that stand, at a cosine of about 0.95. Prints machine, versions and figures.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from benchmarks.machine import machine
from store import nearest as search
from store.nearest import Near, keep_indexed, nearest
from store.schema import embedding_schema
from store.workspace import Workspace, open_workspace
from tasks.dedup import MAX_CANDIDATES, MIN_COSINE, TABLE

DIM = 1280
CLIPS_PER_SCENE = 50
ROWS = 10_000


def unit(rows_ND: np.ndarray) -> np.ndarray:
    return np.asarray(rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True), np.float32)


def near(rows_ND: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Vectors of length 1 at about this cosine to those given."""
    away = unit(rng.standard_normal(rows_ND.shape, np.float32))
    return unit(cosine * rows_ND + np.sqrt(1 - cosine**2) * away)


def scenes(start: int, count: int) -> np.ndarray:
    """The vectors of clips `start` to `start + count`, float32 (N, DIM); a multiple of CLIPS_PER_SCENE."""
    rng = np.random.default_rng(start)
    middles = unit(rng.standard_normal((count // CLIPS_PER_SCENE, DIM), np.float32))
    return near(np.repeat(middles, CLIPS_PER_SCENE, axis=0), np.sqrt(0.9), rng)


def batches(num_clips: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, num_clips, ROWS):
        rows = scenes(start, ROWS)
        names = pa.array([f"{i:016x}" for i in range(start, start + ROWS)])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), DIM)
        columns = [names, names, vectors, pa.array(["x"] * ROWS), pa.array([1] * ROWS, pa.uint64())]
        yield pa.RecordBatch.from_arrays(columns, schema=embedding_schema(DIM))


def filled(folder: Path, num_clips: int) -> Workspace:
    workspace = open_workspace(folder)
    rows = pa.RecordBatchReader.from_batches(embedding_schema(DIM), batches(num_clips))
    made = lance.write_dataset(rows, workspace.record.uri(TABLE))
    with workspace.ledger.turn() as turn:
        turn.publish({TABLE: made.version})
    return workspace


def copies(num_clips: int, asked: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Vectors by the name of the copy, and by it the clip it is a copy of."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(num_clips, asked, replace=False))
    originals = np.stack([scenes(n // ROWS * ROWS, ROWS)[n % ROWS].copy() for n in chosen.tolist()])  # a view holds all
    names = [f"copy{i}" for i in range(asked)]
    told = dict(zip(names, [f"{n:016x}" for n in chosen.tolist()], strict=True))
    return dict(zip(names, near(originals, 0.95, rng), strict=True)), told


def found(
    workspace: Workspace, asked: dict[str, np.ndarray], apart: dict[str, str]
) -> tuple[dict[str, set[str]], float]:
    began = time.perf_counter()
    versions = workspace.ledger.manifest().versions
    rows: Sequence[Near] = nearest(
        workspace.record, versions, TABLE, asked, k=MAX_CANDIDATES, apart=apart, least=MIN_COSINE
    )
    told: dict[str, set[str]] = {name: set() for name in asked}
    for row in rows:
        told[row.clip].add(row.other)
    return told, time.perf_counter() - began


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=1_000_000, help=f"a multiple of {ROWS:,}")
    parser.add_argument("--asked", type=int, default=200)
    parser.add_argument(
        "--folder", type=Path, help="where to make the table, 5 KB a clip (default: a temporary folder)"
    )
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    print(machine())
    try:
        workspace = filled(folder / "workspace", options.clips)
        print(f"{options.clips:,} vectors of {DIM} written; peak memory so far {peak_mib():,.0f} MiB")
        asked, originals = copies(options.clips, options.asked)
        apart = {f"{i:016x}": f"{i:016x}" for i in range(options.clips)} | {name: name for name in asked}
        exact, exact_s = found(workspace, asked, apart)
        print(f"brute force: {exact_s:.1f} s for {len(asked)} clips; peak memory {peak_mib():,.0f} MiB")
        search.INDEX_FROM_ROWS = min(search.INDEX_FROM_ROWS, options.clips)
        began = time.perf_counter()
        keep_indexed(workspace.record, workspace.ledger, TABLE)
        print(f"index: {time.perf_counter() - began:.1f} s to build; peak memory {peak_mib():,.0f} MiB")
        indexed, indexed_s = found(workspace, asked, apart)
        print(f"by the index: {1000 * indexed_s / len(asked):.1f} ms a clip; peak memory {peak_mib():,.0f} MiB")
        shared = sum(len(exact[name] & indexed[name]) for name in asked)
        own = [sum(originals[name] in told[name] for name in asked) / len(asked) for told in (exact, indexed)]
        print(f"recall against brute force: {shared / max(1, sum(map(len, exact.values()))):.4f} of all neighbours")
        print(f"the original is found: {own[0]:.4f} by brute force, {own[1]:.4f} by the index")
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
