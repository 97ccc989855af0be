"""Pay of a week that was closed, after an audit that came late: the ledger is never changed, so a line of the open week corrects it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from store import annotation_people, annotation_work
from store import annotation_queue as queue
from tasks.annotation import money, pay, results


@dataclass(frozen=True)
class _Due:
    """What a closed week is worth by the answers that are accepted now, in minor units."""

    base: int
    corrections: int
    """Of weeks before it, that were written into it."""
    floor: int
    """For the active time; what base and corrections lack to it is paid beside them."""
    bonus: int

    @property
    def total(self) -> int:
        return max(self.base + self.corrections, self.floor) + self.bonus


def overturn(c: Any, answer: Mapping[str, Any], now: float) -> None:
    """An accepted answer that an audit speaks against is paid by the piece no more.

    In a week that is open it is left out when that is closed. For one that was closed the open week gets a line that names
    it: what the closed one would have come to, by its own terms, floor and share of bonus, less what it came to.
    """
    annotation_work.lock_pay(c)
    person = annotation_people.person(c, person_id=answer["person_id"])
    assert person is not None
    period = results.week(answer["submitted_at"])
    held = annotation_work.ledger_rows(c, person_id=person["id"], period=period)
    if not results.closed(held):
        queue.settle(c, answer["id"], accepted=False)
        return
    before = _due(c, person, period, held)
    queue.settle(c, answer["id"], accepted=False)
    _correct(c, person, period, before, _due(c, person, period, held), now)


def _due(c: Any, person: Mapping[str, Any], period: str, held: Sequence[Mapping[str, Any]]) -> _Due:
    """The bonus is the share of the base that it was when the week was closed: audits of later weeks don't change it."""
    terms = annotation_people.terms(c, person["region"], results.bounds(period)[0])
    work, active_s = results.worked(c, person, period, terms)
    base = sum(pay.base_minor(w) for w in work)
    had = {k: sum(r["amount_minor"] for r in held if r["kind"] == k) for k in ("base", pay.CORRECTION, "bonus")}
    bonus = money.whole(Decimal(had["bonus"]) * base / had["base"]) if had["base"] else 0
    return _Due(base, had[pay.CORRECTION], pay.floor_minor(active_s, terms["hourly_floor_minor"]), bonus)


def _correct(c: Any, person: Mapping[str, Any], period: str, before: _Due, after: _Due, now: float) -> None:
    open_ = results.week(now)
    if results.closed(held := annotation_work.ledger_rows(c, person_id=person["id"], period=open_)):
        open_ = results.week(results.bounds(open_)[1])  # it was closed while we waited for our turn
        held = annotation_work.ledger_rows(c, person_id=person["id"], period=open_)
    then, terms = (annotation_people.terms(c, person["region"], results.bounds(p)[0]) for p in (period, open_))
    told = [
        money.decimal(x, then["currency"]) for x in (before.base, after.base, before.bonus, after.bonus, after.floor)
    ]
    why = "{0}: an audit overturned an answer; base {1} to {2}, bonus {3} to {4}, floor {5} {6}"
    amount, currency = after.total - before.total, terms["currency"]
    if currency != then["currency"]:
        amount = money.converted(amount, then["currency"], then["rate"], currency, terms["rate"])
    row = {"person_id": person["id"], "period": open_, "kind": pay.CORRECTION, "amount_minor": amount, "at": now}
    row |= {"currency": currency, "why": why.format(period, *told, then["currency"]), "line": len(held)}
    annotation_work.add_ledger(c, [row])
