"""From a measured quality to people's grades: the values of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace


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


def ratings(**changed: object) -> Ratings:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    base, told = Ratings(), {}
    lows = {"isotonic_from": 2, "num_folds": 2, "seed": 0, "least_clips": 2, "least_groups": 2}
    for key, value in changed.items():
        if key not in lows:
            raise ValueError(f"recipe visual_quality: has no value {key!r}; it has {', '.join(lows)}")
        try:
            told[key] = int(str(value))
        except ValueError:
            raise ValueError(f"recipe visual_quality: {key}={value!r} is no int") from None
        if told[key] < lows[key]:
            raise ValueError(f"recipe visual_quality: {key}={value!r} is below {lows[key]}")
    return replace(base, **told)  # type: ignore[arg-type]
