from __future__ import annotations

import cv2
import numpy as np

from tasks.signals import keyframes
from tests.drawn_face import draw_face, media_of, wall


def test_one_row_a_second_and_black_is_worst() -> None:
    drawn = draw_face(wall(), 160, 110, 140)
    # A drawing's flat colours are to BRISQUE as damaged as black is; a fine grain makes a photograph of it.
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 20, drawn.shape[:2]), (0, 0), 1.0)[..., None]
    good = np.clip(drawn + grain, 0, 255).astype(np.uint8)
    table = keyframes.compute(media_of({0: good, 5: good, 25: np.zeros_like(good), 50: good}, 60), {}).timeline
    assert table["frame"].to_pylist() == [0, 25, 50]
    quality = table["quality"].to_pylist()
    assert quality[1] < 1.2 < 2 < quality[0]
    assert quality[0] == quality[2]
    assert table["exposure"].to_pylist()[1] == 0
    assert table.column_names == ["frame", *(c.name for c in keyframes.SIGNAL.timeline)]
