"""What is usual for a person, told from one picture of the face: the values of a training."""

from __future__ import annotations

from dataclasses import dataclass

from modeling.recipes.ratings import with_values


@dataclass(frozen=True)
class Identity:
    """A ridge regression from a frame's mouth, turn and blendshapes to the person's rest and scale."""

    name: str = "identity"
    frames_per_person: int = 60
    """Evenly over all that is seen of a person: each may be the one picture that an avatar is known by."""
    penalty: float = 0.1
    """On the squared weights of inputs that vary by 1: 1 would halve one that stands alone."""
    num_folds: int = 5
    seed: int = 0

    least_clips: int = 12
    least_groups: int = 12
    """People: with fewer, folds that are judged on nobody new prove nothing."""


def identity(**changed: object) -> Identity:
    """The recipe with values changed. Raises ValueError for an unknown value and one that can't be."""
    return with_values(Identity(), changed)
