"""A batch's items as its designer looks at them: whose answers count, pages of items, one with all its answers, every answer
for export, what waits for raters that are not there. Each function runs inside a transaction of the caller's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store import annotation_work
from store.annotation import (
    SHOWN,
    STANDS,
    assignments,
    batches,
    items,
    labels,
    people,
    qualifications,
    schemas,
    scores,
    set_aside,
)

Row = dict[str, Any]
STATES = ("open", "review", "done", "retired")
_JSON = ("media", "value", "label")
_IDS_AT_ONCE = 500
_SHOWN = items.c.media != "[]"
"""Not erased: what is left of an item that showed an erased video shows nothing."""
_TOLD = assignments.c.state.in_(("answered", "late"))
_COUNTED = (assignments.c.state == "answered") & assignments.c.purpose.in_(("label", "review")) & STANDS


def votes_in(c: Connection, batch_id: int) -> list[Row]:
    """Answers to the batch's own items that say what the truth is: of raters, where they count, and of reviewers."""
    query = (
        sa.select(assignments.c.item_id, assignments.c.person_id, assignments.c.purpose, assignments.c.value)
        .join(items, items.c.id == assignments.c.item_id)
        .where(items.c.batch_id == batch_id, _COUNTED, _SHOWN)
    )
    return _rows(c, query.order_by(assignments.c.item_id, assignments.c.id))


def votes_and_labels(c: Connection, batch_id: int) -> tuple[Row, list[Row], list[Row]]:
    """The batch, its votes, and its labels that count, each in the items' order."""
    batch = annotation_work.batch(c, batch_id)
    assert batch is not None, batch_id
    counted = [x for x in annotation_work.labels_of(c, batch_id) if x["state"] != "retired"]
    return batch, votes_in(c, batch_id), counted


def page_of(c: Connection, batch_id: int, limit: int, offset: int = 0, *, state: str = "") -> list[Row]:
    """The batch's own items, in their order, with `num_answers` that count and the `label`; of one state, or all."""
    answered = sa.select(sa.func.count()).where(assignments.c.item_id == items.c.id, _COUNTED).scalar_subquery()
    query = (
        sa.select(items, labels.c.value.label("label"), labels.c.how, labels.c.at, answered.label("num_answers"))
        .outerjoin(labels, labels.c.item_id == items.c.id)
        .where(_own(batch_id, state))
    )
    return _rows(c, query.order_by(items.c.id).limit(limit).offset(offset))


def count_of(c: Connection, batch_id: int) -> dict[str, int]:
    """How many items of its own a batch has, by state; those of erased videos are retired."""
    query = sa.select(items.c.state, sa.func.count()).where(_own(batch_id, "")).group_by(items.c.state)
    return {str(state): int(num) for state, num in c.execute(query)}


def _own(batch_id: int, state: str) -> Any:
    mine = (items.c.batch_id == batch_id) & (items.c.kind != "repeat")
    return mine & (items.c.state == state) if state else mine


def one(c: Connection, batch_id: int, item_id: int) -> Row | None:
    """An item of the batch with its label; None for one of another batch, as for one that is not there."""
    query = sa.select(items, labels.c.value.label("label"), labels.c.how, labels.c.num_answers, labels.c.at)
    query = query.outerjoin(labels, labels.c.item_id == items.c.id)
    return next(iter(_rows(c, query.where(_own(batch_id, ""), items.c.id == item_id))), None)


def media_of(c: Connection, item_id: int) -> Any:
    """The clips of an item; None where there is none."""
    found = c.execute(sa.select(items.c.media).where(items.c.id == item_id)).scalar()
    return None if found is None else json.loads(found)


def first_shown(c: Connection, schema_name: str) -> Any:
    """The clips of an item of the schema's newest batch, whatever its version; None where there is none."""
    query = (
        sa.select(items.c.media)
        .join(schemas, schemas.c.id == items.c.schema_id)
        .where(schemas.c.name == schema_name, items.c.kind != "repeat", _SHOWN)
        .order_by(items.c.batch_id.desc(), items.c.id)
        .limit(1)
    )
    found = c.execute(query).scalar()
    return None if found is None else json.loads(found)


_ANSWER = (
    assignments.c.id, assignments.c.item_id, assignments.c.person_id, assignments.c.purpose, assignments.c.state,
    assignments.c.swapped, assignments.c.value, assignments.c.accepted, assignments.c.active_s,
    assignments.c.submitted_at, people.c.login, set_aside.c.why.label("set_aside"),
)  # fmt: skip


def answers_to(c: Connection, item_id: int) -> list[Row]:
    """Every answer that was ever given to an item, also late and set aside, with who gave it."""
    query = sa.select(*_ANSWER).join(people, people.c.id == assignments.c.person_id)
    query = query.outerjoin(set_aside, set_aside.c.assignment_id == assignments.c.id)
    return _rows(c, query.where(assignments.c.item_id == item_id, _TOLD).order_by(assignments.c.id))


