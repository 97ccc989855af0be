"""The proof `processes`: each process of Headroom killed by itself, at random moments, twenty times."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from store.workspace import open_workspace
from tests.commands import ROOT, headroom, started
from tests.tables import differences, doubled
from tests.unit.flows.footage import environment, make_talk

COMMIT_ROWS = 20
GONE_S = 30
"""By then nothing that a killed process had begun may be there any more."""

COMMITTER = """
import sys
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import open_workspace
workspace, number = open_workspace(sys.argv[1]), int(sys.argv[2])
while True:
    keys = range(10 * number, 10 * number + 20)  # half of them are those of the commit before
    batch = Batch()
    batch.add("videos", table_of([{"video_id": f"v{k}", "name": str(number)} for k in keys], VIDEOS))
    workspace.commit(batch)
    print(number, flush=True)
    number += 1
"""


@dataclass
class Killed:
    """What twenty kills of one process came to: how many hit it at work, and everything that was not as it must be."""

    num: int = 0
    wrong: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    """How commands ended that lost a process of theirs."""


Prove = Callable[[Path, int, random.Random], Killed]


def processes(folder: Path, sample: bool) -> tuple[bool, str]:
    """Each process by itself, killed (kill -9) at random moments of its work, twenty times.

    What was acknowledged stands, no row is doubled, nothing that a killed process had begun outlives it for long, a command
    that loses a process ends whole or with one clear line, and the next one ends with the tables of an undisturbed run.
    """
    return proved(folder, list(PROCESSES)[:1] if sample else list(PROCESSES), 2 if sample else 20)


def proved(folder: Path, names: list[str], num: int) -> tuple[bool, str]:
    lines = [
        "| process | kills | what has to hold | what did not | what a command that lost it said |",
        "|---|---|---|---|---|",
    ]
    good = True
    for name in names:
        holds, prove = PROCESSES[name]
        place = folder / name.replace(" ", "_")
        place.mkdir()
        found = prove(place, num, random.Random(name))
        good &= not found.wrong and found.num >= num
        said = "; ".join(sorted(found.said)) or "-"
        lines.append(f"| {name} | {found.num} | {holds} | {'; '.join(found.wrong)[:800] or 'nothing'} | {said[:600]} |")
        shutil.rmtree(place, ignore_errors=True)
    return good, "\n".join(line.replace(str(folder), "...") for line in lines)


def committer(folder: Path, num: int, rng: random.Random) -> Killed:
    found, workspace, acknowledged = Killed(), folder / "workspace", 0
    open_workspace(workspace)
    while found.num < num:
        command = [sys.executable, "-c", COMMITTER, str(workspace), str(acknowledged)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        told = [process.stdout.readline()]  # it is at work now
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        told += process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        acknowledged = max([acknowledged, *(int(n) for n in told if n.strip())])
        found.num += 1
        opened = open_workspace(workspace)
        rows = opened.record.read(opened.ledger.manifest(), "videos", ["video_id", "name"]).to_pylist()
        held = {row["video_id"]: int(row["name"]) for row in rows}
        lost = [k for k in range(10 * (acknowledged + 2)) if held.get(f"v{k}", -1) < min(acknowledged, k // 10)]
        found.wrong += [f"kill {found.num}: rows {lost} were acknowledged"] if lost else []
        found.wrong += doubled(opened)
    return found


def command(folder: Path, num: int, rng: random.Random) -> Killed:
    """The command alone: its decoders and its server must notice."""

    def kill(process: subprocess.Popen[bytes], took_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1.0, took_s))
            return False
        process.kill()
        return True

    return _curated(folder, num, kill)


def decoder(folder: Path, num: int, rng: random.Random) -> Killed:
    def kill(process: subprocess.Popen[bytes], took_s: float) -> bool:
        wait_s = rng.uniform(0.0, 1.5)
        while process.poll() is None:
            if children := [c for c in _below(process.pid) if "tasks.media" in _line(c)]:
                time.sleep(wait_s)
                with suppress(psutil.NoSuchProcess):
                    rng.choice(children).kill()
                    return True
            time.sleep(0.02)
        return False

    return _curated(folder, num, kill)


def dask_worker(folder: Path, num: int, rng: random.Random) -> Killed:
    with _dask(folder) as made:
        made.wait()
        return _curated(folder, num, _of_dask(made, "worker", rng), "--runner", made.address, ready=made.wait)


def dask_scheduler(folder: Path, num: int, rng: random.Random) -> Killed:
    with _dask(folder) as made:
        made.wait()
        return _curated(folder, num, _of_dask(made, "scheduler", rng), "--runner", made.address, ready=made.wait)


Kill = Callable[[subprocess.Popen[bytes], float], bool]
"""Kills a process of a command within so many seconds; False when there was none to kill."""


def _curated(folder: Path, num: int, kill: Kill, *more: str, ready: Callable[[], None] = lambda: None) -> Killed:
    """`curate` on a little footage, disturbed and run again, held against an undisturbed one."""
    corpus = folder / "footage"
    corpus.mkdir()
    for number in range(2):
        make_talk(corpus / f"talk{number}.mp4", 3.0, center_x=140 + 30 * number)
    words = ["curate", str(corpus), "--signal", "motion", "--signal", "speech", *more]
    took_s = headroom(*words, workspace=folder / "alone")["took_s"]
    found, tries = Killed(), 0
    while found.num < num and tries < 4 * num:
        tries += 1
        workspace = folder / f"killed{tries}"
        with (folder / "said").open("w+b") as said:
            process = started(words, workspace, errors=said.fileno())
            below: set[psutil.Process] = set()
            watching = threading.Event()
            watch = threading.Thread(target=_watch, args=(process.pid, below, watching))
            watch.start()
            hit = kill(process, took_s)
            process.wait()
            watching.set()
            watch.join()
            said.seek(0)
            _end_of(process.returncode, said.read().decode(errors="replace"), found)
        alive = psutil.wait_procs(below, timeout=GONE_S)[1]
        found.wrong += [f"{_line(p)[:100]} outlived the command" for p in alive]
        if hit:
            found.num += 1
            ready()
            headroom(*words, workspace=workspace)
            found.wrong += differences(folder / "alone", workspace) + doubled(open_workspace(workspace))
        shutil.rmtree(workspace, ignore_errors=True)
    return found


def _end_of(status: int, said: str, found: Killed) -> None:
    """A command that was not killed itself ends with 0, or with one line that begins with its name."""
    own = [line[line.index("headroom: ") :] for line in said.splitlines() if "headroom: " in line]
    if status in (0, -signal.SIGKILL):
        return
    found.said.add(" ".join((own or ["no line"])[-1].split()).replace("|", "/")[:250])
    if not own or status not in (1, 2):
        found.wrong.append(f"status {status} without a clear line: {said[-300:]}")


def flow_run(folder: Path, num: int, rng: random.Random) -> Killed:
    """The process of a run below `headroom up`."""
    return _nights(folder, num, rng, of_up=False)


def headroom_up(folder: Path, num: int, rng: random.Random) -> Killed:
    return _nights(folder, num, rng, of_up=True)


def _nights(folder: Path, num: int, rng: random.Random, *, of_up: bool) -> Killed:
    """A nightly run is begun and something is killed; `headroom reprocess` ends it, held against an undisturbed one."""
    from tasks.ingest import ingest
    from tasks.wanted import ask
    from tests.e2e.test_nightly import Up

    (folder / "footage").mkdir()
    make_talk(folder / "footage" / "talk.mp4")

    def asked(workspace: Path) -> Path:
        made = open_workspace(workspace)
        ingest(made, [str(folder / "footage")])
        ask(made, signals=["motion"])
        return workspace

    alone = asked(folder / "alone")
    took_s = headroom("reprocess", workspace=alone)["took_s"]
    found, tries = Killed(), 0
    while found.num < num and tries < 4 * num:
        tries += 1
        workspace = asked(folder / f"night{tries}")
        up = Up(workspace)
        nightly = up.api("deployments/name/reprocess/nightly")["id"]
        up.api(f"deployments/{nightly}/create_flow_run", {})
        time.sleep(rng.uniform(0.5, took_s + 5))
        up.below.update(_below(up.process.pid))
        if of_up:
            left = up.stop(signal.SIGKILL)
            hit = True
        else:
            runs = [p for p in _below(up.process.pid) if "prefect" in _line(p) and "flow-run" in _line(p)]
            runs += [p for p in _below(up.process.pid) if "flows.child run" in _line(p) or "prefect.engine" in _line(p)]
            hit = bool(runs)
            for process in runs:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            left = up.stop()
        found.wrong += [f"{_line(p)[:100]} outlived headroom up" for p in left]
        if hit:
            found.num += 1
            headroom("reprocess", workspace=workspace)
            found.wrong += differences(alone, workspace) + doubled(open_workspace(workspace))
        shutil.rmtree(workspace, ignore_errors=True)
    return found


def serving_worker(folder: Path, num: int, rng: random.Random) -> Killed:
    from benchmarks.serving_workers import killed

    found = Killed()
    with _served(folder) as served:
        while found.num < num:
            told = killed(served, after_s=rng.uniform(0.1, 5.0))
            found.num += 1
            if told["lost_frames"] or told["gap_s"] >= 5:
                found.wrong.append(f"kill {found.num}: {told}")
    return found


def gateway(folder: Path, num: int, rng: random.Random) -> Killed:
    from benchmarks.serving_workers import Viewer

    found, place = Killed(), None
    while found.num < num:
        with _served(folder, place) as served:
            place = served.place
            viewer = Viewer(served)
            made = viewer.open().json()
            below = served.gateway.children(recursive=True)
            with viewer.line(made) as line, suppress(Exception):
                until = time.monotonic() + rng.uniform(0.2, 3.0)
                while time.monotonic() < until:
                    viewer.take(line)
                served.gateway.kill()
                while True:
                    viewer.take(line)
            found.num += 1
            if not viewer.came:
                found.wrong.append(f"start {found.num}: no frame came")
            served.gateway.wait(GONE_S)
            found.wrong += [
                f"{_line(p)[:100]} outlived the gateway" for p in psutil.wait_procs(below, timeout=GONE_S)[1]
            ]
            with suppress(httpx.HTTPError):
                httpx.get(served.server.url, timeout=2)
                found.wrong.append("its port still answers")
    return found


def annotation_app(folder: Path, num: int, rng: random.Random) -> Killed:
    from benchmarks.annotation_load import Load, measure

    load = Load(num_people=4, seconds=1.0, think_s=0.1, num_items=4000, rate_hz=20.0, num_kills=num, num_clips=1)
    told = measure(load, folder)
    wrong = {"assigned twice": told.double_assignments, "overfilled": told.overfilled_items, "lost": told.lost_answers}
    return Killed(told.num_kills, [f"{n} {what}" for what, n in wrong.items() if n])


@contextmanager
def _served(folder: Path, place: Any = None) -> Iterator[Any]:
    from benchmarks.serving_workers import started as serving
    from tests.unit.serving.talker import published
    from tests.unit.serving.test_render import portrait

    if place is None:
        place = open_workspace(folder / "workspace")
        published(place)
    with serving(place, portrait(folder), 2, 2) as served:
        yield served


@dataclass
class _Dask:
    """A scheduler and two workers on this machine, begun anew where they were killed."""

    folder: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, name: str) -> None:
        options = ["--no-dashboard", "--host", "127.0.0.1"]
        if name == "scheduler":
            told = ["distributed.cli.dask_scheduler", "--port", str(self.port), *options]
        else:
            told = [
                "distributed.cli.dask_worker",
                self.address,
                "--nthreads",
                "1",
                "--local-directory",
                str(self.folder),
                *options,
            ]
        with (self.folder / f"{name}.log").open("ab") as out:
            command = [sys.executable, "-m", *told]
            self.running[name] = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment())
        if name == "scheduler":
            _listens(self.port)

    def kill(self, name: str) -> None:
        """With what it had begun. A worker ends itself when its scheduler is gone: as a service it would begin anew."""
        ended = [name] if name != "scheduler" else list(self.running)
        for each in ended:
            self.end(each)
        for each in ended:
            self.start(each)

    def wait(self) -> None:
        """Until the scheduler has both workers."""
        from distributed import Client

        with Client(self.address, timeout=60) as client:
            client.wait_for_workers(2, timeout=120)

    def end(self, name: str) -> None:
        process = self.running[name]
        for one in _below(process.pid):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.kill()
        process.wait()


@contextmanager
def _dask(folder: Path) -> Iterator[_Dask]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = _Dask(folder, free.getsockname()[1])
    try:
        for name in ("scheduler", "worker", "other"):
            made.start(name)
        yield made
    finally:
        for name in made.running:
            made.end(name)


def _of_dask(made: _Dask, name: str, rng: random.Random) -> Kill:
    def kill(process: subprocess.Popen[bytes], took_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1.0, took_s))
            return False
        made.kill(name)
        return True

    return kill


def _listens(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until, f"nothing listens on port {port}"
            time.sleep(0.1)


def _watch(pid: int, below: set[psutil.Process], over: threading.Event) -> None:
    while not over.wait(0.05):
        below.update(_below(pid))


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


_AS_ALONE = "the next command ends with the tables of an undisturbed run; nothing outlives the command"
PROCESSES: dict[str, tuple[str, Prove]] = {
    "committer": ("every acknowledged commit stands, no key is doubled", committer),
    "command": (_AS_ALONE, command),
    "decoder": (_AS_ALONE, decoder),
    "Dask worker": (_AS_ALONE, dask_worker),
    "Dask scheduler": (_AS_ALONE, dask_scheduler),
    "flow run": ("`reprocess` ends with the tables of an undisturbed run; `headroom up` ends whole", flow_run),
    "headroom up": ("`reprocess` ends with the tables of an undisturbed run; nothing outlives it", headroom_up),
    "gateway": ("its workers end with it; the next one takes sessions", gateway),
    "serving worker": ("no frame of its session is lost or doubled; another takes its place", serving_worker),
    "annotation app": ("no acknowledged answer is lost, no item assigned twice", annotation_app),
}
