"""A small workspace, people at its annotation database, and labels that they decided there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from store.annotation import metadata
from store.annotation_database import Database, database_url
from store.record import Batch, table_of
from store.schema import CLIPS, VIDEOS
from store.server_database import server_engine
from store.workspace import Workspace, open_workspace
from tasks.annotation import batches, desk
from tests.annotators import Crew

CLEAN = "SELECT clip_id FROM clips LEFT JOIN labels USING (clip_id) WHERE coalesce(labels.flags, '') = ''"


def clip(clip_id: str, video_id: str, start: int, end: int, active: bool = True) -> dict[str, Any]:
    span = {"start_frame": start, "end_frame": end, "duration_s": (end - start) / 25}
    return {"clip_id": clip_id, "video_id": video_id, **span, "active": active}


def commit_clips(workspace: Workspace, *clips: dict[str, Any]) -> None:
    batch = Batch()
    batch.add("clips", table_of(clips, CLIPS))
    batch.add("videos", table_of([{"video_id": c["video_id"], "state": "done"} for c in clips], VIDEOS))
    workspace.commit(batch)


@pytest.fixture
def workspace(tmp_path: Path, quick_sql: None) -> Workspace:
    """Three clips of two videos, and a tier that leaves out what is flagged. With `either_ledger` on PostgreSQL, too."""
    made = open_workspace(tmp_path / "workspace")
    commit_clips(made, clip("a", "v", 0, 100), clip("b", "v", 200, 300), clip("c", "w", 0, 100))
    folder = made.settings.workspace / "tiers"
    folder.mkdir()
    (folder / "clean.sql").write_text(CLEAN)
    return made


@pytest.fixture
def unasked(workspace: Workspace) -> Workspace:
    """The workspace before anybody was asked anything: PostgreSQL keeps the tables of the test before."""
    url = database_url(workspace.settings)
    if url.startswith("postgresql"):
        engine = server_engine(url, "test")
        metadata.drop_all(engine)
        engine.dispose()
    return workspace


@pytest.fixture
def crew(workspace: Workspace) -> Iterator[Crew]:
    made = Crew(Database(database_url(workspace.settings)))
    yield made
    made.database.close()


@pytest.fixture
def plain_crew(annotation_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """Nobody is on probation, and there is neither gold nor a repeat nor an audit: all that is asked is what a batch asks."""
    monkeypatch.setattr(desk, "PROBATION", (0, 0.0))
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    monkeypatch.setattr(desk, "REPEAT_RATIO", 0.0)
    monkeypatch.setattr(batches, "AUDIT_RATIO", 0.0)
    database = Database(annotation_url)
    yield Crew(database)
    database.close()


def shown(*clips: tuple[str, str, int, int]) -> list[tuple[float, list[dict[str, Any]]]]:
    """One item per clip."""
    return [(0.0, [{**clip(*one), "proxy_uri": "p"}]) for one in clips]


A, B, C = ("a", "v", 0, 100), ("b", "v", 200, 300), ("c", "w", 0, 100)
TEETH = {"flags": [{"kind": "teeth", "start_s": 1.0, "end_s": 2.0, "box": None}]}
NONE: dict[str, Any] = {"flags": []}
NUMBERS = count()


def answered(crew: Crew, task_type: str, media: Any, *values: Any) -> int:
    """A batch that one new person answers by each value, or by what a function of the assignment gives."""
    schema = crew.schema(task_type)
    num = len(values)
    batch = crew.batch(schema, media, name=f"batch {next(NUMBERS)}", overlap=num, max_raters=num)
    for i, value in enumerate(values):
        person = crew.person(f"{task_type}{batch}-{i}")
        crew.ready(person, schema)
        crew.work(person, value)
    return batch


def read(workspace: Workspace, query: str) -> list[dict[str, Any]]:
    with workspace.views() as reader:
        return reader.sql(query).to_dicts()
