"""The plot of growth."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks.growth import log_log


def test_equal_factors_are_equal_steps() -> None:
    drawn = ET.fromstring(log_log({"a < b": [(1e4, 0.01), (1e5, 0.1), (1e6, 1.0)]}, x="clips", y="seconds"))
    circles = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    (x0, y0), (x1, y1), (x2, y2) = circles
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y2
    told = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"10,000", "1,000,000", "0.01", "1", "clips", "seconds", "a < b"} <= set(told)


@pytest.mark.parametrize("series", [{}, {"a": [(1.0, 0.0)]}])
def test_what_has_no_logarithm_is_refused(series: dict[str, list[tuple[float, float]]]) -> None:
    with pytest.raises(ValueError, match="needs points above zero"):
        log_log(series, x="", y="")
