"""Which pictures of a person go with which: reference and target, two clips of one person in two places.

A sampler of batches for models that are shown who somebody is. Its draws follow from the seed and the batch's number
alone, so a run that was killed goes on with the pairs that would have come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

from store.clip_groups import size_group
from store.frozen import Frozen, reference_pairs


@dataclass(frozen=True)
class ReferencePair:
    """`reference` shows who it is, `target` is to be made: clip ids. `group` is the lesser of both in resolution and in
    length, as "720p/4-8s"."""

    reference: str
    target: str
    identity: str
    group: str
    face_similarity: float
    background_similarity: float


def read_pairs(held: Frozen) -> list[ReferencePair]:
    """The pairs of which a snapshot holds both clips, each in both directions. Raises ValueError when there is none."""
    made = []
    for row in reference_pairs(held).to_pylist():
        group = size_group(row["short_side_px"] or 0, row["duration_s"])
        for reference, target in ((row["clip_a"], row["clip_b"]), (row["clip_b"], row["clip_a"])):
            likeness = (row["face_similarity"], row["background_similarity"])
            made.append(ReferencePair(reference, target, row["identity"], group, *likeness))
    if not made:
        raise ValueError(
            f"snapshot {held.snapshot_id}: holds no two clips of one person in two places; headroom sql "
            '"SELECT count(*) FROM pairs" tells whether the workspace does'
        )
    return made


class PairSampler(Sampler[list[ReferencePair]]):
    """Batches of pairs without end, each of one group, so that it is even in resolution and length.

    Groups take turns, within a group its people, and of a person their pairs: over any stretch of batches two groups
    differ by one batch at most, two people of a group by one pair, whoever has more footage. A pair comes again only
    after all pairs of its person and group have come. `first` is the number of the batch to go on with.
    """

    def __init__(self, pairs: Sequence[ReferencePair], *, batch_size: int = 8, seed: int = 0, first: int = 0) -> None:
        if not pairs or batch_size < 1 or seed < 0 or first < 0:
            raise ValueError(
                f"{len(pairs)} pairs, batch_size {batch_size}, seed {seed}, first {first}: "
                "give a pair, a batch of 1 or more, and numbers from 0 on"
            )
        self.batch_size, self.seed, self.first = batch_size, seed, first
        grouped: dict[str, dict[str, list[ReferencePair]]] = {}
        for pair in sorted(pairs, key=lambda p: (p.group, p.identity, p.target, p.reference)):
            grouped.setdefault(pair.group, {}).setdefault(pair.identity, []).append(pair)
        self._groups = [list(people.values()) for people in grouped.values()]

    def __iter__(self) -> Iterator[list[ReferencePair]]:
        number = self.first
        while True:
            yield self.batch(number)
            number += 1

    def batch(self, number: int) -> list[ReferencePair]:
        """The batch of this number, counted from 0."""
        group, turn = self._drawn(len(self._groups), number, 0)
        people = self._groups[group]
        made = []
        for place in range(turn * self.batch_size, (turn + 1) * self.batch_size):
            person, own_turn = self._drawn(len(people), place, 1, group)
            pairs = people[person]
            made.append(pairs[self._drawn(len(pairs), own_turn, 2, group, person)[0]])
        return made

    def _drawn(self, count: int, place: int, *key: int) -> tuple[int, int]:
        """(which of `count`, how often it came before) at a place of an endless row of shuffles."""
        turn, at = divmod(place, count)
        return int(_shuffle(self.seed, count, turn, *key)[at]), turn


@lru_cache(maxsize=4096)
def _shuffle(seed: int, count: int, turn: int, *key: int) -> np.ndarray:
    return np.random.default_rng([seed, turn, *key]).permutation(count)
