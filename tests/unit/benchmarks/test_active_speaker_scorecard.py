import numpy as np
import pytest

from benchmarks.scorecards.active_speaker import Judged, calibration_error, judged_by_others, logistic


def people(middle: float, slope: float, seed: int = 0) -> dict[str, list[Judged]]:
    """Margins whose odds are what the middle and slope say, of forty people."""
    rng = np.random.default_rng(seed)
    margin = rng.uniform(middle - 6 * slope, middle + 6 * slope, (40, 50))
    speaks = rng.random(margin.shape) < 1 / (1 + np.exp(-(margin - middle) / slope))
    return {
        f"person {p}": [Judged(0.5, m, 0.0, bool(s)) for m, s in zip(margin[p], speaks[p], strict=True)]
        for p in range(len(margin))
    }


def test_the_fit_finds_the_middle_and_slope_that_made_the_margins() -> None:
    found = logistic([v for values in people(0.2, 0.04).values() for v in values])
    assert found == (pytest.approx(0.2, abs=0.01), pytest.approx(0.04, abs=0.005))


def test_a_person_is_judged_by_the_others_alone() -> None:
    values = people(0.1, 0.02)
    turned = {**values, "person 0": [Judged(0.5, v.margin, 0.0, not v.speaks) for v in values["person 0"]]}
    first, second = (judged_by_others(told)["person 0"] for told in (values, turned))
    assert [v.score for v in first] == [v.score for v in second]
    every = [v for own in judged_by_others(values).values() for v in own]
    assert calibration_error(every) < 0.05
    assert calibration_error([v for own in values.values() for v in own]) < 0.02  # one half, always: right on average
    assert calibration_error([Judged(float(v.margin > 0.1), v.margin, 0.0, v.speaks) for v in every]) > 0.08
