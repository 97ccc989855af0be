from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import identity_consistency
from tasks.signals.identity_consistency import drift, people

MEDIA = Media(0, 200, 64, 64)


def face(person: int, other: int = 0, share: float = 0.0) -> np.ndarray:
    """A unit vector whose cosine to that of `person` alone is 1 - share."""
    cosine = 1 - share
    return np.asarray(cosine * np.eye(128)[person] + np.sqrt(1 - cosine**2) * np.eye(128)[other])


def row(*faces: np.ndarray) -> dict[str, Any]:
    fixed = [np.rint(f * 10_000).astype(np.int16) for f in faces]
    timeline = {
        "frame": pa.array(range(0, 25 * len(faces), 25), pa.int32()),
        "embedding": pa.array(fixed, pa.list_(pa.int16())),
    }
    needs = {"face_embedding": {}, "face_embedding.timeline": pa.table(timeline)}
    return dict(identity_consistency.compute(MEDIA, needs).row)


def test_one_person() -> None:
    told = row(*[face(0)] * 5)
    assert set(told) == {c.name for c in identity_consistency.SIGNAL.columns}
    assert told["change_cosine"] == told["mean_cosine"] == told["min_cosine"] == pytest.approx(1, abs=1e-3)
    assert told["drift"] == pytest.approx(0, abs=1e-3)
    assert (told["num_people"], told["main_ratio"]) == (1, 1)


def test_somebody_else_from_some_moment_on() -> None:
    told = row(face(0), face(0, 5, 0.1), face(0, 6, 0.1), face(1, 7, 0.1))
    assert told["change_cosine"] == pytest.approx(0, abs=0.01)
    assert (told["num_people"], told["main_ratio"]) == (2, 0.75)


def test_a_single_odd_frame_lowers_the_minimum_more_than_the_change() -> None:
    told = row(face(0), face(0), face(0, 1, 0.5), face(0), face(0))
    assert told["min_cosine"] == pytest.approx(0.5, abs=0.01)
    assert told["change_cosine"] > 0.8
    assert told["num_people"] == 1


def test_slow_drift_is_told_from_jitter() -> None:
    turning = [np.cos(a) * np.eye(128)[0] + np.sin(a) * np.eye(128)[1] for a in np.linspace(0, 1.0, 8)]
    jitter = [face(0, 10 + i, 0.1) for i in range(8)]
    assert row(*turning)["drift"] > 0.15
    assert abs(row(*jitter)["drift"]) < 0.01


def test_a_face_between_two_people_does_not_make_them_one() -> None:
    between = (face(0) + face(1)) / np.sqrt(2)
    faces = np.stack([face(0), face(0), between, face(1), face(1)])
    cosine = faces @ faces.T
    assert cosine[2].min() > 0.7, "each is like the one between"
    numbers = people(cosine)
    assert len(set(numbers)) == 2
    assert numbers[0] == numbers[1] != numbers[3] == numbers[4]


def test_drift_of_two_faces_is_none() -> None:
    assert drift(np.array([[1, 0.4], [0.4, 1]])) == 0


def test_one_face_tells_nothing() -> None:
    with pytest.raises(NotApplicable, match="one face only"):
        row(face(0))
