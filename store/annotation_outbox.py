"""The outbox of annotation: which labels were decided or changed, and what the record needs to know of them.

A row is written in the transaction that decides. Nothing marks it as delivered: what of it the record holds is asked
of the record, so that no crash, restored backup or second delivery can make the two differ for good.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from store.annotation import STANDS, assignments, items, labels, outbox, schemas
from store.prepared_statements import SOON

Row = dict[str, Any]
_IDS_AT_ONCE = 500


def _noting(insert: Any) -> Any:
    made = insert(outbox)
    raised = {"version": outbox.c.version + 1, "at": made.excluded.at}
    return made.on_conflict_do_update(index_elements=[outbox.c.item_id], set_=raised).execution_options(**SOON)


_NOTE = {"sqlite": _noting(sqlite.insert), "postgresql": _noting(postgresql.insert)}


def note(c: Connection, item_id: int, now: float) -> None:
    """The item's label is new or changed."""
    told = {"item_id": item_id, "uid": secrets.token_urlsafe(12), "version": 1, "at": now}
    c.execute(_NOTE[c.dialect.name], told)


def note_all(c: Connection) -> None:
    """Every label of a database that had no outbox."""
    for item_id in c.execute(sa.select(labels.c.item_id)).scalars().all():
        note(c, item_id, time.time())


def noted(c: Connection) -> list[tuple[int, str, int]]:
    """(item id, uid, version) of every item that ever had a label, the latest changes last."""
    rows = c.execute(
        sa.select(outbox.c.item_id, outbox.c.uid, outbox.c.version).order_by(outbox.c.at, outbox.c.item_id)
    )
    return [(int(item_id), str(uid), int(version)) for item_id, uid, version in rows]


def last_change(c: Connection) -> tuple[int, int]:
    """(items, sum of versions): whether anything was noted since the last look."""
    count, total = c.execute(sa.select(sa.func.count(), sa.func.sum(outbox.c.version))).one()
    return int(count), int(total or 0)


def batches_of(c: Connection, item_ids: Sequence[int]) -> list[int]:
    """The batches that these items are of, by id."""
    found: set[int] = set()
    for start in range(0, len(item_ids), _IDS_AT_ONCE):
        part = list(item_ids[start : start + _IDS_AT_ONCE])
        found.update(c.execute(sa.select(items.c.batch_id).where(items.c.id.in_(part)).distinct()).scalars())
    return sorted(found)


def decided(c: Connection, item_ids: Sequence[int]) -> list[Row]:
    """The labels of these items with what the record needs: uid, version, schema, batch, clips, and the raters' `answers`."""
    found: list[Row] = []
    query = (
        sa.select(
            labels.c.item_id, labels.c.value, labels.c.how, labels.c.num_answers, labels.c.at, outbox.c.uid,
            outbox.c.version, items.c.media, items.c.state, items.c.batch_id, schemas.c.task_type, schemas.c.body,
            schemas.c.name.label("schema"), schemas.c.version.label("schema_version"),
        )
        .join(outbox, outbox.c.item_id == labels.c.item_id)
        .join(items, items.c.id == labels.c.item_id)
        .join(schemas, schemas.c.id == labels.c.schema_id)
    )  # fmt: skip
    counted = (assignments.c.purpose == "label") & (assignments.c.state == "answered") & STANDS
    for start in range(0, len(item_ids), _IDS_AT_ONCE):
        part = list(item_ids[start : start + _IDS_AT_ONCE])
        answers: dict[int, list[Any]] = {}
        given = sa.select(assignments.c.item_id, assignments.c.value).where(counted, assignments.c.item_id.in_(part))
        for item_id, value in c.execute(given.order_by(assignments.c.id)):
            answers.setdefault(item_id, []).append(json.loads(value))
        for row in c.execute(query.where(labels.c.item_id.in_(part)).order_by(labels.c.item_id)).mappings():
            read = {k: json.loads(row[k]) for k in ("value", "media", "body")}
            found.append({**row, **read, "answers": answers.get(row["item_id"], [])})
    return found
