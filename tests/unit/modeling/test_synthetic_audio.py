from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modeling.synthetic_audio import Config, Line, fit, line, main

NUM_FEATURES = 12


def corpus(seed: int, num_voices: int = 8, apart: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Windows of voices that differ from each other in all features, and by being made in the first two."""
    rng = np.random.default_rng(seed)
    rows, made, voice = [], [], []
    for v in range(2 * num_voices):
        centre = rng.normal(size=NUM_FEATURES)
        centre[:2] += apart * (v % 2)
        num = int(rng.integers(3, 12))
        rows.append(centre + 0.5 * rng.normal(size=(num, NUM_FEATURES)))
        made += [bool(v % 2)] * num
        voice += [f"voice {v}"] * num
    return np.concatenate(rows), np.array(made), np.array(voice), np.full(len(made), "clean")


def test_it_tells_voices_it_has_not_seen() -> None:
    model, above = fit(*corpus(0, 60), Config(false_positive_ratio=0.05))
    rows, made, _, _ = corpus(1, 60)
    logits = model.logits(rows)
    assert (logits[made] >= 0).mean() > 0.8
    assert (logits[~made] >= 0).mean() < 0.15
    assert len(above) == 120
    assert np.mean([above[f"voice {v}"] for v in range(1, 120, 2)]) > 0.8


@pytest.mark.parametrize("ratio", [0.05, 0.3])
def test_the_line_leaves_that_share_of_unseen_people_above_it(ratio: float) -> None:
    model, above = fit(*corpus(0, 60, apart=1.0), Config(false_positive_ratio=ratio))
    assert np.mean([above[f"voice {v}"] for v in range(0, 120, 2)]) == pytest.approx(ratio, abs=0.02)
    rows, made, _, _ = corpus(1, 60, apart=1.0)
    assert (model.logits(rows)[~made] >= 0).mean() == pytest.approx(ratio, abs=0.12)


def test_a_voice_with_many_windows_weighs_no_more_than_one_with_few() -> None:
    parts = corpus(0)
    loud = parts[2] == "voice 1"
    again, _ = fit(*(np.concatenate([part, np.repeat(part[loud], 20, axis=0)]) for part in parts))
    once, _ = fit(*parts)
    np.testing.assert_allclose(once.lines[0].weights, again.lines[0].weights, atol=1e-5)


def test_a_clean_sound_weighs_as_much_as_several_spoilt_ones() -> None:
    rows, made, voice, _ = corpus(0)
    ways = np.where(np.arange(len(made)) % 3 == 0, "clean", "0 mp3")
    ways[:3] = "clean"
    thrice = np.concatenate([np.arange(len(made)), *2 * [np.flatnonzero(ways == "clean")]])
    weighed = line(rows, made, voice, ways, Config(clean_weight=3.0))
    repeated = line(rows[thrice], made[thrice], voice[thrice], ways[thrice], Config(clean_weight=1.0))
    np.testing.assert_allclose(weighed.weights, repeated.weights, atol=1e-6)
    alike = line(rows, made, voice, ways, Config(clean_weight=1.0))
    assert np.abs(weighed.weights - alike.weights).max() > 1e-3


def test_a_resynthesised_voice_is_held_back_with_its_own() -> None:
    """Else the fit would know the person from the copy and call both alike."""
    rows, made, voice, treatment = corpus(0, 10)
    copied = np.array(
        [f"griffinlim-voice {int(v.split()[1]) - 1}" if m else v for v, m in zip(voice, made, strict=True)]
    )
    asked: list[set[str]] = []

    def note(_rows: np.ndarray, _made: np.ndarray, seen: np.ndarray, _ways: np.ndarray, _config: Config) -> Line:
        asked.append(set(seen))
        return Line(np.zeros(NUM_FEATURES), np.ones(NUM_FEATURES), np.ones(NUM_FEATURES), 0.0, 4.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modeling.synthetic_audio.line", note)
        fit(rows, made, copied, treatment)
    assert len(asked) == 11
    for seen in asked:
        assert all((f"griffinlim-voice {v}" in seen) == (f"voice {v}" in seen) for v in range(0, 20, 2))
    assert [len(seen) for seen in asked] == [18] * 10 + [20]


def test_what_was_never_seen_is_cut() -> None:
    model, _ = fit(*corpus(0))
    (only,) = model.lines
    far = only.mean + only.scale * 4
    assert model.logits(far[None]) == pytest.approx(model.logits(far[None] + 1000 * only.scale))


def test_machines_on_both_sides_of_people_have_a_line_each() -> None:
    """Vocoders lie at -3, people at 0, other machines at 3: no one line holds both kinds."""
    rows, made, voice, _ = corpus(0, 25)
    back, _, people, _ = corpus(1, 25)
    vocoded = np.array([f"sourcefilter-{v}" for v in people])
    kept = np.array([int(v.split()[1]) % 2 == 0 for v in people])
    back = back[kept] - 3.0 * (np.arange(NUM_FEATURES) < 2)
    texture = np.concatenate([rows, back])
    is_made, names = np.concatenate([made, np.ones(len(back), bool)]), np.concatenate([voice, vocoded[kept]])
    model, above = fit(texture, is_made, names, np.full(len(texture), "clean"), Config(false_positive_ratio=0.05))
    assert len(model.lines) == 2
    told = {
        kind: np.mean([ratio for name, ratio in above.items() if fits(name)])
        for kind, fits in {
            "people": lambda v: not v.startswith("s") and int(v.split()[1]) % 2 == 0,
            "machines": lambda v: not v.startswith("s") and int(v.split()[1]) % 2 == 1,
            "vocoders": lambda v: v.startswith("s"),
        }.items()
    }
    assert told["people"] == pytest.approx(0.05, abs=0.04)
    assert min(told["machines"], told["vocoders"]) > 0.7, told


def test_a_kind_of_few_voices_is_refused() -> None:
    parts = corpus(0)
    made, voice = parts[1:3]
    with pytest.raises(ValueError, match="1 made voices; the fit would learn them by heart, give at least 3"):
        fit(*(part[~made | (voice == "voice 1")] for part in parts))
    few = made | np.isin(voice, ["voice 0", "voice 2"])
    with pytest.raises(ValueError, match="2 real voices; the fit would learn them by heart, give at least 3"):
        fit(*(part[few] for part in parts))


def test_the_command_writes_the_same_bytes_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, made, voice, treatment = corpus(0)
    np.savez(tmp_path / "in.npz", texture_RK=rows, made_R=made, voice_R=voice, treatment_R=treatment)
    outs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for out in outs:
        main([str(tmp_path / "in.npz"), str(out)])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert "voice 15" in capsys.readouterr().out
    with np.load(outs[0]) as held:
        assert set(held.files) == {"mean_JK", "scale_JK", "weights_JK", "bias_J", "clip"}
