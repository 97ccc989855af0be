"""The benchmark of upkeep measures real tables, and can fail."""

from __future__ import annotations

from pathlib import Path

from benchmarks.store import clip_ids
from benchmarks.upkeep import is_within_limits, measured, report


def test_backfills_commits_and_snapshots_of_a_small_table(tmp_path: Path) -> None:
    told = measured(tmp_path, num_clips=2000, num_backfills=1, num_commits=3)
    assert told["first_mib"] > 0
    assert told["high_ratio"] > 1, "a rewrite holds old and new rows"
    assert 0 < told["after_ratio"] < told["high_ratio"], "compaction gives room back"
    assert all(told[name] > 0 for name in ("backfill_s_per_million", "read_ratio", "snapshot_s", "diff_s", "peak_gib"))
    assert "| peak memory |" in report(told)


def test_what_is_above_a_limit_fails() -> None:
    told = {
        "backfills": 30, "commits": 1000, "backfill_s_per_million": 50.0, "last_to_first_backfill": 9.0, "high_ratio": 2.0,
        "after_ratio": 1.0, "read_ratio": 1.2, "read_ratio_before_compaction": 9.0, "snapshot_s": 1.0, "diff_s": 1.0,
        "peak_gib": 2.0, "commit_s": 0.5, "last_to_first_commit": 1.5,
    }  # fmt: skip
    assert is_within_limits(told)
    assert not is_within_limits({**told, "read_ratio": 1.6})
    assert not is_within_limits({**told, "peak_gib": 4.1})
    assert not is_within_limits({**told, "last_to_first_commit": 3.1})


def test_ids_are_those_of_the_generated_table() -> None:
    assert clip_ids(3, 2) == ["0000000000000000-3", "0000000000000001-0"]
