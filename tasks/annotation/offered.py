"""What an annotator is told of the batches that are open to them: what an answer pays, what they gave, what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store import annotation_people, annotation_work
from tasks.annotation import money, results, terms


@dataclass(frozen=True)
class Offered:
    """One batch, as one person sees it. `price` is of an answer, in the currency of the person's region."""

    name: str
    schema_id: int
    price: str
    currency: str
    num_given: int
    num_left: int
    """Rounded as `left` is."""
    left: str


def batches_for(c: Any, person: Mapping[str, Any], now: float) -> list[Offered]:
    """Batches that the person gets work from, by priority; without those that others see first."""
    held = terms.of_region(c, person["region"], now)
    early = int(person["person_id"]) in results.top_quartile(annotation_people.everybody(c))
    found = []
    for row in annotation_work.open_to(c, int(person["person_id"]), now):
        if row["only_early"] and not early:
            continue
        milli = money.price_milli(row["price_milli"], held["rate"], held["currency"])
        num = rounded(_funded(row))
        price = money.price(milli, held["currency"])
        found.append(Offered(row["name"], row["schema_id"], price, held["currency"], row["num_given"], num, told(num)))
    return found


def _funded(row: Mapping[str, Any]) -> int:
    """Answers that the person may still give and the budget still pays."""
    num = int(row["num_left"])
    return min(num, row["budget_milli"] // row["price_milli"] - row["num_reserved"]) if row["price_milli"] else num


def rounded(num: int) -> int:
    """Down to tens, and from a hundred on to two digits.

    An exact count would tell hidden gold apart: it falls with each answer but with those.
    """
    step = 10 ** max(1, len(str(num)) - 2)
    return num // step * step if num >= 10 else (5 if num else 0)


def told(num: int) -> str:
    """Of a rounded number."""
    return "none" if not num else f"about {num:,}" if num >= 10 else "under 10"
