from __future__ import annotations

import numpy as np
import pytest

from infra import weights
from tasks.body_networks import PALMS, PEOPLE, anchors, body_crop, body_points, detect, hand_points, palm_crop
from tasks.litert import ending_at, interpreter
from tests.drawn_body import draw_hand, draw_person
from tests.drawn_face import wall


@pytest.mark.parametrize(("detector", "number"), [(PEOPLE, 2254), (PALMS, 2016)])
def test_there_is_an_anchor_for_each_row_of_the_network(detector: object, number: int) -> None:
    assert len(anchors(detector)) == number  # type: ignore[arg-type]


def test_a_network_cut_short_gives_the_same_and_runs_less() -> None:
    model = weights.path("pose_landmarks").read_bytes()
    image = np.random.default_rng(0).random((1, 256, 256, 3), np.float32)
    results, operators = [], []
    for network in (interpreter(model), interpreter(ending_at(model, (0, 1)))):
        network.set_tensor(network.get_input_details()[0]["index"], image)
        network.invoke()
        results.append([network.get_tensor(d["index"]) for d in network.get_output_details()])
        operators.append(len(network._get_ops_details()))
    assert [len(r) for r in results] == [5, 2]
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    assert operators[1] < operators[0] - 60


def test_a_person_and_both_hands_are_found_where_they_were_drawn() -> None:
    scene = draw_person(wall(480, 480), 240, 120, 100)
    scene = draw_hand(draw_hand(scene, 90, 250, 110), 390, 250, 110, mirrored=True)
    (person,) = detect(scene, PEOPLE)
    points, visible, presence = body_points(scene, body_crop(person.points[0], person.points[1]))
    assert presence > 0.9
    assert points[0, :2] == pytest.approx([240, 126], abs=12)
    assert points[[12, 11], 0] == pytest.approx([240 - 80, 240 + 80], abs=25)
    assert visible[[0, 11, 12]].min() > 0.9
    palms = sorted(detect(scene, PALMS), key=lambda f: f.box.x0)
    assert len(palms) == 2
    for palm, center_x in zip(palms, (90, 390), strict=True):
        hand, sure, _ = hand_points(scene, palm_crop(palm))
        assert sure > 0.5
        assert hand[[0, 9], 0].mean() == pytest.approx(center_x, abs=10)
        assert hand[12, :2] == pytest.approx([center_x - 9 * 110 / 180 * (1 if center_x < 240 else -1), 182], abs=12)


def test_a_turned_person_is_turned() -> None:
    scene = draw_person(wall(480, 480), 240, 120, 100)
    turned = np.ascontiguousarray(np.rot90(scene))
    (person,) = detect(turned, PEOPLE)
    points, _, presence = body_points(turned, body_crop(person.points[0], person.points[1]))
    assert presence > 0.9
    across = points[11, :2] - points[12, :2]
    assert abs(np.degrees(np.arctan2(across[1], across[0])) + 90) < 10
    assert points[0, :2] == pytest.approx([126, 240], abs=15)


def test_nothing_is_found_on_a_wall() -> None:
    assert detect(wall(), PEOPLE) == []
    assert detect(wall(), PALMS) == []
