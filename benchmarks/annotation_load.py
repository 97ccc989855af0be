"""Many annotators at the web app at once, over HTTP, against a server in a process of its own."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.annotation_crowd import REGION
from dashboards.annotation.visit import COOKIE
from store import annotation_people, annotation_work
from store.annotation import assignments, items
from store.annotation_database import Database, database_url
from store.workspace import open_workspace
from tasks.annotation import answers, batches, sign_in

SERVER = """
import sys
import uvicorn
from dashboards.annotation.app import make_app
from dashboards.annotation.visit import Site
from store.annotation_database import Database, database_url
from store.workspace import open_workspace
workspace = open_workspace(sys.argv[1])
site = Site(workspace, Database(database_url(workspace.settings)), b"secret", "http://127.0.0.1")
server = uvicorn.Server(uvicorn.Config(make_app(site), port=0, log_level="warning", access_log=False, ws="none"))
import asyncio
async def run():
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving
asyncio.run(run())
"""


@dataclass(frozen=True)
class Load:
    num_people: int = 120
    seconds: float = 60.0
    think_s: float = 10.0
    num_items: int = 20_000


@dataclass
class Measured:
    """Latencies in seconds as the client saw them; what the database holds afterwards."""

    claims_s: list[float] = field(default_factory=list)
    submits_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    double_assignments: int = 0
    overfilled_items: int = 0
    lost_answers: int = 0

    def told(self) -> str:
        lines = ["| | n | p50 | p99 | worst |", "|---|---|---|---|---|"]
        for name, spent in (("claim", self.claims_s), ("submit", self.submits_s)):
            p50, p99, worst = (1000 * np.quantile(spent, q) for q in (0.5, 0.99, 1.0))
            lines.append(f"| {name} | {len(spent):,} | {p50:.0f} ms | {p99:.0f} ms | {worst:.0f} ms |")
        wrong = f"double assignments {self.double_assignments}, overfilled items {self.overfilled_items}"
        errors = ", ".join(f"{n} x {what}" for what, n in self.errors.items()) or "none"
        return "\n".join([*lines, "", f"{wrong}, lost answers {self.lost_answers}; errors: {errors}"])


def measure(load: Load, folder: Path) -> Measured:
    """A workspace with a batch and people who are signed in; a server; everybody at work; then a look at the tables."""
    workspace = open_workspace(folder / "workspace")
    database = Database(database_url(workspace.settings))
    try:
        sessions = database.write(lambda c: _prepared(c, load))
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder / "workspace")], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            measured = asyncio.run(_everybody(f"http://127.0.0.1:{port}", sessions, load))
        finally:
            server.terminate()
            server.communicate()
        database.read(lambda c: _checked(c, measured))
        return measured
    finally:
        database.close()


def _prepared(c: Any, load: Load) -> list[sign_in.Opened]:
    now = time.time()
    annotation_people.put_region(c, REGION)
    boss = annotation_people.add_person(c, "boss", "-", "administrator", "eu", now)
    body = answers.DEFAULTS[answers.LIKERT]
    schema = batches.make_schema(c, boss, "rated", answers.LIKERT, body, "Look.", 0, 0, now)
    span = {"start_frame": 0, "end_frame": 100, "proxy_uri": "made"}
    media = [(0.0, [{**span, "video_id": f"v{i}", "clip_id": f"c{i}"}]) for i in range(load.num_items)]
    batches.make_batch(c, boss, batches.Plan("work", schema, "made"), media, now)
    opened = []
    for i in range(load.num_people):
        key = annotation_people.add_person(c, f"person-{i}", "-", "annotator", "eu", now)
        annotation_work.acknowledge(c, key, schema, now)
        opened.append(sign_in.open_session(c, key, now))
    return opened


async def _everybody(address: str, sessions: list[sign_in.Opened], load: Load) -> Measured:
    import httpx

    measured = Measured()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=30, limits=limits) as client:
        await asyncio.gather(*(_one(client, s, load, measured, i) for i, s in enumerate(sessions)))
    return measured


async def _one(client: Any, session: sign_in.Opened, load: Load, measured: Measured, seed: int) -> None:
    rng = random.Random(seed)
    told = {"cookie": f"{COOKIE}={session.token}", "x-csrf": session.csrf}
    await asyncio.sleep(rng.uniform(0, load.think_s))  # people don't come at the same second
    ends = time.monotonic() + load.seconds
    while time.monotonic() < ends:
        claimed = await _asked(client, "/api/claim", {}, told, measured, measured.claims_s)
        tasks = claimed.get("tasks") or []
        if not tasks:
            measured.errors["nothing to do"] += 1
            return
        await asyncio.sleep(load.think_s * rng.uniform(0.5, 1.5))
        rated = {q["name"]: rng.randint(3, 4) for q in tasks[0]["questions"]}
        sent = {"token": tasks[0]["token"], "key": tasks[0]["token"][:16], "value": rated, "active_s": load.think_s}
        await _asked(client, "/api/submit", sent, told, measured, measured.submits_s)


async def _asked(
    client: Any, path: str, body: dict[str, Any], headers: dict[str, str], measured: Measured, spent: list[float]
) -> dict[str, Any]:
    began = time.perf_counter()
    response = await client.post(path, json=body, headers=headers)
    spent.append(time.perf_counter() - began)
    if response.status_code != 200:
        measured.errors[f"{response.status_code} at {path}"] += 1
        return {}
    return dict(response.json())


def _checked(c: Any, measured: Measured) -> None:
    """Counts what must not be: by the tables, not by what the server said."""
    live = assignments.c.state.in_(["leased", "answered"])
    twice = sa.select(assignments.c.item_id).where(live).group_by(assignments.c.item_id, assignments.c.person_id)
    measured.double_assignments = len(c.execute(twice.having(sa.func.count() > 1)).all())
    taken = sa.select(sa.func.count()).where(assignments.c.item_id == items.c.id, live).scalar_subquery()
    measured.overfilled_items = len(c.execute(sa.select(items.c.id).where(taken > items.c.num_wanted)).all())
    answered = c.execute(sa.select(sa.func.count()).where(assignments.c.value.is_not(None))).scalar_one()
    good = len(measured.submits_s) - sum(n for what, n in measured.errors.items() if what.endswith("submit"))
    measured.lost_answers = good - int(answered)
