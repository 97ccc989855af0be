"""Clips that can't be judged, over HTTP: what the page is told, what giving one back does, and what designers see of it."""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from typing import Any

from dashboards.annotation import media
from store import annotation_people
from tasks.annotation import batches
from tests.unit.dashboards.annotation.conftest import House

LOST = "media/lost/proxy.mp4"


def lost_batch(house: House, proxy_uri: str = LOST, **told: Any) -> int:
    """A batch of one item whose video is not there."""
    plan = batches.Plan("lost", house.schemas["likert"], "SELECT 'c1' AS clip_id", **told)
    found = batches.media_of(house.site.workspace, plan, "likert")
    found[0][1][0]["proxy_uri"] = proxy_uri
    return house.site.database.write(lambda c: batches.make_batch(c, house.ids["designer"], plan, found, time.time()))


def test_media_that_are_gone_are_told_and_the_item_is_given_back(house: House) -> None:
    batch = lost_batch(house)
    client, other, designer = house.client("annotator"), house.client("other"), house.client("designer")
    (task,) = client.post("/api/claim", json={}).json()["tasks"]
    assert client.get(task["clips"][0]).status_code == 404
    told = {"token": task["token"]}
    assert client.post("/api/clips", json=told).json()["gone"] is True
    assert "media are gone" not in designer.get(f"/batches/{batch}").text, "nobody met it yet"
    assert other.post("/api/report", json={**told, "reason": "other"}).status_code == 404, "somebody else's"
    assert client.post("/api/report", json={**told, "reason": "dull"}).status_code == 422
    for _ in range(2):
        reply = client.post("/api/report", json={**told, "reason": "unplayable", "active_s": 3})
        assert (reply.status_code, reply.json()) == (200, {"state": "given_back"})
    assert client.post("/api/clips", json=told).status_code == 404
    assert client.post("/api/claim", json={}).json()["tasks"] == []
    assert other.post("/api/claim", json={}).json()["tasks"] == [], "nobody else is sent to it"
    page = designer.get(f"/batches/{batch}").text
    assert "1 item can't be shown: media are gone" in page
    assert designer.get("/batches").text.count("1 can't be shown") == 1
    (item,) = set(re.findall(rf'"(/batches/{batch}/items/\d+)">item \d+</a>\.</p>', page))
    assert "its media are gone" in designer.get(item).text
    logged = house.site.database.read(annotation_people.log_rows)
    (line,) = [r for r in logged if r["action"] == "report"]
    assert (line["login"], json.loads(line["detail"])["reason"]) == ("annotator", "gone")


def test_an_item_whose_media_are_back_is_asked_again(house: House) -> None:
    lost = f"media/{uuid.uuid4().hex}/proxy.mp4"  # cuts of clips outlive a test
    batch = lost_batch(house, lost)
    client, designer = house.client("annotator"), house.client("designer")
    (task,) = client.post("/api/claim", json={}).json()["tasks"]
    client.post("/api/report", json={"token": task["token"], "reason": "unplayable"})
    where = f"/batches/{batch}/look-again"
    assert designer.post(where).status_code == 303
    assert house.client("other").post("/api/claim", json={}).json()["tasks"] == [], "still gone"
    with house.site.workspace.views() as reader:
        there = reader.sql("SELECT proxy_uri FROM videos WHERE video_id = 'v0'").item()
    objects = house.site.workspace.objects
    found = house.site.workspace.settings.workspace / lost
    found.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(objects.local(there), found)
    try:
        assert objects.exists(lost)
        assert designer.post(where).status_code == 303
        assert "media are gone" not in designer.get(f"/batches/{batch}").text
        (task,) = house.client("other").post("/api/claim", json={}).json()["tasks"]
        assert house.client().get(task["clips"][0]).status_code == 200
    finally:
        shutil.rmtree(found.parent)


def test_a_clip_that_is_there_is_given_back_for_a_reason_that_designers_see(house: House) -> None:
    batch = house.batch("likert", "SELECT 'c1' AS clip_id", overlap=1, max_raters=1)
    client = house.client("annotator")
    (task,) = client.post("/api/claim", json={}).json()["tasks"]
    told = {"token": task["token"], "reason": "disturbing", "told": "<b>blood</b>"}
    assert client.post("/api/report", json=told).status_code == 200
    page = house.client("designer").get(f"/batches/{batch}").text
    assert "Raters gave back: 1 as disturbing." in page
    assert "media are gone" not in page
    assert "audit log" not in page, "which a designer can't read"
    (item,) = set(re.findall(rf'"(/batches/{batch}/items/\d+)">item \d+</a>\.</p>', page))
    told_of = house.client("designer").get(item).text
    given_back = told_of[told_of.index("Given back") :]
    for said in ("annotator", "it is disturbing", "&lt;b&gt;blood&lt;/b&gt;", time.strftime("%Y-%m-%d", time.gmtime())):
        assert said in given_back
    assert "&lt;b&gt;blood" in house.client("administrator").get("/log").text
    assert len(house.client("other").post("/api/claim", json={}).json()["tasks"]) == 1
    assert client.get("/").text.count("0 answers so far") == 1


def test_a_cut_outlives_its_proxy(house: House) -> None:
    with house.site.workspace.views() as reader:
        proxy = reader.sql("SELECT proxy_uri FROM videos WHERE video_id = 'v0'").item()
    clip = {"proxy_uri": proxy, "start_frame": 0, "end_frame": 25}
    assert media.gone(house.site, [clip, {**clip, "proxy_uri": LOST}])
    kept = media._cut_at(house.site, {**clip, "proxy_uri": LOST}, False)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    try:
        assert not media.gone(house.site, [{**clip, "proxy_uri": LOST}])
    finally:
        kept.unlink()
