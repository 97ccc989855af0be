"""Passwords anew: by a link that an administrator made, or by who knows the old one."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from dashboards.annotation.people import people
from dashboards.annotation.visit import Missing, Visit, keep_session
from store import annotation_people
from tasks.annotation import sign_in


def allows_reset(visit: Visit) -> Response:
    person_id = visit.request.path_params["person_id"]
    if visit.read(lambda c: annotation_people.person(c, person_id=person_id)) is None:
        raise Missing
    token = visit.write(lambda c: sign_in.allow_reset(c, visit.by, person_id, visit.now))
    return people(visit, reset_link=f"{visit.site.address}/reset/{token}")


def revokes(visit: Visit) -> Response:
    token_sha256 = visit.request.path_params["invitation"]
    if len(token_sha256) != 64 or not token_sha256.isalnum():
        raise Missing
    if not visit.write(lambda c: sign_in.revoke(c, visit.by, token_sha256, visit.now)):
        raise Missing
    return visit.go("/people")


def reset_page(visit: Visit) -> Response:
    return visit.page("reset.html", login=_resets(visit)["login"])


def resets(visit: Visit) -> Response:
    login, token = _resets(visit)["login"], visit.request.path_params["key"]
    try:
        hashed = sign_in.checked_password(str(visit.told.get("password", "")))
        visit.write(lambda c: sign_in.reset(c, token, hashed, visit.now))
    except ValueError as error:
        return visit.page("reset.html", status=422, login=login, why=str(error))
    return visit.go("/sign-in")


def _resets(visit: Visit) -> dict[str, Any]:
    token_sha256 = sign_in.digest(visit.request.path_params["key"])
    found = visit.read(lambda c: annotation_people.reset_of(c, token_sha256, visit.now))
    if found is None:
        raise Missing
    return dict(found)


def password_page(visit: Visit) -> Response:
    return visit.page("password.html")


def changes_password(visit: Visit) -> Response:
    """The old one is asked for, and guessing it is throttled as at the door: a cookie alone takes no account over."""
    login, old = visit.person["login"], str(visit.told.get("old", ""))
    try:
        visit.read(lambda c: sign_in.open_allowed(c, login, visit.address, visit.now))
    except sign_in.Throttled:
        return visit.page("password.html", status=429, why="too many tries. Wait fifteen minutes")
    person = visit.read(lambda c: annotation_people.person(c, person_id=visit.by))
    if not sign_in.check_password(login, old, person["password_hash"]):
        visit.write(lambda c: sign_in.failed(c, login, visit.address, visit.now))
        return visit.page("password.html", status=422, why="the old password is not right")
    try:
        hashed = sign_in.checked_password(str(visit.told.get("password", "")))
    except ValueError as error:
        return visit.page("password.html", status=422, why=str(error))

    def change(c: Any) -> sign_in.Opened:
        sign_in.put_password(c, person, hashed, "change_password", visit.now)
        return sign_in.open_session(c, visit.by, visit.now)

    opened = visit.write(change)
    response = visit.go("/")
    keep_session(response, visit, opened)
    return response
