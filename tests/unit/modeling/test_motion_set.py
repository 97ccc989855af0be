"""A snapshot read for motion: each person's own rest, the sound where the picture is, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from modeling.motion_set import MotionSet, read_motion
from store.frozen import Frozen, frozen, live
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tests.unit.modeling.spoken_corpus import PEOPLE, fill_spoken
from tests.unit.modeling.spoken_motion import made_clip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(tmp_path_factory.mktemp("spoken") / "ws")
    fill_spoken(made)
    return made


@pytest.fixture(scope="module")
def held(place: Workspace) -> Frozen:
    return frozen(place, str(freeze.build(place, "spoken")["snapshot"]))


@pytest.fixture(scope="module")
def data(held: Frozen) -> MotionSet:
    return read_motion(held, {f"c{v[1]}": who for v, who in PEOPLE.items()})


def test_motion_and_sound_are_those_of_the_clip(data: MotionSet) -> None:
    assert [c.clip_id for c in data.clips] == ["ca", "cb", "cc", "cd"]
    assert sorted(data.people) == ["ann", "ben", "cho"]
    clip, made = data.clips[1], made_clip("b", "b", 4.0, seed=1)
    assert np.corrcoef(clip.motion.values[:, 0], made.motion.values[:, 0])[0, 1] > 0.99
    assert np.abs(clip.sound - made.sound).max() < 1e-4
    assert np.allclose(clip.speech, made.speech)
    assert data.seconds == 16


def test_what_cannot_be_learnt_from_says_why(data: MotionSet) -> None:
    assert data.left_out["ce"] == "no audio"
    assert data.left_out["cf"] == "landmarks not stored; run headroom curate --signal landmarks"


@pytest.mark.parametrize("late_ms", [80.0, -80.0, 50.0])
def test_sound_that_is_late_is_brought_to_its_picture(held: Frozen, data: MotionSet, late_ms: float) -> None:
    shifted = next(c for c in read_motion(held, late_ms={"cb": late_ms}).clips if c.clip_id == "cb")
    plain = data.clips[1]
    lost = 2
    assert (len(shifted), shifted.first_frame) == (100 - lost, lost if late_ms < 0 else 0)
    samples, first = round(late_ms * 16), shifted.first_frame * 640
    middle = slice(first + 20 * 640 + samples, first + 30 * 640 + samples)
    assert np.array_equal(shifted.sound[20 * 640 : 30 * 640], plain.sound[middle])
    assert np.allclose(shifted.motion.seen, plain.motion.seen[shifted.first_frame : shifted.first_frame + len(shifted)])


def test_without_an_identity_a_video_is_a_person(held: Frozen) -> None:
    assert {c.who for c in read_motion(held).clips} == {"va", "vb", "vc", "vd"}


def test_clips_can_be_read_as_they_are_now(place: Workspace) -> None:
    assert live(place, ["cb", "gone"]).clips["clip_id"].to_pylist() == ["cb"]
