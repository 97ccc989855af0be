"""Histograms: counts, edges, thresholds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.charts import MAX_BINS, Mark, draw, histogram, number


def test_counts_lie_between_round_edges() -> None:
    made = histogram([0.0, 0.1, 0.11, 0.5, 1.0])
    assert made.edges[0] == 0.0
    assert made.edges[-1] == 1.0
    assert sum(made.counts) == 5
    assert made.counts[0] == 1
    assert made.counts[2] == 2
    assert made.counts[-1] == 1


def test_whole_numbers_have_bins_of_their_own() -> None:
    made = histogram([1, 1, 2, 4], whole=True)
    assert made.edges == (1, 2, 3, 4, 5)
    assert made.counts == (2, 1, 0, 1)


def test_a_long_tail_goes_into_the_last_bin_and_is_told() -> None:
    values = [i / 100 for i in range(200)] + [5000.0]
    made = histogram(values)
    assert made.high <= 3
    assert made.above == 1
    assert sum(made.counts) == 201


def test_thresholds_widen_the_range_but_do_not_squeeze_it() -> None:
    assert histogram([1.0, 2.0], include=[2.5]).high >= 2.5
    assert histogram([1.0, 2.0], include=[500.0]).high <= 3


def test_a_single_value_has_one_bin() -> None:
    assert histogram([0.0, 0.0]).counts == (2,)
    assert histogram([-3.5]).counts == (1,)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        histogram([])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.booleans())
def test_every_value_is_counted_once(values: list[float], whole: bool) -> None:
    values = [float(round(v)) for v in values] if whole else values
    made = histogram(values, whole=whole)
    assert sum(made.counts) == len(values)
    assert len(made.counts) <= MAX_BINS + 2
    assert len(made.edges) == len(made.counts) + 1
    assert list(made.edges) == sorted(made.edges)


def test_the_drawing_escapes_and_marks() -> None:
    made = histogram([0.0, 1.0])
    drawn = draw(made, [Mark("t<x>", 0.5, "≥ 0.5", "gold"), Mark("far", 9.0, "≥ 9", "gold")], label="<b>", unit="px")
    assert "<b>" not in drawn
    assert "t&lt;x&gt; ≥ 0.5" in drawn
    assert 'x1="150.00"' in drawn
    assert "far" not in drawn


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (0.001234, "0.00123"), (12.3456, "12.35"), (123456.7, "123,457"), (-0.5, "-0.5"), (100.0, "100")],
)
def test_numbers_for_people(value: float, told: str) -> None:
    assert number(value) == told
