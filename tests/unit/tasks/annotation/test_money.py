"""Amounts are in the currency's own minor units, from a price to the payout; terms never change what was worked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from store import annotation, annotation_people, annotation_work
from store.annotation_database import Database, Refused
from store.currencies import EXPONENTS
from tasks.annotation import money, results
from tests.annotators import EURO, NOW, Crew, clips, rated

WEEK = results.week(NOW)
OVER = results.bounds(WEEK)[1]
YEN = {**EURO, "currency": "JPY", "hourly_floor_minor": 1100, "rate": 160.0}


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def put(crew: Crew, told: dict[str, Any], terms_from: float | None = None) -> None:
    crew.database.write(lambda c: annotation_people.put_region(c, told, terms_from))


def worked(crew: Crew, region: str) -> dict[str, Any]:
    """Ten answers at 0.045 of the reference currency, of a minute in all."""
    key = crew.database.write(lambda c: annotation_people.add_person(c, region, "-", "annotator", region, NOW))
    person = {"person_id": key, "id": key, "role": "annotator", "region": region}
    schema = crew.schema()
    crew.batch(schema, clips(10), price_milli=4500, budget_milli=10**9, name=region)
    crew.ready(person, schema)
    assert len(crew.work(person, rated(3), num=10)) == 10
    return person


def paid_out(crew: Crew, period: str = WEEK) -> list[dict[str, str]]:
    crew.database.write(lambda c: results.close_week(c, crew.boss, period, OVER + 1))
    rows = crew.database.read(lambda c: annotation_work.ledger_rows(c, period=period))
    return list(csv.DictReader(io.StringIO(results.payout_csv(rows))))


@pytest.mark.parametrize(
    ("currency", "rate", "amount_minor", "amount", "each"),
    [
        ("EUR", 1.0, "45", "0.45", "0.045"),
        ("JPY", 160.0, "72", "72", "7.2"),
        ("KWD", 0.3, "135", "0.135", "0.0135"),
    ],
)
def test_a_payout_is_in_the_minor_units_that_the_currency_has(
    crew: Crew, currency: str, rate: float, amount_minor: str, amount: str, each: str
) -> None:
    put(crew, {**EURO, "name": "there", "currency": currency, "rate": rate, "hourly_floor_minor": 0})
    worked(crew, "there")
    base = paid_out(crew)[0]
    assert (base["kind"], base["currency"]) == ("base", currency)
    assert (base["amount_minor"], base["amount"]) == (amount_minor, amount)
    assert base["why"] == f"10 accepted in there x {each} {currency}"


def test_a_floor_is_told_in_the_currencys_decimals(crew: Crew) -> None:
    put(crew, {**YEN, "name": "there", "hourly_floor_minor": 36_000})
    person = worked(crew, "there")
    active = crew.database.read(lambda c: annotation_work.work_done(c, person["id"], 0, OVER))[1]
    floor = next(row for row in paid_out(crew) if row["kind"] == "floor")
    assert floor["amount"] == floor["amount_minor"] == str(round(active * 10) - 72)
    assert f"x 36000 JPY = {round(active * 10)}, less the base of 72" in floor["why"]


def test_amounts_go_there_and_back() -> None:
    for currency, amount, minor in (("EUR", "1.50", 150), ("JPY", "72", 72), ("BHD", "1.500", 1500), ("UGX", "5", 5)):
        assert money.minor(Decimal(amount), currency) == minor
        assert money.decimal(minor, currency) == amount
    assert money.decimal(-5, "USD") == "-0.05"


@pytest.mark.parametrize(
    ("amount", "currency", "why"),
    [
        ("1050.5", "JPY", "1050.5 JPY: JPY has no decimals .ISO 4217.; write 1050 or 1051"),
        ("0.5", "KRW", "KRW has no decimals .*; write 0 or 1"),
        ("13.005", "EUR", "13.005 EUR: EUR has 2 decimals .*; write 13.00 or 13.01"),
        ("1.2345", "KWD", "KWD has 3 decimals .*; write 1.234 or 1.235"),
    ],
)
def test_an_amount_that_a_currency_does_not_have_is_refused_by_name(amount: str, currency: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        money.minor(Decimal(amount), currency)


def test_a_currency_is_one_of_the_standard() -> None:
    assert [money.checked(code) for code in ("eur", " JPY ", "Kwd")] == ["EUR", "JPY", "KWD"]
    none = ("JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XAF", "XOF", "PYG", "RWF")
    assert {EXPONENTS[code] for code in none} == {0}
    assert {EXPONENTS[code] for code in ("BHD", "KWD", "OMR", "TND", "JOD", "IQD", "LYD")} == {3}
    assert {EXPONENTS[code] for code in ("USD", "INR", "PHP", "KES", "BRL", "HUF", "IDR")} == {2}
    for wrong in ("EUX", "rupee", "XXX", "XAU", "", "ÄÖÜ", "E R"):
        with pytest.raises(ValueError, match="ISO 4217, as EUR"):
            money.checked(wrong)


def test_a_change_of_a_regions_terms_begins_with_the_next_week(crew: Crew) -> None:
    put(crew, {**EURO, "name": "there", "hourly_floor_minor": 0})
    person = worked(crew, "there")
    now = {**EURO, "name": "there", "hourly_floor_minor": 90_000, "rate": 2.0, "currency": "USD"}
    put(crew, now, OVER)

    def told(period: str) -> tuple[str, int]:
        found = crew.database.read(lambda c: results.statement(c, person, period))
        return found.currency, found.total_minor

    assert told(WEEK) == ("EUR", 45), "what was worked for is paid by what held"
    crew.database.write(lambda c: c.execute(annotation.region_terms.insert().values(
        region="there", valid_from=OVER + 1, currency="CHF", hourly_floor_minor=0, rate=3.0)))  # fmt: skip
    at = crew.database.read(
        lambda c: [annotation_people.terms(c, "there", t)["currency"] for t in (NOW, OVER - 1, OVER)]
    )
    assert at == ["EUR", "EUR", "USD"]
    put(crew, {**now, "rate": 2.5}, OVER)
    assert crew.database.read(lambda c: annotation_people.terms(c, "there", OVER))["rate"] == 2.5, (
        "the last said counts"
    )
    assert {row["currency"] for row in paid_out(crew)} == {"EUR"}


def test_terms_are_not_changed_backwards(crew: Crew) -> None:
    with pytest.raises(ValueError, match="needs the time from which it holds"):
        put(crew, YEN)
    put(crew, {**EURO, "media_host": "https://media.example.org"})
    with pytest.raises(Refused, match="append-only"):
        crew.database.write(lambda c: c.execute(annotation.region_terms.update().values(rate=9.0)))
    assert crew.database.read(lambda c: annotation_people.terms(c, "eu", NOW))["currency"] == "EUR"


def test_a_database_of_before_gets_the_terms_that_its_regions_have(annotation_url: str) -> None:
    Crew(old := Database(annotation_url))
    yen = {**YEN, "name": "jp", "hourly_floor_minor": 110_000}  # 1,100 yen, as hundredths
    old.write(lambda c: annotation_people.put_region(c, yen))
    old.write(lambda c: c.execute(sa.text(f"DROP TABLE {annotation.region_terms.name}")))
    old.close()
    new = Database(annotation_url)
    assert new.read(lambda c: annotation_people.terms(c, "eu", NOW))["hourly_floor_minor"] == 1300
    assert new.read(lambda c: annotation_people.terms(c, "jp", NOW))["hourly_floor_minor"] == 1100
    assert new.read(annotation_people.regions_by_name)["jp"]["hourly_floor_minor"] == 1100
    new.close()
