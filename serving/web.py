"""What the server's answers have in common: errors are {"error": WHY} whoever finds them, and a session's token comes as a bearer.

The description at /api/openapi.json says the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from serving.routing import Gateway, Talk
from serving.watching import reached

MOST_BODY_BYTES = 2_000
NO_SESSION = "no session with this id and token; open one, and send Authorization: Bearer TOKEN"
TEXT = {"type": "string"}
ERRORS: dict[int | str, dict[str, Any]] = {
    told: {"description": what, "content": {"application/json": {"schema": {
        "type": "object", "required": ["error"], "properties": {"error": {**TEXT, "description": "why, in words"}},
    }}}}
    for told, what in (("4XX", "What was asked can't be"), ("5XX", "It can't be now"))
}  # fmt: skip
"""Of every path; it stands in for FastAPI's own, whose errors look otherwise."""
BEARER = {
    "parameters": [
        {"name": "Authorization", "in": "header", "required": True, "schema": TEXT, "description": "Bearer TOKEN"}
    ]
}


def taken(properties: Mapping[str, Any], *, bearer: bool = False) -> dict[str, Any]:
    """For the description: a body of JSON, all of these."""
    schema = {"type": "object", "required": list(properties), "properties": dict(properties)}
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return {**body, **BEARER} if bearer else body


def given(status: int, what: str, properties: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """For the description: an answer of JSON with these."""
    schema = {"type": "object", "required": list(properties), "properties": dict(properties)}
    return {status: {"description": what, "content": {"application/json": {"schema": schema}}}}


def refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers)


def all_alike(app: FastAPI) -> None:
    """Errors that the framework finds, a path that is not there among them, look as ours."""

    async def found(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return refused(error.status_code, f"{request.method} {request.url.path}: {error.detail}", error.headers)
        if isinstance(error, RequestValidationError):
            return refused(422, "; ".join(str(told["msg"]) for told in error.errors()))
        return refused(500, "the server failed at this; its log says why")

    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, found)


def session_of(gateway: Gateway, request: Request, session_id: str) -> Talk | None:
    """The one with this id, for whoever sends its token."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return reached(gateway, session_id, token if kind.lower() == "bearer" else None)


async def json_body(request: Request, most_bytes: int = MOST_BODY_BYTES) -> Mapping[str, Any] | None:
    """None for what is no object, too large, or not said to be JSON."""
    if "application/json" not in request.headers.get("content-type", ""):
        return None
    held = b""
    async for part in request.stream():
        held += part
        if len(held) > most_bytes:
            return None
    with suppress(ValueError):
        told = json.loads(held)
        return told if isinstance(told, dict) else None
    return None
