from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scorecards.rendered_head import PUPIL, SCLERA, SIDE_PX, Skin, render
from tasks.face_geometry import NOSE_TIP
from tasks.head_geometry import NUM_CANONICAL, canonical_face
from tests.face_meshes import turned_face


@pytest.fixture(scope="module")
def skin() -> Skin:
    """Gray skin with a red tip of the nose."""
    points = turned_face(center_px=(128, 128))[:NUM_CANONICAL, :2]
    image = np.full((256, 256, 3), 128, np.uint8)
    x, y = np.rint(points[NOSE_TIP]).astype(int)
    image[y - 4 : y + 5, x - 4 : x + 5] = (255, 0, 0)
    return Skin(image, points)


def middle_of(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    near = np.abs(image.astype(int) - colour).max(axis=2) < 15
    return np.argwhere(near).mean(axis=0)[::-1] - (SIDE_PX - 1) / 2


def test_the_nose_goes_where_the_head_is_turned(skin: Skin) -> None:
    shape = canonical_face().points
    still, turned = (middle_of(render(skin, shape, told), (255, 0, 0)) for told in ((0, 0, 0), (25, 20, 0)))
    assert still[0] == pytest.approx(0, abs=1)
    assert turned[0] - still[0] > 30
    assert still[1] - turned[1] > 25


def test_the_irises_go_where_the_eyes_look(skin: Skin) -> None:
    shape = canonical_face().points
    ahead, right = (render(skin, shape, (0, 0, 0), gaze) for gaze in ((0, 0), (20, 0)))
    assert (np.abs(ahead.astype(int) - SCLERA).max(axis=2) < 20).sum() > 50
    below_the_hair = slice(SIDE_PX // 2, None)
    assert middle_of(ahead[below_the_hair], PUPIL)[0] == pytest.approx(0, abs=1)
    assert middle_of(right[below_the_hair], PUPIL)[0] == pytest.approx(6, abs=1.5)
