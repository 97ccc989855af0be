"""Schemas, batches, qualifications, scores and pay: the statements. Each runs inside a transaction of the caller's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store.annotation import (
    SHOWN,
    STANDS,
    acknowledgements,
    assignments,
    batches,
    items,
    labels,
    ledger,
    people,
    qualifications,
    schemas,
    scores,
    unshown,
)
from store.prepared_statements import SOON

Row = dict[str, Any]


def add_schema(c: Connection, told: Row) -> int:
    """A new version of its name: what was written before stays as it is."""
    last = c.execute(sa.select(sa.func.max(schemas.c.version)).where(schemas.c.name == told["name"])).scalar()
    values = {**told, "body": json.dumps(told["body"], sort_keys=True), "version": (last or 0) + 1}
    return _key(c.execute(schemas.insert().values(**values)))


def schema(c: Connection, schema_id: int) -> Row | None:
    return next(iter(_rows(c, sa.select(schemas).where(schemas.c.id == schema_id))), None)


def all_schemas(c: Connection) -> list[Row]:
    gold = _num_items("gold", ("done",))
    return _rows(c, sa.select(schemas, gold.label("num_gold")).order_by(schemas.c.name, schemas.c.version.desc()))


_PERSON: sa.BindParameter[Any] = sa.bindparam("person")
_SCHEMA: sa.BindParameter[Any] = sa.bindparam("schema")
_URGENT = (
    sa.select(batches.c.schema_id, sa.func.max(batches.c.priority).label("priority"))
    .where(batches.c.state == "open", batches.c.goal == "work")
    .group_by(batches.c.schema_id)
    .subquery()
)
_OPEN_SCHEMAS = (
    sa.select(
        schemas, qualifications.c.stage, qualifications.c.round, qualifications.c.failures, qualifications.c.why,
        qualifications.c.changed_at, acknowledgements.c.at.label("acknowledged_at"),
    )
    .join(_URGENT, _URGENT.c.schema_id == schemas.c.id)
    .outerjoin(
        qualifications, (qualifications.c.schema_id == schemas.c.id) & (qualifications.c.person_id == _PERSON)
    )
    .outerjoin(
        acknowledgements, (acknowledgements.c.schema_id == schemas.c.id) & (acknowledgements.c.person_id == _PERSON)
    )
    .order_by(_URGENT.c.priority.desc(), schemas.c.id)
    .execution_options(**SOON)
)  # fmt: skip
_QUALIFICATION = (
    sa.select(qualifications)
    .where(qualifications.c.person_id == _PERSON, qualifications.c.schema_id == _SCHEMA)
    .with_for_update()
)
_SCORES = (
    sa.select(scores)
    .where(scores.c.person_id == _PERSON, scores.c.kind.in_(sa.bindparam("kinds", expanding=True)))
    .where(scores.c.at >= sa.bindparam("since"), (scores.c.schema_id == _SCHEMA) | (_SCHEMA == 0))
    .order_by(scores.c.at, scores.c.assignment_id)
)
_ROUND_SCORES = (
    sa.select(scores)
    .join(assignments, assignments.c.id == scores.c.assignment_id)
    .where(scores.c.person_id == _PERSON, scores.c.schema_id == _SCHEMA, scores.c.kind == sa.bindparam("kind"))
    .where(assignments.c.round == sa.bindparam("round"))
)
_NUM_ROUND_SCORES = _ROUND_SCORES.with_only_columns(sa.func.count())
_GOLD_SCORES = (
    sa.select(scores.c.score)
    .join(assignments, assignments.c.id == scores.c.assignment_id)
    .outerjoin(
        qualifications,
        (qualifications.c.person_id == scores.c.person_id) & (qualifications.c.schema_id == scores.c.schema_id),
    )
    .where(assignments.c.item_id == sa.bindparam("item"), scores.c.kind.in_(["gold", "exam"]))
    .where(sa.func.coalesce(qualifications.c.stage, "qualified") == "qualified")
)
_SCORED = sa.select(scores.c.at).where(scores.c.assignment_id == sa.bindparam("assignment"))
_ADD_SCORE = scores.insert()


def open_schemas(c: Connection, person_id: int) -> list[Row]:
    """Schemas with open work, the most urgent first, with the person's stage and whether the guidelines are acknowledged."""
    return open_schemas_soon(c, person_id)()


