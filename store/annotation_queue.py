"""Items, leases and answers: the statements behind the queue. Each runs inside a transaction of the caller's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store import annotation_outbox
from store.annotation import SHOWN, STANDS, assignments, batches, items, labels, schemas, sessions, set_aside
from store.prepared_statements import SOON

Row = dict[str, Any]

EXPIRE_EVERY_S = 1.0
_expired_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
_ENDLESS = 1_000_000_000
_JSON = ("media", "truth", "body", "value")
_PERSON: sa.BindParameter[Any] = sa.bindparam("person")
_NOW: sa.BindParameter[Any] = sa.bindparam("now")
_ITEM: sa.BindParameter[Any] = sa.bindparam("item")
# A claim takes a dozen statements. Those of it and of a submit are built once: building one costs more than running it.
_LEASED = assignments.c.state == "leased"
_MINE = assignments.c.person_id == _PERSON
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
# What is SOON is waited for together: a wait is most of what a statement takes on a server that is busy.
_LEASE = assignments.insert().inline().execution_options(**SOON)
_HELD = (
    _WHOLE.where(_MINE, _LEASED, assignments.c.expires_at > _NOW).order_by(assignments.c.id).execution_options(**SOON)
)
_BY_TOKEN = _WHOLE.where(_MINE, assignments.c.token == sa.bindparam("token"))
_SHOWN = (
    sa.select(items.c.media, assignments.c.swapped)
    .join(items, items.c.id == assignments.c.item_id)
    .where(assignments.c.token == sa.bindparam("token"))
)
_DUE = sa.select(assignments.c.id).where(_LEASED, assignments.c.expires_at <= _NOW).order_by(assignments.c.id).limit(20)
_EXPIRE = (
    assignments.update()
    .where(assignments.c.id.in_(_DUE.with_for_update(skip_locked=True).scalar_subquery()))
    .values(state="expired")
    .execution_options(**SOON)
)
_PURGE = sessions.delete().where(sessions.c.expires_at <= _NOW).execution_options(**SOON)
_RELEASE = assignments.update().where(assignments.c.id == sa.bindparam("assignment"), _LEASED).values(state="expired")
_BY_ID = assignments.update().where(assignments.c.id == sa.bindparam("assignment")).execution_options(**SOON)
_ITEM_LOCKED = sa.select(items).where(items.c.id == _ITEM).with_for_update().execution_options(**SOON)
_ITEM_CHANGED = items.update().where(items.c.id == _ITEM).execution_options(**SOON)
_ANSWERS = (
    sa.select(assignments)
    .where(assignments.c.item_id == _ITEM, assignments.c.state == "answered", STANDS)
    .where(assignments.c.purpose == "label")
    .order_by(assignments.c.id)
    .execution_options(**SOON)
)
_NO_LABEL = labels.delete().where(labels.c.item_id == _ITEM).execution_options(**SOON)
_ADD_LABEL = labels.insert().execution_options(**SOON)
_HAD = sa.select(assignments.c.id).where(assignments.c.item_id == items.c.id, _MINE)
_FUNDED = (batches.c.num_reserved + 1) * batches.c.price_milli <= batches.c.budget_milli
_OPEN_BATCHES = (
    sa.select(
        batches.c.id, batches.c.schema_id, batches.c.priority, batches.c.price_milli,
        (batches.c.opens_at + batches.c.head_start_s > _NOW).label("only_early"),
    )
    .where(batches.c.state == "open", batches.c.goal == "work", batches.c.opens_at <= _NOW, _FUNDED)
    .order_by(batches.c.priority.desc(), batches.c.id)
    .execution_options(**SOON)
)  # fmt: skip
FIRST_OPEN = (
    sa.select(items)
    .where(items.c.batch_id == sa.bindparam("batch"), items.c.state == "open", items.c.kind == "work")
    .where(items.c.num_taken < items.c.num_wanted, ~_HAD.exists(), SHOWN)
    .order_by(items.c.uncertainty.desc(), items.c.id)
    .limit(1)
    .with_for_update(of=items, skip_locked=True)
)
_GOLD_LEFT = (
    sa.select(items.c.id, items.c.truth, sa.func.coalesce(sa.func.max(assignments.c.leased_at), 0).label("last_at"))
    .outerjoin(assignments, (assignments.c.item_id == items.c.id) & _MINE)
    .where(items.c.schema_id == sa.bindparam("schema"), items.c.kind == "gold", items.c.state == "done", SHOWN)
    .where(~_HAD.where(assignments.c.round == sa.bindparam("round")).correlate(items).exists())
    .group_by(items.c.id, items.c.truth)
    .order_by(items.c.id)
)
_LATEST_S = (
    sa.select(assignments.c.active_s)
    .join(items, items.c.id == assignments.c.item_id)
    .where(items.c.schema_id == sa.bindparam("schema"), assignments.c.state == "answered")
    .order_by(assignments.c.id.desc())
    .limit(101)
)
_COUNTED_SINCE = sa.select(
    sa.func.coalesce(sa.func.sum(assignments.c.active_s), 0.0),
    sa.func.coalesce(sa.func.max(assignments.c.submitted_at), 0.0),
).where(_MINE, assignments.c.submitted_at > sa.bindparam("since"))
_TIME_LOCK = sa.select(
    sa.func.pg_advisory_xact_lock(sa.cast(0x74696D65, sa.Integer), sa.cast(_PERSON, sa.Integer))
).execution_options(**SOON)


@dataclass(frozen=True)
class Offer:
    """An item, with its schema, to be leased: why, and which batch pays."""

    item: Row
    schema: Row
    purpose: str
    batch_id: int | None = None
    round: int = 0
    swapped: bool = False

    @property
    def item_id(self) -> int:
        return int(self.item["id"])


def lease(c: Connection, person_id: int, offer: Offer, now: float, ttl_s: float) -> Row:
    """Takes the item's place for a person; gives the assignment as `held` does, but for its id. The database refuses a place
    that is taken, at the end of the transaction at the latest."""
    kept = {k: getattr(offer, k) for k in ("item_id", "purpose", "batch_id", "round", "swapped")}
    values = {**kept, "token": secrets.token_urlsafe(18), "person_id": person_id, "state": "leased", "leased_at": now}
    c.execute(_LEASE, {**values, "expires_at": now + ttl_s})
    unanswered = dict.fromkeys(("submitted_at", "submit_key", "value", "active_s", "accepted"))
    item, schema = offer.item, offer.schema
    about = {"item_state": item["state"], "schema_name": schema["name"], "schema_version": schema["version"]}
    about |= {k: item[k] for k in ("media", "truth", "kind", "schema_id", "repeat_of")}
    about |= {k: schema[k] for k in ("task_type", "body")}
    return {**values, "expires_at": now + ttl_s, **unanswered, **about}


def held(c: Connection, person_id: int, now: float) -> list[Row]:
    """The person's live leases, the oldest first."""
    return held_soon(c, person_id, now)()


