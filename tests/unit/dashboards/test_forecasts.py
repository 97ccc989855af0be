"""What people read of a balanced snapshot and of a survey."""

from __future__ import annotations

import pytest

from dashboards.balance import balanced
from dashboards.survey import surveyed


def words(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_share_that_is_not_met_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    line = {"target": "tongue", "category": "en", "clips": 3, "before": 1.0, "asked": 0.5, "got": 1.0, "why": "others"}
    told = {"tier": "mine", "clips": 3, "snapshot": "abc", "sha256": "abcd", "margins": [line]}
    balanced(told)
    assert "en 3 100.0% 50.0% 100.0% others 1 shares are not met mine: 3 clips" in words(capsys)
    balanced({**told, "margins": [{**line, "got": 0.5, "why": ""}]})
    assert "every share is met" in words(capsys)


def test_a_forecast_is_told_with_its_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    span = {"value": 12.0, "low": 9.5, "high": 15.0}
    told = {
        "source": "footage [new]", "files": 1000, "bytes": 2_000_000_000, "sample": 200, "seed": 3, "hours": span,
        "cpu_hours": span, "gpu_hours": span, "gpu_signals": ["speech"], "gpu_device": "cpu", "grid": "/tmp/survey.mp4", "not_judged": {"mine": "no such column"},
        "yields": [{"tier": "gold", "files": {"value": 0.5, "low": 0.4, "high": 0.6}, "hours": span}],
        "rejected": [{"stage": "prefilter", "reason": "frozen [#]", "files": 7, "ratio": 0.035}],
        "clauses": [{"tier": "gold", "clause": "duration_s >= 4", "clips": 5}],
        "metadata": [{"field": "licence", "told": 3, "of": 200, "values": 1, "wrong": "1 lies", "verdict": "contradicted"}],
    }  # fmt: skip
    surveyed(told)
    shown = words(capsys)
    for part in (
        "footage [new]: 1,000 files, 2 GB",
        "12 [9.5, 15] CPU-hours",
        "GPU-hours 12 [9.5, 15], for speech; their models ran on the CPU here",
        "gold 50% [40%, 60%] 12 [9.5, 15]",
        "tier mine can't be judged: no such column",
        "7 prefilter: frozen [#]",
        "5 gold: duration_s >= 4",
        "licence 3 of 200 1 contradicted: 1 lies",
        "preview: /tmp/survey.mp4",
    ):
        assert part in shown
    surveyed({**told, "grid": "", "rejected": [], "clauses": [], "gpu_device": "cuda"})
    shown = words(capsys)
    assert "no clip to preview" in shown
    assert "ran on the CPU" not in shown
    surveyed({**told, "gpu_signals": [], "gpu_device": ""})
    assert "GPU-hours 0: no signal asks for a GPU" in words(capsys)
