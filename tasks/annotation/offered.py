"""What an annotator is told of the batches that are open to them: what an answer pays, what they gave, what is left, and why
there is nothing to begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store import annotation_people, annotation_queue, annotation_work
from tasks.annotation import calibration, desk, money, results, terms

WAITS = {
    "train": "training waits for gold, which reviewers have yet to make",
    "exam": "the exam waits for gold, which reviewers have yet to make",
    "paused": "you are paused until an administrator lets you go on",
    "banned": "it is closed for you",
    "none_left": "nothing that is open is left for you until there is another batch",
}
"""Why a schema has nothing for a person."""


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


def waits_in(
    c: Any, person: Mapping[str, Any], schemas: Sequence[Mapping[str, Any]], offers: Sequence[Offered], now: float
) -> tuple[bool, dict[int, str]]:
    """Whether there is something to begin with, by the rules of desk.claim; and, for each schema whose guidelines the person
    acknowledged and that has nothing for them, which of WAITS it is.

    `schemas` is store.annotation_work.open_schemas, `offers` is batches_for.
    """
    person_id, begins = int(person["person_id"]), False
    waits: dict[int, str] = {}
    for schema in schemas:
        if schema["acknowledged_at"] is None:
            continue
        stage = desk.stage_of(schema)
        if stage == calibration.QUALIFIED:
            if any(o.num_left for o in offers if o.schema_id == schema["id"]):
                begins = True
            else:
                waits[schema["id"]] = "none_left"
        elif stage == calibration.BANNED:
            waits[schema["id"]] = "banned"
        else:
            purpose, left = desk.calibration_left(c, person_id, dict(schema), stage)
            if left <= 0:
                waits[schema["id"]] = "paused"  # out of a schema without a calibration that could bring back
            elif not annotation_queue.gold_left(c, person_id, schema["id"], int(schema["round"] or 1)):
                waits[schema["id"]] = purpose
            else:
                begins = True
    return begins or bool(annotation_queue.held(c, person_id, now)), waits


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
