"""The arithmetic and the queues of benchmarks/scale.py: answers that are known without them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.scale import (
    DRIVER,
    Measured,
    batches_per_video,
    clips_per_video,
    limits,
    main,
    report,
    service,
    short,
    size_at_which,
)
from benchmarks.scale_costs import Assumptions, PerSecond, bill, declared, gpu_backends
from benchmarks.scale_measures import Corpus, Store, bytes_of_job, commit_s, line, planning_s
from benchmarks.scale_queue import Service, bounds, most_workers, simulated
from benchmarks.store import filled
from tasks.signals import discover

TOLD = Assumptions()
SERVICE = Service(submit_s=0.02, schedule_s=0.001, work_s=40.0, store_s=0.002, commit_s=0.08)
MEASURED = Measured(
    0.1,
    0.02,
    0.001,
    500.0,
    Store((1000, 11_000), (1.0, 1.1), (0.05, 0.06), 5.0, 1.0),
    Corpus((1000, 11_000), (0.0, 0.0), 0.0, 0.0),
)


def test_one_worker_waits_for_nobody_but_itself() -> None:
    told = simulated(SERVICE, 1, 500)
    alone_s = 0.02 + 0.001 + 40.0 + 0.002 + 0.08
    assert told.batches_s == pytest.approx(1 / alone_s, rel=0.08)
    assert told.binds == "workers"


@pytest.mark.parametrize(("slow", "changed"), [("driver", {"commit_s": 0.5}), ("scheduler", {"schedule_s": 0.5}), ("object store", {"store_s": 0.5})])  # fmt: skip
def test_with_many_workers_the_slowest_station_sets_the_pace(slow: str, changed: dict[str, float]) -> None:
    made = replace(SERVICE, **changed)
    told = simulated(made, 4 * int(most_workers(made)), 5000)
    assert told.binds == slow
    assert told.batches_s == pytest.approx(bounds(made)[slow], rel=0.05)
    assert told.busy[slow] > 0.95


def test_workers_are_busy_until_the_bound_and_no_more_use_beyond() -> None:
    most = most_workers(SERVICE)
    assert most == pytest.approx(40 / 0.1)
    few, many, more = (simulated(SERVICE, int(most * share), 6000) for share in (0.3, 3, 6))
    assert few.busy["workers"] > 0.9
    assert many.batches_s == pytest.approx(more.batches_s, rel=0.03)
    assert more.busy["workers"] < 0.25


def test_hours_are_those_that_signals_declare() -> None:
    cost = declared(0.1, TOLD)
    specs = [s.spec for s in discover().values() if not s.spec.on_request]
    assert cost.video == pytest.approx(0.1 + 0.03 + sum(s.cost_cpu_s for s in specs if s.grain == "video"))
    assert cost.clip == pytest.approx(0.03 + sum(s.cost_cpu_s for s in specs if s.grain == "clip"))
    assert cost.gpu == 0, "no default asks for a GPU"
    made = bill(3600, PerSecond(1.0, 2.0, 0.5), 0, replace(TOLD, video_s=10, clip_ratio=0.5))
    assert made.core_hours == pytest.approx(10 * 1 + 5 * 2)
    assert made.gpu_hours == pytest.approx(5 * 0.5)
    ten = bill(36_000, PerSecond(1.0, 2.0, 0.5), 0, replace(TOLD, video_s=10, clip_ratio=0.5))
    assert ten.dollars == pytest.approx(10 * made.dollars)
    free = bill(
        3600, PerSecond(1, 2, 1), 9, replace(TOLD, core_hour=0, gpu_hour=0, gb_month=0, per_million_requests=1e6)
    )
    assert free.dollars == pytest.approx(3600 * 9)


def test_a_gpu_takes_over_what_its_backends_compute() -> None:
    backends = gpu_backends()
    assert backends["speech"] == "whisper"
    cpu, gpu = declared(0.1, TOLD), declared(0.1, TOLD, backends)
    spared = sum(discover()[n].spec.cost_cpu_s for n in backends)
    assert cpu.clip - gpu.clip == pytest.approx(spared)
    assert gpu.gpu == pytest.approx(len(backends) * TOLD.gpu_s_per_s)
    assert not any(discover()[n].spec.on_request for n in backends)


def test_what_binds_first_is_where_its_need_meets_its_capacity() -> None:
    assert size_at_which(lambda v: v >= 12_345) == pytest.approx(12_345, rel=1e-6)
    assert size_at_which(lambda v: False) == math.inf
    cost = declared(0.1, TOLD)
    found = limits(MEASURED, cost, TOLD, 0.03, 16)
    videos = found[DRIVER]
    need = videos * batches_per_video(TOLD) / (TOLD.days * 86_400)
    assert need * service(MEASURED, cost, videos, TOLD, 0.03).driver_s == pytest.approx(1, rel=1e-4)
    assert found["a plan of everything in 16 GiB"] == pytest.approx(16 * 2**30 / 500)
    quick = replace(MEASURED, store=replace(MEASURED.store, commit_s=(0.005, 0.005), files=0.0), task_s=0.0001)
    assert limits(quick, cost, TOLD, 0.0, 16)[DRIVER] > 10 * videos


def test_the_steps_over_all_clips_take_of_the_driver() -> None:
    made = Corpus((1000, 11_000), (1.0, 2.0), 1e-9, 0.01)
    assert made.total_s(1e6, 30) == pytest.approx(30 * (0.9 + 0.5e6 * 1e-4) + 1e6 * (0.5e6 * 1e-9 + 0.01))
    cost, with_steps = declared(0.1, TOLD), replace(MEASURED, corpus=made)
    found = limits(with_steps, cost, TOLD, 0.03, 16)[DRIVER]
    assert found < limits(MEASURED, cost, TOLD, 0.03, 16)[DRIVER]
    batches = found * batches_per_video(TOLD) / (TOLD.days * 86_400)
    share = made.total_s(found * clips_per_video(TOLD), TOLD.days) / (TOLD.days * 86_400)
    assert batches * service(with_steps, cost, found, TOLD, 0.03).driver_s + share == pytest.approx(1, rel=1e-4)
    assert f"at {short(found)}: each new face" in report(with_steps, [1_000_000], TOLD, 0.03, 16)


def test_the_page_says_what_binds_first() -> None:
    text = report(MEASURED, [1_000_000, 50_000_000], TOLD, 0.03, 16)
    found = limits(MEASURED, declared(0.1, TOLD), TOLD, 0.03, 16)
    first = min(found, key=lambda name: found[name])
    assert f"First: {first}, from {short(found[first])} videos" in text
    assert "| 50 M | GPU |" in text
    assert "- core_hour = 0.04" in text


def test_lines_through_two_sizes() -> None:
    made = line((1000, 1.0), (3000, 2.0))
    assert (made.fixed, made.each) == (pytest.approx(0.5), pytest.approx(0.0005))
    flat = line((1000, 1.0), (3000, 0.9))
    assert (flat.at(10**9), flat.each) == (pytest.approx(0.9), 0.0)


def test_it_measures_the_engine_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = filled(tmp_path_factory.mktemp("scale") / "w", 400, True)
    assert planning_s(workspace, runs=1) > 0
    before = workspace.ledger.manifest().id
    spent_s, files = commit_s(workspace, runs=2)
    assert workspace.ledger.manifest().id == before + 2
    assert spent_s > 0
    assert files >= 2, "at least the rows and a manifest"
    assert 100 < bytes_of_job(2000) < 5000


def test_sizes_that_can_not_be(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--clips", "100", "50"])
    assert "give a smaller and a larger number of clips" in capsys.readouterr().err
