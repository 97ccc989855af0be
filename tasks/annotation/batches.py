"""Schemas and batches: what designers make. Clips come from a tier or a query, uncertain ones first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import polars as pl

from store import annotation_items, annotation_people, annotation_queue, annotation_work
from store.workspace import Workspace
from tasks import tier as tiers
from tasks.annotation import answers, desk
from tasks.annotation.unfit import Unfit

AUDIT_RATIO = 0.05
HEAD_START_S = 900.0
MAX_ITEMS = 100_000
MAX_RATERS = 9
SHOWN = """SELECT clip_id, c.video_id, start_frame, end_frame, v.proxy_uri
    FROM clips c JOIN videos v USING (video_id) WHERE v.proxy_uri IS NOT NULL"""
"""Clips that can be shown to people, as items hold them."""
SYSTEMS = ("system", "other_system")
"""Columns of a query of pairs that name what made each side: a benchmark, blind for those who answer."""
PROMPT = "prompt"
"""Column of a benchmark that names what both sides were made from: items of other pairs of systems share it."""


@dataclass(frozen=True)
class Plan:
    """A batch to be made."""

    name: str
    schema_id: int
    source: str
    """A tier's name, or one SELECT of clip_id, with other_clip_id for pairs, and uncertainty if wanted; for a benchmark
    of systems with system and other_system, and prompt if several pairs share one."""
    goal: str = "work"
    overlap: int = 2
    max_raters: int = 3
    priority: int = 0
    price_milli: int = 0
    budget_milli: int = 0
    head_start_s: float | None = None
    """That the top quartile has; None: 15 minutes where it pays more than open batches do on average, else none."""
    uncertainty: str = ""
    """For a tier: an expression over the columns of signals that is large where the models are unsure."""
    limit: int = 1000


def make_schema(
    c: Any,
    by: int,
    name: str,
    task_type: str,
    body: Mapping[str, Any],
    guidelines: str,
    num_training: int,
    num_exam: int,
    now: float,
) -> int:
    """A new schema, or a new version of the one of this name. Raises ValueError for what its type does not allow."""
    if not (name.isidentifier() and name.islower()):
        raise Unfit("name", f"schema {name!r}: write it in lower case with underscores, as quality_v1")
    if not guidelines.strip():
        raise Unfit("guidelines", f"schema {name}: needs guidelines; annotators acknowledge them before they begin")
    if not (0 <= num_training <= 200 and 0 <= num_exam <= 200):
        wrong = "num_exam" if 0 <= num_training <= 200 else "num_training"
        raise Unfit(wrong, f"schema {name}: training {num_training} and exam {num_exam} go from 0 to 200 items")
    before = [s["task_type"] for s in annotation_work.all_schemas(c) if s["name"] == name]
    if before and task_type != before[0]:
        raise Unfit(
            "name",
            f"schema {name}: its versions are of type {before[0]}, so the next one can't be of {task_type}; "
            "give the schema another name",
        )
    told = {
        "name": name,
        "task_type": task_type,
        "body": _body(task_type, body),
        "guidelines": guidelines,
    }
    made = annotation_work.add_schema(
        c, {**told, "num_training": num_training, "num_exam": num_exam, "created_at": now}
    )
    annotation_people.log(c, now, by, "make_schema", name, schema=made)
    return made


def _body(task_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return answers.checked_body(task_type, body)
    except ValueError as error:
        raise Unfit("body", str(error)) from None


def media_of(workspace: Workspace, plan: Plan, task_type: str) -> list[tuple[float, list[dict[str, Any]]]]:
    """(uncertainty, clips) of each item of a plan. Raises ValueError for a source that is refused or yields no clips."""
    rows = _sourced(workspace, plan, task_type)
    with workspace.views() as reader:
        known = reader.sql(SHOWN)
    by_id = {row["clip_id"]: row for row in known.iter_rows(named=True)}
    sides = ["clip_id", "other_clip_id"] if task_type == answers.PAIRWISE else ["clip_id"]
    found = []
    for row in rows.iter_rows(named=True):
        if lost := [row[s] for s in sides if row[s] not in by_id]:
            raise ValueError(f"{plan.source!r} yields {lost[0]!r}, which is no clip with a proxy")
        clips = [dict(by_id[row[s]]) for s in sides]
        for clip, column in zip(clips, SYSTEMS if SYSTEMS[0] in rows.columns else (), strict=False):
            clip["system"] = row[column]
            clip |= {PROMPT: row[PROMPT]} if PROMPT in rows.columns else {}
        found.append((float(row["uncertainty"] or 0.0), clips))
    if not found:
        raise ValueError(f"{plan.source!r} yields no clips")
    return found


def clips_named(workspace: Workspace, clip_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Those of these clips that can be shown, in this order."""
    if not clip_ids:
        return []
    quoted = ", ".join("'" + clip.replace("'", "''") + "'" for clip in clip_ids)
    with workspace.views() as reader:
        rows = reader.sql(f"{SHOWN} AND clip_id IN ({quoted})")
    known = {row["clip_id"]: row for row in rows.iter_rows(named=True)}
    return [dict(known[clip]) for clip in clip_ids if clip in known]


