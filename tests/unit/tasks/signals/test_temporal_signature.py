"""The same movements are told again after scaling, mirroring, shifting and speeding up; other movements are not."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.dedup import MIN_AGREEMENT
from tasks.signal import NotApplicable
from tasks.signals import temporal_signature
from tasks.temporal_match import CHANNELS, agreement, movements, signature
from tests.face_meshes import landmarks_of, no_landmarks, span, turned_face

FRAMES = 100


def nodding(
    seed: int, *, frames: int = FRAMES, speed: float = 1.0, first: int = 0, scale: float = 1.0
) -> list[np.ndarray]:
    """Faces that turn and wander by sums of sines; `first` is the frame of the original that the first one shows."""
    rng = np.random.default_rng(seed)
    hz, phase, size = rng.uniform(0.8, 3.0, (4, 5)), rng.uniform(0, 6.28, (4, 5)), rng.uniform(0.5, 1.5, (4, 5))
    t = (first + np.arange(frames) * speed) / 25
    yaw, pitch, roll, side = (np.sin(6.28 * hz[:, :, None] * t + phase[:, :, None]) * size[:, :, None]).sum(axis=1)
    return [
        turned_face((2 * y, 2 * p, 2 * r), center_px=(scale * (320 + 2 * s), scale * 180), scale=scale)
        for y, p, r, s in zip(yaw, pitch, roll, side, strict=True)
    ]


def told(points: list[np.ndarray]) -> np.ndarray:
    return signature(movements(landmarks_of(points), 0, len(points)))


def mirrored(points: list[np.ndarray]) -> list[np.ndarray]:
    """As the network would find it in a mirror image: left and right points change places."""
    pairs = [(33, 263), (133, 362), (159, 386), (145, 374), (78, 308)]
    made = []
    for p in points:
        q = p.copy()
        q[:, 0] = 640 - q[:, 0]
        for a, b in pairs:
            q[[a, b]] = q[[b, a]]
        made.append(q)
    return made


def test_copies_agree_and_other_moments_do_not() -> None:
    original = told(nodding(0))
    assert agreement(original, original) > 0.85
    assert agreement(original, told(nodding(0, scale=0.4))) > 0.8
    assert agreement(original, told(mirrored(nodding(0)))) > 0.8
    assert agreement(original, told(nodding(0, speed=1.1, frames=85))) > 0.75
    assert agreement(told(nodding(0, first=20, frames=80)), original) > 0.8
    assert agreement(original, told(nodding(1))) < 0.5
    assert agreement(original, told([turned_face()] * FRAMES)) < 0.1


def test_a_later_moment_of_the_same_movements_is_another() -> None:
    assert agreement(told(nodding(0)), told(nodding(0, first=150))) < MIN_AGREEMENT


def test_the_row_and_its_timeline() -> None:
    points = nodding(0)
    table = landmarks_of(points, start_frame=50)
    gap = table.take([*range(30), *range(45, FRAMES)])
    made = temporal_signature.compute(span(FRAMES, start_frame=50), {"landmarks": gap})
    assert made.row["seen_ratio"] == pytest.approx(0.85)
    assert 0.2 < made.row["activity"] < 5
    assert made.timeline is not None
    assert made.timeline["frame"].to_pylist() == list(range(50, 150, 2))
    bridged = np.stack([made.timeline[c].to_numpy() for c in CHANNELS], axis=1)
    assert agreement(bridged.astype(float), told(points)) > 0.7


def test_what_can_not_be_told() -> None:
    with pytest.raises(NotApplicable, match="shorter than 2 s"):
        temporal_signature.compute(span(49), {"landmarks": landmarks_of([turned_face()] * 49)})
    with pytest.raises(NotApplicable, match="no face"):
        temporal_signature.compute(span(FRAMES), {"landmarks": no_landmarks()})
    with pytest.raises(NotApplicable, match="no face"):
        temporal_signature.compute(span(FRAMES), {"landmarks": landmarks_of([turned_face()] * 50)})
