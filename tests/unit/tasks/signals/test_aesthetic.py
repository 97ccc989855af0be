from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pytest

from tasks.face_geometry import Box
from tasks.signals import aesthetic, faces
from tests.drawn_face import draw_face, media_of


def scenery() -> np.ndarray:
    """A wide range of tones and colours with fine detail, softer away from the middle."""
    y, x = np.mgrid[:240, :320]
    waves = np.stack([127 + 90 * np.sin(x / 9), 127 + 90 * np.sin(y / 7), 127 + 90 * np.cos((x + y) / 11)], axis=-1)
    return np.clip(waves, 0, 255).astype(np.uint8)


def row_of(*scenes: np.ndarray) -> dict[str, float]:
    media = media_of({25 * i: s for i, s in enumerate(scenes)}, 25 * len(scenes))
    return dict(aesthetic.compute(media, {"faces": faces.compute(media, {}).timeline}).row)


def test_every_column_and_the_worst_frame() -> None:
    good, black = scenery(), np.zeros((240, 320, 3), np.uint8)
    row, alone = row_of(good, black), row_of(good)
    assert set(row) == {c.name for c in aesthetic.SIGNAL.columns}
    assert row["num_frames"] == 2
    assert row["score_min"] < 0.2 < alone["score"]
    assert row["score"] == pytest.approx((alone["score"] + row["score_min"]) / 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda i: cv2.GaussianBlur(i, (0, 0), 4),
        lambda i: (i * 0.25).astype(np.uint8),
        lambda i: (i * 0.2 + 100).astype(np.uint8),
        lambda i: np.clip(i * 3.0, 0, 255).astype(np.uint8),
        lambda i: np.repeat(i.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
    ],
    ids=["blurred", "dark", "flat", "blown out", "gray"],
)
def test_a_plain_fault_lowers_the_score(spoil) -> None:
    assert row_of(spoil(scenery()))["score"] < row_of(scenery())["score"] - 0.05


def test_colourfulness_is_hasler_and_suesstrunks() -> None:
    halves = np.zeros((2, 2, 3), np.uint8)
    halves[:, 0, 0] = 200  # red and black: rg is 200 and 0, yb 100 and 0
    assert aesthetic.colourfulness(halves) == pytest.approx(np.hypot(100, 50) + 0.3 * np.hypot(100, 50), rel=1e-5)
    assert aesthetic.colourfulness(np.full((4, 4, 3), 90, np.uint8)) == 0


def test_a_face_on_the_upper_third_beats_one_in_the_corner() -> None:
    wall = np.full((360, 640, 3), (90, 110, 130), np.uint8)
    good, corner = row_of(draw_face(wall, 320, 150, 120)), row_of(draw_face(wall, 570, 300, 120))
    assert good["placement_score"] > 0.9
    assert corner["placement_score"] < 0.5
    assert good["score"] > corner["score"]


def test_a_head_cut_by_the_frame_loses() -> None:
    whole = aesthetic.Subject(Box(0.4, 0.2, 0.6, 0.6), 0.5, 0.35, False)
    cut = aesthetic.Subject(Box(0.4, 0.0, 0.6, 0.6), 0.5, 0.35, True)
    assert aesthetic.placement(whole) == 1
    assert aesthetic.placement(cut) == pytest.approx(0.6)


def test_a_sharp_subject_before_a_soft_wall_stands_out() -> None:
    gray = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    soft = cv2.GaussianBlur(gray, (0, 0), 5)
    inside = Box(0.3, 0.3, 0.7, 0.7)
    soft[60:140, 60:140] = gray[60:140, 60:140]
    assert aesthetic.separation(soft, inside) > 3
    assert aesthetic.separation(gray, inside) == pytest.approx(0, abs=0.1)
    assert aesthetic.separation(gray, Box(0, 0, 1, 1)) == 0


def test_many_frames_are_thinned_out() -> None:
    media = media_of({25 * i: scenery() for i in range(20)}, 500)
    none = faces.compute(media_of({0: np.zeros((64, 64, 3), np.uint8)}, 5), {}).timeline
    assert isinstance(none, pa.Table)
    assert aesthetic.compute(media, {"faces": none}).row["num_frames"] == aesthetic.MAX_FRAMES
