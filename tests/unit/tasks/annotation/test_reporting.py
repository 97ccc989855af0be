"""An item that a rater gives back: others get it, nothing is held against who gave it back, and gone media are shown to nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from store import annotation, annotation_people, annotation_reports, annotation_work
from store.annotation_database import Database, Refused
from tasks.annotation import desk, reporting
from tests.annotators import NOW, Crew, clips, rated


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def give_back(crew: Crew, person: dict[str, Any], token: str, *, gone: bool = False, **told: Any) -> None:
    sent = {"reason": "disturbing", "active_s": 8.0, **told}
    crew.database.write(lambda c: reporting.report(c, person, token, sent, gone, NOW + 10))


def rows(crew: Crew, table: sa.Table) -> list[dict[str, Any]]:
    return crew.database.read(lambda c: [dict(r) for r in c.execute(sa.select(table)).mappings()])


def logged(crew: Crew, action: str) -> list[dict[str, Any]]:
    found = crew.database.read(annotation_people.log_rows)
    return [{**r, "detail": json.loads(r["detail"])} for r in found if r["action"] == action]


def test_who_gives_an_item_back_never_meets_it_again_and_others_do(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    batch = crew.batch(schema, clips(1), overlap=1, max_raters=1, price_milli=100, budget_milli=100)
    for person in (one, other):
        crew.ready(person, schema)
    (held,) = crew.claim(one)
    assert crew.claim(other) == []
    give_back(crew, one, held["token"], told="  blood ")
    (item,), (told,) = rows(crew, annotation.items), rows(crew, annotation.batches)
    assert (item["num_taken"], told["num_reserved"]) == (0, 0), "its place, and the money, are free"
    assert crew.claim(one, NOW + 20) == []
    assert crew.work(other, rated(3)) == ["label"]
    assert rows(crew, annotation.scores) == []
    worked, active_s = crew.database.read(lambda c: annotation_work.work_done(c, one["id"], 0.0, NOW + 99))
    assert (worked, active_s) == ([], 8.0), "not paid by the piece; the time counts for the floor"
    (line,) = logged(crew, "report")
    assert (line["login"], line["object"]) == ("one", f"item {item['id']}")
    assert line["detail"] == {"reason": "disturbing", "told": "blood", "batch": batch, "purpose": "label"}
    found = crew.database.read(lambda c: annotation_reports.of_batch(c, batch))
    assert found == {"num_unshown": 0, "reports": {"disturbing": 1}}


def test_an_item_is_given_back_once_and_then_not_answered(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    crew.batch(schema, clips(2), overlap=1, max_raters=1)
    crew.ready(one, schema)
    held, kept = crew.claim(one, num=2)
    with pytest.raises(desk.Gone):
        give_back(crew, other, held["token"])
    for wrong, why in (({"reason": "gone"}, "is none of unplayable"), ({"told": "x" * 501}, "at most 500")):
        with pytest.raises(ValueError, match=why):
            give_back(crew, one, held["token"], **wrong)
    for _ in range(2):
        give_back(crew, one, held["token"])
    assert len(logged(crew, "report")) == 1
    with pytest.raises(ValueError, match="given back before"):
        crew.submit(one, held["token"], rated(3))
    with pytest.raises(desk.Gone):
        crew.database.write(lambda c: desk.keep(c, one, held["token"], NOW + 20))
    crew.submit(one, kept["token"], rated(3))
    with pytest.raises(ValueError, match="answered before"):
        give_back(crew, one, kept["token"])
    (report,) = rows(crew, annotation.reports)
    assert report["reason"] == "disturbing"
    for change in (annotation.reports.update().values(told="other"), annotation.reports.delete()):
        with pytest.raises(Refused, match="append-only"):
            crew.database.write(lambda c, x=change: c.execute(x))


def test_many_who_give_one_item_back_at_once_hide_it_once(crew: Crew) -> None:
    people, schema = [crew.person(f"p{i}") for i in range(6)], crew.schema()
    batch = crew.batch(schema, clips(1), overlap=6, max_raters=6)
    for person in people:
        crew.ready(person, schema)
    tokens = [crew.claim(person)[0]["token"] for person in people]
    both = [*zip(people, tokens, strict=True)] * 2  # each twice, as by two clicks
    with ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(give_back, crew, person, token, gone=True) for person, token in both]:
            done.result()
    assert len(rows(crew, annotation.reports)) == len(logged(crew, "report")) == 6
    assert crew.database.read(lambda c: annotation_reports.of_batch(c, batch))["num_unshown"] == 1


def test_time_of_what_is_given_back_is_bounded_by_the_clock(crew: Crew) -> None:
    one, schema = crew.person("one"), crew.schema()
    crew.batch(schema, clips(2))
    crew.ready(one, schema)
    for held in crew.claim(one, num=2):
        give_back(crew, one, held["token"], active_s=9999)
    assert crew.database.read(lambda c: annotation_work.work_done(c, one["id"], 0.0, NOW + 99))[1] == 10.0


def test_an_item_whose_media_are_gone_is_shown_to_nobody_until_they_are_back(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    batch = crew.batch(schema, clips(2))
    for person in (one, other):
        crew.ready(person, schema)
    (held,) = crew.claim(one)
    give_back(crew, one, held["token"], gone=True, reason="other")
    assert [r["reason"] for r in rows(crew, annotation.reports)] == ["gone"], "whatever the rater took it for"
    found = crew.database.read(lambda c: annotation_reports.of_batch(c, batch))
    assert found == {"num_unshown": 1, "reports": {}}
    assert crew.work(other, rated(3)) == ["label"], "the other item alone"
    (left,) = crew.database.read(lambda c: annotation_reports.unshown_items(c, batch))
    assert (left[0], left[1][0]["clip_id"]) == (held["item_id"], held["media"][0]["clip_id"])
    named = {"id": batch, "name": "b"}
    crew.database.write(lambda c: reporting.show_again(c, crew.boss, named, [left[0]], NOW + 50))
    assert logged(crew, "look_again")[0]["detail"] == {"back": 1}
    assert crew.work(other, rated(3)) == ["label"]
    assert crew.work(one, rated(3)) == ["label"], "who gave it back has had it"


def test_gold_and_reviews_whose_media_are_gone_are_passed_over(crew: Crew) -> None:
    reviewer, second, one = crew.person("r", "reviewer"), crew.person("q", "reviewer"), crew.person("one")
    schema = crew.schema(exam=2)
    crew.batch(schema, clips(3), goal="gold", name="gold")
    crew.batch(schema, clips(1), name="work")
    (held,) = crew.claim(reviewer)
    give_back(crew, reviewer, held["token"], gone=True)
    assert crew.database.read(annotation_work.num_waiting_reviews) == 2
    assert crew.work(second, rated(4)) == ["review"] * 2, "not the one that can't be shown"
    crew.ready(one, schema)
    (held,) = crew.claim(one)
    give_back(crew, one, held["token"], gone=True)
    assert crew.work(one, rated(4)) == ["exam"], "of two gold items one can be shown, and an exam takes two"
    (told,) = crew.database.read(annotation_work.all_schemas)
    assert told["num_gold"] == 1
    items = [row["item_id"] for row in rows(crew, annotation.unshown)]
    crew.database.write(lambda c: annotation_reports.show(c, items))
    assert crew.work(second, rated(4)) == ["review"], "back, and another reviewer decides it"
    assert crew.work(one, rated(4), num=2) == ["exam", "label"]


def test_a_tenth_of_an_exam_may_be_given_back_and_what_is_more_is_asked_again(crew: Crew) -> None:
    reviewer, one, schema = crew.person("r", "reviewer"), crew.person("one"), crew.schema(training=2, exam=10)
    crew.batch(schema, clips(14), goal="gold", name="gold")
    crew.batch(schema, clips(1), name="work")
    crew.work(reviewer, rated(4))
    crew.ready(one, schema)

    def gives_back() -> str:
        (held,) = crew.claim(one)
        give_back(crew, one, held["token"])
        return str(held["purpose"])

    assert [gives_back(), gives_back()] == ["train", "train"], "practice may be left out, an exam follows"
    assert crew.work(one, rated(4), num=8) == ["exam"] * 8
    assert gives_back() == "exam"
    stage = crew.database.read(lambda c: annotation_work.qualification(c, one["id"], schema))
    assert stage is not None
    assert (stage["stage"], stage["why"]) == ("exam", "9 of 10 exam items")
    assert gives_back() == "exam", "the second of ten"
    assert crew.work(one, rated(4), num=2) == ["exam", "label"], "is asked again by another"
    stage = crew.database.read(lambda c: annotation_work.qualification(c, one["id"], schema))
    assert stage is not None
    assert (stage["stage"], stage["why"]) == ("qualified", "mean 1.00 of 9 items")


def test_the_last_of_an_exam_may_be_the_one_that_is_given_back(crew: Crew) -> None:
    reviewer, one, schema = crew.person("r", "reviewer"), crew.person("one"), crew.schema(exam=10)
    crew.batch(schema, clips(10), goal="gold", name="gold")
    crew.batch(schema, clips(1), name="work")
    crew.work(reviewer, rated(4))
    crew.ready(one, schema)
    assert crew.work(one, rated(4), num=9) == ["exam"] * 9
    (held,) = crew.claim(one)
    give_back(crew, one, held["token"])
    assert crew.work(one, rated(4)) == ["label"]


def test_a_database_of_before_gets_the_tables_of_reports(annotation_url: str) -> None:
    Database(annotation_url).close()
    old = Database(annotation_url)
    for table in (annotation.reports, annotation.unshown):
        old.write(lambda c, t=table: c.execute(sa.text(f"DROP TABLE {t.name}")))
    old.close()
    crew = Crew(Database(annotation_url))
    one, schema = crew.person("one"), crew.schema()
    crew.batch(schema, clips(1))
    crew.ready(one, schema)
    (held,) = crew.claim(one)
    give_back(crew, one, held["token"])
    with pytest.raises(Refused, match="append-only"):
        crew.database.write(lambda c: c.execute(annotation.reports.delete()))
    crew.database.close()
