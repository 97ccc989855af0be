"""The warp draws what it was told: measured on the mesh that it moves, and on pixels."""

from __future__ import annotations

import numpy as np
import pytest

from modeling.motion import mouth_of
from serving.face_moves import LOWER_LIDS, UPPER_LIDS, face_moves
from serving.face_warp import FaceWarp
from tests.unit.serving.faces import SIDE, warp


@pytest.fixture(scope="module")
def drawn() -> FaceWarp:
    return warp()


def told(**values: float) -> np.ndarray:
    from modeling.motion import PARAMETERS

    motion = np.zeros(9, np.float32)
    for name, value in values.items():
        motion[PARAMETERS.index(name)] = value
    return motion


@pytest.mark.parametrize(
    ("change", "within"),
    [((0.1, 0, 0, 0), 0.03), ((0.2, 0, 0.1, 2), 0.05), ((0.05, 0.05, 0, 0), 0.03), ((0.05, -0.05, 0, 0), 0.03)],
)
def test_the_mouth_opens_and_widens_as_far_as_it_was_told(
    drawn: FaceWarp, change: tuple[float, ...], within: float
) -> None:
    moves = face_moves(drawn.moves.upright)
    made = mouth_of(moves.moved(moves.mouth + np.array(change), (0, 0))[None])[0] - moves.mouth
    assert abs(made[0] - change[0]) < within
    assert abs(made[1] - change[1]) < within


def test_lids_shut_and_the_rest_of_the_face_stays(drawn: FaceWarp) -> None:
    moves = drawn.moves
    shut = moves.moved(moves.mouth, (1.0, 0.0))
    right, left = (np.linalg.norm(shut[list(UPPER_LIDS[e])] - shut[list(LOWER_LIDS[e])], axis=1).max() for e in (0, 1))
    before = np.linalg.norm(moves.upright[list(UPPER_LIDS[0])] - moves.upright[list(LOWER_LIDS[0])], axis=1).max()
    assert left < 0.3 * before < right
    assert np.array_equal(shut[[1, 152, 13, 61]], moves.upright[[1, 152, 13, 61]])


def test_at_rest_the_picture_is_the_picture(drawn: FaceWarp) -> None:
    made = drawn.draw(told()).astype(int)
    assert made.shape == (SIDE, SIDE, 3)
    assert np.abs(made - drawn.plate.picture).mean() < 1.5


def test_an_open_mouth_shows_its_inside_and_nothing_above_the_nose_moves(drawn: FaceWarp) -> None:
    rest, open_ = drawn.draw(told()).astype(int), drawn.draw(told(jaw_open=4, jaw_rotation=2)).astype(int)
    vertices = drawn.vertices(told(jaw_open=4, jaw_rotation=2))
    assert vertices[14, 1] - vertices[13, 1] > 3
    dark_rest, dark = ((made.sum(axis=2) < 260).sum() for made in (rest, open_))
    assert dark > dark_rest + 30
    top = int(vertices[6, 1])
    assert np.abs(open_[:top] - rest[:top]).max() == 0


def test_the_head_moves_as_a_whole_and_the_edge_of_the_picture_stays(drawn: FaceWarp) -> None:
    rest, rolled = drawn.vertices(told()), drawn.vertices(told(roll=0.5, yaw=0.3, pitch=-0.3))
    nose = np.linalg.norm(rolled[1] - rest[1])
    assert nose > 2
    made, before = drawn.draw(told(roll=0.5)).astype(int), drawn.draw(told()).astype(int)
    frame = np.ones((SIDE, SIDE), bool)
    frame[3:-3, 3:-3] = False
    assert np.abs(made - before)[frame].mean() < 1
    clockwise = rolled[10] - rolled[152]
    assert clockwise[0] > (rest[10] - rest[152])[0]  # the forehead goes to the right


def test_a_frame_depends_on_its_motion_alone(drawn: FaceWarp) -> None:
    first = drawn.draw(told(jaw_open=2))
    drawn.draw(told(yaw=1, eye_blink_left=1))
    assert np.array_equal(drawn.draw(told(jaw_open=2)), first)


def test_motion_beyond_all_measure_is_held_within_bounds(drawn: FaceWarp) -> None:
    made = drawn.vertices(told(jaw_open=100, mouth_width=-100, lip_rounding=100, jaw_rotation=100, yaw=50, roll=-50))
    assert np.isfinite(made).all()
    assert np.abs(made - drawn.vertices(told())).max() < SIDE / 2
