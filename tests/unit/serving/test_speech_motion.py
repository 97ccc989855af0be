"""Motion in a stream is the motion of the whole sound, however it is cut; and the mouth rests in silence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from modeling.audio_to_motion import MotionNet
from modeling.idle_motion import Idle
from modeling.made_motion import made_motion
from modeling.recipes.audio_to_motion import recipe
from serving.engine import Chunk, Module, Pipeline, Session
from serving.speech_motion import MotionStream, Smoothing, SpeechMotion
from store.registry import Checkpoint
from tests.unit.modeling.spoken_motion import made_clip

IDLE = Idle(blinks_per_min=26, blink_depth=0.9, sway=(0.2, 0.3, 0.1), pole=(0.9, 0.9, 0.9))
SOUND = made_clip("c", "p", 2.0).sound


def net(kind: str) -> MotionNet:
    torch.manual_seed(0)
    return MotionNet(recipe("audio_to_motion_tiny", kind=kind)).eval()


def checkpoint(of: MotionNet) -> Checkpoint:
    from dataclasses import asdict

    from safetensors.torch import save

    told = {"kind": "audio_to_motion", "recipe": asdict(of.recipe), "idle": json.loads(json.dumps(IDLE.to_dict()))}
    return Checkpoint("c0", told, save(dict(of.state_dict())))


@pytest.mark.parametrize("kind", ["gru", "transformer"])
@pytest.mark.parametrize("cut", [700, 1600])
def test_a_stream_gives_what_the_whole_sound_gives(kind: str, cut: int) -> None:
    model = net(kind)
    whole = made_motion(checkpoint(model), SOUND, seed=3)
    stream = MotionStream(model, IDLE, seed=3)
    parts = [stream.push(SOUND[at : at + cut])[0] for at in range(0, len(SOUND), cut)]
    made = np.concatenate([*parts, stream.end()[0]])
    assert made.shape == whole.shape
    assert np.abs(made - whole).max() < 1e-5
    assert np.abs(whole).max() > 0.1


def test_a_frame_is_there_55_ms_after_its_time() -> None:
    stream = MotionStream(net("gru"), IDLE, 0)
    assert len(stream.push(SOUND[:879])[0]) == 0
    assert len(stream.push(SOUND[879:880])[0]) == 1
    assert len(stream.push(SOUND[880 : 880 + 640 * 9])[0]) == 9


def test_a_sound_that_ends_within_a_frame_is_filled_up_with_silence() -> None:
    stream = MotionStream(net("gru"), IDLE, 0)
    told = len(stream.push(SOUND[:1000])[0])
    assert told + len(stream.end()[0]) == 2


def test_smoothing_is_the_same_however_it_is_cut() -> None:
    draw = np.random.default_rng(0)
    motion, loud = draw.normal(0, 1, (50, 9)).astype(np.float32), draw.uniform(-90, -10, 50)
    whole, parts = Smoothing().step(motion, loud), Smoothing()
    cut = [parts.step(motion[at : at + 7], loud[at : at + 7]) for at in range(0, 50, 7)]
    assert np.array_equal(np.concatenate(cut), whole)
    assert np.array_equal(whole[:, 4:6], motion[:, 4:6])  # a blink is not smoothed away
    assert np.abs(np.diff(whole[:, 6:], axis=0)).mean() < 0.6 * np.abs(np.diff(motion[:, 6:], axis=0)).mean()


def test_the_mouth_closes_in_silence_and_opens_with_the_voice() -> None:
    motion = np.ones((75, 9), np.float32)
    loud = np.concatenate([np.full(25, -20.0), np.full(25, -90.0), np.full(25, -20.0)])
    made = Smoothing().step(motion, loud)
    assert made[20, 0] > 0.95
    assert np.abs(made[40:50, :4]).max() < 0.02
    assert made[53, 0] > 0.8
    assert made[45, 7] == pytest.approx(1)  # the head goes on


def test_the_stage_gives_each_frame_with_its_sound_and_counts_the_clock() -> None:
    session, sound = Session("x", seed=1), (SOUND * 32767).astype(np.int16)
    running = Pipeline([], [SpeechMotion(Module("m", "c", (net("gru"), IDLE)))]).open(session)
    chunks = [c for at in range(0, len(sound), 1600) for c in running.step(Chunk(0, sound[at : at + 1600]))]
    assert session.heard_samples == len(sound)
    chunks += list(running.end())
    assert [c.first_frame for c in chunks] == list(np.cumsum([0, *(len(c.sound) // 640 for c in chunks)]))[:-1]
    assert np.array_equal(np.concatenate([c.sound for c in chunks]), sound)
    assert sum(len(c.motion) for c in chunks if c.motion is not None) == 50
