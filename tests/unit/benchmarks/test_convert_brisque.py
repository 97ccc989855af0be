from __future__ import annotations

import pickle

import numpy as np
import pytest

from benchmarks.scorecards.convert_brisque import read_ranges, read_svm


def test_ranges_are_read_without_unpickling() -> None:
    ranges = read_ranges(pickle.dumps({"min_": [0.5 + i for i in range(36)], "max_": [1.5 + i for i in range(36)]}, 4))
    assert ranges["low"].tolist() == [0.5 + i for i in range(36)]
    assert ranges["high"][0] == 1.5
    with pytest.raises(ValueError, match="expected min_ and max_ of 36 features"):
        read_ranges(pickle.dumps({"min_": [0.5]}, 4))


def test_support_vectors_are_sparse_text() -> None:
    svm = read_svm("svm_type epsilon_svr\ngamma 0.05\nrho -2\nSV\n1.5 1:0.25 36:-1\n-1 2:3\n")
    assert svm["weights"].tolist() == [1.5, -1.0]
    assert svm["vectors"].shape == (2, 36)
    assert svm["vectors"][0, [0, 35]].tolist() == [0.25, -1.0]
    assert float(svm["rho"]) == -2
    assert np.isclose(float(svm["gamma"]), 0.05)