def held_soon(c: Connection, person_id: int, now: float) -> Callable[[], list[Row]]:
    return _soon(c, _HELD, person=person_id, now=now)


def open_batches_soon(c: Connection, now: float) -> Callable[[], list[Row]]:
    """Batches that pay for one more answer, by priority; `only_early` where they have a head start that runs."""
    return _soon(c, _OPEN_BATCHES, now=now)


def by_token(c: Connection, person_id: int, token: str) -> Row | None:
    """A person's own assignment; None for one of somebody else, as for one that does not exist."""
    return _one(c, _BY_TOKEN, person=person_id, token=token)


def shown(c: Connection, token: str) -> Row | None:
    """The media of an assignment and whether its sides are swapped."""
    return _one(c, _SHOWN, token=token)


def extend(c: Connection, person_id: int, token: str, expires_at: float) -> bool:
    """Whether the lease is still the person's; then it lasts until `expires_at`."""
    mine = (assignments.c.token == token) & (assignments.c.person_id == person_id) & _LEASED
    return c.execute(assignments.update().where(mine).values(expires_at=expires_at)).rowcount == 1


def release(c: Connection, assignment_id: int) -> None:
    c.execute(_RELEASE, {"assignment": assignment_id})


def expire(c: Connection, now: float) -> None:
    """Gives back the places of leases that ended, some at a time; those that another claim is at are passed over. Sessions that
    ended are forgotten. Done once a second at most."""
    if abs(now - _expired_at.get(c.engine, 0.0)) >= EXPIRE_EVERY_S:
        _expired_at[c.engine] = now
        c.execute(_EXPIRE, {"now": now})
        c.execute(_PURGE, {"now": now})


