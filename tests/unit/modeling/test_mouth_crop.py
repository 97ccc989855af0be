"""The square lies on the mouth, does not move with it, and what is added has no edge."""

from __future__ import annotations

import numpy as np

from modeling import mesh_warp
from modeling.mesh_warp import MeshWarp
from modeling.mouth_crop import SIDE_PX, across_px, add, crop_affine, cut, fade, masks, placed
from tasks import face_geometry
from tasks.head_geometry import NUM_CANONICAL, canonical_face
from tests.face_meshes import turned_face
from tests.unit.serving.faces import plate


def test_points_are_those_of_the_signals() -> None:
    assert mesh_warp.FACE_OVAL == face_geometry.FACE_OVAL
    assert mesh_warp.STABLE_POINTS == face_geometry.STABLE_POINTS
    assert mesh_warp.NUM_FACE == NUM_CANONICAL


def test_the_square_is_on_the_mouth_whatever_the_head_does() -> None:
    for angles in ((0, 0, 0), (15, 0, 0), (0, 10, 0), (0, 0, 20)):
        points = turned_face(angles)
        there = placed(points, crop_affine(points, across_px(points)))
        mouth = there[[61, 291, 13, 14]].mean(axis=0)
        assert np.abs(mouth - SIDE_PX / 2).max() < 12
        assert abs(there[33, 1] - there[263, 1]) < 1e-3, "the eyes are level"
        assert there[152, 1] < SIDE_PX, "the chin is within"


def test_a_mouth_that_opens_does_not_move_the_square() -> None:
    points = turned_face()
    opened = points.copy()
    opened[[14, 17, 152], 1] += 20
    before, after = (crop_affine(p, across_px(p)) for p in (points, opened))
    assert np.array_equal(before, after)
    assert masks(placed(opened, after))[0].sum() > 1.4 * masks(placed(points, before))[0].sum()


def test_a_change_is_added_where_the_square_lies_and_fades_to_nothing() -> None:
    faded = fade()
    assert faded[0].max() == faded[:, -1].max() == 0
    assert np.abs(np.diff(faded, axis=0)).max() < 0.15
    drawn = plate()
    affine = crop_affine(drawn.points, across_px(drawn.points))
    nothing = np.zeros((SIDE_PX, SIDE_PX, 3), np.float32)
    assert np.array_equal(add(drawn.picture, nothing, affine), drawn.picture)
    change = np.repeat(20 * faded[..., None], 3, axis=2)
    made = add(drawn.picture, change, affine).astype(int) - drawn.picture
    assert made.max() == 20
    assert np.abs(np.diff(made, axis=0)).max() < 6, "no edge anywhere"
    seen = cut(made.astype(np.uint8), affine)
    assert abs(int(seen[48, 48, 0]) - 20) <= 1
    away = affine.copy()
    away[:, 2] += 1000
    assert np.array_equal(add(drawn.picture, change, away), drawn.picture)


def test_a_box_is_drawn_as_the_whole_is() -> None:
    drawn = plate()
    warp = MeshWarp(
        drawn, drawn.points[:, :2], canonical_face().triangles, -drawn.points[:, 2], across_px(drawn.points)
    )
    face = drawn.points[:NUM_CANONICAL, :2].copy()
    face[[14, 87, 317, 17, 84, 314, 152], 1] += 5
    vertices = warp.vertices(face)
    whole, part = warp.draw(vertices), warp.draw(vertices, box=(30, 50, 100, 128))
    same = np.abs(whole[50:128, 30:100].astype(int) - part)
    assert same[4:-4, 4:-4].max() <= 1
    assert np.abs(whole.astype(int) - drawn.picture).max() > 30
