"""A batch's money: what is refused, what its pages say when it is gone, and who may add to it."""

from __future__ import annotations

import json
import time
from typing import Any

from store import annotation_people, annotation_work
from tasks.annotation import results
from tests.annotators import rated
from tests.unit.dashboards.annotation.conftest import House

SPENT = "budget spent"


def answered(house: House, login: str) -> int:
    """How many tasks the person got, all of them answered."""
    client, num = house.client(login), 0
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        told = {"token": tasks[0]["token"], "value": rated(4), "key": f"a-key-of-mine-{num}", "active_s": 3}
        assert client.post("/api/submit", json=told).json()["state"] == "answered"
        num += 1
    return num


def test_a_batch_that_pays_no_answer_is_not_made(house: House) -> None:
    designer = house.client("designer")
    form: dict[str, Any] = {"name": "poor", "schema_id": house.schemas["likert"], "source": "t_wide", "goal": "work",
                            "limit": 9, "overlap": 2, "max_raters": 3, "priority": 0, "price": "0.05"}  # fmt: skip
    reply = designer.post("/batches/new", data={**form, "budget": "0.04"})
    assert (reply.status_code, "budget of 0.040 does not pay one answer of 0.050" in reply.text) == (422, True)
    assert designer.post("/batches/new", data={**form, "budget": "0.05"}).status_code == 303
    gold = {**form, "name": "gold", "goal": "gold", "budget": "0"}
    assert designer.post("/batches/new", data=gold).status_code == 303, "reviewers' gold is not paid by the piece"
    assert designer.get("/batches").text.count(SPENT) == 0


def test_a_spent_budget_is_shown_and_raised(house: House) -> None:
    batch = house.batch("likert", "t_wide", price_milli=5000, budget_milli=7000, head_start_s=0)
    designer, page = house.client("designer"), f"/batches/{batch}"
    assert SPENT not in designer.get("/batches").text + designer.get(page).text
    assert answered(house, "annotator") == 1
    assert (designer.get("/batches").text.count(SPENT), designer.get(page).text.count(SPENT)) == (1, 1)
    form = {"state": "open", "priority": 0}
    for budget, why in (
        ("0.04", "does not pay one answer"),
        ("-1", "a number from 0 on"),
        ("nan", "a number from 0 on"),
    ):
        reply = designer.post(page, data={**form, "budget": budget})
        assert (reply.status_code, why in reply.text) == (422, True), budget
    assert designer.post(page, data={**form, "budget": "0.1"}).status_code == 303
    assert SPENT not in designer.get("/batches").text + designer.get(page).text
    assert answered(house, "annotator") == 1, "what it pays for now"
    below = house.client("administrator").post(page, data={**form, "budget": "0.05"})
    assert (below.status_code, "0.100 of it is spent or promised" in below.text) == (422, True)
    logged = house.site.database.read(lambda c: annotation_people.log_rows(c, 50))
    told = [(r["login"], json.loads(r["detail"])) for r in logged if r["action"] == "change_budget"]
    assert told == [("designer", {"before": 0.07, "budget": 0.1})]
    for state in ("closed", "closed"):
        last = designer.post(page, data={"state": state, "priority": 0, "budget": "0.1"})
        assert last.status_code == 303, "the form sends what it shows"
    closed = designer.post(page, data={"state": "closed", "priority": 0, "budget": "9"})
    assert (closed.status_code, "is closed" in closed.text) == (422, True)
    assert SPENT not in designer.get("/batches").text


def test_a_week_that_has_corrections_alone_is_not_paid_out(house: House) -> None:
    period = results.week(time.time())
    row = {"person_id": house.ids["annotator"], "period": period, "kind": "correction", "amount_minor": -5}
    row |= {"currency": "EUR", "why": "2026-W01: an audit overturned an answer", "at": 1.0, "line": 0}
    house.site.database.write(lambda c: annotation_work.add_ledger(c, [row]))
    boss = house.client("administrator")
    page = boss.get("/payouts").text
    assert ("open, with corrections of closed weeks so far" in page, "pay.csv" in page) == (True, False)
    refused = boss.get(f"/payouts/{period}/pay.csv")
    assert (refused.status_code, "is not closed yet" in refused.text) == (422, True)
    mine = house.client("annotator").get("/pay").text
    assert mine.count("an audit overturned an answer") == 1
    assert mine.index("an audit overturned an answer") < mine.index("Weeks before")
    house.site.database.write(lambda c: annotation_work.add_ledger(c, [{**row, "kind": "base", "line": 1}]))
    assert boss.get(f"/payouts/{period}/pay.csv").status_code == 200
    assert "pay.csv" in boss.get("/payouts").text
