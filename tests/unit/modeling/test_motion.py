"""Motion parameters of drawn heads whose answer is known: each follows what it is named for and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeling.motion import BLINKS, HEAD, MOUTH, PARAMETERS, Motion, Person, person_of, raw_motion
from tasks.head_geometry import angles_of, turn_of
from tests.face_meshes import landmarks_of, turned_face

LOWER_LIP, LOWER_OUTER = (14, 87, 317), (146, 91, 181, 84, 17, 314, 405, 321, 375)
CHIN, CORNERS = 152, (61, 291)


def spoken(*, open_cm: float = 0.0, wide_cm: float = 0.0, angles: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Mesh points of a head turned by yaw, pitch and roll whose jaw is lowered and whose corners are drawn apart."""
    points = turned_face(scale=1)
    points[[*LOWER_LIP, *LOWER_OUTER], 1] += 10 * open_cm
    points[CHIN, 1:] += [10 * open_cm, 5 * open_cm]
    points[CORNERS[0], 0] -= 5 * wide_cm
    points[CORNERS[1], 0] += 5 * wide_cm
    about = np.array([320, 180, 0])
    turn = turn_of(np.array(angles))
    return np.asarray((((points - about) * [1, -1, -1]) @ turn.T) * [1, -1, -1] + about)


def lines_of(
    faces: list[np.ndarray], angles: list[tuple[float, float, float]], lids: list[float] | None = None, start: int = 0
) -> dict[str, Any]:
    mesh = landmarks_of(faces, start_frame=start)
    frames = mesh["frame"].to_numpy()
    points = np.stack(mesh["points"].to_pylist())
    told = np.array(angles, np.float32)
    pose = {"frame": frames, "yaw_deg": told[:, 0], "pitch_deg": told[:, 1], "roll_deg": told[:, 2]}
    lines: dict[str, Any] = {"landmarks": {"frame": frames, "points": points}, "head_pose": pose}
    if lids is not None:
        lines["gaze"] = {"frame": frames, "opening_left": np.array(lids), "opening_right": np.array(lids) / 2}
    return lines


def motion(faces: list[np.ndarray], angles: list[tuple[float, float, float]] | None = None, **more: Any) -> np.ndarray:
    found = raw_motion(lines_of(faces, angles or [(0, 0, 0)] * len(faces), **more), 0, len(faces))
    assert found is not None
    return found.values


def test_jaw_and_lips_follow_what_they_are_named_for() -> None:
    rest, opened, widened = motion([spoken(), spoken(open_cm=1.5), spoken(wide_cm=1)])[:, MOUTH]
    eyes_cm = 8.89  # between the outer corners of the canonical face
    assert opened[0] - rest[0] == pytest.approx(1.5 / eyes_cm, abs=0.004)
    assert widened[1] - rest[1] == pytest.approx(1 / eyes_cm, abs=0.004)
    assert opened[2] > rest[2] + 0.05 > widened[2] + 0.05
    assert opened[3] > rest[3] + 3
    assert np.abs(widened[[0, 3]] - rest[[0, 3]]).max() < 0.01


def test_turning_and_scaling_the_head_leave_the_mouth_alone() -> None:
    turns = [(0.0, 0.0, 0.0), (25.0, 0.0, 0.0), (0.0, -15.0, 0.0), (0.0, 0.0, 30.0), (-20.0, 10.0, 15.0)]
    found = motion([spoken(open_cm=1, angles=t) for t in turns], turns)
    assert np.ptp(found[:, :3], axis=0).max() < 0.01
    assert np.ptp(found[:, 3]) < 0.5
    assert np.allclose(found[:, HEAD], [[p, y, r] for y, p, r in turns], atol=1e-4)
    small = motion([(spoken(open_cm=1) - [320, 180, 0]) * 0.4 + [100, 90, 0]])
    assert np.abs(small[0, :3] - found[0, :3]).max() < 0.01


def test_turns_are_those_of_head_pose() -> None:
    from modeling.motion import _turns

    angles = np.array([[20.0, -10.0, 5.0], [-40.0, 15.0, 170.0]])
    assert np.allclose(_turns(angles[:, [1, 0, 2]]), turn_of(angles))
    assert np.allclose(angles_of(_turns(angles[:, [1, 0, 2]])), angles)


def test_frames_without_a_mesh_are_filled_and_told() -> None:
    lines = lines_of([spoken(), spoken(open_cm=1)], [(0, 0, 0), (0, 0, 0)], start=12)
    lines["landmarks"]["frame"] = lines["head_pose"]["frame"] = np.array([12, 16])
    found = raw_motion(lines, 10, 18)
    assert found is not None
    assert found.seen[:, 0].tolist() == [False, False, True, False, False, False, True, False]
    assert found.values[4, 0] == pytest.approx((found.values[2, 0] + found.values[6, 0]) / 2, abs=1e-4)
    assert not found.seen[:, BLINKS].any(), "without gaze the lids are not known"
    assert raw_motion({}, 0, 10) is None


def test_a_roll_over_the_circle_does_not_jump() -> None:
    turns = [(0.0, 0.0, 179.0), (0.0, 0.0, -179.0)]
    assert np.ptp(motion([spoken(angles=t) for t in turns], turns)[:, 8]) == pytest.approx(2, abs=1e-3)


def test_a_person_is_normalised_by_their_own_rest_and_range() -> None:
    gaps = [0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 1.0]
    turns = [(10.0, 5.0, 0.0)] * 7 + [(30.0, 5.0, 0.0)]
    lids = [0.3] * 7 + [0.0]
    raw = raw_motion(
        lines_of([spoken(open_cm=g, angles=t) for g, t in zip(gaps, turns, strict=True)], turns, lids), 0, 8
    )
    assert raw is not None
    person = person_of([raw])
    found = person.normalised(raw).values
    assert found[0, 0] == pytest.approx(0, abs=0.05)
    assert found[:, [0, 2, 3]].std(axis=0) == pytest.approx(np.ones(3), abs=0.01)
    assert found[:, 1].std() < 0.01, "a width that never changes stays still"
    assert found[:, 4] == pytest.approx([0] * 7 + [1], abs=1e-3)
    assert found[:, 7] == pytest.approx([0] * 7 + [2], abs=1e-3), "yaw in tens of degrees from the usual turn"
    back = person.raw(found)
    assert np.allclose(back[:7], raw.values[:7], atol=1e-3)


def test_a_still_mouth_is_not_blown_up() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.001, (50, len(PARAMETERS))).astype(np.float32)
    raw = Motion(jitter, np.ones(jitter.shape, bool))
    assert person_of([raw]).normalised(raw).values[:, 0].std() < 0.2


def test_nobody_is_refused() -> None:
    unseen = Motion(np.zeros((3, len(PARAMETERS)), np.float32), np.zeros((3, len(PARAMETERS)), bool))
    with pytest.raises(ValueError, match="no frame shows a face"):
        person_of([unseen])
    assert isinstance(Person(np.zeros(9), np.ones(9)).raw(np.zeros((2, 9))), np.ndarray)
