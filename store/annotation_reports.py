"""Items that raters gave back without an answer: the statements. Each runs inside a transaction of the caller's."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store.annotation import assignments, items, people, reports, unshown

Row = dict[str, Any]


def report(c: Connection, assignment_id: int) -> Row | None:
    found = c.execute(sa.select(reports).where(reports.c.assignment_id == assignment_id)).mappings().one_or_none()
    return dict(found) if found else None


def give_back(c: Connection, assignment_id: int, reason: str, told: str, active_s: float, now: float) -> None:
    """Ends a lease by a report. Its place is free for others, and its row keeps the item from the same rater."""
    ended = {"state": "expired", "submitted_at": now, "active_s": active_s}
    c.execute(assignments.update().where(assignments.c.id == assignment_id).values(**ended))
    c.execute(reports.insert().values(assignment_id=assignment_id, reason=reason, told=told, at=now))


_NUM_GIVEN_BACK = (
    sa.select(sa.func.count())
    .select_from(reports)
    .join(assignments, assignments.c.id == reports.c.assignment_id)
    .join(items, items.c.id == assignments.c.item_id)
    .where(assignments.c.person_id == sa.bindparam("person"), items.c.schema_id == sa.bindparam("schema"))
    .where(assignments.c.purpose == sa.bindparam("purpose"), assignments.c.round == sa.bindparam("round"))
)


def num_given_back(c: Connection, person_id: int, schema_id: int, purpose: str, round_: int) -> int:
    """What a person gave back of a calibration."""
    told = {"person": person_id, "schema": schema_id, "purpose": purpose, "round": round_}
    return int(c.execute(_NUM_GIVEN_BACK, told).scalar_one())


def hide(c: Connection, item_id: int, now: float) -> None:
    """Nobody gets the item until its media are back."""
    if c.execute(sa.select(unshown.c.at).where(unshown.c.item_id == item_id)).scalar() is None:
        c.execute(unshown.insert().values(item_id=item_id, at=now))


def show(c: Connection, item_ids: Collection[int]) -> int:
    return int(c.execute(unshown.delete().where(unshown.c.item_id.in_(list(item_ids)))).rowcount)


def unshown_items(c: Connection, batch_id: int) -> list[tuple[int, list[Row]]]:
    """(item, media) of a batch's items that nobody gets, since their media were gone."""
    query = sa.select(items.c.id, items.c.media).join(unshown, unshown.c.item_id == items.c.id)
    rows = c.execute(query.where(items.c.batch_id == batch_id, items.c.state != "retired").order_by(items.c.id))
    return [(int(key), json.loads(media)) for key, media in rows]


def of_item(c: Connection, item_id: int) -> list[Row]:
    """Who gave the item back: `login`, `reason`, `told` in their words, `at` and `purpose`, the first before the last."""
    query = (
        sa.select(people.c.login, reports.c.reason, reports.c.told, reports.c.at, assignments.c.purpose)
        .join(assignments, assignments.c.id == reports.c.assignment_id)
        .join(people, people.c.id == assignments.c.person_id)
        .where(assignments.c.item_id == item_id)
    )
    return [dict(r) for r in c.execute(query.order_by(reports.c.at, reports.c.assignment_id)).mappings()]


def items_given_back(c: Connection, batch_id: int, limit: int) -> list[int]:
    """Items of the batch that were given back, by whatever reason, the latest first."""
    query = (
        sa.select(items.c.id)
        .join(assignments, assignments.c.item_id == items.c.id)
        .join(reports, reports.c.assignment_id == assignments.c.id)
        .where(items.c.batch_id == batch_id, items.c.kind != "repeat")
        .group_by(items.c.id)
        .order_by(sa.func.max(reports.c.at).desc(), items.c.id)
        .limit(limit)
    )
    return [int(key) for key in c.execute(query).scalars()]


def of_batch(c: Connection, batch_id: int) -> Row:
    """`num_unshown`, how many items can't be shown, and `reports`, how many were given back for other reasons, by reason."""
    query = (
        sa.select(reports.c.reason, sa.func.count())
        .join(assignments, assignments.c.id == reports.c.assignment_id)
        .join(items, items.c.id == assignments.c.item_id)
        .where(items.c.batch_id == batch_id, reports.c.reason != "gone")
        .group_by(reports.c.reason)
        .order_by(reports.c.reason)
    )
    given_back = {str(reason): int(num) for reason, num in c.execute(query)}
    return {"num_unshown": len(unshown_items(c, batch_id)), "reports": given_back}