def some_clips(workspace: Workspace, num: int, tier: str = "") -> list[dict[str, Any]]:
    """The first clips of a tier, or of the workspace, that can be shown; none where there are fewer. Raises ValueError for an
    unknown tier."""
    if tier:
        tiers.parsed(workspace, tier)
        first = tiers.query(workspace, f"SELECT clip_id FROM {tier} ORDER BY clip_id LIMIT {num}")
        found = clips_named(workspace, first["clip_id"].to_list())
        return found if len(found) == num else []
    with workspace.views() as reader:
        found = reader.sql(f"{SHOWN} ORDER BY clip_id LIMIT {num}").to_dicts()
    return found if len(found) == num else []


def _sourced(workspace: Workspace, plan: Plan, task_type: str) -> pl.DataFrame:
    if not 1 <= plan.limit <= MAX_ITEMS:
        raise Unfit("limit", f"limit {plan.limit}: a batch has 1 to {MAX_ITEMS} items")
    source = plan.source.strip().rstrip("; ")
    if len(source.split()) < 2:
        tiers.parsed(workspace, source)
        if task_type == answers.PAIRWISE:
            raise ValueError(
                "pairs come from a query that yields clip_id and other_clip_id, as SELECT a.clip_id, b.clip_id AS "
                "other_clip_id FROM identities a JOIN identities b USING (identity) WHERE a.clip_id < b.clip_id"
            )
        unsure = plan.uncertainty.strip() or "0"
        source = (
            f"SELECT clip_id, ({unsure}) AS uncertainty FROM signals WHERE clip_id IN (SELECT clip_id FROM {source})"
        )
    rows = _queried(workspace, source, plan)
    needed = ["clip_id", *(["other_clip_id"] if task_type == answers.PAIRWISE else [])]
    named = [s for s in SYSTEMS if task_type == answers.PAIRWISE and s in rows.columns]
    if len(named) == 1:
        raise ValueError(f"the query yields {named[0]}; a benchmark of systems needs system and other_system")
    if lacking := [n for n in needed if n not in rows.columns]:
        raise ValueError(f"the query yields {', '.join(rows.columns)}; it must yield {', '.join(lacking)}")
    prompted = [PROMPT] if named and PROMPT in rows.columns else []
    rows = _as_text(rows, [*needed, *named, *prompted])
    if prompted and rows[PROMPT].null_count():
        raise ValueError("the query yields a pair without prompt; leave it out by a WHERE, or the column for all")
    if named and rows.filter(pl.col("system").is_null() | pl.col("other_system").is_null()).height:
        raise ValueError("the query yields a pair without system or other_system; leave it out by a WHERE")
    if task_type == answers.PAIRWISE:
        _refuse_same_sides(rows)
        rows = _each_pair_once(rows)
    if "uncertainty" not in rows.columns:
        rows = rows.with_columns(pl.lit(0.0).alias("uncertainty"))
    if not (rows["uncertainty"].dtype.is_numeric() or rows["uncertainty"].dtype in (pl.Boolean, pl.Null)):
        raise ValueError("the query yields an uncertainty that is no number; cast it to DOUBLE, or leave it out")
    rows = rows.unique(needed, keep="first", maintain_order=True)
    return rows.sort("uncertainty", descending=True, nulls_last=True).head(plan.limit)


