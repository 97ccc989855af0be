"""The running app against what it says of itself: whatever is sent, by whomever, gets an answer that is described there."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from dashboards.annotation.app import ROUTES, make_app
from dashboards.annotation.visit import COOKIE
from store import annotation_people, annotation_work
from store.annotation import failures
from tasks.annotation import answers, sign_in
from tests.annotators import rated
from tests.unit.dashboards.annotation.conftest import PASSWORD, ROLES, House

HELD_AGAINST = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
NUM_EXAMPLES = 6
EVERYBODY = ("", *ROLES)


def signed_in(house: House) -> dict[str, dict[str, Any]]:
    """What each sends with a request. Anew: the calls before may have signed them out, or shut them out."""

    def work(c: Any) -> dict[str, sign_in.Opened]:
        c.execute(failures.delete())
        for key in house.ids.values():
            annotation_people.update_person(c, key, active=True)
        return {role: sign_in.open_session(c, house.ids[role], time.time()) for role in ROLES}

    opened = house.site.database.write(work)
    sent = {role: {"cookies": {COOKIE: o.token}, "headers": {"x-csrf": o.csrf}} for role, o in opened.items()}
    return {"": {}, **sent}


def real(house: House) -> dict[str, dict[str, Any]]:
    """Names of things that are there, by where they are sent: what is made at random would hardly ever meet one."""
    boss, annotator = house.client("administrator"), house.client("annotator")
    banned = {"stage": "banned", "round": 3, "failures": 3, "why": "exam not passed", "changed_at": 0.0}
    house.site.database.write(lambda c: annotation_work.put_qualification(c, house.ids["other"], 1, **banned))
    link = re.search(r"/join/([\w-]+)", boss.post("/people/invite", data={"role": "annotator", "region": "eu"}).text)
    assert link is not None
    key = house.site.database.write(
        lambda c: sign_in.allow_reset(c, house.ids["administrator"], house.ids["other"], time.time())
    )
    boss.post("/people/invite", data={"role": "reviewer", "region": "eu"})
    open_ = house.site.database.read(lambda c: annotation_people.open_invitations(c, time.time()))
    decided, task = annotator.post("/api/claim", json={}).json()["tasks"]
    told = {"token": decided["token"], "value": rated(3), "key": "a-key-of-mine", "active_s": 3}
    assert annotator.post("/api/submit", json=told).status_code == 200
    house.batch("likert", "t_wide", name="more")
    next_ = annotator.post("/api/claim", json={}).json()["tasks"][-1]
    assert next_["token"] != task["token"]
    packed = urlsplit(task["clips"][0]).path.removeprefix("/media/")
    ids = {"schema_id": house.schemas["likert"], "batch_id": 1, "person_id": house.ids["other"], "item_id": 1}
    likert = {"schema_id": ids["schema_id"], "task_type": "likert", "body": json.dumps(answers.DEFAULTS["likert"])}
    form = {"region": "eu", "source": "t_wide", "uncertainty": "", "media_host": "", "overlap": 1, "item": 1, **likert}
    form |= {"floor": "13", "price": "0.05", "budget": "10", "told": "it stutters", "tier": "t_wide"}
    return {
        "path": {**ids, "packed": packed, "token": link.group(1), "key": key, "invitation": open_[-1]["token_sha256"]},
        "body": {**form, "token": task["token"], "value": rated(3)},
        "/api/report": {"token": next_["token"]},
        "/sign-in": {"login": "reviewer", "password": PASSWORD},
        "/password": {"old": PASSWORD, "password": PASSWORD},
    }


def aimed(case: schemathesis.Case, there: dict[str, dict[str, Any]]) -> None:
    case.path_parameters = {k: there["path"].get(k, v) for k, v in (case.path_parameters or {}).items()}
    known = {**there["body"], **there.get(case.path, {})}
    if isinstance(case.body, dict):
        case.body = {k: known.get(k, v) for k, v in case.body.items()}


def test_whatever_is_sent_by_whomever_gets_an_answer_that_is_described(house: House) -> None:
    house.batch("likert", "t_wide", overlap=1, max_raters=1)
    there = real(house)
    told = house.client("designer").get("/openapi.json").json()
    assert told["components"]["securitySchemes"]["session"]["name"] == COOKIE
    schema = schemathesis.openapi.from_dict(told)
    schema.app = make_app(house.site)
    schema.config.generation.update(with_security_parameters=False)
    allowed = {(m, re.sub(":int", "", p)): roles or EVERYBODY for m, p, roles, _ in ROUTES}
    met: Counter[tuple[str, int]] = Counter()
    never_done = set()

    def hold(operation: Any, mode: GenerationMode, roles: tuple[str, ...]) -> set[int]:
        people, statuses = signed_in(house), set()

        @settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(
            operation.as_strategy(generation_mode=mode),
            st.sampled_from((*roles, *roles, *EVERYBODY)),
            st.sampled_from([True, True, False]),
        )
        def one(case: schemathesis.Case, role: str, hit: bool) -> None:
            if hit:
                aimed(case, there)
            reply = case.call(**people[role], allow_redirects=False, timeout=120)
            case.validate_response(reply, checks=HELD_AGAINST)
            assert "default-src 'self'" in reply.headers["content-security-policy"][0]
            met[role, reply.status_code] += 1
            if role in roles:
                statuses.add(reply.status_code)

        one()
        return statuses

    for result in schema.get_all_operations():
        operation = result.ok()
        takes = bool(list(operation.iter_parameters()) or list(operation.body))
        modes = tuple(GenerationMode) if takes else (GenerationMode.POSITIVE,)
        found = set[int]().union(
            *(hold(operation, m, allowed[operation.method.upper(), operation.path]) for m in modes)
        )
        if not found & {200, 303}:
            never_done.add(f"{operation.method} {operation.path}: {found}")
    assert never_done == set(), "nothing that was sent there was ever right"
    assert {status for _, status in met} >= {200, 206, 303, 400, 401, 404, 422}
    assert all(met[role, 200] for role in ROLES), met
