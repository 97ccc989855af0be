"""The benchmark of the store measures real tables, and can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.store import is_within_limits, main

WHAT = (
    "tier of 10 clauses",
    "planning a night without change",
    "backfill of one signal",
    "snapshot after a change",
    "diff of two snapshots",
)


def test_each_figure_has_a_limit_and_above_one_it_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[store.Measured] = []

    def within(found: list[store.Measured]) -> bool:
        limits.extend(found)
        return True

    monkeypatch.setattr(store, "is_within_limits", within)
    assert main(["--clips", "2000", "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert [one.what for one in limits] == list(WHAT)
    assert all(f"| {what}, 2,000 clips (" in said for what in WHAT)
    assert all(one.median_s > 0 and one.limit_s > 0 for one in limits)
    good = [replace(one, median_s=one.limit_s) for one in limits]
    assert is_within_limits(good)
    for number in range(len(good)):
        slow = [replace(one, median_s=one.limit_s * (1.01 if i == number else 1)) for i, one in enumerate(good)]
        assert not is_within_limits(slow), slow[number].what
    tier, planned, *written = limits  # measured once; what is told of them is told again
    monkeypatch.setattr(store, "filled", lambda folder, num_clips, with_provenance: None)
    monkeypatch.setattr(store, "tier_query", lambda workspace: tier)
    monkeypatch.setattr(store, "planning", lambda workspace, runs: planned)
    monkeypatch.setattr(store, "writes", lambda workspace, num_clips: written)
    monkeypatch.setattr(store, "is_within_limits", lambda found: False)
    assert main(["--clips", "2000", "--folder", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []
