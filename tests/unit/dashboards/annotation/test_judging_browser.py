"""The labelling page in Chromium: what must be seen and said before an answer goes, and what the page tells after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import CHROMIUM, chromium, wait
from tests.unit.dashboards.annotation.conftest import House
from tests.unit.dashboards.annotation.test_browser import act_as, at_task, done, given, keys

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@pytest.fixture
def annotation_url(tmp_path: Path) -> str:
    """SQLite alone, as of the other tests in a browser."""
    return f"sqlite:///{tmp_path / 'annotation.sqlite'}"


def test_nothing_is_sent_before_the_clip_was_seen_and_no_bad_case_is_said(house: House, address: str) -> None:
    batch = house.batch("flags", "SELECT 'c1' AS clip_id UNION ALL SELECT 'c2' AS clip_id")
    with chromium() as browser:
        page = browser.page()
        page.route("**/media/**", lambda route: None)  # never loads
        act_as(page, house, address, "annotator")
        page.goto(f"{address}/label")
        wait(page, "task")
        page.wait_for_timeout(3500)
        keys(page, "0", "Enter")
        expect(page.locator("#lacks")).to_have_text("Watch the clip first.")
        assert not page.locator("#send").is_enabled(), "what did not load was not seen"
        assert page.evaluate("[Outbox.all().length, sentOff.size]") == [0, 0]
        page.unroute("**/media/**")
        page.reload()
        first = at_task(page, "flags")
        assert page.get_by_role("button", name="No bad case").get_attribute("aria-pressed") == "true", "a draft has it"
        keys(page, "0", "Enter")
        expect(page.locator("#lacks")).to_have_text("Mark the bad cases, or press 0: no bad case.")
        assert page.evaluate("task.token") == first
        page.get_by_role("button", name="No bad case").click()
        expect(page.locator("#lacks")).to_have_text("")
        keys(page, "Enter", "Enter", "Enter")
        wait(page, f"task && task.token !== '{first}'")
        assert page.evaluate("sentOff.size") == 1, "Enter does nothing to the next one, which nobody saw yet"
        at_task(page, "flags")
        keys(page, "0", "1", "ArrowRight", "1", "Enter")
        done(page)
    values = [a["value"]["flags"] for a in given(house, batch)]
    assert [len(flags) for flags in values] == [0, 1]
