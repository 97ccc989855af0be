from __future__ import annotations

import numpy as np
import pytest

from tasks.media.prefilter import perceptual_hash
from tasks.signal import NotApplicable, Output
from tasks.signals import phash
from tasks.signals.phash import bits_apart
from tests.drawn_face import draw_face, media_of, wall


def made_of(*scenes: np.ndarray) -> Output:
    return phash.compute(media_of({25 * i: s for i, s in enumerate(scenes)}, 25 * len(scenes)), {})


def textured(seed: int) -> np.ndarray:
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC))


def distance(one: Output, other: Output) -> int:
    return bits_apart(int(one.row["hash"], 16), int(other.row["hash"], 16))


def test_a_still_has_one_hash() -> None:
    made = made_of(textured(0), textured(0), textured(0))
    assert set(made.row) == {c.name for c in phash.SIGNAL.columns}
    assert made.timeline is not None
    assert made.timeline["frame"].to_pylist() == [0, 25, 50]
    assert {f"{h:016x}" for h in made.timeline["hash"].to_pylist()} == {made.row["hash"]}
    assert (made.row["num_frames"], made.row["spread_bits"]) == (3, 0)
    assert made.row["detail"] > 20


def test_the_same_picture_coded_and_scaled_and_another() -> None:
    import cv2

    scene = draw_face(textured(0), 160, 120, 120)
    coded = cv2.imdecode(cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)
    small = np.asarray(cv2.resize(scene, (160, 120), interpolation=cv2.INTER_AREA))
    original = made_of(scene)
    assert distance(original, made_of(np.asarray(coded))) <= 4
    assert distance(original, made_of(small)) <= 4
    assert min(distance(original, made_of(textured(s))) for s in (1, 2, 3)) > 16


def test_frames_that_change_spread() -> None:
    assert made_of(textured(0), textured(1)).row["spread_bits"] > 8


def test_bits_apart() -> None:
    assert (bits_apart(0b1011, 0b0010), bits_apart(2**64 - 1, 0)) == (2, 64)


def test_it_is_the_hash_of_the_mean_picture() -> None:
    one, two = (media_of({0: textured(s)}, 25).image(0, 160, "gray").astype(float) for s in (0, 1))
    assert made_of(textured(0), textured(1)).row["hash"] == perceptual_hash((one + two) / 2)


def test_a_flat_picture_has_no_hash() -> None:
    with pytest.raises(NotApplicable, match="a flat picture"):
        made_of(wall())
