"""Items that wait for raters whom there are not, and what lowering the maximum makes of them: on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import annotation_items, annotation_people, annotation_work
from store.annotation_database import Database
from tasks.annotation import batches, desk
from tests.annotators import NOW, Crew, clips, rated


@pytest.fixture(params=["sqlite", "postgresql"])
def crew(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr(desk, "PROBATION", (0, 0.0))
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    monkeypatch.setattr(desk, "REPEAT_RATIO", 0.0)
    monkeypatch.setattr(batches, "AUDIT_RATIO", 0.0)
    lite = request.param == "sqlite"
    database = Database(
        f"sqlite:///{tmp_path / 'annotation.sqlite'}" if lite else request.getfixturevalue("postgres_url")
    )
    yield Crew(database)
    database.close()


def lacking(crew: Crew, batch: int) -> dict[int, int]:
    return crew.database.read(lambda c: annotation_items.short_of_raters(c, batch))


def test_items_that_wait_for_a_third_who_is_not_there_are_counted(crew: Crew) -> None:
    schema = crew.schema()
    one, other = crew.person("one"), crew.person("other")
    for person in (one, other):
        crew.ready(person, schema)
    batch = crew.batch(schema, clips(4), overlap=2, max_raters=3)
    assert lacking(crew, batch) == {}
    crew.work(one, rated(1))
    assert lacking(crew, batch) == {}, "one of two has yet to answer"
    crew.work(other, lambda held: rated(5 if held["media"][0]["clip_id"] != "c0" else 1))
    assert lacking(crew, batch) == {1: 3}
    third = crew.person("third")
    assert lacking(crew, batch) == {}
    crew.database.write(lambda c: annotation_people.update_person(c, third["id"], active=False))
    assert lacking(crew, batch) == {1: 3}, "who is shut out gives no answer"
    crew.person("r", "reviewer")
    assert lacking(crew, batch) == {1: 3}
    told = {"stage": "training", "round": 1, "failures": 0, "why": "paused", "changed_at": NOW}
    crew.database.write(lambda c: annotation_work.put_qualification(c, other["id"], schema, **told))
    assert lacking(crew, batch) == {1: 3}, "an answer that is there needs nobody"
    more = crew.batch(schema, clips(2), name="more", overlap=2, max_raters=3)
    assert lacking(crew, more) == {1: 2}, "who is in training again is not qualified"
    hard = crew.batch(crew.schema("flags", training=1), clips(2), name="hard", overlap=2, max_raters=3)
    assert lacking(crew, hard) == {2: 2}, "with a calibration nobody is qualified beforehand"


def test_a_lower_maximum_decides_what_waits(crew: Crew) -> None:
    schema = crew.schema()
    people = [crew.person(f"p{i}") for i in range(3)]
    for person in people:
        crew.ready(person, schema)
    batch = crew.batch(schema, clips(4), overlap=2, max_raters=3)
    crew.work(people[0], rated(1))
    crew.work(people[1], rated(5), num=2)
    (held,) = crew.claim(people[2])
    most = crew.database.read(lambda c: annotation_items.max_raters(c, batch))
    assert most == 3

    def lower(c: Any) -> None:
        batches.change_max_raters(c, crew.boss, batch, 2, NOW)

    crew.database.write(lower)
    counts = crew.database.read(lambda c: annotation_items.count_of(c, batch))
    assert counts == {"review": 1, "open": 3}, "one of the two disputes has a third answer on its way"
    crew.submit(people[2], held["token"], rated(3))
    assert crew.database.read(lambda c: annotation_items.count_of(c, batch)) == {"review": 2, "open": 2}
    assert crew.work(people[1], rated(5)) == ["label"] * 2
    assert crew.database.read(lambda c: annotation_items.count_of(c, batch)) == {"review": 4}
    (logged,) = (r for r in crew.database.read(annotation_people.log_rows) if r["action"] == "change_max_raters")
    assert logged["detail"] == '{"before": 3, "max_raters": 2}'


def test_fewer_raters_than_agree_already_are_a_consensus(crew: Crew) -> None:
    schema = crew.schema()
    one = crew.person("one")
    crew.ready(one, schema)
    batch = crew.batch(schema, clips(2), overlap=2, max_raters=3)
    crew.work(one, rated(4))
    crew.database.write(lambda c: batches.change_max_raters(c, crew.boss, batch, 1, NOW))
    labels = crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    assert [(x["how"], x["num_answers"], x["value"]) for x in labels] == [("consensus", 1, rated(4))] * 2
    for wrong in (0, 10):
        with pytest.raises(ValueError, match=f"raters at most {wrong}: from 1 to 9"):
            crew.database.write(lambda c, n=wrong: batches.change_max_raters(c, crew.boss, batch, n, NOW))
