from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.body_geometry import BODY_SCALE, HAND_SCALE, VISIBILITY_SCALE, fixed
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import body, hands, pose

SHAPE = np.zeros((33, 3))
SHAPE[0] = (0, -80, 0)
SHAPE[11], SHAPE[12] = (50, 0, 0), (-50, 0, 0)


def moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    return points + np.array([x, y, 0.0])


def table(signal: Any, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        rows, schema=pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in signal.SIGNAL.timeline)])
    )


def bodies(frames: list[int], points: list[np.ndarray], seen: tuple[int, ...]) -> pa.Table:
    visible = np.zeros(33)
    visible[list(seen)] = 0.9
    return table(
        body,
        [
            {
                "frame": f,
                "presence": 0.8,
                "points": fixed(p, BODY_SCALE).tolist(),
                "visibility": fixed(visible, VISIBILITY_SCALE).tolist(),
            }
            for f, p in zip(frames, points, strict=True)
        ],
    )


def palms(frames: list[int], centers: list[tuple[float, float]]) -> pa.Table:
    hand = np.zeros((21, 3))
    hand[0], hand[[5, 9, 13, 17]] = (0, 16, 0), (0, -4, 0)
    return table(
        hands,
        [
            {
                "frame": f,
                "hand": 0,
                "presence": 1,
                "left_score": 1,
                "points": fixed(moved(hand, *c), HAND_SCALE).tolist(),
            }
            for f, c in zip(frames, centers, strict=True)
        ],
    )


def run(bodies: pa.Table, hands: pa.Table, end_frame: int = 100) -> dict[str, Any]:
    return dict(pose.compute(Media(0, end_frame, 400, 300), {"body": bodies, "hands": hands}).row)


def test_what_is_visible() -> None:
    row = run(
        bodies([0, 5, 25, 30], [moved(SHAPE, 200, 150)] * 4, (0, 11, 12)),
        palms([0, 0, 5], [(100, 100), (300, 100), (100, 100)]),
    )
    assert set(row) == {c.name for c in pose.SIGNAL.columns}
    assert row["person_ratio"] == 0.5
    assert row["upper_body_ratio"] == pytest.approx(3 / 9)
    assert row["shoulders_visible_ratio"] == 1
    assert row["hands_visible_ratio"] == 0.25
    assert row["both_hands_ratio"] == 0.125
    assert row["shoulder_width_ratio"] == pytest.approx(100 / 400)
    assert row["score"] == pytest.approx(0.8)
    assert row["body_motion"] == row["hand_motion"] == row["shoulder_angle_deg"] == 0
    one_shoulder = run(bodies([0], [SHAPE], (0, 11)), palms([], []))
    assert one_shoulder["shoulders_visible_ratio"] == 0
    assert one_shoulder["hands_visible_ratio"] == 0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle_deg", [-30.0, 20.0])
def test_a_slope_is_told_with_its_sign(angle_deg: float, mirrored: bool) -> None:
    turn = np.radians(angle_deg)
    turned = SHAPE.copy()
    turned[:, 0] = SHAPE[:, 0] * np.cos(turn) - SHAPE[:, 1] * np.sin(turn)
    turned[:, 1] = SHAPE[:, 0] * np.sin(turn) + SHAPE[:, 1] * np.cos(turn)
    if mirrored:
        turned[[11, 12]] = turned[[12, 11]]
    row = run(bodies([0], [turned], (0,)), palms([], []))
    assert row["shoulder_angle_deg"] == pytest.approx(angle_deg, abs=0.3)
    assert row["shoulder_width_ratio"] == pytest.approx(0.25, abs=0.01)


def test_speeds_are_in_shoulder_widths_a_second() -> None:
    still = moved(SHAPE, 200, 150)
    row = run(
        bodies([0, 5, 25, 30, 50, 55], [still, moved(still, 10, 0)] * 3, (0,)),
        palms([0, 5, 25], [(100, 100), (100, 130), (300, 100)]),
    )
    assert row["body_motion"] == pytest.approx(10 / 100 / 0.2)
    assert row["hand_motion"] == pytest.approx(30 / 100 / 0.2)


def test_speeds_need_pairs() -> None:
    row = run(bodies([5, 25], [SHAPE, moved(SHAPE, 90, 0)], (0,)), palms([5, 25], [(100, 100), (105, 100)]))
    assert row["body_motion"] == row["hand_motion"] == 0


def test_nobody() -> None:
    with pytest.raises(NotApplicable, match="no person"):
        run(bodies([], [], ()), palms([], []))


def test_a_clip_between_two_samples() -> None:
    with pytest.raises(NotApplicable, match="shorter than the step of sampling"):
        pose.compute(Media(6, 20, 400, 300), {"body": bodies([], [], ()), "hands": palms([], [])})
