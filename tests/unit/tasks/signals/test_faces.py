from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.signals import faces
from tests.drawn_face import draw_face, media_of, wall


def test_a_drawn_face_is_found_where_it_was_drawn() -> None:
    scene = draw_face(wall(640, 480), 400, 200, 150)
    rows = faces.compute(media_of({0: scene, 5: wall(640, 480)}, 10), {}).timeline.to_pylist()
    assert [r["frame"] for r in rows] == [0]
    (row,) = rows
    assert (row["x0"] + row["x1"]) / 2 == pytest.approx(400, abs=8)
    assert row["y1"] - row["y0"] == pytest.approx(150, rel=0.15)
    assert row["right_eye_x"] == pytest.approx(400 - 24, abs=9)
    assert row["left_eye_x"] == pytest.approx(400 + 24, abs=9)
    assert row["right_eye_y"] == pytest.approx(200 - 14, abs=6)
    assert row["score"] > 0.85


def test_faces_are_numbered_by_size_and_cut_at_the_border() -> None:
    scene = draw_face(draw_face(wall(640, 360), 100, 150, 90), 600, 150, 180)
    rows = faces.compute(media_of({0: scene}, 5), {}).timeline.to_pylist()
    assert [r["face"] for r in rows] == [0, 1]
    assert rows[0]["x0"] > 400 > rows[1]["x1"]
    assert rows[0]["x1"] == 640


def test_a_small_face_is_found_at_full_size_only() -> None:
    scene = draw_face(wall(640, 360), 320, 180, 26)
    media = media_of({0: scene}, 5)
    small = faces._detect(media.image(0, faces.SMALL_SIDE_PX), 2.0, faces.MIN_SCORE)
    assert len(small) == 0
    assert faces.compute(media, {}).timeline.num_rows == 1


def test_nothing_is_found_on_black_noise_or_no_frames() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    media = media_of({0: np.zeros((240, 320, 3), np.uint8), 5: noise}, 10)
    table = faces.compute(media, {}).timeline
    assert table.num_rows == 0
    assert table.column_names == ["frame", *(c.name for c in faces.SIGNAL.timeline)]


def test_the_same_frame_gives_the_same_row() -> None:
    scene = draw_face(wall(), 150, 110, 120)
    media = media_of({0: scene}, 5)
    assert faces.compute(media, {}).timeline == faces.compute(media_of({0: scene}, 5), {}).timeline


def test_a_real_face(real_media: Path) -> None:
    from benchmarks.scorecards.footage import media_of as footage_media
    from benchmarks.scorecards.footage import read_frames

    frames, _ = read_frames(real_media / "talk" / "lipnet__lbax4n.mpg", 5, max_s=1)
    table = faces.compute(footage_media(frames, 5), {}).timeline
    assert table["frame"].to_pylist() == [5 * i for i in range(len(frames))]


def test_a_box_that_overflows_is_no_face(monkeypatch: pytest.MonkeyPatch) -> None:
    class Overflowing:
        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802 - OpenCV's name
            self.size = size

        def detect(self, image: np.ndarray) -> tuple[int, np.ndarray]:
            found = np.ones((2, 15), np.float32)
            found[0, 3] = np.inf
            return 2, found

    monkeypatch.setattr(faces, "_detector", Overflowing)
    rows = faces.compute(media_of({0: wall(640, 26)}, 5), {}).timeline.to_pylist()
    assert len(rows) == 1
