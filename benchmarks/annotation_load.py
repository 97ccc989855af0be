"""Many annotators at the web app at once, over HTTP, against `headroom annotate`'s server in a process of its own.

Three runs, one after the other on one database: everybody with a time to think, first without media and then fetching each
clip by ranges; a fixed rate of requests whatever the answers take; and short thinking while the server is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.annotation_crowd import REGION
from benchmarks.annotation_http import Line, Reply
from dashboards import clip_media
from dashboards.annotation.visit import COOKIE
from store import annotation_people, annotation_work
from store.annotation import assignments, items
from store.annotation_database import Database, database_url
from store.workspace import Workspace, open_workspace
from tasks.annotation import answers, batches, sign_in

SERVER = """
import sys
from dashboards.annotation.serve import serve
from store.workspace import open_workspace
serve(open_workspace(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""
CLAIM_MS = {0.5: 10.0, 0.99: 150.0}
RATE_P99_MS = 300.0
CHUNK = 65_536
"""Bytes of a range: a browser asks for the beginning, then for the rest."""
STARTS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Load:
    num_people: int = 120
    seconds: float = 35.0
    """Of each of the two runs with a time to think, and of the one at a fixed rate."""
    think_s: float = 10.0
    num_items: int = 20_000
    rate_hz: float = 150.0
    """Requests a second, claims and submits in turn; 0 leaves the run out."""
    num_kills: int = 20
    num_clips: int = 10
    """Different ones, which annotators fetch. Each is cut from its proxy when it is first asked for, here before anything is
    measured. 0 leaves out the run with media."""


@dataclass
class Run:
    """One run as the clients saw it. Latencies in seconds, at a fixed rate from when a request was due."""

    name: str
    claims_s: list[float] = field(default_factory=list)
    submits_s: list[float] = field(default_factory=list)
    ranges_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    load_average: float = 0.0
    """Of the machine over the last minute, when the run ended."""

    def rows(self) -> Iterator[str]:
        for what, spent in (("claim", self.claims_s), ("submit", self.submits_s), ("range", self.ranges_s)):
            if spent:
                p50, p99, worst = (1000 * np.quantile(spent, q) for q in (0.5, 0.99, 1.0))
                yield f"| {self.name} | {what} | {len(spent):,} | {p50:.1f} ms | {p99:.0f} ms | {worst:.0f} ms | {self.load_average:.1f} |"


@dataclass
class Measured:
    """All runs, and what the database holds afterwards."""

    database: str
    runs: list[Run] = field(default_factory=list)
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By token, the answers that the server said it has."""
    num_kills: int = 0
    double_assignments: int = 0
    overfilled_items: int = 0
    lost_answers: int = 0

    def told(self) -> str:
        lines = [f"| {self.database} | | n | p50 | p99 | worst | load |", "|---|---|---|---|---|---|---|"]
        lines += [row for run in self.runs for row in run.rows()]
        wrong = f"double assignments {self.double_assignments}, overfilled items {self.overfilled_items}"
        lost = f"lost answers {self.lost_answers} of {len(self.acknowledged):,} acknowledged, {self.num_kills} kills"
        errors = ", ".join(f"{n} x {what}" for run in self.runs for what, n in run.errors.items()) or "none"
        return "\n".join([*lines, "", f"{wrong}, {lost}; errors: {errors}"])

    def beyond(self) -> list[str]:
        """What is above its limit; empty when all is well."""
        found = [f"{run.name}: {n} x {what}" for run in self.runs for what, n in run.errors.items()]
        for name, num in (
            ("double assignments", self.double_assignments),
            ("overfilled items", self.overfilled_items),
            ("lost answers", self.lost_answers),
        ):
            found += [f"{num} {name}, allowed 0"] if num else []
        for run in self.runs:
            limits = {0.99: RATE_P99_MS} if run.name == "rate" else CLAIM_MS if run.name != "kills" else {}
            spent = [*run.claims_s, *run.submits_s] if run.name == "rate" else run.claims_s
            for quantile, most in limits.items():
                took = 1000 * float(np.quantile(spent, quantile)) if spent else float("inf")
                if took >= most:
                    found.append(f"{run.name}: p{100 * quantile:.0f} {took:.1f} ms, wanted under {most:g} ms")
        return found


def measure(load: Load, folder: Path, database: str = "sqlite") -> Measured:
    """A workspace with a batch and people who are signed in; a server; everybody at work; then a look at the tables.

    The workspace's annotation database is where its settings say: `database` only names it.
    """
    workspace = open_workspace(folder / "workspace")
    opened = Database(database_url(workspace.settings))
    try:
        sessions = opened.write(lambda c: _prepared(c, load, _clip(workspace) if load.num_clips else "made"))
        measured = Measured(database)
        with _served(folder / "workspace") as server:
            asyncio.run(_everything(server, sessions, load, measured))
        opened.read(lambda c: _checked(c, measured))
        return measured
    finally:
        opened.close()


class Server:
    """The web app on a port of its own, started again there as often as it is killed."""

    def __init__(self, workspace: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._command = [sys.executable, "-c", SERVER, str(workspace), str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, start_new_session=True)
        self._groups.append(self._process.pid)

    async def ready(self) -> None:
        """Raises TimeoutError when the port does not open within a minute, RuntimeError when the server ended."""
        until = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}; its own words are above")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return
        raise TimeoutError(f"port {self.port} did not open within {STARTS_WITHIN_S:g} s")

    def stop(self, how: int) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait()
        self._process = None

    def end(self) -> None:
        """With what servers left behind: each has a process that delivers labels, and may be at it still."""
        self.stop(signal.SIGTERM)
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@contextmanager
def _served(workspace: Path) -> Iterator[Server]:
    server = Server(workspace)
    server.start()
    try:
        yield server
    finally:
        server.end()


def _clip(workspace: Workspace) -> str:
    """Key of a proxy of ten seconds, drawn, with sound."""
    import ffmpeg

    out = workspace.settings.workspace / "load.mp4"
    picture = ffmpeg.input("testsrc2=size=960x540:rate=25", f="lavfi", t=10)
    sound = ffmpeg.input("sine=frequency=300", f="lavfi", t=10)
    told = {"vcodec": "libx264", "preset": "ultrafast", "pix_fmt": "yuv420p", "acodec": "aac"}
    clip_media.run(ffmpeg.output(picture, sound, str(out), **told))
    return workspace.objects.put(out, "proxies/load.mp4")


def _prepared(c: Any, load: Load, proxy: str) -> list[sign_in.Opened]:
    now = time.time()
    annotation_people.put_region(c, REGION)
    boss = annotation_people.add_person(c, "boss", "-", "administrator", "eu", now)
    body = answers.DEFAULTS[answers.LIKERT]
    schema = batches.make_schema(c, boss, "rated", answers.LIKERT, body, "Look.", 0, 0, now)
    media = []
    for i in range(load.num_items):
        start = 3 * (i % max(1, load.num_clips))
        span = {"start_frame": start, "end_frame": start + 100, "proxy_uri": proxy}
        media.append((0.0, [{**span, "video_id": f"v{i}", "clip_id": f"c{i}"}]))
    batches.make_batch(c, boss, batches.Plan("work", schema, "made"), media, now)
    opened = []
    for i in range(load.num_people):
        key = annotation_people.add_person(c, f"person-{i}", "-", "annotator", "eu", now)
        annotation_work.acknowledge(c, key, schema, now)
        opened.append(sign_in.open_session(c, key, now))
    return opened


@dataclass
class Person:
    """Somebody at the web app: a connection, and the item at hand."""

    line: Line
    rng: random.Random
    task: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    """What was sent for it and not acknowledged yet: it is sent again as it is."""

    async def claim(self) -> Reply:
        reply = await self.line.post("/api/claim", {})
        tasks = reply.told().get("tasks") if reply.status == 200 else None
        self.task, self.answer = (tasks[0] if tasks else None), None
        return reply

    async def submit(self, acknowledged: dict[str, dict[str, Any]]) -> Reply:
        assert self.task is not None
        if self.answer is None:
            rated = {q["name"]: self.rng.randint(1, 5) for q in self.task["questions"]}
            token = self.task["token"]
            self.answer = {"token": token, "key": token[:16], "value": rated, "active_s": 5.0}
        reply = await self.line.post("/api/submit", self.answer)
        if reply.status == 200:
            acknowledged[self.answer["token"]] = self.answer["value"]
            self.task = None
        return reply

    async def look(self, run: Run) -> None:
        """Fetches the clip as a browser does: its beginning, then the rest."""
        assert self.task is not None
        start, total = 0, 1
        while start < total:
            began = time.perf_counter()
            end = CHUNK - 1 if start == 0 else total - 1
            reply = await self.line.get(self.task["clips"][0], {"range": f"bytes={start}-{end}"})
            run.ranges_s.append(time.perf_counter() - began)
            if reply.status != 206 or not reply.body:
                run.errors[f"{reply.status} at /media"] += 1
                return
            start, total = start + len(reply.body), int(reply.headers["content-range"].rpartition("/")[2])


async def _everything(server: Server, sessions: list[sign_in.Opened], load: Load, measured: Measured) -> None:
    await server.ready()
    people = []
    for i, session in enumerate(sessions):
        headers = {"cookie": f"{COOKIE}={session.token}", "x-csrf": session.csrf}
        people.append(Person(Line("127.0.0.1", server.port, headers), random.Random(i)))
    await _warmed_up(people, load, measured)
    for name in ("thinking", *(["with media"] if load.num_clips else [])):
        measured.runs.append(run := Run(name))
        await _thinking(run, people, load.seconds, load, measured)
    if load.rate_hz:
        measured.runs.append(run := Run("rate"))
        await _at_a_rate(run, people, load, measured)
    if load.num_kills:
        measured.runs.append(run := Run("kills"))
        await _killed(server, run, people, load, measured)
    for person in people:
        await person.line.close()
    for run in measured.runs:
        if not run.claims_s or not run.submits_s:
            run.errors["nobody got anything done"] += 1


async def _warmed_up(people: list[Person], load: Load, measured: Measured) -> None:
    """The first of each statement is built, and clips are cut."""
    for person in people[: max(8, 4 * load.num_clips)]:
        await person.claim()
        if load.num_clips and person.task:
            await person.look(Run("warm up"))
        await person.submit(measured.acknowledged)


async def _thinking(run: Run, people: list[Person], seconds: float, load: Load, measured: Measured) -> None:
    ends = time.monotonic() + seconds

    async def works(person: Person) -> None:
        await asyncio.sleep(person.rng.uniform(0, min(load.think_s, seconds)))  # people don't come at the same second
        while time.monotonic() < ends:
            if person.task is None and not await _timed(run, person.claim(), run.claims_s, "claim"):
                return
            if person.task is None:
                run.errors["nothing to do"] += 1
                return
            if run.name == "with media":
                await person.look(run)
            thinks_s = load.think_s * person.rng.uniform(0.5, 1.5)
            if thinks_s >= ends - time.monotonic():
                break  # the next run finds the item at hand
            await asyncio.sleep(thinks_s)
            await _timed(run, person.submit(measured.acknowledged), run.submits_s, "submit")

    await asyncio.gather(*(works(p) for p in people))
    run.load_average = os.getloadavg()[0]


async def _timed(run: Run, asked: Any, spent: list[float], what: str, due: float | None = None) -> bool:
    began = time.perf_counter() if due is None else due
    reply = await asked
    spent.append(time.perf_counter() - began)
    if reply.status != 200:
        run.errors[f"{reply.status} at {what}"] += 1
    return bool(reply.status == 200)


async def _at_a_rate(run: Run, people: list[Person], load: Load, measured: Measured) -> None:
    """A request is due every 1 / rate seconds, by whoever waited longest; its time counts from then."""
    free, asking = deque(people), set()

    async def ask(person: Person, due: float) -> None:
        if person.task is None:
            await _timed(run, person.claim(), run.claims_s, "claim", due)
        else:
            await _timed(run, person.submit(measured.acknowledged), run.submits_s, "submit", due)
        free.append(person)

    began = time.perf_counter()
    for i in range(int(load.rate_hz * load.seconds)):
        due = began + i / load.rate_hz
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if not free:
            run.errors["everybody waits"] += 1
            continue
        task = asyncio.create_task(ask(free.popleft(), due))
        asking.add(task)
        task.add_done_callback(asking.discard)
    await asyncio.gather(*asking)
    run.load_average = os.getloadavg()[0]


async def _killed(server: Server, run: Run, people: list[Person], load: Load, measured: Measured) -> None:
    """Everybody works and asks again what was not answered, while the server is killed again and again."""
    ended = asyncio.Event()

    async def works(person: Person) -> None:
        while not ended.is_set():
            try:
                if person.task is None:
                    await _timed(run, person.claim(), run.claims_s, "claim")
                else:
                    await _timed(run, person.submit(measured.acknowledged), run.submits_s, "submit")
            except (OSError, EOFError):
                await asyncio.sleep(0.1)  # the server is dead; what was asked is asked again
            await asyncio.sleep(person.rng.uniform(0, 2 * min(load.think_s, 1.0)))

    working = [asyncio.create_task(works(p)) for p in people]
    rng = random.Random(0)
    try:
        for _ in range(load.num_kills):
            await asyncio.sleep(rng.uniform(0.3, 1.2))
            server.stop(signal.SIGKILL)
            measured.num_kills += 1
            server.start()
            await server.ready()
        await asyncio.sleep(1.0)
    finally:
        ended.set()
        await asyncio.gather(*working)
    run.load_average = os.getloadavg()[0]


def _checked(c: Any, measured: Measured) -> None:
    """Counts what must not be: by the tables, not by what the server said."""
    live = assignments.c.state.in_(["leased", "answered"])
    twice = sa.select(assignments.c.item_id).where(live).group_by(assignments.c.item_id, assignments.c.person_id)
    measured.double_assignments = len(c.execute(twice.having(sa.func.count() > 1)).all())
    taken = sa.select(sa.func.count()).where(assignments.c.item_id == items.c.id, live).scalar_subquery()
    measured.overfilled_items = len(c.execute(sa.select(items.c.id).where(taken > items.c.num_wanted)).all())
    query = sa.select(assignments.c.token, assignments.c.value).where(assignments.c.value.is_not(None))
    held = {token: json.loads(value) for token, value in c.execute(query)}
    measured.lost_answers = sum(held.get(token) != value for token, value in measured.acknowledged.items())
