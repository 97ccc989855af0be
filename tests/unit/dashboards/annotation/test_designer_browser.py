"""A designer's pages in Chromium, at a desk and on a phone: items and doubtful labels of a batch, one item, the preview of a
schema, guidelines; each without a finding of axe, within the window's width, and by keyboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dashboards.annotation.visit import COOKIE
from store import annotation_items
from tasks.annotation import answers, batches, confidence, desk
from tests.annotators import rated
from tests.browser import CHROMIUM, DESK, PHONE, chromium, press, reach, type_in, wait
from tests.unit.dashboards.annotation.conftest import House
from tests.unit.dashboards.annotation.test_items import FOUR, work
from tests.unit.dashboards.annotation.test_screens_browser import Looker, field, playing

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
GUIDELINES = """# What to look at
Watch each clip **once** with sound.
Then rate what you saw.

- *lips*: do they fit the voice?
- a long_name_without_any_space_in_it_which_is_wider_than_a_phone_and_must_be_broken_somewhere_for_it_to_fit

1. first
2. second"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_what_a_designer_sees(
    house: House, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(desk, "REPEAT_RATIO", 0.0)
    monkeypatch.setattr(batches, "AUDIT_RATIO", 0.0)
    monkeypatch.setattr(confidence, "MIN_COMPARED", 2)
    monkeypatch.setattr(confidence, "DOUBTFUL", 1.01)
    look = Looker(Path(os.environ.get("HEADROOM_PICTURES", tmp_path)))
    doubted = house.batch("likert", FOUR, name="first", overlap=2, max_raters=2)
    for login, value in (("annotator", rated(4)), ("other", rated(4, lip_sync=3))):
        work(house.client(login), value)
    lacking = house.batch("likert", FOUR, name="second", overlap=2, max_raters=3)
    for login, value in (("annotator", rated(1)), ("other", rated(5))):
        work(house.client(login), value)
    pair = house.batch(
        "pairwise", "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id, 'ours' AS system, 'b' AS other_system"
    )
    work(house.client("annotator"), dict.fromkeys(("identity", "expression", "sync"), "tie"))

    def schema(c: Any) -> int:
        body = answers.DEFAULTS["attributes"]
        return batches.make_schema(c, house.ids["designer"], "looks", "attributes", body, GUIDELINES, 0, 0, 0.0)

    looks = house.site.database.write(schema)
    with chromium() as browser:
        page = browser.page(size)
        page.context.add_cookies([{"name": COOKIE, "value": house.client("designer").cookies[COOKIE], "url": address}])
        page.goto(f"{address}/batches/{doubted}")
        look(page, "batch_doubted")
        press(page.locator("#items tbody a").first)
        wait(page, "document.querySelector('video').readyState >= 1")
        look(page, "item")
        press(page.get_by_role("button", name="Send to a reviewer"))
        assert page.url.endswith(f"/batches/{doubted}")
        press(page.get_by_role("button", name="Send all 3 to a reviewer"))
        assert page.get_by_text("Labels to look at again").count() == 0
        counts = house.site.database.read(lambda c: annotation_items.count_of(c, doubted))
        assert counts == {"review": 4}
        page.goto(f"{address}/batches/{lacking}")
        assert page.get_by_text("4 items wait for one more rater than are qualified").is_visible()
        look(page, "batch_lacking")
        page.goto(f"{address}/batches/{pair}")
        look(page, "batch_of_systems")
        press(page.locator("#items tbody a").first)
        wait(page, "[...document.querySelectorAll('video')].every((v) => v.readyState >= 1)")
        look(page, "item_pair")

        page.goto(f"{address}/batches/new")
        type_in(field(page, "name"), "new")
        type_in(field(page, "source"), "SELECT clip_idd\nFROM clips")
        look(page, "batch_form")
        press(page.get_by_role("button", name="Make the batch"))
        assert field(page, "source").input_value() == "SELECT clip_idd\nFROM clips"
        look(page, "batch_refused")

        page.goto(f"{address}/schemas/new?of={looks}")
        look(page, "schema")
        with page.context.expect_page() as opened:
            reach(page.get_by_role("button", name="Preview"))
            page.keyboard.press("Enter")
        shown = opened.value
        shown.wait_for_load_state()
        assert shown.locator("#preview").inner_text() == "Preview: nothing is sent."
        playing(shown)
        for key in (",", "1", "2", "1", "ArrowDown", "1", "ArrowRight", "1"):
            shown.keyboard.press(key)
        assert shown.evaluate("complete()"), "all is answered"
        assert not shown.locator("#send").is_enabled(), "and can't be sent"
        look(shown, "preview")
        shown.keyboard.press("Enter")
        assert shown.evaluate("Outbox.all().length") == 0
        assert shown.evaluate("Boolean(task)")
        shown.keyboard.press("g")
        assert shown.get_by_role("dialog").get_by_text("do they fit the voice").is_visible()
        shown.screenshot(path=look.pictures / f"preview_guidelines_{size[0]}.png")
        shown.keyboard.press("Escape")
        assert shown.get_by_role("dialog").count() == 0
        assert shown.url.endswith("/schemas/preview")
        page.goto(f"{address}/schemas/{house.schemas['pairwise']}/preview")
        playing(page)
        look(page, "preview_pair")
        page.context.add_cookies([{"name": COOKIE, "value": house.client("reviewer").cookies[COOKIE], "url": address}])
        page.goto(f"{address}/guidelines/{looks}")
        look(page, "guidelines")
        page.goto(f"{address}/join/spent")
        look(page, "invitation_spent")
    assert not look.problems, "\n".join(look.problems)