def every_answer(c: Connection, batch_id: int) -> list[Row]:
    """Every answer to items of the batch, and to hidden gold that it paid for, with the item's clips and the questions it
    answers; without those whose video was erased. `audited`: a reviewer's answer was held against it."""
    audited = sa.select(scores.c.at).where(scores.c.assignment_id == assignments.c.id, scores.c.kind == "audit")
    query = (
        sa.select(
            *_ANSWER, items.c.media, items.c.kind, schemas.c.task_type, schemas.c.body, schemas.c.name.label("schema"),
            schemas.c.version.label("schema_version"), audited.exists().label("audited"),
        )
        .join(items, items.c.id == assignments.c.item_id)
        .join(schemas, schemas.c.id == items.c.schema_id)
        .join(people, people.c.id == assignments.c.person_id)
        .outerjoin(set_aside, set_aside.c.assignment_id == assignments.c.id)
        .where(_TOLD, _SHOWN, (items.c.batch_id == batch_id) | (assignments.c.batch_id == batch_id))
    )  # fmt: skip
    found = _rows(c, query.order_by(assignments.c.item_id, assignments.c.id))
    bodies = {text: json.loads(text) for text in {row["body"] for row in found}}
    return [{**row, "body": bodies[row["body"]]} for row in found]


def send_to_review(c: Connection, batch_id: int, item_ids: Sequence[int]) -> list[int]:
    """Gives those of these items to reviewers that the raters alone decided and that no reviewer has before him; tells which."""
    sent: list[int] = []
    by_raters = sa.select(labels.c.item_id).where(labels.c.item_id == items.c.id, labels.c.how == "consensus")
    for start in range(0, len(item_ids), _IDS_AT_ONCE):
        some = items.c.id.in_(list(item_ids[start : start + _IDS_AT_ONCE]))
        mine = _own(batch_id, "done") & some & (items.c.kind == "work") & by_raters.exists()
        sent += c.execute(sa.select(items.c.id).where(mine).order_by(items.c.id).with_for_update(of=items)).scalars()
    for start in range(0, len(sent), _IDS_AT_ONCE):
        c.execute(items.update().where(items.c.id.in_(sent[start : start + _IDS_AT_ONCE])).values(state="review"))
    return sent


def short_of_raters(c: Connection, batch_id: int) -> dict[int, int]:
    """How many open items of the batch want how many raters more than there are: people at work who are qualified for its
    schema and never had the item. {raters that lack: items}."""
    schema = sa.select(batches.c.schema_id).where(batches.c.id == batch_id).scalar_subquery()
    calibrated = sa.select(schemas.c.num_training + schemas.c.num_exam).where(schemas.c.id == schema).scalar_subquery()
    stage = sa.select(qualifications.c.stage).where(
        qualifications.c.person_id == people.c.id, qualifications.c.schema_id == schema
    )
    told = sa.func.coalesce(stage.scalar_subquery(), sa.case((calibrated > 0, "training"), else_="qualified"))
    able = sa.select(people.c.id).where(people.c.active, people.c.role == "annotator", told == "qualified")
    num_able = int(c.execute(sa.select(sa.func.count()).select_from(able.subquery())).scalar_one())
    had = sa.func.count(sa.distinct(assignments.c.person_id))
    lacking = (items.c.num_wanted - items.c.num_taken - (num_able - had)).label("lacking")
    by_able = (assignments.c.item_id == items.c.id) & assignments.c.person_id.in_(able)
    each = (
        sa.select(items.c.id, lacking)
        .select_from(items)
        .outerjoin(assignments, by_able)
        .where(_own(batch_id, "open"), items.c.num_taken < items.c.num_wanted)
        .group_by(items.c.id, items.c.num_wanted, items.c.num_taken)
        .subquery()
    )
    counted = sa.select(each.c.lacking, sa.func.count()).where(each.c.lacking > 0).group_by(each.c.lacking)
    return {int(more): int(num) for more, num in c.execute(counted.order_by(each.c.lacking))}


def gold_of(c: Connection, schema_id: int) -> tuple[int, int]:
    """How many gold items of a schema can be shown, and how many more wait for a reviewer in open batches for gold."""
    mine = (items.c.schema_id == schema_id) & SHOWN
    there = sa.select(sa.func.count()).select_from(items).where(mine, items.c.kind == "gold", items.c.state == "done")
    awaited = (
        sa.select(sa.func.count())
        .select_from(items)
        .join(batches, batches.c.id == items.c.batch_id)
        .where(mine, items.c.state == "review", batches.c.goal == "gold", batches.c.state == "open")
    )
    return int(c.execute(there).scalar_one()), int(c.execute(awaited).scalar_one())


def paused_work(c: Connection) -> bool:
    """Whether there is a batch for annotators that its designer paused."""
    query = sa.select(batches.c.id).where(batches.c.state == "paused", batches.c.goal == "work").limit(1)
    return c.execute(query).scalar() is not None


def limit_raters(c: Connection, batch_id: int, most: int) -> list[int]:
    """Lets each open item have so many raters at most, or as many as it has; gives those that get no more now."""
    may = sa.case((items.c.num_taken > most, items.c.num_taken), else_=most)
    wanted = sa.case((items.c.num_wanted > may, may), else_=items.c.num_wanted)
    mine = _own(batch_id, "open") & (items.c.kind == "work")
    c.execute(items.update().where(mine).values(max_raters=may, num_wanted=wanted))
    full = sa.select(items.c.id).where(mine, items.c.num_taken >= items.c.num_wanted).order_by(items.c.id)
    return list(c.execute(full).scalars())


def max_raters(c: Connection, batch_id: int) -> int:
    """How many raters an item of the batch may have at most; 0 of a batch for gold."""
    query = sa.select(sa.func.max(items.c.max_raters)).where(_own(batch_id, ""), items.c.kind == "work")
    return int(c.execute(query).scalar() or 0)


def _rows(c: Connection, query: Any) -> list[Row]:
    rows = [dict(r) for r in c.execute(query).mappings()]
    return [{k: json.loads(v) if k in _JSON and isinstance(v, str) else v for k, v in r.items()} for r in rows]
