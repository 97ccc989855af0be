"""What the labelling page asks for: tasks with their clips, heartbeats, answers."""

from __future__ import annotations

import random
from typing import Any

from fastapi.responses import FileResponse, JSONResponse, Response

from dashboards.annotation import media
from dashboards.annotation.visit import Missing, Visit
from store import annotation_queue
from store.annotation_database import Refused
from tasks.annotation import answers, desk, reporting

_RNG = random.SystemRandom()


def page(visit: Visit) -> Response:
    return visit.page("label.html")


def claim(visit: Visit) -> Response:
    """The person's tasks. What is hidden gold, an audit or a repeat looks like any other."""
    for left in (True, True, False):
        try:
            held = visit.write(lambda c: desk.claim(c, visit.person, visit.now, _RNG), lasting=False)
            return JSONResponse({"tasks": [_task(visit, a) for a in held]})
        except Refused:
            # Somebody else took the place between our look and our lease.
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def keep(visit: Visit) -> Response:
    token = str(visit.told.get("token", ""))
    until = visit.write(lambda c: desk.keep(c, visit.person, token, visit.now))
    return JSONResponse({"expires_in_s": until - visit.now})


def submit(visit: Visit) -> Response:
    token = str(visit.told.get("token", ""))
    return JSONResponse(visit.write(lambda c: desk.submit(c, visit.person, token, visit.told, visit.now)))


def clips(visit: Visit) -> Response:
    """Addresses anew, for a page that is open longer than they last: while an item is not answered, its clips can be played.
    Tells whether the media are gone, too: a browser can't."""
    token = str(visit.told.get("token", ""))
    mine = visit.read(lambda c: annotation_queue.by_token(c, visit.by, token))
    if mine is None or mine["submitted_at"] is not None or not mine["media"]:
        raise desk.Gone(token)
    return JSONResponse({"clips": _clips(visit, mine), "gone": media.gone(visit.site, mine["media"])})


def report(visit: Visit) -> Response:
    """Gives an item back that can't be judged. Whether its media are gone is looked up, whatever the reason says."""
    token = str(visit.told.get("token", ""))
    mine = visit.read(lambda c: annotation_queue.by_token(c, visit.by, token))
    if mine is None or not mine["media"]:
        raise desk.Gone(token)
    gone = media.gone(visit.site, mine["media"])
    visit.write(lambda c: reporting.report(c, visit.person, token, visit.told, gone, visit.now))
    return JSONResponse({"state": "given_back"})


def clip(visit: Visit) -> Response:
    found = media.named(visit.site, visit.request.path_params["packed"], visit.now)
    shown = media.shown(visit.site, found[0]) if found else None
    if found is None or shown is None:
        raise Missing
    clips = media.in_order(shown["media"], shown["swapped"])
    try:
        file = media.clip_file(visit.site, clips[found[1]], levelled=len(clips) > 1)
    except media.Lost:
        raise Missing from None
    return FileResponse(file, media_type="video/mp4", headers={"cache-control": "private, max-age=7200"})


def _task(visit: Visit, mine: dict[str, Any]) -> dict[str, Any]:
    purpose = mine["purpose"] if mine["purpose"] in ("train", "exam", "review") else "label"
    body = mine["body"]
    return {
        "token": mine["token"],
        "kind": purpose,
        "type": mine["task_type"],
        "schema": {"id": mine["schema_id"], "name": mine["schema_name"], "version": mine["schema_version"]},
        "questions": questions(mine["task_type"], body),
        "duration_s": desk.duration_s(mine["media"]),
        "clips": _clips(visit, mine),
    }


def _clips(visit: Visit, mine: dict[str, Any]) -> list[str]:
    host = str(visit.person.get("media_host") or "")
    sides = range(len(mine["media"]))
    return [media.address(visit.site, mine["token"], side, visit.now, host) for side in sides]


def questions(task_type: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """How each question is asked: {name, label, how: one | many | spans | flags, options: [{value, label}]}."""
    if task_type == answers.FLAGS:
        options = [{"value": k["name"], "label": k["label"]} for k in body["kinds"]]
        return [{"name": "flags", "label": "Bad cases", "how": "flags", "options": options}]
    if task_type == answers.LIKERT:
        points = range(1, body["points"] + 1)
        return [
            {**{k: d[k] for k in ("name", "label", "low", "high")}, "how": "one",
             "options": [{"value": p, "label": str(p)} for p in points]}
            for d in body["dimensions"]
        ]  # fmt: skip
    if task_type == answers.PAIRWISE:
        told = {"left": "Left", "right": "Right", "tie": "Tie", "both_bad": "Both bad"}
        options = [{"value": c, "label": told[c]} for c in answers.CHOICES]
        return [{"name": d["name"], "label": d["label"], "how": "one", "options": options} for d in body["dimensions"]]
    return [
        {**{k: a[k] for k in ("name", "label", "how")}, "options": [{"value": c, "label": c} for c in a["choices"]]}
        for a in body["attributes"]
    ]
