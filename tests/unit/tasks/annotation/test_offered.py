"""What annotators are told of the batches open to them: the price in their currency, what they gave, and about what is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from store import annotation_items, annotation_people, annotation_work
from store.annotation import items
from store.annotation_database import Database
from tasks.annotation import offered
from tasks.annotation.offered import Offered
from tests.annotators import EURO, NOW, Crew, clips, rated

YEN = {**EURO, "name": "jp", "currency": "JPY", "rate": 160.0, "hourly_floor_minor": 1100}


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def told(crew: Crew, person: dict[str, object], now: float = NOW) -> list[Offered]:
    return crew.database.read(lambda c: offered.batches_for(c, person, now))


def test_each_batch_is_told_with_its_price_in_the_regions_currency_and_what_is_left(crew: Crew) -> None:
    crew.database.write(lambda c: annotation_people.put_region(c, YEN))
    one, schema = crew.person("one"), crew.schema()
    crew.ready(one, schema)
    there = {**one, "region": "jp"}
    crew.batch(schema, clips(35), name="work", price_milli=4500, budget_milli=10**6, priority=2)
    crew.batch(schema, clips(9), name="gold", goal="gold")
    assert told(crew, one) == [Offered("work", schema, "0.045", "EUR", 0, 30, "about 30")]
    assert [(b.price, b.currency) for b in told(crew, there)] == [("7.2", "JPY")]
    crew.work(one, rated(3), num=12)
    (now,) = told(crew, one)
    assert (now.num_given, now.left) == (12, "about 20")
    num = 12 + len(crew.work(one, rated(3)))
    assert [(b.num_given, b.left) for b in told(crew, one)] == [(num, "none")], "repeats look like any other"


def test_no_more_is_left_than_the_budget_pays_and_a_head_start_hides_a_batch(crew: Crew) -> None:
    one, schema = crew.person("one"), crew.schema()
    crew.batch(schema, clips(30), name="poor", price_milli=100, budget_milli=1250)
    crew.batch(schema, clips(30), name="rich", price_milli=200, budget_milli=10**6, head_start_s=900.0)
    assert [(b.name, b.left) for b in told(crew, one)] == [("poor", "about 10")]
    assert [b.name for b in told(crew, one, NOW + 901)] == ["poor", "rich"]
    crew.database.write(lambda c: annotation_people.update_person(c, one["id"], quality=0.9))
    assert [b.name for b in told(crew, one)] == ["poor", "rich"]
    (first, *_) = crew.database.read(annotation_work.all_batches)
    crew.database.write(lambda c: annotation_work.update_batch(c, first["id"], state="paused"))
    assert [b.name for b in told(crew, one)] == ["rich"]


def test_a_count_is_too_coarse_to_tell_hidden_gold() -> None:
    found = {
        n: (offered.rounded(n), offered.told(offered.rounded(n))) for n in (0, 1, 9, 10, 19, 99, 129, 1234, 98_765)
    }
    assert found == {
        0: (0, "none"), 1: (5, "under 10"), 9: (5, "under 10"), 10: (10, "about 10"), 19: (10, "about 10"),
        99: (90, "about 90"), 129: (120, "about 120"), 1234: (1200, "about 1,200"), 98_765: (98_000, "about 98,000"),
    }  # fmt: skip


def test_what_there_is_to_begin_with_is_what_a_claim_gives(plain_crew: Crew) -> None:
    crew = plain_crew
    one, schema = crew.person("one"), crew.schema("likert", training=2, exam=1)
    crew.batch(schema, clips(2), name="work")

    def waits() -> tuple[bool, dict[int, str]]:
        def look(c: Any) -> tuple[bool, dict[int, str]]:
            schemas = annotation_work.open_schemas(c, one["person_id"])
            return offered.waits_in(c, one, schemas, offered.batches_for(c, one, NOW), NOW)

        found = crew.database.read(look)
        (held,) = crew.claim(one) or [{"purpose": ""}]
        assert found[0] == bool(held["purpose"])
        if held["purpose"]:
            crew.submit(one, held["token"], rated(3), NOW + 1)
        return found

    assert waits() == (False, {}), "the guidelines are not acknowledged"
    crew.ready(one, schema)
    assert waits() == (False, {schema: "train"})
    reviewer = crew.person("reviewer", "reviewer")
    for num, then in ((1, "train"), (1, "exam")):
        crew.batch(schema, clips(num), name=f"gold for {then}", goal="gold")
        assert crew.database.read(lambda c: annotation_items.gold_of(c, schema))[1] == num
        crew.work(reviewer, rated(3))
        assert waits() == (True, {})
        assert waits() == (False, {schema: then})
    assert crew.database.read(lambda c: annotation_items.gold_of(c, schema)) == (2, 0)
    crew.batch(schema, clips(1), name="gold for work", goal="gold")
    crew.work(reviewer, rated(3))
    assert [waits() for _ in range(4)] == [(True, {})] * 3 + [(False, {schema: "none_left"})]
    told = {"round": 3, "failures": 3, "why": "exam not passed", "changed_at": NOW}
    for stage, why in (("banned", "banned"), ("training", "train")):
        put = {**told, "stage": stage}
        crew.database.write(lambda c, p=put: annotation_work.put_qualification(c, one["id"], schema, **p))
        crew.database.write(lambda c: without_gold(c, schema))
        assert waits() == (False, {schema: why})


def test_who_has_done_what_they_are_qualified_for_is_calibrated_for_what_comes_after(plain_crew: Crew) -> None:
    crew = plain_crew
    one, reviewer = crew.person("one"), crew.person("reviewer", "reviewer")
    first, second = crew.schema("likert"), crew.schema("likert", training=1, exam=1)
    crew.batch(second, clips(2), name="gold", goal="gold")
    crew.work(reviewer, rated(3))
    for schema in (first, second):
        crew.ready(one, schema)
    crew.batch(first, clips(1), name="work", overlap=1, max_raters=1)
    crew.batch(second, clips(1), name="more", overlap=1, max_raters=1)

    def begins() -> bool:
        schemas = lambda c: annotation_work.open_schemas(c, one["person_id"])  # noqa: E731
        told = crew.database.read(lambda c: offered.waits_in(c, one, schemas(c), offered.batches_for(c, one, NOW), NOW))
        return told[0]

    assert begins()
    assert crew.work(one, rated(3), num=1) == ["label"], "work that one is qualified for comes first"
    assert begins()
    assert crew.work(one, rated(3), num=2) == ["train", "exam"]


def without_gold(c: Any, schema_id: int) -> None:
    """Nothing of the schema's gold can be shown."""
    c.execute(items.update().where(items.c.schema_id == schema_id, items.c.kind == "gold").values(state="retired"))


def test_who_is_out_of_a_schema_without_a_calibration_is_told_to_be_let_in(plain_crew: Crew) -> None:
    one, schema = plain_crew.person("one"), plain_crew.schema()
    plain_crew.ready(one, schema)
    plain_crew.batch(schema, clips(2), name="work")
    told = {"stage": "training", "round": 1, "failures": 1, "why": "paused", "changed_at": NOW}
    plain_crew.database.write(lambda c: annotation_work.put_qualification(c, one["id"], schema, **told))
    assert plain_crew.claim(one) == []

    def look(c: Any) -> tuple[bool, dict[int, str]]:
        return offered.waits_in(
            c, one, annotation_work.open_schemas(c, one["id"]), offered.batches_for(c, one, NOW), NOW
        )

    assert plain_crew.database.read(look) == (False, {schema: "paused"})
