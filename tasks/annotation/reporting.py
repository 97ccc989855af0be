"""A rater gives an item back that can't be judged: it counts for nothing, the time for the floor, and designers see why.

Runs inside one transaction of the annotation database, as `tasks.annotation.desk` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store import annotation_people, annotation_reports
from store import annotation_queue as queue
from tasks.annotation.desk import Gone, advance, counted_active_s

REASONS = ("unplayable", "disturbing", "other")
"""That a rater may give."""
WORDS = {
    "gone": "whose media are gone",
    "unplayable": "that can't be played",
    "disturbing": "as disturbing",
    "other": "for another reason",
}
MAX_TOLD = 500


def report(c: Any, person: Mapping[str, Any], token: str, told: Mapping[str, Any], gone: bool, now: float) -> None:
    """Gives an assignment back: {"reason", "told", "active_s"}. Sent again it changes nothing.

    `gone`: its media are not there, whatever the rater says; then nobody gets the item until they are back. Raises desk.Gone
    for an assignment of somebody else, ValueError for an unknown reason and for one that was answered.
    """
    mine = queue.by_token(c, person["person_id"], token)
    if mine is None:
        raise Gone(token)
    if mine["value"] is not None:
        raise ValueError("this item was answered before; what was sent then stands")
    queue.item(c, mine["item_id"])  # locked: two who give it back at once wait for each other
    if annotation_reports.report(c, mine["id"]):
        return
    reason, words = _checked(told)
    active_s = counted_active_s(c, mine, told.get("active_s"), now)
    annotation_reports.give_back(c, mine["id"], "gone" if gone else reason, words, active_s, now)
    if gone:
        annotation_reports.hide(c, mine["item_id"], now)
    if mine["purpose"] in ("train", "exam"):
        advance(c, mine, now)
    about = {"reason": "gone" if gone else reason, "told": words, "batch": mine["batch_id"], "purpose": mine["purpose"]}
    annotation_people.log(c, now, person["person_id"], "report", f"item {mine['item_id']}", **about)


def _checked(told: Mapping[str, Any]) -> tuple[str, str]:
    reason, words = told.get("reason"), told.get("told", "")
    if reason not in REASONS:
        raise ValueError(f"reason {reason!r} is none of {', '.join(REASONS)}")
    if not isinstance(words, str) or len(words) > MAX_TOLD:
        raise ValueError(f"what is told beside the reason is a text of at most {MAX_TOLD} characters")
    return str(reason), words.strip()


def show_again(c: Any, by: int, batch: Mapping[str, Any], item_ids: Sequence[int], now: float) -> None:
    """Items whose media are back go to raters again."""
    num = annotation_reports.show(c, item_ids)
    annotation_people.log(c, now, by, "look_again", batch["name"], back=num)
