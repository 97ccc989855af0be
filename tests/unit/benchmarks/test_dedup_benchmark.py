"""The benchmark of near-duplicates measures a real table and a real index, and can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import dedup
from benchmarks.dedup import Found, measured
from store import nearest


def test_a_small_table_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "DIM", 32)
    monkeypatch.setattr(dedup, "ROWS", 500)
    monkeypatch.setattr(nearest, "INDEX_FROM_ROWS", nearest.INDEX_FROM_ROWS)
    told = measured(tmp_path, num_clips=1000, num_asked=5)
    assert (told.clips, told.originals) == (1000, 1.0)
    assert told.recall > 0.9
    assert min(told.brute_s, told.build_s, told.build_cpu_s, told.cpu_ms_per_clip, told.peak_gib) > 0


def test_what_is_beyond_a_limit_fails() -> None:
    good = Found(1_000_000, 10.0, 300.0, 300.0, 20.0, 1.0, 1.0, 2.0)
    assert good.wrong() == []
    for bad in (
        {"recall": 0.9},
        {"originals": 0.9},
        {"build_cpu_s": 901.0},
        {"cpu_ms_per_clip": 101.0},
        {"peak_gib": 4.1},
    ):
        assert len(replace(good, **bad).wrong()) == 1, bad  # type: ignore[arg-type]
