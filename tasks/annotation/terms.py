"""What a region's people are paid by: its currency, hourly floor and rate, and from when a change of them holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store import annotation_people
from store.annotation_people import TERMS
from tasks.annotation import results


def put(c: Any, by: int, told: Mapping[str, Any], now: float) -> float:
    """Adds a region or changes it; gives from when its terms hold, in Unix seconds.

    A week is paid by what held when it began, so a change holds from the next one on. In a region's first week, which nobody
    began under other terms, it holds at once; once somebody there has worked, only where it takes nothing from them.
    """
    began, next_ = results.bounds(results.week(now))
    first_at = annotation_people.first_answer_at(c, told["name"])
    at_once = first_at is None or (
        first_at >= began and _no_less(annotation_people.terms(c, told["name"], began), told)
    )
    since = began if at_once else next_
    annotation_people.put_region(c, dict(told), terms_from=since)
    annotation_people.log(c, now, by, "put_region", told["name"], **told, holds_from=since)
    return since


def _no_less(had: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether nobody is paid less by the new terms for the same work."""
    same = had["currency"] == told["currency"]
    return same and all(told[k] >= had[k] for k in ("hourly_floor_minor", "rate"))


def of_regions(c: Any, now: float) -> list[dict[str, Any]]:
    """Each region with the terms that hold this week, and as `later` those of the next one, where they differ, else None."""
    began, next_ = results.bounds(results.week(now))
    found = []
    for name, region in annotation_people.regions_by_name(c).items():
        held, coming = (annotation_people.terms(c, name, at) for at in (began, next_))
        later = None if all(held[k] == coming[k] for k in TERMS) else {k: coming[k] for k in TERMS} | {"at": next_}
        found.append({**region, **{k: held[k] for k in TERMS}, "later": later})
    return found


def of_region(c: Any, region: str, now: float) -> dict[str, Any]:
    return next(one for one in of_regions(c, now) if one["name"] == region)
