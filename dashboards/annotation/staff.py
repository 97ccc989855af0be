"""Pages of designers and administrators: schemas, batches and their agreement, payouts, the audit log."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse, Response

from dashboards.annotation import forms, items, media, worded
from dashboards.annotation.description import with_security
from dashboards.annotation.visit import Missing, Visit, json_object
from store import annotation_people, annotation_reports, annotation_work
from tasks.annotation import answers, batches, reporting, results
from tasks.annotation.agreement import TARGET
from tasks.annotation.unfit import Unfit

LOG_PAGE = 200


def all_batches(visit: Visit) -> Response:
    return visit.page(
        "batches.html", batches=visit.read(annotation_work.all_batches), schemas=visit.read(annotation_work.all_schemas)
    )


def schema_form(visit: Visit) -> Response:
    """Empty with the questions that its type usually asks, or what a schema says, to be changed into its next version."""
    asked = visit.request.query_params
    task_type, told = asked.get("type", answers.LIKERT), {}
    if "of" in asked:
        told = _schema(visit, asked["of"])
        task_type = told["task_type"]
        told["body"] = answers.checked_body(task_type, told["body"])  # its keys in the usual order
    elif task_type not in answers.TASK_TYPES:
        raise Missing
    body = json.dumps(told.get("body", answers.DEFAULTS[task_type]), indent=2)
    return visit.page("schema.html", types=answers.TASK_TYPES, task_type=task_type, told={**told, "body": body})


def _schema(visit: Visit, schema_id: str) -> dict[str, Any]:
    wanted = _id(schema_id)
    found = visit.read(lambda c: annotation_work.schema(c, wanted))
    if found is None:
        raise Missing
    return dict(found)


def makes_schema(visit: Visit) -> Response:
    told = visit.told
    task_type = str(told.get("task_type", ""))
    try:
        try:
            body = json_object(str(told.get("body", "")))
        except ValueError as error:
            raise Unfit("body", f"the questions are no JSON: {error}") from None
        num_training, num_exam = (forms.whole(told, k) for k in ("num_training", "num_exam"))
        name, guidelines = str(told.get("name", "")).strip(), str(told.get("guidelines", ""))
        visit.write(
            lambda c: batches.make_schema(
                c, visit.by, name, task_type, body, guidelines, num_training, num_exam, visit.now
            )
        )
    except ValueError as error:
        kept = {"types": answers.TASK_TYPES, "task_type": task_type, "told": told}
        return visit.refuse("schema.html", error, **kept)
    return visit.go("/batches")


def batch_form(visit: Visit) -> Response:
    from tasks import tier

    asked = visit.request.query_params
    told = {"schema_id": asked.get("schema", ""), "goal": asked.get("goal", "")}
    return _batch_form(visit, told, sorted(tier.sources(visit.site.workspace)))


def _batch_form(visit: Visit, told: Any, tiers: list[str], refused: ValueError | None = None) -> Response:
    kept = {"told": told, "tiers": tiers, "schemas": visit.read(annotation_work.all_schemas)}
    return visit.refuse("batch_form.html", refused, **kept) if refused else visit.page("batch_form.html", **kept)


def makes_batch(visit: Visit) -> Response:
    from tasks import tier

    try:
        plan = _plan(visit.told)
        schema = visit.read(lambda c: annotation_work.schema(c, plan.schema_id))
        if schema is None:
            raise Unfit("schema_id", "choose a schema")
        media = _media(visit, plan, schema["task_type"])
        batch_id = visit.write(lambda c: batches.make_batch(c, visit.by, plan, media, visit.now))
    except ValueError as error:
        return _batch_form(visit, visit.told, sorted(tier.sources(visit.site.workspace)), error)
    return visit.go(f"/batches/{batch_id}")


def _media(visit: Visit, plan: batches.Plan, task_type: str) -> Any:
    try:
        return batches.media_of(visit.site.workspace, plan, task_type)
    except Unfit:
        raise
    except ValueError as error:
        raise Unfit("source", str(error)) from error


def _plan(told: Any) -> batches.Plan:
    text: dict[str, Any] = {k: str(told.get(k, "")).strip() for k in ("name", "source", "goal", "uncertainty")}
    whole: dict[str, Any] = {
        k: forms.whole(told, k) for k in ("schema_id", "overlap", "max_raters", "priority", "limit")
    }
    price, budget = (forms.milli(told, k) for k in ("price", "budget"))
    minutes = float(forms.decimal(told, "head_start_min")) if forms.text(told, "head_start_min") else None
    return batches.Plan(
        **text,
        **whole,
        price_milli=price,
        budget_milli=budget,
        head_start_s=None if minutes is None else minutes * 60,
    )


def one_batch(visit: Visit, refused: ValueError | None = None) -> Response:
    batch = _batch(visit)
    given = visit.read(lambda c: annotation_work.answers_in(c, batch["id"]))
    counts = next(b for b in visit.read(annotation_work.all_batches) if b["id"] == batch["id"])
    people = {p["id"]: p["login"] for p in visit.read(annotation_people.everybody)}
    told = results.agreement_of(batch, given)
    systems = visit.read(lambda c: annotation_work.systems_in(c, batch["id"]))
    told["rankings"] = results.rankings(batch, given, systems)
    shown: dict[str, Any] = {
        "batch": {**batch, **counts},
        "told": told,
        "logins": people,
        "target": TARGET,
        "num_answers": len(given),
        "asked": worded.questions(batch["task_type"], batch["body"]),
        **items.of_batch(visit, batch),
    }
    shown |= {"form": visit.told, "lost": visit.read(lambda c: annotation_reports.of_batch(c, batch["id"]))}
    return visit.refuse("batch.html", refused, **shown) if refused else visit.page("batch.html", **shown)


def changes_batch(visit: Visit) -> Response:
    try:
        return _changes_batch(visit)
    except ValueError as error:
        return one_batch(visit, error)


def _changes_batch(visit: Visit) -> Response:
    batch = _batch(visit)
    state = str(visit.told.get("state", batch["state"]))
    if state not in ("open", "paused", "closed"):
        raise Unfit("state", f"state {state!r} is none of open, paused, closed")
    values = {"state": state, "priority": forms.whole(visit.told, "priority")}
    budget_milli = forms.milli(visit.told, "budget") if forms.text(visit.told, "budget") else None
    most = forms.whole(visit.told, "max_raters") if forms.text(visit.told, "max_raters") else None

    def change(c: Any) -> None:
        annotation_work.update_batch(c, batch["id"], **values)
        annotation_people.log(c, visit.now, visit.by, "change_batch", batch["name"], **values)
        if most is not None:
            batches.change_max_raters(c, visit.by, batch["id"], most, visit.now)
        if budget_milli is not None:
            batches.change_budget(c, visit.by, batch["id"], budget_milli, visit.now)

    visit.write(change)
    return visit.go(f"/batches/{batch['id']}")


def looks_again(visit: Visit) -> Response:
    """Asks again about the items whose media were gone and are back."""
    batch = _batch(visit)
    unshown = visit.read(lambda c: annotation_reports.unshown_items(c, batch["id"]))
    back = [i for i, clips in unshown if not media.gone(visit.site, clips)]
    visit.write(lambda c: reporting.show_again(c, visit.by, batch, back, visit.now))
    return visit.go(f"/batches/{batch['id']}")


def _batch(visit: Visit) -> dict[str, Any]:
    found = visit.read(lambda c: annotation_work.batch(c, visit.request.path_params["batch_id"]))
    if found is None:
        raise Missing
    return dict(found)


def payouts(visit: Visit, refused: ValueError | None = None, note: str = "") -> Response:
    rows = visit.read(annotation_work.ledger_rows)
    last = visit.told.get("period", results.week(visit.now - 7 * 86400))
    shown = {"rows": rows, "closed": results.closed(rows), "last": last, "note": note}
    return visit.refuse("payouts.html", refused, **shown) if refused else visit.page("payouts.html", **shown)


def closes_week(visit: Visit) -> Response:
    period = str(visit.told.get("period", "")).strip()

    def close(c: Any) -> tuple[int, bool]:
        before = results.closed(annotation_work.ledger_rows(c, period=period))
        return results.close_week(c, visit.by, period, visit.now), bool(before)

    try:
        num, closed_before = visit.write(close)
    except ValueError as error:
        return payouts(visit, Unfit("period", str(error)))
    if not num:
        return payouts(
            visit, note=f"{period} is closed already" if closed_before else f"Nobody is owed anything for {period}"
        )
    return visit.go("/payouts")


def payout_file(visit: Visit) -> Response:
    period = visit.request.path_params["period"]
    results.bounds(period)
    rows = visit.read(lambda c: annotation_work.ledger_rows(c, period=period))
    if rows and not results.closed(rows):
        raise ValueError(f"{period} is not closed yet; so far it has corrections of earlier weeks alone")
    return items.csv(results.payout_csv(rows), f"pay-{period}")


def log(visit: Visit) -> Response:
    """Newest first, a page at a time; a page begins before a line, so that what is logged meanwhile moves nothing."""
    before = _id(visit.request.query_params.get("before", ""))
    rows = visit.read(lambda c: annotation_people.log_rows(c, LOG_PAGE + 1, before=before))
    return visit.page("log.html", rows=rows[:LOG_PAGE], before=before, more=len(rows) > LOG_PAGE)


def description(visit: Visit) -> Response:
    """What the app takes and gives, for who writes a client of it."""
    return JSONResponse(with_security(visit.request.app))


def _id(told: str) -> int:
    """Of an address; 0, which nothing has, for what is no number."""
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0
