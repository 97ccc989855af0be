"""Batches as Prefect tasks: names that people read, and what is lost runs again."""

from __future__ import annotations

import threading
from collections import Counter

import httpx
import pytest

from flows.attempts import MAX_ATTEMPTS, Attempt
from flows.submit import BatchLost, label, prefect_submit, spread
from flows.under_way import Item
from store.ledger import NO_MANIFEST, Manifest
from tasks.clipping import ClipParams
from tasks.jobs import Done, Job


def job(name: str, *items: int, media_s: float = 1.0) -> Job:
    return Job("signals", f"id-{name}", name, media_s, items)


class Flaky:
    """Loses every batch that holds a job of `lost` (name to how often); the results can't be pickled."""

    num_workers = 2
    lost_before: frozenset[Item] = frozenset()

    def __init__(self, lost: dict[str, int]) -> None:
        self.lost = lost
        self.tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run(self, manifest: Manifest, jobs: list[Job], params: ClipParams) -> Done:
        with self._lock:
            self.tries.update(j.name for j in jobs)
            for one in jobs:
                if self.lost.get(one.name, 0) > 0:
                    self.lost[one.name] -= 1
                    raise ConnectionError("the worker is gone")
        done = Done(quarantined=[(j.name, "") for j in jobs])
        done.lock = threading.Lock()  # type: ignore[attr-defined]
        return done


def run(runner: Flaky, groups: list[list[Job]]) -> tuple[list[str], str, str]:
    """Names of the jobs whose results came, the error if any, and the id of the flow run."""
    from prefect import flow
    from prefect.runtime import flow_run

    told: list[str] = []
    ids: list[str] = []

    @flow(name="test", persist_result=False)
    def test_flow() -> str:
        ids.append(flow_run.id)
        try:
            for done in prefect_submit(runner, ClipParams(), lambda: NO_MANIFEST)("signals", NO_MANIFEST, groups):
                told.extend(name for name, _ in done.quarantined)
        except BatchLost as error:
            return str(error)
        return ""

    error = test_flow()
    return sorted(told), error, ids[0]


@pytest.mark.slow
def test_a_lost_batch_is_cut_into_its_jobs_and_run_again(prefect: str) -> None:
    runner = Flaky({"b": 2})
    names, error, _ = run(runner, [[job("a"), job("b")], [job("c")]])
    assert (names, error) == (["a", "b", "c"], "")
    assert runner.tries == {"a": 2, "b": 3, "c": 1}


@pytest.mark.slow
def test_a_job_lost_for_good_is_named_after_all_others_are_done(prefect: str) -> None:
    runner = Flaky({"b": 99})
    names, error, _ = run(runner, [[job("a"), job("b")], [job("c")]])
    assert names == ["a", "c"]
    assert runner.tries["b"] == MAX_ATTEMPTS
    assert error.startswith("signals: b: lost 3 times, the last time by ConnectionError: the worker is gone;")


@pytest.mark.slow
def test_task_runs_are_named_for_people_and_keep_no_result(prefect: str) -> None:
    _, _, flow_run_id = run(Flaky({"{braces}": 1}), [[job("{braces}", 1, 2), job("b", 3)]])
    from flows.server import _deliver

    _deliver()
    query = {"task_runs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "NAME_DESC"}
    runs = httpx.post(f"{prefect}/task_runs/filter", json=query).raise_for_status().json()
    assert sorted((r["name"], r["state_name"]) for r in runs) == [
        ("signals: 1 clip of b", "Completed"),
        ("signals: 2 clips of {braces}", "Failed"),
        ("signals: 2 clips of {braces}, attempt 2", "Completed"),
    ]
    assert not [r for r in runs if (r["state"].get("data") or {}).get("storage_key")]


def test_labels() -> None:
    assert label("signals", Attempt([job("a", 1, 2), job("a", 3), job("b", 4)])) == (
        "signals: 4 clips of a (+1 more video)"
    )
    assert label("normalise", Attempt([job("a"), job("b"), job("c")], 2)) == (
        "normalise: a (+2 more videos), attempt 2"
    )
    assert label("timelines", Attempt([job("a", 1)])) == "timelines: 1 window of a"
    assert label("signals", Attempt([Job("signals", "v", "a", 1.0, (1,), ("lip_sync",))])) == "lip_sync: 1 clip of a"
    assert label("clip", Attempt([job("a")])) == "choose clips: a"


def test_little_work_is_shared_among_the_workers() -> None:
    a, b, c = job("a"), job("b", media_s=9), job("c")
    assert spread([[a, b, c]], 2) == [[a], [b, c]]
    assert spread([[a], [b, c]], 3) == [[a], [b], [c]]
    assert spread([[a]], 8) == [[a]]
    assert spread([[a], [b, c]], 2) == [[a], [b, c]]
