"""Pages of designers and administrators: schemas, batches and their agreement, people, regions, payouts, the audit log."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from fastapi.responses import JSONResponse, Response

from dashboards.annotation import items, worded
from dashboards.annotation.description import with_security
from dashboards.annotation.visit import MAX_ID, Missing, Visit, json_object
from store import annotation_people, annotation_work
from store.annotation import ROLES
from tasks.annotation import answers, batches, calibration, money, results, sign_in
from tasks.annotation.agreement import TARGET

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
            raise ValueError(f"the questions are no JSON: {error}") from None
        num_training, num_exam = (_whole(told, k) for k in ("num_training", "num_exam"))
        name, guidelines = str(told.get("name", "")).strip(), str(told.get("guidelines", ""))
        visit.write(
            lambda c: batches.make_schema(
                c, visit.by, name, task_type, body, guidelines, num_training, num_exam, visit.now
            )
        )
    except ValueError as error:
        return visit.page(
            "schema.html", status=422, types=answers.TASK_TYPES, task_type=task_type, told=told, why=str(error)
        )
    return visit.go("/batches")


def batch_form(visit: Visit) -> Response:
    from tasks import tier

    told = {"schema_id": visit.request.query_params.get("schema", "")}
    return _batch_form(visit, told, sorted(tier.sources(visit.site.workspace)))


def _batch_form(visit: Visit, told: Any, tiers: list[str], why: str = "") -> Response:
    schemas = visit.read(annotation_work.all_schemas)
    status = 422 if why else 200
    return visit.page("batch_form.html", status=status, told=told, tiers=tiers, schemas=schemas, why=why)


def makes_batch(visit: Visit) -> Response:
    from tasks import tier

    try:
        plan = _plan(visit.told)
        schema = visit.read(lambda c: annotation_work.schema(c, plan.schema_id))
        if schema is None:
            raise ValueError("choose a schema")
        media = batches.media_of(visit.site.workspace, plan, schema["task_type"])
        batch_id = visit.write(lambda c: batches.make_batch(c, visit.by, plan, media, visit.now))
    except ValueError as error:
        return _batch_form(visit, visit.told, sorted(tier.sources(visit.site.workspace)), str(error))
    return visit.go(f"/batches/{batch_id}")


def _plan(told: Any) -> batches.Plan:
    text: dict[str, Any] = {k: str(told.get(k, "")).strip() for k in ("name", "source", "goal", "uncertainty")}
    whole: dict[str, Any] = {k: _whole(told, k) for k in ("schema_id", "overlap", "max_raters", "priority", "limit")}
    price, budget = (_decimal(told, k) for k in ("price", "budget"))
    minutes = _decimal(told, "head_start_min") if str(told.get("head_start_min", "")).strip() else None
    return batches.Plan(
        **text,
        **whole,
        price_milli=round(price * 100_000),
        budget_milli=round(budget * 100_000),
        head_start_s=None if minutes is None else minutes * 60,
    )


def one_batch(visit: Visit) -> Response:
    batch = _batch(visit)
    given = visit.read(lambda c: annotation_work.answers_in(c, batch["id"]))
    counts = next(b for b in visit.read(annotation_work.all_batches) if b["id"] == batch["id"])
    people = {p["id"]: p["login"] for p in visit.read(annotation_people.everybody)}
    told = results.agreement_of(batch, given)
    systems = visit.read(lambda c: annotation_work.systems_in(c, batch["id"]))
    told["rankings"] = results.rankings(batch, given, systems)
    shown: dict[str, Any] = {
        "logins": people,
        "target": TARGET,
        "num_answers": len(given),
        "asked": worded.questions(batch["task_type"], batch["body"]),
    }
    return visit.page("batch.html", batch={**batch, **counts}, told=told, **shown, **items.of_batch(visit, batch))


def changes_batch(visit: Visit) -> Response:
    batch = _batch(visit)
    state = str(visit.told.get("state", batch["state"]))
    if state not in ("open", "paused", "closed"):
        raise ValueError(f"state {state!r} is none of open, paused, closed")
    values = {"state": state, "priority": _whole(visit.told, "priority")}
    budget_milli = (
        round(_decimal(visit.told, "budget") * 100_000) if str(visit.told.get("budget", "")).strip() else None
    )

    most = _whole(visit.told, "max_raters") if str(visit.told.get("max_raters", "")).strip() else None

    def change(c: Any) -> None:
        annotation_work.update_batch(c, batch["id"], **values)
        annotation_people.log(c, visit.now, visit.by, "change_batch", batch["name"], **values)
        if most is not None:
            batches.change_max_raters(c, visit.by, batch["id"], most, visit.now)
        if budget_milli is not None:
            batches.change_budget(c, visit.by, batch["id"], budget_milli, visit.now)

    visit.write(change)
    return visit.go(f"/batches/{batch['id']}")


def _batch(visit: Visit) -> dict[str, Any]:
    found = visit.read(lambda c: annotation_work.batch(c, visit.request.path_params["batch_id"]))
    if found is None:
        raise Missing
    return dict(found)


def people(visit: Visit, link: str = "", reset_link: str = "") -> Response:
    everybody, regions = visit.read(annotation_people.everybody), visit.read(annotation_people.regions_by_name)
    stages, own = visit.read(annotation_work.all_qualifications), visit.read(annotation_work.consistency)
    invitations = visit.read(lambda c: annotation_people.open_invitations(c, visit.now))
    told = {"people": everybody, "regions": regions, "roles": ROLES, "stages": stages, "invitations": invitations}
    return visit.page("people.html", **told, consistency=own, link=link, reset_link=reset_link)


def invites(visit: Visit) -> Response:
    role, region = str(visit.told.get("role", "")), str(visit.told.get("region", ""))
    token = visit.write(lambda c: sign_in.invite(c, visit.by, role, region, visit.now))
    return people(visit, link=f"{visit.site.address}/join/{token}")


def changes_person(visit: Visit) -> Response:
    """Shuts a person out, or lets him in again; whoever is shut out is signed out at once."""
    person_id = visit.request.path_params["person_id"]
    if visit.read(lambda c: annotation_people.person(c, person_id=person_id)) is None:
        raise Missing
    if person_id == visit.by:
        raise ValueError("nobody shuts himself out; ask another administrator")
    active = visit.told.get("active") == "yes"

    def change(c: Any) -> None:
        annotation_people.update_person(c, person_id, active=active)
        annotation_people.log(c, visit.now, visit.by, "let_in" if active else "shut_out", f"person {person_id}")
        if not active:
            annotation_people.end_sessions(c, visit.now, person_id=person_id)

    visit.write(change)
    return visit.go("/people")


def reinstates(visit: Visit) -> Response:
    """Makes a paused or banned person qualified again, by an administrator's word; what was scored before counts no more."""
    person_id, schema_id = (visit.request.path_params[k] for k in ("person_id", "schema_id"))

    def change(c: Any) -> None:
        had = annotation_work.qualification(c, person_id, schema_id)
        if had is None:
            raise Missing
        told = {"stage": calibration.QUALIFIED, "why": "reinstated", "failures": 0, "changed_at": visit.now}
        annotation_work.put_qualification(c, person_id, schema_id, round=had["round"], **told)
        annotation_people.log(c, visit.now, visit.by, "reinstate", f"person {person_id}", schema=schema_id)

    visit.write(change)
    return visit.go("/people")


