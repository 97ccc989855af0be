"""The labelling page in Chromium: what must be seen and said before an answer goes, and what the page tells after it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import expect

from store import annotation_work
from store.annotation import assignments
from tasks.annotation import answers, batches, desk
from tests.browser import CHROMIUM, DESK, PHONE, Chromium, wait
from tests.unit.dashboards.annotation.conftest import House
from tests.unit.dashboards.annotation.test_browser import act_as, at_task, done, given, keys

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


def test_nothing_is_sent_before_the_clip_was_seen_and_no_bad_case_is_said(
    house: House, address: str, browser: Chromium
) -> None:
    batch = house.batch("flags", "SELECT 'c1' AS clip_id UNION ALL SELECT 'c2' AS clip_id")
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


def calibrated(house: House, task_type: str, truth: dict[str, Any], num_training: int, num_exam: int) -> None:
    """A schema of this type with gold of one truth, which the annotator has not begun yet; and work to do after it."""

    def make(c: Any) -> int:
        body = answers.DEFAULTS[task_type]
        told = (house.ids["designer"], "calibrated", task_type, body, "Look.", num_training, num_exam, time.time())
        schema = batches.make_schema(c, *told)
        annotation_work.acknowledge(c, house.ids["annotator"], schema, time.time())
        return schema

    house.schemas["calibrated"] = house.site.database.write(make)
    gold = " UNION ALL ".join(f"SELECT 'c{i}' AS clip_id" for i in range(num_training + num_exam))
    for goal, source in (("gold", gold), ("work", "SELECT 'c3' AS clip_id")):
        plan = batches.Plan(name=goal, schema_id=house.schemas["calibrated"], source=source, goal=goal, head_start_s=0)
        media = batches.media_of(house.site.workspace, plan, task_type)

        def put(c: Any, plan: batches.Plan = plan, media: Any = media) -> int:
            return batches.make_batch(c, house.ids["designer"], plan, media, time.time())

        house.site.database.write(put)
        if goal == "gold":
            client = house.client("reviewer")
            while tasks := client.post("/api/claim", json={}).json()["tasks"]:
                told = {"token": tasks[0]["token"], "value": truth, "key": "k" * 9, "active_s": 1}
                assert client.post("/api/submit", json=told).status_code == 200


def test_training_says_that_both_found_no_bad_case(house: House, address: str, browser: Chromium) -> None:
    calibrated(house, "flags", {"flags": []}, 1, 0)
    page = browser.page()
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    at_task(page, "flags")
    keys(page, "0", "Enter")
    expect(page.locator("#note")).to_have_text("You agree: no bad case.")
    expect(page.get_by_role("button", name="No bad case")).to_have_class("truth")
    keys(page, "Enter")
    wait(page, "task && task.kind === 'label'")


def test_the_exam_tells_at_once_how_it_ended(house: House, address: str, browser: Chromium) -> None:
    calibrated(house, "flags", {"flags": [{"kind": "teeth", "start_s": 0.0, "end_s": 1.0, "box": None}]}, 0, 1)
    page = browser.page()
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    first = at_task(page, "flags")
    keys(page, "0", "Enter")
    expect(page.locator("#note")).to_contain_text(
        "Exam not passed: under 0.75 on flags 0.00. Calibration begins anew (failure 1 of 3)."
    )
    wait(page, f"task && task.token !== '{first}'")
    at_task(page, "flags")
    keys(page, "2", "ArrowRight", "2", "Enter")
    expect(page.locator("#note")).to_contain_text("Exam passed.")
    wait(page, "task && task.kind === 'label'")


def test_time_at_feedback_and_guidelines_goes_with_the_next_answer(
    house: House, address: str, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "PROBATION", (0, 0.0))
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    calibrated(house, "flags", {"flags": []}, 1, 0)
    page = browser.page()
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    at_task(page, "flags")
    keys(page, "0", "Enter")
    expect(page.locator("#note")).to_have_text("You agree: no bad case.")
    wait(page, "queue.some((t) => t.token !== task.token)")  # the next one's lease runs
    leased = time.monotonic()
    wait(page, "Owed.ms >= 3000")
    keys(page, "Enter")
    wait(page, "task && task.kind === 'label'")
    at_task(page, "flags")
    at_feedback = page.evaluate("Owed.ms")
    with page.context.expect_page() as opened:
        keys(page, "g")
    opened.value.wait_for_load_state()
    wait(opened.value, f"Owed.ms >= {at_feedback + 2000}")
    opened.value.close()
    keys(page, "0")
    own, owed = page.evaluate("[activeMs, Owed.ms]")
    with page.expect_request("**/api/submit") as sent:
        keys(page, "Enter")
    passed_s = time.monotonic() - leased
    told = sent.value.post_data_json["active_s"]
    assert told == pytest.approx((own + owed) / 1000, abs=0.3)
    assert owed >= 5000
    done(page)
    assert page.evaluate("Owed.ms") < 1000, "it goes once"
    counted = sa.select(assignments.c.active_s).where(assignments.c.purpose == "label")
    (counted_s,) = house.site.database.read(lambda c: c.execute(counted).scalars().all())
    # No browser tab hides the other here, so both count at once; the server's clock is the bound.
    assert counted_s == pytest.approx(min(told, passed_s), abs=1.0)
    assert counted_s >= 7.5, "feedback, guidelines and the clip's own three seconds"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["mouse", "touch"])
def test_a_box_is_dragged_and_a_span_is_undone_without_keys(
    house: House, address: str, browser: Chromium, size: tuple[int, int]
) -> None:
    batch = house.batch("flags", "SELECT 'c1' AS clip_id")
    page = browser.page(size)
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    at_task(page, "flags")
    teeth = page.locator(".options button").nth(1)
    for _ in range(4):  # two spans, of a frame each
        teeth.click()
    assert page.locator(".spans li").count() == 2
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".spans li").count() == 1
    page.get_by_role("button", name="Box").click()
    shown = page.evaluate(
        "(() => { const at = picture(), r = at.side.getBoundingClientRect(); return [r.left + at.x, r.top + at.y, at.w, at.h]; })()"
    )
    x, y, w, h = shown
    corners = [(x + 0.75 * w, y + 0.2 * h), (x + 0.5 * w, y + 0.5 * h), (x + 0.25 * w, y + 0.6 * h)]
    if size == DESK:
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(*corners[1])
        page.mouse.move(*corners[2])
        page.mouse.up()
    else:
        finger = page.context.new_cdp_session(page)
        kinds = ["touchStart", "touchMove", "touchMove"]
        for kind, (at_x, at_y) in zip(kinds, corners, strict=True):
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": at_x, "y": at_y}]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait(page, "!drawing")
    assert page.locator(".box").count() == 1
    page.get_by_role("button", name="Send").click()
    done(page)
    ((flag,),) = (a["value"]["flags"] for a in given(house, batch))
    assert flag["kind"] == "teeth"
    assert flag["box"] == pytest.approx([0.25, 0.2, 0.75, 0.6], abs=0.01)


def test_a_long_status_leaves_the_send_button_free(house: House, address: str, browser: Chromium) -> None:
    house.batch("likert", "SELECT 'c1' AS clip_id")
    page = browser.page(DESK)
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    at_task(page, "likert")
    page.evaluate("note('The last answer came after its time; your time counts, the answer does not.')")
    keys(page, "1", "2", "3", "4")
    said, lacking, sends = (page.locator(f"#{name}").bounding_box() for name in ("note", "lacks", "send"))
    assert said is not None
    assert lacking is not None
    assert sends is not None
    height = page.evaluate(
        "(() => { const r = document.createRange(); r.selectNodeContents($('note')); return r.getBoundingClientRect().height; })()"
    )
    assert height > 1.5 * lacking["height"], "it takes two lines"
    assert said["y"] + height <= lacking["y"] + 1
    assert lacking["y"] + lacking["height"] <= sends["y"] + 1
    assert sends["y"] + sends["height"] <= DESK[1], "and the button is on the screen"
    page.locator("#send").click()
    done(page)
