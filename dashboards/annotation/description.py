"""What the web app says of itself in OpenAPI: what each route takes, who may take it, and every answer it may give.

The tests hold the running app against it: an answer that is not described here fails them.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from store.annotation import ROLES
from store.annotation_items import STATES
from store.currencies import EXPONENTS
from tasks.annotation import answers, reporting
from tasks.annotation.batches import MAX_ITEMS, MAX_RATERS
from tasks.annotation.sign_in import MIN_PASSWORD

Schema = dict[str, Any]


def _object(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    needed = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": needed}


def _whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


TEXT: Schema = {"type": "string"}
LINE: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
AMOUNT: Schema = {
    "type": "number", "minimum": 0, "exclusiveMaximum": 1_000_000_000,
    "description": "written out, as 12.50; with no more decimals than its currency has",
}  # fmt: skip
ID = _whole(1, 2**31 - 1)
WEEK: Schema = {"type": "string", "pattern": r"^\d{4}-W\d{2}$", "examples": ["2026-W01"]}

FORMS: dict[str, Schema] = {
    "/sign-in": _object({"login": TEXT, "password": TEXT}),
    "/join/{token}": _object({
        "login": {**TEXT, "pattern": "^[a-z0-9][a-z0-9._-]{1,39}$"}, "password": {**TEXT, "minLength": MIN_PASSWORD, "maxLength": 200},
    }),
    "/reset/{key}": _object({"password": {**TEXT, "minLength": MIN_PASSWORD, "maxLength": 200}}),
    "/password": _object({"old": TEXT, "password": {**TEXT, "minLength": MIN_PASSWORD, "maxLength": 200}}),
    "/people/invitations/{invitation}/revoke": _object({}),
    "/people/{person_id:int}/reset": _object({}),
    "/sign-out": _object({}),
    "/guidelines/{schema_id:int}": _object({}),
    "/batches/{batch_id:int}/review": _object({
        "item": {"oneOf": [{"enum": ["all"]}, ID], "description": "of the batch; all: every label that is doubted"},
    }),
    "/schemas/preview": _object({
        "task_type": {"enum": list(answers.TASK_TYPES)}, "name": TEXT, "body": TEXT, "guidelines": TEXT,
    }, optional=("name", "guidelines")),
    "/schemas/new": _object({
        "task_type": {"enum": list(answers.TASK_TYPES)}, "name": {**LINE, "pattern": "^[a-z_][a-z0-9_]*$"},
        "body": {**TEXT, "description": "the questions, a JSON object"}, "guidelines": LINE | {"maxLength": 100_000},
        "num_training": _whole(0, 200), "num_exam": _whole(0, 200),
    }),
    "/batches/new": _object({
        "name": LINE, "schema_id": ID, "source": {**LINE, "maxLength": 20_000, "description": "a tier, or one SELECT of clip_id"},
        "goal": {"enum": ["work", "gold"]}, "limit": _whole(1, MAX_ITEMS), "overlap": _whole(1, MAX_RATERS),
        "max_raters": _whole(1, MAX_RATERS), "priority": {"type": "integer"}, "price": AMOUNT, "budget": AMOUNT,
        "head_start_min": AMOUNT, "uncertainty": TEXT,
    }, optional=("head_start_min", "uncertainty")),
    "/batches/{batch_id:int}": _object({
        "state": {"enum": ["open", "paused", "closed"]}, "priority": {"type": "integer"}, "budget": AMOUNT,
        "max_raters": _whole(1, MAX_RATERS),
    }, optional=("budget", "max_raters")),
    "/batches/{batch_id:int}/look-again": _object({}),
    "/people/invite": _object({"role": {"enum": list(ROLES)}, "region": LINE}),
    "/people/{person_id:int}": _object({"active": {"enum": ["yes", "no"]}}),
    "/people/{person_id:int}/reinstate/{schema_id:int}": _object({}),
    "/regions": _object({
        "name": LINE, "currency": {"enum": sorted(EXPONENTS)}, "floor": AMOUNT,
        "rate": {**AMOUNT, "exclusiveMinimum": 0}, "media_host": {**TEXT, "description": "https://..., or nothing"},
    }, optional=("media_host",)),
    "/payouts": _object({"period": WEEK}),
}  # fmt: skip
"""By path: what its form carries beside `csrf`."""

QUESTION = _object(
    {
        "name": TEXT, "label": TEXT, "how": {"enum": ["one", "many", "spans", "flags"]}, "low": TEXT, "high": TEXT,
        "options": {"type": "array", "items": _object({"value": {"type": ["string", "integer"]}, "label": TEXT})},
    },
    optional=("low", "high"),
)  # fmt: skip
CLIPS: Schema = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 2}
TASK = _object({
    "token": TEXT, "kind": {"enum": ["label", "train", "exam", "review"]}, "type": {"enum": list(answers.TASK_TYPES)},
    "schema": _object({"id": ID, "name": TEXT, "version": _whole(1, 2**31)}),
    "questions": {"type": "array", "items": QUESTION, "minItems": 1},
    "duration_s": {"type": "number", "exclusiveMinimum": 0},
    "clips": CLIPS,
})  # fmt: skip
FEEDBACK = _object({"truth": {"type": "object"}, "yours": {"type": "object"}, "scores": {"type": "object"}})
VERDICT = _object(
    {
        "passed": {"type": "boolean"},
        "why": TEXT,
        "failures": {"type": "integer", "minimum": 0},
        "max_failures": {"type": "integer", "minimum": 1},
        "closed": {"type": "boolean", "description": "until an administrator reinstates the person"},
    }
)
TOKEN = {"token": {**TEXT, "description": "of a task that /api/claim gave"}}
CALLS: dict[str, tuple[Schema, Schema]] = {
    "/api/claim": (_object({}), _object({"tasks": {"type": "array", "items": TASK, "maxItems": 2}})),
    "/api/keep": (_object(TOKEN), _object({"expires_in_s": {"type": "number"}})),
    "/api/clips": (
        _object(TOKEN),
        _object({"clips": CLIPS, "gone": {"type": "boolean", "description": "the media are not there"}}),
    ),
    "/api/report": (
        _object(
            {
                **TOKEN,
                "reason": {"enum": list(reporting.REASONS)},
                "told": {**TEXT, "maxLength": reporting.MAX_TOLD},
                "active_s": {"type": "number", "minimum": 0},
            },
            optional=("told", "active_s"),
        ),
        _object({"state": {"enum": ["given_back"]}}),
    ),
    "/api/submit": (
        _object(
            {
                **TOKEN,
                "value": {"type": "object", "description": "an answer to each of the task's questions, by name"},
                "key": {**TEXT, "minLength": 8, "maxLength": 64, "description": "the same when it is sent again"},
                "active_s": {"type": "number", "minimum": 0},
            }
        ),
        _object(
            {
                "state": {"enum": ["answered", "late", "expired"]},
                "feedback": {**FEEDBACK, "description": "of a training item"},
                "verdict": {**VERDICT, "description": "with the answer that ends an exam"},
            },
            optional=("feedback", "verdict"),
        ),
    ),
}
"""By path: what is sent, and what comes back."""
ERROR = _object({"error": TEXT})

QUERIES: dict[str, Schema] = {
    "/schemas/new": {"type": {"enum": list(answers.TASK_TYPES)}, "of": ID},
    "/batches/new": {"schema": ID, "goal": {"enum": ["work", "gold"]}},
    "/log": {"before": ID},
    "/batches/{batch_id:int}": {"page": _whole(1, 2**31 - 1), "state": {"enum": list(STATES)}},
    "/batches/{batch_id:int}/answers.csv": {
        "logins": {"enum": ["yes"], "description": "for administrators: raters' own"}
    },
    "/schemas/{schema_id:int}/preview": {"tier": {**TEXT, "description": "whose first clip is shown"}},
}
PATHS: dict[str, Schema] = {
    "token": LINE,
    "key": LINE,
    "invitation": {**LINE, "description": "as the people page has it"},
    "packed": LINE,
    "period": WEEK,
    **dict.fromkeys(("schema_id", "batch_id", "person_id", "item_id"), ID),
}
REFUSED = {401: "sign in first", 403: "a form that is too old, or from elsewhere", 404: "not there, or not yours",
           413: "too much", 422: "what was sent is not allowed; it says why"}  # fmt: skip
_SHOWN_AT_ONCE = ("/people/invite", "/people/{person_id:int}/reset", "/schemas/preview", "/payouts")
"""Forms that may be answered by a page, where others send on to one."""
PAGE, JSON, CSV = "text/html", "application/json", "text/csv"


def described(method: str, path: str, roles: tuple[str, ...]) -> dict[str, Any]:
    """What FastAPI's add_api_route is told of a route beside its function."""
    told = _answers(method, path, roles)
    made: Schema = {"parameters": _parameters(method, path), "security": _security(method, roles)}
    if method == "POST":
        made["requestBody"] = _body(path, roles)
    who = f"For {', '.join(roles)}." if roles else "For everybody, signed in or not."
    own = {"summary": f"{method} {path}", "description": who, "openapi_extra": made}
    return {"responses": told, "status_code": min(told), **own}


