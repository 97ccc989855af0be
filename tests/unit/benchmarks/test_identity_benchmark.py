"""The benchmark of the steps over all clips measures the steps themselves, and can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.identity import Found, measured
from benchmarks.scale_measures import comparison_s


def test_a_small_workspace_is_measured(tmp_path: Path) -> None:
    told = measured(tmp_path, num_clips=300, num_added=20, num_asked=30)
    assert (told.recall, told.f1) == (1.0, 1.0)
    assert min(*told.cpu_s.values(), told.peak_gib) > 0
    assert set(told.cpu_s) == {f"{when}{step}{more}" for when, more in (("first ", ""), ("", " after more clips"))
                               for step in ("grouping", "reference pairs", "choice among copies")} | {"unchanged"}  # fmt: skip
    assert comparison_s(200) > 0


def test_what_is_beyond_a_limit_fails() -> None:
    good = Found(
        1_000_000,
        {
            "first grouping": 3000.0,
            "grouping after more clips": 60.0,
            "choice among copies after more clips": 60.0,
            "unchanged": 10.0,
        },
        1.0,
        1.0,
        3.0,
    )
    assert good.wrong() == []
    for name, seconds in (("first grouping", 7000.0), ("grouping after more clips", 130.0), ("unchanged", 25.0)):
        assert len(replace(good, cpu_s={**good.cpu_s, name: seconds}).wrong()) == 1, name
    assert [len(replace(good, **bad).wrong()) for bad in ({"recall": 0.99}, {"f1": 0.9}, {"peak_gib": 4.1})] == [
        1,
        1,
        1,
    ]
