"""A forgotten video in annotation: nothing shows it, nothing is said of it, and what was earned with it is still paid."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from store import annotation, scrub
from store.annotation_database import Database
from store.annotation_erase import erase_videos
from store.residue import Searched, Targets, search_file
from tests.annotators import NOW, Crew, clips, rated

GONE, KEPT = "ab" * 8, "cd" * 8


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(Database(f"sqlite:///{tmp_path / 'annotation.sqlite'}"))


def test_an_erased_video_is_shown_to_nobody_and_found_nowhere(crew: Crew, tmp_path: Path) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    media = clips(4)
    for i, (_, told) in enumerate(media):
        told[0] |= {"video_id": GONE if i % 2 else KEPT, "proxy_uri": f"media/{GONE if i % 2 else KEPT}/proxy.mp4"}
    crew.batch(schema, media, source=f"SELECT clip_id FROM clips WHERE video_id IN ('{GONE}', '{KEPT}')")
    for person in (one, other):
        crew.ready(person, schema)
    assert len(crew.work(one, rated(3), num=3)) == len(crew.work(other, rated(3), num=3)) == 3
    (held,) = crew.claim(one, NOW + 100)
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

    crew.database.close()
    file = tmp_path / "annotation.sqlite"
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