def open_schemas_soon(c: Connection, person_id: int) -> Callable[[], list[Row]]:
    asked = c.execute(_OPEN_SCHEMAS, {"person": person_id})
    return lambda: _read(asked)


def acknowledge(c: Connection, person_id: int, schema_id: int, now: float) -> None:
    mine = (acknowledgements.c.person_id == person_id) & (acknowledgements.c.schema_id == schema_id)
    if not c.execute(sa.select(acknowledgements.c.at).where(mine)).scalar():
        c.execute(acknowledgements.insert().values(person_id=person_id, schema_id=schema_id, at=now))


def put_qualification(c: Connection, person_id: int, schema_id: int, **values: Any) -> None:
    mine = (qualifications.c.person_id == person_id) & (qualifications.c.schema_id == schema_id)
    if not c.execute(qualifications.update().where(mine).values(**values)).rowcount:
        c.execute(qualifications.insert().values(person_id=person_id, schema_id=schema_id, **values))


def qualification(c: Connection, person_id: int, schema_id: int) -> Row | None:
    return next(iter(_rows(c, _QUALIFICATION, person=person_id, schema=schema_id)), None)


def all_qualifications(c: Connection) -> list[Row]:
    """Stages that are not plain work: in training or exam, paused, banned."""
    query = sa.select(qualifications, people.c.login, schemas.c.name, schemas.c.version)
    joined = query.join(people, people.c.id == qualifications.c.person_id).join(
        schemas, schemas.c.id == qualifications.c.schema_id
    )
    return _rows(c, joined.where(qualifications.c.stage != "qualified").order_by(people.c.login, schemas.c.id))


def add_score(c: Connection, assignment: Row, kind: str, by_question: dict[str, float], now: float) -> None:
    """A score that is there already stays: an answer is scored once. Without a question the two agreed, on no flag."""
    if c.execute(_SCORED, {"assignment": assignment["id"]}).scalar():
        return
    who = {k: assignment[k] for k in ("person_id", "schema_id")}
    score = sum(by_question.values()) / len(by_question) if by_question else 1.0
    told = {"kind": kind, "score": score, "by_question": json.dumps(by_question, sort_keys=True), "at": now}
    c.execute(_ADD_SCORE, {"assignment_id": assignment["id"], **who, **told})


def scores_of(
    c: Connection, person_id: int, kinds: Sequence[str], *, schema_id: int = 0, since: float = 0.0
) -> list[Row]:
    """Oldest first; of one schema, or (0) of all."""
    return _rows(c, _SCORES, person=person_id, kinds=list(kinds), schema=schema_id, since=since)


def consistency(c: Connection, person_id: int = 0) -> dict[int, tuple[float, int]]:
    """By person, or of one: how alike own answers to the same item are on average, in [0, 1], and how many were repeated (a
    pair with its sides swapped). One where neither answer raised a flag is not counted."""
    query = (
        sa.select(scores.c.person_id, sa.func.avg(scores.c.score), sa.func.count())
        .where(scores.c.kind == "repeat", scores.c.by_question != "{}")
        .group_by(scores.c.person_id)
    )
    rows = c.execute(query.where(scores.c.person_id == person_id) if person_id else query)
    return {int(person): (float(mean), int(num)) for person, mean, num in rows}


def round_scores(c: Connection, person_id: int, schema_id: int, kind: str, round_: int) -> list[Row]:
    return _rows(c, _ROUND_SCORES, person=person_id, schema=schema_id, kind=kind, round=round_)


def num_round_scores(c: Connection, person_id: int, schema_id: int, kind: str, round_: int) -> int:
    told = {"person": person_id, "schema": schema_id, "kind": kind, "round": round_}
    return int(c.execute(_NUM_ROUND_SCORES, told).scalar_one())


def compared(c: Connection, assignment_ids: Sequence[int]) -> dict[int, tuple[Row, Row]]:
    """By assignment, the answer and what it was held against: gold's truth, or the label of an audit."""
    query = (
        sa.select(assignments.c.id, assignments.c.value, sa.func.coalesce(items.c.truth, labels.c.value).label("truth"))
        .join(items, items.c.id == assignments.c.item_id)
        .outerjoin(labels, labels.c.item_id == items.c.id)
        .where(assignments.c.id.in_(list(assignment_ids)))
    )
    return {row["id"]: (row["value"], row["truth"]) for row in _rows(c, query)}


