"""The labelling page in Chromium, by keyboard alone: every task type, what outlives a reload or a lost connection, pairs."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from playwright.sync_api import Page, Response, Route, expect

from dashboards.annotation import labelling, media
from dashboards.annotation.visit import COOKIE
from store import annotation_people, annotation_queue, annotation_work
from tasks.annotation import batches, sign_in
from tests.annotators import EURO
from tests.browser import CHROMIUM, DESK, PHONE, Chromium, press, wait
from tests.unit.dashboards.annotation.conftest import House

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
SYSTEMS = "'ours-v7' AS system, 'theirs-v2' AS other_system"
APART = "Math.abs(player.videos[0].currentTime - player.videos[1].currentTime)"
COLOUR = """player.videos.map((v) => { const c = document.createElement('canvas').getContext('2d'); c.drawImage(v, 0, 0);
    return [...c.getImageData(20, 20, 1, 1).data].slice(0, 3).map((x) => Number(x > 128)).join(''); })"""
RED_GREEN_BLUE = ("100", "010", "001", "110")
"""Of the clips c0 to c3."""
PAIR = "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id"


def act_as(page: Page, house: House, address: str, login: str) -> None:
    page.context.add_cookies([{"name": COOKIE, "value": house.client(login).cookies[COOKIE], "url": address}])


def begin(page: Page, house: House, address: str, login: str = "annotator") -> None:
    act_as(page, house, address, login)
    page.goto(f"{address}/label")
    at_task(page)


def at_task(page: Page, task_type: str = "") -> str:
    """The token of the task that is shown, of this type if one is named; its clips are paused at their beginning, and were seen."""
    wait(page, f"task && task.type.startsWith('{task_type}') && player.videos.every((v) => v.readyState >= 2)")
    keys(page, ",", *["ArrowLeft"] * 5)  # a step back pauses
    wait(page, "player.watched")
    return str(page.evaluate("task.token"))


def keys(page: Page, *names: str) -> None:
    for name in names:
        page.keyboard.press(name)


def done(page: Page) -> None:
    expect(page.get_by_text("Nothing more for you now. Thank you!")).to_be_visible(timeout=30_000)


def given(house: House, batch: int) -> list[dict[str, Any]]:
    return [dict(a) for a in house.site.database.read(lambda c: annotation_work.answers_in(c, batch))]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_task_type_is_answered_by_keyboard_and_reaches_the_database(
    house: House, address: str, browser: Chromium, size: tuple[int, int]
) -> None:
    batches = {
        "likert": house.batch("likert", "SELECT 'c1' AS clip_id", priority=5),
        "flags": house.batch("flags", "SELECT 'c2' AS clip_id", priority=4),
        "attributes": house.batch("attributes", "SELECT 'c3' AS clip_id", priority=3),
        "pairwise": house.batch("pairwise", PAIR, priority=2),
        "systems": house.batch("pairwise", f"{PAIR.replace('c1', 'c2')}, {SYSTEMS}", priority=1),
    }
    told: list[str] = []
    page = browser.page(size)
    page.on("response", lambda reply: told.extend(_told(reply)))
    begin(page, house, address)
    assert page.evaluate("queue.length") == 2, "the next one is there"
    assert page.evaluate("Boolean(next && next.player.videos.length)"), "and its clips are on their way"
    keys(page, "4", "3", "5")
    assert page.get_by_role("radio", name="Visual quality: 4").get_attribute("aria-checked") == "true"
    assert not page.locator("#send").is_enabled()
    keys(page, "2", "Enter")

    at_task(page, "flags")
    keys(page, *["."] * 10, "2", "ArrowRight", "2")  # from 0.4 to 1.4 s
    keys(page, "b", "ArrowRight", "Shift+ArrowDown", "b", "Enter")

    at_task(page, "attributes")
    keys(page, "1", "2", "1", "3", "ArrowDown", "ArrowUp", "3", "ArrowDown", "1", "ArrowRight", "1", "Enter")

    first = at_task(page, "pairwise")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    keys(page, "1", "3", "4", "Enter")
    wait(page, f"!task || task.token !== '{first}'")
    at_task(page, "pairwise")
    told.append(page.content())
    keys(page, "2", "1", "3", "Enter")
    done(page)

    (likert,), (flags,), (attributes,), (pair,), (systems,) = (given(house, b) for b in batches.values())
    rated = {"visual_quality": 4, "facial_naturalness": 3, "lip_sync": 5, "motion_smoothness": 2}
    assert likert["value"] == rated
    flag = {"kind": "teeth", "start_s": 0.4, "end_s": 1.4, "box": [0.37, 0.3, 0.67, 0.72]}
    assert flags["value"] == {"flags": [flag]}
    assert attributes["value"] == {
        "gaze": "camera", "emotion": "happy", "speaking_style": ["calm"],
        "gesture": [{"label": "hands", "start_s": 0.0, "end_s": 1.0}],
    }  # fmt: skip
    left, right = ("right", "left") if pair["swapped"] else ("left", "right")
    assert pair["value"] == {"identity": left, "expression": "tie", "sync": "both_bad"}
    left, right = ("right", "left") if systems["swapped"] else ("left", "right")
    assert systems["value"] == {"identity": right, "expression": left, "sync": "tie"}
    seen = " ".join(told)
    assert "/media/" in seen
    for secret in ("ours-v7", "theirs-v2", "proxy.mp4", "talk", "'c0'", '"c0"', '"v0"', "swapped"):
        assert secret not in seen, f"{secret} reaches who should be blind"


def _told(reply: Response) -> list[str]:
    """Address, headers and, of what is not a clip, the body."""
    text = reply.headers.get("content-type", "").startswith(("application/json", "text/html"))
    return [reply.url, json.dumps(reply.headers), *([reply.text()] if text and reply.ok else [])]


def test_a_draft_outlives_a_reload(house: House, address: str, browser: Chromium) -> None:
    house.batch("likert", "SELECT 'c1' AS clip_id", priority=2)
    house.batch("flags", "SELECT 'c2' AS clip_id", priority=1)
    page = browser.page()
    begin(page, house, address)
    first = page.evaluate("task.token")
    keys(page, "4", "3")
    page.reload()
    assert at_task(page, "likert") == first
    chosen = page.get_by_role("radio", checked=True)
    assert [b.get_attribute("aria-label") for b in chosen.all()] == ["Visual quality: 4", "Facial naturalness: 3"]
    keys(page, "5", "2", "Enter")  # goes on at the third question
    at_task(page, "flags")
    keys(page, "1", "ArrowRight", "1", "2", "ArrowRight")
    page.reload()
    at_task(page, "flags")
    assert page.locator(".spans li").all_inner_texts() == ["Identity drift 0.00 – 1.00 s"]
    keys(page, "2")  # ends what was begun before, at 1 s
    assert page.locator(".spans li").count() == 2
    keys(page, "Enter")
    done(page)
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.includes('draft'))") == []


def test_an_answer_without_a_connection_waits_and_is_taken_once(house: House, address: str, browser: Chromium) -> None:
    batches = [house.batch("likert", f"SELECT 'c{i}' AS clip_id", priority=5 - i) for i in range(3)]
    lost: list[str] = []

    def loses_the_reply(route: Route) -> None:
        """The server has the answer, the browser never hears of it."""
        if not lost:
            lost.append(route.fetch().text())
            route.abort()
        else:
            route.continue_()

    page = browser.page()
    begin(page, house, address)
    page.context.set_offline(True)
    keys(page, "1", "1", "1", "1", "Enter")
    at_task(page, "likert")  # the next one was preloaded
    expect(page.locator("#note")).to_contain_text("kept and goes out later")
    keys(page, "2", "2", "2", "2", "Enter")
    expect(page.locator("#note")).to_have_text("2 answers wait for the connection.")
    assert [given(house, b) for b in batches] == [[], [], []]
    page.close()  # and the browser's storage still has them

    page = page.context.new_page()
    page.context.set_offline(False)
    page.goto(f"{address}/label")
    at_task(page, "likert")
    wait(page, "Outbox.all().length === 0")
    page.route("**/api/submit", loses_the_reply)
    keys(page, "3", "3", "3", "3", "Enter")
    wait(page, "Outbox.all().length === 0")
    assert json.loads(lost[0]) == {"state": "answered"}
    assert [[set(a["value"].values()) for a in given(house, b)] for b in batches] == [[{1}], [{2}], [{3}]]


def test_what_waits_is_sent_by_nobody_else(house: House, address: str, browser: Chromium) -> None:
    batch = house.batch("likert", "SELECT 'c1' AS clip_id", overlap=2)
    page = browser.page()
    begin(page, house, address)
    page.context.set_offline(True)
    keys(page, "1", "2", "3", "4", "Enter")
    expect(page.locator("#note")).to_have_text("1 answer waits for the connection.")
    page.close()
    page = page.context.new_page()
    page.context.set_offline(False)
    begin(page, house, address, "other")
    keys(page, "5", "5", "5", "5", "Enter")
    done(page)
    assert [a["person_id"] for a in given(house, batch)] == [house.ids["other"]]
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    done(page)
    mine = next(a for a in given(house, batch) if a["person_id"] == house.ids["annotator"])
    assert list(mine["value"].values()) == [2, 3, 4, 1]  # by name: facial_naturalness, lip_sync, motion, visual


def test_a_page_that_is_open_for_hours_goes_on_sending(
    house: House, address: str, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [house.batch("likert", f"SELECT 'c{i}' AS clip_id", priority=5 - i) for i in range(2)]
    monkeypatch.setattr(sign_in, "ROTATE_S", -1.0)  # each request changes the session's token
    page = browser.page()
    begin(page, house, address)
    for _ in batches:
        at_task(page, "likert")
        keys(page, "1", "2", "3", "4", "Enter")
    done(page)
    assert [len(given(house, b)) for b in batches] == [1, 1]


def test_a_page_whose_sign_in_is_over_loads_itself_again_and_keeps_the_answer(
    house: House, address: str, browser: Chromium
) -> None:
    batch = house.batch("likert", "SELECT 'c1' AS clip_id")
    page = browser.page()
    begin(page, house, address)
    act_as(page, house, address, "annotator")  # as after signing in anew in another tab
    with page.expect_navigation():
        keys(page, "1", "2", "3", "4", "Enter")
    done(page)
    assert len(given(house, batch)) == 1


def test_a_clip_whose_address_ended_is_played_from_another(
    house: House, address: str, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.batch("pairwise", PAIR)
    lasts_s = media.LASTS_S
    monkeypatch.setattr(media, "LASTS_S", -1)
    page = browser.page()
    act_as(page, house, address, "annotator")
    page.goto(f"{address}/label")
    wait(page, "task && player.videos.every((v) => v.error)")
    ended = page.evaluate("player.videos.map((v) => v.src)")
    monkeypatch.setattr(media, "LASTS_S", lasts_s)
    at_task(page, "pairwise")
    assert not set(page.evaluate("player.videos.map((v) => v.src)")) & set(ended)


def test_clips_of_another_origin_play_and_are_sought_in_without_cors(
    house: House, address: str, browser: Chromium
) -> None:
    """A region's media host: here the app itself by another name, to which the browser sends no cookie."""
    host = address.replace("127.0.0.1", "localhost")
    house.site.database.write(lambda c: annotation_people.put_region(c, {**EURO, "media_host": host}))
    house.batch("pairwise", PAIR)
    page, replies = browser.page(), []
    page.on("response", lambda reply: replies.append(reply) if "/media/" in reply.url else None)
    begin(page, house, address)
    keys(page, "ArrowRight")
    wait(page, "player.videos.every((v) => !v.seeking && v.currentTime > 0.5)")
    assert {reply.url.split("/media/")[0] for reply in replies} == {host}
    assert {reply.status for reply in replies} <= {200, 206}
    assert not any("cookie" in reply.request.all_headers() for reply in replies)
    ranged = page.request.get(replies[0].url, headers={"range": "bytes=0-99"})
    told = {k: ranged.headers.get(k, "") for k in ("content-type", "content-range", "etag")}
    assert (ranged.status, told["content-type"]) == (206, "video/mp4")
    assert told["content-range"].startswith("bytes 0-99/")
    assert told["etag"]


