"""Passwords, sessions and invitations. Tokens are kept as hashes: who reads the database can't use them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from store import annotation_people as people
from store.workspace import Workspace

SESSION_S = 12 * 3600.0
ROTATE_S = 3600.0
GRACE_S = 60.0
"""After a rotation the old token lives on for requests that were already on their way."""
INVITATION_S = 7 * 86400.0
RESET_S = 86400.0
WINDOW_S = 900.0
MAX_FAILURES = {"login": 5, "address": 30}
MIN_PASSWORD = 10
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")


class Throttled(Exception):  # noqa: N818 - the door is closed for a while
    """Too many failures lately."""


@dataclass(frozen=True)
class Opened:
    """A new session: the token for the cookie, and the token that forms carry."""

    token: str
    csrf: str


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def check_password(login: str, password: str, hashed: str | None) -> bool:
    """Takes as long for an unknown login as for a wrong password."""
    from argon2.exceptions import VerificationError

    try:
        return _hasher().verify(hashed or _nobody(), password) and hashed is not None
    except VerificationError:
        return False


def open_allowed(c: Any, login: str, address: str, now: float) -> None:
    """Raises Throttled after 5 failures of a login or 30 of an address within 15 minutes."""
    for kind, value in (("login", login), ("address", address)):
        if people.count_failures(c, f"{kind}:{value}", now - WINDOW_S) >= MAX_FAILURES[kind]:
            raise Throttled(kind)


def failed(c: Any, login: str, address: str, now: float) -> None:
    people.add_failure(c, [f"login:{login}", f"address:{address}"], now, WINDOW_S)
    people.log(c, now, None, "sign_in_failed", login, address=address)


def open_session(c: Any, person_id: int, now: float, csrf: str = "") -> Opened:
    """A session with a token that nobody chose before."""
    made = Opened(secrets.token_urlsafe(32), csrf or secrets.token_urlsafe(24))
    people.add_session(c, digest(made.token), person_id, made.csrf, now, now + SESSION_S)
    return made


def rotated(c: Any, session: Mapping[str, Any], now: float) -> Opened | None:
    """A new token for the cookie. That of forms stays: a page that is open for hours goes on sending it. None where the
    session has just ended, by signing out or by a new password: it is not to live on under another token."""
    if people.session(c, str(session["token_sha256"]), now) is None:
        return None
    people.end_sessions(c, now + GRACE_S, token_sha256=str(session["token_sha256"]))
    return open_session(c, int(session["person_id"]), now, str(session["csrf"]))


def invite(c: Any, by: int | None, role: str, region: str, now: float) -> str:
    """A token that makes one account of a role, once, within a week. Raises ValueError for an unknown role or region."""
    from store.annotation import ROLES

    if role not in ROLES:
        raise ValueError(f"role {role!r} is none of {', '.join(ROLES)}")
    if region not in people.regions_by_name(c):
        raise ValueError(f"region {region!r} does not exist; add it first")
    token = secrets.token_urlsafe(24)
    people.add_invitation(c, digest(token), role, region, now + INVITATION_S)
    people.log(c, now, by, "invite", role, region=region)
    return token


def join(c: Any, token: str, login: str, password_hash: str, now: float) -> int:
    """Makes the invited account. Raises ValueError for an invitation that is used or too old, and a login that is taken."""
    invited = people.invitation(c, digest(token), now)
    if invited is None:
        raise ValueError("this invitation is used or too old; ask for another")
    if people.person(c, login=login):
        raise ValueError(f"login {login!r} is taken; choose another")
    person_id = people.add_person(c, login, password_hash, invited["role"], invited["region"], now)
    if not people.use_invitation(c, digest(token), person_id):
        raise ValueError("this invitation is used or too old; ask for another")
    people.log(c, now, person_id, "join", login, role=invited["role"])
    return person_id


def checked_account(login: str, password: str) -> str:
    """The password's hash. Raises ValueError for a login or password that won't do."""
    if not _LOGIN.fullmatch(login):
        raise ValueError("a login has 2 to 40 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit")
    return checked_password(password)


def checked_password(password: str) -> str:
    """The password's hash. Raises ValueError for one that is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= 200:
        raise ValueError(f"a password has {MIN_PASSWORD} to 200 characters")
    return str(_hasher().hash(password))


def revoke(c: Any, by: int, token_sha256: str, now: float) -> bool:
    """Whether an invitation was open, which it is no more."""
    found = next((i for i in people.open_invitations(c, now) if i["token_sha256"] == token_sha256), None)
    if found is None:
        return False
    people.end_invitation(c, token_sha256, now)
    people.log(c, now, by, "revoke_invitation", found["role"], region=found["region"])
    return True


def allow_reset(c: Any, by: int, person_id: int, now: float) -> str:
    """A token that lets a person choose a password anew, once, within a day. Raises ValueError for who is shut out."""
    person = people.person(c, person_id=person_id)
    if person is None or not person["active"]:
        raise ValueError(f"person {person_id} is shut out; let the person in before making a link")
    token = secrets.token_urlsafe(24)
    people.put_reset(c, digest(token), person_id, now + RESET_S)
    people.log(c, now, by, "allow_reset", person["login"])
    return token


def reset(c: Any, token: str, password_hash: str, now: float) -> None:
    """Uses a link. Raises ValueError for one that is used, replaced or too old."""
    person = people.reset_of(c, digest(token), now)
    if person is None or not people.end_resets(c, person["id"]):
        raise ValueError("this link is used or too old; ask for another")
    put_password(c, person, password_hash, "reset_password", now)
    people.forget_failures(c, f"login:{person['login']}")


def put_password(c: Any, person: Mapping[str, Any], password_hash: str, action: str, now: float) -> None:
    """Who knew the old password is out: all sessions end, and so do links to reset it."""
    people.update_person(c, person["id"], password_hash=password_hash)
    people.end_sessions(c, now, person_id=person["id"])
    people.end_resets(c, person["id"])
    people.log(c, now, person["id"], action, person["login"])


def workspace_secret(workspace: Workspace) -> bytes:
    """Signs the addresses of clips and the names of raters in exports; made once per workspace."""
    held = workspace.ledger.setting("annotation_secret", "")
    if not held:
        workspace.ledger.set_setting("annotation_secret", secrets.token_hex(32))
        held = workspace.ledger.setting("annotation_secret", "")
    return bytes.fromhex(held)


def signed(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:32]


@cache
def _hasher() -> Any:
    try:
        from argon2 import PasswordHasher
    except ModuleNotFoundError as error:
        raise ValueError("annotation needs argon2; pip install argon2-cffi") from error
    return PasswordHasher()  # argon2id; its defaults are RFC 9106's low-memory choice


@cache
def _nobody() -> str:
    return str(_hasher().hash(secrets.token_urlsafe(16)))
