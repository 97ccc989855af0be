"""From when a region's terms of pay hold: at once in its first week, else from Monday; and what its people are told of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from store import annotation_people
from store.annotation_database import Database
from tasks.annotation import results, terms
from tests.annotators import EURO, NOW, Crew, clips, rated

WEEK = results.week(NOW)
BEGAN, OVER = results.bounds(WEEK)


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def put(crew: Crew, now: float = NOW, **told: Any) -> float:
    whole = {**EURO, "name": "there", "hourly_floor_minor": 0, **told}
    return crew.database.write(lambda c: terms.put(c, crew.boss, whole, now))


def held(crew: Crew, now: float = NOW) -> dict[str, Any]:
    return crew.database.read(lambda c: terms.of_region(c, "there", now))


def worked(crew: Crew) -> dict[str, Any]:
    """Somebody of the region, after one answer."""
    key = crew.database.write(lambda c: annotation_people.add_person(c, "one", "-", "annotator", "there", NOW))
    person = {"person_id": key, "id": key, "role": "annotator", "region": "there"}
    schema = crew.schema()
    crew.batch(schema, clips(1))
    crew.ready(person, schema)
    assert len(crew.work(person, rated(3))) == 1
    return person


def test_a_floor_that_is_set_before_anybody_worked_holds_at_once(crew: Crew) -> None:
    put(crew)
    assert put(crew, hourly_floor_minor=90_000) == BEGAN
    assert (held(crew)["hourly_floor_minor"], held(crew)["later"]) == (90_000, None)
    person = worked(crew)
    told = crew.database.read(lambda c: results.statement(c, person, WEEK))
    (floor,) = [line for line in told.lines if line.kind == "floor"]
    assert "active hours x 900.00 EUR" in floor.why


def test_in_the_first_week_a_better_floor_holds_at_once_and_a_worse_one_from_monday(crew: Crew) -> None:
    put(crew, hourly_floor_minor=1000)
    worked(crew)
    assert put(crew, hourly_floor_minor=1200) == BEGAN
    assert put(crew, hourly_floor_minor=900) == OVER
    assert held(crew)["hourly_floor_minor"] == 1200, "who worked was told so"
    later = held(crew)["later"]
    assert (later["hourly_floor_minor"], later["at"]) == (900, OVER)
    assert put(crew, hourly_floor_minor=1200, currency="USD") == OVER
    assert held(crew)["later"]["currency"] == "USD"
    assert put(crew, hourly_floor_minor=1300) == BEGAN
    assert (held(crew)["hourly_floor_minor"], held(crew)["later"]) == (1300, None), (
        "what is said last holds from then on"
    )
    assert held(crew, OVER)["hourly_floor_minor"] == 1300


def test_after_the_first_week_each_change_holds_from_monday(crew: Crew) -> None:
    put(crew, hourly_floor_minor=1000)
    worked(crew)
    next_over = results.bounds(results.week(OVER))[1]
    assert put(crew, OVER + 60, hourly_floor_minor=1200) == next_over
    assert held(crew, OVER + 60)["hourly_floor_minor"] == 1000
    assert held(crew, OVER + 60)["later"]["hourly_floor_minor"] == 1200
    assert held(crew, next_over)["hourly_floor_minor"] == 1200
    (line, *_) = crew.database.read(annotation_people.log_rows)
    assert f'"holds_from": {next_over}' in line["detail"]
