"""Training: it learns, the same each time, and a killed run goes on as if it had never been killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling.audio_to_motion import MotionNet
from modeling.held_out import heard_in, split
from modeling.motion_set import MotionClip
from modeling.recipes.audio_to_motion import VARIANTS
from modeling.training import ROUND, Batches, Progress, Stage, losses_in, losses_of, train, train_stages
from tests.unit.modeling.spoken_motion import made_clip, made_clips

TINY = VARIANTS["audio_to_motion_tiny"]
QUARTER = replace(TINY, held_time_share=0.25)
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.unit.modeling.test_training import KINDS
from modeling.training import train
from tests.unit.modeling.spoken_motion import made_clips

def on_step(done):
    if done.step == 27:
        os.kill(os.getpid(), signal.SIGKILL)

train(KINDS[sys.argv[2]], made_clips(3), Path(sys.argv[1]), on_step)
"""
KINDS = {"gru": TINY, "transformer": replace(TINY, kind="transformer", num_layers=2, num_heads=2, window_frames=10)}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_for_good_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed"), kind], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(losses_in(tmp_path / "killed"))) == 27
    steps: list[int] = []
    resumed = train(KINDS[kind], made_clips(3), tmp_path / "killed", lambda step: steps.append(step.step))
    whole = train(KINDS[kind], made_clips(3), tmp_path / "whole")
    assert steps[0] == 21, "it goes on from what was saved, not from the start"
    assert list(losses_in(tmp_path / "killed")) == list(losses_in(tmp_path / "whole"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


STAGES = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.unit.modeling.test_training import stages
from modeling.training import train_stages

def on_step(done):
    if done.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

train_stages(stages(), Path(sys.argv[1]), on_step)
"""


def stages() -> list[Stage]:
    """Of 15, 12 and 9 steps, saved after each tenth and where one ends."""
    clips = made_clips(4)
    slower = {"learning_rate": 5e-4, "batch_size": 2, "warmup_steps": 3}
    return [
        Stage(replace(TINY, num_steps=15), clips[:2]),
        Stage(replace(TINY, num_steps=12, **slower), clips[1:]),
        Stage(replace(TINY, num_steps=9), [replace(c, weight=float(i)) for i, c in enumerate(clips)]),
    ]


def test_a_curriculum_killed_within_and_between_stages_goes_on_bit_for_bit(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STAGES, str(tmp_path / "killed")]
    for step, saved in ((15, 10), (28, 27)):  # 15 ends a stage, not saved yet; 28 is the first after the next one's end
        done = subprocess.run([*command, str(step)], check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] == saved
    told: list[Progress] = []
    resumed = train_stages(stages(), tmp_path / "killed", told.append)
    assert [(t.step, t.stage) for t in told] == [(s, 3) for s in range(28, 37)]
    whole = train_stages(stages(), tmp_path / "whole")
    assert list(losses_in(tmp_path / "killed")) == list(losses_in(tmp_path / "whole"))
    assert len(list(losses_in(tmp_path / "whole"))) == 36
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(ValueError, match="another recipe or other clips"):
        train_stages(stages()[::-1], tmp_path / "whole")


def test_one_stage_is_a_plain_training_and_each_has_its_own_values(tmp_path: Path) -> None:
    first = stages()[0]
    train_stages([first], tmp_path / "one")
    train(first.recipe, first.clips, tmp_path / "plain")
    assert list(losses_in(tmp_path / "one")) == list(losses_in(tmp_path / "plain"))
    train_stages(stages()[:2], tmp_path / "two")
    slower = [first, replace(stages()[1], recipe=replace(stages()[1].recipe, learning_rate=1e-3))]
    train_stages(slower, tmp_path / "other")
    two, other = (list(losses_in(tmp_path / n)) for n in ("two", "other"))
    assert two[:16] == other[:16], "the first of its steps still is of the weights of the stage before"
    assert two[16] != other[16]


def test_clips_are_drawn_by_their_weights() -> None:
    """Ten clips of equal length, told apart by their loudness: each comes as often as its weight says."""
    clips = [replace(c, sound=c.sound * 0) for c in made_clips(10)]
    marked = [
        replace(c, weight=float(i), motion=replace(c.motion, values=np.full_like(c.motion.values, i)))
        for i, c in enumerate(clips)
    ]

    def drawn(some: list[MotionClip], seed: int = 0) -> np.ndarray:
        batches = Batches(replace(TINY, batch_size=64, seed=seed), some)
        return np.concatenate([batches(step)[1][:, 0, 0].numpy() for step in range(30)]).astype(int)

    counts = np.bincount(drawn(marked), minlength=10)
    assert counts[0] == 0
    assert np.abs(counts / counts.sum() - np.arange(10) / 45).max() < 0.03
    assert np.array_equal(drawn(marked), drawn(marked)), "by the seed"
    assert not np.array_equal(drawn(marked), drawn(marked, seed=1))
    even = np.bincount(drawn([replace(c, weight=None) for c in marked]), minlength=10)
    assert np.abs(even / even.sum() - 0.1).max() < 0.03
    assert marked[3].cut(0, 30).weight == 3.0, "ends that are held out take nothing of it away"
    with pytest.raises(ValueError, match="every clip to learn from has weight 0"):
        Batches(TINY, [replace(c, weight=0.0) for c in clips])


def test_losses_fall_and_another_seed_gives_others(tmp_path: Path) -> None:
    told: list[Progress] = []
    net = train(replace(TINY, num_steps=60), made_clips(3), tmp_path / "a", told.append)
    assert np.mean([t.losses["loss"] for t in told[-10:]]) < 0.8 * np.mean([t.losses["loss"] for t in told[:10]])
    train(replace(TINY, num_steps=3, seed=1), made_clips(3), tmp_path / "b")
    assert next(losses_in(tmp_path / "b"))["loss"] != told[0].losses["loss"]
    state = torch.load(tmp_path / "a" / "state.pt", weights_only=True)
    given = {name: torch.equal(value, state["average"][name]) for name, value in net.state_dict().items()}
    assert all(given.values()), "what it gives is the average over the steps"
    assert not torch.equal(state["net"]["out.weight"], state["average"]["out.weight"])


def test_the_mouth_is_off_by_its_distance_and_the_head_beside_it() -> None:
    recipe = replace(TINY, dropout=0.0, head=0.5)
    torch.manual_seed(0)
    net, (mel, target, weight, silent) = MotionNet(recipe).eval(), Batches(recipe, made_clips(3))(0)
    weight[0, 5:9] = 0
    with torch.no_grad():
        told = losses_of(recipe, net, mel, target, weight, silent)
        wrong = (net(mel, *net.start(len(mel)))[0] - target).numpy()

    def off(wrong: np.ndarray, counts: np.ndarray) -> float:
        mouth = np.sqrt(np.square(wrong[..., :4]).mean(-1) + ROUND)
        head = np.where(np.abs(wrong[..., 4:]) < 1, np.square(wrong[..., 4:]) / 2, np.abs(wrong[..., 4:]) - 0.5).mean(
            -1
        )
        return float(((mouth + 0.5 * head) * counts).sum() / counts.sum())

    seen = weight[..., 0].numpy()
    assert float(told["position"]) == pytest.approx(off(wrong, seen), rel=1e-4)
    assert float(told["velocity"]) == pytest.approx(off(np.diff(wrong, axis=1), seen[:, 1:] * seen[:, :-1]), rel=1e-4)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train(replace(TINY, num_steps=1), made_clips(2), tmp_path)
    with pytest.raises(ValueError, match="another recipe or other clips"):
        train(replace(TINY, num_steps=1), made_clips(3), tmp_path)
    with pytest.raises(ValueError, match="no clip to learn from"):
        train(TINY, [], tmp_path)


def test_silence_that_is_put_in_asks_for_rest_and_only_there() -> None:
    batches = Batches(replace(TINY, silence_share=1.0, batch_size=32, gain_db=0), made_clips(3))
    mel, _, weight, silent = batches(0)
    level = mel.reshape(32, 25, 4, -1).mean(dim=(2, 3))
    assert silent.any()
    assert float(level[silent > 0].mean()) < float(level[silent == 0].mean()) - 0.3, (
        "it is soft where rest is asked for"
    )
    assert not weight[silent > 0].any(), "there the person's own motion does not count"


def test_short_clips_count_only_where_they_are() -> None:
    batches = Batches(replace(TINY, silence_share=0.0), [made_clip("a", "p", seconds=0.4)])
    _, _, weight, _ = batches(0)
    assert weight[:, :10].all()
    assert not weight[:, 10:].any()


def test_a_person_is_on_one_side() -> None:
    clips = [made_clip(f"c{i}", f"p{i % 4}", seconds=8.0) for i in range(8)]
    parts = split(clips, QUARTER)
    learnt, held = {c.who for c in parts.train}, {c.who for c in parts.held_people}
    assert not learnt & held
    assert len(held) == 1
    assert {len(c) for c in parts.train} == {150}
    assert [c.first_frame for c in parts.held_time] == [150] * 6
    assert np.array_equal(
        parts.held_time[0].sound, clips[[c.clip_id for c in clips].index(parts.held_time[0].clip_id)].sound[150 * 640 :]
    )
    again = split(list(reversed(clips)), QUARTER)
    assert {c.who for c in again.held_people} == held


def test_people_of_one_video_are_on_one_side() -> None:
    clips = [
        replace(made_clip(f"c{i}", who), video_id=video)
        for i, (who, video) in enumerate([("a", "v1"), ("b", "v1"), ("b", "v2"), ("c", "v2"), ("d", "v3")])
    ]
    parts = split(clips, replace(TINY, held_people_share=0.5, held_time_least_s=60))
    sides = [{c.who for c in parts.train}, {c.who for c in parts.held_people}]
    assert sorted(sides, key=len) == [{"d"}, {"a", "b", "c"}]


def other_words(name: str, seed: int) -> MotionClip:
    """8 s of noise whose two bands change their loudness by chance every 80 ms: no two alike, as with real words."""
    draw = np.random.default_rng(seed)
    low, high = (np.repeat(draw.random(100) ** 2, 1280) for _ in range(2))
    noise = draw.normal(0, 0.1, 100 * 1280 + 1)
    sound = low * (noise[1:] + noise[:-1]) + high * np.diff(noise)
    return replace(made_clip(name, "p", 8.0), sound=sound.astype(np.float32))


def test_of_one_person_time_is_held_out_and_no_copy_of_it_is_learnt_from() -> None:
    first, other = other_words("c1", 1), other_words("c2", 2)
    noisy = np.random.default_rng(5).normal(0, 0.002, 149 * 640).astype(np.float32)
    copy = replace(
        first.cut(50, 199), clip_id="c3", video_id="v3", sound=0.5 * first.sound[50 * 640 : 199 * 640] + noisy
    )
    parts = split([first, other], QUARTER)
    assert (parts.held_out, parts.held_people, parts.heard) == ("time", [], [])
    assert [(c.clip_id, c.first_frame, len(c)) for c in parts.held_time] == [("c1", 150, 50), ("c2", 150, 50)]
    assert [len(c) for c in parts.train] == [150, 150]
    parts = split([first, other, copy], QUARTER)
    assert [c.clip_id for c in parts.held_time] == ["c2"], "a copy of the first one's end is learnt from"
    assert parts.heard == ["c1"]
    assert len(parts.train) == 3
    people = [replace(c, who=c.clip_id) for c in (first, other)]
    assert [split(people, replace(QUARTER, held_people_least=n)).held_out for n in (2, 3)] == ["people", "time"]
    assert heard_in([first.cut(0, 20)], [other]) == [True], "too short to tell"
    with pytest.raises(
        ValueError, match="1 people without a video in common, fewer than the 2 .* 1 of 2 clips last 6 s"
    ):
        split([first, copy], QUARTER)
    with pytest.raises(ValueError, match="0 of 1 clips last 9 s or more"):
        split([first], replace(QUARTER, held_time_least_s=9.0))
