"""What people are told where nothing can begin yet: designers of missing gold, annotators why there is no Start."""

from __future__ import annotations

import time
from typing import Any

import pytest

from store import annotation_people, annotation_work
from tasks.annotation import answers, batches, results
from tests.annotators import rated
from tests.unit.dashboards.annotation.conftest import House

START = '<a class="button primary big" href="/label"'


def calibrated(house: House, training: int = 1, exam: int = 1) -> int:
    """A schema with a calibration, acknowledged by the annotator."""

    def work(c: Any) -> int:
        body, now = answers.DEFAULTS["likert"], time.time()
        made = batches.make_schema(c, house.ids["designer"], "trained", "likert", body, "Look.", training, exam, now)
        annotation_work.acknowledge(c, house.ids["annotator"], made, now)
        return made

    house.schemas["trained"] = made = house.site.database.write(work)
    return made


def batch_of(house: House, **told: Any) -> int:
    plan = batches.Plan(**{"name": "trained", "schema_id": house.schemas["trained"], "source": "t_wide", **told})
    media = batches.media_of(house.site.workspace, plan, "likert")
    return house.site.database.write(lambda c: batches.make_batch(c, house.ids["designer"], plan, media, time.time()))


def answers_all(house: House, login: str) -> int:
    """Answers until nothing is left; gives how many there were."""
    client, num = house.client(login), 0
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        told = {"token": tasks[0]["token"], "value": rated(3), "key": f"key-number-{num}", "active_s": 3}
        assert client.post("/api/submit", json=told).status_code == 200
        num += 1
    return num


def test_missing_gold_is_told_as_such_and_not_as_missing_people(house: House) -> None:
    schema = calibrated(house)
    designer, annotator = house.client("designer"), house.client("annotator")
    form = designer.get(f"/batches/new?schema={schema}&goal=gold").text
    assert '<option value="gold" selected>' in form
    assert "Calibration of trained 1 needs 2 gold items and has 0" in form
    told = {"name": "made", "schema_id": str(schema), "source": "t_wide", "goal": "work", "limit": "9", "overlap": "2",
            "max_raters": "3", "priority": "0", "price": "0.05", "budget": "100"}  # fmt: skip
    made = designer.post("/batches/new", data=told)
    assert made.status_code == 303, "a notice, not a refusal"
    page = designer.get(made.headers["location"]).text
    assert "Calibration needs 2 gold items and has 0." in page
    assert f'href="/batches/new?schema={schema}&amp;goal=gold"' in page
    assert "invite people" not in page
    assert "people need gold to qualify" in page
    home = annotator.get("/").text
    assert "Training waits for gold, which reviewers have yet to make." in home
    assert START not in home
    assert "There is nothing for you to label now: training waits for gold" in home
    gold = batch_of(house, name="gold", goal="gold")
    assert "Calibration needs" not in designer.get(f"/batches/{gold}").text
    assert "more wait" in designer.get(made.headers["location"]).text
    assert answers_all(house, "reviewer") == 2
    page = designer.get(made.headers["location"]).text
    assert "Calibration needs" not in page
    assert "invite people, or lower the maximum" in page
    home = annotator.get("/").text
    assert START in home
    assert "waits for gold" not in home


def test_start_is_offered_only_where_there_is_something(house: House) -> None:
    client, database = house.client("annotator"), house.site.database
    assert "There is no open work now." in client.get("/").text
    batch = house.batch("likert", "t_wide")
    assert START in client.get("/").text
    assert answers_all(house, "annotator") > 0
    home = client.get("/").text
    assert START not in home
    assert "nothing that is open is left for you until there is another batch" in home
    database.write(lambda c: annotation_work.update_batch(c, batch, state="paused"))
    home = client.get("/").text
    assert START not in home
    assert "The work is paused now." in home
    house.batch("flags", "t_wide")
    assert START in client.get("/").text
    client.post("/api/claim", json={})
    told = {"round": 3, "failures": 3, "why": "exam not passed", "changed_at": time.time()}

    def stage(name: str) -> None:
        schema = house.schemas["flags"]
        database.write(
            lambda c: annotation_work.put_qualification(c, house.ids["annotator"], schema, **told, stage=name)
        )

    stage("banned")
    assert START in client.get("/").text, "what is at hand may be answered"
    house.ids["late"] = database.write(
        lambda c: annotation_people.add_person(c, "late", "-", "annotator", "eu", time.time())
    )
    late = house.client("late")
    assert START not in late.get("/").text
    assert "Read the guidelines" in late.get("/").text
    other = house.ids["other"]
    for name, why in (("banned", "it is closed for you"), ("training", "paused until an administrator lets you go on")):
        put = {**told, "stage": name}
        database.write(lambda c, p=put: annotation_work.put_qualification(c, other, house.schemas["flags"], **p))
        home = house.client("other").get("/").text
        assert START not in home
        assert why in home


def test_designers_read_the_guidelines_that_they_wrote(house: House) -> None:
    schema = house.schemas["pairwise"]
    for login in ("designer", "administrator"):
        client = house.client(login)
        page = client.get(f"/guidelines/{schema}")
        assert (page.status_code, "guidelines, version 1" in page.text) == (200, True)
        assert "I have read them" not in page.text
        assert client.post(f"/guidelines/{schema}").status_code == 404, "only annotators acknowledge them"
        assert client.get("/guidelines/99").status_code == 404
    assert f'href="/guidelines/{schema}"' in house.client("designer").get("/batches").text
    batch = house.batch("likert", "t_wide")
    assert f'href="/guidelines/{house.schemas["likert"]}"' in house.client("designer").get(f"/batches/{batch}").text
    assert house.client("annotator").get(f"/guidelines/{schema}").status_code == 404, "no open work of it"
    told = house.client("designer").get("/openapi.json").json()["paths"]["/guidelines/{schema_id}"]
    assert "designer, administrator" in told["get"]["description"]
    assert told["post"]["description"] == "For annotator."


def test_closing_a_week_says_where_there_is_nothing_to_close(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    boss, now = house.client("administrator"), time.time()
    week = results.week(now)

    def logged() -> int:
        rows = house.site.database.read(annotation_people.log_rows)
        return sum(r["action"] == "close_week" for r in rows)

    empty = boss.post("/payouts", data={"period": "2020-W48"})
    assert (empty.status_code, "Nobody is owed anything for 2020-W48." in empty.text) == (200, True)
    assert logged() == 1
    house.batch("likert", "t_wide", price_milli=5000, budget_milli=10**9)
    assert answers_all(house, "annotator") > 0
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    boss = house.client("administrator")
    assert boss.post("/payouts", data={"period": week}).status_code == 303
    again = boss.post("/payouts", data={"period": week})
    assert (again.status_code, f"{week} is closed already." in again.text) == (200, True)
    assert logged() == 2, "nothing was done, so nothing is written of it"
