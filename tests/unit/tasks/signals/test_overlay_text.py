from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.signals import faces, overlay_text
from tests.drawn_face import draw_face, media_of, wall

NO_FACES = faces.compute(media_of({0: wall()}, 5), {}).timeline


def write(scene: np.ndarray, text: str, x: int, y: int, size: float = 1.0) -> np.ndarray:
    scene = scene.copy()
    cv2.putText(scene, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 2, cv2.LINE_AA)
    return scene


def test_a_caption_is_read() -> None:
    plain = wall(640, 360)
    media = media_of({0: plain, 50: write(plain, "Breaking News 2024", 150, 330), 100: plain}, 125)
    row = overlay_text.compute(media, {"faces": NO_FACES}).row
    assert row["text"] == "Breaking News 2024"
    assert row["char_count"] == 16
    assert row["num_boxes"] == 1
    assert row["num_frames"] == 3
    assert row["persistent_ratio"] == pytest.approx(1 / 3)
    width, height = cv2.getTextSize("Breaking News 2024", cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)[0]
    # The detector leaves a margin of about half a letter around the line.
    assert 1 < row["text_ratio"] / (width * height / (640 * 360) / 3) < 2.5
    assert row["over_face_ratio"] == 0
    assert set(row) == {c.name for c in overlay_text.SIGNAL.columns}


def test_a_watermark_persists_over_changing_scenes_and_is_counted_once() -> None:
    grounds = [np.full((360, 640, 3), c, np.uint8) for c in (40, 90, 130)]
    media = media_of({50 * i: write(g, "SampleTV", 470, 40, 0.8) for i, g in enumerate(grounds)}, 150)
    row = overlay_text.compute(media, {"faces": NO_FACES}).row
    assert row["text"] == row["watermark"] == "SampleTV"
    assert row["num_boxes"] == 1
    assert row["persistent_ratio"] == 1
    assert row["watermark_ratio"] == pytest.approx(row["text_ratio"], rel=0.1)


def test_a_caption_that_goes_or_a_sign_that_moves_is_no_watermark() -> None:
    ground = np.full((360, 640, 3), 60, np.uint8)
    gone = [write(ground, "SampleTV", 470, 40, 0.8)] * 2 + [ground]
    moving = [write(ground, "SampleTV", 400 + 5 * i, 100, 0.8) for i in range(3)]
    short = [write(ground, "SampleTV", 470, 40, 0.8)] * 2
    for scenes in (gone, moving, short):
        media = media_of({50 * i: scene for i, scene in enumerate(scenes)}, 50 * len(scenes))
        row = overlay_text.compute(media, {"faces": NO_FACES}).row
        assert row["num_boxes"] == 1
        assert (row["watermark"], row["watermark_ratio"]) == ("", 0)


def test_the_timeline_says_what_stood_where_and_when() -> None:
    ground = np.full((360, 640, 3), 60, np.uint8)
    marked = write(ground, "SampleTV", 470, 40, 0.8)
    media = media_of({0: marked, 50: write(marked, "Hello there", 100, 300), 100: ground}, 150)
    lines = overlay_text.compute(media, {"faces": NO_FACES}).timeline
    assert lines is not None
    told = lines.to_pylist()
    assert [(t["frame"], t["piece"], t["text"]) for t in told] == [
        (0, 0, "SampleTV"), (50, 0, "SampleTV"), (50, 1, "Hello there"),
    ]  # fmt: skip
    (width, height), below = cv2.getTextSize("Hello there", cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
    assert told[2]["x0"] == pytest.approx(100, abs=12)
    assert told[2]["x1"] == pytest.approx(100 + width, abs=12)
    assert told[2]["y0"] == pytest.approx(300 - height, abs=12)
    assert told[2]["y1"] == pytest.approx(300 + below, abs=12)


def test_no_text_is_zero_and_empty() -> None:
    media = media_of({0: draw_face(wall(640, 360), 320, 160, 180)}, 50)
    row = overlay_text.compute(media, {"faces": NO_FACES}).row
    assert row["text"] == ""
    assert (row["num_boxes"], row["char_count"], row["text_ratio"], row["persistent_ratio"]) == (0, 0, 0, 0)


def test_text_over_the_face() -> None:
    face = draw_face(wall(640, 360), 320, 160, 180)
    found = faces.compute(media_of({0: face}, 5), {}).timeline
    over = media_of({0: write(face, "SUBSCRIBE", 240, 200)}, 50)
    beside = media_of({0: write(face, "SUBSCRIBE", 10, 340)}, 50)
    assert overlay_text.compute(over, {"faces": found}).row["over_face_ratio"] > 0.05
    assert overlay_text.compute(beside, {"faces": found}).row["over_face_ratio"] == 0


def test_a_clock_is_read_anew_and_a_still_caption_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read_text = overlay_text.read_text

    def counted(image: np.ndarray, corners: np.ndarray) -> str:
        reads.append(read_text(image, corners))
        return reads[-1]

    monkeypatch.setattr(overlay_text, "read_text", counted)
    plain = wall(640, 360)
    still = media_of({50 * i: write(plain, "Still caption", 150, 330) for i in range(3)}, 150)
    assert overlay_text.compute(still, {"faces": NO_FACES}).row["text"] == "Still caption"
    assert len(reads) == 1
    clock = media_of({50 * i: write(plain, f"01:00:0{i}:00", 200, 200) for i in range(3)}, 150)
    row = overlay_text.compute(clock, {"faces": NO_FACES}).row
    assert row["text"].split() == ["01:00:00:00", "01:00:01:00", "01:00:02:00"]
    assert row["persistent_ratio"] == pytest.approx(1 / 3)
