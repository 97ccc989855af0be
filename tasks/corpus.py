"""The steps over all clips, which follow the signals: who is who, who is seen in two places, what is a copy of what.

Each is brought up to date when the signals it rests on are wanted and nothing of them is stale any more; a run over
unchanged clips asks two queries and computes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from store.schema import MADE_FROM
from store.tier_sql import Tier
from store.workspace import Reader, Workspace
from tasks import dedup, identity, pairs


@dataclass(frozen=True)
class Step:
    has_stale: Callable[[Reader], bool]
    bring_up_to_date: Callable[[Workspace], int]
    """Gives the number of clips that it worked on."""


STEPS: Mapping[str, Step] = {
    "identities": Step(identity.has_stale, identity.assign),
    "pairs": Step(pairs.has_stale, pairs.bring_up_to_date),  # after the people that it pairs
    "duplicates": Step(dedup.has_stale, dedup.bring_up_to_date),
}
"""By the relation of tier SQL that the step makes."""


def stale(reader: Reader, signals: Collection[str]) -> list[str]:
    """The relations that must be brought up to date, of those made from these signals."""
    return [name for name in _wanted(signals) if STEPS[name].has_stale(reader)]


def bring_up_to_date(workspace: Workspace, signals: Collection[str]) -> dict[str, int]:
    """By relation: the clips worked on."""
    return {name: STEPS[name].bring_up_to_date(workspace) for name in _wanted(signals)}


def refuse_stale(reader: Reader, tier: Tier) -> None:
    """Raises ValueError when a relation over all clips that the tier reads is older than the clips."""
    late = [name for name in stale(reader, tier.signals) if re.search(rf"\b{name}\b", tier.inlined)]
    if late:
        raise ValueError(
            f"tier {tier.name}: {' and '.join(late)} are older than the clips; run headroom reprocess, then build it again"
        )


def _wanted(signals: Collection[str]) -> list[str]:
    return [name for name in STEPS if set(MADE_FROM[name]) <= set(signals)]
