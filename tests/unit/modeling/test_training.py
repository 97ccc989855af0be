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

from modeling.motion_set import split
from modeling.recipes.audio_to_motion import VARIANTS
from modeling.training import Batches, Progress, losses_in, train
from tests.unit.modeling.spoken_motion import made_clip, made_clips

TINY = VARIANTS["audio_to_motion_tiny"]
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from modeling.recipes.audio_to_motion import VARIANTS
from modeling.training import train
from tests.unit.modeling.spoken_motion import made_clips

def on_step(done):
    if done.step == 27:
        os.kill(os.getpid(), signal.SIGKILL)

train(VARIANTS["audio_to_motion_tiny"], made_clips(3), Path(sys.argv[1]), on_step)
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_run_killed_for_good_goes_on_bit_for_bit(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(losses_in(tmp_path / "killed"))) == 27
    steps: list[int] = []
    resumed = train(TINY, made_clips(3), tmp_path / "killed", lambda step: steps.append(step.step))
    whole = train(TINY, made_clips(3), tmp_path / "whole")
    assert steps[0] == 21, "it goes on from what was saved, not from the start"
    assert list(losses_in(tmp_path / "killed")) == list(losses_in(tmp_path / "whole"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_losses_fall_and_another_seed_gives_others(tmp_path: Path) -> None:
    told: list[Progress] = []
    train(replace(TINY, num_steps=60), made_clips(3), tmp_path / "a", told.append)
    assert np.mean([t.losses["loss"] for t in told[-10:]]) < 0.8 * np.mean([t.losses["loss"] for t in told[:10]])
    train(replace(TINY, num_steps=3, seed=1), made_clips(3), tmp_path / "b")
    assert next(losses_in(tmp_path / "b"))["loss"] != told[0].losses["loss"]


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
    parts = split(clips, people_share=0.25, time_share=0.25, least_s=6.0, seed=0)
    learnt, held = {c.who for c in parts.train}, {c.who for c in parts.held_people}
    assert not learnt & held
    assert len(held) == 1
    assert {len(c) for c in parts.train} == {150}
    assert [c.first_frame for c in parts.held_time] == [150] * 6
    assert np.array_equal(
        parts.held_time[0].sound, clips[[c.clip_id for c in clips].index(parts.held_time[0].clip_id)].sound[150 * 640 :]
    )
    again = split(list(reversed(clips)), people_share=0.25, time_share=0.25, least_s=6.0, seed=0)
    assert {c.who for c in again.held_people} == held
    with pytest.raises(ValueError, match="1 people without a video in common"):
        split(clips[:1], people_share=0.25, time_share=0.25, least_s=6.0, seed=0)


def test_people_of_one_video_are_on_one_side() -> None:
    clips = [
        replace(made_clip(f"c{i}", who), video_id=video)
        for i, (who, video) in enumerate([("a", "v1"), ("b", "v1"), ("b", "v2"), ("c", "v2"), ("d", "v3")])
    ]
    parts = split(clips, people_share=0.5, time_share=0.2, least_s=60, seed=0)
    sides = [{c.who for c in parts.train}, {c.who for c in parts.held_people}]
    assert sorted(sides, key=len) == [{"d"}, {"a", "b", "c"}]
