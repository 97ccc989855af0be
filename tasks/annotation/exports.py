"""A batch as tables: its labels, a row an item, and every single answer, a row an answer and question."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from infra.settings import Settings
from store import annotation_items, annotation_people
from store.annotation_database import existing
from store.workspace import Workspace
from tasks.annotation import answers, results
from tasks.annotation.confidence import Sure
from tasks.annotation.sign_in import signed, workspace_secret

ENDINGS = (".csv", ".parquet", ".jsonl")
SIDE = ("clip_id", "video_id", "start_frame", "end_frame")
LABELS = (
    *SIDE, "other_clip_id", "value", "how", "num_answers", "item", "schema", "schema_version", "confidence", "confidences",
    "system", "other_system", "prompt", "decided_at",
)  # fmt: skip
ANSWERS = {
    "item": pl.Int64, "batch": pl.String,
    **{f"{other}{k}": pl.String if k.endswith("id") else pl.Int64 for other in ("", "other_") for k in SIDE},
    "system": pl.String, "other_system": pl.String, "prompt": pl.String,
    "schema": pl.String, "schema_version": pl.Int64, "guideline_version": pl.Int64, "task_type": pl.String,
    "question": pl.String, "value": pl.String, "detail": pl.String,
    "rater": pl.String, "purpose": pl.String, "late": pl.Boolean, "accepted": pl.Boolean, "audited": pl.Boolean,
    "set_aside": pl.Boolean, "swapped": pl.Boolean, "active_s": pl.Float64, "submitted_at": pl.String,
}  # fmt: skip
"""Columns of `answers_in`, as docs/annotation.md describes them."""


def utc(at: float | None) -> str:
    """A time as 2026-01-31T12:00:00Z; empty for none."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def labels_csv(
    batch: Mapping[str, Any], labels: Sequence[Mapping[str, Any]], sure: Mapping[int, Mapping[str, Sure]]
) -> str:
    """One line per label: its clips by video and span, value and confidences as JSON by question, how it came about, from how
    many answers, and when. `confidence` is the least of the confidences; both are empty where too few answers tell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, LABELS, restval="", extrasaction="ignore")
    writer.writeheader()
    for row in labels:
        told = {question: s.confidence for question, s in sure.get(row["item_id"], {}).items()}
        least = min(told.values(), default="")
        own = {"confidence": least, "confidences": json.dumps(told, sort_keys=True) if told else ""}
        own |= {"item": row["item_id"], "schema": batch["schema_name"], "schema_version": batch["version"]}
        own |= {"value": json.dumps(row["value"], sort_keys=True), "decided_at": utc(row["at"])}
        writer.writerow({**row, **shown(row["media"]), **own})
    return out.getvalue()


def shown(media: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The clips of an item by columns; of a benchmark also what made them, and from what."""
    made: dict[str, Any] = {}
    for other, clip in zip(("", "other_"), media, strict=False):
        made |= {f"{other}{k}": clip[k] for k in SIDE} | {f"{other}system": clip.get("system")}
    return {**made, "prompt": media[0].get("prompt")}


def rater(secret: bytes, person_id: int) -> str:
    """The name of a person in an export: the same in every export of a workspace, and nobody can tell from it who it is, or
    make it for somebody, without the workspace's secret."""
    return f"r-{signed(secret, f'rater:{person_id}')[:12]}"


def answers_in(
    batch: Mapping[str, Any], given: Sequence[Mapping[str, Any]], secret: bytes, *, logins: bool = False
) -> pl.DataFrame:
    """A row per answer and question, in the order of items and answers; of flags a row per kind.

    `given` is store.annotation_items.every_answer. With `logins` raters have the names they sign in by.
    """
    names = {a["person_id"]: a["login"] if logins else rater(secret, a["person_id"]) for a in given}
    rows: list[dict[str, Any]] = []
    for a in given:
        own = {
            "item": a["item_id"], "batch": batch["name"], "rater": names[a["person_id"]], "late": a["state"] == "late",
            "set_aside": a["set_aside"] is not None, "submitted_at": utc(a["submitted_at"]),
            "guideline_version": a["schema_version"],  # guidelines belong to the version of their schema
            **{k: a[k] for k in ("schema", "schema_version", "task_type", "purpose", "accepted", "audited", "swapped")},
            "active_s": a["active_s"], **shown(a["media"]),
        }  # fmt: skip
        rows += [{**own, **told} for told in _parts(a["task_type"], a["body"], a["value"])]
    return pl.DataFrame([{k: row.get(k) for k in ANSWERS} for row in rows], schema=ANSWERS)


def _parts(task_type: str, body: Mapping[str, Any], value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """{question, value, detail}: a rating, a choice, several with commas, 1 or 0 of a kind; detail: spans as JSON."""
    if task_type == answers.FLAGS:
        for kind in (k["name"] for k in body["kinds"]):
            spans = [f for f in value["flags"] if f["kind"] == kind]
            yield {"question": kind, "value": str(int(bool(spans))), "detail": _json(spans)}
        return
    for asked in answers.questions(task_type, body):
        part = value[asked["name"]]
        if asked.get("how") in ("many", "spans"):
            chosen = sorted({s["label"] for s in part} if asked["how"] == "spans" else part)
            detail = _json(part) if asked["how"] == "spans" else None
            yield {"question": asked["name"], "value": ", ".join(chosen), "detail": detail}
        else:
            yield {"question": asked["name"], "value": str(part), "detail": None}


def _json(spans: Sequence[Any]) -> str | None:
    return json.dumps(spans, sort_keys=True) if spans else None


def answers_of(workspace: Workspace, name: str, *, logins: bool = False) -> pl.DataFrame:
    """Every answer of a workspace's batch, by its name or number. Raises ValueError for one that is not there."""
    batch, given = _asked(workspace.settings, name)
    return answers_in(batch, given, workspace_secret(workspace), logins=logins)


def _asked(settings: Settings, name: str) -> tuple[Mapping[str, Any], list[Any]]:
    database = existing(settings)
    if database is None:
        raise ValueError("nobody was asked anything in this workspace; headroom annotate makes batches")
    try:
        batch = database.read(lambda c: results.named(c, name))
        return batch, database.read(lambda c: annotation_items.every_answer(c, batch["id"]))
    finally:
        database.close()


def write(rows: pl.DataFrame, out: Path) -> dict[str, Any]:
    """Writes a table to a .csv, .parquet or .jsonl file, whole or not at all; gives {"path", "rows", "answers", "raters"}."""
    if out.suffix not in ENDINGS:
        raise ValueError(f"{out}: answers are written as {', '.join(ENDINGS)}; give a name that ends so")
    writers: dict[str, Callable[[Path], Any]] = {
        ".csv": rows.write_csv, ".parquet": rows.write_parquet, ".jsonl": rows.write_ndjson,
    }  # fmt: skip
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writers[out.suffix](part)
        part.replace(out)
    except OSError as error:
        raise ValueError(f"{out}: can't be written ({error.strerror}); give another place") from error
    num = rows.select("item", "rater", "purpose", "submitted_at").unique().height
    return {"path": str(out), "rows": rows.height, "answers": num, "raters": rows["rater"].n_unique()}


def log_names(c: Any, by: int, batch: Mapping[str, Any], now: float) -> None:
    """That somebody was given the names behind the answers is in the log."""
    annotation_people.log(c, now, by, "export_names", batch["name"])
