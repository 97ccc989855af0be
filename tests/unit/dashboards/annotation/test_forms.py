"""Forms that are refused: what was entered is still there, and the reason stands beside its entry."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from store import annotation_people, annotation_work
from tasks.annotation import answers
from tests.unit.dashboards.annotation.conftest import House

REGION = {"name": "jp", "currency": "jpy", "floor": "1050", "rate": "160", "media_host": "https://jp.example.org"}
BATCH = {"name": "first", "source": "t_wide", "goal": "gold", "limit": "9", "overlap": "2", "max_raters": "4",
         "priority": "7", "price": "0.07", "budget": "12.5", "head_start_min": "3", "uncertainty": "visual_quality_quality"}  # fmt: skip
SCHEMA = {"name": "speech", "body": json.dumps(answers.DEFAULTS["likert"]), "guidelines": "Look twice.",
          "num_training": "3", "num_exam": "4", "task_type": "likert"}  # fmt: skip


def beside(page: str) -> tuple[str, str]:
    """(the entry that is marked, the reason that follows it) of a page; fails where there is not exactly one."""
    (entry,) = re.findall(r'name="(\w+)" aria-invalid="true" aria-describedby="wrong"', page)
    (reason,) = re.findall(r'<strong class="wrong" role="alert" id="wrong">(.*?)</strong>', page)
    label = page[page.index('aria-invalid="true"') :]
    assert label.index("</label>") > label.index('id="wrong"'), "in its own label"
    return entry, reason.replace("&#39;", "'").replace("&gt;", ">")


def kept(page: str, told: dict[str, Any]) -> dict[str, str]:
    """What of the entries the page has no more."""
    plain = page.replace("&#34;", '"')
    return {
        k: v
        for k, v in told.items()
        if f'value="{v}"' not in plain and f">{v}</" not in plain and f'value="{v}" selected' not in plain
    }


@pytest.mark.parametrize(
    ("wrong", "entry", "why"),
    [
        ({"name": " "}, "name", "A region needs a name"),
        ({"currency": "yen"}, "currency", "write its alphabetic code of ISO 4217"),
        ({"floor": "1050.5"}, "floor", "1050.5 JPY: JPY has no decimals (ISO 4217); write 1050 or 1051"),
        ({"currency": "EUR", "floor": "13.005"}, "floor", "EUR has 2 decimals"),
        ({"currency": "KWD", "floor": "1.2345"}, "floor", "KWD has 3 decimals"),
        ({"floor": "12,50"}, "floor", "a number from 0 on is needed, as 12.50"),
        ({"floor": "1e3"}, "floor", "a number from 0 on is needed"),
        ({"rate": "0"}, "rate", "a region's rate is above 0"),
        ({"media_host": "ftp://x"}, "media_host", "an address as https://media.example.org"),
    ],
)
def test_a_region_that_is_refused_keeps_what_was_entered(
    house: House, wrong: dict[str, str], entry: str, why: str
) -> None:
    told = {**REGION, **wrong}
    reply = house.client("administrator").post("/regions", data=told)
    assert reply.status_code == 422
    found = beside(reply.text)
    assert (found[0], why.lower() in found[1].lower()) == (entry, True), found
    assert kept(reply.text, told) == {}
    assert "jp" not in house.site.database.read(annotation_people.regions_by_name)


@pytest.mark.parametrize(
    ("currency", "floor", "minor", "shown"),
    [("jpy", "1050", 1050, "1050"), ("eur", "13.5", 1350, "13.50"), ("kwd", "1.234", 1234, "1.234"), ("jpy", "1050.0", 1050, "1050")],
)  # fmt: skip
def test_an_amount_is_taken_as_it_is_in_the_decimals_of_its_currency(
    house: House, currency: str, floor: str, minor: int, shown: str
) -> None:
    boss = house.client("administrator")
    assert boss.post("/regions", data={**REGION, "currency": currency, "floor": floor}).status_code == 303
    assert house.site.database.read(annotation_people.regions_by_name)["jp"]["hourly_floor_minor"] == minor
    assert f'<td class="num">{shown}</td>' in boss.get("/people").text


@pytest.mark.parametrize(
    ("wrong", "entry", "why"),
    [
        ({"name": " "}, "name", "give a name that is not taken"),
        ({"source": "t_none"}, "source", "tier 't_none' is none of"),
        ({"limit": "0"}, "limit", "a batch has 1 to"),
        ({"limit": ""}, "limit", "a whole number is needed"),
        (
            {"overlap": "5"},
            "max_raters",
            "5 raters per item, but 4 at most, if they disagree; lower the raters per item",
        ),
        ({"overlap": "0"}, "overlap", "raters per item 0: from 1 to 9"),
        ({"max_raters": "10"}, "max_raters", "raters at most 10: from 1 to 9"),
        ({"price": "0.000001"}, "price", "five decimals at most are counted"),
        ({"price": "cheap"}, "price", "a number from 0 on is needed"),
        ({"goal": "work", "budget": "0.01"}, "budget", "does not pay one answer"),
        ({"schema_id": "99"}, "schema_id", "choose a schema"),
    ],
)
def test_a_batch_that_is_refused_keeps_what_was_entered(
    house: House, wrong: dict[str, str], entry: str, why: str
) -> None:
    told = {**BATCH, "schema_id": str(house.schemas["likert"]), **wrong}
    reply = house.client("designer").post("/batches/new", data=told)
    assert reply.status_code == 422
    found = beside(reply.text)
    assert (found[0], why.lower() in found[1].lower()) == (entry, True), found
    assert kept(reply.text, told).keys() <= {"goal", "schema_id"}, "which are chosen"
    assert ('<option value="gold" selected>' in reply.text) == (told["goal"] == "gold")
    assert house.site.database.read(annotation_work.all_batches) == []


@pytest.mark.parametrize(
    ("wrong", "entry", "why"),
    [
        ({"name": "Speech"}, "name", "in lower case with underscores"),
        ({"name": "s_flags"}, "name", "its versions are of type flags"),
        ({"body": "{"}, "body", "the questions are no JSON"),
        ({"body": "{}"}, "body", "needs 1 to 9 dimensions"),
        ({"guidelines": "  "}, "guidelines", "needs guidelines"),
        ({"num_training": "x"}, "num_training", "a whole number is needed"),
        ({"num_exam": "201"}, "num_exam", "go from 0 to 200"),
    ],
)
def test_a_schema_that_is_refused_keeps_what_was_entered(
    house: House, wrong: dict[str, str], entry: str, why: str
) -> None:
    told = {**SCHEMA, **wrong}
    reply = house.client("designer").post("/schemas/new", data=told)
    assert reply.status_code == 422
    found = beside(reply.text)
    assert (found[0], why.lower() in found[1].lower()) == (entry, True), found
    assert kept(reply.text, told) == {}


def test_what_a_batch_or_a_week_or_an_invitation_is_refused_stands_beside_its_entry(house: House) -> None:
    batch = house.batch("likert", "t_wide", price_milli=5000, budget_milli=7000)
    designer, boss = house.client("designer"), house.client("administrator")
    reply = designer.post(f"/batches/{batch}", data={"state": "paused", "priority": "4", "budget": "0.01"})
    assert (reply.status_code, beside(reply.text)[0]) == (422, "budget")
    assert kept(reply.text, {"priority": "4", "budget": "0.01", "state": "paused"}) == {}
    assert "<option selected>paused</option>" in reply.text
    held = house.site.database.read(lambda c: annotation_work.batch(c, batch))
    assert held is not None
    assert (held["state"], held["priority"]) == ("open", 0), "nothing of it was taken"
    reply = boss.post("/payouts", data={"period": "2999-W01"})
    assert (reply.status_code, *beside(reply.text)) == (422, "period", "2999-W01 is not over yet.")
    assert 'value="2999-W01"' in reply.text
    reply = boss.post("/people/invite", data={"role": "reviewer", "region": "mars"})
    assert (reply.status_code, beside(reply.text)[0]) == (422, "region")
    assert "<option selected>reviewer</option>" in reply.text


def test_the_pages_say_from_when_a_regions_terms_hold(house: House) -> None:
    boss, one = house.client("administrator"), house.client("annotator")
    house.batch("likert", "t_wide")
    (task, *_) = one.post("/api/claim", json={}).json()["tasks"]
    told = {"token": task["token"], "value": {d["name"]: 3 for d in answers.DEFAULTS["likert"]["dimensions"]}}
    assert one.post("/api/submit", json={**told, "key": "k" * 9, "active_s": 3}).status_code == 200
    form = {"name": "eu", "currency": "EUR", "floor": "14", "rate": "1"}
    assert boss.post("/regions", data=form).status_code == 303
    assert "region's floor, 14.00 EUR." in one.get("/pay").text, "at once, in the region's first week"
    assert boss.post("/regions", data={**form, "floor": "9"}).status_code == 303
    page = boss.get("/people").text
    rows = re.findall(r"<tr><td>eu</td><td[^>]*>(.*?)</td><td>EUR</td><td class=\"num\">([\d.]+)</td>", page)
    assert rows[0] == ("now", "14.00")
    assert re.fullmatch(r"from \d{4}-\d\d-\d\d on", rows[1][0])
    assert rows[1][1] == "9.00"
    monday = rows[1][0].split()[1]
    assert f"holds from Monday, {monday} (UTC), on" in page
    assert f"region's floor, 14.00 EUR (from {monday} on 9.00 EUR)." in one.get("/pay").text


def test_the_start_page_tells_the_price_what_was_given_and_what_is_left(house: House) -> None:
    house.batch("likert", "SELECT clip_id FROM clips", name="rates", price_milli=4500, budget_milli=10**6)
    one = house.client("annotator")
    page = one.get("/").text
    assert re.findall(r"<tr><td>rates</td><td class=\"num\">(.*?)</td><td class=\"num\">(\d+)</td>", page) == [
        ("0.045 EUR", "0")
    ]
    assert 'under 10 <progress value="0" max="5"' in page
    assert "from 40 audited answers on" in page