def test_addresses_are_renewed_before_they_end_and_the_clip_stays_where_it_was(
    house: House, address: str, browser: Chromium
) -> None:
    house.batch("likert", "SELECT 'c1' AS clip_id")
    page = browser.page()
    page.clock.install()
    begin(page, house, address)
    keys(page, *["."] * 10)  # 0.4 s
    wait(page, "!player.lead.seeking")
    before = page.evaluate("[player.lead.src, player.time]")
    page.clock.fast_forward(50 * 60_000)
    page.clock.run_for(60_000)
    assert page.evaluate("player.lead.src") == before[0]
    time.sleep(1.1)  # an address holds the second in which it ends, by the server's clock, which nobody turns
    page.clock.fast_forward(10 * 60_000)
    page.clock.run_for(60_000)
    wait(page, f"player.lead.src !== '{before[0]}' && player.lead.readyState >= 2 && !player.lead.seeking")
    assert page.evaluate("[player.time, player.lead.paused]") == [pytest.approx(before[1], abs=0.02), True]


def test_time_stops_when_nothing_is_done_and_goes_on_with_a_key(house: House, address: str, browser: Chromium) -> None:
    """By the page's clock, which the test turns. What the browser counted is what it sends."""
    batch = house.batch("likert", "SELECT 'c1' AS clip_id")
    page = browser.page()
    page.clock.install()
    begin(page, house, address)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    keys(page, ",")  # the last thing done for now; the clip is paused

    def counted(run_s: float) -> float:
        """Seconds that counted while the clock ran on."""
        before = page.evaluate("activeMs")
        page.clock.run_for(run_s * 1000)
        return float(page.evaluate("activeMs") - before) / 1000

    assert counted(20) == pytest.approx(20, abs=0.2)
    assert counted(40) == pytest.approx(10, abs=0.2), "30 s after the last key it stops"
    assert counted(600) == 0
    keys(page, "4")
    assert counted(10) == pytest.approx(10, abs=0.2), "and goes on with a key, without what was idle"
    page.clock.run_for(60_000)
    assert counted(60) == 0
    page.mouse.move(200, 300)
    assert counted(10) == pytest.approx(10, abs=0.2), "a pointer's move is as good"
    page.clock.run_for(60_000)
    page.evaluate("Object.defineProperty(player.lead, 'paused', { get: () => false, configurable: true })")
    assert counted(60) == pytest.approx(60, abs=0.2), "a clip that plays is looked at"
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
    assert counted(60) == 0, "and not behind another tab"
    page.evaluate("delete document.hidden")
    page.evaluate("delete player.lead.paused")
    told = page.evaluate("activeMs") / 1000
    with page.expect_request("**/api/submit") as sent:
        keys(page, "3", "3", "3", "Enter")
    assert sent.value.post_data_json["active_s"] == pytest.approx(told, abs=0.2)
    page.clock.resume()
    done(page)
    assert len(given(house, batch)) == 1


