from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.body_geometry import BODY_SCALE, HAND_SCALE, VISIBILITY_SCALE, fixed
from tasks.face_geometry import points_of
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import anatomy, body, faces, hands, landmarks
from tests.drawn_face import draw_face, media_of, wall


def table(signal: Any, rows: list[dict[str, Any]]) -> pa.Table:
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in signal.SIGNAL.timeline)])
    return pa.Table.from_pylist(rows, schema=schema)


def hand(bent: float = 1.0, finger: int = 1) -> np.ndarray:
    """Points (21, 3): four palm bones of 40 px, fingers of three bones of 10 px, one of them `bent` times as long."""
    points = np.zeros((21, 3))
    for number, (base, *rest) in enumerate(
        ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
    ):
        along = np.array([np.cos(0.3 * number), np.sin(0.3 * number), 0])
        points[base] = 40 * along
        for k, joint in enumerate(rest):
            points[joint] = points[base] + 10 * (k + 1) * (bent if number == finger else 1) * along
    return points + np.array([200.0, 200, 0])


def hands_table(looks: list[tuple[int, np.ndarray]]) -> pa.Table:
    return table(
        hands,
        [
            {"frame": f, "hand": 0, "presence": 1, "left_score": 1, "points": fixed(p, HAND_SCALE).tolist()}
            for f, p in looks
        ],
    )


def bodies_table(looks: list[tuple[int, float]], visible: float = 1.0) -> pa.Table:
    """Bodies whose left upper arm is so long; nothing else of them is visible."""
    rows = []
    for frame, length in looks:
        points, seen = np.zeros((33, 3)), np.zeros(33)
        points[13, 0], seen[[11, 13]] = length, visible
        told = {"points": fixed(points, BODY_SCALE).tolist(), "visibility": fixed(seen, VISIBILITY_SCALE).tolist()}
        rows.append({"frame": frame, "presence": 1, **told})
    return table(body, rows)


def drawn(num: int = 12, blur: float = 0.0) -> tuple[Media, pa.Table]:
    """A face with an open mouth and something in it, and its mesh."""
    import cv2

    scene = draw_face(wall(), 160, 110, 170, mouth_open=1.0)
    for x in range(146, 176, 5):
        cv2.line(scene, (x, 155), (x, 168), (240, 235, 230), 2, cv2.LINE_AA)
    if blur:
        scene[145:180, 130:190] = cv2.GaussianBlur(scene, (0, 0), blur)[145:180, 130:190]
    media = media_of(dict.fromkeys(range(num), scene), num)
    return media, landmarks.compute(media, {"faces": faces.compute(media, {}).timeline}).timeline


def test_a_plain_face_raises_no_doubt() -> None:
    media, mesh = drawn()
    row = anatomy.compute(media, {"landmarks": mesh, "body": bodies_table([]), "hands": hands_table([])}).row
    assert set(row) == {c.name for c in anatomy.SIGNAL.columns}
    assert row["num_mouth_frames"] == 3
    assert row["num_hand_pairs"] == row["num_limb_pairs"] == row["num_blinks"] == row["num_conspicuous"] == 0
    assert row["hand_change"] == row["finger_excess"] == row["limb_change"] == row["blink_asymmetry"] == 0
    assert row["face_jitter"] < 0.001
    assert row["score"] > 0.9


def test_a_smeared_mouth_has_no_detail() -> None:
    sharp, smeared = (
        anatomy.mouth_details(m, t["frame"].to_numpy(), points_of(t)) for m, t in (drawn(), drawn(blur=6.0))
    )
    assert len(sharp) == len(smeared) == 3
    assert np.median(smeared) < np.median(sharp) / 2


def test_a_mouth_beyond_the_border_is_not_judged() -> None:
    media, mesh = drawn()
    points = points_of(mesh)
    assert anatomy.mouth_details(media, mesh["frame"].to_numpy(), points + np.array([0, 200, 0], np.float32)) == []
    assert anatomy.mouth_details(media, mesh["frame"].to_numpy(), points + np.array([0, 75, 0], np.float32)) == []


def test_a_finger_that_grows_is_told() -> None:
    still, grown = hands_table([(25, hand()), (30, hand())]), hands_table([(25, hand()), (30, hand(2.0))])
    assert anatomy.hand_rules(still)[0] == pytest.approx([0], abs=1e-3)
    assert anatomy.hand_rules(grown)[0] == pytest.approx([3 * np.log(2) / 20], rel=0.02)
    assert anatomy.hand_rules(hands_table([(5, hand()), (25, hand())])) == ([], [])


def test_a_long_finger_is_told_and_a_long_thumb_is_not() -> None:
    long = anatomy.hand_rules(hands_table([(25, hand(1.5, 2)), (30, hand(1.5, 2))]))
    assert long[0] == pytest.approx([0], abs=1e-3)
    assert long[1] == pytest.approx([np.log(1.5)] * 2, rel=0.02)
    assert anatomy.hand_rules(hands_table([(25, hand(1.5, 0)), (30, hand(1.5, 0))]))[1] == pytest.approx(
        [0, 0], abs=1e-3
    )


def test_a_small_hand_is_not_judged() -> None:
    assert anatomy.hand_rules(hands_table([(25, hand() / 4), (30, hand() / 4)])) == ([], [])


def test_a_limb_that_grows_is_told() -> None:
    assert anatomy.limb_changes(bodies_table([(0, 50), (5, 100)])) == pytest.approx([np.log(2)])
    assert anatomy.limb_changes(bodies_table([(0, 50), (5, 100)], visible=0.4)) == []
    assert anatomy.limb_changes(bodies_table([(0, 50), (25, 100)])) == []


def test_what_is_far_out_is_conspicuous_and_takes_the_score() -> None:
    media, mesh = drawn()
    few, many = (
        bodies_table([(0, 50), (5, 200)]),
        bodies_table([(f, 50 if f % 25 == 0 else 200) for f in (0, 5, 25, 30, 50, 55)]),
    )
    needs = {"landmarks": mesh, "hands": hands_table([])}
    assert anatomy.compute(media, {**needs, "body": few}).row["limb_change"] == 0
    row = anatomy.compute(media, {**needs, "body": many}).row
    assert row["limb_change"] == pytest.approx(np.log(4))
    assert (row["score"], row["num_conspicuous"], row["num_limb_pairs"]) == (0, 1, 3)
    row = anatomy.compute(
        media, {**needs, "body": bodies_table([]), "hands": hands_table([(0, hand()), (5, hand(8.0))])}
    ).row
    assert 0 < row["hand_change"] < 0.4
    assert row["num_hand_pairs"] == 1
    assert row["score"] < 1


def test_hardly_a_face() -> None:
    media, mesh = drawn(num=9)
    with pytest.raises(NotApplicable, match="no face"):
        anatomy.compute(media, {"landmarks": mesh, "body": bodies_table([]), "hands": hands_table([])})
