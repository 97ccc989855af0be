"""How often a claim and an answer wait for PostgreSQL, once their statements are prepared."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from store import annotation_people
from store.annotation_database import Database
from tasks.annotation import desk, sign_in
from tests.annotators import Crew, clips, rated

MOST = {"session": 1, "claim": 3, "answer": 4, "deciding answer": 4}
"""A claim: begin, what is held and what work there is; the next item; the lease and the commit. An answer: begin and its
assignment; the time of others; the answer and its item; what follows and the commit."""


@pytest.fixture
def crew(postgres_url: str) -> Iterator[Crew]:
    made = Crew(Database(postgres_url))
    yield made
    made.database.close()


def test_statements_that_need_no_answer_wait_together(crew: Crew) -> None:
    schema = crew.schema()
    people = [crew.person(name) for name in ("one", "two")]
    crew.batch(schema, clips(40), overlap=2)
    for person in people:
        crew.ready(person, schema)
    sessions = [crew.database.write(lambda c, p=p: sign_in.open_session(c, p["id"], time.time())) for p in people]
    rng, seen = random.Random(0), []

    def waits() -> int:
        with crew.database.engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            return int(raw.num_waits)

    def counted(name: str, work: Any) -> Any:
        before = waits()
        made = work()
        seen.append((name, waits() - before))
        return made

    for i in range(15):
        for k, (person, session) in enumerate(zip(people, sessions, strict=True)):
            digest = sign_in.digest(session.token)
            counted(
                "session", lambda d=digest: crew.database.read(lambda c: annotation_people.session(c, d, time.time()))
            )
            now = 1_700_000_000.0 + 10 * i
            (held,) = counted("claim", lambda p=person, n=now: crew.database.write(
                lambda c: desk.claim(c, p, n, rng, 1), lasting=False))  # fmt: skip
            name = "deciding answer" if k else "answer"
            counted(
                name, lambda p=person, h=held, n=now: crew.submit(p, h["token"], rated(3), n + 5, key=h["token"][:16])
            )
    steady = seen[-40:]
    for name, most in MOST.items():
        found = sorted(num for what, num in steady if what == name)
        assert found[len(found) // 2] == most, (name, found)