def test_links_and_guidelines_are_reached_from_a_task_by_keyboard(
    house: House, address: str, browser: Chromium
) -> None:
    house.batch("likert", "SELECT 'c1' AS clip_id")
    page = browser.page()
    begin(page, house, address)
    with page.context.expect_page() as opened:
        keys(page, "g")
    expect(opened.value.get_by_role("heading", level=1)).to_contain_text("guidelines, version 1")
    opened.value.close()
    keys(page, "4", "4", "4", "4")
    press(page.get_by_role("link", name="Pay"))
    assert page.url.endswith("/pay"), "Enter on a link follows it; it does not send"


@pytest.mark.parametrize("short", [0, 1])
def test_of_two_clips_the_longer_is_seen_to_its_end(house: House, address: str, browser: Chromium, short: int) -> None:
    told = {"name": "short and long", "schema_id": house.schemas["pairwise"]}
    plan = batches.Plan(**told, source="SELECT 'c1' AS clip_id, 'c2' AS other_clip_id")
    media = batches.media_of(house.site.workspace, plan, "pairwise")
    media[0][1][short]["end_frame"] = media[0][1][short]["start_frame"] + 25
    house.site.database.write(lambda c: batches.make_batch(c, house.ids["designer"], plan, media, time.time()))
    page = browser.page()
    begin(page, house, address)
    at_task(page, "pairwise")
    page.evaluate("""() => {
        const shorter = player.videos.reduce((a, v) => (v.duration < a.duration ? v : a));
        window.seeks = 0;
        shorter.addEventListener("seeking", () => { if (shorter.currentTime > 0.9) window.seeks += 1; });
    }""")
    keys(page, "r")
    wait(page, "player.lead.ended")
    ends = sorted(page.evaluate("player.videos.map((v) => v.currentTime)"))
    assert ends == [pytest.approx(1.0, abs=0.1), pytest.approx(3.0, abs=0.1)]
    assert page.evaluate("window.seeks") <= 1, "the shorter stands still on its last frame"
    keys(page, "r")
    wait(page, f"player.time > 0.3 && {APART} < 0.1 && player.videos.every((v) => !v.paused)", 10)


