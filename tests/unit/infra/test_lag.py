import numpy as np
import pytest

from infra.lag import best_lag, lag_correlation


@pytest.mark.parametrize("late", [-9, -1, 0, 4, 10])
def test_a_track_that_comes_late_peaks_at_its_delay(late: int) -> None:
    track = np.random.default_rng(0).normal(size=(200, 3))
    curve = lag_correlation(np.roll(track, late, axis=0), track, np.full(3, 1 / 3), 15)
    lag, fraction, confidence = best_lag(curve)
    assert lag == late
    assert abs(fraction - late) < 0.1
    assert curve.max() == pytest.approx(1.0, abs=0.1)
    assert confidence > 0.8


def test_a_delay_between_two_frames_is_found_between_them() -> None:
    time = np.arange(400) / 25
    track, later = (np.sin(2 * np.pi * (time - delay)[:, None] * [0.9, 1.3, 2.1]) for delay in (0.0, 0.1))
    _, fraction, _ = best_lag(lag_correlation(later, track, np.full(3, 1 / 3), 10))
    assert fraction == pytest.approx(2.5, abs=0.1)


def test_weights_choose_the_features_that_count() -> None:
    rng = np.random.default_rng(0)
    track = rng.normal(size=(200, 2))
    moved = np.stack([np.roll(track[:, 0], 3), np.roll(track[:, 1], -6)], axis=1)
    assert best_lag(lag_correlation(moved, track, np.array([1.0, 0.0]), 15))[0] == 3
    assert best_lag(lag_correlation(moved, track, np.array([0.0, 1.0]), 15))[0] == -6


def test_a_constant_track_correlates_with_nothing() -> None:
    curve = lag_correlation(np.ones((60, 2)), np.random.default_rng(0).normal(size=(60, 2)), np.ones(2), 15)
    assert np.abs(curve).max() < 1e-6


def test_the_best_lag_at_the_edge_has_no_parabola() -> None:
    assert best_lag(np.arange(11.0)) == (5, 5.0, 5.0)


def test_too_few_common_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"20 common rows of 20, a search of \+-15 needs 30"):
        lag_correlation(np.zeros((20, 1)), np.zeros((99, 1)), np.ones(1), 15)


def test_a_span_is_heard_in_all_the_sound_around_it() -> None:
    rng = np.random.default_rng(0)
    track = rng.normal(size=(200, 2))
    late = np.roll(track, 15, axis=0)
    curve = lag_correlation(late, track, np.full(2, 0.5), 15, (80, 130))
    assert curve[30] == pytest.approx(1.0)
    np.testing.assert_allclose(
        lag_correlation(late, track, np.full(2, 0.5), 15, (0, 200)), lag_correlation(late, track, np.full(2, 0.5), 15)
    )
    edge = lag_correlation(late, track, np.full(2, 0.5), 15, (150, 200))
    assert edge[30] == pytest.approx(1.0), "35 rows are left at the end of the sound"
    with pytest.raises(ValueError, match=r"30 common rows of 200, a search of \+-16 needs 32"):
        lag_correlation(late, track, np.full(2, 0.5), 16, (80, 110))
