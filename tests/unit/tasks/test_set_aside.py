"""Windows, clips and videos that are set aside: a row says why, and `retry` makes them stale again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from store.ledger import Manifest
from store.workspace import Workspace
from tasks import set_aside
from tasks.curate import bring_up_to_date
from tasks.jobs import Job, Stage
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")


@pytest.mark.usefixtures("either_ledger")
@pytest.mark.parametrize(
    ("stage", "signal", "status"),
    [
        ("normalise", "normalise", None),
        ("timelines", "luma", "not_applicable"),
        ("signals", "brightness", "failed_permanent"),
    ],
)
def test_what_is_set_aside_says_so_until_it_is_retried(
    stage: Stage, signal: str, status: str | None, workspace: Workspace
) -> None:
    serial = stand_in.serial(workspace)

    def submit(now: Stage, manifest: Manifest, groups: list[list[Job]]) -> Any:
        for job in [job for jobs in groups for job in jobs]:
            if (now, job.name) != (stage, "a.mp4"):
                yield from serial(now, manifest, [[job]])
                continue
            names = (signal,) if job.signals else ()
            yield from (
                serial(now, manifest, [[replace(job, signals=tuple(s for s in job.signals if s != signal))]])
                if names
                else ()
            )
            aside = replace(job, signals=names)
            for done in serial(
                now, workspace.ledger.manifest(), [[replace(aside, set_aside=set_aside.reason(signal, aside))]]
            ):
                done.set_aside.add(signal)
                yield done

    def listed() -> list[set_aside.SetAside]:
        with workspace.views() as reader:
            return set_aside.listed(workspace, reader)

    bring_up_to_date(workspace, submit)
    [row] = listed()
    assert row.signal == signal
    assert "ProcessLost: " in row.reason
    assert "a.mp4" in row.reason
    states = [r["brightness_status"] for r in stand_in.wide(workspace).to_dicts()]
    assert sorted(states) == sorted(["ok", *([status] if status else [])])
    assert stand_in.run(workspace).tally.computed == {}, "nothing computes it again"

    assert set_aside.retry(workspace) == 1
    assert stand_in.run(workspace).tally.failed == {}
    assert listed() == []
    assert [r["brightness_status"] for r in stand_in.wide(workspace).to_dicts()] == ["ok", "ok"]
