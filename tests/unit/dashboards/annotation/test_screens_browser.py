"""Every screen of every role in Chromium, by keyboard alone, at a desk and on a phone; none with a finding of axe."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page

from dashboards.annotation import staff
from store import annotation_people, annotation_queue, annotation_work
from tasks.annotation import batches, desk
from tests.annotators import clips, rated
from tests.browser import CHROMIUM, DESK, PHONE, chromium, press, reach, type_in, wait
from tests.unit.dashboards.annotation.conftest import PASSWORD, House

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
REACHABLE = """() => [...document.querySelectorAll('a[href], button, input, select, textarea')]
    .filter((e) => !e.disabled && e.type !== 'hidden' && e.tabIndex >= 0 && e.getClientRects().length).length"""
FOCUSED = """() => { const e = document.activeElement, s = getComputedStyle(e);
    return [e === document.body ? '' : e.tagName + ' ' + (e.name || e.textContent.trim()).slice(0, 30), parseFloat(s.outlineWidth), s.outlineStyle]; }"""
ANOTHER = "battery staple"
SYSTEMS = "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id, 'ours-v7' AS system, 'theirs-v2' AS other_system"


def sign_in(page: Page, address: str, login: str, password: str = PASSWORD) -> None:
    page.goto(f"{address}/sign-in")
    type_in(field(page, "login"), login)
    type_in(field(page, "password"), password)
    with page.expect_navigation():
        page.keyboard.press("Enter")


class Looker:
    """Looks at a page in both colour schemes, and by Tab at each of its controls. `problems` is what it did not like."""

    def __init__(self, pictures: Path) -> None:
        self.pictures = pictures
        self.seen: list[str] = []
        self.problems: list[str] = []

    def __call__(self, page: Page, name: str) -> None:
        self.seen.append(name)
        size = page.viewport_size
        assert size is not None
        for scheme in ("dark", "light") if size["width"] > 500 else ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for found in Axe().run(page).response["violations"]:
                where = [" ".join(n["target"]) + ": " + n["failureSummary"].splitlines()[-1] for n in found["nodes"]]
                self.problems.append(f"{name}, {scheme}: {found['impact']} {found['id']} at {where[:3]}")
        page.screenshot(path=self.pictures / f"{len(self.seen):02}_{name}_{size['width']}.png")
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > size["width"]:
            self.problems.append(f"{name}: {wide} px wide")
        self.problems += [f"{name}: {told}" for told in tabbed(page)]


def tabbed(page: Page) -> list[str]:
    """By the Tab key alone every control is reached, and seen to be."""
    wanted, met = page.evaluate(REACHABLE), []
    before = page.evaluate_handle("document.activeElement")
    for _ in range(wanted + 3):
        page.keyboard.press("Tab")
        told: list[Any] = page.evaluate(FOCUSED)
        if told[0]:
            met.append(told)
    page.evaluate("e => e === document.body ? document.activeElement.blur() : e.focus()", before)
    faint = [f"no focus seen on {what}" for what, width, style in met if width < 2 or style == "none"]
    return faint + ([f"{len(met)} of {wanted} controls reached"] if len(met) < wanted else [])


def field(page: Page, name: str) -> Locator:
    return page.locator(f"main [name={name}]")


def link(page: Page, name: str) -> None:
    press(page.get_by_role("link", name=name, exact=True))


def button(page: Page, name: str) -> None:
    press(page.get_by_role("button", name=name, exact=True))


def playing(page: Page) -> None:
    wait(page, "task && player.watched && player.videos.every((v) => v.readyState >= 2)")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_screen_of_every_role_by_keyboard_alone(
    house: House, address: str, tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staff, "LOG_PAGE", 25)
    look = Looker(tmp_path)
    with chromium() as browser:
        boss = browser.page(size)
        link_of_newcomer = administration(boss, address, look)
        newcomer = browser.page(size)
        newcomer.goto(link_of_newcomer.replace("http://testserver", address))
        work(newcomer, house, look)
        reviewing(browser.page(size), address, house, look)
        training(newcomer, address, house, look)
        task_types(browser.page(size), address, house, look)
        results(browser.page(size), address, look)
        administrator_after(boss, newcomer, address, house, look)
    assert not look.problems, "\n".join(look.problems)
    assert len(look.seen) >= 42


def administration(page: Page, address: str, look: Looker) -> str:
    """From signing in to a schema, a batch, a region and an invitation, whose link it gives."""
    page.goto(f"{address}/")
    look(page, "sign_in")
    sign_in(page, address, "administrator", "wrong password")
    look(page, "sign_in_refused")
    sign_in(page, address, "administrator")
    look(page, "batches_empty")

    link(page, "New schema")
    for task_type in ("pairwise", "flags", "attributes", "likert"):
        link(page, task_type)
        look(page, f"schema_{task_type}")
    type_in(field(page, "name"), "speech")
    type_in(field(page, "guidelines"), "Watch each clip once with sound.\nThen rate what you saw.")
    type_in(field(page, "num_training"), "1")
    type_in(field(page, "num_exam"), "0")
    button(page, "Make the schema")
    assert page.url.endswith("/batches")

    link(page, "New batch")
    look(page, "batch_form")
    new_batch(page, "gold of speech", "speech 1", "SELECT 'c0' AS clip_id", goal="gold")
    assert re.search(r"/batches/\d+$", page.url), page.inner_text("main")
    look(page, "batch_new")
    type_in(field(page, "priority"), "3")
    button(page, "Save")

    link(page, "People")
    look(page, "people")
    for name, told in (("name", "in"), ("currency", "inr"), ("floor", "250.125"), ("rate", "98.5")):
        type_in(field(page, name), told)
    button(page, "Add or change")
    page.get_by_role("alert").get_by_text("INR has 2 decimals").wait_for()
    assert field(page, "rate").input_value() == "98.5"
    look(page, "region_refused")
    type_in(field(page, "floor"), "250")
    button(page, "Add or change")
    type_in(field(page, "role"), "annotator")
    type_in(field(page, "region"), "in")
    button(page, "Invite")
    look(page, "people_invited")
    return page.inner_text(".link")


def new_batch(page: Page, name: str, schema: str, source: str, goal: str = "labels") -> None:
    type_in(field(page, "name"), name)
    type_in(field(page, "schema_id"), schema)
    type_in(field(page, "goal"), goal)
    type_in(field(page, "source"), source)
    button(page, "Make the batch")


def work(page: Page, house: House, look: Looker) -> None:
    """The newcomer's way: an account, guidelines, a first task, pay. Others answered before, so that there is a ranking."""
    look(page, "join")
    type_in(field(page, "login"), "newcomer")
    type_in(field(page, "password"), PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    look(page, "home_without_work")
    house.batch("likert", "SELECT 'c1' AS clip_id", name="rates", price_milli=5000, budget_milli=10**7, head_start_s=0)
    house.batch("pairwise", SYSTEMS, name="lab", max_raters=2)
    for login in ("annotator", "other"):
        answer_all(house, login)
    link(page, "Work")
    look(page, "home_with_guidelines")
    press(page.get_by_role("link", name="Read the guidelines").first)
    look(page, "guidelines")
    button(page, "I have read them and will follow them")
    look(page, "home")
    page.get_by_text("There is nothing for you to label now").wait_for()
    assert not page.get_by_role("link", name="Start", exact=True).count()
    page.goto(page.url.rstrip("/") + "/label")
    page.get_by_text("Nothing more for you now. Thank you!").wait_for()
    look(page, "label_nothing_left")
    house.batch("likert", "SELECT 'c2' AS clip_id", name="more", price_milli=5000, budget_milli=10**7, head_start_s=0)
    page.reload()
    playing(page)
    look(page, "label_likert")
    for key in ("4", "5", "3", "2", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("Nothing more for you now. Thank you!").wait_for()
    link(page, "Pay")
    look(page, "pay")
    link(page, "Leaderboard")
    look(page, "leaderboard")
    new_password(page, look)
    button(page, "Sign out")
    assert page.url.endswith("/sign-in")


def new_password(page: Page, look: Looker) -> None:
    link(page, "newcomer")
    look(page, "password")
    for old, new, name in (("wrong password", ANOTHER, "password_refused"), (PASSWORD, ANOTHER, "")):
        type_in(field(page, "old"), old)
        type_in(field(page, "password"), new)
        button(page, "Save")
        if name:
            page.get_by_role("alert").get_by_text("The old password is not right").wait_for()
            look(page, name)
    assert page.url.endswith("/")


def answer_all(house: House, login: str) -> None:
    client = house.client(login)
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        task = tasks[0]
        held = house.site.database.read(lambda c, t=task: annotation_queue.shown(c, t["token"]))
        assert held is not None
        sides = dict.fromkeys(("identity", "expression", "sync"), "right" if held["swapped"] else "left")
        told = {"token": task["token"], "value": {**rated(4), **sides}, "key": "k" * 9, "active_s": 3}
        assert client.post("/api/submit", json=told).status_code == 200


def reviewing(page: Page, address: str, house: House, look: Looker) -> None:
    sign_in(page, address, "reviewer")
    look(page, "review")
    link(page, "Start")
    playing(page)
    look(page, "review_label")
    for key in ("1", "2", "3", "4", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("Nothing more for you now. Thank you!").wait_for()
    (label,) = house.site.database.read(lambda c: annotation_work.labels_of(c, 1))
    assert label["how"] == "adjudicated"
    assert label["value"] == {"visual_quality": 1, "facial_naturalness": 2, "lip_sync": 3, "motion_smoothness": 4}


def training(page: Page, address: str, house: House, look: Looker) -> None:
    """The reviewer's answer is gold now: it is shown after a practice item, and the next item is work."""
    house.batch("likert", "SELECT 'c3' AS clip_id", name="speech work", schema_id=5, priority=9, head_start_s=0)
    sign_in(page, address, "newcomer", ANOTHER)
    press(page.get_by_role("link", name="Read the guidelines").first)
    button(page, "I have read them and will follow them")
    look(page, "home_in_training")
    link(page, "Start")
    playing(page)
    for key in ("1", "2", "3", "5", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("You agree by 88 %. The right answers are ringed.").wait_for()
    look(page, "training_feedback")
    page.keyboard.press("Enter")
    wait(page, "task && task.kind === 'label'")
    button(page, "Sign out")
    assert page.url.endswith("/sign-in"), "Enter on a button of the header is that button's"


def task_types(page: Page, address: str, house: House, look: Looker) -> None:
    house.batch("flags", "SELECT 'c2' AS clip_id", name="bad cases", priority=8)
    house.batch("attributes", "SELECT 'c3' AS clip_id", name="looks", priority=7)
    house.batch("pairwise", "SELECT 'c2' AS clip_id, 'c3' AS other_clip_id", name="pairs", priority=6)
    sign_in(page, address, "annotator")
    link(page, "Start")
    for task_type, told in (
        ("flags", [",", *["ArrowLeft"] * 4, "2", "ArrowRight", "2", "b", "Shift+ArrowDown", "b", "1"]),
        ("attributes", ["1", "2", "1", "3", "ArrowDown", "1", "ArrowRight", "1"]),
        ("pairwise", ["1", "4", "3"]),
    ):
        wait(page, f"task && task.type === '{task_type}'")
        playing(page)
        for key in told:
            page.keyboard.press(key)
        look(page, f"label_{task_type}")
        for key in ("1", "Enter") if task_type == "flags" else ("Enter",):
            page.keyboard.press(key)
    wait(page, "Outbox.all().length === 0 && (!task || task.type !== 'pairwise')")


def results(page: Page, address: str, look: Looker) -> None:
    sign_in(page, address, "designer")
    look(page, "batches")
    press(page.get_by_role("row", name=re.compile("^speech 1")).get_by_role("link", name="next version"))
    assert field(page, "name").input_value() == "speech"
    assert "Watch each clip once" in field(page, "guidelines").input_value()
    assert field(page, "num_exam").input_value() == "0"
    look(page, "schema_next_version")
    type_in(field(page, "body"), "no JSON")
    button(page, "Make the schema")
    look(page, "schema_refused")
    link(page, "Batches")
    link(page, "lab")
    assert "ours-v7" in page.inner_text("main")
    look(page, "batch_of_systems")
    link(page, "Batches")
    link(page, "more")
    type_in(field(page, "state"), "paused")
    button(page, "Save")
    assert field(page, "state").input_value() == "paused"
    page.goto(f"{address}/people")
    look(page, "not_for_a_designer")


def administrator_after(page: Page, newcomer: Page, address: str, house: House, look: Looker) -> None:
    link(page, "People")
    row = page.get_by_role("row", name=re.compile("^other"))
    press(row.get_by_role("button", name="Shut out"))
    house.site.database.write(ban)
    page.reload()
    look(page, "people_and_regions")
    press(page.get_by_role("row", name=re.compile("^annotator s_flags")).get_by_role("button", name="Reinstate"))
    press(page.get_by_role("row", name=re.compile("^newcomer")).get_by_role("button", name="Reset password"))
    look(page, "people_reset")
    resets(newcomer, page.inner_text(".link").replace("http://testserver", address), address, look)
    link(page, "Payouts")
    look(page, "payouts_empty")
    house.site.database.write(lambda c: week_ago(c, house))
    button(page, "Close the week")
    for told in ("2 accepted in last week x 0.05 EUR", "floor", "bonus begins with 40"):
        page.get_by_text(told).first.wait_for()
    look(page, "payouts_closed")
    reach(page.get_by_role("link", name="CSV"))
    link(page, "Log")
    look(page, "log")
    told = page.inner_text("main")
    link(page, "Older")
    look(page, "log_older")
    told += page.inner_text("main")
    while page.get_by_role("link", name="Older", exact=True).count():
        link(page, "Older")
        told += page.inner_text("main")
    link(page, "Newest")
    assert page.url.endswith("/log")
    for action in ("shut out", "reinstate", "close week", "make schema", "change password", "allow reset"):
        assert action in told, action
    everybody = {p["login"]: p["active"] for p in house.site.database.read(annotation_people.everybody)}
    assert (everybody["other"], everybody["annotator"]) == (False, True)


def resets(page: Page, where: str, address: str, look: Looker) -> None:
    """The newcomer chooses a password by the administrator's link, and comes in by it."""
    page.goto(where)
    look(page, "reset")
    type_in(field(page, "password"), PASSWORD)
    button(page, "Save")
    sign_in(page, address, "newcomer")
    assert page.get_by_role("heading", name="Your work").count() == 1


def week_ago(c: Any, house: House) -> None:
    """Two answers of a week that is over."""
    then, rng = time.time() - 7 * 86400, random.Random(0)
    plan = batches.Plan(
        "last week", house.schemas["likert"], "made", overlap=1, price_milli=5000, budget_milli=10**7, head_start_s=0
    )
    batch = batches.make_batch(c, house.ids["designer"], plan, clips(2), then)
    person = {"person_id": house.ids["annotator"], "role": "annotator", "region": "eu"}
    for i in range(2):
        at = then + 600 * i
        held = next(a for a in desk.claim(c, person, at, rng, 9) if a["batch_id"] == batch)
        desk.submit(c, person, held["token"], {"value": rated(4), "key": "k" * 9, "active_s": 300}, at + 300)


def ban(c: Any) -> None:
    told = {
        "stage": "banned",
        "round": 3,
        "failures": 3,
        "why": "exam not passed: mean 0.61 of 0.85",
        "changed_at": 0.0,
    }
    annotation_work.put_qualification(c, 1, 3, **told)
