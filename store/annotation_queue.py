"""Items, leases and answers: the statements behind the queue. Each runs inside a transaction of the caller's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store import annotation_outbox
from store.annotation import assignments, batches, items, labels, schemas

Row = dict[str, Any]

_WHOLE = (
    sa.select(
        assignments,
        items.c.media, items.c.truth, items.c.kind, items.c.schema_id, items.c.state.label("item_state"),
        items.c.repeat_of, schemas.c.task_type, schemas.c.body, schemas.c.name.label("schema_name"),
        schemas.c.version.label("schema_version"),
    )
    .join(items, items.c.id == assignments.c.item_id)
    .join(schemas, schemas.c.id == items.c.schema_id)
)  # fmt: skip
_ENDLESS = 1_000_000_000
_JSON = ("media", "truth", "body", "value")


@dataclass(frozen=True)
class Offer:
    """An item to be leased: why, and which batch pays."""

    item_id: int
    purpose: str
    batch_id: int | None = None
    round: int = 0
    swapped: bool = False


def lease(c: Connection, person_id: int, offer: Offer, now: float, ttl_s: float) -> str:
    """Takes the item's place for a person; gives the assignment's token. The database refuses a place that is taken."""
    token = secrets.token_urlsafe(18)
    values = {"token": token, "person_id": person_id, "state": "leased", "leased_at": now, "expires_at": now + ttl_s}
    c.execute(assignments.insert().values(**values, **offer.__dict__))
    return token


def held(c: Connection, person_id: int, now: float) -> list[Row]:
    """The person's live leases, the oldest first."""
    mine = (assignments.c.person_id == person_id) & (assignments.c.state == "leased") & (assignments.c.expires_at > now)
    return _rows(c, _WHOLE.where(mine).order_by(assignments.c.id))


def by_token(c: Connection, person_id: int, token: str) -> Row | None:
    """A person's own assignment; None for one of somebody else, as for one that does not exist."""
    found = _rows(c, _WHOLE.where((assignments.c.token == token) & (assignments.c.person_id == person_id)))
    return found[0] if found else None


def shown(c: Connection, token: str) -> Row | None:
    """The media of an assignment and whether its sides are swapped."""
    query = sa.select(items.c.media, assignments.c.swapped).join(items, items.c.id == assignments.c.item_id)
    return _one(c, query.where(assignments.c.token == token))


def extend(c: Connection, person_id: int, token: str, expires_at: float) -> bool:
    """Whether the lease is still the person's; then it lasts until `expires_at`."""
    mine = (assignments.c.token == token) & (assignments.c.person_id == person_id) & (assignments.c.state == "leased")
    return c.execute(assignments.update().where(mine).values(expires_at=expires_at)).rowcount == 1


def release(c: Connection, assignment_id: int) -> None:
    mine = (assignments.c.id == assignment_id) & (assignments.c.state == "leased")
    c.execute(assignments.update().where(mine).values(state="expired"))


def lapsed(c: Connection, now: float, limit: int = 20) -> list[int]:
    due = (assignments.c.state == "leased") & (assignments.c.expires_at <= now)
    query = sa.select(assignments.c.id).where(due).order_by(assignments.c.id).limit(limit)
    return list(c.execute(query.with_for_update(skip_locked=True)).scalars())


def answer(c: Connection, assignment_id: int, state: str, told: Row) -> None:
    values = {**told, "value": json.dumps(told["value"], sort_keys=True), "state": state}
    c.execute(assignments.update().where(assignments.c.id == assignment_id).values(**values))