def answer(c: Connection, assignment_id: int, state: str, told: Row) -> None:
    values = {**told, "value": json.dumps(told["value"], sort_keys=True), "state": state}
    c.execute(_BY_ID, {"assignment": assignment_id, **values})


def next_open(c: Connection, person_id: int, open_batches: Sequence[Row], early: Callable[[], bool]) -> Row | None:
    """The open item of these batches that is most wanted and that the person never had: by the batch's priority, uncertain
    ones first.

    `early` tells whether the person sees a batch within its head start; it is asked only where there is one. On PostgreSQL
    an item that another claim has locked is passed over. Each batch is asked for its first item, which an index tells;
    ordering the items of all takes 20 ms for 20,000.
    """
    best: tuple[tuple[int, float, int], Row] | None = None
    for batch in open_batches:
        if best and batch["priority"] < best[0][0]:
            break
        if batch["only_early"] and not early():
            continue
        if found := _one(c, FIRST_OPEN, person=person_id, batch=batch["id"]):
            rank = (batch["priority"], found["uncertainty"], -found["id"])
            if best is None or rank > best[0]:
                best = rank, {**found, "price_milli": batch["price_milli"]}
    return best[1] if best else None


def gold_left(c: Connection, person_id: int, schema_id: int, round_: int) -> Sequence[Any]:
    """Gold that the person has not had in this round of calibration: rows of `id`, `truth` as JSON text, and `last_at`, when
    it was had last (0: never).

    Round 0 is work, where nothing is met twice either. Gold of a calibration long ago may be hidden there: two calibrations
    use up sixty items, and who came back from a pause would meet none.
    """
    return c.execute(_GOLD_LEFT, {"person": person_id, "schema": schema_id, "round": round_}).all()


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
        .where(items.c.state == "review", batches.c.state == "open", ~taken.exists(), ~_HAD.exists(), SHOWN)
        .order_by(batches.c.priority.desc(), items.c.id)
        .limit(1)
        .with_for_update(of=items, skip_locked=True)
    )
    return _one(c, query, person=person_id)


def to_repeat(c: Connection, person_id: int, schema_id: int, at_least_ago: int) -> Row | None:
    """The person's own label of an item of a schema, at least so many answers ago, that was not yet repeated."""
    mine = (assignments.c.person_id == person_id) & (assignments.c.state == "answered") & STANDS
    again = items.alias("again")
    repeated = sa.select(again.c.id).where(again.c.repeat_of == items.c.id, again.c.for_person == person_id)
    query = (
        sa.select(items, assignments.c.swapped, assignments.c.batch_id.label("paid_by"))
        .join(assignments, assignments.c.item_id == items.c.id)
        .join(batches, batches.c.id == items.c.batch_id)
        .where(mine, assignments.c.purpose == "label", items.c.schema_id == schema_id, ~repeated.exists())
        .where(batches.c.state == "open", _FUNDED, SHOWN)
        .order_by(assignments.c.submitted_at.desc())
        .offset(at_least_ago)
        .limit(1)
    )
    return _one(c, query)


def add_repeat(c: Connection, source: Row, person_id: int) -> Row:
    """A new item for the person alone: an own one again."""
    kept = {k: source[k] for k in ("batch_id", "schema_id", "uncertainty")}
    own = {"kind": "repeat", "state": "open", "num_wanted": 1, "max_raters": 1, "audited": False}
    about = {"media": json.dumps(source["media"]), "repeat_of": source["id"], "for_person": person_id, "num_taken": 0}
    return item(c, _key(c.execute(items.insert().values(**kept, **own, **about))))


def item(c: Connection, item_id: int) -> Row:
    """Locked until the transaction ends: an item is decided by one answer at a time."""
    found = _one(c, _ITEM_LOCKED, item=item_id)
    assert found is not None, item_id
    return found


def update_item(c: Connection, item_id: int, **values: Any) -> None:
    c.execute(_ITEM_CHANGED, {"item": item_id, **values})


def make_gold(c: Connection, item_id: int, value: Any) -> None:
    """The item becomes gold with this truth: from now on any number of people may meet it."""
    told = {"kind": "gold", "truth": json.dumps(value, sort_keys=True)}
    update_item(c, item_id, **told, num_wanted=_ENDLESS, max_raters=_ENDLESS)


def item_with_answers(c: Connection, item_id: int) -> tuple[Row, list[Row]]:
    """The item, locked, and its answers that count for its label, in the order of their leases."""
    one, given = _soon(c, _ITEM_LOCKED, item=item_id), _soon(c, _ANSWERS, item=item_id)
    (found,) = one()
    return found, given()


