"""What is usual for a person, told from one picture: a rule that was planted is found, noise is not taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeling.identity import (
    MEAN,
    NUM_BLENDSHAPES,
    NUM_INPUTS,
    OURS,
    REST,
    SCALE,
    USUAL,
    IdentityModel,
    fit,
    identity_of,
    inputs,
    judged,
    person_from,
    targets,
    usual,
)
from modeling.motion import NUM_PARAMETERS, Person
from modeling.recipes.identity import identity
from store.registry import Checkpoint

PEOPLE, FRAMES = 30, 20
RECIPE = identity()


def crowd(*, told: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Frames of people who smile (a blendshape), which widens the mouth beyond its rest; `told` False: at random instead."""
    draw = np.random.default_rng(seed)
    rest = np.column_stack([draw.normal(0.02, 0.004, PEOPLE), draw.normal(0.6, 0.05, PEOPLE), draw.normal(0.4, 0.05, PEOPLE), draw.normal(20, 2, PEOPLE)])  # fmt: skip
    scale = np.exp(draw.normal(np.log([0.055, 0.04, 0.07, 1.6]), 0.05, (PEOPLE, 4)))
    smile, jaw = draw.random((2, PEOPLE, FRAMES))
    if not told:
        rest = rest.mean(axis=0) + 0 * rest
    mouth = rest[:, None] + np.stack([0.1 * jaw, 0.3 * smile, -0.2 * smile, 5 * jaw], axis=-1)
    if not told:
        mouth = draw.normal(mouth.mean((0, 1)), mouth.std((0, 1)), mouth.shape)
        rest = np.column_stack([draw.normal(m, s, PEOPLE) for m, s in ((0.02, 0.01), (0.6, 0.1), (0.4, 0.1), (20, 3))])
    raw = np.zeros((PEOPLE * FRAMES, NUM_PARAMETERS))
    raw[:, :4] = mouth.reshape(-1, 4)
    shapes = np.zeros((PEOPLE * FRAMES, NUM_BLENDSHAPES))
    shapes[:, 3], shapes[:, 9] = smile.ravel(), jaw.ravel()
    true = np.repeat(np.concatenate([rest, np.log(scale)], axis=1), FRAMES, axis=0)
    return inputs(raw, shapes), true, [f"p{i // FRAMES}" for i in range(PEOPLE * FRAMES)]


def test_a_smile_is_taken_away_and_people_who_were_not_seen_are_told_better() -> None:
    given, true, people = crowd(told=True)
    told = judged(RECIPE, given, true, people, people)
    assert told["num_people"] == PEOPLE
    ours = told["measures"][OURS]["rest_error"]["value"]
    assert ours < 0.5 * told["measures"][USUAL]["rest_error"]["value"]
    assert told["ahead"][USUAL]["rest_error"]["low"] > 0
    assert told["ahead"][MEAN]["rest_error"]["low"] > 0


def test_faces_that_tell_nothing_are_not_ahead_of_the_mean_person() -> None:
    given, true, people = crowd(told=False)
    told = judged(RECIPE, given, true, people, people)
    assert told["ahead"][MEAN]["rest_error"]["low"] <= 0


def test_what_it_does_not_tell_better_stays_as_usual() -> None:
    given, true, _ = crowd(told=True)
    made = fit(RECIPE, given, true)
    rest_alone = IdentityModel(made.centre, made.spread, made.weights, made.bias, ("rest",))
    assert np.array_equal(rest_alone.told(given)[:, SCALE], usual(given)[:, SCALE])
    assert np.array_equal(rest_alone.told(given)[:, REST], made.told(given)[:, REST])
    assert (made.told(given)[:, 0] >= 0).all()
    far = given.copy()
    far[0, 7:] = 1e6
    assert np.abs(made.told(far)[0] - made.bias).max() < 50, "a face like no other does not blow up"


def test_a_person_has_the_rest_and_scale_that_were_told() -> None:
    person = Person(np.arange(9.0), np.full(9, 2.0))
    told = np.array([0.01, 0.5, 0.4, 18, *np.log([0.05, 0.04, 0.07, 1.5])])
    made = person_from(told, person)
    assert np.allclose(targets(made), told)
    assert np.array_equal(made.rest[4:], person.rest[4:])
    assert np.array_equal(made.scale[4:], person.scale[4:])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (None, ""),
        (lambda a: a.update(bias=np.full(8, np.nan)), "bias holds values that are not finite"),
        (lambda a: a.update(weights=np.zeros((3, 8))), r"weights is not of shape \(59, 8\)"),
        (lambda a: a.pop("spread"), "spread is not of shape"),
    ],
)
def test_a_checkpoint_is_what_was_published_or_is_refused(change: Any, why: str) -> None:
    from safetensors.numpy import save

    given, true, _ = crowd(told=True)
    made = fit(RECIPE, given, true)
    arrays = made.arrays()
    if change is not None:
        change(arrays)
    found = Checkpoint("c0", {"kind": "identity", "keeps": ["rest"]}, save(arrays))
    if change is None:
        again = identity_of(found)
        assert again.keeps == ("rest",)
        assert np.array_equal(again.weights, made.weights)
        assert again.weights.shape == (NUM_INPUTS, 8)
        return
    with pytest.raises(ValueError, match=f"checkpoint c0: {why}"):
        identity_of(found)


def test_what_is_no_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="is of kind 'renderer', not identity"):
        identity_of(Checkpoint("c0", {"kind": "renderer"}, b""))
    with pytest.raises(ValueError, match="its weights can't be read"):
        identity_of(Checkpoint("c0", {"kind": "identity", "keeps": []}, b"no weights"))
    with pytest.raises(ValueError, match="recipe identity: has no value 'speed'; it has"):
        identity(speed=1)
    with pytest.raises(ValueError, match="penalty='much' is no float"):
        identity(penalty="much")
    assert identity(penalty="0.5").penalty == 0.5
