"""Statistics whose answers are known by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from benchmarks.scorecards.score import (
    Row,
    auc,
    auc_of_pairs,
    bootstrap_ci,
    expected_calibration_error,
    media_root,
    print_table,
    spearman,
    to_json,
)


def test_auc_counts_ties_half() -> None:
    assert auc([2, 3], [0, 1]) == 1.0
    assert auc([1, 1], [1, 1]) == 0.5
    assert auc([1, 2], [1, 3]) == pytest.approx(1.5 / 4)
    assert auc_of_pairs([(2, True), (1, False), (0, True)]) == 0.5
    assert math.isnan(auc([], [1]))


def test_spearman_sees_order_only() -> None:
    assert spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_bootstrap_interval_covers_and_widens_with_fewer_people() -> None:
    rng = np.random.default_rng(1)
    many = {f"p{i}": list(rng.normal(i % 5, 0.1, 4)) for i in range(40)}
    few = {p: many[p] for p in list(many)[:5]}
    value, low, high = bootstrap_ci(many, lambda v: float(np.mean(v)))
    assert low < value < high
    assert abs(value - 2) < 0.1
    _, few_low, few_high = bootstrap_ci(few, lambda v: float(np.mean(v)))
    assert few_high - few_low > high - low
    assert bootstrap_ci(many, lambda v: float(np.mean(v))) == (value, low, high)


def test_bootstrap_resamples_people_not_values() -> None:
    one_person = {"a": [0.0, 1.0] * 50}
    assert bootstrap_ci(one_person, lambda v: float(np.mean(v))) == (0.5, 0.5, 0.5)


def test_bootstrap_needs_values() -> None:
    with pytest.raises(ValueError, match="no person has a value"):
        bootstrap_ci({"a": []}, lambda v: float(np.mean(v)))


def _row(value: float, low: float, high: float, goal: float | None, better: str = "higher") -> Row:
    return Row("s", "c", "m", value, low, high, 5, 2, 0.5, goal, better, "naive")  # type: ignore[arg-type]


def test_a_goal_is_missed_only_by_the_whole_interval() -> None:
    assert _row(0.8, 0.7, 0.85, 0.9).verdict == "missed"
    assert _row(0.8, 0.7, 0.95, 0.9).verdict == "open"
    assert _row(0.92, 0.7, 0.95, 0.9).verdict == "met"
    assert _row(3.0, 2.0, 4.0, 1.0, "lower").verdict == "missed"
    assert _row(0.5, 0.2, 4.0, 1.0, "lower").verdict == "met"
    assert _row(1, 1, 1, None).verdict == ""


def test_tables_show_everything(capsys: pytest.CaptureFixture[str]) -> None:
    row = _row(0.92, 0.7, 0.95, 0.9)
    print_table([row])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "| s | c | m | 0.92 [0.7, 0.95] | 5 / 2 | 0.5 naive | >= 0.9 | met |"
    assert json.loads(to_json([row]))[0]["verdict"] == "met"


def test_no_footage_is_said(tmp_path: object) -> None:
    with pytest.raises(ValueError, match=r"no manifest\.jsonl"):
        media_root(str(tmp_path))


def test_the_calibration_error_is_the_gap_of_each_bin_by_its_share() -> None:
    assert expected_calibration_error([(0.75, 1.0), (0.75, 1.0), (0.75, 1.0), (0.75, 0.0)]) == 0
    assert expected_calibration_error([(1.0, 0.0), (0.25, 0.25)]) == pytest.approx(0.5)
