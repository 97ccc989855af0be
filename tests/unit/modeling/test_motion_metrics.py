"""Measures of a predicted mouth: what is right, late, still, open or quivering is told as that."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modeling.idle_motion import BLINK_FROM, Idle, IdleMotion, fit_idle, idle_from, loudness_db
from modeling.motion import MOUTH
from modeling.motion_metrics import (
    Predict,
    baselines,
    baselines_from,
    baselines_to_dict,
    clip_measures,
    evaluate,
    figure,
    pauses_of,
    silence,
)
from tests.unit.modeling.spoken_motion import made_clip, made_clips


def from_loudness(sound: np.ndarray) -> np.ndarray:
    """The mouth of made clips, but for noise: each parameter follows the loudness of its own frame."""
    level = np.sqrt(np.square(sound.reshape(-1, 640)).mean(axis=1)) / 0.2
    return np.stack([2 * level, -level, level, 1.5 * level], axis=1)


def open_mouth(sound: np.ndarray) -> np.ndarray:
    return np.full((len(sound) // 640, 4), 1.5)


def quivering(sound: np.ndarray) -> np.ndarray:
    return from_loudness(sound) + 0.3 * np.where(np.arange(len(sound) // 640) % 2, 1, -1)[:, None]


def test_the_truth_has_no_distance_and_what_is_late_is_told() -> None:
    clip = made_clip("c", "p")
    told = clip_measures(clip.motion.values[:, MOUTH], clip)
    assert told["lip_distance"] == told["lip_velocity_distance"] == 0
    assert told["correlation"] == pytest.approx(1)
    clips = made_clips(3)
    late = {id(c.sound): np.roll(c.motion.values[:, MOUTH], 2, axis=0) for c in clips}
    judged = evaluate({"ours": lambda sound: late.get(id(sound), np.zeros((len(sound) // 640, 4)))}, clips)
    assert judged["lag"]["jaw_open"]["median"] == pytest.approx(80, abs=8)
    assert clip_measures(open_mouth(clip.sound), clip)["correlation"] == 0


def test_ahead_counts_each_clip_against_itself() -> None:
    clips = made_clips(5)
    beside = baselines(clips[:2])
    judged = evaluate({"ours": from_loudness, "mean_motion": beside["mean_motion"]}, clips[2:])
    ahead = judged["ahead"]["mean_motion"]
    assert (judged["num_clips"], judged["num_people"]) == (3, 3)
    for measure in ("lip_distance", "lip_velocity_distance", "correlation"):
        assert ahead[measure]["low"] > 0
        ours, theirs = (judged["measures"][n][measure]["value"] for n in ("ours", "mean_motion"))
        assert abs(ours - theirs) == pytest.approx(ahead[measure]["value"], abs=2e-4)
    with pytest.raises(ValueError, match="no clip is held out"):
        evaluate({"ours": from_loudness}, [])


def test_loudness_gives_a_mouth_to_the_rms_baseline_that_a_checkpoint_can_keep() -> None:
    clips = made_clips(5)
    beside = baselines(clips[:4])
    assert clip_measures(beside["rms_to_mouth"](clips[4].sound), clips[4])["correlation"] > 0.8
    kept = baselines_from(json.loads(json.dumps(baselines_to_dict(beside))))
    for name, predict in beside.items():
        assert np.allclose(predict(clips[4].sound), kept[name](clips[4].sound))


@pytest.mark.parametrize(
    ("predict", "is_open", "quivers"),
    [(from_loudness, False, False), (open_mouth, True, False), (quivering, False, True)],
)
def test_a_mouth_left_open_and_one_that_quivers_are_told(predict: Predict, is_open: bool, quivers: bool) -> None:
    told = silence(predict, made_clips(3))
    flat = {k: v["value"] if isinstance(v, dict) else v for k, v in told.items()}
    for place in ("pauses", "after_voice", "nothing_digital", "nothing_room"):
        assert (flat[f"{place}_open"] > 1) is is_open, place
        assert (flat[f"{place}_quiver"] > 5) is quivers, place
    assert flat["pauses_person_open"] == pytest.approx(0, abs=0.2)


def test_a_pause_begins_once_it_has_been_quiet_for_a_while() -> None:
    clip = made_clip("c", "p")
    found, quiet = pauses_of(clip), clip.speech < 0.3
    assert found.any()
    assert not found[~quiet].any()
    begins = int(np.flatnonzero(quiet[1:] & ~quiet[:-1])[0]) + 1
    assert not found[begins : begins + 8].any()
    assert found[begins + 8]


def test_intervals_are_over_people() -> None:
    one = figure([0.0] * 10 + [1.0] * 10, ["a"] * 10 + ["b"] * 10)
    many = figure([0.0] * 10 + [1.0] * 10, [str(i) for i in range(20)])
    assert (one.value, one.low, one.high, one.n) == (0.5, 0.0, 1.0, 20)
    assert 0.2 < many.low < 0.4 < many.high < 0.8


def test_idle_motion_is_that_of_its_seed_however_it_is_cut() -> None:
    idle = Idle(20.0, 0.8, (0.2, 0.3, 0.1), (0.8, 0.9, 0.7))
    level = np.full(5000, -25.0)
    whole = IdleMotion(idle, 4).step(level)
    stream = IdleMotion(idle, 4)
    cut = np.concatenate([stream.step(level[a:b]) for a, b in ((0, 1), (1, 700), (700, 5000))])
    assert np.array_equal(whole, cut)
    assert not np.array_equal(whole, IdleMotion(idle, 5).step(level))
    begins = ((whole[1:, 0] >= BLINK_FROM) & (whole[:-1, 0] < BLINK_FROM)).sum()
    assert begins == pytest.approx(20 * 5000 / 25 / 60, rel=0.25)
    assert whole[500:, 2:].std(axis=0) == pytest.approx(np.array(idle.sway), rel=0.3)
    silent = IdleMotion(idle, 4).step(np.full(5000, -90.0))
    assert silent[500:, 2:].std() == pytest.approx(whole[500:, 2:].std() / 2, rel=0.05)
    assert idle_from(json.loads(json.dumps(idle.to_dict()))) == idle


def test_idle_motion_is_fitted_to_how_people_move() -> None:
    idle = Idle(40.0, 0.9, (0.2, 0.3, 0.1), (0.75, 0.9, 0.85))
    clips = []
    for i in range(6):
        clip = made_clip(f"c{i}", f"p{i}", seconds=40, seed=i)
        moved = IdleMotion(idle, i).step(np.full(1000, -20.0))
        clip.motion.values[:, 4:6], clip.motion.values[:, 6:9] = moved[:, :2], moved[:, 2:]
        clips.append(clip)
    fitted = fit_idle(clips, [np.zeros((1000, 3), np.float32)] * 6)
    assert fitted.blinks_per_min == pytest.approx(40, rel=0.25)
    assert fitted.blink_depth == pytest.approx(0.9, abs=0.02)
    assert fitted.sway == pytest.approx(idle.sway, rel=0.25)
    assert fitted.pole == pytest.approx(idle.pole, abs=0.06)
    few = fit_idle([clips[0].cut(0, 250)], [np.zeros((250, 3), np.float32)])
    assert few.blinks_per_min == 26.0, "ten seconds say nothing of how often somebody blinks"


def test_loudness_of_a_full_scale_square_is_zero() -> None:
    assert loudness_db(np.concatenate([np.ones(640), np.zeros(640)])).tolist() == pytest.approx([0, -100])
