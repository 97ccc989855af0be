import numpy as np
import pytest

from tasks.lip_features import highpass, lip_motion, lip_shape, voice_motion
from tests.moving_mouth import landmarks


def test_the_gap_is_told_in_distances_between_the_eyes() -> None:
    opening = np.linspace(0, 20, 40)
    shape = lip_shape(landmarks(opening), 0, 40)
    assert shape.shape == (40, 6)
    assert np.allclose(shape[:, 0], opening / 100, atol=1e-3)
    assert np.allclose(shape[:, 1], 0.6, atol=1e-3)


def test_frames_without_a_mesh_are_interpolated() -> None:
    opening = np.linspace(0, 20, 41)
    shape = lip_shape(landmarks(opening, start_frame=500, every=4), 500, 541)
    assert np.allclose(shape[:, 0], opening / 100, atol=1e-3)


def test_a_span_without_any_mesh_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame with landmarks"):
        lip_shape(landmarks(np.zeros(1)).slice(0, 0), 0, 40)


def test_motion_holds_shape_and_velocity_of_unit_variance_without_slow_drift() -> None:
    frames = np.arange(200)
    shape = np.stack([np.sin(2 * np.pi * 4 * frames / 25 + k) + 0.05 * frames for k in range(6)], axis=1)
    motion = lip_motion(shape)
    assert motion.shape == (200, 12)
    assert np.allclose(motion.std(axis=0), 1, atol=1e-6)
    drift = np.polyfit(frames[25:-25], motion[25:-25, :6], 1)[0]
    assert np.abs(drift).max() < 5e-3


def test_a_still_mouth_has_no_motion() -> None:
    assert np.abs(lip_motion(np.ones((100, 6)))).max() < 0.1


def test_two_steps_of_the_encoder_make_one_frame() -> None:
    encoded = np.random.default_rng(0).normal(size=(201, 384))
    motion = voice_motion(encoded)
    assert motion.shape == (100, 768)
    assert np.square(motion).mean() == pytest.approx(1.0)


def test_the_highpass_keeps_syllables_and_drops_drift_without_delay() -> None:
    frames = np.arange(400)
    fast = np.sin(2 * np.pi * 4 * frames / 25)
    kept = highpass((fast + 0.01 * frames)[:, None], 0.5)[:, 0]
    assert np.abs(kept - fast)[50:-50].max() < 0.03