def with_security(app: FastAPI) -> dict[str, Any]:
    """The whole description."""
    told = app.openapi()
    told["components"] = {
        "securitySchemes": {
            "session": {"type": "apiKey", "in": "cookie", "name": "headroom_session", "description": "set by /sign-in"},
            "form_token": {"type": "apiKey", "in": "header", "name": "x-csrf", "description": "as in each page's meta csrf"},
        }
    }  # fmt: skip
    return told


def _answers(method: str, path: str, roles: tuple[str, ...]) -> dict[int, Schema]:
    kind = JSON if path.startswith("/api/") else PAGE
    found: dict[int, Schema] = {}

    def add(status: int, why: str, content: str = kind, schema: Schema | None = None) -> None:
        found[status] = {"description": why, "content": {content: {"schema": schema or TEXT}}}

    if path in CALLS:
        add(200, "done", JSON, CALLS[path][1])
    elif path.endswith(".csv"):
        add(200, "a file", CSV)
    elif path == "/media/{packed}":
        add(200, "the clip", "video/mp4")
        add(206, "the bytes that were asked for", "video/mp4")
        for status in (400, 416):
            add(status, "no such range", "text/plain")
    elif path == "/openapi.json":
        add(200, "this description", JSON, {"type": "object"})
    elif method == "GET" or path in _SHOWN_AT_ONCE:
        add(200, "a page")
    if kind == PAGE and (roles or method == "POST"):
        found[303] = {"description": "done; or, without a session, to /sign-in"}
    refused = [403, 413, 422] if method == "POST" else []
    refused += [404] if roles or "{" in path else []
    refused += [401] if kind == JSON else []
    if path.endswith("pay.csv") or path in ("/media/{packed}", "/schemas/{schema_id:int}/preview"):
        refused.append(422)
    for status in refused:
        add(status, REFUSED[status], schema=ERROR if kind == JSON else TEXT)
    if (method, path) == ("POST", "/sign-in"):
        add(401, "login and password do not belong together")
    if method == "POST" and path in ("/sign-in", "/password"):
        add(429, "too many tries lately")
    return found


def _parameters(method: str, path: str) -> list[Schema]:
    names = [part.strip("{}").split(":")[0] for part in path.split("/") if part.startswith("{")]
    found = [{"name": n, "in": "path", "required": True, "schema": PATHS[n]} for n in names]
    if method == "GET":
        found += [{"name": n, "in": "query", "schema": schema} for n, schema in QUERIES.get(path, {}).items()]
    if path == "/media/{packed}":
        found.append({"name": "range", "in": "header", "schema": {**TEXT, "examples": ["bytes=0-1023"]}})
    return found


def _security(method: str, roles: tuple[str, ...]) -> list[Schema]:
    if not roles:
        return []
    return [{"session": [], "form_token": []} if method == "POST" else {"session": []}]


def _body(path: str, roles: tuple[str, ...]) -> Schema:
    kind, form = (JSON, CALLS[path][0]) if path in CALLS else ("application/x-www-form-urlencoded", FORMS[path])
    if path not in CALLS and roles:
        form = {
            **form,
            "properties": {**form["properties"], "csrf": {**TEXT, "description": "where x-csrf is not sent"}},
        }
    return {"required": bool(form["required"]), "content": {kind: {"schema": form}}}
