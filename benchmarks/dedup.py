"""Finding near-duplicates among many clips: time, memory, and recall of the index against brute force.

    python -m benchmarks.dedup [--clips 1000000] [--asked 200] [--folder DIR]

Vectors are made: scenes of 50 clips each, whose cosine to each other is about 0.9, as those of one recording are; what
is asked for are copies of clips that stand, at a cosine of about 0.95. Prints machine, versions and figures, and ends with
1 above a limit, or below the recall.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
LEAST_RECALL = 0.95
LIMIT_BUILD_CPU_S_PER_MILLION = 900.0
LIMIT_CPU_MS_PER_CLIP = 100.0
LIMIT_MEMORY_GIB = 4.0


@dataclass(frozen=True)
class Found:
    """What one run measured; recall is of the index against brute force."""

    clips: int
    brute_s: float
    build_s: float
    build_cpu_s: float
    cpu_ms_per_clip: float
    recall: float
    originals: float
    peak_gib: float

    def wrong(self) -> list[str]:
        """What is beyond a limit."""
        told = {
            f"recall {self.recall:.4f} < {LEAST_RECALL}": self.recall < LEAST_RECALL,
            f"originals found {self.originals:.4f} < {LEAST_RECALL}": self.originals < LEAST_RECALL,
            f"index {self.build_cpu_s:.0f} CPU-s": self.build_cpu_s > LIMIT_BUILD_CPU_S_PER_MILLION * self.clips / 1e6,
            f"{self.cpu_ms_per_clip:.1f} CPU-ms a clip > {LIMIT_CPU_MS_PER_CLIP:g}": self.cpu_ms_per_clip
            > LIMIT_CPU_MS_PER_CLIP,
            f"{self.peak_gib:.1f} GiB > {LIMIT_MEMORY_GIB:g}": self.peak_gib > LIMIT_MEMORY_GIB,
        }
        return [what for what, is_wrong in told.items() if is_wrong]


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


def measured(folder: Path, num_clips: int, num_asked: int) -> Found:
    workspace = filled(folder / "workspace", num_clips)
    print(f"{num_clips:,} vectors of {DIM} written; peak memory so far {peak_mib():,.0f} MiB", flush=True)
    asked, originals = copies(num_clips, num_asked)
    apart = {f"{i:016x}": f"{i:016x}" for i in range(num_clips)} | {name: name for name in asked}
    exact, exact_s = found(workspace, asked, apart)
    print(f"brute force: {exact_s:.1f} s for {len(asked)} clips; peak memory {peak_mib():,.0f} MiB", flush=True)
    search.INDEX_FROM_ROWS = min(search.INDEX_FROM_ROWS, num_clips)
    began, cpu_since = time.perf_counter(), time.process_time()
    keep_indexed(workspace.record, workspace.ledger, TABLE)
    build_s, build_cpu_s = time.perf_counter() - began, time.process_time() - cpu_since
    print(f"index: {build_s:.1f} s to build, {build_cpu_s:.1f} CPU-s; peak memory {peak_mib():,.0f} MiB", flush=True)
    cpu_since = time.process_time()
    indexed, indexed_s = found(workspace, asked, apart)
    cpu_ms = 1000 * (time.process_time() - cpu_since) / len(asked)
    shared = sum(len(exact[name] & indexed[name]) for name in asked)
    recall = shared / max(1, sum(map(len, exact.values())))
    own = [sum(originals[name] in told[name] for name in asked) / len(asked) for told in (exact, indexed)]
    told_ms = f"{1000 * indexed_s / len(asked):.1f} ms a clip, {cpu_ms:.1f} CPU-ms"
    print(f"by the index: {told_ms}; peak memory {peak_mib():,.0f} MiB")
    print(f"recall against brute force: {recall:.4f} of all neighbours")
    print(f"the original is found: {own[0]:.4f} by brute force, {own[1]:.4f} by the index")
    return Found(num_clips, exact_s, build_s, build_cpu_s, cpu_ms, recall, own[1], peak_mib() / 1024)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000, help=f"a multiple of {ROWS:,}")
    parser.add_argument("--asked", type=int, default=200)
    parser.add_argument(
        "--folder", type=Path, help="where to make the table, 5 KB a clip (default: a temporary folder)"
    )
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="dedup", dir=options.folder))
    print(machine())
    try:
        told = measured(folder, options.clips, options.asked)
    finally:
        shutil.rmtree(folder)
    for what in told.wrong():
        print(f"beyond its limit: {what}", file=sys.stderr)
    return 1 if told.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
