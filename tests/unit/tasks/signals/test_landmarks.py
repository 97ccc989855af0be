from __future__ import annotations

import numpy as np
import pytest

from tasks.face_geometry import LIP_BOTTOM_INNER, LIP_TOP_INNER, NOSE_TIP, blendshapes_of, points_of
from tasks.face_mesh import BLENDSHAPE_INPUTS, BLENDSHAPES
from tasks.signals import faces, landmarks
from tests.drawn_face import draw_face, media_of, wall


def test_the_mesh_follows_a_face_between_detections() -> None:
    scenes = {f: draw_face(wall(480, 320), 200 + 4 * f, 150, 150) for f in range(8)}
    media = media_of(scenes, 8)
    found = faces.compute(media, {}).timeline
    assert found["frame"].to_pylist() == [0, 5]
    table = landmarks.compute(media, {"faces": found}).timeline
    assert table["frame"].to_pylist() == list(range(8))
    nose = points_of(table)[:, NOSE_TIP, 0]
    assert np.diff(nose) == pytest.approx([4] * 7, abs=2.5)
    assert nose[0] == pytest.approx(200, abs=8)
    assert table["x0"].to_pylist()[0] < 160 < 240 < table["x1"].to_pylist()[0]
    frames, weights = blendshapes_of(table)
    assert frames.tolist() == [0, 5]
    assert weights.shape == (2, 52)


def test_an_open_mouth_is_seen_open() -> None:
    scenes = {0: draw_face(wall(), 160, 110, 160), 5: draw_face(wall(), 160, 110, 160, mouth_open=1.0)}
    media = media_of(scenes, 10)
    table = landmarks.compute(media, {"faces": faces.compute(media, {}).timeline}).timeline
    points = points_of(table)
    gap = points[:, LIP_BOTTOM_INNER, 1] - points[:, LIP_TOP_INNER, 1]
    assert gap[1] > gap[0] + 5
    jaw_open = blendshapes_of(table)[1][:, BLENDSHAPES.index("jaw_open")]
    assert jaw_open[1] > jaw_open[0]


def test_no_face_no_rows() -> None:
    media = media_of({f: wall() for f in range(5)}, 5)
    table = landmarks.compute(media, {"faces": faces.compute(media, {}).timeline}).timeline
    assert table.num_rows == 0
    assert table.column_names == ["frame", *(c.name for c in landmarks.SIGNAL.timeline)]


def test_a_crop_without_a_face_has_no_row() -> None:
    told = faces.compute(media_of({0: draw_face(wall(), 160, 110, 120)}, 5), {}).timeline
    empty = media_of({0: wall()}, 5)
    assert landmarks.compute(empty, {"faces": told}).timeline.num_rows == 0


def test_context_is_used_but_not_returned() -> None:
    scenes = {f: draw_face(wall(), 100 + f, 110, 120) for f in range(20, 36)}
    media = media_of(scenes, 30, start_frame=25)
    everything = media_of(scenes, 40, start_frame=20)
    found = faces.compute(everything, {}).timeline
    assert found["frame"].to_pylist() == [20, 25, 30, 35]
    table = landmarks.compute(media, {"faces": found}).timeline
    assert table["frame"].to_pylist() == [25, 26, 27, 28, 29]
    whole = landmarks.compute(everything, {"faces": found}).timeline
    assert points_of(table)[4].tolist() == points_of(whole)[9].tolist()


def test_the_blendshape_inputs_are_complete() -> None:
    assert len(BLENDSHAPE_INPUTS) == 146
    assert len(set(BLENDSHAPE_INPUTS)) == 146
    assert tuple(sorted(BLENDSHAPE_INPUTS)) == BLENDSHAPE_INPUTS
    assert len(BLENDSHAPES) == 52