def test_two_clips_run_on_one_clock_and_swapped_sides_are_shown_and_stored(
    house: House, address: str, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "_RNG", random.Random(4))
    pairs = [("c0", "c1"), ("c1", "c2"), ("c2", "c3"), ("c3", "c0")]
    batch = house.batch(
        "pairwise", " UNION ALL ".join(f"SELECT '{a}' AS clip_id, '{b}' AS other_clip_id" for a, b in pairs)
    )
    page = browser.page()
    begin(page, house, address)
    keys(page, "r")
    wait(page, "player.time > 0.2")
    page.evaluate("player.videos[1].currentTime += 0.7")
    wait(page, f"{APART} < 0.06 && player.playing", 5)  # brought back
    wait(page, "player.lead.ended")
    assert page.evaluate(APART) < 0.1
    assert page.evaluate("player.videos.map((v) => v.muted)") == [False, True]
    keys(page, "s")
    assert page.evaluate("player.videos.map((v) => v.muted)") == [True, False]
    for _ in pairs:
        token = at_task(page, "pairwise")
        assert page.evaluate("player.videos.map((v) => [v.paused, v.currentTime])") == [[True, 0], [True, 0]]
        held = house.site.database.read(lambda c, t=token: annotation_queue.shown(c, t))
        assert held is not None
        shown = list(reversed(held["media"])) if held["swapped"] else held["media"]
        wait(page, "player.videos.every((v) => !v.seeking)")
        assert page.evaluate(COLOUR) == [RED_GREEN_BLUE[int(clip["clip_id"][1])] for clip in shown]
        keys(page, "1", "1", "2", "Enter")
        wait(page, f"!task || task.token !== '{token}'")
    done(page)
    answers = given(house, batch)
    assert {a["swapped"] for a in answers} == {True, False}
    for a in answers:
        left, right = ("right", "left") if a["swapped"] else ("left", "right")
        assert a["value"] == {"identity": left, "expression": left, "sync": right}