def _queried(workspace: Workspace, source: str, plan: Plan) -> pl.DataFrame:
    try:
        return tiers.query(workspace, source)
    except ValueError as error:
        told = str(error).removeprefix("sql: ")
        if source == plan.source.strip().rstrip("; "):
            raise ValueError(f"query: {told}") from None
        # Of a tier only the order is the designer's own SQL.
        raise ValueError(f"uncertain where {plan.uncertainty.strip()!r}: {told}") from None


def _as_text(rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    if nested := [n for n in names if rows[n].dtype.is_nested()]:
        raise ValueError(f"the query yields a list as {nested[0]}; it must yield one of them a row")
    return rows.with_columns(pl.col(names).cast(pl.String))


def _refuse_same_sides(rows: pl.DataFrame) -> None:
    if (same := rows.filter(pl.col("clip_id") == pl.col("other_clip_id"))).height:
        raise ValueError(
            f"the query pairs {same['clip_id'][0]!r} with itself; leave it out by WHERE clip_id <> other_clip_id"
        )
    if SYSTEMS[0] in rows.columns and (own := rows.filter(pl.col(SYSTEMS[0]) == pl.col(SYSTEMS[1]))).height:
        raise ValueError(
            f"the query compares system {own[SYSTEMS[0]][0]!r} with itself, in {own['clip_id'][0]!r} and "
            f"{own['other_clip_id'][0]!r}; leave it out by WHERE system <> other_system"
        )


def _each_pair_once(rows: pl.DataFrame) -> pl.DataFrame:
    """Of (a, b) and (b, a) the first: sides are drawn for each rater, so it is one question, to be paid once."""
    ends = [pl.min_horizontal("clip_id", "other_clip_id"), pl.max_horizontal("clip_id", "other_clip_id")]
    return rows.filter(pl.struct(a=ends[0], b=ends[1]).is_first_distinct())


def make_batch(c: Any, by: int, plan: Plan, media: Sequence[tuple[float, list[dict[str, Any]]]], now: float) -> int:
    """Writes the batch with its items. Raises ValueError for numbers out of range and a name that is taken."""
    _check(c, plan)
    kept = ("name", "schema_id", "source", "goal", "priority", "price_milli", "budget_milli")
    told = {k: getattr(plan, k) for k in kept} | {"head_start_s": _head_start_s(c, plan)}
    batch_id = annotation_work.add_batch(c, {**told, "state": "open", "opens_at": now})
    gold = plan.goal == "gold"
    own = {"batch_id": batch_id, "schema_id": plan.schema_id, "kind": "work", "state": "review" if gold else "open"}
    raters = {"num_wanted": 0 if gold else plan.overlap, "max_raters": 0 if gold else plan.max_raters}
    rows = [
        {**own, **raters, "uncertainty": unsure, "media": clips, "audited": not gold and _drawn(batch_id, i)}
        for i, (unsure, clips) in enumerate(media)
    ]
    annotation_work.add_items(c, rows)
    annotation_people.log(c, now, by, "make_batch", plan.name, batch=batch_id, items=len(rows))
    return batch_id


def _head_start_s(c: Any, plan: Plan) -> float:
    if plan.head_start_s is not None:
        return plan.head_start_s
    prices = [b["price_milli"] for b in annotation_work.all_batches(c) if (b["state"], b["goal"]) == ("open", "work")]
    return HEAD_START_S if prices and plan.price_milli > fmean(prices) else 0.0


def _check(c: Any, plan: Plan) -> None:
    if not plan.name.strip() or any(b["name"] == plan.name for b in annotation_work.all_batches(c)):
        raise Unfit("name", f"batch {plan.name!r}: give a name that is not taken")
    if annotation_work.schema(c, plan.schema_id) is None:
        raise Unfit("schema_id", f"batch {plan.name}: there is no schema {plan.schema_id}")
    if plan.goal not in ("work", "gold"):
        raise Unfit("goal", f"batch {plan.name}: goal {plan.goal!r} is neither work nor gold")
    for field, label, num in (
        ("overlap", "raters per item", plan.overlap),
        ("max_raters", "raters at most", plan.max_raters),
    ):
        if not 1 <= num <= MAX_RATERS:
            raise Unfit(field, f"batch {plan.name}: {label} {num}: from 1 to {MAX_RATERS}")
    if plan.overlap > plan.max_raters:
        told = f"{plan.overlap} raters per item, but {plan.max_raters} at most, if they disagree"
        raise Unfit("max_raters", f"batch {plan.name}: {told}; lower the raters per item, or raise the most")
    if min(plan.price_milli, plan.budget_milli, plan.head_start_s or 0) < 0:
        raise ValueError(f"batch {plan.name}: price, budget and head start are not below 0")
    if plan.goal == "work" and plan.budget_milli < plan.price_milli:
        raise Unfit("budget", f"batch {plan.name}: {_short(plan.budget_milli, plan.price_milli)}")


def _short(budget_milli: int, price_milli: int) -> str:
    budget, price = (f"{milli / 100_000:.3f}" for milli in (budget_milli, price_milli))
    return f"a budget of {budget} does not pay one answer of {price}; give at least {price}"


def is_spent(batch: Mapping[str, Any]) -> bool:
    """Whether the budget can't pay one more answer; answers that are being given are counted as paid. Gold costs none."""
    needed = (batch["num_reserved"] + 1) * batch["price_milli"]
    return bool(batch["goal"] == "work" and batch["state"] != "closed" and needed > batch["budget_milli"])


def change_budget(c: Any, by: int, batch_id: int, budget_milli: int, now: float) -> None:
    """Raises ValueError where the batch is closed, or the budget is below one answer or below what is spent already."""
    batch = annotation_work.batch(c, batch_id)
    assert batch is not None
    before, price = batch["budget_milli"], batch["price_milli"]
    if budget_milli == before:
        return
    if batch["state"] == "closed":
        raise Unfit("budget", f"batch {batch['name']} is closed, and its budget with it; open it first")
    if batch["goal"] == "work" and budget_milli < price:
        raise Unfit("budget", f"batch {batch['name']}: {_short(budget_milli, price)}")
    if budget_milli < (spent := batch["num_reserved"] * price):
        told = f"{spent / 100_000:.3f} of it is spent or promised already"
        raise Unfit(
            "budget", f"batch {batch['name']}: budget {budget_milli / 100_000:.3f}, but {told}; give at least that"
        )
    annotation_work.update_batch(c, batch_id, budget_milli=budget_milli)
    change = {"before": before / 100_000, "budget": budget_milli / 100_000}
    annotation_people.log(c, now, by, "change_budget", batch["name"], **change)


def change_max_raters(c: Any, by: int, batch_id: int, max_raters: int, now: float) -> None:
    """Of open items: how many raters each may have at most. One that has as many answers as it may get by then is decided: by
    the raters where they agree, else by a reviewer. Raises ValueError for a number out of range."""
    batch, before = annotation_work.batch(c, batch_id), annotation_items.max_raters(c, batch_id)
    assert batch is not None
    if max_raters == before or batch["goal"] == "gold":
        return
    if not 1 <= max_raters <= MAX_RATERS:
        raise Unfit("max_raters", f"raters at most {max_raters}: from 1 to {MAX_RATERS}")
    for item_id in annotation_items.limit_raters(c, batch_id, max_raters):
        item, given = annotation_queue.item_with_answers(c, item_id)
        desk.decide(c, item, given, batch, now)
    change = {"before": before, "max_raters": max_raters}
    annotation_people.log(c, now, by, "change_max_raters", batch["name"], **change)


def send_to_review(c: Any, by: int, batch_id: int, item_ids: Sequence[int], now: float) -> list[int]:
    """Gives items whose label is doubted to a reviewer, who sees neither it nor the answers; until he answered it stands.

    Tells which: those of these that raters alone decided and that no reviewer has yet. Raises ValueError where none is left, and
    for a closed batch, of which reviewers get nothing.
    """
    batch = annotation_work.batch(c, batch_id)
    assert batch is not None
    if batch["state"] == "closed":
        raise ValueError(f"batch {batch['name']} is closed, and reviewers get nothing of it; open it first")
    sent = annotation_items.send_to_review(c, batch_id, item_ids)
    if not sent:
        raise ValueError(
            f"batch {batch['name']}: none of these waits to be looked at again; a reviewer has them already"
        )
    annotation_people.log(c, now, by, "send_to_review", batch["name"], items=sent)
    return sent


def _drawn(batch_id: int, place: int) -> bool:
    """5 % of items, the same ones whoever asks, and not to be told from the outside by a pattern."""
    drawn = hashlib.sha256(f"audit:{batch_id}:{place}".encode()).digest()
    return int.from_bytes(drawn[:4], "big") / 2**32 < AUDIT_RATIO
