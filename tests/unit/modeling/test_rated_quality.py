"""People's ratings are predicted of groups that were not seen, or it is said that they are not."""

from __future__ import annotations

import numpy as np
import pytest

from infra.clip_features import Features, Inputs, Linear, blendshape_features
from modeling import rated_quality as models
from modeling.held_groups import folds, resamples
from modeling.recipes.ratings import RatedQuality, rated_quality

NUM, PER_GROUP = 120, 4
GROUPS = [f"g{i // PER_GROUP}" for i in range(NUM)]


def planted(told: float, seed: int = 0) -> tuple[Features, np.ndarray]:
    """Clips of 30 groups, 20 columns and a vector, and integer ratings with noise: by `told` they follow two columns and a
    direction of the vector, not the stored quality. A group has something of its own in every feature."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(NUM // PER_GROUP, 20)).repeat(PER_GROUP, 0)
    columns = 0.6 * own + rng.normal(size=(NUM, 20))
    vector = rng.normal(size=(NUM, 6)) * np.array([4, 1, 1, 1, 1, 1])
    grades = 3 + told * (columns[:, 1] - columns[:, 2] + vector[:, 0] / 4) / 1.5 + rng.normal(0, 0.5, NUM)
    columns[:, 0] = np.clip(3 + columns[:, 0] / 2, 1, 5)
    columns[::10, 2] = np.nan
    names = (models.AS_IT_IS, *(f"c{i}" for i in range(1, 20)))
    return Features(names, columns, {"v": vector}), np.clip(np.round(grades), 1, 5)


def test_it_finds_what_was_planted_beside_what_is_simpler() -> None:
    given, grades = planted(told=1.0)
    told = models.judged(RatedQuality(), given, grades, GROUPS)
    assert (told["num_clips"], told["num_groups"]) == (NUM, NUM // PER_GROUP)
    assert told["gain"]["low"] > 0
    of = told["measures"]
    assert of["ours"]["spearman"]["low"] > of["one_column"]["spearman"]["value"] > 0.2
    assert of["ours"]["mean_squared_error"]["high"] < of["mean_rating"]["mean_squared_error"]["low"]
    assert of["as_it_is"]["spearman"]["low"] < 0 < of["as_it_is"]["spearman"]["high"], "the stored quality has no say"
    assert "spearman" not in of["mean_rating"]
    for measures in of.values():
        for figure in measures.values():
            assert figure["low"] <= figure["value"] <= figure["high"]


def test_noise_is_not_surely_better_than_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "NUM_RESAMPLES", 200)
    passed = 0
    for seed in range(10):
        given, grades = planted(told=0.0, seed=seed)
        passed += models.judged(RatedQuality(), given, grades, GROUPS)["gain"]["low"] > 0
    assert passed <= 1


def test_the_judging_model_saw_nobody_of_a_clips_group() -> None:
    """What is told by the group alone, and at random by it, can't be predicted of others."""
    rng = np.random.default_rng(1)
    of_group = rng.integers(1, 6, NUM // PER_GROUP).repeat(PER_GROUP).astype(float)
    marks = np.eye(NUM // PER_GROUP).repeat(PER_GROUP, 0)
    given = Features(tuple(f"c{i}" for i in range(marks.shape[1])), marks, {})
    assert models.judged(RatedQuality(), given, of_group, GROUPS)["gain"]["high"] < 0.05
    clip_folds = [i % 5 for i in range(NUM)]  # as many folds that split groups would tell it
    seen = models.judged(RatedQuality(), given, of_group, [str(f) for f in clip_folds])
    assert seen["gain"]["low"] > 0.3


def test_the_penalty_is_chosen_by_what_was_held_out_and_the_weights_are_the_textbooks() -> None:
    given, grades = planted(told=1.0)
    model, chosen = models.fit(RatedQuality(), given, grades, GROUPS)
    x, y = model.inputs.of(given), grades - grades.mean()
    middled = x - x.mean(0)
    taken = np.flatnonzero(model.weights)
    assert len(taken) == min(chosen["num_inputs"], x.shape[1])
    own = middled[:, taken]
    right = np.linalg.solve(own.T @ own + chosen["penalty"] * NUM * np.eye(len(taken)), own.T @ y)
    assert np.allclose(model.weights[taken], right, atol=1e-8)
    assert {1, 2, 20} <= set(taken), "the two columns and the direction of the vector that were planted"
    assert model.values(given).mean() == pytest.approx(grades.mean())
    noise = planted(told=0.0)[1]
    assert np.ptp(models.fit(RatedQuality(), given, noise, GROUPS)[0].values(given)) < np.ptp(model.values(given)) / 2
    again = Linear.from_arrays(model.to_arrays())
    assert np.array_equal(again.values(given), model.values(given))


def test_spearman_is_the_textbooks() -> None:
    assert models.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])) == 1.0
    assert models.spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)
    assert models.spearman(np.ones(3), np.arange(3.0)) == 0.0


def test_inputs_are_standardised_and_what_is_missing_is_the_mean() -> None:
    columns = np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]])
    x = Inputs.fitted(Features(("a", "b"), columns, {}), 4).of(Features(("a", "b"), columns, {}))
    assert x.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_blendshapes_are_told_by_mean_deviation_and_largest_step() -> None:
    told = blendshape_features([[0, 10], None, [4, 10], [2, 10]])
    assert told["blendshape_mean_0"] == 2.0
    assert told["blendshape_deviation_1"] == 0.0
    assert (told["blendshape_step_0"], len(told)) == (4.0, 6)
    assert blendshape_features([[1, 2], None]) == {}


def test_folds_hold_whole_groups_and_draws_take_them_whole() -> None:
    fold = folds(GROUPS, 5, 0)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert all(len({f for f, g in zip(fold, GROUPS, strict=True) if g == one}) == 1 for one in set(GROUPS))
    assert all(len(d) == NUM for d in resamples(GROUPS, 3, 0))
    first = folds(GROUPS, 2, 0, first={"g1", "g2"})
    assert {int(first[4]), int(first[8])} == {0, 1}, "those dealt out first lie in both folds"


def test_what_can_not_be_meant_is_refused() -> None:
    assert rated_quality(num_folds="3").num_folds == 3
    for changed, why in (
        ({"depth": 3}, "has no value 'depth'"),
        ({"seed": "x"}, "is no int"),
        ({"num_folds": 1}, "below 2"),
    ):
        with pytest.raises(ValueError, match=f"recipe rated_quality: .*{why}"):
            rated_quality(**changed)
