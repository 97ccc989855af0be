"""Over HTTP: who may do what, what is refused, and the way from a tier to a label and to pay."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from dashboards.annotation import media, staff, visit
from dashboards.annotation.app import ROUTES, TEMPLATES, first_invitation
from dashboards.annotation.visit import COOKIE
from store import annotation_people, annotation_queue, annotation_work
from store.annotation import sessions
from tasks.annotation import answers, sign_in
from tasks.annotation.ranking import ranked
from tasks.loudness import loudness_lufs
from tests.annotators import EURO, rated
from tests.unit.dashboards.annotation.conftest import PASSWORD, House, both_databases

PAIR = "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id"


def claim(client: TestClient) -> list[dict[str, Any]]:
    reply = client.post("/api/claim", json={})
    assert reply.status_code == 200, reply.text
    return list(reply.json()["tasks"])


def answer(client: TestClient, token: str, value: Any, key: str = "a-key-of-mine") -> Any:
    return client.post("/api/submit", json={"token": token, "value": value, "key": key, "active_s": 3})


@both_databases
def test_every_page_opens_for_its_roles(house: House) -> None:
    batch = house.batch("likert", "t_wide")
    pages = [(p.replace("{batch_id:int}", str(batch)).replace("{schema_id:int}", str(house.schemas["likert"])).replace("{item_id:int}", "1"), r)
             for m, p, r, _ in ROUTES if m == "GET" and r]  # fmt: skip
    for path, roles in pages:
        for role in roles:
            reply = house.client(role).get(path.replace("{period}", "2026-W01"))
            staff_home = path == "/" and role in ("designer", "administrator")
            assert reply.status_code == (303 if staff_home else 200), (path, role, reply.text)
    assert "script" not in house.client("administrator").get("/batches").headers["content-security-policy"]


def test_a_foreign_assignment_is_one_that_is_not_there(house: House) -> None:
    house.batch("likert", "t_wide")
    mine, other = house.client("annotator"), house.client("other")
    token = claim(mine)[0]["token"]
    for path in ("/api/keep", "/api/submit", "/api/clips"):
        assert other.post(path, json={"token": token, "value": rated(3), "key": "k" * 9}).status_code == 404
        assert other.post(path, json={"token": "none such"}).status_code == 404
    assert mine.post("/api/keep", json={"token": token}).json()["expires_in_s"] > 60


def test_a_submit_is_taken_once_and_checked(house: House) -> None:
    house.batch("likert", "t_wide")
    client = house.client("annotator")
    token = claim(client)[0]["token"]
    bad = answer(client, token, {**rated(3), "lip_sync": 6})
    assert (bad.status_code, "lip_sync: 6 is no rating" in bad.json()["error"]) == (422, True)
    assert answer(client, token, rated(3)).json() == {"state": "answered"}
    assert answer(client, token, rated(3)).json() == {"state": "answered"}
    assert answer(client, token, rated(4), key="another-key").status_code == 422


def test_what_did_not_come_from_our_page_is_refused(house: House) -> None:
    client = house.client("annotator")
    csrf = client.headers.pop("x-csrf")
    assert client.post("/api/claim", json={}).status_code == 403
    assert client.post("/api/claim", json={}, headers={"x-csrf": "guess"}).status_code == 403
    elsewhere = {"x-csrf": csrf, "origin": "https://evil.example"}
    assert client.post("/api/claim", json={}, headers=elsewhere).status_code == 403
    assert client.post("/api/claim", json={}, headers={"x-csrf": csrf}).status_code == 200
    form = {"login": "annotator", "password": PASSWORD}
    assert house.client().post("/sign-in", data=form, headers={"origin": "null"}).status_code == 403


def test_signing_in_gives_a_session_that_nobody_chose(house: House) -> None:
    client = house.client()
    client.cookies.set(COOKIE, "chosen-by-an-attacker")
    reply = client.post("/sign-in", data={"login": " Annotator ", "password": PASSWORD})
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    told = reply.headers["set-cookie"].lower()
    assert "chosen-by" not in told
    assert "httponly" in told
    assert "samesite=strict" in told
    found = re.search(rf"{COOKIE}=([\w-]+)", reply.headers["set-cookie"])
    assert found is not None
    fresh = house.client()
    fresh.cookies.set(COOKIE, found.group(1))
    page = fresh.get("/")
    assert page.status_code == 200
    csrf = re.search(r'name="csrf" content="([\w-]+)"', page.text)
    assert csrf is not None
    assert fresh.post("/sign-out", data={"csrf": csrf.group(1)}).status_code == 303
    assert fresh.get("/").headers["location"] == "/sign-in"  # ended on the server, not only in the browser


def test_an_old_session_gets_a_new_token(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client = house.client("annotator")
    before = client.cookies[COOKIE]
    assert "set-cookie" not in client.get("/").headers
    monkeypatch.setattr(sign_in, "ROTATE_S", -1.0)
    assert before not in client.get("/").headers["set-cookie"]
    for _ in range(2):  # a page of before goes on: the token of its forms stays
        assert client.post("/api/claim", json={}).status_code == 200


def test_the_token_of_before_dies_after_its_grace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute for requests on their way, and then who stole it has nothing; the new one goes on."""
    client, clock = house.client("annotator"), [time.time()]
    monkeypatch.setattr(visit.time, "time", lambda: clock[0])
    before = client.cookies[COOKIE]
    clock[0] += sign_in.ROTATE_S + 1
    found = re.search(rf"{COOKIE}=([\w-]+)", client.get("/").headers["set-cookie"])
    assert found is not None
    assert found.group(1) != before

    def opens(token: str) -> int:
        other = house.client()
        other.cookies.set(COOKIE, token)
        return other.get("/leaderboard").status_code

    clock[0] += sign_in.GRACE_S - 1
    assert (opens(before), opens(found.group(1))) == (200, 200)
    clock[0] += 2
    assert (opens(before), opens(found.group(1))) == (303, 200)