def own_answer(c: Connection, item_id: int, person_id: int) -> Any:
    """What a person answered to an item, also where it counts no more."""
    query = sa.select(assignments.c.value).where(assignments.c.item_id == item_id, assignments.c.person_id == person_id)
    found = _one(c, query.where(assignments.c.purpose == "label", assignments.c.state == "answered"))
    assert found is not None, (item_id, person_id)
    return found["value"]


def settle(c: Connection, assignment_id: int, accepted: bool) -> None:
    c.execute(_BY_ID, {"assignment": assignment_id, "accepted": accepted})


def add_label(c: Connection, item_row: Row, value: Any, how: str, num_answers: int, now: float) -> None:
    """Writes the label; a later adjudication replaces a consensus."""
    c.execute(_NO_LABEL, {"item": item_row["id"]})
    told = {"item_id": item_row["id"], "schema_id": item_row["schema_id"], "value": json.dumps(value, sort_keys=True)}
    c.execute(_ADD_LABEL, {**told, "how": how, "num_answers": num_answers, "at": now})
    annotation_outbox.note(c, item_row["id"], now)


def retire(c: Connection, item_id: int, now: float) -> None:
    """Takes gold that proved wrong out of use; its label no longer counts."""
    update_item(c, item_id, state="retired")
    annotation_outbox.note(c, item_id, now)


def set_answers_aside(c: Connection, person_id: int, schema_id: int, since: float, why: str, now: float) -> int:
    """A person's answers to a schema from `since` on count no more; gives how many.

    Their places are free again. An item that was decided by such an answer without a reviewer is asked anew and its label no
    longer counts until then. What a reviewer decided, or is about to, and what lies in a closed batch stays as it is.
    """
    query = (
        sa.select(assignments.c.id, assignments.c.item_id, items.c.state, labels.c.how)
        .join(items, items.c.id == assignments.c.item_id)
        .join(batches, batches.c.id == items.c.batch_id)
        .outerjoin(labels, labels.c.item_id == items.c.id)
        .where(
            assignments.c.person_id == person_id, assignments.c.state == "answered", assignments.c.purpose == "label"
        )
        .where(items.c.schema_id == schema_id, assignments.c.leased_at >= since, batches.c.state != "closed", STANDS)
        .order_by(assignments.c.item_id)
    )
    found = c.execute(query).all()
    if found:
        c.execute(set_aside.insert(), [{"assignment_id": row.id, "why": why, "at": now} for row in found])
    for row in found:
        if row.state == "done" and row.how == "consensus":
            update_item(c, row.item_id, state="open")
            annotation_outbox.note(c, row.item_id, now)
    return len(found)


def counted_since(c: Connection, person_id: int, since: float) -> tuple[float, float]:
    """Active seconds of all that a person sent after `since`, and when the latest of it was sent (0: nothing).

    One answer of a person at a time, until the transaction ends: two at once would each count the time of both. SQLite has
    one writer anyhow.
    """
    if c.dialect.name == "postgresql":
        c.execute(_TIME_LOCK, {"person": person_id})
    active_s, last_at = c.execute(_COUNTED_SINCE, {"person": person_id, "since": since}).one()
    return float(active_s), float(last_at)


def median_active_s(c: Connection, schema_id: int) -> float | None:
    """Of the latest answers of a schema; None while there are under ten."""
    found = sorted(float(v) for v in c.execute(_LATEST_S, {"schema": schema_id}).scalars())
    return found[len(found) // 2] if len(found) >= 10 else None


def _one(c: Connection, query: Any, **told: Any) -> Row | None:
    found = _rows(c, query, **told)
    return found[0] if found else None


def _soon(c: Connection, query: Any, **told: Any) -> Callable[[], list[Row]]:
    """Asks; the answer is waited for when it is called for."""
    asked = c.execute(query, told)
    return lambda: _read(asked)


def _rows(c: Connection, query: Any, **told: Any) -> list[Row]:
    return _read(c.execute(query, told))


def _read(asked: Any) -> list[Row]:
    """Rows as dictionaries, their JSON read."""
    rows = [dict(r) for r in asked.mappings()]
    return [{k: json.loads(v) if k in _JSON and isinstance(v, str) else v for k, v in r.items()} for r in rows]


def _key(result: Any) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
