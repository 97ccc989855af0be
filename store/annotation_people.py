"""People, sessions, invitations and the audit log: the statements. Each runs inside a transaction of the caller's."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store.annotation import (
    assignments,
    audit_log,
    failures,
    invitations,
    people,
    region_terms,
    regions,
    resets,
    sessions,
)
from store.currencies import exponent

Row = dict[str, Any]


def person(c: Connection, *, login: str = "", person_id: int = 0) -> Row | None:
    which = people.c.login == login if login else people.c.id == person_id
    return _one(c, sa.select(people).where(which))


def everybody(c: Connection) -> list[Row]:
    query = sa.select(people, regions.c.currency).join(regions, regions.c.name == people.c.region)
    return [dict(r) for r in c.execute(query.order_by(people.c.id)).mappings()]


def add_person(c: Connection, login: str, password_hash: str, role: str, region: str, now: float) -> int:
    told = {"login": login, "password_hash": password_hash, "role": role, "region": region}
    made = c.execute(people.insert().values(**told, active=True, created_at=now))
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def update_person(c: Connection, person_id: int, **values: Any) -> None:
    c.execute(people.update().where(people.c.id == person_id).values(**values))


def regions_by_name(c: Connection) -> dict[str, Row]:
    return {r["name"]: dict(r) for r in c.execute(sa.select(regions).order_by(regions.c.name)).mappings()}


TERMS = ("currency", "hourly_floor_minor", "rate")


def put_region(c: Connection, values: Row, terms_from: float | None = None) -> None:
    """Adds a region, whose terms of pay hold at once, or changes the one of this name: its terms from `terms_from` on.

    Raises ValueError for a change of terms without a time: what was worked for is not priced anew.
    """
    had = _one(c, sa.select(regions).where(regions.c.name == values["name"]).with_for_update())
    if had is None:
        c.execute(regions.insert().values(**values))
    elif all(had[k] == values[k] for k in TERMS):
        c.execute(regions.update().where(regions.c.name == values["name"]).values(**values))
        return
    elif terms_from is None:
        raise ValueError(f"region {values['name']}: a change of {', '.join(TERMS)} needs the time from which it holds")
    else:
        c.execute(regions.update().where(regions.c.name == values["name"]).values(**values))
    since = 0.0 if had is None else terms_from
    c.execute(region_terms.insert().values(region=values["name"], valid_from=since, **{k: values[k] for k in TERMS}))


def terms(c: Connection, region: str, at: float) -> Row:
    """What held in a region at a time: `currency`, `hourly_floor_minor` and `rate`. Of all that began, what was said last."""
    query = sa.select(region_terms).where(region_terms.c.region == region, region_terms.c.valid_from <= at)
    found = _one(c, query.order_by(region_terms.c.id.desc()).limit(1))
    assert found is not None, region
    return found


def first_answer_at(c: Connection, region: str) -> float | None:
    """When somebody of a region first sent anything that time is paid for; None: nobody did."""
    query = sa.select(sa.func.min(assignments.c.submitted_at)).join(people, people.c.id == assignments.c.person_id)
    return c.execute(query.where(people.c.region == region)).scalar()


def keep_terms(c: Connection) -> None:
    """Of regions that an earlier version made: what they say has held from the first. That version took every currency's
    minor unit for a hundredth; a floor becomes what it was meant to be."""
    for region in regions_by_name(c).values():
        scale = 10.0 ** (exponent(region["currency"]) - 2)
        told = {**{k: region[k] for k in TERMS}, "hourly_floor_minor": round(region["hourly_floor_minor"] * scale)}
        c.execute(regions.update().where(regions.c.name == region["name"]).values(**told))
        c.execute(region_terms.insert().values(region=region["name"], valid_from=0.0, **told))


def add_session(c: Connection, token_sha256: str, person_id: int, csrf: str, now: float, expires_at: float) -> None:
    times = {"created_at": now, "rotated_at": now, "expires_at": expires_at}
    c.execute(sessions.insert().values(token_sha256=token_sha256, person_id=person_id, csrf=csrf, **times))


_SESSION = (
    sa.select(sessions, people.c.login, people.c.role, people.c.region, people.c.quality, regions.c.media_host)
    .join(people, people.c.id == sessions.c.person_id)
    .join(regions, regions.c.name == people.c.region)
    .where(sessions.c.token_sha256 == sa.bindparam("token"), sessions.c.expires_at > sa.bindparam("now"))
    .where(people.c.active)
)


def session(c: Connection, token_sha256: str, now: float) -> Row | None:
    """The session with its person; None when it ended, or the person may not work here any more."""
    row = c.execute(_SESSION, {"token": token_sha256, "now": now}).mappings().one_or_none()
    return dict(row) if row else None


def end_sessions(c: Connection, at: float, *, token_sha256: str = "", person_id: int = 0) -> None:
    """One session, or all of a person's, end at `at` at the latest."""
    which = sessions.c.token_sha256 == token_sha256 if token_sha256 else sessions.c.person_id == person_id
    c.execute(sessions.update().where(which, sessions.c.expires_at > at).values(expires_at=at))


