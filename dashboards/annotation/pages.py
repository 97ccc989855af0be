"""Pages of everybody: the way in, the guidelines, one's own standing and pay, the leaderboard."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from dashboards.annotation.visit import COOKIE, Missing, Visit, keep_session
from store import annotation_items, annotation_people, annotation_work
from tasks.annotation import calibration, desk, offered, results, sign_in, terms
from tasks.annotation.pay import MIN_AUDITED


def sign_in_page(visit: Visit) -> Response:
    return visit.page("sign_in.html")


def signs_in(visit: Visit) -> Response:
    login, password = str(visit.told.get("login", "")).strip().lower(), str(visit.told.get("password", ""))
    try:
        visit.read(lambda c: sign_in.open_allowed(c, login, visit.address, visit.now))
    except sign_in.Throttled:
        return visit.page("sign_in.html", status=429, why="Too many tries. Wait fifteen minutes.", login=login)
    person = visit.read(lambda c: annotation_people.person(c, login=login)) if login else None
    # Outside of any transaction: a check takes some 50 ms on purpose.
    right = sign_in.check_password(login, password, person["password_hash"] if person else None)
    if person is None or not right or not person["active"]:
        visit.write(lambda c: sign_in.failed(c, login, visit.address, visit.now))
        return visit.page(
            "sign_in.html", status=401, why="This login and password do not belong together.", login=login
        )
    visit.write(lambda c: annotation_people.log(c, visit.now, person["id"], "sign_in", login, address=visit.address))
    return _welcome(visit, int(person["id"]))


def _welcome(visit: Visit, person_id: int) -> Response:
    opened = visit.write(lambda c: sign_in.open_session(c, person_id, visit.now))
    response = visit.go("/")
    keep_session(response, visit, opened)
    return response


def signs_out(visit: Visit) -> Response:
    token_sha256 = str(visit.person["token_sha256"])
    visit.write(lambda c: annotation_people.end_sessions(c, visit.now, token_sha256=token_sha256))
    response = visit.go("/sign-in")
    response.delete_cookie(COOKIE)
    return response


def join_page(visit: Visit) -> Response:
    return visit.page("join.html", invited=_invited(visit), token=visit.request.path_params["token"])


def joins(visit: Visit) -> Response:
    invited, token = _invited(visit), visit.request.path_params["token"]
    login, password = str(visit.told.get("login", "")).strip().lower(), str(visit.told.get("password", ""))
    try:
        hashed = sign_in.checked_account(login, password)
        person_id = visit.write(lambda c: sign_in.join(c, token, login, hashed, visit.now))
    except ValueError as error:
        return visit.page("join.html", status=422, invited=invited, token=token, login=login, why=str(error))
    return _welcome(visit, person_id)


def _invited(visit: Visit) -> dict[str, Any]:
    token_sha256 = sign_in.digest(visit.request.path_params["token"])
    found = visit.read(lambda c: annotation_people.invitation(c, token_sha256, visit.now))
    if found is None:
        raise Missing("this invitation was used or has expired; ask who invited you for another")
    return dict(found)


def home(visit: Visit) -> Response:
    if visit.person["role"] in ("designer", "administrator"):
        return visit.go("/batches")
    if visit.person["role"] == "reviewer":
        return visit.page("review.html", waiting=visit.read(annotation_work.num_waiting_reviews))
    schemas = visit.read(lambda c: annotation_work.open_schemas(c, visit.by))
    rows = [{**s, "stage": desk.stage_of(s), "told": _stage(visit, s)} for s in schemas]
    open_to = visit.read(lambda c: offered.batches_for(c, visit.person, visit.now))
    rows = [{**row, "batches": [b for b in open_to if b.schema_id == row["id"]]} for row in rows]
    begins, waits = visit.read(lambda c: offered.waits_in(c, visit.person, schemas, open_to, visit.now))
    for row in rows:
        if (wait := waits.get(row["id"])) in ("train", "exam"):
            row["told"] += f" {_sentence(offered.WAITS[wait])}"
    why = "; ".join(dict.fromkeys(offered.WAITS[w] for w in waits.values()))
    told = visit.read(lambda c: {"num_answers": annotation_work.count_answers(c, visit.by), **_quality(c, visit.by)})
    paused = not schemas and visit.read(annotation_items.paused_work)
    return visit.page("home.html", schemas=rows, begins=begins, why=why, paused=paused, **told)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _quality(c: Any, person_id: int) -> dict[str, Any]:
    """How a person's answers agree with audits, as far as that is certain, and with the own ones to the same items."""
    me = annotation_people.person(c, person_id=person_id)
    own = annotation_work.consistency(c, person_id).get(person_id)
    return {"quality": me["quality"] if me else None, "consistency": own, "audited_from": MIN_AUDITED}


def _stage(visit: Visit, schema: dict[str, Any]) -> str:
    """One sentence: where the person stands with a schema, and why."""
    stage, round_ = desk.stage_of(schema), int(schema["round"] or 1)
    if schema["acknowledged_at"] is None:
        return "Read and acknowledge the guidelines to begin."
    if stage == calibration.QUALIFIED:
        return "You are qualified."
    if stage == calibration.BANNED:
        return f"Closed for you after {schema['failures']} failures: {schema['why']}."

    def num(c: Any, kind: str) -> int:
        return len(annotation_work.round_scores(c, visit.by, schema["id"], kind, round_))

    had = visit.read(lambda c: {kind: num(c, kind) for kind in ("train", "exam")})
    before = f"{str(schema['why']).capitalize()}. " if schema["failures"] and schema["why"] else ""
    if not schema["num_training"] + schema["num_exam"]:
        return f"{before}Ask your contact to let you go on."
    return f"{before}Training {had['train']} of {schema['num_training']}, exam {had['exam']} of {schema['num_exam']}."


def guidelines(visit: Visit) -> Response:
    return visit.page("guidelines.html", schema=_open_schema(visit))


def acknowledges(visit: Visit) -> Response:
    schema = _open_schema(visit)
    visit.write(lambda c: annotation_work.acknowledge(c, visit.by, schema["id"], visit.now))
    return visit.go("/")


def _open_schema(visit: Visit) -> dict[str, Any]:
    """A schema with open work, which is all that an annotator may see; reviewers decide items of any, designers write them."""
    wanted = visit.request.path_params["schema_id"]
    if visit.person["role"] != "annotator" and (any_ := visit.read(lambda c: annotation_work.schema(c, wanted))):
        return dict(any_)
    found = visit.read(lambda c: annotation_work.open_schemas(c, visit.by))
    schema = next((s for s in found if s["id"] == wanted), None)
    if schema is None:
        raise Missing
    return dict(schema)


def pay(visit: Visit) -> Response:
    me = {"id": visit.by, "region": visit.person["region"]}
    period = results.week(visit.now)
    now = visit.read(lambda c: results.statement(c, me, period))
    past = visit.read(lambda c: annotation_work.ledger_rows(c, person_id=visit.by))
    held = visit.read(lambda c: terms.of_region(c, me["region"], visit.now))
    return visit.page("pay.html", period=period, now=now, terms=held, past=[r for r in past if r["period"] != period])


def leaderboard(visit: Visit) -> Response:
    people = visit.read(annotation_people.everybody)
    ranked, best = results.leaderboard(people), results.top_quartile(people)
    return visit.page("leaderboard.html", ranked=ranked, best=best)
