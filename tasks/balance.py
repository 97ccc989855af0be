"""Balance: how often each clip of a tier is to be drawn, so that categories have the shares that a file of targets says.

Iterative proportional fitting (Deming and Stephan 1940) gives the weights that change the tier least (in relative
entropy) among those that meet every share. Bounds on the weights are met by Dykstra's projections under the same
measure. What can't be met, for want of clips or for the bounds, is said target by target, never passed over.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from store.categories import categorised
from store.guard import Query
from store.snapshot import Snapshot, weighted

OTHERS = "(others)"
"""Clips of categories that the file does not name, and those whose expression is NULL."""
MAX_SWEEPS = 5000
TOLERANCE = 1e-9
MET = 0.005
"""A share is met when it is nearer than this to its target."""
DECIMALS = 6
FORBIDDEN = "kept from it by other shares or the bounds"


@dataclass(frozen=True)
class Target:
    """`by` is a SQL expression over a clip's columns; `shares` of all draws by its value, as text."""

    name: str
    by: str
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Targets:
    """Weights have a mean of 1 and lie in [min_weight, max_weight], but for clips that have no share at all."""

    targets: tuple[Target, ...]
    max_weight: float = 5.0
    min_weight: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "targets": [asdict(t) for t in self.targets]}


def read_targets(file: Path) -> Targets:
    """The targets of a TOML file (docs/tiers.md says how it is written). Raises ValueError for anything else."""
    try:
        told = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{file}: can't be read as TOML ({error})") from None
    targets = told.pop("target", None)
    if not isinstance(targets, dict) or not targets or not all(isinstance(t, dict) for t in targets.values()):
        raise ValueError(f'{file}: names no target; write [target.NAME] with by = "EXPRESSION" and shares = {{...}}')
    bounds = {"max_weight": told.pop("max_weight", 5.0), "min_weight": told.pop("min_weight", 0.0)}
    if told:
        raise ValueError(f"{file}: {sorted(told)[0]!r} is none of target, max_weight, min_weight")
    low, high = bounds["min_weight"], bounds["max_weight"]
    if not all(_is_number(v) for v in (low, high)) or not 0 <= low < 1 < high:
        raise ValueError(
            f"{file}: min_weight {low!r}, max_weight {high!r}; the mean is 1, so give 0 <= min < 1 and max > 1"
        )
    return Targets(tuple(_target(file, n, t) for n, t in targets.items()), float(high), float(low))


def _target(file: Path, name: str, told: Mapping[str, Any]) -> Target:
    by, shares = told.get("by"), told.get("shares")
    if set(told) != {"by", "shares"} or not isinstance(by, str) or not isinstance(shares, dict) or not shares:
        raise ValueError(f'{file}: target {name} needs by = "EXPRESSION" and shares = {{ VALUE = SHARE, ... }}')
    if wrong := [k for k, v in shares.items() if not _is_number(v) or not 0 <= v <= 1]:
        raise ValueError(f"{file}: target {name}: share of {wrong[0]!r} is {shares[wrong[0]]!r}; it lies in [0, 1]")
    total = sum(shares.values())
    if total > 1 + 1e-6 or total <= 0:
        raise ValueError(f"{file}: target {name}: its shares sum to {total:g}; all clips together are 1")
    return Target(name, by, {str(k): float(v) for k, v in sorted(shares.items())})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def fit(
    codes: Sequence[np.ndarray], shares: Sequence[np.ndarray], low: float = 0.0, high: float = np.inf
) -> np.ndarray:
    """Weights (N,) of mean 1 in [low, high], low < 1 < high.

    `codes` gives each clip's category by margin, each (N,) from 0 on; `shares` the target share of each category, above
    0 and summing to 1, of which each has a clip. Where all can be met it is the solution nearest to equal weights;
    else the bounds hold, and the shares as nearly as the last sweep came.
    """
    num = len(codes[0])
    log_w: np.ndarray = np.zeros(num)
    correction: np.ndarray = np.zeros(num)
    with np.errstate(divide="ignore"):
        log_low, log_high = np.log(low), np.log(high)
    for _ in range(MAX_SWEEPS):
        before = log_w
        for code, share in zip(codes, shares, strict=True):
            log_w = log_w + np.log(num * share / np.bincount(code, np.exp(log_w), len(share)))[code]
        free = log_w + correction
        log_w = np.clip(free, log_low, log_high)
        correction = free - log_w
        if np.abs(log_w - before).max() < TOLERANCE:
            break
    return _of_mean_one(np.exp(log_w), low, high)


