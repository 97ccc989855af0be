from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.face_geometry import LEFT_EYE_OUTER, LIP_BOTTOM_INNER, LIP_TOP_INNER, POINT_SCALE, RIGHT_EYE_OUTER
from tasks.face_life import LIP_PLACES, Life, life_of, lip_redness
from tasks.face_looks import CHEEKS
from tests.drawn_face import media_of

NUM = 25


def mesh(moves_px: float) -> pa.Table:
    rows = []
    for frame in range(NUM):
        points = np.full((478, 3), 100.0)
        points[RIGHT_EYE_OUTER], points[LEFT_EYE_OUTER] = (60, 80, 0), (160, 80, 0)
        points[list(LIP_PLACES)], points[list(CHEEKS)] = (110, 140, 0), (80, 110, 0)
        points[LIP_TOP_INNER, 1] = 80.0
        points[LIP_BOTTOM_INNER, 1] += moves_px * np.sin(frame)
        rows.append({"frame": frame, "points": np.rint(points * POINT_SCALE).astype(int).ravel().tolist()})
    return pa.Table.from_pylist(rows, pa.schema([("frame", pa.int32()), ("points", pa.list_(pa.int16()))]))


def boxes(height: float) -> pa.Table:
    return pa.Table.from_pylist(
        [{"frame": f, "x0": 60, "x1": 160, "y0": 40.0, "y1": 40 + height} for f in range(0, NUM, 5)]
    )


def skin(lips: tuple[int, int, int]) -> np.ndarray:
    image = np.full((240, 320, 3), (205, 165, 145), np.uint8)
    image[130:150, 100:120] = lips
    return image


def life(height: float = 120, moves_px: float = 5.0, lips: tuple[int, int, int] = (190, 110, 110)) -> Life:
    return life_of(media_of({0: skin(lips)}, NUM), boxes(height), mesh(moves_px), [0])


def test_a_face_that_moves_and_has_red_lips_lives() -> None:
    told = life()
    assert told.height == pytest.approx(0.5)
    assert told.motion == pytest.approx(0.05 / np.sqrt(2), rel=0.2)
    assert told.redness > 8
    assert told.lives
    assert told.fills
    assert told.has_skin


def test_what_stands_still_what_is_small_and_what_is_of_stone() -> None:
    assert not life(moves_px=0.5).lives
    assert life(height=60).lives
    assert not life(height=60).fills
    assert not life(height=20).lives
    assert life(lips=(205, 165, 145)).redness == pytest.approx(0, abs=0.5)
    assert not life(lips=(205, 165, 145)).has_skin


def test_no_face_or_no_mesh_is_no_life() -> None:
    media = media_of({0: skin((190, 110, 110))}, NUM)
    assert life_of(media, boxes(120).slice(0, 0), mesh(5), [0]) == Life()
    assert life_of(media, boxes(120), mesh(5).slice(0, 3), [0]) == Life()


def test_lips_out_of_the_frame_tell_nothing() -> None:
    points = np.full((478, 3), 100.0)
    points[LIP_PLACES[0]] = (100, 400, 0)
    assert lip_redness(skin((190, 110, 110)), points) == 0
