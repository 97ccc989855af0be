from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modeling.content import Config, fit, load, main

NUM_VECTOR = 20


def scenes(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three kinds: the first two differ in a feature, the third in the vector."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(num) % 3
    rows = rng.normal(size=(num, 6 + NUM_VECTOR))
    rows[:, 0] += 6.0 * (kinds == 1)
    rows[:, 6:] += 2.5 * (kinds == 2)[:, None]
    return rows, kinds


def probabilities(file: Path, rows: np.ndarray) -> np.ndarray:
    with np.load(file) as held:
        m = {name: held[name].astype(np.float64) for name in held.files}
    x = np.concatenate([rows[:, :-NUM_VECTOR], rows[:, -NUM_VECTOR:] @ m["basis_DP"]], axis=1)
    x = np.clip((x - m["centre_I"]) / m["scale_I"], -m["max_deviation"], m["max_deviation"])
    hidden = np.maximum(np.einsum("ni,eih->neh", x, m["w1_EIH"]) + m["b1_EH"], 0)
    logits = (np.einsum("neh,ehk->nek", hidden, m["w2_EHK"]) + m["b2_EK"]).mean(axis=1) / m["temperature"]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_unseen_scenes_are_told_apart_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    rows, kinds = scenes(150, 0)
    np.savez(tmp_path / "f.npz", features=rows.astype(np.float32), kinds=kinds)
    for name in ("a.npz", "b.npz"):
        main([str(tmp_path / "f.npz"), str(tmp_path / name), "--vector", str(NUM_VECTOR), "--steps", "80"])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    unseen, truth = scenes(150, 1)
    told = probabilities(tmp_path / "a.npz", unseen)
    assert (told.argmax(axis=1) == truth).mean() > 0.9
    assert told.sum(axis=1) == pytest.approx(np.ones(150))


def test_labels_without_sense_are_not_believed(tmp_path: Path) -> None:
    """The temperature and the noise keep it from being sure where there is nothing to learn."""
    rng = np.random.default_rng(2)
    rows, kinds = rng.normal(size=(150, 6 + NUM_VECTOR)), rng.integers(0, 3, 150)
    fit(rows, kinds, NUM_VECTOR, Config(steps=100)).save(tmp_path / "m.npz")
    assert probabilities(tmp_path / "m.npz", rng.normal(size=(200, 6 + NUM_VECTOR))).max(axis=1).mean() < 0.75


def test_each_kind_needs_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="each kind needs at least two"):
        fit(np.zeros((3, 30)), np.array([0, 0, 1]), NUM_VECTOR)


def test_load_gives_what_was_saved(tmp_path: Path) -> None:
    rows, kinds = scenes(9, 0)
    np.savez(tmp_path / "f.npz", features=rows, kinds=kinds)
    read = load(tmp_path / "f.npz")
    assert np.array_equal(read[0], rows)
    assert np.array_equal(read[1], kinds)
