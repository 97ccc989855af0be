from __future__ import annotations

import pytest

from tasks.signal import NotApplicable
from tasks.signals import face_track, faces, landmarks
from tests.drawn_face import draw_face, media_of, wall


def test_size_place_and_share() -> None:
    scenes = {f: wall(640, 360) if f >= 15 else draw_face(wall(640, 360), 160, 180, 120) for f in range(20)}
    media = media_of(scenes, 20, source_width_px=1920)
    found = faces.compute(media, {}).timeline
    mesh = landmarks.compute(media, {"faces": found}).timeline
    row = face_track.compute(media, {"faces": found, "landmarks": mesh}).row
    assert set(row) == {c.name for c in face_track.SIGNAL.columns}
    assert row["face_ratio"] == row["coverage"] == 0.75
    assert row["num_tracks"] == row["num_faces_max"] == 1
    assert row["num_faces_mean"] == 0.75
    assert row["main_face_height_px"] == pytest.approx(3 * 120, rel=0.15)
    assert row["center_x"] == pytest.approx(0.25, abs=0.02)
    assert row["center_y"] == pytest.approx(0.5, abs=0.05)
    assert row["center_range_ratio"] < 0.05
    assert row["mouth_visible_ratio"] == 0.75


def test_two_faces_are_two_tracks_and_the_larger_is_main() -> None:
    scene = draw_face(draw_face(wall(640, 360), 150, 170, 90), 450, 180, 160)
    media = media_of({0: scene, 5: scene}, 10)
    found = faces.compute(media, {}).timeline
    empty = landmarks.compute(media_of({0: wall()}, 5), {"faces": found.slice(0, 0)}).timeline
    row = face_track.compute(media, {"faces": found, "landmarks": empty}).row
    assert row["num_tracks"] == row["num_faces_max"] == 2
    assert row["center_x"] == pytest.approx(450 / 640, abs=0.02)
    assert row["mouth_visible_ratio"] == 0


def test_a_mouth_beyond_the_border_is_not_visible() -> None:
    scenes = {f: draw_face(wall(320, 240), 160, 200, 160) for f in range(5)}
    media = media_of(scenes, 5)
    found = faces.compute(media, {}).timeline
    assert found.num_rows == 1
    mesh = landmarks.compute(media, {"faces": found}).timeline
    assert face_track.compute(media, {"faces": found, "landmarks": mesh}).row["mouth_visible_ratio"] == 0


def test_no_face() -> None:
    media = media_of({0: wall()}, 5)
    found = faces.compute(media, {}).timeline
    with pytest.raises(NotApplicable, match="no face"):
        face_track.compute(media, {"faces": found, "landmarks": found})