def _of_mean_one(weights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scaled, within the bounds, by the one factor that gives a mean of 1; by bisection."""
    least, most = 1e-12, 1e12
    for _ in range(200):
        factor = np.sqrt(least * most)
        least, most = (factor, most) if np.clip(weights * factor, low, high).mean() < 1 else (least, factor)
    return np.asarray(np.clip(weights * most, low, high))


def balanced(held: Snapshot, query: Query, targets: Targets, fingerprints: Mapping[str, str]) -> Snapshot:
    """The snapshot with a weight for each clip; its header says what was asked for and what came of it.

    Raises ValueError for expressions that are refused, and when no clip has a share in every target.
    """
    rows = categorised(query, held.tier, {t.name: t.by for t in targets.targets})
    if rows["clip_id"].to_pylist() != held.clip_ids:
        raise ValueError(f"tier {held.tier}: its clips changed meanwhile; run the command again")
    weights, margins = weigh(rows.drop_columns("clip_id"), targets)
    told = {"asked": targets.to_dict(), "fingerprints": dict(fingerprints), "margins": margins}
    return weighted(held, weights.tolist(), told)


def weigh(categories: pa.Table, targets: Targets) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Weights (N,), and by target and category {"target", "category", "clips", "before", "asked", "got", "why"}: `why` is
    empty where the share is met."""
    codes, shares = [], []
    for target in targets.targets:
        names = [*target.shares, OTHERS]
        place = {name: i for i, name in enumerate(names)}
        told = categories[target.name].to_pylist()
        codes.append(np.array([place.get(v, len(names) - 1) for v in told], int))
        rest = 1 - sum(target.shares.values())
        shares.append(np.array([*target.shares.values(), rest if rest > 1e-6 else 0.0]))
    # A clip without a share in one target is drawn for none, which may empty a category of another.
    drawn = np.logical_and.reduce([share[code] > 0 for code, share in zip(codes, shares, strict=True)])
    if not drawn.any():
        raise ValueError("no clip has a share in every target; headroom sql shows the values that the expressions have")
    fitted_codes, fitted_shares = [], []
    for code, share in zip(codes, shares, strict=True):
        there = np.unique(code[drawn])
        fitted_codes.append(np.searchsorted(there, code[drawn]))
        fitted_shares.append(share[there] / share[there].sum())
    weights: np.ndarray = np.zeros(len(drawn))
    weights[drawn] = fit(fitted_codes, fitted_shares, targets.min_weight, targets.max_weight)
    weights = np.round(weights, DECIMALS)
    margins = []
    for target, code, share in zip(targets.targets, codes, shares, strict=True):
        num = len(target.shares) + 1
        clips, able = np.bincount(code, minlength=num), np.bincount(code[drawn], minlength=num)
        got = np.bincount(code, weights, num) / weights.sum()
        for i, name in enumerate([*target.shares, OTHERS]):
            if not clips[i] and not share[i]:
                continue
            lack = FORBIDDEN if got[i] < share[i] else "takes what others lack"
            why = "" if abs(got[i] - share[i]) <= MET else lack
            why = why and ("no such clip" if not clips[i] else why if able[i] else "no such clip has a share elsewhere")
            if not share[i] and clips[i]:
                why = "has no share: never drawn"
            told = {"clips": int(clips[i]), "before": clips[i] / len(code), "asked": share[i], "got": got[i]}
            told |= {k: round(float(told[k]), DECIMALS) for k in ("before", "asked", "got")}
            margins.append({"target": target.name, "category": name, **told, "why": why})
    return weights, margins
