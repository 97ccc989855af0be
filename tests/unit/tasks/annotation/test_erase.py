"""A forgotten video in annotation: nothing shows it, nothing is said of it, and what was earned with it is still paid."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from store import annotation, annotation_reports, annotation_work, scrub
from store.annotation_database import Database
from store.annotation_erase import erase_videos
from store.residue import Searched, Targets, search_file
from tests.annotators import NOW, Crew, clips, rated

GONE, KEPT = "ab" * 8, "cd" * 8


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def worked_on(crew: Crew) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two people who answered three of four items each, half of them of a video that is to be forgotten."""
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    media = clips(4)
    for i, (_, told) in enumerate(media):
        told[0] |= {"video_id": GONE if i % 2 else KEPT, "proxy_uri": f"media/{GONE if i % 2 else KEPT}/proxy.mp4"}
    crew.batch(schema, media, source=f"SELECT clip_id FROM clips WHERE video_id IN ('{GONE}', '{KEPT}')")
    for person in (one, other):
        crew.ready(person, schema)
    assert len(crew.work(one, rated(3), num=3)) == len(crew.work(other, rated(3), num=3)) == 3
    return one, other


def test_an_erased_video_is_shown_to_nobody(crew: Crew) -> None:
    one, other = worked_on(crew)
    (held,) = crew.claim(one, NOW + 100)
    crew.database.write(lambda c: annotation_reports.hide(c, held["item_id"], NOW))
    before = crew.database.read(lambda c: c.execute(sa.select(annotation.labels.c.item_id)).all())
    assert len(before) == 3

    assert crew.database.write(lambda c: erase_videos(c, [GONE])) == 2
    assert crew.database.write(lambda c: erase_videos(c, [GONE])) == 0
    shown = crew.database.read(lambda c: c.execute(sa.select(annotation.items.c.media, annotation.items.c.state)).all())
    assert sorted(state for media, state in shown if media == "[]") == ["retired", "retired"]
    assert not any(GONE in media for media, _ in shown)
    answered = crew.database.read(lambda c: c.execute(sa.select(annotation.assignments.c.value)).scalars().all())
    assert sum(v is not None for v in answered) == 6, "what was answered is still paid"
    if held["media"][0]["video_id"] == GONE:
        assert crew.submit(one, held["token"], rated(3), NOW + 110)["accepted"] is False
    met = [m["media"][0]["video_id"] for m in crew.claim(other, NOW + 200, num=4)]
    assert GONE not in met
    (batch,) = crew.database.read(annotation_work.all_batches)
    left = crew.database.read(lambda c: annotation_reports.unshown_items(c, batch["id"]))
    assert len(left) == (held["media"][0]["video_id"] != GONE)


def test_an_erased_video_is_found_nowhere_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "annotation.sqlite"
    crew = Crew(Database(f"sqlite:///{file}"))
    worked_on(crew)
    crew.database.write(lambda c: erase_videos(c, [GONE]))
    crew.database.close()
    targets = Targets(frozenset([GONE]))
    scrub.scrub_sqlite(file, targets)
    told = Searched()
    for part in (file, file.with_name(file.name + "-wal")):
        search_file(part, targets, told)
    assert told.found == []
    with closing(sqlite3.connect(file)) as database:
        (source,) = database.execute("SELECT source FROM annotation_batches").fetchone()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):  # the triggers are back
            database.execute("DELETE FROM annotation_audit_log")
    assert (GONE in source, KEPT in source) == (False, True)
