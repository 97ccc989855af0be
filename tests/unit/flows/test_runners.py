"""Who computes: what is refused, and how many work at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.runners import MAX_THREADS, Threads, num_cpus, one_thread_each, runner_for
from store.workspace import open_workspace


def test_an_unknown_runner_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="runner 'spark': say threads, dask"),
        runner_for("spark", open_workspace(tmp_path)),
    ):
        raise AssertionError


@pytest.mark.slow
def test_a_cluster_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    """In a process of its own: Dask's event loop outlives the test, and warns."""
    code = f"""
from distributed import LocalCluster
from flows.runners import runner_for
from store.workspace import open_workspace
def tell(address):
    try:
        with runner_for(address, open_workspace({str(tmp_path)!r})):
            print("no error")
    except ValueError as error:
        print(error)
if __name__ == "__main__":
    tell("tcp://127.0.0.1:1")
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        tell(cluster.scheduler.address)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("runner tcp://127.0.0.1:1: no Dask scheduler answers there"), done
    assert "the scheduler has no workers; start some with `dask worker" in lines[1], done


@pytest.mark.slow
def test_a_killed_worker_is_told_and_the_next_batch_has_another(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from flows import runners
from store.ledger import NO_MANIFEST
from store.workspace import open_workspace
from tasks.clipping import ClipParams
from tasks.jobs import Done
killed = Path({str(tmp_path / "killed")!r})
def deadly(settings, manifest, jobs, params):
    if not killed.exists():
        killed.touch()
        os.kill(os.getpid(), 9)
    return Done(media_s=7.0)
if __name__ == "__main__":
    runners.run_remote = deadly
    with runners.runner_for("dask", open_workspace({str(tmp_path)!r})) as runner:
        try:
            runner.run(NO_MANIFEST, [], ClipParams())
        except Exception as error:
            print(type(error).__name__)
        print(runner.run(NO_MANIFEST, [], ClipParams()).media_s)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["KilledWorker", "7.0"], done


def test_threads_are_as_many_as_cores_and_numeric_libraries_have_one(tmp_path: Path) -> None:
    import cv2

    with runner_for("threads", open_workspace(tmp_path)) as runner:
        assert isinstance(runner, Threads)
        assert runner.num_workers == min(num_cpus(), MAX_THREADS)
    one_thread_each()
    assert cv2.getNumThreads() == 1


@pytest.mark.slow
def test_what_needs_a_gpu_goes_only_to_workers_that_announce_one(tmp_path: Path) -> None:
    code = f"""
import distributed
from dataclasses import replace
from distributed import LocalCluster, Worker
from flows import runners
from store.ledger import NO_MANIFEST
from store.workspace import open_workspace
from tasks.clipping import ClipParams
from tasks.jobs import Done, Job
def where(settings, manifest, jobs, params):
    return Done(quarantined=[(distributed.get_worker().name, "")])
def need(signal):
    return (5.0 if signal == "speech" else 0.0), signal
def tell(names, times):
    jobs = [Job("signals", "v", "v.mp4", 1.0, ("c",), names)]
    met = [runner.run(NO_MANIFEST, jobs, ClipParams()).quarantined[0][0] for _ in range(times)]
    print(names[0], sorted(set(met)))
if __name__ == "__main__":
    runners.run_remote, runners.gpu_need = where, need
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        async def add(name, **more):
            return await Worker(cluster.scheduler.address, name=name, nthreads=1, dashboard=False, **more)
        first = cluster.sync(add, "plain")
        with runners.runner_for(cluster.scheduler.address, open_workspace({str(tmp_path)!r})) as runner:
            tell(("motion",), 1)
            try:
                tell(("motion", "speech"), 1)
            except ValueError as error:
                print(error)
            second = cluster.sync(add, "large", resources={{"GPU_GIB": 24}})
            tell(("speech", "motion"), 6)
        for worker in (first, second):
            cluster.sync(worker.close)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    plain, refused, large = done.stdout.splitlines()
    assert plain == "motion ['plain']", done
    assert refused.startswith("signal speech needs 5 GiB of GPU memory, the workers announce 0; start one with"), done
    assert large == "speech ['large']", done
