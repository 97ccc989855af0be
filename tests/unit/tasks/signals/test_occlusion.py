from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.damage import degrade
from tasks.drawn_covers import covered_image, mouth_center
from tasks.face_geometry import points_of
from tasks.signal import NotApplicable
from tasks.signals import faces, landmarks, occlusion
from tests.drawn_face import draw_face, media_of, wall
from tests.face_meshes import landmarks_of, no_landmarks, turned_face


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A drawn face, and the mesh that is found on it."""
    image = draw_face(wall(640, 480), 320, 220, 260)
    media = media_of({0: image}, 1)
    mesh = landmarks.compute(media, {"faces": faces.compute(media, {}).timeline}).timeline
    assert mesh is not None
    return image, points_of(mesh)[0]


def test_the_share_of_time_with_a_covered_mouth(scene: tuple[np.ndarray, np.ndarray]) -> None:
    image, points = scene
    covered = covered_image(image, points, "microphone", mouth_center(points), np.random.default_rng(0))[0]
    media = media_of({0: image, 25: image, 50: covered, 75: image}, 100)
    output = occlusion.compute(media, {"landmarks": landmarks_of([points] * 100)})
    row, timeline = output.row, output.timeline
    assert set(row) == {c.name for c in occlusion.SIGNAL.columns}
    assert row["num_frames"] == 4
    assert row["mouth_covered_ratio"] == 0.25
    assert row["mouth_max_score"] > 0.7
    assert row["mouth_score"] < 0.6
    assert timeline is not None
    assert timeline["frame"].to_pylist() == [0, 0, 25, 25, 50, 50, 75, 75]
    assert timeline["region"].to_pylist() == ["mouth", "face"] * 4
    mouths = timeline.filter(pa.array([True, False] * 4)).to_pylist()
    assert max(mouths, key=lambda m: m["score"])["frame"] == 50
    x, y = mouth_center(points)
    assert all(m["x0"] < x < m["x1"] and m["y0"] < y < m["y1"] for m in mouths)
    free = occlusion.compute(media_of({0: image}, 25), {"landmarks": landmarks_of([points] * 25)}).row
    assert free["mouth_max_score"] == free["mouth_score"] < 0.5
    assert free["face_covered_ratio"] == 0


def test_each_thing_scores_above_the_free_face(scene: tuple[np.ndarray, np.ndarray]) -> None:
    image, points = scene
    free = occlusion.covered_score(image, points, "mouth")
    for kind in ("hand", "box", "microphone"):
        shown = covered_image(image, points, kind, mouth_center(points), np.random.default_rng(1))[0]
        assert occlusion.covered_score(shown, points, "mouth") > free + 0.2, kind


def test_where_there_is_nothing_to_look_at() -> None:
    media = media_of({0: wall()}, 25)
    with pytest.raises(NotApplicable, match="no face"):
        occlusion.compute(media, {"landmarks": no_landmarks()})
    with pytest.raises(NotApplicable, match="the face is turned away"):
        occlusion.compute(media, {"landmarks": landmarks_of([turned_face((40, 0, 0))] * 5)})
    with pytest.raises(NotApplicable, match="too little detail"):
        occlusion.compute(media, {"landmarks": landmarks_of([turned_face(center_px=(160, 120))] * 5)})
    late = landmarks_of([turned_face()] * 5, start_frame=15)
    with pytest.raises(NotApplicable, match="no face on a sampled frame"):
        occlusion.compute(media, {"landmarks": late})


def test_a_blurred_frame_tells_nothing_and_a_damaged_one_is_free(scene: tuple[np.ndarray, np.ndarray]) -> None:
    image, points = scene
    soft = degrade(degrade(image, "blur", 12.0), "blur", 12.0)
    media = media_of({0: image, 25: soft, 50: degrade(image, "blur", 4.0), 75: degrade(image, "jpeg", 14)}, 100)
    output = occlusion.compute(media, {"landmarks": landmarks_of([points] * 100)})
    assert output.timeline is not None
    assert output.timeline["frame"].to_pylist() == [0, 0, 50, 50, 75, 75]
    assert output.row["num_frames"] == 3
    assert output.row["mouth_covered_ratio"] == 0
