"""The web app over a small workspace: one person of each role, a schema of each type, clips of plain colours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from dashboards.annotation.app import make_app
from dashboards.annotation.visit import COOKIE, Site
from store import annotation_people, annotation_work
from store.annotation_database import Database
from store.workspace import Workspace
from tasks.annotation import answers, batches, sign_in
from tests.annotators import EURO
from tests.browser import Chromium, chromium
from tests.unit.conftest import annotation_database

ROLES = ("annotator", "reviewer", "designer", "administrator")
PASSWORD = "correct horse"


@dataclass
class House:
    """A site with people in it. `client` acts for one of them."""

    site: Site
    ids: dict[str, int]
    schemas: dict[str, int]

    def client(self, login: str = "") -> TestClient:
        client = TestClient(make_app(self.site), base_url="http://testserver", follow_redirects=False)
        if login:
            opened = self.site.database.write(lambda c: sign_in.open_session(c, self.ids[login], time.time()))
            client.cookies.set(COOKIE, opened.token)
            client.headers["x-csrf"] = opened.csrf
        return client

    def batch(self, task_type: str, source: str, **told: Any) -> int:
        plan = batches.Plan(
            **{"name": f"{task_type} {source}", "schema_id": self.schemas[task_type], "source": source, **told}
        )
        media = batches.media_of(self.site.workspace, plan, task_type)
        return self.site.database.write(lambda c: batches.make_batch(c, self.ids["designer"], plan, media, time.time()))


both_databases = pytest.mark.parametrize("annotation_url", ["sqlite", "postgresql"], indirect=True)
"""For pages whose queries a test of tasks/annotation does not run on both."""


@pytest.fixture
def annotation_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite, and PostgreSQL for `both_databases`: the app has no SQL of its own, and that of its tables is tested on both."""
    return annotation_database(getattr(request, "param", "sqlite"), request, tmp_path)


@cache
def hashed() -> str:
    return sign_in.checked_account("somebody", PASSWORD)


@pytest.fixture
def house(filled: Workspace, annotation_url: str, quick_sql: None) -> Iterator[House]:
    database = Database(annotation_url)
    now = time.time()

    def people(c: Any) -> tuple[dict[str, int], dict[str, int]]:
        annotation_people.put_region(c, EURO)
        ids = {r: annotation_people.add_person(c, r, hashed(), r, "eu", now) for r in ROLES}
        ids["other"] = annotation_people.add_person(c, "other", hashed(), "annotator", "eu", now)
        schemas = {
            t: batches.make_schema(c, ids["designer"], f"s_{t}", t, answers.DEFAULTS[t], "Look.", 0, 0, now)
            for t in answers.TASK_TYPES
        }
        for login in ("annotator", "other"):
            for schema in schemas.values():
                annotation_work.acknowledge(c, ids[login], schema, now)
        return ids, schemas

    ids, schemas = database.write(people)
    yield House(Site(filled, database, b"secret", "http://testserver"), ids, schemas)
    database.close()


@pytest.fixture
def address(house: House) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(make_app(house.site), port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def launched() -> Iterator[Chromium]:
    with chromium() as made:
        yield made


@pytest.fixture
def browser(launched: Chromium) -> Iterator[Chromium]:
    """The browser of this file's tests, each with pages of its own and without a complaint."""
    made = Chromium(launched.browser)
    yield made
    for context in launched.browser.contexts:
        context.close()
    assert made.complaints == []
