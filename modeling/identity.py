"""The identity encoder of the motion family: what is usual for a person, from one frame of the face.

Motion is normalised by a person's own rest and scale (modeling/motion.py), which a clip tells and a single picture does not: its
lips may be open, smiling or pursed. This one learns, over frames of people whose clips are there, which rest and scale belong
to a face that looks so.

Legend: N frames, F inputs, K = 8 targets: the rest of the four parameters of the mouth and the logarithms of their scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.held_groups import figure, folds, resamples
from modeling.motion import HEAD, MOUTH, NUM_PARAMETERS, Person
from modeling.recipes.identity import Identity
from store.registry import Checkpoint

KIND = "identity"
NUM_BLENDSHAPES = 52
NUM_INPUTS = 4 + 3 + NUM_BLENDSHAPES
REST, SCALE = slice(0, 4), slice(4, 8)
CLOSED_REST = 0.02
"""Gap of lips that are closed, in distances between the eyes' outer corners; a picture's own, where it is less."""
USUAL_SCALE = np.array([0.055, 0.04, 0.07, 1.6])
"""Of the mouth's parameters, in raw units: about the median of the standard deviations of eight people who talk."""
NUM_RESAMPLES = 1000
OURS, USUAL, MEAN = "ours", "usual", "mean_person"
MEASURES = ("rest_error", "scale_error")


def inputs(raw_NP: np.ndarray, blendshapes_NB: np.ndarray) -> np.ndarray:
    """(N, F) of frames' raw motion and blendshapes: the mouth, how far the head is turned, and the expression."""
    turn = np.abs(raw_NP[:, HEAD])
    turn[:, 0] = raw_NP[:, HEAD][:, 0]  # looking up is not looking down; left is as right
    return np.asarray(np.concatenate([raw_NP[:, MOUTH], turn, blendshapes_NB], axis=1), np.float64)


def targets(person: Person) -> np.ndarray:
    """(K,)"""
    return np.concatenate([person.rest[MOUTH], np.log(person.scale[MOUTH])])


def usual(inputs_NF: np.ndarray) -> np.ndarray:
    """(N, K) without any training: the mouth rests as it is in the picture, with its lips closed, and moves as people's do."""
    made = np.concatenate([inputs_NF[:, :4], np.tile(np.log(USUAL_SCALE), (len(inputs_NF), 1))], axis=1)
    made[:, 0] = np.minimum(made[:, 0], CLOSED_REST)
    return np.asarray(made)


@dataclass(frozen=True)
class IdentityModel:
    """centre and spread (F,), weights (F, K), bias (K,). `keeps` says which of the two it tells better than `usual`; the other
    stays as that has it."""

    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    keeps: tuple[str, ...] = ("rest", "scale")

    def told(self, inputs_NF: np.ndarray) -> np.ndarray:
        """(N, K). No face's rest lies outside of what a few standard deviations of faces reach."""
        standard = np.clip((inputs_NF - self.centre) / self.spread, -4, 4)
        made = usual(inputs_NF)
        ours = standard @ self.weights + self.bias
        for name, part in (("rest", REST), ("scale", SCALE)):
            if name in self.keeps:
                made[:, part] = ours[:, part]
        made[:, 0] = np.maximum(made[:, 0], 0.0)
        return made

    def arrays(self) -> dict[str, np.ndarray]:
        return {"centre": self.centre, "spread": self.spread, "weights": self.weights, "bias": self.bias}


