"""Items that wait for raters whom there are not, and what lowering the maximum makes of them: on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from store import annotation_items, annotation_people, annotation_work
from tasks.annotation import batches
from tests.annotators import NOW, Crew, clips, rated


def lacking(plain_crew: Crew, batch: int) -> dict[int, int]:
    return plain_crew.database.read(lambda c: annotation_items.short_of_raters(c, batch))


def test_items_that_wait_for_a_third_who_is_not_there_are_counted(plain_crew: Crew) -> None:
    schema = plain_crew.schema()
    one, other = plain_crew.person("one"), plain_crew.person("other")
    for person in (one, other):
        plain_crew.ready(person, schema)
    batch = plain_crew.batch(schema, clips(4), overlap=2, max_raters=3)
    assert lacking(plain_crew, batch) == {}
    plain_crew.work(one, rated(1))
    assert lacking(plain_crew, batch) == {}, "one of two has yet to answer"
    plain_crew.work(other, lambda held: rated(5 if held["media"][0]["clip_id"] != "c0" else 1))
    assert lacking(plain_crew, batch) == {1: 3}
    third = plain_crew.person("third")
    assert lacking(plain_crew, batch) == {}
    plain_crew.database.write(lambda c: annotation_people.update_person(c, third["id"], active=False))
    assert lacking(plain_crew, batch) == {1: 3}, "who is shut out gives no answer"
    plain_crew.person("r", "reviewer")
    assert lacking(plain_crew, batch) == {1: 3}
    told = {"stage": "training", "round": 1, "failures": 0, "why": "paused", "changed_at": NOW}
    plain_crew.database.write(lambda c: annotation_work.put_qualification(c, other["id"], schema, **told))
    assert lacking(plain_crew, batch) == {1: 3}, "an answer that is there needs nobody"
    more = plain_crew.batch(schema, clips(2), name="more", overlap=2, max_raters=3)
    assert lacking(plain_crew, more) == {1: 2}, "who is in training again is not qualified"
    hard = plain_crew.batch(plain_crew.schema("flags", training=1), clips(2), name="hard", overlap=2, max_raters=3)
    assert lacking(plain_crew, hard) == {2: 2}, "with a calibration nobody is qualified beforehand"


def test_a_lower_maximum_decides_what_waits(plain_crew: Crew) -> None:
    schema = plain_crew.schema()
    people = [plain_crew.person(f"p{i}") for i in range(3)]
    for person in people:
        plain_crew.ready(person, schema)
    batch = plain_crew.batch(schema, clips(4), overlap=2, max_raters=3)
    plain_crew.work(people[0], rated(1))
    plain_crew.work(people[1], rated(5), num=2)
    (held,) = plain_crew.claim(people[2])
    most = plain_crew.database.read(lambda c: annotation_items.max_raters(c, batch))
    assert most == 3

    def lower(c: Any) -> None:
        batches.change_max_raters(c, plain_crew.boss, batch, 2, NOW)

    plain_crew.database.write(lower)
    counts = plain_crew.database.read(lambda c: annotation_items.count_of(c, batch))
    assert counts == {"review": 1, "open": 3}, "one of the two disputes has a third answer on its way"
    plain_crew.submit(people[2], held["token"], rated(3))
    assert plain_crew.database.read(lambda c: annotation_items.count_of(c, batch)) == {"review": 2, "open": 2}
    assert plain_crew.work(people[1], rated(5)) == ["label"] * 2
    assert plain_crew.database.read(lambda c: annotation_items.count_of(c, batch)) == {"review": 4}
    (logged,) = (r for r in plain_crew.database.read(annotation_people.log_rows) if r["action"] == "change_max_raters")
    assert logged["detail"] == '{"before": 3, "max_raters": 2}'


def test_fewer_raters_than_agree_already_are_a_consensus(plain_crew: Crew) -> None:
    schema = plain_crew.schema()
    one = plain_crew.person("one")
    plain_crew.ready(one, schema)
    batch = plain_crew.batch(schema, clips(2), overlap=2, max_raters=3)
    plain_crew.work(one, rated(4))
    plain_crew.database.write(lambda c: batches.change_max_raters(c, plain_crew.boss, batch, 1, NOW))
    labels = plain_crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    assert [(x["how"], x["num_answers"], x["value"]) for x in labels] == [("consensus", 1, rated(4))] * 2
    for wrong in (0, 10):
        with pytest.raises(ValueError, match=f"raters at most {wrong}: from 1 to 9"):
            plain_crew.database.write(lambda c, n=wrong: batches.change_max_raters(c, plain_crew.boss, batch, n, NOW))