def gold_scores(c: Connection, item_id: int) -> list[float]:
    """How people who are qualified now met a gold item, hidden or in their exam: who guesses says nothing about it."""
    return [float(s) for s in c.execute(_GOLD_SCORES, {"item": item_id}).scalars()]


def add_batch(c: Connection, told: Row) -> int:
    return _key(c.execute(batches.insert().values(**told, num_reserved=0)))


def add_items(c: Connection, rows: list[Row]) -> None:
    ready = [{**r, "media": json.dumps(r["media"]), "num_taken": 0} for r in rows]
    if ready:
        c.execute(items.insert(), ready)


def update_batch(c: Connection, batch_id: int, **values: Any) -> bool:
    return c.execute(batches.update().where(batches.c.id == batch_id).values(**values)).rowcount == 1


def batch(c: Connection, batch_id: int) -> Row | None:
    query = sa.select(
        batches, schemas.c.task_type, schemas.c.body, schemas.c.name.label("schema_name"), schemas.c.version,
        schemas.c.num_training, schemas.c.num_exam,
    )  # fmt: skip
    return next(
        iter(_rows(c, query.join(schemas, schemas.c.id == batches.c.schema_id).where(batches.c.id == batch_id))), None
    )


def all_batches(c: Connection) -> list[Row]:
    """With how many of their items are open, under review and done, and how many can't be shown."""
    counts = {
        f"num_{state}": _num_items(None, (state,), batch=True).label(f"num_{state}")
        for state in ("open", "review", "done")
    }
    lost = sa.select(sa.func.count()).select_from(unshown).join(items, items.c.id == unshown.c.item_id)
    counts["num_unshown"] = (
        lost.where(items.c.batch_id == batches.c.id).correlate(batches).scalar_subquery().label("num_unshown")
    )
    query = sa.select(
        batches, schemas.c.name.label("schema_name"), schemas.c.version, schemas.c.task_type, *counts.values()
    )
    joined = query.join(schemas, schemas.c.id == batches.c.schema_id)
    return _rows(c, joined.order_by(batches.c.priority.desc(), batches.c.id))


def open_to(c: Connection, person_id: int, now: float) -> list[Row]:
    """Open batches of work, by priority, with what they pay and, for one person, answers given (`num_given`) and items that
    the person may still get (`num_left`); `only_early` where a head start runs."""
    mine = (assignments.c.person_id == person_id) & (assignments.c.batch_id == batches.c.id)
    given = sa.select(sa.func.count()).select_from(assignments).where(mine, assignments.c.state == "answered")
    had = sa.select(assignments.c.id).where(assignments.c.item_id == items.c.id, assignments.c.person_id == person_id)
    left = (
        sa.select(sa.func.count())
        .select_from(items)
        .where(items.c.batch_id == batches.c.id, items.c.kind == "work", items.c.state == "open")
        .where(items.c.num_taken < items.c.num_wanted, ~had.exists(), SHOWN)
    )
    query = sa.select(
        batches.c.name, batches.c.schema_id, batches.c.price_milli, batches.c.budget_milli, batches.c.num_reserved,
        (batches.c.opens_at + batches.c.head_start_s > now).label("only_early"),
        given.correlate(batches).scalar_subquery().label("num_given"),
        left.correlate(batches).scalar_subquery().label("num_left"),
    )  # fmt: skip
    open_ = (batches.c.state == "open") & (batches.c.goal == "work") & (batches.c.opens_at <= now)
    return _rows(c, query.where(open_).order_by(batches.c.priority.desc(), batches.c.id))


def labels_of(c: Connection, batch_id: int) -> list[Row]:
    """The batch's labels with their clips, in the items' order; without those of items that are asked anew."""
    query = sa.select(labels, items.c.media, items.c.kind, items.c.state).join(items, items.c.id == labels.c.item_id)
    return _rows(c, query.where(items.c.batch_id == batch_id, items.c.state != "open").order_by(items.c.id))


