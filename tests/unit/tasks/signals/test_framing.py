from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.face_geometry import CHIN, FOREHEAD
from tasks.signal import NotApplicable
from tasks.signals import framing
from tests.drawn_face import media_of
from tests.face_meshes import landmarks_of, no_landmarks, turned_face

TALL_PX = float(np.linalg.norm(turned_face()[CHIN, :2] - turned_face()[FOREHEAD, :2]))


def gray(level: int) -> np.ndarray:
    return np.full((360, 640, 3), level, np.uint8)


def row_of(
    center: tuple[float, float], *, scale: float = 1.0, levels: tuple[int, ...] = (90, 90, 90), grow: float = 0.0
) -> dict[str, Any]:
    media = media_of({25 * i: gray(level) for i, level in enumerate(levels)}, 25 * len(levels))
    faces = [
        turned_face(center_px=center, scale=scale * (1 + grow * i / (25 * len(levels) - 1)))
        for i in range(25 * len(levels))
    ]
    return dict(framing.compute(media, {"landmarks": landmarks_of(faces)}).row)


def test_a_head_in_the_middle_of_a_wide_picture() -> None:
    row = row_of((320, 150), scale=0.5)
    tall = TALL_PX * 0.5
    face = turned_face(center_px=(320, 150), scale=0.5)
    assert set(row) == {c.name for c in framing.SIGNAL.columns}
    assert row["completeness"] == 1
    assert row["head_cut_ratio"] == 0
    assert row["head_room"] == pytest.approx((face[FOREHEAD, 1] - framing.CROWN * tall) / 360, abs=0.002)
    assert row["below_chin"] == pytest.approx((360 - face[CHIN, 1]) / tall, abs=0.01)
    assert row["offset_x"] == pytest.approx(0, abs=0.002)
    assert row["face_height_ratio"] == pytest.approx(tall / 360, abs=0.002)
    assert row["eye_line"] == pytest.approx(face[[33, 263], 1].mean() / 360, abs=0.002)
    assert row["size_change"] < 0.01


def test_a_head_at_the_border_is_cut_and_incomplete() -> None:
    above, aside = row_of((320, 20)), row_of((600, 150))
    assert above["head_cut_ratio"] == aside["head_cut_ratio"] == 1
    assert above["head_room"] < 0
    # 600 px leaves 40 of the 1.2 face heights to the right.
    assert aside["completeness"] == pytest.approx((1.2 * TALL_PX + 40) / (2.4 * TALL_PX), abs=0.02)
    assert aside["offset_x"] == pytest.approx(280 / 640, abs=0.01)


def test_a_chin_at_the_border_shows_no_shoulders() -> None:
    row = row_of((320, 360 - 0.5 * TALL_PX))
    assert row["below_chin"] == pytest.approx(0, abs=0.1)
    assert row["completeness"] == pytest.approx(1.27 / 1.97, abs=0.05)


def test_a_face_that_comes_nearer() -> None:
    assert row_of((320, 180), scale=0.5, grow=1.0)["size_change"] == pytest.approx(1.95 / 1.05 - 1, abs=0.02)


def test_what_lies_beside_the_person_tells_of_the_background() -> None:
    still, flicker = row_of((320, 150), scale=0.5), row_of((320, 150), scale=0.5, levels=(80, 120))
    assert still["background_change"] == 0
    # Gray levels of 80 and 120 are 34.3 apart in luma of video range, a deviation of 17.2 of 219.
    assert flicker["background_change"] == pytest.approx(0.078, abs=0.003)
    assert 0.4 < still["background_ratio"] < 0.8
    filling = row_of((320, 180), scale=2.6, levels=(80, 120))
    assert (filling["background_ratio"], filling["background_change"]) == (0, 0)


def test_a_change_behind_the_person_only_is_not_the_person_s() -> None:
    frames = {}
    for i in range(2):
        image = gray(90)
        image[120:, 280:360] = 90 + 100 * i  # within the body
        frames[25 * i] = image
    faces = landmarks_of([turned_face(center_px=(320, 150), scale=0.5)] * 50)
    assert framing.compute(media_of(frames, 50), {"landmarks": faces}).row["background_change"] < 0.002


def test_no_face() -> None:
    with pytest.raises(NotApplicable, match="no face"):
        framing.compute(media_of({0: gray(0)}, 5), {"landmarks": no_landmarks()})
