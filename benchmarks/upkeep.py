"""What weeks of upkeep do to the tables: backfills of whole signals, a thousand small commits, snapshots, on generated rows.

    python -m benchmarks.upkeep [--clips 1000000] [--backfills 30] [--commits 1000] [--folder DIR] [--json]

A backfill gives one signal of every clip another value, in batches of BATCH clips as a run commits them, then compacts
as each night does, keeping no old version. Disk is the workspace's folder, its high-water mark taken after each commit;
memory is this process's peak. Reads are one tier of ten clauses, once on the table as it was first written and once
after all of it. Ends with 1 above a limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import machine
from benchmarks.store import CLIPS_PER_VIDEO, TIER_10_CLAUSES, filled, timed
from store.record import Batch
from store.workspace import Workspace
from tasks import freeze

BATCH = 50_000
LIMIT_BACKFILL_S_PER_MILLION = 60.0
LIMIT_READ_RATIO = 1.5
LIMIT_SNAPSHOT_S = 2.0
LIMIT_MEMORY_GIB = 4.0
LIMIT_DISK_RATIO = 3.0
"""Of the table as first written: old and new of a whole rewrite at once, and room for what was not yet dropped."""


def clip_ids(start: int, count: int) -> list[str]:
    return [f"{c // CLIPS_PER_VIDEO:016x}-{c % CLIPS_PER_VIDEO}" for c in range(start, start + count)]


def upsert(workspace: Workspace, start: int, count: int, seed: int) -> None:
    """Another value of one column, for clips `start` to `start + count`, by the committer."""
    ids = clip_ids(start, count)
    values = np.random.default_rng([seed, start]).uniform(0, 50, count).astype(np.float32)
    told = {"clip_id": ids, "video_id": [i[:16] for i in ids], "active": [True] * count}
    batch = Batch()
    batch.add("signals", pa.table({**told, "motion_camera_speed": values}))
    workspace.commit(batch)


def backfill(workspace: Workspace, num_clips: int, seed: int, after_each: Callable[[], None]) -> float:
    """Seconds in the store for one signal of every clip; `after_each` commit is not counted."""
    spent = 0.0
    for start in range(0, num_clips, BATCH):
        began = time.perf_counter()
        upsert(workspace, start, min(BATCH, num_clips - start), seed)
        spent += time.perf_counter() - began
        after_each()
    return spent


def nightly(workspace: Workspace) -> None:
    """What a night does after its rows are written. Nobody reads here, so old versions go at once."""
    workspace.record.compact(workspace.ledger, keep=timedelta(0))


def disk_mib(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20


def read_s(workspace: Workspace) -> float:
    with workspace.views() as reader:
        return timed(lambda: reader.sql(f"SELECT count(*) FROM ({TIER_10_CLAUSES})").item())[0]


def snapshots_s(workspace: Workspace) -> tuple[float, float]:
    """(freezing a tier after a change, comparing it with the one before)."""
    tiers = workspace.settings.workspace / "tiers"
    tiers.mkdir(exist_ok=True)
    (tiers / "upkeep.sql").write_text("SELECT clip_id FROM signals WHERE motion_camera_speed < 25\n")
    freeze.build(workspace, "upkeep")
    upsert(workspace, 0, 1000, seed=99)
    began = time.perf_counter()
    freeze.build(workspace, "upkeep")
    built = time.perf_counter()
    freeze.diff(workspace, "upkeep")
    return built - began, time.perf_counter() - built


def measured(folder: Path, num_clips: int, num_backfills: int, num_commits: int) -> dict[str, Any]:
    workspace = filled(folder, num_clips, with_provenance=True)
    first_mib, first_read_s = disk_mib(folder), read_s(workspace)
    high_mib = [first_mib]

    def look() -> None:
        high_mib[0] = max(high_mib[0], disk_mib(folder))

    spent, after_mib = [], []
    for number in range(num_backfills):
        spent.append(backfill(workspace, num_clips, number, look))
        nightly(workspace)
        after_mib.append(disk_mib(folder))
    for number in range(num_commits):
        upsert(workspace, number * 7 % max(1, num_clips - 1), 1, seed=1000 + number)
    look()
    before_compaction_s = read_s(workspace)
    nightly(workspace)
    snapshot_s, diff_s = snapshots_s(workspace)
    return {
        "machine": machine(),
        "clips": num_clips,
        "backfills": num_backfills,
        "commits": num_commits,
        "backfill_s_per_million": statistics.median(spent) * 1e6 / num_clips,
        "last_to_first_backfill": spent[-1] / spent[0],
        "first_mib": first_mib,
        "high_ratio": high_mib[0] / first_mib,
        "after_ratio": after_mib[-1] / first_mib,
        "read_ratio": read_s(workspace) / first_read_s,
        "read_ratio_before_compaction": before_compaction_s / first_read_s,
        "snapshot_s": snapshot_s,
        "diff_s": diff_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def rows(told: dict[str, Any]) -> list[tuple[str, float, str, float | None]]:
    """(what, value, unit, limit)."""
    return [
        ("backfill of one signal, store time a million rows", told["backfill_s_per_million"], "s", LIMIT_BACKFILL_S_PER_MILLION),
        (f"the last of {told['backfills']} backfills against the first", told["last_to_first_backfill"], "x", None),
        ("disk at its highest, against the table first written", told["high_ratio"], "x", LIMIT_DISK_RATIO),
        ("disk after all backfills and compaction", told["after_ratio"], "x", None),
        (f"a tier after {told['commits']} small commits, not yet compacted, against fresh", told["read_ratio_before_compaction"], "x", None),
        ("the same, compacted", told["read_ratio"], "x", LIMIT_READ_RATIO),
        ("a snapshot after a change", told["snapshot_s"], "s", LIMIT_SNAPSHOT_S),
        ("diff with the one before", told["diff_s"], "s", LIMIT_SNAPSHOT_S),
        ("peak memory", told["peak_gib"], "GiB", LIMIT_MEMORY_GIB),
    ]  # fmt: skip


def report(told: dict[str, Any]) -> str:
    head = f"{told['machine']}\n{told['clips']:,} clips, {told['first_mib']:.0f} MiB\n\n"
    lines = ["| what | value | limit | of the limit |", "|---|---|---|---|"]
    for what, value, unit, limit in rows(told):
        asked = f"{limit:g} {unit} | {value / limit:.2f}" if limit else "| "
        lines.append(f"| {what} | {value:.2f} {unit} | {asked} |")
    return head + "\n".join(lines)


def is_within_limits(told: dict[str, Any]) -> bool:
    return all(limit is None or value <= limit for _, value, _, limit in rows(told))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--backfills", type=int, default=30)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, the rest to stderr")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="upkeep", dir=options.folder))
    try:
        told = measured(folder, options.clips, options.backfills, options.commits)
    finally:
        shutil.rmtree(folder)
    print(report(told), file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(told))
    return 0 if is_within_limits(told) else 1


if __name__ == "__main__":
    sys.exit(main())