def identity_of(found: Checkpoint) -> IdentityModel:
    """Of a published checkpoint. Raises ValueError for one of another kind, and for weights that can't be read, don't have their
    shapes, or hold a NaN or an infinity."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if found.told.get("kind") != KIND:
        raise ValueError(f"checkpoint {found.id}: is of kind {found.told.get('kind')!r}, not {KIND}")
    try:
        arrays = load(found.weights)
    except SafetensorError as error:
        raise ValueError(f"checkpoint {found.id}: its weights can't be read ({error}); train it again") from error
    shapes = {"centre": (NUM_INPUTS,), "spread": (NUM_INPUTS,), "weights": (NUM_INPUTS, 8), "bias": (8,)}
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"checkpoint {found.id}: {name} is not of shape {shape}; train it again")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"checkpoint {found.id}: {name} holds values that are not finite; train it again")
    centre, spread, weights, bias = (np.asarray(arrays[n], np.float64) for n in shapes)
    return IdentityModel(centre, spread, weights, bias, tuple(found.told["keeps"]))


def fit(recipe: Identity, inputs_NF: np.ndarray, targets_NK: np.ndarray) -> IdentityModel:
    """Source: Hoerl and Kennard, Ridge Regression, Technometrics 1970."""
    centre, spread = inputs_NF.mean(axis=0), np.maximum(inputs_NF.std(axis=0), 1e-3)
    standard = np.clip((inputs_NF - centre) / spread, -4, 4)
    bias = targets_NK.mean(axis=0)
    power = standard.T @ standard / len(standard) + recipe.penalty * np.eye(NUM_INPUTS)
    weights = np.linalg.solve(power, standard.T @ (targets_NK - bias) / len(standard))
    return IdentityModel(centre, spread, weights, bias)


def person_from(told_K: np.ndarray, person: Person) -> Person:
    """A person with this rest and scale of the mouth; lids and head are as `person` has them."""
    rest, scale = person.rest.copy(), person.scale.copy()
    rest[MOUTH], scale[MOUTH] = told_K[REST], np.exp(told_K[SCALE])
    assert rest.shape == (NUM_PARAMETERS,)
    return Person(rest, scale)


def judged(
    recipe: Identity, inputs_NF: np.ndarray, targets_NK: np.ndarray, people: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """{"num_people", "measures": {who: {measure: figure}}, "ahead": {baseline: {measure: figure}}}, of people whom the judging
    model did not see, with 95 % intervals that resample groups. Above 0, "ahead" says that ours errs less.

    `rest_error`: by how much the mouth's rest is off, in standard deviations of the person's own motion, the mean over the
    four parameters; `scale_error`: the mean size of the scale's error, as a logarithm.
    """
    fold_N = folds(groups, recipe.num_folds, recipe.seed)
    said = {OURS: np.empty_like(targets_NK), USUAL: usual(inputs_NF), MEAN: np.empty_like(targets_NK)}
    for fold in range(int(fold_N.max()) + 1):
        learn = fold_N != fold
        said[OURS][~learn] = fit(recipe, inputs_NF[learn], targets_NK[learn]).told(inputs_NF[~learn])
        said[MEAN][~learn] = targets_NK[learn].mean(axis=0)
    names = list(dict.fromkeys(people))
    rows = {name: np.flatnonzero(np.array(people) == name) for name in names}
    off = {who: _errors(values, targets_NK) for who, values in said.items()}
    by_person = {
        who: {m: np.array([e[rows[n]].mean() for n in names]) for m, e in of.items()} for who, of in off.items()
    }
    drawn = resamples([groups[rows[n][0]] for n in names], NUM_RESAMPLES, recipe.seed)

    def told(values: np.ndarray) -> dict[str, float]:
        return figure(values.mean(), [float(values[d].mean()) for d in drawn])

    return {
        "num_people": len(names),
        "measures": {who: {m: told(of[m]) for m in MEASURES} for who, of in by_person.items()},
        "ahead": {
            who: {m: told(by_person[who][m] - by_person[OURS][m]) for m in MEASURES} for who in (USUAL, MEAN)
        },
    }  # fmt: skip


def _errors(said_NK: np.ndarray, true_NK: np.ndarray) -> dict[str, np.ndarray]:
    off = np.abs(said_NK - true_NK)
    return {
        "rest_error": (off[:, REST] / np.exp(true_NK[:, SCALE])).mean(axis=1),
        "scale_error": off[:, SCALE].mean(axis=1),
    }