def answers_in(c: Connection, batch_id: int, *, set_aside: bool = False) -> list[Row]:
    """Annotators' answers to the batch's own items: item, person, value, and whether the sides were swapped.

    Those that count; with `set_aside` also those that count no more.
    """
    query = (
        sa.select(assignments.c.item_id, assignments.c.person_id, assignments.c.value, assignments.c.swapped)
        .join(items, items.c.id == assignments.c.item_id)
        .where(items.c.batch_id == batch_id, assignments.c.purpose == "label", assignments.c.state == "answered")
    )
    query = query if set_aside else query.where(STANDS)
    return _rows(c, query.order_by(assignments.c.item_id, assignments.c.id))


def systems_in(c: Connection, batch_id: int) -> dict[int, tuple[str, str, str | None]]:
    """By item, what made its two sides, and the prompt that both answer (None: not told); of a batch that compares systems."""
    rows = _rows(c, sa.select(items.c.id, items.c.media).where(items.c.batch_id == batch_id))
    sides = {row["id"]: row["media"] for row in rows if len(row["media"]) == 2 and "system" in row["media"][0]}
    return {item: (one["system"], other["system"], one.get("prompt")) for item, (one, other) in sides.items()}


def num_waiting_reviews(c: Connection) -> int:
    query = sa.select(sa.func.count()).select_from(items).join(batches, batches.c.id == items.c.batch_id)
    return int(c.execute(query.where(items.c.state == "review", batches.c.state == "open", SHOWN)).scalar_one())


def work_done(c: Connection, person_id: int, since: float, until: float) -> tuple[list[Row], float]:
    """Accepted answers by batch, and all active seconds (of practice, exams, reviews and late answers too)."""
    within = (
        (assignments.c.person_id == person_id)
        & (assignments.c.submitted_at >= since)
        & (assignments.c.submitted_at < until)
    )
    paid = (
        sa.select(batches.c.name, batches.c.price_milli, sa.func.count().label("num_accepted"))
        .join(batches, batches.c.id == assignments.c.batch_id)
        .where(within, assignments.c.accepted.is_(True))
        .group_by(batches.c.name, batches.c.price_milli)
        .order_by(batches.c.name)
    )
    active = c.execute(sa.select(sa.func.sum(assignments.c.active_s)).where(within)).scalar()
    return _rows(c, paid), float(active or 0.0)


def count_answers(c: Connection, person_id: int) -> int:
    mine = (assignments.c.person_id == person_id) & (assignments.c.state == "answered")
    return int(c.execute(sa.select(sa.func.count()).select_from(assignments).where(mine)).scalar_one())


def ledger_rows(c: Connection, *, person_id: int = 0, period: str = "") -> list[Row]:
    query = sa.select(ledger, people.c.login, people.c.region).join(people, people.c.id == ledger.c.person_id)
    if person_id:
        query = query.where(ledger.c.person_id == person_id)
    if period:
        query = query.where(ledger.c.period == period)
    return _rows(c, query.order_by(ledger.c.period.desc(), ledger.c.person_id, ledger.c.line))


_PAY_LOCK = sa.select(sa.func.pg_advisory_xact_lock(0x70617973))


def lock_pay(c: Connection) -> None:
    """One at a time closes a week or corrects a closed one, until the transaction ends: an audit that runs while its week is
    closed is either part of it or corrects it. SQLite has one writer anyhow."""
    if c.dialect.name == "postgresql":
        c.execute(_PAY_LOCK)


def add_ledger(c: Connection, rows: list[Row]) -> None:
    if rows:
        c.execute(ledger.insert(), rows)


def _num_items(kind: str | None, states: tuple[str, ...], *, batch: bool = False) -> sa.ScalarSelect[Any]:
    owner = items.c.batch_id == batches.c.id if batch else items.c.schema_id == schemas.c.id
    query = sa.select(sa.func.count()).select_from(items).where(owner, items.c.state.in_(states))
    query = query.where(items.c.kind == kind, SHOWN) if kind else query.where(items.c.kind != "repeat")
    return query.correlate(batches if batch else schemas).scalar_subquery()


def _rows(c: Connection, query: Any, **told: Any) -> list[Row]:
    return _read(c.execute(query, told))


def _read(asked: Any) -> list[Row]:
    rows = [dict(r) for r in asked.mappings()]
    read = ("body", "media", "value", "truth", "by_question")
    return [{k: json.loads(v) if k in read and isinstance(v, str) else v for k, v in r.items()} for r in rows]


def _key(result: Any) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
