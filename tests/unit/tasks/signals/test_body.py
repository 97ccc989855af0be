from __future__ import annotations

import numpy as np
import pytest

from tasks.body_geometry import LEFT_SHOULDER, NOSE, RIGHT_SHOULDER, bodies_of
from tasks.signals import body
from tests.drawn_body import draw_person
from tests.drawn_face import media_of, wall


def test_a_person_is_followed_and_looked_at_twice_a_second() -> None:
    scenes = {f: draw_person(wall(480, 480), 220 + f, 120, 100) for f in (0, 5, 10, 25, 30)}
    table = body.compute(media_of(scenes, 31), {}).timeline
    assert table["frame"].to_pylist() == [0, 5, 25, 30]
    frames, points, visible = bodies_of(table)
    assert points[:, NOSE, 0] == pytest.approx(220 + frames, abs=8)
    assert points[:, LEFT_SHOULDER, 0] - points[:, RIGHT_SHOULDER, 0] == pytest.approx([165] * 4, abs=25)
    assert visible[:, [NOSE, LEFT_SHOULDER, RIGHT_SHOULDER]].min() > 0.9
    assert min(table["presence"].to_pylist()) > 0.9


def test_the_largest_person_is_taken() -> None:
    scene = draw_person(wall(640, 360), 140, 100, 60)
    scene[:, 320:] = draw_person(wall(320, 360), 160, 90, 95)
    table = body.compute(media_of({0: scene}, 5), {}).timeline
    assert bodies_of(table)[1][0, NOSE, 0] == pytest.approx(480, abs=15)


def test_a_person_lost_in_a_pair_is_looked_for_again() -> None:
    scene = draw_person(wall(480, 480), 220, 120, 100)
    table = body.compute(media_of({0: wall(480, 480), 5: scene}, 10), {}).timeline
    assert table["frame"].to_pylist() == [5]
    empty = np.full((480, 480, 3), 90, np.uint8)
    gone = body.compute(media_of({0: scene, 5: empty}, 10), {}).timeline
    assert gone["frame"].to_pylist() == [0]


def test_nobody_no_rows() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    table = body.compute(media_of({0: wall(), 25: noise}, 30), {}).timeline
    assert table.num_rows == 0
    assert table.column_names == ["frame", *(c.name for c in body.SIGNAL.timeline)]
