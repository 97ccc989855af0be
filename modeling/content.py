"""Fits the content filter: from features of drawn scenes to probabilities of nine kinds.

    python -m modeling.scenes PHOTOS SCENES                      drawn scenes of each kind; --art ART: in more styles
    python -m tasks.content_corpus FEATURES.npz SCENES           their features
    python -m modeling.content FEATURES.npz OUT.npz              the fit, under a minute

What ships is `infra/weights/content.npz`. To refit on footage of one's own, put videos named KIND_ANYTHING into SCENES,
run the last two commands, and put the file's sha256 into `infra/weights.toml`: the signal's rows become stale.

N scenes, F hand-made features, D dimensions of the clip's vector, P principal components of it, K kinds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """`jitter` is the noise on the standardised inputs, `drop` the share of them left out, at each step: both keep the
    network from resting on what only our own drawings show. A tenth of the scenes sets the temperature."""

    num_components: int = 32
    hidden: int = 48
    num_networks: int = 4
    steps: int = 600
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    jitter: float = 0.35
    drop: float = 0.2
    smoothing: float = 0.05
    held_for_temperature: int = 10
    max_deviation: float = 4.0
    seed: int = 0


@dataclass(frozen=True)
class ContentModel:
    """x = clip((features, vector @ basis) standardised); the logits are the mean over networks of two layers."""

    basis: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    layers: list[tuple[np.ndarray, np.ndarray]]
    temperature: float
    max_deviation: float

    def save(self, file: Path) -> None:
        """float16 where it is large; the same model gives the same bytes."""
        (w1, b1), (w2, b2) = self.layers
        with file.open("wb") as out:
            np.savez(
                out,
                basis_DP=self.basis.astype(np.float16),
                centre_I=self.centre.astype(np.float32),
                scale_I=self.scale.astype(np.float32),
                w1_EIH=w1.astype(np.float16),
                b1_EH=b1.astype(np.float32),
                w2_EHK=w2.astype(np.float16),
                b2_EK=b2.astype(np.float32),
                temperature=np.float32(self.temperature),
                max_deviation=np.float32(self.max_deviation),
            )


def load(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """(features and vectors side by side (N, F + D), kinds (N,)), as tasks/content_corpus.py writes them."""
    with np.load(file) as held:
        return held["features"].astype(np.float64), held["kinds"].astype(np.int64)


def fit(rows: np.ndarray, kinds: np.ndarray, num_vector: int, config: Config | None = None) -> ContentModel:
    """`num_vector` columns at the end of `rows` are the clip's vector.

    Raises ValueError when a kind has fewer than two scenes.
    """
    config = config or Config()
    counts = np.bincount(kinds)
    if counts.min() < 2:
        raise ValueError(f"scenes by kind are {counts.tolist()}; each kind needs at least two")
    vectors = rows[:, -num_vector:]
    middle = vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(vectors - middle, full_matrices=False)
    basis = axes[: config.num_components].T
    inputs = np.concatenate([rows[:, :-num_vector], vectors @ basis], axis=1)
    centre, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-4)
    standard = np.clip((inputs - centre) / scale, -config.max_deviation, config.max_deviation)
    order = np.random.default_rng(config.seed).permutation(len(rows))
    held = order[: max(len(order) // config.held_for_temperature, 2)]
    trained = np.setdiff1d(order, held)
    x, y = torch.tensor(standard, dtype=torch.float32), torch.tensor(kinds)
    networks = [
        _train(x[trained], y[trained], int(counts.size), config, config.seed + i) for i in range(config.num_networks)
    ]
    with torch.no_grad():
        logits = torch.stack([network(x[held]) for network in networks]).mean(dim=0)
    layers = [
        (
            torch.stack([_linear(n, i).weight.detach().T for n in networks]).numpy(),
            torch.stack([_linear(n, i).bias.detach() for n in networks]).numpy(),
        )
        for i in (0, 2)
    ]
    return ContentModel(basis, centre, scale, layers, _temperature(logits, y[held]), config.max_deviation)


def _linear(network: nn.Sequential, place: int) -> nn.Linear:
    layer = network[place]
    assert isinstance(layer, nn.Linear)
    return layer


def _train(x: Tensor, y: Tensor, num_kinds: int, config: Config, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(x.shape[1], config.hidden), nn.ReLU(), nn.Linear(config.hidden, num_kinds))
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    loss = nn.CrossEntropyLoss(label_smoothing=config.smoothing)
    for _ in range(config.steps):
        noisy = x + config.jitter * torch.randn_like(x)
        noisy = noisy * (torch.rand_like(x) > config.drop)
        optimiser.zero_grad()
        loss(network(noisy), y).backward()
        optimiser.step()
    return network


def _temperature(logits: Tensor, y: Tensor) -> float:
    """The one of a few that makes the held scenes likeliest. Source: Guo et al., On Calibration, ICML 2017."""
    tried = [0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0]
    return min(tried, key=lambda t: float(nn.functional.cross_entropy(logits / t, y)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the content filter.")
    parser.add_argument("features", type=Path, help="of python -m tasks.content_corpus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--vector", type=int, default=1280, help="dimensions of the clip's vector")
    parser.add_argument("--steps", type=int, default=Config().steps)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows, kinds = load(options.features)
    model = fit(rows, kinds, options.vector, Config(steps=options.steps))
    model.save(options.out)
    print(f"{len(rows)} scenes, {np.bincount(kinds).tolist()} by kind; temperature {model.temperature}")


if __name__ == "__main__":
    main()
