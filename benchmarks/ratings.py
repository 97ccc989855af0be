"""How many ratings `headroom train rated_quality` takes, on made clips: `python -m benchmarks.ratings [--trainings 20]`.

A clip has 150 columns that 20 causes and its group move, two clips a group. People's ratings follow five of the columns,
with noise of a third of their variance, or nothing at all. Told is how often the rule of publication lets a training pass; its
intervals are of 200 draws here, of 1,000 in a training.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from unittest import mock

import numpy as np

from infra.clip_features import Features
from modeling import rated_quality as models
from modeling.recipes.ratings import RatedQuality

NUM_COLUMNS, NUM_CAUSES, PER_GROUP, NUM_CLIPS = 150, 20, 2, (40, 80, 150, 300)


def made(num: int, told: float, seed: int) -> tuple[Features, np.ndarray, list[str]]:
    """Features, ratings from 1 to 5, groups; `told` is the deviation of what the columns say, noise has 0.6."""
    rng = np.random.default_rng(seed)
    group_N = np.arange(num) // PER_GROUP
    causes = 0.7 * rng.normal(size=(group_N.max() + 1, NUM_CAUSES))[group_N] + 0.7 * rng.normal(size=(num, NUM_CAUSES))
    columns = causes @ rng.normal(size=(NUM_CAUSES, NUM_COLUMNS)) / np.sqrt(NUM_CAUSES)
    columns += 0.7 * rng.normal(size=columns.shape)
    said = columns[:, :5] @ rng.normal(size=5)
    ratings = np.clip(np.round(3 + told * said / said.std() + 0.6 * rng.normal(size=num)), 1, 5)
    names = tuple(f"c{i}" for i in range(NUM_COLUMNS))
    return Features(names, columns, {}), ratings, [f"g{i}" for i in group_N]


def passed(num: int, told: float, trainings: int) -> tuple[float, float]:
    """(share of trainings that are published, mean Spearman on groups that were not seen)."""
    found = [models.judged(replace(RatedQuality(), seed=s), *made(num, told, s)) for s in range(trainings)]
    order = np.mean([f["measures"]["ours"]["spearman"]["value"] for f in found])
    return float(np.mean([f["gain"]["low"] > 0 for f in found])), float(order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=20, help="of each row")
    options = parser.parse_args()
    print("rated clips   planted: published, Spearman   noise: published")
    with mock.patch.object(models, "NUM_RESAMPLES", 200):
        for num in NUM_CLIPS:
            share, order = passed(num, 0.8, options.trainings)
            print(
                f"{num:11}   {share:18.2f}, {order:8.2f}   {passed(num, 0.0, options.trainings)[0]:16.2f}", flush=True
            )


if __name__ == "__main__":
    main()
