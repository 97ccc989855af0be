"""Decided labels on their way from the annotation database into the record, where tiers read them.

What is missing is asked of both sides each time, inside the commit turn: a delivery that was killed, or one of several
that run at once, leaves nothing twice and nothing out.

A label comes with its confidence, which every later answer of its batch may move. So when something of a batch is delivered,
those of its labels go again whose confidence moved by a step since; for itself a confidence delivers nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import mean
from typing import Any

import polars as pl

from store import annotation_items, annotation_outbox, annotation_work
from store.annotation_database import Database, existing
from store.ledger import Manifest
from store.record import Batch, table_of
from store.schema import LABELS
from store.workspace import Workspace
from tasks.annotation import answers, confidence

ITEMS_PER_COMMIT = 2000
INTERVAL_S = 20.0
"""Between two looks of the web app: a commit per label would grow the record by a version each."""
RESTS = 9
"""Times as long as a delivery took, the web app waits at least: of a batch with very many answers one takes seconds."""
Sureness = Mapping[int, Mapping[str, float]]
"""Of labels, by item and question."""
SIDES = {"left": ("won", "lost"), "right": ("lost", "won"), "tie": ("tie", "tie"), "both_bad": ("both_bad", "both_bad")}
NOT_COUNTED = ("retired", "open")
"""States of items whose label does not count: gold that proved wrong, and what is asked anew."""
log = logging.getLogger("headroom")


@dataclass(frozen=True)
class Delivered:
    """`labels` items came into the record, new or changed, or surer or less sure; `rows` values of them."""

    labels: int = 0
    rows: int = 0


def deliver_existing(workspace: Workspace, *, all_batches: bool = False) -> Delivered:
    """Delivers what is there; a workspace without annotation has nothing, and gets no database by it."""
    database = existing(workspace.settings)
    if database is None:
        return Delivered()
    try:
        return deliver(workspace, database, all_batches=all_batches)
    finally:
        database.close()


def deliver(workspace: Workspace, database: Database, *, all_batches: bool = False) -> Delivered:
    """Brings every label that the record lacks, or has an earlier version of, into its table `labels`; of these batches, or of
    all, also those whose confidence moved."""
    missing = pending(workspace, database, workspace.ledger.manifest())
    if not (missing or all_batches):
        return Delivered()
    sure: dict[int, Mapping[str, float]] = dict(_sureness(database, None if all_batches else missing))
    tried: set[int] = set()
    rows: list[dict[str, Any]] = []
    num_rows = 0

    def next_batch(manifest: Manifest) -> Batch:
        # What was tried and is still lacking is of a video that is being erased: the commit leaves it out.
        wanted = [*pending(workspace, database, manifest), *moved(workspace, database, manifest, sure)]
        todo = [item for item in dict.fromkeys(wanted) if item not in tried][:ITEMS_PER_COMMIT]
        tried.update(todo)
        if late := [item for item in todo if item not in sure]:  # decided since in another batch, or counts no more
            sure.update({item: {} for item in late} | dict(_sureness(database, late)))
        decided = database.read(lambda c: annotation_outbox.decided(c, todo))
        rows[:] = [row for label in decided for row in rows_of(label, sure.get(label["item_id"], {}))]
        batch = Batch()
        batch.add("labels", table_of(rows, LABELS))
        return batch

    while True:
        workspace.commit_next(next_batch)
        if not rows:
            return Delivered(len(tried), num_rows)
        num_rows += len(rows)


def pending(workspace: Workspace, database: Database, manifest: Manifest) -> list[int]:
    """Ids of the items whose label the record, as of the manifest, does not have in its present version."""
    held = pl.DataFrame(workspace.record.read(manifest, "labels", ["item", "version"])).unique()
    versions = dict(held.iter_rows())
    return [item for item, uid, version in database.read(annotation_outbox.noted) if versions.get(uid) != version]


def moved(workspace: Workspace, database: Database, manifest: Manifest, sure: Sureness) -> list[int]:
    """Ids of the items whose label the record has with a confidence that is known no more, or a step away from what it is."""
    if not sure:
        return []
    keys = {uid: item for item, uid, _ in database.read(annotation_outbox.noted) if item in sure}
    found: dict[int, None] = {}
    for uid, question, held in _held_confidences(workspace, manifest):
        if (item := keys.get(uid)) is not None:
            now = sure[item].get(question)
            if (now is None) != (held is None) or abs((now or 0.0) - (held or 0.0)) >= confidence.STEP:
                found[item] = None
    return list(found)


def _held_confidences(workspace: Workspace, manifest: Manifest) -> Iterator[tuple[str, str, float | None]]:
    """(uid, question, confidence) of each row of the record."""
    held = workspace.record.read(manifest, "labels", ["item", "question", "confidence"])
    yield from pl.DataFrame(held).iter_rows()


def _sureness(database: Database, items: Sequence[int] | None) -> Sureness:
    """Confidences of every label of the batches that these items are of, or of all (None); empty of a label without any."""
    if items is None:
        keys = [b["id"] for b in database.read(annotation_work.all_batches)]
    else:
        keys = database.read(lambda c: annotation_outbox.batches_of(c, items))
    made: dict[int, dict[str, float]] = {}
    for key in keys:
        batch, votes, labels = database.read(partial(annotation_items.votes_and_labels, batch_id=key))
        sure = confidence.of_labels(batch, votes, labels)
        for label in labels:
            told = sure.get(label["item_id"], {})
            made[label["item_id"]] = {q: s.confidence for q, s in told.items()}
    return made


def rows_of(label: Mapping[str, Any], sure: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """A label's rows for the table `labels`: one for each question, of a pair one for each side.

    `label` is one of store.annotation_outbox.decided, `sure` its confidences by question. A bad case has a row for each kind
    that was asked about.
    """
    own = {
        "item": label["uid"],
        "version": label["version"],
        "num_raters": label["num_answers"],
        "decided_at": label["at"],
        "active": label["state"] not in NOT_COUNTED,
        **{k: label[k] for k in ("task_type", "schema", "schema_version", "how")},
    }
    for side, clip in enumerate(label["media"]):
        other = label["media"][1 - side] if len(label["media"]) == 2 else {}
        shown = {k: clip[k] for k in ("video_id", "clip_id", "start_frame", "end_frame")}
        shown |= {"other_video_id": other.get("video_id"), "other_clip_id": other.get("clip_id")}
        for question, value in _values(label, side):
            agreement = _agreement(label, question)
            told = {"question": question, "key": f"{label['uid']}:{side}:{question}", "agreement": agreement}
            told["confidence"] = sure.get(question)
            yield {**own, **shown, **told, **value}


def _values(label: Mapping[str, Any], side: int) -> Iterator[tuple[str, dict[str, Any]]]:
    task_type, value = label["task_type"], label["value"]
    if task_type == answers.FLAGS:
        for kind in (k["name"] for k in label["body"]["kinds"]):
            spans = [f for f in value["flags"] if f["kind"] == kind]
            yield kind, {"number": float(bool(spans)), "detail": _json(spans)}
        return
    for question in answers.questions(task_type, label["body"]):
        name, part = question["name"], value[question["name"]]
        if task_type == answers.LIKERT:
            yield name, {"number": float(part)}
        elif task_type == answers.PAIRWISE:
            yield name, {"text": SIDES[part][side]}
        elif question["how"] == "one":
            yield name, {"text": part}
        else:
            spans = question["how"] == "spans"
            chosen = sorted({s["label"] for s in part} if spans else part)
            yield name, {"text": ", ".join(chosen), "list": chosen, "detail": _json(part) if spans else None}


def _json(spans: Sequence[Any]) -> str | None:
    return json.dumps(spans, sort_keys=True) if spans else None


def _agreement(label: Mapping[str, Any], question: str) -> float | None:
    """How alike the raters' answers to a question are on average over pairs of raters; of a kind of bad case, how often
    both flag it or neither does. None under two answers."""
    pairs = list(combinations(label["answers"], 2))
    if not pairs:
        return None
    if label["task_type"] == answers.FLAGS:
        raised = [[any(f["kind"] == question for f in answer["flags"]) for answer in pair] for pair in pairs]
        return round(mean(float(a == b) for a, b in raised), 4)
    asked = next(q for q in answers.questions(label["task_type"], label["body"]) if q["name"] == question)
    return round(mean(answers.part_alike(label["task_type"], asked, a[question], b[question]) for a, b in pairs), 4)


def keep_delivering(
    workspace: Workspace, database: Database, stop: threading.Event, interval_s: float = INTERVAL_S
) -> None:
    """Delivers what is decided until `stop` is set, and once more then. A delivery that fails is logged and tried again."""
    seen: tuple[int, int] | None = None
    took_s = 0.0
    while True:
        ended = stop.wait(max(interval_s, RESTS * took_s))
        began = time.monotonic()
        try:
            changed = database.read(annotation_outbox.last_change)
            if changed != seen:
                deliver(workspace, database)
                seen = changed
        except Exception:  # what keeps the record from taking labels must not end the web app
            log.exception("labels were not delivered; they wait for the next try")
        took_s = time.monotonic() - began
        if ended:
            return
