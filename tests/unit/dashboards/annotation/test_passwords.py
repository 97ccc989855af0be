"""Passwords anew, by a link or by the old one, and invitations that are taken back."""

from __future__ import annotations

import re
import time

import pytest

from dashboards.annotation.visit import COOKIE
from store import annotation_people
from tasks.annotation import sign_in
from tests.unit.dashboards.annotation.conftest import PASSWORD, House

NEW = "another good one"


def signs_in(house: House, login: str, password: str) -> int:
    return house.client().post("/sign-in", data={"login": login, "password": password}).status_code


def link_for(house: House, login: str) -> str:
    page = house.client("administrator").post(f"/people/{house.ids[login]}/reset")
    found = re.search(r"http://testserver(/reset/[\w-]+)", page.text)
    assert found is not None, page.text
    return found.group(1)


def actions(house: House) -> list[tuple[str, str]]:
    return [(r["action"], r["login"]) for r in house.site.database.read(lambda c: annotation_people.log_rows(c, 99))]


def test_a_link_resets_a_password_once_and_ends_all_sessions(house: House) -> None:
    held = [house.client("annotator"), house.client("annotator")]
    for _ in range(5):
        signs_in(house, "annotator", "wrong password")
    replaced, link = link_for(house, "annotator"), link_for(house, "annotator")
    stranger = house.client()
    assert stranger.get(replaced).status_code == 404, "only the newest opens anything"
    assert "<strong>annotator</strong>" in stranger.get(link).text
    assert stranger.post(link, data={"password": "short"}).status_code == 422
    assert [c.get("/").status_code for c in held] == [200, 200], "nothing happened yet"
    assert stranger.post(link, data={"password": NEW}).headers["location"] == "/sign-in"
    assert [c.get("/").status_code for c in held] == [303, 303]
    assert (stranger.get(link).status_code, stranger.post(link, data={"password": NEW}).status_code) == (404, 404)
    assert (signs_in(house, "annotator", PASSWORD), signs_in(house, "annotator", NEW)) == (401, 303)
    assert [a for a in actions(house) if a[0].endswith(("reset", "reset_password"))] == [
        ("reset_password", "annotator"), ("allow_reset", "administrator"), ("allow_reset", "administrator"),
    ]  # fmt: skip
    assert house.client("administrator").post("/people/999/reset").status_code == 404


def test_a_link_dies_after_a_day_and_with_who_is_shut_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    link, boss, now = link_for(house, "annotator"), house.client("administrator"), time.time()
    for later, status in ((86300, 200), (86500, 404)):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda later=later: now + later)
            assert house.client().get(link).status_code == status
    boss.post(f"/people/{house.ids['annotator']}", data={"active": "no"})
    assert house.client().get(link).status_code == 404
    refused = boss.post(f"/people/{house.ids['annotator']}/reset")
    assert (refused.status_code, "is shut out" in refused.text) == (422, True)


def test_who_knows_the_old_password_changes_it(house: House) -> None:
    mine, elsewhere, link = house.client("annotator"), house.client("annotator"), link_for(house, "annotator")
    assert mine.get("/password").status_code == 200
    for sent, why in (({"old": "guess", "password": NEW}, "old password is not right"),
                      ({"old": PASSWORD, "password": "short"}, "10 to 200")):  # fmt: skip
        reply = mine.post("/password", data=sent)
        assert (reply.status_code, why in reply.text) == (422, True)
    reply = mine.post("/password", data={"old": PASSWORD, "password": NEW})
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    assert COOKIE in reply.headers["set-cookie"]
    assert (elsewhere.get("/").status_code, house.client().get(link).status_code) == (303, 404)
    assert (signs_in(house, "annotator", PASSWORD), signs_in(house, "annotator", NEW)) == (401, 303)
    assert ("change_password", "annotator") in actions(house)


def test_guessing_the_old_password_is_throttled(house: House) -> None:
    thief = house.client("annotator")
    guess = {"old": "wrong password", "password": NEW}
    assert [thief.post("/password", data=guess).status_code for _ in range(6)] == [422] * 5 + [429]
    assert thief.post("/password", data={"old": PASSWORD, "password": NEW}).status_code == 429


def test_an_ended_session_gets_no_new_token(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "ROTATE_S", -1.0)
    told = house.client("annotator").post("/sign-out").headers["set-cookie"]
    assert re.findall(rf"{COOKIE}=([^;]*)", told) == ['""'], "signing out did not sign in again"


def test_an_invitation_is_taken_back(house: House) -> None:
    boss = house.client("administrator")
    page = boss.post("/people/invite", data={"role": "reviewer", "region": "eu"}).text
    link, revoke = re.search(r"(/join/[\w-]+)", page), re.search(r'"(/people/invitations/\w+/revoke)"', page)
    assert link is not None
    assert revoke is not None
    assert house.client().get(link.group(1)).status_code == 200
    assert boss.post(revoke.group(1)).status_code == 303
    assert house.client().get(link.group(1)).status_code == 404
    assert "/revoke" not in boss.get("/people").text
    assert (boss.post(revoke.group(1)).status_code, boss.post("/people/invitations/x/revoke").status_code) == (404, 404)
    assert ("revoke_invitation", "administrator") in actions(house)
