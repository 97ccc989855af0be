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


def test_the_stage_gives_each_frame_with_its_sound() -> None:
    session, sound = Session("x", seed=1), (SOUND * 32767).astype(np.int16)
    running = Pipeline([], [SpeechMotion(Module("m", "c", (net("gru"), IDLE)))]).open(session)
    chunks = [c for at in range(0, len(sound), 1600) for c in running.step(Chunk(0, sound[at : at + 1600]))]
    chunks += list(running.end())
    assert [c.first_frame for c in chunks] == list(np.cumsum([0, *(len(c.sound) // 640 for c in chunks)]))[:-1]
    assert np.array_equal(np.concatenate([c.sound for c in chunks]), sound)
    assert sum(len(c.motion) for c in chunks if c.motion is not None) == 50


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_a_switch_to_the_same_weights_changes_nothing(kind: str) -> None:
    sound = made_clip("c", "p", 4.0).sound
    whole = made_motion(checkpoint(net(kind)), sound, seed=3)
    stream, other = MotionStream(net(kind), IDLE, seed=3), net(kind)
    made = [stream.push(sound[: 2 * 16_000])[0]]
    assert stream.prepare(other, IDLE)()
    made += [stream.push(sound[2 * 16_000 :])[0], stream.end()[0]]
    assert np.abs(np.concatenate(made) - whole).max() < 1e-4


def test_a_switch_goes_on_with_the_other_network_its_blinks_and_its_sway_where_they_were() -> None:
    sound = made_clip("c", "p", 3.0).sound
    torch.manual_seed(1)
    other = MotionNet(recipe("audio_to_motion_tiny", width=24)).eval()
    stream = MotionStream(net("gru"), IDLE, seed=3)
    before = stream.push(sound[:32_000])[0]
    flip = stream.prepare(other, IDLE)
    assert flip()
    after = np.concatenate([stream.push(sound[32_000:])[0], stream.end()[0]])
    num, theirs = len(before), made_motion(checkpoint(other), sound, seed=3)
    assert np.abs(after[:, :4] - theirs[num:, :4]).max() < 0.02  # it heard two seconds, not all of it
    assert np.array_equal(after[:, 4:6], theirs[num:, 4:6])
    assert np.abs(before[:, :4] - theirs[:num, :4]).max() > 0.1


def test_what_was_made_ready_for_a_moment_that_is_past_does_not_switch() -> None:
    stream = MotionStream(net("gru"), IDLE, seed=3)
    stream.push(SOUND[:3200])
    flip = stream.prepare(net("gru"), IDLE)
    stream.push(SOUND[3200:6400])
    assert not flip()
    assert stream.prepare(net("gru"), IDLE)()


def test_a_stream_remembers_two_seconds_however_long_it_lasts() -> None:
    stream = MotionStream(net("gru"), IDLE, 0)
    for _ in range(20):
        stream.push(SOUND[:6400])
    told, recent = stream._recent
    assert told == 199
    assert len(recent) == 50 * 640 + 240
    assert np.array_equal(recent, np.tile(SOUND[:6400], 20)[199 * 640 + 240 - len(recent) : 199 * 640 + 240])


def test_weights_that_cannot_be_used_say_why() -> None:
    from dataclasses import replace

    from safetensors.torch import save

    from modeling.made_motion import idle_of, network

    good = checkpoint(net("gru"))
    weights = dict(net("gru").state_dict())
    cases = {
        "its weights don't fit its recipe .*size mismatch": replace(
            good, weights=save({**weights, "out.bias": torch.zeros(3)})
        ),
        "its weights don't fit its recipe": replace(good, weights=b"no weights"),
        "unexpected keyword": replace(good, told={**good.told, "recipe": {"layers": 3}}),
        "out.bias holds values that are not finite": replace(
            good, weights=save({**weights, "out.bias": torch.full_like(weights["out.bias"], float("nan"))})
        ),
    }
    for why, bad in cases.items():
        with pytest.raises(ValueError, match=f"checkpoint c0: .*{why}"):
            network(bad)
    with pytest.raises(ValueError, match="has no idle motion"):
        idle_of(replace(good, told={"recipe": {}}))
    broken = {**good.told["idle"], "blink_depth": float("nan")}
    with pytest.raises(ValueError, match="its idle motion holds values that are not finite"):
        idle_of(replace(good, told={"idle": broken}))