def test_guessing_is_throttled(house: House) -> None:
    client = house.client()
    wrong = {"login": "annotator", "password": "wrong password"}
    assert [client.post("/sign-in", data=wrong).status_code for _ in range(6)] == [401] * 5 + [429]
    assert client.post("/sign-in", data={**wrong, "password": PASSWORD}).status_code == 429
    assert client.post("/sign-in", data={"login": "other", "password": PASSWORD}).status_code == 303
    logged = house.site.database.read(lambda c: annotation_people.log_rows(c, 6))
    wanted = [("sign_in", "other"), *[("sign_in_failed", None)] * 5]
    assert [(r["action"], r["login"]) for r in logged] == wanted


def test_an_invitation_makes_one_account(house: House) -> None:
    assert first_invitation(house.site.database) is None  # there is an administrator
    boss = house.client("administrator")
    page = boss.post("/people/invite", data={"role": "reviewer", "region": "eu"})
    link = re.search(r"http://testserver(/join/[\w-]+)", page.text)
    assert link is not None
    client = house.client()
    assert "at least 10" in client.get(link.group(1)).text
    short = client.post(link.group(1), data={"login": "eve", "password": "short"})
    assert (short.status_code, "10 to 200" in short.text) == (422, True)
    assert client.post(link.group(1), data={"login": "annotator", "password": PASSWORD}).status_code == 422
    assert client.post(link.group(1), data={"login": "eve", "password": PASSWORD}).status_code == 303
    assert client.get("/").text.count("items wait for a reviewer") == 1
    spent = house.client().get(link.group(1))
    assert (
        spent.status_code,
        "This invitation was used or has expired; ask who invited you for another" in spent.text,
    ) == (404, True)
    assert boss.post("/people/invite", data={"role": "king", "region": "eu"}).status_code == 422


def test_who_is_shut_out_is_out_at_once(house: House) -> None:
    client, boss = house.client("annotator"), house.client("administrator")
    assert boss.post(f"/people/{house.ids['annotator']}", data={"active": "no"}).status_code == 303
    assert client.get("/").headers["location"] == "/sign-in"
    assert house.client().post("/sign-in", data={"login": "annotator", "password": PASSWORD}).status_code == 401
    assert boss.post(f"/people/{house.ids['administrator']}", data={"active": "no"}).status_code == 422
    assert "shut out" in boss.get("/log").text


