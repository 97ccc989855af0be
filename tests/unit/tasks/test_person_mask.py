from __future__ import annotations

import numpy as np

from tasks.person_mask import person_mask
from tests.drawn_face import draw_face, wall


def test_a_person_is_where_one_is_drawn_and_nowhere_else() -> None:
    mask = person_mask(draw_face(wall(640, 360), 200, 150, 150))
    assert mask.shape == (256, 256)
    face = mask[round(150 / 360 * 256), round(200 / 640 * 256)]
    assert float(face) > 0.6
    assert float(mask[:, 200:].mean()) < 0.2
    assert float(np.mean(person_mask(wall()))) < 0.1
