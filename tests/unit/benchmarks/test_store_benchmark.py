"""The benchmark of the store measures real tables, and can fail."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.store import is_within_limits, main
from tasks import tier

WHAT = (
    "tier of 10 clauses",
    "planning a night without change",
    "planning the same night again",
    "status",
    "backfill of one signal",
    "snapshot of a tier of 10 clauses after a change",
    "diff of two snapshots of 10 clauses",
)


def test_each_figure_has_a_limit_and_above_one_it_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[store.Measured] = []

    def within(found: list[store.Measured]) -> bool:
        limits.extend(found)
        return True

    monkeypatch.setattr(store, "is_within_limits", within)
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    assert main(["--clips", "2000", "--folder", str(tmp_path), "--svg", str(drawn / "tables.svg")]) == 0
    said = capsys.readouterr().out
    assert all(what in (drawn / name).read_text() for what in WHAT for name in ("tables.svg", "tables-memory.svg"))
    shutil.rmtree(drawn)
    assert [one.what for one in limits] == list(WHAT)
    assert all(f"| {what}, 2,000 clips (" in said for what in WHAT)
    assert all(one.median_s > 0 and one.limit_s > 0 and one.peak_gib > 0 for one in limits)
    good = [replace(one, median_s=one.limit_s, peak_gib=store.LIMIT_MEMORY_GIB) for one in limits]
    assert is_within_limits(good)
    for number in range(len(good)):
        slow = [replace(one, median_s=one.limit_s * (1.01 if i == number else 1)) for i, one in enumerate(good)]
        assert not is_within_limits(slow), slow[number].what
        assert not is_within_limits([*good, replace(good[number], peak_gib=1.01 * store.LIMIT_MEMORY_GIB)])
    # measured once; what is told of it is told again
    monkeypatch.setattr(store, "steps", lambda folder, num_clips, with_provenance: iter(limits))
    monkeypatch.setattr(store, "is_within_limits", lambda found: False)
    assert main(["--clips", "2000", "--folder", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_tier_has_ten_clauses(tmp_path: Path) -> None:
    workspace = store.filled(tmp_path, 400, True)
    store.upsert(workspace, 0, 400, seed=1)
    snapshot, diff = store.snapshots(workspace, 400)
    assert len(tier.parsed(workspace, "half").clauses) == 10
    assert snapshot.told.endswith(" clips in it")
    assert 100 < int(snapshot.told.split()[0]) < 300, "about a half"
    assert re.fullmatch(r"[1-9]\d* came, [1-9]\d* went", diff.told)