def add_invitation(c: Connection, token_sha256: str, role: str, region: str, expires_at: float) -> None:
    c.execute(invitations.insert().values(token_sha256=token_sha256, role=role, region=region, expires_at=expires_at))


def invitation(c: Connection, token_sha256: str, now: float) -> Row | None:
    """One that is open: neither used nor too old."""
    open_ = (invitations.c.token_sha256 == token_sha256) & (invitations.c.expires_at > now)
    return _one(c, sa.select(invitations).where(open_, invitations.c.used_by.is_(None)))


def use_invitation(c: Connection, token_sha256: str, person_id: int) -> bool:
    """Whether it was still unused; of two who use it at once, one is told no."""
    unused = (invitations.c.token_sha256 == token_sha256) & invitations.c.used_by.is_(None)
    return c.execute(invitations.update().where(unused).values(used_by=person_id)).rowcount == 1


def open_invitations(c: Connection, now: float) -> list[Row]:
    open_ = (invitations.c.expires_at > now) & invitations.c.used_by.is_(None)
    return [
        dict(r) for r in c.execute(sa.select(invitations).where(open_).order_by(invitations.c.expires_at)).mappings()
    ]


def end_invitation(c: Connection, token_sha256: str, now: float) -> None:
    c.execute(invitations.update().where(invitations.c.token_sha256 == token_sha256).values(expires_at=now))


def put_reset(c: Connection, token_sha256: str, person_id: int, expires_at: float) -> None:
    """The person's only one: a link of before opens nothing any more."""
    end_resets(c, person_id)
    c.execute(resets.insert().values(token_sha256=token_sha256, person_id=person_id, expires_at=expires_at))


def reset_of(c: Connection, token_sha256: str, now: float) -> Row | None:
    """Whose password an open link resets; None for one that is used, replaced or too old, and of who is shut out."""
    query = sa.select(people).join(resets, resets.c.person_id == people.c.id).where(people.c.active)
    return _one(c, query.where(resets.c.token_sha256 == token_sha256, resets.c.expires_at > now))


def end_resets(c: Connection, person_id: int) -> int:
    return int(c.execute(resets.delete().where(resets.c.person_id == person_id)).rowcount)


def forget_failures(c: Connection, what: str) -> None:
    c.execute(failures.delete().where(failures.c.what == what))


def count_failures(c: Connection, what: str, since: float) -> int:
    query = sa.select(sa.func.count()).select_from(failures).where(failures.c.what == what, failures.c.at > since)
    return int(c.execute(query).scalar_one())


def add_failure(c: Connection, whats: list[str], now: float, keep_s: float) -> None:
    c.execute(failures.delete().where(failures.c.at < now - keep_s))
    c.execute(failures.insert(), [{"what": what, "at": now} for what in whats])


def log(c: Connection, at: float, person_id: int | None, action: str, object_: str, **detail: Any) -> None:
    told = {"action": action, "object": object_, "detail": json.dumps(detail, sort_keys=True)}
    c.execute(audit_log.insert().values(at=at, person_id=person_id, **told))


def log_rows(c: Connection, limit: int = 200, *, before: int = 0) -> list[Row]:
    """The latest of the log, newest first; with `before`, of what was written before the line of that id."""
    query = sa.select(audit_log, people.c.login).outerjoin(people, people.c.id == audit_log.c.person_id)
    query = query.where(audit_log.c.id < before) if before else query
    return [dict(r) for r in c.execute(query.order_by(audit_log.c.id.desc()).limit(limit)).mappings()]


def _one(c: Connection, query: Any) -> Row | None:
    row = c.execute(query).mappings().one_or_none()
    return dict(row) if row else None
