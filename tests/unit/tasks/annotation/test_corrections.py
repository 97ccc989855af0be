"""An audit that comes after a week was closed: the closed week stays, the open one corrects it, and no week falls under its floor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from store import annotation_people, annotation_work
from store.annotation_database import Database
from tasks.annotation import batches, calibration, money, pay, results
from tests.annotators import EURO, NOW, Crew, clips, rated

WEEK = results.week(NOW)
OVER = results.bounds(WEEK)[1]
NEXT = results.week(OVER)
AFTER = results.week(results.bounds(NEXT)[1])


@pytest.fixture
def crew(annotation_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr(batches, "AUDIT_RATIO", 1.0)
    monkeypatch.setattr(calibration, "MIN_CHECKS", 1000)  # nobody is paused by these audits
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def employed(crew: Crew, floor: int = 0, price_milli: int = 10_000, **told: Any) -> tuple[dict[str, Any], int]:
    """Somebody of a region of his own, and a schema with a batch of a rater an item, all of them audited."""
    region = {**EURO, "name": "there", "hourly_floor_minor": floor, **told}
    crew.database.write(lambda c: annotation_people.put_region(c, region))
    key = crew.database.write(lambda c: annotation_people.add_person(c, "one", "-", "annotator", "there", NOW))
    one, schema = {"person_id": key, "id": key, "role": "annotator", "region": "there"}, crew.schema()
    priced = {"price_milli": price_milli, "budget_milli": 10**9}
    crew.batch(schema, clips(30), name="work", overlap=1, max_raters=1, **priced)
    crew.ready(one, schema)
    return one, schema


def answer(crew: Crew, one: dict[str, Any], num: int, at: float) -> None:
    for i in range(num):
        (held,) = crew.claim(one, at + 20 * i)
        crew.submit(one, held["token"], rated(3), at + 20 * i + 10)


def audit(crew: Crew, reviewer: dict[str, Any], num_right: int, num_wrong: int, at: float) -> None:
    for right in [True] * num_right + [False] * num_wrong:
        (held,) = crew.claim(reviewer, at)
        crew.submit(reviewer, held["token"], rated(3 if right else 1), at + 5)


def close(crew: Crew, period: str) -> None:
    crew.database.write(lambda c: results.close_week(c, crew.boss, period, results.bounds(period)[1] + 1))


def lines(crew: Crew, period: str) -> list[tuple[str, int]]:
    rows = crew.database.read(lambda c: annotation_work.ledger_rows(c, period=period))
    return [(row["kind"], row["amount_minor"]) for row in rows if row["login"] == "one"]


def test_a_late_audit_is_a_line_of_the_open_week_that_names_the_closed_one(crew: Crew) -> None:
    one, _ = employed(crew)
    answer(crew, one, 10, NOW)
    close(crew, WEEK)
    closed = lines(crew, WEEK)
    assert closed == [("base", 100), ("bonus", 0)]
    reviewer = crew.person("r", "reviewer")
    audit(crew, reviewer, num_right=2, num_wrong=3, at=OVER + 100)
    assert lines(crew, WEEK) == closed, "what is closed is never changed"
    assert lines(crew, NEXT) == [("correction", -10)] * 3
    (first, *_) = crew.database.read(lambda c: annotation_work.ledger_rows(c, period=NEXT))
    assert first["why"].startswith(f"{WEEK}: an audit overturned an answer; base 1.00 to 0.90")
    answer(crew, one, 5, OVER + 1000)
    shown = crew.database.read(lambda c: results.statement(c, one, NEXT))
    assert shown.total_minor == 50 - 30
    close(crew, NEXT)
    assert lines(crew, NEXT) == [*[("correction", -10)] * 3, ("base", 50), ("bonus", 0)]
    assert sum(minor for _, minor in lines(crew, NEXT)) == shown.total_minor
    close(crew, NEXT)
    assert len(lines(crew, NEXT)) == 5, "closed once"


def test_an_audit_of_an_open_week_needs_no_correction(crew: Crew) -> None:
    one, _ = employed(crew)
    answer(crew, one, 10, NOW)
    audit(crew, crew.person("r", "reviewer"), num_right=0, num_wrong=4, at=NOW + 1000)
    close(crew, WEEK)
    assert lines(crew, WEEK) == [("base", 60), ("bonus", 0)]
    assert lines(crew, NEXT) == []


def test_the_closed_week_does_not_fall_under_its_floor(crew: Crew) -> None:
    """Fifty seconds at 64.80 an hour are 0.90; the answers were worth 1.00, and after two overturned ones are 0.80."""
    one, _ = employed(crew, floor=6480)
    answer(crew, one, 10, NOW)
    assert crew.database.read(lambda c: annotation_work.work_done(c, one["id"], 0, OVER))[1] == 50
    close(crew, WEEK)
    audit(crew, crew.person("r", "reviewer"), num_right=0, num_wrong=2, at=OVER + 100)
    assert lines(crew, NEXT) == [("correction", -10), ("correction", 0)]


def test_a_correction_does_not_take_the_open_week_under_its_floor(crew: Crew) -> None:
    """Of four overturned answers at 0.10, the week after has room for 0.06: five answers are 0.50, its floor 0.44."""
    one, _ = employed(crew, floor=6336)
    answer(crew, one, 10, NOW)
    close(crew, WEEK)
    audit(crew, crew.person("r", "reviewer"), num_right=0, num_wrong=4, at=OVER + 100)
    taken = sum(minor for _, minor in lines(crew, NEXT))
    assert taken == -12, "the closed week has a floor of 0.88"
    answer(crew, one, 5, OVER + 1000)
    close(crew, NEXT)
    told = lines(crew, NEXT)
    assert [x for x in told if x[0] != "correction"] == [("base", 50), ("floor", 6), ("bonus", 0)]
    assert sum(minor for _, minor in told) == 44
    audit(crew, crew.person("r2", "reviewer"), num_right=0, num_wrong=1, at=results.bounds(NEXT)[1] + 100)
    (late, *_) = lines(crew, AFTER)
    assert late == ("correction", 0), "that week was at its floor already, by the correction in it"


def test_who_has_no_work_any_more_owes_nothing(crew: Crew) -> None:
    one, _ = employed(crew)
    answer(crew, one, 10, NOW)
    close(crew, WEEK)
    audit(crew, crew.person("r", "reviewer"), num_right=0, num_wrong=4, at=OVER + 100)
    close(crew, NEXT)
    assert sum(minor for _, minor in lines(crew, NEXT)) == 0
    assert lines(crew, NEXT)[-2:] == [("floor", 40), ("bonus", 0)]


def test_the_bonus_falls_with_the_base_by_the_share_that_was_paid(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pay, "MIN_AUDITED", 1)
    monkeypatch.setattr(pay, "BONUS_FROM", 0.5)
    one, _ = employed(crew, price_milli=100_000)
    answer(crew, one, 20, NOW)
    reviewer = crew.person("r", "reviewer")
    audit(crew, reviewer, num_right=12, num_wrong=0, at=NOW + 1000)
    close(crew, WEEK)
    assert lines(crew, WEEK) == [("base", 2000), ("bonus", 600)]
    audit(crew, reviewer, num_right=0, num_wrong=1, at=OVER + 100)
    assert lines(crew, NEXT) == [("correction", -100 - 30)]


def test_a_correction_is_in_the_currency_of_the_open_week(crew: Crew) -> None:
    one, _ = employed(crew)
    yen = {**EURO, "name": "there", "currency": "JPY", "hourly_floor_minor": 0, "rate": 160.0}
    crew.database.write(lambda c: annotation_people.put_region(c, yen, OVER))
    answer(crew, one, 10, NOW)
    close(crew, WEEK)
    audit(crew, crew.person("r", "reviewer"), num_right=0, num_wrong=1, at=OVER + 100)
    (row,) = crew.database.read(lambda c: annotation_work.ledger_rows(c, period=NEXT))
    assert (row["amount_minor"], row["currency"]) == (-16, "JPY")
    assert row["why"].endswith("EUR")
    assert money.converted(-1500, "KWD", 0.3, "EUR", 1.0) == -500
