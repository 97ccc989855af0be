"""The known answers of the landmarks' scorecard, and that what it moves is found where it went."""

from __future__ import annotations

import os

import numpy as np
import pytest

from benchmarks.scorecards import landmarks, mediapipe_oracle
from tests.drawn_face import draw_face, wall


def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(40, 200, (478, 2))


def test_the_error_is_a_share_of_the_distance_between_the_eyes() -> None:
    truth = points()
    truth[landmarks.LEFT_EYE_OUTER], truth[landmarks.RIGHT_EYE_OUTER] = (150, 100), (100, 100)
    assert landmarks.error(truth, truth) == 0
    assert landmarks.error(truth + np.array([0, 5]), truth) == pytest.approx(0.1)


def test_points_go_where_the_picture_goes() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[60:64, 80:84] = 255
    turned, matrix = landmarks.moved(picture, 20.0, 0.75)
    there = matrix[:, :2] @ (81.5, 61.5) + matrix[:, 2]
    rows, columns = np.nonzero(turned[:, :, 0] > 60)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(there), abs=0.6)


def test_a_mean_face_fills_the_box() -> None:
    truth = points()
    laid = landmarks.mean_face_in_box(truth, np.random.default_rng(1).uniform(0, 1, (478, 2)))
    assert laid.min() >= truth.min()
    assert laid.max() <= truth.max()


def test_a_drawn_face_that_moves_is_found_nearer_than_one_that_stays() -> None:
    face = draw_face(wall(), 160, 110, 140)
    seen = landmarks.mesh_of(face)
    assert seen is not None
    found, stayed = landmarks.after_moves(face, seen[0])
    assert len(found) == len(landmarks.MOVES)
    assert np.median(found) < 0.5 * np.median(stayed)


def test_without_an_oracle_there_are_no_rows_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(mediapipe_oracle.ORACLE_PYTHON, raising=False)
    assert landmarks.beside_the_oracle({}, {}) == []
    assert "mediapipe 0.10.21" in capsys.readouterr().out


@pytest.mark.skipif(
    not os.environ.get(mediapipe_oracle.ORACLE_PYTHON), reason="no environment with mediapipe 0.10.21 is named"
)
def test_the_oracle_sees_the_drawn_face_where_we_do() -> None:
    face = draw_face(wall(), 160, 110, 140)
    seen = landmarks.mesh_of(face)
    assert seen is not None
    told = mediapipe_oracle.fits({"drawn": face})["drawn"]
    assert told.blendshapes.shape == (52,)
    assert landmarks.error(seen[0], told.points) < 0.1
