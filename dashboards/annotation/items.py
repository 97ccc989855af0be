"""A batch's items for its designer: a list by pages, one item with all its answers, exports, and what goes to a reviewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import PlainTextResponse, Response

from dashboards.annotation import media
from dashboards.annotation.visit import MAX_ID, Missing, Visit
from store import annotation_items, annotation_reports, annotation_work
from tasks.annotation import batches, confidence, exports
from tasks.annotation.confidence import Sure

PAGE = 50
LOOKED_AT = 20
"""Doubtful labels that the batch's page lists; a click sends all."""
GIVEN_BACK = 20
"""Items that raters gave back, the latest ones, that the batch's page links."""


def of_batch(visit: Visit, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What the batch's page says of its items: a page of them, those to look at again, those that wait for nobody."""
    asked = visit.request.query_params
    state = asked.get("state", "") if asked.get("state", "") in annotation_items.STATES else ""
    _, votes, labels = visit.read(lambda c: annotation_items.votes_and_labels(c, batch["id"]))
    sure = confidence.of_labels(batch, votes, labels)
    counts = visit.read(lambda c: annotation_items.count_of(c, batch["id"]))
    total = counts.get(state, 0) if state else sum(counts.values())
    last = max(1, -(-total // PAGE))
    number = min(last, max(1, _number(asked.get("page", "1"))))
    rows = visit.read(lambda c: annotation_items.page_of(c, batch["id"], PAGE, (number - 1) * PAGE, state=state))
    doubtful = confidence.to_look_at(labels, sure)
    return {
        "items": rows, "sure": {k: confidence.least(s) for k, s in sure.items()}, "counts": counts, "state": state,
        "page": number, "last_page": last, "num_items": total, "doubtful": doubtful[:LOOKED_AT],
        "num_doubtful": len(doubtful), "threshold": confidence.DOUBTFUL,
        "given_back": visit.read(lambda c: annotation_reports.items_given_back(c, batch["id"], GIVEN_BACK)),
        "most_given_back": GIVEN_BACK,
        "gold": gold_lacking(visit, batch),
        "lacking": visit.read(lambda c: annotation_items.short_of_raters(c, batch["id"])),
        "max_raters": visit.read(lambda c: annotation_items.max_raters(c, batch["id"])),
    }  # fmt: skip


def gold_lacking(visit: Visit, batch: Mapping[str, Any]) -> dict[str, int]:
    """Where the calibration of the batch's schema has less gold than it asks: {"needed", "there", "awaited"}; else empty."""
    if batch["goal"] == "gold" or batch["state"] == "closed":
        return {}
    there, awaited = visit.read(lambda c: annotation_items.gold_of(c, batch["schema_id"]))
    needed = int(batch["num_training"] + batch["num_exam"])
    return {"needed": needed, "there": there, "awaited": awaited} if there < needed else {}


def one_item(visit: Visit) -> Response:
    batch, item = _item(visit)
    _, votes, labels = visit.read(lambda c: annotation_items.votes_and_labels(c, batch["id"]))
    sure: Mapping[str, Sure] = confidence.of_labels(batch, votes, labels).get(item["id"], {})
    host = str(visit.person.get("media_host") or "")
    clips = [
        {**clip, "src": media.address(visit.site, media.of_item(item["id"]), side, visit.now, host)}
        for side, clip in enumerate(item["media"])
    ]
    given = visit.read(lambda c: annotation_items.answers_to(c, item["id"]))
    by_raters = item["how"] == "consensus" and item["state"] == "done" and item["kind"] == "work"
    return visit.page(
        "item.html",
        batch=batch,
        item=item,
        clips=clips,
        given=given,
        reports=visit.read(lambda c: annotation_reports.of_item(c, item["id"])),
        sure=sure,
        may_send=by_raters and batch["state"] != "closed",
    )


def _item(visit: Visit) -> tuple[dict[str, Any], dict[str, Any]]:
    ids = visit.request.path_params
    batch = visit.read(lambda c: annotation_work.batch(c, ids["batch_id"]))
    item = visit.read(lambda c: annotation_items.one(c, ids["batch_id"], ids["item_id"]))
    if batch is None or item is None:
        raise Missing
    return dict(batch), dict(item)


def sends(visit: Visit) -> Response:
    """Gives one item, or (`all`) every doubtful one, to a reviewer."""
    batch = visit.read(lambda c: annotation_work.batch(c, visit.request.path_params["batch_id"]))
    if batch is None:
        raise Missing
    told = str(visit.told.get("item", ""))
    if told == "all":
        _, votes, labels = visit.read(lambda c: annotation_items.votes_and_labels(c, batch["id"]))
        doubtful = confidence.to_look_at(labels, confidence.of_labels(batch, votes, labels))
        wanted = [label["item_id"] for label in doubtful]
    else:
        wanted = [_number(told)]
    visit.write(lambda c: batches.send_to_review(c, visit.by, batch["id"], wanted, visit.now))
    return visit.go(f"/batches/{batch['id']}")


def answers_csv(visit: Visit) -> Response:
    """Every answer. Raters' logins are given to administrators who ask for them, and that is in the log."""
    batch = visit.read(lambda c: annotation_work.batch(c, visit.request.path_params["batch_id"]))
    logins = visit.request.query_params.get("logins") == "yes"
    if batch is None or (logins and visit.person["role"] != "administrator"):
        raise Missing
    given = visit.read(lambda c: annotation_items.every_answer(c, batch["id"]))
    rows = exports.answers_in(batch, given, visit.site.secret, logins=logins)
    if logins:
        visit.write(lambda c: exports.log_names(c, visit.by, batch, visit.now))
    return csv(rows.write_csv(), f"answers-{batch['id']}")


def labels_csv(visit: Visit) -> Response:
    wanted = visit.request.path_params["batch_id"]
    if visit.read(lambda c: annotation_work.batch(c, wanted)) is None:
        raise Missing
    batch, votes, labels = visit.read(lambda c: annotation_items.votes_and_labels(c, wanted))
    held = visit.read(lambda c: annotation_work.labels_of(c, wanted))
    return csv(exports.labels_csv(batch, held, confidence.of_labels(batch, votes, labels)), f"labels-{wanted}")


def csv(text: str, name: str) -> Response:
    told = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return PlainTextResponse(text, media_type="text/csv; charset=utf-8", headers=told)


def _number(told: str) -> int:
    """Of an address or a form; 0, which nothing has, for what is no number."""
    return min(int(told), MAX_ID - 1) if told.isascii() and told.isdigit() and len(told) < 11 else 0