def puts_region(visit: Visit) -> Response:
    name, currency = str(visit.told.get("name", "")).strip(), money.checked(str(visit.told.get("currency", "")))
    host = str(visit.told.get("media_host", "")).strip().rstrip("/")
    if not name:
        raise ValueError("a region needs a name")
    if host and not host.startswith(("https://", "http://")):
        raise ValueError(f"media host {host!r}: an address as https://media.example.org, or nothing")
    rate, floor = _decimal(visit.told, "rate"), _decimal(visit.told, "floor")
    if rate <= 0:
        raise ValueError("a region's rate is above 0: its currency for one of a batch's price")
    minor = money.minor(Decimal(str(floor)), currency)
    told = {"name": name, "currency": currency, "hourly_floor_minor": minor, "rate": rate, "media_host": host}

    def change(c: Any) -> None:
        annotation_people.put_region(c, told, terms_from=results.bounds(results.week(visit.now))[1])
        annotation_people.log(c, visit.now, visit.by, "put_region", name, **told)

    visit.write(change)
    return visit.go("/people")


def payouts(visit: Visit) -> Response:
    rows = visit.read(annotation_work.ledger_rows)
    return visit.page("payouts.html", rows=rows, closed=results.closed(rows), last=results.week(visit.now - 7 * 86400))


def closes_week(visit: Visit) -> Response:
    period = str(visit.told.get("period", ""))
    visit.write(lambda c: results.close_week(c, visit.by, period, visit.now))
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


def _whole(told: Any, key: str) -> int:
    try:
        value = int(str(told.get(key, "")).strip())
        if not -MAX_ID < value < MAX_ID:
            raise ValueError
        return value
    except ValueError:
        raise ValueError(f"{key.replace('_', ' ')} {told.get(key, '')!r}: a whole number is needed") from None


def _decimal(told: Any, key: str) -> float:
    try:
        value = float(str(told.get(key, "")).strip() or 0)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ValueError(f"{key.replace('_', ' ')} {told.get(key, '')!r}: a number from 0 on is needed")
    return value
