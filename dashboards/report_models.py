"""What the report shows of checkpoints that make motion or draw: measures beside the baselines', and what they drew of held-out
clips, beside the source."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dashboards.report_clips import Assets
from infra.counted import clips_of_people
from store import drawn
from store.ledger import checkpoints as checkpoints_table
from store.workspace import Workspace

KINDS = ("audio_to_motion", "renderer")
PARTS = {"held_people": "people it never saw", "held_time": "other times of people it knew"}


@dataclass(frozen=True)
class Measures:
    """A table: `whos` are its columns, `rows` a measure each with its cells, "" where it does not apply."""

    title: str
    whos: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Videos:
    """What one evaluation drew: the sheet and the videos are files beside the page."""

    title: str
    sheet: str
    clips: tuple[tuple[str, str, str], ...]
    """(clip, what was held out, file)."""
    tables: tuple[Measures, ...]


@dataclass(frozen=True)
class Model:
    id: str
    recipe: str
    made: str
    tier: str
    snapshot: str
    tables: tuple[Measures, ...]
    drawn: tuple[Videos, ...]


def models(workspace: Workspace, assets: Assets) -> list[Model]:
    """The newest first."""
    return [_model(workspace, assets, row, told) for row, told in _published(workspace)]


def told_of(workspace: Workspace) -> list[str]:
    """What decides the page: a digest of all that is told of checkpoints, and of which videos are there."""
    found = []
    for row, told in _published(workspace):
        of = [json.dumps(e, sort_keys=True) for e in (told, *_evaluations(workspace, row["id"]))]
        of += [key for key, _ in workspace.objects.under(f"checkpoints/{row['id']}/drawn")]
        found.append(f"{row['id']} {hashlib.sha256(chr(10).join(of).encode()).hexdigest()}")
    return found


def _published(workspace: Workspace) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    for row in workspace.ledger.rows(checkpoints_table.select().order_by(checkpoints_table.c.created_at.desc())):
        if not workspace.objects.exists(row["uri"]):
            continue
        told = json.loads(workspace.objects.local(row["uri"], fresh=True).read_bytes())
        if told.get("kind") in KINDS:
            yield row, told


def _evaluations(workspace: Workspace, checkpoint: str) -> list[dict[str, Any]]:
    keys = [key for key, _ in workspace.objects.under(f"checkpoints/{checkpoint}/evaluations") if key.endswith(".json")]
    return [json.loads(workspace.objects.local(key, fresh=True).read_bytes()) for key in keys]


def _model(workspace: Workspace, assets: Assets, row: Mapping[str, Any], told: Mapping[str, Any]) -> Model:
    judged = _evaluations(workspace, row["id"]) or [{**told["metrics"], "snapshot": told["snapshot"]["id"]}]
    return Model(
        id=row["id"],
        recipe=row["recipe"],
        made=datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        tier=str(told["snapshot"]["tier"]),
        snapshot=str(told["snapshot"]["id"]),
        tables=tuple(table for of in judged for table in tables_of(of, f"snapshot {of['snapshot']}")),
        drawn=tuple(_videos(workspace, assets, of) for of in drawn.drawn_by(workspace, row["id"])),
    )


def tables_of(metrics: Mapping[str, Any], where: str) -> Iterator[Measures]:
    """By what was held out and, of a renderer, by what the person was known from."""
    for part, title in PARTS.items():
        of = metrics.get(part)
        if of is None:
            continue
        about = f"{title}: {clips_of_people(of['num_clips'], of['num_people'])}, {of['seconds']:g} s, {where}"
        for kind, told in of.get("plates", {"": of}).items():
            yield _table(f"{about}{f', known from one {kind}' if kind else ''}", told)


def _table(title: str, told: Mapping[str, Any]) -> Measures:
    measures, ahead = told["measures"], told["ahead"]
    names = dict.fromkeys(m for of in measures.values() for m in of)
    rows = []
    for name in names:
        cells = [of.get(name) for of in (*measures.values(), *ahead.values())]
        rows.append((name, tuple("" if c is None else _interval(c) for c in cells)))
    return Measures(title, (*measures, *(f"ahead of {who}" for who in ahead)), tuple(rows))


def _interval(told: Mapping[str, float]) -> str:
    return f"{told['value']:.3g} [{told['low']:.3g}, {told['high']:.3g}]"


def _videos(workspace: Workspace, assets: Assets, of: Mapping[str, Any]) -> Videos:
    by = f"drawn by renderer {of['renderer']}" if of["renderer"] else "drawn by the warp alone"
    title = f"snapshot {of['snapshot']}, {by}{'' if of['motion'] else ', on the true mesh'}"
    clips = [
        (c["clip_id"], c["held_out"], _copied(workspace, assets, drawn.video_key(of["folder"], c["clip_id"]), "mp4"))
        for c in of["clips"]
    ]
    sheet = _copied(workspace, assets, of["sheet"], "jpg") if of["sheet"] else ""
    return Videos(title, sheet, tuple(clips), tuple(tables_of(of, "by what is seen")))


def _copied(workspace: Workspace, assets: Assets, key: str, ending: str) -> str:
    """A file of the workspace beside the page, under a name that tells what it holds."""
    source = workspace.objects.local(key, fresh=True)
    with source.open("rb") as file:
        name = f"drawn-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}.{ending}"

    def write(part: Path) -> None:
        shutil.copyfile(source, part)

    return assets.make(name, write)
