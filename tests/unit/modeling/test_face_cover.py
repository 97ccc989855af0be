from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modeling.face_cover import REGIONS, fit, load, main, platt

NUM_FEATURES = 60


def examples(seed: int, num: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features whose first three tell the covered share; four files."""
    rng = np.random.default_rng(seed)
    covered = np.where(rng.random(num) < 0.4, 0.0, rng.random(num))
    features = rng.normal(size=(num, NUM_FEATURES))
    features[:, :3] += 4 * covered[:, None]
    return features, covered, np.arange(num) % 4


def test_unseen_examples_are_told_apart() -> None:
    model = fit(*examples(0), "mouth")
    features, covered, _ = examples(1, 400)
    odds = model.log_odds(features)
    assert (odds[covered > 0.8] > 0).mean() > 0.9
    assert (odds[covered < 0.05] < 0).mean() > 0.9


def test_a_feature_s_unit_does_not_matter() -> None:
    features, covered, file = examples(0)
    scale = np.geomspace(0.1, 100, NUM_FEATURES)
    plain, scaled = fit(features, covered, file, "mouth"), fit(features * scale, covered, file, "mouth")
    assert scaled.log_odds(features * scale) == pytest.approx(plain.log_odds(features), abs=0.01)


def test_platt_s_slope_is_bounded_for_separable_values() -> None:
    slope, offset = platt(np.r_[np.full(20, -1.0), np.full(20, 1.0)], np.arange(40) >= 20)
    assert slope == pytest.approx(np.log(21), abs=0.05)
    assert offset == pytest.approx(0, abs=0.01)


def test_the_command_writes_both_models(tmp_path: Path) -> None:
    for number in range(3):
        features, covered, _ = examples(number)
        held = {f"{r}_NF": features for r in REGIONS} | {f"{r}_N": covered for r in REGIONS}
        np.savez(tmp_path / f"{number}.npz", **held)
    main([str(tmp_path), str(tmp_path / "out.bin")])
    with np.load(tmp_path / "out.bin") as made:
        assert {n: made[n].shape for n in made.files} == {
            "mouth_F": (NUM_FEATURES,),
            "mouth_bias": (),
            "face_F": (NUM_FEATURES,),
            "face_bias": (),
        }
        features, covered, file = load(tmp_path, "mouth")
        assert features @ made["mouth_F"] + made["mouth_bias"] == pytest.approx(
            fit(features, covered, file, "mouth").log_odds(features), abs=1e-3
        )


def test_what_cannot_be_fitted(tmp_path: Path) -> None:
    features, covered, file = examples(0)
    with pytest.raises(ValueError, match="no .npz with features"):
        load(tmp_path, "mouth")
    with pytest.raises(ValueError, match="all of one kind"):
        fit(features, np.ones_like(covered), file, "mouth")
    with pytest.raises(ValueError, match="examples of one file only"):
        fit(features, covered, np.zeros_like(file), "mouth")
