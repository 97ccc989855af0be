"""People judged by networks that never saw them: everybody once, and a mouth that follows its sound is ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import motion_people
from modeling.recipes.audio_to_motion import VARIANTS
from store.workspace import open_workspace
from tests.unit.modeling.spoken_corpus import PEOPLE, fill_spoken
from tests.unit.modeling.spoken_motion import made_clip

TINY = replace(VARIANTS["audio_to_motion_tiny"], num_steps=60, learning_rate=5e-3, average=0.9, dropout=0.0)


def test_everybody_is_judged_once_beside_every_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    place = open_workspace(tmp_path / "ws")
    fill_spoken(place)
    learnt_from: list[set[str]] = []
    trained = motion_people.train

    def watched(made, clips, folder):  # type: ignore[no-untyped-def]
        learnt_from.append({c.who for c in clips})
        return trained(made, clips, folder)

    monkeypatch.setattr(motion_people, "train", watched)
    told = motion_people.judged(place, "spoken", TINY, 2)
    everybody = set(PEOPLE.values())
    assert [len(some) for some in learnt_from] in ([1, 2], [2, 1])
    assert set.union(*learnt_from) == everybody
    assert not set.intersection(*learnt_from), "of two folds each is judged by what learnt from the other"
    assert (told["num_clips"], told["num_people"], told["folds"]) == (4, 3, 2)
    assert set(told["ahead"]) == {"mean_motion", "rms_to_mouth", "copy"}
    for who in ("mean_motion", "copy"):  # these mouths follow their loudness by a rule, so RMS knows it too
        assert all(told["ahead"][who][m]["low"] > 0 for m in ("lip_distance", "lip_velocity_distance", "correlation"))
    errors = {who: of["landmark_error"]["value"] for who, of in told["measures"].items()}
    assert errors["stored"] < min(errors["ours"], errors["copy"], errors["mean_motion"])
    text = motion_people.table(told)
    assert "4 clips of 3 people" in text
    assert f"{errors['ours']:.4f} | {errors['mean_motion']:.4f}" in text


def test_a_picture_comes_from_the_beginning() -> None:
    clip = made_clip("c", "p", 4.0)
    assert motion_people.picture_of(clip) < 30
    values = clip.motion.values.copy()
    values[:, :4] = 3.0
    values[17, :4] = 0.0
    still = replace(clip, motion=replace(clip.motion, values=values))
    assert motion_people.picture_of(still) == 17
