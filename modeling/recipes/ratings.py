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


Recipe = TypeVar("Recipe", Ratings, RatedQuality)
LOWS = {
    "isotonic_from": 2, "num_components": 1, "num_folds": 2, "seed": 0, "least_clips": 2, "least_groups": 2,
}  # fmt: skip


def ratings(**changed: object) -> Ratings:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    return _changed(Ratings(), changed)


def rated_quality(**changed: object) -> RatedQuality:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    return _changed(RatedQuality(), changed)


def _changed(base: Recipe, changed: Mapping[str, object]) -> Recipe:
    told, known = {}, [k for k in LOWS if hasattr(base, k)]
    for key, value in changed.items():
        if key not in known:
            raise ValueError(f"recipe {base.name}: has no value {key!r}; it has {', '.join(known)}")
        try:
            told[key] = int(str(value))
        except ValueError:
            raise ValueError(f"recipe {base.name}: {key}={value!r} is no int") from None
        if told[key] < LOWS[key]:
            raise ValueError(f"recipe {base.name}: {key}={value!r} is below {LOWS[key]}")
    return replace(base, **told)  # type: ignore[arg-type]
