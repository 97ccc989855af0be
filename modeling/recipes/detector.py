"""Detector of a kind of bad case: the values of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Detector:
    """A logistic regression over what is stored of a clip. All of it is published with the checkpoint."""

    flag: str
    l2: float = 30.0
    """On the squared weights of the standardised features, against a loss summed over clips."""
    num_components: int = 16
    """Principal components kept of each vector."""
    num_folds: int = 5
    seed: int = 0

    least_clips: int = 20
    """Flagged clips, and clips looked at without the flag: of 20, a recall of 0.8 is told to within 0.17."""
    least_groups: int = 5
    """People or videos of each: a fold that tests on nobody new proves nothing."""

    @property
    def name(self) -> str:
        return f"detector_{self.flag}"


def detector(flag: str, **changed: object) -> Detector:
    """The recipe with values changed. Raises ValueError for an unknown value, a wrong type, and one that can't be."""
    base, told = Detector(flag), {}
    for key, value in changed.items():
        known = [f for f in Detector.__dataclass_fields__ if f != "flag"]
        if key not in known:
            raise ValueError(f"recipe detector: has no value {key!r}; it has {', '.join(known)}")
        before = getattr(base, key)
        try:
            told[key] = type(before)(value)
        except (TypeError, ValueError):
            raise ValueError(f"recipe detector: {key}={value!r} is no {type(before).__name__}") from None
    made = replace(base, **told)
    lows = {"l2": 1e-3, "num_components": 1, "num_folds": 2, "seed": 0, "least_clips": 2, "least_groups": 2}
    for key, low in lows.items():
        if not getattr(made, key) >= low:
            raise ValueError(f"recipe detector: {key}={getattr(made, key)!r} is below {low}")
    return made
