"""Two runs that begin together: what one has in hand the other leaves to it, and nothing is computed twice."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import claims as in_ledger
from store.claims import Claims
from store.ledger import Manifest, claims, leases
from store.workspace import Workspace, open_workspace
from tasks.curate import Outcome, bring_up_to_date
from tasks.ingest import ingest
from tasks.jobs import Done, Job, Stage
from tests.tables import doubled
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")
LONG_S = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_ledger, "LOOK_S", 0.05)


def nobody_has_anything(workspace: Workspace) -> bool:
    runs = [r for r in workspace.ledger.rows(leases.select()) if r["name"] != "commit"]
    return not runs and not workspace.ledger.rows(claims.select())


@pytest.mark.usefixtures("either_ledger")
def test_two_runs_at_once_compute_everything_once_and_a_new_video_waits_for_nobody(
    workspace: Workspace, footage: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headroom")
    begun, go_on = threading.Event(), threading.Event()

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        begun.set()
        assert go_on.wait(LONG_S)
        yield from stand_in.serial(workspace)(stage, manifest, groups)

    ended: list[Outcome] = []
    night = threading.Thread(target=lambda: ended.append(bring_up_to_date(workspace, submit)))
    night.start()
    assert begun.wait(LONG_S)
    other = open_workspace(workspace.settings.workspace)
    late = stand_in.make_video(tmp_path / "late.mp4", 2.0, luma=40)
    ingest(other, [str(late)])
    jobs: list[Job] = []

    def watched(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        jobs.extend(job for group in groups for job in group)
        yield from stand_in.serial(other)(stage, manifest, groups)

    watch = threading.Thread(target=lambda: ended.append(bring_up_to_date(other, watched)))
    watch.start()
    until = time.monotonic() + LONG_S
    while "waiting for it" not in caplog.text and time.monotonic() < until:
        time.sleep(0.05)
    assert {j.stage for j in jobs} == {"normalise", "timelines", "clip", "signals"}
    assert {j.name for j in jobs} == {"late.mp4"}, "the night has the others in hand"
    go_on.set()
    for thread in (night, watch):
        thread.join(LONG_S)
    first, second = ended[0].tally.computed, ended[1].tally.computed
    assert {n: first.get(n, 0) + second.get(n, 0) for n in {*first, *second}} == dict.fromkeys(
        ("faces", "flow", "keyframes", "cuts", "luma", "brightness", "double", "loudness"), 3
    )
    assert stand_in.run(workspace).tally.computed == {}
    assert doubled(workspace) == []
    assert nobody_has_anything(workspace)


def claimed(workspace: Workspace, holder: str, taken_at: float) -> None:
    other = Claims(workspace.ledger)
    other.holder = holder
    with workspace.views() as reader:
        other.take(reader.sql("SELECT video_id FROM videos")["video_id"].to_list())
    run = {"name": f"run {holder}", "holder": holder, "token": 0, "taken_at": taken_at}
    workspace.ledger.put(leases, [run])


def test_claims_of_a_process_that_is_gone_are_nobodys(workspace: Workspace) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    claimed(workspace, f"{socket.gethostname()}:{ended.pid}:1:a", time.time())
    assert stand_in.run(workspace).tally.computed["faces"] == 2
    assert nobody_has_anything(workspace)


def test_another_machine_is_waited_for_until_nothing_is_heard_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed(workspace, "elsewhere:1:1:a", time.time() - in_ledger.EXPIRES_S + 30.0)
    waited = bring_up_to_date(workspace, stand_in.serial(workspace), budget_s=0.2)
    assert (waited.out_of_budget, waited.tally.computed) == (True, {})
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 31.0)
    assert stand_in.run(workspace).tally.computed["faces"] == 2
    assert nobody_has_anything(workspace)


def test_a_run_that_fails_leaves_nothing_claimed(workspace: Workspace) -> None:
    def fails(*_told: Any) -> Iterator[Done]:
        assert workspace.ledger.rows(claims.select())
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        bring_up_to_date(workspace, fails)
    assert nobody_has_anything(workspace)


def test_what_a_run_could_not_give_back_holds_up_nobody_after_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_away(_self: Claims) -> None:
        raise ValueError("the ledger does not answer")

    run = Claims(workspace.ledger)
    with workspace.views() as reader:
        run.take(reader.sql("SELECT video_id FROM videos")["video_id"].to_list())
    with monkeypatch.context() as patched:
        patched.setattr(Claims, "_end", is_away)
        run.__exit__(KeyboardInterrupt, None, None)
    assert bring_up_to_date(workspace, stand_in.serial(workspace), budget_s=60.0).tally.computed["faces"] == 2
    assert nobody_has_anything(workspace)


def test_a_run_that_goes_on_is_heard_of(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Claims(workspace.ledger)
    run.renew()
    assert nobody_has_anything(workspace), "without a claim there is nothing to renew"
    run.take(["v"])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1000.0)
    run.renew()
    monkeypatch.setattr(in_ledger, "RENEWED_S", 0.0)
    before = [r["taken_at"] for r in workspace.ledger.rows(leases.select()) if r["name"] != "commit"]
    run.renew()
    [after] = [r["taken_at"] for r in workspace.ledger.rows(leases.select()) if r["name"] != "commit"]
    assert after - before[0] > 900.0
    assert Claims(workspace.ledger).take(["v", "w"]) == {"w"}