def next_open(c: Connection, person_id: int, schema_ids: Sequence[int], now: float, *, early: bool) -> Row | None:
    """The open item that is most wanted and that the person never had: by the batch's priority, uncertain ones first.

    On PostgreSQL an item that another claim has locked is passed over. Each batch is asked for its first item, which an
    index tells; ordering the items of all takes 20 ms for 20,000.
    """
    opened = batches.c.opens_at + (0 if early else batches.c.head_start_s) <= now
    funded = (batches.c.num_reserved + 1) * batches.c.price_milli <= batches.c.budget_milli
    query = sa.select(batches.c.id, batches.c.priority, batches.c.price_milli).where(
        batches.c.state == "open", batches.c.goal == "work", opened, funded, batches.c.schema_id.in_(schema_ids)
    )
    best: tuple[tuple[int, float, int], Row] | None = None
    for batch in c.execute(query.order_by(batches.c.priority.desc(), batches.c.id)).mappings().all():
        if best and batch["priority"] < best[0][0]:
            break
        if found := _one(c, _first_open(person_id, batch["id"])):
            rank = (batch["priority"], found["uncertainty"], -found["id"])
            if best is None or rank > best[0]:
                best = rank, {**found, "price_milli": batch["price_milli"]}
    return best[1] if best else None


def _first_open(person_id: int, batch_id: int) -> sa.Select[Any]:
    return (
        sa.select(items)
        .where(items.c.batch_id == batch_id, items.c.state == "open", items.c.kind == "work")
        .where(items.c.num_taken < items.c.num_wanted, ~_had(person_id))
        .order_by(items.c.uncertainty.desc(), items.c.id)
        .limit(1)
        .with_for_update(of=items, skip_locked=True)
    )


def next_gold(c: Connection, person_id: int, schema_id: int, round_: int) -> Row | None:
    """Gold that the person has not had in this round of calibration; what was never had, or longest ago, comes first.

    Round 0 is work, where nothing is met twice either. Gold of a calibration long ago may be hidden there: two calibrations
    use up sixty items, and who came back from a pause would meet none.
    """
    of_schema = (items.c.schema_id == schema_id) & (items.c.kind == "gold") & (items.c.state == "done")
    last = (
        sa.select(sa.func.max(assignments.c.leased_at))
        .where(assignments.c.item_id == items.c.id, assignments.c.person_id == person_id)
        .scalar_subquery()
    )
    query = (
        sa.select(items)
        .where(of_schema, ~_had(person_id, assignments.c.round == round_))
        .order_by(sa.func.coalesce(last, 0), sa.func.random())
        .limit(1)
    )
    return _one(c, query)


def next_review(c: Connection, person_id: int) -> Row | None:
    """An item for a reviewer who never had it: audits, disputes and gold to be written, oldest first."""
    taken = sa.select(assignments.c.id).where(
        assignments.c.item_id == items.c.id,
        assignments.c.purpose == "review",
        assignments.c.state.in_(["leased", "answered"]),
    )
    query = (
        sa.select(items)
        .join(batches, batches.c.id == items.c.batch_id)
        .where(items.c.state == "review", batches.c.state == "open", ~taken.exists(), ~_had(person_id))
        .order_by(batches.c.priority.desc(), items.c.id)
        .limit(1)
        .with_for_update(of=items, skip_locked=True)
    )
    return _one(c, query)


def to_repeat(c: Connection, person_id: int, schema_id: int, at_least_ago: int) -> Row | None:
    """The person's own label of an item of a schema, at least so many answers ago, that was not yet repeated."""
    mine = (assignments.c.person_id == person_id) & (assignments.c.state == "answered")
    again = items.alias("again")
    repeated = sa.select(again.c.id).where(again.c.repeat_of == items.c.id, again.c.for_person == person_id)
    query = (
        sa.select(items, assignments.c.swapped, assignments.c.batch_id.label("paid_by"))
        .join(assignments, assignments.c.item_id == items.c.id)
        .join(batches, batches.c.id == items.c.batch_id)
        .where(mine, assignments.c.purpose == "label", items.c.schema_id == schema_id, ~repeated.exists())
        .where(
            batches.c.state == "open", (batches.c.num_reserved + 1) * batches.c.price_milli <= batches.c.budget_milli
        )
        .order_by(assignments.c.submitted_at.desc())
        .offset(at_least_ago)
        .limit(1)
    )
    return _one(c, query)


