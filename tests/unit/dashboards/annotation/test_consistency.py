"""What a person and the administrator see of items that came twice."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from store import annotation_work
from tasks.annotation import answers, desk
from tests.unit.dashboards.annotation.conftest import House

PAIRS = "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id UNION ALL SELECT 'c1', 'c2' UNION ALL SELECT 'c2', 'c3'"
NAMES = [d["name"] for d in answers.DEFAULTS["pairwise"]["dimensions"]]


def work(client: TestClient, choice: str) -> None:
    """Takes the same side of the screen, or a tie, of all pairs."""
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        told = {"token": tasks[0]["token"], "value": dict.fromkeys(NAMES, choice), "key": tasks[0]["token"][:16]}
        assert client.post("/api/submit", json={**told, "active_s": 3}).status_code == 200


def own_figures(page: str) -> list[str]:
    return re.findall(r"<dd>([^<]*)</dd>", page)


def test_whoever_takes_a_side_whatever_it_shows_is_seen_to(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "REPEAT_RATIO", 1.0)
    monkeypatch.setattr(desk, "REPEAT_AFTER", 0)
    house.batch("pairwise", PAIRS)
    assert own_figures(house.client("annotator").get("/").text) == ["–", "–"]
    work(house.client("annotator"), "left")
    work(house.client("other"), "tie")
    found = house.site.database.read(annotation_work.consistency)
    assert found[house.ids["annotator"]][0] == 0.0
    assert found[house.ids["other"]][0] == 1.0
    num = found[house.ids["annotator"]][1]
    assert num >= 2
    page = house.client("annotator").get("/").text
    assert own_figures(page) == ["–", "0.00"]
    assert f"over {num} items" in page
    assert own_figures(house.client("other").get("/").text)[1] == "1.00", "each sees his own"
    people = house.client("administrator").get("/people").text
    told = dict(
        re.findall(
            r"<tr><td>(\w+)</td>.*?<td class=\"num\">([\d.–]+) ?(?:<span class=\"dim\">of \d+</span>)?</td>\n", people
        )
    )
    assert told == {"annotator": "0.00", "other": "1.00", "reviewer": "–", "designer": "–", "administrator": "–"}


def test_a_repeat_without_a_flag_checks_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "REPEAT_RATIO", 1.0)
    monkeypatch.setattr(desk, "REPEAT_AFTER", 0)
    house.batch("flags", "SELECT clip_id FROM clips")
    client = house.client("annotator")
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        told = {"token": tasks[0]["token"], "value": {"flags": []}, "key": tasks[0]["token"][:16], "active_s": 3}
        client.post("/api/submit", json=told)
    scored = house.site.database.read(lambda c: annotation_work.scores_of(c, house.ids["annotator"], ("repeat",)))
    assert scored
    assert house.site.database.read(annotation_work.consistency) == {}
