"""What is stored of clips as numbers, and linear models over it: shared by their trainings and by the signal that applies one.

N clips; F inputs of a model: the columns, then the principal components of each vector, in order of the vectors' names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MAX_DEVIATION = 4.0


@dataclass(frozen=True)
class Features:
    """`columns` float64 (N, len(names)), NaN where a clip has no value; `vectors` by name, (N, D), a row of NaN where there
    is none."""

    names: tuple[str, ...]
    columns: np.ndarray
    vectors: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, rows: np.ndarray) -> Features:
        return Features(self.names, self.columns[rows], {n: v[rows] for n, v in self.vectors.items()})


@dataclass(frozen=True)
class Inputs:
    """How features become the standardised inputs of a model."""

    bases: Mapping[str, np.ndarray]
    """By vector, (D, P)."""
    centre: np.ndarray
    scale: np.ndarray

    @staticmethod
    def fitted(given: Features, num_components: int) -> Inputs:
        """Of the clips given: at most so many principal components of each vector, mean and deviation of each input."""
        bases = {name: _basis(vector, num_components) for name, vector in given.vectors.items()}
        inputs = _together(given, bases)
        has = np.isfinite(inputs)
        num = np.maximum(has.sum(0), 1)
        centre = np.where(has, inputs, 0.0).sum(0) / num
        spread = np.sqrt(np.where(has, (inputs - centre) ** 2, 0.0).sum(0) / num)
        # What hardly varies tells nothing, and would by its scale tell a lot.
        return Inputs(bases, centre, np.where(spread > 1e-9, spread, np.inf))

    def of(self, given: Features) -> np.ndarray:
        """(N, F), at most MAX_DEVIATION from 0; what a clip lacks counts as the mean."""
        x = np.nan_to_num((_together(given, self.bases) - self.centre) / self.scale, nan=0.0)
        return np.asarray(np.clip(x, -MAX_DEVIATION, MAX_DEVIATION))


@dataclass(frozen=True)
class Linear:
    """values = inputs @ weights (F,) + bias."""

    inputs: Inputs
    weights: np.ndarray
    bias: float

    def values(self, given: Features) -> np.ndarray:
        """(N,)"""
        return np.asarray(self.inputs.of(given) @ self.weights + self.bias)

    def to_arrays(self) -> dict[str, np.ndarray]:
        of = self.inputs
        told = {"centre": of.centre, "scale": of.scale, "weights": self.weights, "bias": np.array([self.bias])}
        return told | {f"basis.{name}": np.ascontiguousarray(basis) for name, basis in of.bases.items()}

    @staticmethod
    def from_arrays(told: Mapping[str, np.ndarray]) -> Linear:
        bases = {name.removeprefix("basis."): array for name, array in told.items() if name.startswith("basis.")}
        return Linear(Inputs(bases, told["centre"], told["scale"]), told["weights"], float(told["bias"][0]))


def blendshape_features(told: Sequence[Sequence[float] | None]) -> dict[str, float]:
    """Of the blendshapes of a clip's frames, None where none were taken: of each the mean, the deviation, and the largest
    step from a frame to the next. Empty with fewer than two."""
    shapes = [row for row in told if row is not None]
    if len(shapes) < 2:
        return {}
    shapes_TB = np.array(shapes, float)
    parts = {
        "mean": shapes_TB.mean(0),
        "deviation": shapes_TB.std(0),
        "step": np.abs(np.diff(shapes_TB, axis=0)).max(0),
    }
    return {f"blendshape_{what}_{i}": float(v) for what, part in parts.items() for i, v in enumerate(part)}


def _basis(vector_ND: np.ndarray, num_components: int) -> np.ndarray:
    known = vector_ND[np.isfinite(vector_ND).all(1)]
    if len(known) < 2:
        return np.zeros((vector_ND.shape[1], 0))
    middled = known - known.mean(0)
    few = len(known) < known.shape[1]  # then the products of clips are the smaller matrix, with the same components
    power, axes = np.linalg.eigh(middled @ middled.T if few else middled.T @ middled)
    order = np.argsort(-power)[:num_components]
    order = order[power[order] > 1e-9 * max(power.max(), 1e-30)]
    return np.ascontiguousarray(middled.T @ axes[:, order] / np.sqrt(power[order]) if few else axes[:, order])


def _together(given: Features, bases: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([given.columns, *(given.vectors[name] @ bases[name] for name in sorted(bases))], axis=1)