def add_repeat(c: Connection, source: Row, person_id: int) -> int:
    kept = {k: source[k] for k in ("batch_id", "schema_id", "uncertainty")}
    own = {"kind": "repeat", "state": "open", "num_wanted": 1, "max_raters": 1, "audited": False}
    about = {"media": json.dumps(source["media"]), "repeat_of": source["id"], "for_person": person_id, "num_taken": 0}
    return _key(c.execute(items.insert().values(**kept, **own, **about)))


def item(c: Connection, item_id: int) -> Row:
    """Locked until the transaction ends: an item is decided by one answer at a time."""
    found = _one(c, sa.select(items).where(items.c.id == item_id).with_for_update())
    assert found is not None, item_id
    return found


def update_item(c: Connection, item_id: int, **values: Any) -> None:
    c.execute(items.update().where(items.c.id == item_id).values(**values))


def make_gold(c: Connection, item_id: int, value: Any) -> None:
    """The item becomes gold with this truth: from now on any number of people may meet it."""
    told = {"kind": "gold", "truth": json.dumps(value, sort_keys=True)}
    update_item(c, item_id, **told, num_wanted=_ENDLESS, max_raters=_ENDLESS)


def answers_of(c: Connection, item_id: int, purposes: Sequence[str] = ("label",)) -> list[Row]:
    done = (
        (assignments.c.item_id == item_id) & (assignments.c.state == "answered") & assignments.c.purpose.in_(purposes)
    )
    return _rows(c, sa.select(assignments).where(done).order_by(assignments.c.id))


def settle(c: Connection, assignment_id: int, accepted: bool) -> None:
    c.execute(assignments.update().where(assignments.c.id == assignment_id).values(accepted=accepted))


def add_label(c: Connection, item_row: Row, value: Any, how: str, num_answers: int, now: float) -> None:
    """Writes the label; a later adjudication replaces a consensus."""
    c.execute(labels.delete().where(labels.c.item_id == item_row["id"]))
    told = {"item_id": item_row["id"], "schema_id": item_row["schema_id"], "value": json.dumps(value, sort_keys=True)}
    c.execute(labels.insert().values(**told, how=how, num_answers=num_answers, at=now))
    annotation_outbox.note(c, item_row["id"], now)


def retire(c: Connection, item_id: int, now: float) -> None:
    """Takes gold that proved wrong out of use; its label no longer counts."""
    update_item(c, item_id, state="retired")
    annotation_outbox.note(c, item_id, now)


def median_active_s(c: Connection, schema_id: int, recent: int = 101) -> float | None:
    """Of the latest answers of a schema; None while there are under ten."""
    query = (
        sa.select(assignments.c.active_s)
        .join(items, items.c.id == assignments.c.item_id)
        .where(items.c.schema_id == schema_id, assignments.c.state == "answered")
        .order_by(assignments.c.id.desc())
        .limit(recent)
    )
    found = sorted(float(v) for v in c.execute(query).scalars())
    return found[len(found) // 2] if len(found) >= 10 else None


def _had(person_id: int, *also: sa.ColumnElement[bool]) -> sa.Exists:
    mine = sa.select(assignments.c.id).where(assignments.c.item_id == items.c.id, assignments.c.person_id == person_id)
    return mine.where(*also).exists()


def _one(c: Connection, query: Any) -> Row | None:
    found = _rows(c, query)
    return found[0] if found else None


def _rows(c: Connection, query: Any) -> list[Row]:
    """Rows as dictionaries, their JSON read."""
    rows = [dict(r) for r in c.execute(query).mappings()]
    return [{k: json.loads(v) if k in _JSON and isinstance(v, str) else v for k, v in r.items()} for r in rows]


def _key(result: Any) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
