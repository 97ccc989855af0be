from pathlib import Path

import numpy as np
import pytest

from infra.lag import best_lag, lag_correlation
from modeling.lip_sync import Clip, Config, fit, load_clips, main

NUM_VOICE, NUM_LIPS = 40, 3
TRUTH = np.random.default_rng(99).normal(size=(NUM_VOICE, NUM_LIPS))


def clip(name: str, seed: int, late: int = 0, num: int = 120) -> Clip:
    """A voice, and lips that follow it by a fixed map, the sound `late` frames after them."""
    rng = np.random.default_rng(seed)
    voice = rng.normal(size=(num, NUM_VOICE))
    voice[1:] += 0.6 * voice[:-1]
    lips = voice @ TRUTH + rng.normal(size=(num, NUM_LIPS))
    return Clip(name, lips / lips.std(axis=0), np.roll(voice, late, axis=0))


def predicted(taps: np.ndarray, voice: np.ndarray) -> np.ndarray:
    context = len(taps) // 2
    padded = np.pad(voice, ((context, context), (0, 0)), mode="edge")
    return np.sum([padded[k : k + len(voice)] @ tap for k, tap in enumerate(taps)], axis=0)


def test_it_predicts_the_lips_of_people_it_has_not_seen() -> None:
    model, _ = fit([clip(f"c{seed}", seed) for seed in range(8)], Config(num_components=NUM_VOICE))
    assert model.taps.shape == (5, NUM_VOICE, NUM_LIPS)
    assert model.weights.sum() == pytest.approx(1.0)
    unseen = clip("unseen", 50, late=6)
    curve = lag_correlation(predicted(model.taps, unseen.voice), unseen.lips, model.weights, 15)
    lag, _, confidence = best_lag(curve)
    assert lag == 6
    assert confidence > 0.5


def test_clips_that_are_off_are_found_and_put_right() -> None:
    clips = [clip(f"c{seed}", seed, late=4 if seed in (2, 5) else 0) for seed in range(8)]
    model, offsets = fit(clips)
    assert offsets == {f"c{seed}": 4 if seed in (2, 5) else 0 for seed in range(8)}
    naive, _ = fit(clips, Config(num_realignments=0))
    unseen = clip("unseen", 50)

    def top(taps: np.ndarray) -> float:
        return float(lag_correlation(predicted(taps, unseen.voice), unseen.lips, model.weights, 15).max())

    assert top(model.taps) > top(naive.taps)


def test_the_command_writes_the_same_bytes_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        made = clip(f"c{seed}", seed)
        np.savez(tmp_path / f"c{seed}.npz", lips_TD=made.lips, voice_TL=made.voice)
    outs = [tmp_path / "out" / "a.npz", tmp_path / "out" / "b.npz"]
    outs[0].parent.mkdir()
    for out in outs:
        main([str(tmp_path), str(out)])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert "4 clips, 19 s" in capsys.readouterr().out
    with np.load(outs[0]) as held:
        assert held["filter_KLD"].shape == (5, NUM_VOICE, NUM_LIPS)
        assert held["weights_D"].dtype == np.float32


def test_a_folder_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.npz with features; make them with python -m tasks.lip_corpus"):
        load_clips(tmp_path)
