"""Pictures of a drawn head that says a known sound: the networks find its face, and its mouth opens as `lip_sync` expects."""

from __future__ import annotations

from functools import cache

import numpy as np

from flows.drawn_measures import meshes_of
from modeling.motion import Motion, Person
from modeling.motion_set import MotionClip
from modeling.true_faces import TrueFaces
from tasks.signals import lip_sync
from tests.drawn_face import draw_face, wall
from tests.moving_mouth import syllables

SIDE, NUM_FRAMES = 256, 120


@cache
def voice() -> np.ndarray:
    return syllables(NUM_FRAMES / 25)


@cache
def opening() -> np.ndarray:
    """Of the mouth, 0 to 1, just as the voice leads to expect."""
    gap = lip_sync.predicted_lips(voice())[0][:, 0]
    return np.asarray(np.clip(0.5 + 0.4 * gap / np.abs(gap).max(), 0, 1))


def pictures(opened_T: np.ndarray) -> np.ndarray:
    return np.stack([draw_face(wall(SIDE, SIDE), 128, 120, 150, mouth_open=float(v)) for v in opened_T])


@cache
def true() -> TrueFaces:
    made = pictures(opening())
    return TrueFaces(made, meshes_of(made))


@cache
def clip() -> MotionClip:
    values = np.zeros((NUM_FRAMES, 9), np.float32)
    values[:, 0] = 2 * opening()
    motion = Motion(values, np.ones((NUM_FRAMES, 9), bool))
    return MotionClip("c0", "v0", "ann", 0, motion, voice(), np.ones(NUM_FRAMES, np.float32))


PERSON = Person(np.zeros(9), np.ones(9))
