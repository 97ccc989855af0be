from __future__ import annotations

import numpy as np

from benchmarks.scorecards.diarization import error_rate, errors, errors_by_piece


def test_errors_are_told_by_piece_under_one_naming_of_all() -> None:
    """Two seconds of ann, two of bob; the second found for bob is ann's, and one of silence is taken for speech."""
    truth = np.zeros((2, 125), bool)
    truth[0, :50] = truth[1, 50:100] = True
    found = np.zeros((2, 125), bool)
    found[1, :75] = found[0, 75:] = True
    by_second = errors_by_piece(truth, found, 25)
    assert by_second == [(0.0, 25.0), (0.0, 25.0), (25.0, 25.0), (0.0, 25.0), (25.0, 0.0)]
    assert errors(truth, found) == (50.0, 100.0)
    assert error_rate(by_second) == 0.5
    assert errors(truth, truth[::-1]) == (0.0, 100.0), "names are nobody's"
    assert errors(truth, np.zeros((0, 125), bool)) == (100.0, 100.0)
