"""From what is measured to people's ratings: the values of two trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar


@dataclass(frozen=True)
class Ratings:
    """A line through the ratings; from `isotonic_from` clips on, whatever rising map fits best."""

    name: str = "visual_quality"
    isotonic_from: int = 200
    num_folds: int = 5
    seed: int = 0

    least_clips: int = 30
    least_groups: int = 5
    """People or videos: a fold that tests on nobody new proves nothing."""


@dataclass(frozen=True)
class RatedQuality:
    """A ridge regression for each dimension that people rated, over what is stored of a clip."""

    name: str = "rated_quality"
    num_components: int = 16
    """Principal components kept of each vector."""
    num_folds: int = 5
    """Of the judging, and within each of its folds once more, to choose the penalty."""
    seed: int = 0

    least_clips: int = 30
    """Of each dimension that is learnt."""
    least_groups: int = 8
    """People or videos of each: an interval that resamples fewer of them promises too much."""


LOWS = {
    "isotonic_from": 2, "num_components": 1, "num_folds": 2, "seed": 0, "least_clips": 2, "least_groups": 2,
    "frames_per_person": 1, "penalty": 0.0,
}  # fmt: skip
Recipe = TypeVar("Recipe")


def ratings(**changed: object) -> Ratings:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    return with_values(Ratings(), changed)


def rated_quality(**changed: object) -> RatedQuality:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    return with_values(RatedQuality(), changed)


def with_values(base: Recipe, changed: Mapping[str, object]) -> Recipe:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    name, told = getattr(base, "name", ""), {}
    known = [k for k in LOWS if hasattr(base, k)]
    for key, value in changed.items():
        if key not in known:
            raise ValueError(f"recipe {name}: has no value {key!r}; it has {', '.join(known)}")
        kind = type(getattr(base, key))
        try:
            told[key] = kind(str(value))
        except ValueError:
            raise ValueError(f"recipe {name}: {key}={value!r} is no {kind.__name__}") from None
        if not told[key] >= LOWS[key]:
            raise ValueError(f"recipe {name}: {key}={value!r} is below {LOWS[key]}")
    return replace(base, **told)  # type: ignore[type-var]
