"""Sample pictures: what is stored and what is predicted, each in its colour, under the clip's id."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from modeling.motion_picture import COLOURS, HEAD_PX, LABEL_PX, LANE_PX, WIDTH_PX, draw_samples, png
from tests.unit.modeling.spoken_motion import made_clip


def rows_of(picture: np.ndarray, colour: tuple[int, int, int], lane: int) -> np.ndarray:
    """Where a colour is in the curves' part of a lane."""
    top = HEAD_PX + lane * LANE_PX
    part = picture[top : top + LANE_PX, LABEL_PX + 1 :].astype(int)
    return np.nonzero((np.abs(part - np.array(colour)) < 40).all(axis=2).any(axis=1))[0]


def test_the_network_and_the_stored_motion_are_drawn_apart() -> None:
    clips = [made_clip(f"c{i}", "p", 2.0, seed=i) for i in range(2)]
    heights = {"network": 3.5, "rms to mouth": -0.5}
    predictors = {
        name: (lambda sound, level=level: np.full((len(sound) // 640, 7 if level > 0 else 4), level))
        for name, level in heights.items()
    }
    picture = draw_samples(predictors, clips)
    assert picture.shape[1:] == (WIDTH_PX, 3)
    assert len(picture) % 2 == 0, "two clips"
    assert len(rows_of(picture, COLOURS[0], 0)), "what is stored, white"
    above, below = rows_of(picture, COLOURS[1], 0), rows_of(picture, COLOURS[2], 0)
    assert above.max() < below.min(), "3.5 lies above -0.5"
    assert len(rows_of(picture, COLOURS[1], 6)), "the network tells the head"
    assert not len(rows_of(picture, COLOURS[2], 6)), "loudness does not"
    assert not len(rows_of(picture, COLOURS[1], 4)), "nothing that listens tells of blinks"
    decoded = np.asarray(Image.open(io.BytesIO(png(picture))))
    assert np.array_equal(decoded, picture)