def test_clips_come_by_addresses_that_tell_nothing_in_ranges(house: House) -> None:
    house.batch("pairwise", PAIR)
    task = claim(house.client("annotator"))[0]
    assert len(task["clips"]) == 2
    assert not {"swapped", "purpose", "clip_id"} & set(task)
    told = json.dumps({**task, "clips": "", "token": ""})  # both are made at random, and may hold any two letters
    assert "c0" not in told
    anybody = house.client()
    whole = anybody.get(task["clips"][0])
    part = anybody.get(task["clips"][0], headers={"range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, whole.content[4:12])
    assert whole.content[4:8] == b"ftyp"
    assert b"talk" not in whole.content  # no name of the source in it
    forged = task["clips"][0][:-2] + ("AA" if not task["clips"][0].endswith("AA") else "BB")
    for wrong in (forged, "/media/..%2F..%2Fledger.sqlite", "/media/x"):
        assert anybody.get(wrong).status_code == 404
    old = media.address(house.site, task["token"], 0, time.time() - media.LASTS_S - 1)
    assert anybody.get(old).status_code == 404


def test_a_side_of_a_pair_is_brought_to_one_loudness(house: House) -> None:
    with house.site.workspace.views() as reader:
        proxy = reader.sql("SELECT proxy_uri FROM videos WHERE video_id = 'v0'").item()
    clip = {"proxy_uri": proxy, "start_frame": 0, "end_frame": 75}
    cut = media.clip_file(house.site, clip, levelled=True)
    assert loudness_lufs(media._samples(cut, 0, 3), 16_000) == pytest.approx(media.LOUDNESS_LUFS, abs=1.0)


@both_databases
def test_from_a_tier_by_the_forms_to_a_label_and_to_pay(house: House) -> None:
    designer, boss = house.client("designer"), house.client("administrator")
    form = {"name": "first", "schema_id": house.schemas["likert"], "source": "t_wide", "goal": "work", "limit": 9,
            "overlap": 2, "max_raters": 3, "priority": 1, "price": "0.05", "budget": "10", "head_start_min": "0",
            "uncertainty": "visual_quality_quality"}  # fmt: skip
    assert "is none of" in designer.post("/batches/new", data={**form, "source": "t_none"}).text
    made = designer.post("/batches/new", data=form)
    assert made.status_code == 303, made.text
    assert "give a name that is not taken" in designer.post("/batches/new", data=form).text
    for login in ("annotator", "other"):
        client = house.client(login)
        while tasks := claim(client):
            assert answer(client, tasks[0]["token"], rated(4)).status_code == 200
    page = designer.get(made.headers["location"])
    assert "1.00" in page.text
    lines = designer.get(f"{made.headers['location']}/labels.csv").text.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["c3", "c2"]  # quality 4 before 3, and above 2.5 only
    assert '""lip_sync"": 4' in lines[1]
    told = house.client("annotator").get("/pay").text
    assert "2 accepted in first x 0.05 EUR" in told
    assert boss.post("/payouts", data={"period": "2999-W01"}).status_code == 422
    assert designer.post(made.headers["location"], data={"state": "paused", "priority": 1}).status_code == 303
    assert claim(house.client("other")) == []


@both_databases
def test_a_closed_week_is_paid_once(house: House) -> None:
    from tasks.annotation import results

    house.batch("likert", "t_wide", price_milli=5000, budget_milli=10**9)
    client = house.client("annotator")
    while tasks := claim(client):
        answer(client, tasks[0]["token"], rated(4))
    later, period = time.time() + 8 * 86400, results.week(time.time())
    database, boss = house.site.database, house.ids["administrator"]
    assert database.write(lambda c: results.close_week(c, boss, period, later)) == 1
    assert database.write(lambda c: results.close_week(c, boss, period, later)) == 0
    text = house.client("administrator").get(f"/payouts/{period}/pay.csv").text
    assert f"{period},annotator,eu,base,10,0.10,EUR,2 accepted in" in text


def test_a_schema_is_checked_and_a_change_is_its_next_version(house: House) -> None:
    designer = house.client("designer")
    form = {"task_type": "likert", "name": "s_likert", "guidelines": "Look.", "num_training": 1, "num_exam": 1}
    assert "no JSON" in designer.post("/schemas/new", data={**form, "body": "{"}).text
    assert "needs 1 to 9 dimensions" in designer.post("/schemas/new", data={**form, "body": "{}"}).text
    body = json.dumps({"points": 3, "dimensions": [{"name": "smile", "label": "<b>Smile</b>"}]})
    assert designer.post("/schemas/new", data={**form, "body": body}).status_code == 303
    known = json.dumps({"points": 7, "dimensions": [{"name": "visual_quality", "label": "Quality"}]})
    refused = designer.post("/schemas/new", data={**form, "body": known}).text
    assert (
        "tiers compare on a scale of 1 to 5; give 5 points, or the dimension another name, as visual_quality_7"
        in refused
    )
    found = house.site.database.read(annotation_work.all_schemas)
    assert [s["version"] for s in found if s["name"] == "s_likert"] == [2, 1]
    flags = json.dumps(answers.DEFAULTS["flags"])
    other = designer.post("/schemas/new", data={**form, "task_type": "flags", "body": flags})
    assert other.status_code == 422
    assert "Schema s_likert: its versions are of type likert" in other.text


def test_regions_are_put(house: House) -> None:
    boss = house.client("administrator")
    form = {"name": "in", "currency": "inr", "floor": "250", "rate": "98.5", "media_host": "https://in.example.org/"}
    assert boss.post("/regions", data=form).status_code == 303
    region = house.site.database.read(annotation_people.regions_by_name)["in"]
    assert (region["currency"], region["hourly_floor_minor"], region["media_host"]) == (
        "INR",
        25000,
        "https://in.example.org",
    )
    for wrong in ({"currency": "rupee"}, {"rate": "0"}, {"media_host": "javascript:alert(1)"}, {"floor": "-1"}):
        assert boss.post("/regions", data={**form, **wrong}).status_code == 422


def test_clips_come_from_the_host_of_the_persons_region(house: House) -> None:
    house.batch("likert", "t_wide")
    region = {**EURO, "media_host": "https://media.eu.example.org"}
    house.site.database.write(lambda c: annotation_people.put_region(c, region))
    client = house.client("annotator")
    (address,) = claim(client)[0]["clips"]
    assert address.startswith("https://media.eu.example.org/media/")
    assert "media-src 'self' http: https:" in client.get("/label").headers["content-security-policy"]
    assert house.client().get(address.removeprefix("https://media.eu.example.org")).status_code == 200, (
        "which passes on to us"
    )


def test_addresses_of_clips_are_given_anew_until_the_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.batch("likert", "t_wide")
    client = house.client("annotator")
    with monkeypatch.context() as ended:
        ended.setattr(media, "LASTS_S", -1)
        task, *_ = claim(client)
    assert client.get(task["clips"][0]).status_code == 404
    told = {"token": task["token"]}
    (anew,) = client.post("/api/clips", json=told).json()["clips"]
    assert house.client().get(anew).status_code == 200
    assert answer(client, task["token"], rated(3)).status_code == 200
    assert client.post("/api/clips", json=told).status_code == 404, "and no longer"


def test_sessions_that_ended_are_forgotten(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()

    def opened(c: Any) -> None:
        for age in (sign_in.SESSION_S + 60, sign_in.SESSION_S - 60):
            sign_in.open_session(c, house.ids["other"], now - age)

    house.site.database.write(opened)
    monkeypatch.setattr(annotation_queue, "EXPIRE_EVERY_S", 0.0)
    claim(house.client("annotator"))
    left = house.site.database.read(lambda c: [float(x) for x in c.execute(sa.select(sessions.c.expires_at)).scalars()])
    assert len(left) == 2
    assert min(left) > now, "one that lasts is kept, however short"


@both_databases
def test_the_log_is_read_page_by_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff, "LOG_PAGE", 20)

    def logged(c: Any) -> None:
        for i in range(50):
            annotation_people.log(c, 1e9 + i, house.ids["administrator"], "counted", f"line {i}")

    house.site.database.write(logged)
    boss, where, seen = house.client("administrator"), "/log", []
    while where:
        page = boss.get(where).text
        seen += re.findall(r"line (\d+)", page)
        house.site.database.write(lambda c: annotation_people.log(c, 2e9, None, "meanwhile", "moves nothing"))
        assert len(re.findall("<tr><td", page)) <= 20
        assert (">Newest</a>" in page) == (where != "/log")
        (where,) = re.findall(r'href="(/log\?before=\d+)"', page) or [""]
    assert seen == [str(i) for i in reversed(range(50))]
    assert boss.get("/log?before=nonsense").status_code == 200


@both_databases
def test_a_benchmark_of_systems_is_blind_and_its_page_tells_who_wins(house: House) -> None:
    pair = "SELECT 'c0' AS clip_id, 'c1' AS other_clip_id, 'ours-v7' AS system"
    batch = house.batch("pairwise", f"{pair}, 'theirs-v2' AS other_system")
    client = house.client("annotator")
    (task,) = claim(client)
    shown = json.dumps(task) + client.get("/label").text
    assert not any(name in shown for name in ("ours-v7", "theirs-v2"))
    response = client.get(task["clips"][0])
    assert not any(b"ours-v7" in part for part in (response.content, str(response.headers).encode()))
    held = house.site.database.read(lambda c: annotation_queue.shown(c, task["token"]))
    assert held is not None
    ours = "right" if held["swapped"] else "left"
    answer(client, task["token"], dict.fromkeys(("identity", "expression", "sync"), ours))
    page = house.client("designer").get(f"/batches/{batch}").text
    assert "Systems by identity" in page
    rows = re.findall(r'<tr><td class="num">(\d|–)</td><td>([\w-]+)</td>.*?<td>([\w-]+)</td>', page, re.DOTALL)
    assert rows[:2] == [("–", "ours-v7", "theirs-v2"), ("–", "theirs-v2", "ours-v7")]
    assert "These systems are not told apart" in page
    assert "1 item, 1 prompt, 1 rater<" in page
    with pytest.raises(ValueError, match="a benchmark of systems needs system and other_system"):
        house.batch("pairwise", pair)
    with pytest.raises(ValueError, match="a pair without system or other_system"):
        house.batch("pairwise", f"{pair}, NULL AS other_system")


def test_pairs_of_systems_share_the_prompt_that_the_query_names(house: House) -> None:
    """Three systems over two prompts: four items, which count as two looks."""
    told = [("c0", "x", "p"), ("c1", "y", "p"), ("c2", "z", "p"), ("c3", "x", "7"), ("c0", "y", "7")]
    made = " UNION ALL ".join(f"SELECT '{c}' AS clip_id, '{s}' AS lab_system, '{p}' AS lab_prompt" for c, s, p in told)
    query = f"""WITH made AS ({made})
        SELECT a.clip_id, b.clip_id AS other_clip_id, a.lab_system AS system, b.lab_system AS other_system, a.lab_prompt AS prompt
        FROM made a JOIN made b ON a.lab_prompt = b.lab_prompt AND a.lab_system < b.lab_system"""
    batch = house.batch("pairwise", query, overlap=1, max_raters=1)
    held = house.site.database.read(lambda c: annotation_work.systems_in(c, batch))
    assert sorted(held.values()) == [("x", "y", "7"), ("x", "y", "p"), ("x", "z", "p"), ("y", "z", "p")]
    client = house.client("annotator")
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        assert "prompt" not in json.dumps(tasks), "who rates is blind for it too"
        answer(client, tasks[0]["token"], dict.fromkeys(("identity", "expression", "sync"), "left"))
    assert "4 items, 2 prompts, 1 rater<" in house.client("designer").get(f"/batches/{batch}").text
    with pytest.raises(ValueError, match="a pair without prompt"):
        house.batch("pairwise", f"{PAIR}, 'x' AS system, 'y' AS other_system, NULL AS prompt")


def test_a_benchmark_that_is_clear_ranks(house: House) -> None:
    systems = ("ours-v7", "theirs-v2")
    found = ranked([(i, i % 10, "right") for i in range(40)], dict.fromkeys(range(40), systems))
    telling = {"questions": [], "raters": [], "rankings": {"sync": found}}
    page = TEMPLATES.get_template("batch.html").render(
        batch={"id": 1, "goal": "work", "state": "open", "budget_milli": 1000, "price_milli": 10, "num_reserved": 0},
        told=telling,
        logins={},
        target=0.85,
        num_answers=40,
        person={},
        csrf="",
        path="",
    )
    rows = re.findall(r'<tr><td class="num">(\d)</td><td>([\w-]+)</td>.*?<td>([\w-]*)</td>', page, re.DOTALL)
    assert rows == [("1", "theirs-v2", ""), ("2", "ours-v7", "")]
    assert "not told apart:" not in page
    assert "not told apart from" in page.lower()


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT 'c0' AS clip_id, 'c0' AS other_clip_id", "pairs 'c0' with itself"),
        (f"{PAIR}, 'v7' AS system, 'v7' AS other_system", "compares system 'v7' with itself, in 'c0' and 'c1'"),
        (f"{PAIR.replace(chr(39) + 'c0' + chr(39), '1')}, 'v7' AS system, 8 AS other_system", "yields '1', which is"),
        ("SELECT list(clip_id) AS clip_id, 'c0' AS other_clip_id FROM clips", "yields a list as clip_id"),
        (f"{PAIR}, 'high' AS uncertainty", "an uncertainty that is no number"),
        (f"{PAIR}, INTERVAL 1 DAY AS late", "column late is an INTERVAL"),
        ("nope", "tier 'nope' is none of a2v_bronze.*add it as WORKSPACE/tiers/NAME.sql"),
        ("SELECT clip_id FROM clips WHERE", "WHERE is not finished. Line 1, Col: 31"),
        ("SELECT clip_id AT TIME ZONE 'x' FROM clips", "AT TIME ZONE is not allowed"),
    ],
)
def test_a_source_of_pairs_that_is_wrong_is_refused_in_its_own_words(house: House, query: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        house.batch("pairwise", query)
    told = str(refused.value)
    assert not re.search(r"class|sqlglot|\.py|Error\(", told)
    assert str(house.site.workspace.settings.workspace) not in told


def test_a_pair_the_other_way_round_is_the_same_item(house: House) -> None:
    turned = "SELECT 'c1' AS clip_id, 'c0' AS other_clip_id"
    batch = house.batch("pairwise", f"{PAIR} UNION ALL {turned} UNION ALL {PAIR} UNION ALL SELECT 'c0', 'c2'")
    (found,) = [b for b in house.site.database.read(annotation_work.all_batches) if b["id"] == batch]
    assert found["num_open"] == 2


def test_a_batch_without_answers_tells_no_share_and_a_flag_that_nobody_raised_is_no_warning(house: House) -> None:
    pairs, flags = house.batch("pairwise", PAIR), house.batch("flags", "SELECT 'c0' AS clip_id")
    page = house.client("designer").get(f"/batches/{pairs}").text
    assert "nan" not in page
    assert "sides that were taken" not in page
    for login in ("annotator", "other"):
        client = house.client(login)
        for task in claim(client):
            ties = dict.fromkeys(("identity", "expression", "sync"), "tie")
            value = {"flags": []} if task["type"] == "flags" else ties
            assert answer(client, task["token"], value, key=f"key-{task['token']}"[:60]).status_code == 200
    page = house.client("designer").get(f"/batches/{flags}").text
    assert "nobody raised it" in page
    assert "below 0.85" not in page
    assert "sides that were taken" not in house.client("designer").get(f"/batches/{pairs}").text, "all are ties"
