from __future__ import annotations

import numpy as np
import pytest

from tasks.face_geometry import LEFT_EYE_OUTER, NOSE_TIP
from tasks.head_geometry import angles_of, canonical_face, head_turns, turn_of
from tests.face_meshes import turned_face


def test_the_canonical_face_looks_at_the_viewer_and_its_triangles_outward() -> None:
    face = canonical_face()
    assert face.points.shape == (468, 3)
    assert face.triangles.shape == (898, 3)
    assert face.points[LEFT_EYE_OUTER, 0] == pytest.approx(4.4458, abs=1e-3)
    assert face.points[NOSE_TIP, 2] == pytest.approx(face.points[:, 2].max(), abs=0.2)
    a, b, c = (face.points[face.triangles[:, i]] for i in range(3))
    outward = (np.cross(b - a, c - a) * (a - [0, 0, -5])).sum(axis=1)
    assert (outward > 0).mean() > 0.95


def test_signs_are_as_stated() -> None:
    nose, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert (turn_of(np.array([30, 0, 0])) @ nose)[0] == pytest.approx(0.5)
    assert (turn_of(np.array([0, 30, 0])) @ nose)[1] == pytest.approx(0.5)
    assert (turn_of(np.array([0, 0, 30])) @ up)[0] == pytest.approx(0.5)


def test_angles_come_back_and_turning_the_picture_changes_roll_alone() -> None:
    angles = np.random.default_rng(0).uniform([-80, -80, -170], [80, 80, 170], (50, 3))
    assert angles_of(turn_of(angles)) == pytest.approx(angles, abs=1e-6)
    picture = turn_of(np.array([0, 0, 10.0]))
    assert angles_of(picture @ turn_of(angles)) == pytest.approx(angles + np.array([0, 0, 10]), abs=1e-6)


def test_the_turn_of_a_mesh_whatever_its_place_and_size() -> None:
    angles = np.array([[35, -12, 8], [-50, 20, -25], [0, 0, 0], [10, 5, 120]], float)
    points = np.stack([turned_face(tuple(a), center_px=(90 * i, 400), scale=0.5 + i) for i, a in enumerate(angles)])
    assert angles_of(head_turns(points)) == pytest.approx(angles, abs=1e-3)


def test_an_open_mouth_does_not_turn_the_head() -> None:
    points = turned_face((10, 5, 0))
    points[[152, 17, 14, 175, 148, 377], 1] += 15
    assert angles_of(head_turns(points[None]))[0] == pytest.approx([10, 5, 0], abs=1e-3)
