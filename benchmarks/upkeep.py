"""What weeks of upkeep do to the tables: backfills of whole signals, a thousand small commits, snapshots, on generated rows.

    python -m benchmarks.upkeep [--clips 1000000] [--backfills 30] [--commits 1000] [--folder DIR] [--json]

A backfill gives one signal of every clip another value, in batches of store.BATCH clips as a run commits them, then compacts
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
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.store import (
    LIMIT_BACKFILL_S_PER_MILLION,
    LIMIT_DIFF_S,
    LIMIT_SNAPSHOT_S,
    TIER_10_CLAUSES,
    backfill,
    filled,
    snapshots,
    timed,
    upsert,
)  # fmt: skip
from store.workspace import Workspace

LIMIT_READ_RATIO = 1.5
LIMIT_COMMIT_S = 2.0
LIMIT_COMMIT_RATIO = 3.0
"""Of a thousand one after another: their cost must not grow with their number."""
LIMIT_MEMORY_GIB = 4.0
LIMIT_DISK_RATIO = 3.0
"""Of the table as first written: old and new of a whole rewrite at once, and room for what was not yet dropped."""


def nightly(workspace: Workspace) -> None:
    """What a night does after its rows are written. Nobody reads here, so old versions go at once."""
    workspace.record.compact(workspace.ledger, keep=timedelta(0))


def disk_mib(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20


def read_s(workspace: Workspace) -> float:
    """The least of three medians: what else the machine did is no matter of the table."""
    with workspace.views() as reader:
        return min(timed(lambda: reader.sql(f"SELECT count(*) FROM ({TIER_10_CLAUSES})").item())[0] for _ in range(3))


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
    commit_s = []
    for number in range(num_commits):
        began = time.perf_counter()
        upsert(workspace, number * 7 % max(1, num_clips - 1), 1, seed=1000 + number)
        commit_s.append(time.perf_counter() - began)
    tenth = max(1, num_commits // 10)
    look()
    before_compaction_s = read_s(workspace)
    nightly(workspace)
    snapshot, diff = snapshots(workspace, num_clips)
    return {
        "machine": machine(),
        "clips": num_clips,
        "backfills": num_backfills,
        "commits": num_commits,
        "backfill_s_per_million": statistics.median(spent) * 1e6 / num_clips,
        "last_to_first_backfill": spent[-1] / spent[0],
        "commit_s": statistics.median(commit_s),
        "last_to_first_commit": statistics.median(commit_s[-tenth:]) / statistics.median(commit_s[:tenth]),
        "first_mib": first_mib,
        "high_ratio": high_mib[0] / first_mib,
        "after_ratio": after_mib[-1] / first_mib,
        "read_ratio": read_s(workspace) / first_read_s,
        "read_ratio_before_compaction": before_compaction_s / first_read_s,
        "snapshot_s": snapshot.median_s,
        "diff_s": diff.median_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def rows(told: dict[str, Any]) -> list[tuple[str, float, str, float | None]]:
    """(what, value, unit, limit)."""
    return [
        ("backfill of one signal, store time a million rows", told["backfill_s_per_million"], "s", LIMIT_BACKFILL_S_PER_MILLION),
        (f"the last of {told['backfills']} backfills against the first", told["last_to_first_backfill"], "x", None),
        ("a small commit, the median", told["commit_s"], "s", LIMIT_COMMIT_S),
        ("the last tenth of them against the first", told["last_to_first_commit"], "x", LIMIT_COMMIT_RATIO),
        ("disk at its highest, against the table first written", told["high_ratio"], "x", LIMIT_DISK_RATIO),
        ("disk after all backfills and compaction", told["after_ratio"], "x", None),
        (f"a tier after {told['commits']} small commits, not yet compacted, against fresh", told["read_ratio_before_compaction"], "x", None),
        ("the same, compacted", told["read_ratio"], "x", LIMIT_READ_RATIO),
        ("a snapshot after a change", told["snapshot_s"], "s", LIMIT_SNAPSHOT_S),
        ("diff with the one before", told["diff_s"], "s", LIMIT_DIFF_S),
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
