from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks import body_networks
from tasks.body_geometry import hands_of
from tasks.signals import body, hands
from tests.drawn_body import draw_hand, draw_person
from tests.drawn_face import media_of, wall

PERSON = draw_person(wall(480, 480), 240, 120, 100)


def with_hands(move: int = 0) -> np.ndarray:
    return draw_hand(draw_hand(PERSON, 90 + move, 250, 120), 390, 250, 110, mirrored=True)


def rows(scenes: dict[int, np.ndarray], end_frame: int = 50) -> pa.Table:
    media = media_of(scenes, end_frame)
    return hands.compute(media, {"body": body.compute(media, {}).timeline}).timeline


def test_two_hands_are_found_and_followed() -> None:
    table = rows({0: with_hands(), 5: with_hands(12)})
    assert table["frame"].to_pylist() == [0, 0, 5, 5]
    assert table["hand"].to_pylist() == [0, 1, 0, 1]
    _, points = hands_of(table)
    assert points[:, [0, 9], 0].mean(axis=1) == pytest.approx([90, 390, 102, 390], abs=8)
    left = np.array(table["left_score"].to_pylist())
    assert left[[1, 3]].min() - left[[0, 2]].max() > 0.5 or left[[0, 2]].min() - left[[1, 3]].max() > 0.5


def test_a_hand_that_comes_is_found_in_the_next_pair() -> None:
    assert set(rows({0: PERSON, 5: with_hands(), 25: with_hands()})["frame"].to_pylist()) == {25}


def test_no_palm_is_looked_for_where_the_body_shows_no_wrist(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = with_hands()
    media = media_of({0: scene}, 5)
    found = body.compute(media, {}).timeline
    hidden = found.set_column(3, "visibility", pa.array([[0] * 33], pa.list_(pa.int16())))
    called = []
    monkeypatch.setattr(body_networks, "detect", lambda *_: called.append(1) or [])
    assert hands.compute(media, {"body": hidden}).timeline.num_rows == 0
    assert not called
    hands.compute(media, {"body": found}).timeline  # noqa: B018
    hands.compute(media, {"body": found.slice(0, 0)}).timeline  # noqa: B018
    assert len(called) == 2


def test_two_squares_on_one_hand_give_one_hand() -> None:
    media = media_of({0: with_hands()}, 5)
    left = min(hands.palms_on(media, 0), key=lambda c: c.center_x)
    assert len(hands.hands_on(media, 0, [left])) == 1
    assert len(hands.hands_on(media, 0, [left, left])) == 1


def test_the_square_of_a_hand_turns_with_it() -> None:
    (hand,) = hands.hands_on(
        media_of({0: draw_hand(PERSON, 90, 250, 120)}, 5),
        0,
        hands.palms_on(media_of({0: draw_hand(PERSON, 90, 250, 120)}, 5), 0),
    )[:1]
    upright = hands.crop_of(hand[0])
    turned_points = hand[0].copy()
    turned_points[:, 0], turned_points[:, 1] = -hand[0][:, 1], hand[0][:, 0]
    turned = hands.crop_of(turned_points)
    assert turned.side_px == pytest.approx(upright.side_px, rel=1e-3)
    assert turned.angle_rad - upright.angle_rad == pytest.approx(np.pi / 2, abs=1e-3)
    assert (turned.center_x, turned.center_y) == pytest.approx((-upright.center_y, upright.center_x), abs=0.1)
    inside = np.abs(hand[0][:, :2] - (upright.center_x, upright.center_y)).max()
    assert inside < upright.side_px / 2
