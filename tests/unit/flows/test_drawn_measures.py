"""Measures of what is drawn, on drawn heads whose mouths are known: nearer is better, and a sound that does not fit is told."""

from __future__ import annotations

import numpy as np
import pytest

from flows.drawn_measures import LOWER, SHIFT_FRAMES, clip_measures, in_silence, landmark_error, meshes_of
from modeling.renderer_metrics import figures_of
from tests.unit.flows.talking_pictures import NUM_FRAMES, PERSON, clip, opening, pictures, true

QUIET_FRAMES = 50


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    """`ours` opens nearly as the person does, `warp` far less, and both rest when nobody speaks."""
    quiet = np.full(QUIET_FRAMES, 0.05)
    made = {
        "copy": pictures(np.array([0.05])),
        "ours": pictures(np.concatenate([0.9 * opening(), quiet])),
        "warp": pictures(np.concatenate([0.45 * opening(), quiet])),
    }
    return clip_measures(made, true(), clip(), PERSON)


def test_the_mesh_is_found_and_lips_that_open_more_like_the_persons_are_nearer(
    measured: dict[str, dict[str, float]],
) -> None:
    assert np.isfinite(true().meshes).all()
    errors = [measured[who]["landmark_error"] for who in ("ours", "warp", "copy")]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.2
    assert measured["ours"]["mouth_psnr"] > measured["warp"]["mouth_psnr"] > measured["copy"]["mouth_psnr"]
    assert measured["ours"]["identity"] == pytest.approx(measured["true"]["identity"], abs=0.15)


def test_a_sound_that_does_not_fit_is_told(measured: dict[str, dict[str, float]]) -> None:
    assert measured["true"]["lip_sync_off_frames"] <= 1
    assert measured["ours"]["lip_sync_off_frames"] <= 1
    assert abs(measured["shifted"]["lip_sync_off_frames"] - SHIFT_FRAMES) <= 1
    assert measured["ours"]["lip_sync_in_sync_ratio"] == 1
    assert measured["shifted"]["lip_sync_in_sync_ratio"] == 0
    assert measured["ours"]["lip_sync_confidence"] > 0.3
    assert "lip_sync_confidence" not in measured["copy"], "a mouth that stands still is in sync with nothing"


def test_a_mouth_that_stands_open_or_quivers_in_silence_is_told(measured: dict[str, dict[str, float]]) -> None:
    assert measured["ours"]["silence_quiver"] == pytest.approx(0, abs=1e-6)
    assert measured["ours"]["silence_change"] == pytest.approx(0, abs=1e-6)
    open_, trembling = pictures(np.full(20, 0.8)), pictures(np.tile([0.1, 0.5], 10))
    stands, shakes = (in_silence(made, meshes_of(made), PERSON) for made in (open_, trembling))
    assert stands["silence_open"] > 2 * measured["ours"]["silence_open"]
    assert shakes["silence_quiver"] > 0.5
    assert shakes["silence_change"] > 0.5
    assert in_silence(wall_alone(), meshes_of(wall_alone()), PERSON) == {}, "without a face there is nothing to tell"


def test_pictures_without_a_face_have_no_measures() -> None:
    blank = np.full((NUM_FRAMES + QUIET_FRAMES, 64, 64, 3), 90, np.uint8)
    told = clip_measures({"copy": blank[:1], "ours": blank}, true(), clip(), PERSON)
    assert told["ours"] == told["copy"] == told["shifted"] == {}
    assert set(told["true"]) == {"lip_sync_confidence", "lip_sync_off_frames", "lip_sync_in_sync_ratio"}
    assert figures_of([told], ["ann"], 0, LOWER)["ahead"] == {"copy": {}}


def test_the_landmark_error_does_not_see_where_the_head_is() -> None:
    points = true().meshes[:3]
    turned = points.copy()
    turned[..., :2] = 1.3 * points[..., :2] @ np.array([[0.96, 0.28], [-0.28, 0.96]]) + [40, -12]
    assert landmark_error(turned, points) == pytest.approx(0, abs=1e-9)
    moved = points.copy()
    across = np.linalg.norm(points[0, 33, :2] - points[0, 263, :2])
    moved[:, [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185], 1] += (
        across / 10
    )
    assert 0.04 < landmark_error(moved, points) < 0.1, "half of the lips' points, a tenth of the eyes' distance"


def test_figures_stand_beside_the_others_and_a_shifted_sound_is_no_baseline(
    measured: dict[str, dict[str, float]],
) -> None:
    told = figures_of([measured, measured], ["ann", "ben"], 0, LOWER)
    assert set(told["ahead"]) == {"warp", "copy"}
    assert told["ahead"]["warp"]["landmark_error"]["value"] > 0, "above 0 is better, also where less is"
    assert told["measures"]["shifted"]["lip_sync_off_frames"]["n"] == 2


def wall_alone() -> np.ndarray:
    return np.full((NUM_FRAMES, 64, 64, 3), 90, np.uint8)
