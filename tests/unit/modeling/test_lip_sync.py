from pathlib import Path

import numpy as np
import pytest

from infra.lag import best_lag, lag_correlation
from modeling.lip_sync import Clip, Config, common_axes, fit, load_clips, main, predicted

NUM_VOICE, NUM_LIPS = 40, 3
TRUTH = np.random.default_rng(99).normal(size=(NUM_VOICE, NUM_LIPS))


def clip(name: str, seed: int, late: int = 0, num: int = 120) -> Clip:
    """A voice, and lips that follow it by a fixed map, the sound `late` frames after them."""
    rng = np.random.default_rng(seed)
    voice = rng.normal(size=(num, NUM_VOICE))
    voice[1:] += 0.6 * voice[:-1]
    lips = voice @ TRUTH + rng.normal(size=(num, NUM_LIPS))
    return Clip(name, lips / lips.std(axis=0), np.roll(voice, late, axis=0))


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


def test_what_repeats_another_feature_counts_once() -> None:
    """Lips told by two features, one of which stands there four times: along the axes both count."""
    clips = [clip(f"c{seed}", seed) for seed in range(4)]
    doubled = [Clip(c.name, c.lips[:, [0, 0, 0, 0, 1]], c.voice) for c in clips]
    config = Config(num_components=NUM_VOICE)
    axes = common_axes(doubled, config)
    assert axes.weights.sum() == pytest.approx(1.0)
    assert axes.weights[:2].min() > 0.45 > 0.02 > axes.weights[2:].max()
    model, _ = fit(doubled, config)
    unseen = clip("unseen", 50, late=6)
    heard, seen = predicted(model.taps, unseen.voice) @ axes.heard, unseen.lips[:, [0, 0, 0, 0, 1]] @ axes.lips
    np.testing.assert_allclose(np.corrcoef(seen[:, 0], seen[:, 1])[0, 1], 0, atol=0.2)
    np.testing.assert_allclose([heard[:, 0].std(), seen[:, 0].std()], 1, atol=0.2)
    assert best_lag(lag_correlation(heard, seen, axes.weights, 15))[0] == 6


def test_axes_of_few_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="2 clips; each is predicted by the others, give at least 3"):
        common_axes([clip("a", 0), clip("b", 1)])


def test_the_command_writes_the_same_bytes_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        made = clip(f"c{seed}", seed)
        np.savez(tmp_path / f"c{seed}.npz", lips_TD=made.lips, voice_TL=made.voice)
    outs = [tmp_path / "out" / "a.npz", tmp_path / "out" / "b.npz"]
    outs[0].parent.mkdir()
    axes = [out.with_suffix(".axes") for out in outs]
    for out, beside in zip(outs, axes, strict=True):
        main([str(tmp_path), str(out), str(beside)])
    for first, second in (outs, axes):
        assert first.read_bytes() == second.read_bytes()
    assert "4 clips, 19 s" in capsys.readouterr().out
    with np.load(outs[0]) as held:
        assert held["filter_KLD"].shape == (5, NUM_VOICE, NUM_LIPS)
        assert held["weights_D"].dtype == np.float32
    with np.load(axes[0]) as held:
        assert (held["heard_DC"].shape, held["weights_C"].shape) == ((NUM_LIPS, NUM_LIPS), (NUM_LIPS,))


def test_a_folder_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.npz with features; make them with python -m tasks.lip_corpus"):
        load_clips(tmp_path)
