"""What designers see of a batch's items, the files of it, and the preview of a schema."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from dashboards.annotation import items, worded
from store import annotation_erase, annotation_items, annotation_people, annotation_work
from tasks.annotation import answers, confidence, desk
from tests.annotators import rated
from tests.unit.dashboards.annotation.conftest import House, both_databases

FOUR = "SELECT clip_id FROM clips WHERE clip_id IN ('c0', 'c1', 'c2', 'c3')"


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "REPEAT_RATIO", 0.0)
    monkeypatch.setattr("tasks.annotation.batches.AUDIT_RATIO", 0.0)


def work(client: TestClient, value: Any) -> None:
    while tasks := client.post("/api/claim", json={}).json()["tasks"]:
        told = {"token": tasks[0]["token"], "value": value, "key": "a-key-of-mine", "active_s": 3}
        assert client.post("/api/submit", json=told).status_code == 200


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@both_databases
def test_a_batch_lists_its_items_by_pages_and_each_has_a_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "PAGE", 3)
    batch = house.batch("likert", FOUR, overlap=1, max_raters=1)
    client = house.client("annotator")
    (task, *_) = client.post("/api/claim", json={}).json()["tasks"]
    told = {"token": task["token"], "value": rated(4), "key": "a-key-of-mine", "active_s": 3}
    client.post("/api/submit", json=told)
    designer = house.client("designer")
    first, second = (designer.get(f"/batches/{batch}?page={n}").text for n in (1, 2))
    links = [re.findall(rf'<td><a href="(/batches/{batch}/items/\d+)"', page) for page in (first, second)]
    assert [len(x) for x in links] == [3, 1]
    assert "Page 1 of 2" in first
    assert f'href="/batches/{batch}?page=1#items"' in second
    done = designer.get(f"/batches/{batch}?state=done").text
    (where,) = re.findall(rf'<td><a href="(/batches/{batch}/items/\d+)"', done)
    assert "Visual quality: 4" in text_of(done)
    for odd in ("?page=99", "?page=x", "?state=nonsense"):
        assert designer.get(f"/batches/{batch}{odd}").status_code == 200

    page = designer.get(where).text
    told_text = text_of(page)
    for part in (
        "annotator",
        "The consensus of 1 rater, decided",
        "Lip-sync accuracy 4",
        "Too few answers of the batch tell",
    ):
        assert part in told_text, part
    (address,) = re.findall(r'<video[^>]* src="([^"]+)"', page)
    assert house.client().get(address).headers["content-type"] == "video/mp4"
    assert house.client().get(address[:-2] + "xx").status_code == 404
    other = house.batch("flags", "t_wide")
    number = where.rsplit("/", 1)[1]
    for foreign in (f"/batches/{other}/items/{number}", f"/batches/{batch}/items/9999", f"/batches/99/items/{number}"):
        assert designer.get(foreign).status_code == 404
    for role in ("annotator", "reviewer"):
        assert house.client(role).get(where).status_code == 404

    house.site.database.write(lambda c: annotation_erase.erase_videos(c, {"v0", "v1", "v2", "v3"}))
    gone = designer.get(where)
    assert (gone.status_code, "What it showed was erased" in gone.text) == (200, True)
    assert house.client().get(address).status_code == 404
    assert designer.get(f"/batches/{batch}/answers.csv").text.count("\n") == 1
    assert "erased" in designer.get(f"/batches/{batch}").text


@both_databases
def test_answers_come_as_a_file_and_names_only_to_an_administrator_who_asks(house: House) -> None:
    batch = house.batch("likert", FOUR, name="first", overlap=2, max_raters=2)
    for login in ("annotator", "other"):
        work(house.client(login), rated(4))
    where = f"/batches/{batch}/answers.csv"
    reply = house.client("designer").get(where)
    assert reply.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert len(rows) == 4 * 2 * 4
    assert {r["rater"][:2] for r in rows} == {"r-"}
    assert {r["value"] for r in rows} == {"4"}
    assert house.client("administrator").get(where).text == reply.text
    assert house.client("designer").get(f"{where}?logins=yes").status_code == 404
    logged = house.site.database.read(annotation_people.log_rows)
    assert not any(r["action"] == "export_names" for r in logged)
    named = house.client("administrator").get(f"{where}?logins=yes").text
    assert {r["rater"] for r in csv.DictReader(io.StringIO(named))} == {"annotator", "other"}
    assert house.site.database.read(annotation_people.log_rows)[0]["action"] == "export_names"
    assert f"{where}?logins=yes" not in house.client("designer").get(f"/batches/{batch}").text
    labels = list(csv.DictReader(io.StringIO(house.client("designer").get(f"/batches/{batch}/labels.csv").text)))
    assert {(r["schema"], r["schema_version"], r["confidence"]) for r in labels} == {("s_likert", "1", "")}
    assert [int(r["item"]) for r in labels] == sorted(int(r["item"]) for r in labels)


def test_doubted_labels_go_to_a_reviewer_by_a_click(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidence, "MIN_COMPARED", 2)
    monkeypatch.setattr(confidence, "DOUBTFUL", 1.01)  # all are
    batch = house.batch("likert", FOUR, name="first", overlap=2, max_raters=2)
    for login in ("annotator", "other"):
        work(house.client(login), rated(4))
    designer, where = house.client("designer"), f"/batches/{batch}/review"
    page = designer.get(f"/batches/{batch}").text
    assert "Labels to look at again 4" in text_of(page)
    assert page.count('aria-label="Send item ') == 4
    (one, *rest) = house.site.database.read(lambda c: [x["item_id"] for x in annotation_work.labels_of(c, batch)])
    assert designer.post(where, data={"item": str(one)}).headers["location"] == f"/batches/{batch}"
    again = designer.post(where, data={"item": str(one)})
    assert again.status_code == 422
    assert "none of these waits to be looked at again" in text_of(again.text)
    page = designer.get(f"/batches/{batch}").text
    assert "Labels to look at again 3" in text_of(page)
    assert f'aria-label="Send item {one} ' not in page
    assert "Send to a reviewer" not in designer.get(f"/batches/{batch}/items/{one}").text
    assert "Send to a reviewer" in designer.get(f"/batches/{batch}/items/{rest[0]}").text
    assert designer.post(where, data={"item": "all"}).status_code == 303
    assert "Labels to look at again" not in designer.get(f"/batches/{batch}").text
    logged = [r for r in house.site.database.read(annotation_people.log_rows) if r["action"] == "send_to_review"]
    assert [(r["login"], json.loads(r["detail"])["items"]) for r in logged] == [("designer", rest), ("designer", [one])]
    shown = house.client("reviewer").post("/api/claim", json={}).json()["tasks"]
    assert {t["kind"] for t in shown} == {"review"}
    assert "4" not in json.dumps([t["schema"] for t in shown]), "and says nothing of the label"
    for foreign in ("9999", "x", ""):
        assert designer.post(where, data={"item": foreign}).status_code == 422
    assert designer.post("/batches/99/review", data={"item": "all"}).status_code == 404
    work(house.client("reviewer"), rated(2))
    page = designer.get(f"/batches/{batch}/items/{one}").text
    assert "A reviewer's word, beside 2 raters" in text_of(page)
    assert "Labels to look at again" not in designer.get(f"/batches/{batch}").text, "what a reviewer decided is decided"
    held = house.site.database.read(lambda c: annotation_items.one(c, batch, one))
    assert held is not None
    assert held["label"] == rated(2)


def test_a_batch_says_that_raters_are_lacking_and_takes_a_lower_maximum(house: House) -> None:
    batch = house.batch("likert", FOUR, overlap=2, max_raters=3)
    work(house.client("annotator"), rated(1))
    work(house.client("other"), rated(5))
    designer = house.client("designer")
    said = "4 items wait for one more rater than are qualified: invite people, or lower the maximum."
    assert said in text_of(designer.get(f"/batches/{batch}").text)
    form = {"state": "open", "priority": 0, "max_raters": 2}
    assert designer.post(f"/batches/{batch}", data={**form, "max_raters": 11}).status_code == 422
    assert designer.post(f"/batches/{batch}", data=form).status_code == 303
    assert said not in text_of(designer.get(f"/batches/{batch}").text)
    assert house.site.database.read(lambda c: annotation_items.count_of(c, batch)) == {"review": 4}


def test_a_schema_is_previewed_saved_or_not_and_nothing_is_leased(house: House) -> None:
    designer = house.client("designer")
    saved = designer.get(f"/schemas/{house.schemas['pairwise']}/preview")
    told = re.search(r'<meta name="task" content="([^"]+)"', saved.text)
    assert told is not None
    task = json.loads(html.unescape(told.group(1)))
    assert (task["type"], len(task["clips"]), [q["name"] for q in task["questions"]]) == (
        "pairwise", 2, ["identity", "expression", "sync"],
    )  # fmt: skip
    assert all(house.client().get(address).headers["content-type"] == "video/mp4" for address in task["clips"])
    scripts = re.findall(r'<script src="/static/(\w+).js"', saved.text)
    assert scripts[0] == "preview", "before the page's own, whose calls it answers"
    assert "label" in scripts
    body = {"points": 3, "dimensions": [{"name": "smile", "label": '"><script>Smile', "low": "", "high": ""}]}
    form = {
        "task_type": "likert",
        "name": "new",
        "body": json.dumps(body),
        "guidelines": "**Look** twice.\n\n- <b>once</b>",
    }
    made = designer.post("/schemas/preview", data=form)
    assert made.status_code == 200
    assert "<script>Smile" not in made.text
    assert "<strong>Look</strong> twice." in made.text
    assert "<li>&lt;b&gt;once&lt;/b&gt;</li>" in made.text
    assert "new" not in {s["name"] for s in house.site.database.read(annotation_work.all_schemas)}, "and is not saved"
    assert designer.post("/schemas/preview", data={**form, "body": "{"}).status_code == 422
    assert "needs 1 to 9 dimensions" in designer.post("/schemas/preview", data={**form, "body": "{}"}).text
    assert designer.get(f"/schemas/{house.schemas['likert']}/preview?tier=t_wide").status_code == 200
    assert "is none of" in designer.get(f"/schemas/{house.schemas['likert']}/preview?tier=t_none").text
    assert designer.get("/schemas/99/preview").status_code == 404
    batch = house.batch("likert", "SELECT 'c2' AS clip_id")
    assert designer.get(f"/schemas/{house.schemas['likert']}/preview").status_code == 200
    assert house.site.database.read(lambda c: annotation_items.count_of(c, batch)) == {"open": 1}
    assert house.site.database.read(lambda c: annotation_items.page_of(c, batch, 9))[0]["num_taken"] == 0


def test_questions_are_listed_in_words(house: House) -> None:
    designer = house.client("designer")
    for task_type, said in {
        "likert": "Visual quality visual_quality : a rating from 1 (unusable) to 5 (flawless)",
        "pairwise": "Which fits the voice better? sync : left, right, tie or both bad",
        "flags": "Teeth teeth : flagged where it is seen",
        "attributes": "Speaking style speaking_style : any of calm, lively, reading",
    }.items():
        assert said in text_of(designer.get(f"/schemas/new?type={task_type}").text)
    batch = house.batch("attributes", "t_wide")
    assert "Gesture gesture : spans of hands, nod, shrug" in text_of(designer.get(f"/batches/{batch}").text)
    for broken in ("no JSON", "[]", '{"dimensions": 3}', '{"dimensions": [1]}'):
        assert worded.asked_of("likert", broken) == []


def test_guidelines_are_formatted_and_nothing_of_them_is_html() -> None:
    text = "# Watch\nonce <script>alert(1)</script>\nand again.\n\n1. *sound*\n2. **lips**\n\n[x](javascript:alert(1)) ![y](http://z) `c`"
    made = worded.prose(text)
    assert "<h2>Watch</h2>" in made
    assert "<ol>\n<li><em>sound</em></li>\n<li><strong>lips</strong></li>\n</ol>" in made
    assert "once &lt;script&gt;alert(1)&lt;/script&gt;<br" in made
    assert not any(tag in made for tag in ("<script", "<a", "<img", "<code"))


def test_a_refused_query_says_what_where_and_what_next_in_our_words(house: House) -> None:
    form = {"name": "first", "schema_id": house.schemas["likert"], "goal": "work", "limit": 9, "overlap": 2, "max_raters": 3,
            "priority": 1, "price": "0.05", "budget": "10", "head_start_min": "0", "uncertainty": ""}  # fmt: skip
    designer = house.client("designer")
    refused = designer.post("/batches/new", data={**form, "source": "SELECT clip_idd\nFROM clips"})
    assert refused.status_code == 422
    said = text_of(refused.text)
    assert "column clip_idd is in none of the relations that are read there; did you mean clip_id" in said
    assert "Query: column" in said
    assert "Binder" not in said
    assert "SELECT clip_idd\nFROM clips</textarea>" in refused.text, "which is kept as it was written"
    said = text_of(designer.post("/batches/new", data={**form, "source": "t_wide", "uncertainty": "nope"}).text)
    assert "ncertain where 'nope': column nope is in none of the relations" in said


def test_a_label_is_said_in_words() -> None:
    body = answers.DEFAULTS["flags"]
    flag = {"kind": "teeth", "start_s": 1.0, "end_s": 2.5, "box": [0, 0, 1, 1]}
    assert worded.short("flags", body, {"flags": []}) == "none"
    assert worded.short("flags", body, {"flags": [flag]}) == "Teeth 1.00–2.50 s with a box"
    look = {
        "gaze": "camera",
        "emotion": "sad",
        "speaking_style": [],
        "gesture": [{"label": "nod", "start_s": 0, "end_s": 1}],
    }
    said = worded.short("attributes", answers.DEFAULTS["attributes"], look)
    assert said == "Gaze: camera · Emotion: sad · Speaking style: none · Gesture: nod 0.00–1.00 s"
    doubt = {"teeth": confidence.Sure(0.2, True, True), "lip_sync": confidence.Sure(0.71, 4, False)}
    assert worded.doubts(doubt) == "teeth 0.20, more probably there; lip sync 0.71"
