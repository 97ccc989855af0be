"""The labelling page in a real Chromium, by keyboard alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.annotation.visit import COOKIE
from store import annotation_work
from tests.browser import CHROMIUM, Tab, chromium
from tests.unit.dashboards.annotation.conftest import House

pytestmark = pytest.mark.browser
PAIR = "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id, 1 AS uncertainty"


def begin(tab: Tab, house: House, address: str) -> None:
    token = house.client("annotator").cookies[COOKIE]
    tab.call("Network.setCookie", name=COOKIE, value=token, url=address, httpOnly=True, sameSite="Strict")
    tab.size(1366, 768)
    tab.go(f"{address}/label")
    tab.wait("task && player.lead.readyState >= 2")


def after(tab: Tab, token: str) -> None:
    tab.wait(f"!task || task.token !== '{token}'")


def test_all_types_by_keyboard_with_drafts_and_without_a_connection(house: House, address: str, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    batches = {
        "likert": house.batch("likert", "SELECT 'c1' AS clip_id", priority=4),
        "flags": house.batch("flags", "SELECT 'c2' AS clip_id", priority=3),
        "attributes": house.batch("attributes", "SELECT 'c3' AS clip_id", priority=2),
        "pairwise": house.batch("pairwise", PAIR, priority=1),
    }
    with chromium(tmp_path / "profile") as tab:
        begin(tab, house, address)
        first = tab.run("task.token")
        assert tab.run("queue.length") == 2  # the next one is there
        tab.keys("4", "3")
        tab.go(f"{address}/label")  # a reload
        tab.wait("task && player.lead.readyState >= 2")
        assert tab.run("[task.token, at, value.visual_quality, value.facial_naturalness]") == [first, 2, 4, 3]
        assert tab.run("$('send').disabled")
        tab.keys("5", "2", "Enter")
        after(tab, first)

        tab.wait("task.type === 'flags' && player.lead.readyState >= 2")
        tab.keys(" ")
        tab.run("player.pause(); player.seek(0.4)")
        tab.keys("2", "ArrowRight", "2", "b", "ArrowRight", "b")
        flags = tab.run("task.token")
        tab.offline(True)
        tab.keys("Enter")
        after(tab, flags)
        tab.wait("Outbox.busy === null")
        assert tab.run("Outbox.all().length") == 1
        tab.offline(False)
        tab.wait("Outbox.all().length === 0")

        tab.wait("task && task.type === 'attributes' && player.lead.readyState >= 2")
        tab.keys("1", "2", "1", "3", "ArrowDown", "ArrowUp", "3", "ArrowDown", "1", "ArrowRight", "1", "Enter")
        tab.wait("task && task.type === 'pairwise' && player.videos.every((v) => v.readyState >= 2)")
        tab.size(390, 844)
        assert tab.run("document.documentElement.scrollWidth") <= 390
        pair = tab.run("task.token")
        tab.keys("1", "3", "4", "Enter")
        after(tab, pair)
        tab.wait("$('note').textContent.includes('Thank you')")
        assert tab.complaints == []

    given = {t: house.site.database.read(lambda c, b=b: annotation_work.answers_in(c, b)) for t, b in batches.items()}
    assert {t: len(rows) for t, rows in given.items()} == dict.fromkeys(batches, 1)
    values = {t: rows[0]["value"] for t, rows in given.items()}
    assert list(values["likert"].values()) == [3, 5, 2, 4]  # by name: facial_naturalness, lip_sync, motion, visual
    (flag,) = values["flags"]["flags"]
    assert (flag["kind"], flag["box"]) == ("teeth", [0.37, 0.3, 0.67, 0.7])
    assert flag["start_s"] == pytest.approx(0.4, abs=0.05)
    assert values["attributes"]["speaking_style"] == ["calm"]
    assert len(values["attributes"]["gesture"]) == 1
    seen = "right" if given["pairwise"][0]["swapped"] else "left"
    assert values["pairwise"] == {"identity": seen, "expression": "tie", "sync": "both_bad"}
