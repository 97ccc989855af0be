"""Fits the two linear models by which the occlusion signal tells a covered mouth and a covered face.

    python -m tasks.cover_corpus OUT_FOLDER VIDEO ...       features of free and covered faces, one .npz a video
    python -m modeling.face_cover FOLDER OUT.npz            the fit, some seconds

What ships (`infra/weights/face_cover.npz`) was fitted on faces of GRID and on generated ones. To refit on footage of
one's own, run the two commands, put the file's sha256 into a new table of `infra/weights.toml` and name it in
`tasks/signals/occlusion.py`.

N examples, F features.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REGIONS = ("mouth", "face")


@dataclass(frozen=True)
class Config:
    """An example is free up to `free_below` of the region covered, covered from `covered_from`; between, it is left out.

    `penalty` is on the squared weights, in units of the mean power of an example of standardised features.
    """

    free_below: dict[str, float]
    covered_from: dict[str, float]
    penalty: float = 0.3


DEFAULT = Config(free_below={"mouth": 0.05, "face": 0.02}, covered_from={"mouth": 0.5, "face": 0.15})


@dataclass(frozen=True)
class LinearModel:
    """log-odds = features @ weights (F,) + bias."""

    weights: np.ndarray
    bias: float

    def log_odds(self, features_NF: np.ndarray) -> np.ndarray:
        return np.asarray(features_NF @ self.weights + self.bias)


def load(folder: Path, region: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features (N, F), covered share (N,), number of the file (N,)). Raises ValueError for a folder without files."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(
            f"{folder}: no .npz with features; make them with python -m tasks.cover_corpus {folder} VIDEO ..."
        )
    features, shares, numbers = [], [], []
    for number, file in enumerate(files):
        with np.load(file) as held:
            features.append(held[f"{region}_NF"].astype(np.float64))
            shares.append(held[f"{region}_N"].astype(np.float64))
        numbers.append(np.full(len(shares[-1]), number))
    return np.concatenate(features), np.concatenate(shares), np.concatenate(numbers)


def fit(
    features_NF: np.ndarray, covered_N: np.ndarray, file_N: np.ndarray, region: str, config: Config = DEFAULT
) -> LinearModel:
    """Ridge regression onto covered (1) and free (-1), solved in the examples' space because F > N; then a slope and
    an offset that turn its value into log-odds, from predictions for files that were left out (Platt, 1999).

    Raises ValueError when either kind is missing, or with a single file.
    """
    used = (covered_N <= config.free_below[region]) | (covered_N >= config.covered_from[region])
    x, file = features_NF[used], file_N[used]
    covered = covered_N[used] >= config.covered_from[region]
    if covered.all() or not covered.any():
        raise ValueError(f"{region}: {len(x)} examples, all of one kind; the fit needs free and covered ones")
    if len(np.unique(file)) < 2:
        raise ValueError(f"{region}: examples of one file only; the fit leaves each file out once")
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
    z = (x - mean) / spread
    gram = z @ z.T / z.shape[1]
    unseen = np.zeros(len(x))
    for number in np.unique(file):
        out = file == number
        dual, constant = _solve(gram[np.ix_(~out, ~out)], covered[~out], config.penalty)
        unseen[out] = gram[np.ix_(out, ~out)] @ dual + constant
    slope, offset = platt(unseen, covered)
    dual, constant = _solve(gram, covered, config.penalty)
    weights = slope * (z.T @ dual) / z.shape[1] / spread
    return LinearModel(weights, float(slope * constant + offset - mean @ weights))


def _solve(gram: np.ndarray, covered: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Weights of the examples, and a free constant; free and covered examples weigh the same in sum."""
    num = len(gram)
    weight = np.where(covered, 0.5 / covered.mean(), 0.5 / (1 - covered.mean()))
    system = np.ones((num + 1, num + 1))
    system[:num, :num] = gram + np.diag(penalty / weight)
    system[num, num] = 0.0
    told = np.linalg.solve(system, np.append(np.where(covered, 1.0, -1.0), 0.0))
    return told[:num], float(told[num])


def platt(values: np.ndarray, covered: np.ndarray) -> tuple[float, float]:
    """Slope and offset of log-odds. The targets stay off 0 and 1, so separable values do not send the slope off."""
    from scipy.optimize import minimize

    num = covered.sum(), (~covered).sum()
    target = np.where(covered, (num[0] + 1) / (num[0] + 2), 1 / (num[1] + 2))
    weight = np.where(covered, 0.5 / num[0], 0.5 / num[1])

    def loss(told: np.ndarray) -> float:
        odds = told[0] * values + told[1]
        return float((weight * (np.logaddexp(0, odds) - target * odds)).sum())

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    return float(slope), float(offset)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the models of covered mouths and faces.")
    parser.add_argument("folder", type=Path, help="feature files of python -m tasks.cover_corpus")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(argv)
    held: dict[str, np.ndarray] = {}
    for region in REGIONS:
        features, covered, file = load(options.folder, region)
        model = fit(features, covered, file, region)
        held[f"{region}_F"] = model.weights.astype(np.float32)
        held[f"{region}_bias"] = np.asarray(model.bias, np.float32)
        print(f"{region}: {len(covered)} examples of {len(np.unique(file))} files")
    with options.out.open("wb") as out:
        np.savez(out, **held)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
