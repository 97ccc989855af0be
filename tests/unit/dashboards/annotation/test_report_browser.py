"""The labelling page in Chromium while there is no picture: what it says, and how a clip is given back by keys and by touch."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from store import annotation_people, annotation_reports
from tests.browser import CHROMIUM, DESK, PHONE, Chromium, wait
from tests.unit.dashboards.annotation.conftest import House
from tests.unit.dashboards.annotation.test_browser import act_as, at_task, begin, done, given, keys
from tests.unit.dashboards.annotation.test_reports import lost_batch
from tests.unit.dashboards.annotation.test_screens_browser import Looker

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


def says(page: Page, text: str) -> None:
    expect(page.locator("#loading")).to_contain_text(text, timeout=30_000)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_clip_whose_media_are_gone_says_so_and_is_given_back_by_keys(
    house: House, address: str, browser: Chromium, tmp_path: Path, size: tuple[int, int]
) -> None:
    lost, there = lost_batch(house, priority=9), house.batch("likert", "SELECT 'c2' AS clip_id")
    look = Looker(tmp_path)
    page = browser.page(size)
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    says(page, "The clip can't be shown: its media are gone. Press X")
    look(page, "label_gone")
    keys(page, "x")
    expect(page.get_by_role("dialog", name="Why can't you judge this clip?")).to_be_visible()
    look(page, "label_give_back")
    keys(page, "3")
    expect(page.get_by_role("textbox", name="In your words")).to_be_focused()
    expect(page.get_by_role("button", name="Give it back")).to_be_visible()
    look(page, "label_give_back_in_words")
    keys(page, "Escape")
    expect(page.get_by_role("dialog")).not_to_be_visible()
    keys(page, "4", "x", "1")
    at_task(page, "likert")
    expect(page.locator("#note")).to_have_text("Given back: somebody else is asked, and your time counts.")
    expect(page.locator("#loading")).to_have_text("")
    assert page.get_by_role("radio", checked=True).count() == 0, "what was chosen for the other is no answer to this"
    keys(page, "1", "2", "3", "4", "Enter")
    done(page)
    expect(page.locator("#cannot")).not_to_be_visible()
    act_as(page, house, address, "designer")
    page.goto(f"{address}/batches/{lost}")
    expect(page.locator("main")).to_contain_text("1 item can't be shown: media are gone")
    look(page, "batch_of_lost_media")
    assert not look.problems, "\n".join(look.problems)
    assert (len(given(house, lost)), len(given(house, there))) == (0, 1)
    assert house.site.database.read(lambda c: annotation_reports.of_batch(c, lost))["num_unshown"] == 1


def test_a_clip_is_given_back_by_touch_and_in_words_by_keys(house: House, address: str, browser: Chromium) -> None:
    batches = [house.batch("likert", f"SELECT 'c{i}' AS clip_id", priority=5 - i) for i in range(3)]
    page = browser.page(PHONE)
    begin(page, house, address)
    first = page.evaluate("task.token")
    page.get_by_role("button", name="I can't judge this clip").tap()
    page.get_by_role("button", name="It is disturbing").tap()
    wait(page, f"task && task.token !== '{first}'")
    second = at_task(page, "likert")
    keys(page, "x", "3")
    assert page.evaluate("task.token") == second, "words come first"
    page.keyboard.type("2 people, x and y")
    keys(page, "Enter")
    wait(page, f"task && task.token !== '{second}'")
    third = at_task(page, "likert")
    page.context.set_offline(True)
    keys(page, "x", "1")
    expect(page.locator("#note")).to_contain_text("the clip is still yours")
    assert page.evaluate("task.token") == third
    page.context.set_offline(False)
    keys(page, "1", "2", "3", "4", "Enter")
    done(page)
    found = [house.site.database.read(lambda c, b=b: annotation_reports.of_batch(c, b))["reports"] for b in batches]
    assert found == [{"disturbing": 1}, {"other": 1}, {}]
    logged = house.site.database.read(annotation_people.log_rows)
    assert any("2 people, x and y" in line["detail"] for line in logged), "digits and letters are words there"
    assert [len(given(house, b)) for b in batches] == [0, 0, 1]


def test_a_clip_that_loads_says_so_and_after_ten_seconds_what_can_be_done(
    house: House, address: str, browser: Chromium
) -> None:
    house.batch("likert", "SELECT 'c1' AS clip_id")
    held: list[Route] = []
    go_on = threading.Event()

    def hold(route: Route) -> None:
        if go_on.is_set():
            route.continue_()
        else:
            held.append(route)

    page = browser.page()
    page.clock.install()
    page.route("**/media/**", hold)
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    says(page, "Loading the clip …")
    assert page.locator("#loading").get_attribute("role") == "status", "a screen reader says it"
    assert page.locator("#loading").bounding_box() is not None
    page.clock.run_for(9_000)
    says(page, "Loading the clip …")
    page.clock.run_for(2_000)
    says(page, "Still loading. Check the connection, or load the page again")
    go_on.set()
    for route in held:
        route.continue_()
    wait(page, "player.ready")
    expect(page.locator("#loading")).to_have_text("")
