"""Who computes a batch: threads of this process, a local Dask cluster, or a Dask cluster at an address.

A runner computes one batch for the thread that asks and gives it the result, in memory. It knows nothing of Prefect, so
the machines of a cluster need neither Prefect nor its API, only this package and the workspace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from flows.under_way import Item, items, noted, of_the_dead
from infra.settings import Settings
from store.ledger import Manifest
from store.workspace import Workspace
from tasks.clipping import ClipParams
from tasks.jobs import Done, Job, run_batch
from tasks.signals import discover

MAX_THREADS = 8
"""Beyond this many, Python itself is what threads wait for; use `--runner dask` on larger machines."""

GPU_RESOURCE = "GPU_GIB"
"""The Dask resource by which a worker announces GPU memory, in GiB."""

UNDER_WAY = "under_way"
"""The folder, in the workspace's scratch, of what threads are computing."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Batches run side by side already; numeric libraries that bring threads of their own only get in their way."""


class Runner(Protocol):
    """Computes batches for up to `num_workers` threads at once."""

    num_workers: int
    lost_before: frozenset[Item]
    """What was computed when the process of a run before died: each by itself, and in a process of its own."""

    def run(self, manifest: Manifest, jobs: list[Job], params: ClipParams) -> Done: ...


@contextmanager
def runner_for(name: str, workspace: Workspace) -> Iterator[Runner]:
    """`threads`, `dask`, or a scheduler's address such as tcp://10.0.0.5:8786. Raises ValueError for anything else."""
    if name == "threads":
        with _threads(workspace) as threads:
            yield threads
    elif name == "dask":
        with _local_cluster(workspace) as client:
            yield Dask(client, workspace.settings)
    elif "://" in name:
        with _client(name) as client:
            yield Dask(client, workspace.settings, by_gpu=True)
    else:
        raise ValueError(f"runner {name!r}: say threads, dask, or a Dask scheduler's address as tcp://10.0.0.5:8786")


class Threads:
    """Batches in threads of this process; what a process before died of, by `apart`."""

    def __init__(
        self, workspace: Workspace, lost_before: frozenset[Item] = frozenset(), apart: Runner | None = None
    ) -> None:
        self.workspace = workspace
        self.num_workers = min(num_cpus(), MAX_THREADS)
        self.lost_before = lost_before
        self.apart = apart
        one_thread_each()

    def run(self, manifest: Manifest, jobs: list[Job], params: ClipParams) -> Done:
        if self.apart and not items(jobs).isdisjoint(self.lost_before):
            return self.apart.run(manifest, jobs, params)
        with noted(self.workspace.scratch / UNDER_WAY, jobs):
            return run_batch(self.workspace, manifest, jobs, params)


@contextmanager
def _threads(workspace: Workspace) -> Iterator[Threads]:
    """Threads, and a process or two beside them for what was computed when a run before was killed."""
    dead = of_the_dead(workspace.scratch / UNDER_WAY)
    lost = frozenset[Item]().union(*dead.values())
    with ExitStack() as stack:
        apart = Dask(stack.enter_context(_local_cluster(workspace)), workspace.settings) if lost else None
        yield Threads(workspace, lost, apart)
    for file in dead:
        file.unlink(missing_ok=True)


def has_died(error: Exception) -> bool:
    """Whether a batch was lost because its process ended."""
    return type(error).__name__ == "KilledWorker"


class Dask:
    """Batches on a Dask cluster. With `by_gpu`, one that needs a GPU goes only to workers that announce the memory."""

    lost_before: frozenset[Item] = frozenset()

    def __init__(self, client: Any, settings: Settings, *, by_gpu: bool = False) -> None:
        self.client = client
        self.settings = settings
        self.by_gpu = by_gpu
        self.num_workers = max(1, sum(client.nthreads().values()))

    def run(self, manifest: Manifest, jobs: list[Job], params: ClipParams) -> Done:
        """Raises what the batch raised, or distributed.KilledWorker when its worker was lost."""
        # pure=False: the same batch asked for again is to be computed again.
        future = self.client.submit(
            run_remote, self.settings, manifest, jobs, params, pure=False, resources=self._asked(jobs)
        )
        try:
            done = future.result()
        finally:
            future.release()
        assert isinstance(done, Done)
        return done

    def _asked(self, jobs: list[Job]) -> dict[str, float] | None:
        """What of a worker's resources the batch holds. Raises ValueError when no worker has that much."""
        gpu_gib, signal = max((gpu_need(n) for job in jobs for n in job.signals), default=(0.0, ""))
        if not (self.by_gpu and gpu_gib):
            return None
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        most = max((w["resources"].get(GPU_RESOURCE, 0.0) for w in workers), default=0.0)
        if most < gpu_gib:
            raise ValueError(
                f"signal {signal} needs {gpu_gib:g} GiB of GPU memory, the workers announce {most:g}; start one with "
                f'`dask worker ADDRESS --nthreads 1 --resources "{GPU_RESOURCE}=24"`, or add device=cpu to its backend'
            )
        return {GPU_RESOURCE: gpu_gib}


def gpu_need(signal: str) -> tuple[float, str]:
    """GiB of GPU memory that a signal takes as it is set now, and its name."""
    return discover()[signal].spec.resources.gpu_gib, signal


def run_remote(settings: Settings, manifest: Manifest, jobs: list[Job], params: ClipParams) -> Done:
    """One batch in a worker's process."""
    one_thread_each()
    os.environ["HEADROOM_BACKENDS"] = settings.backends  # what the planner told apart, the worker must too
    return run_batch(_workspace(settings), manifest, jobs, params)


def num_cpus() -> int:
    """Cores that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def one_thread_each() -> None:
    """Holds numeric libraries to one thread in this process; those loaded already are told, the others read it."""
    import cv2

    limits: Any = import_module("threadpoolctl")

    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    cv2.setNumThreads(1)
    limits.threadpool_limits(1)


@cache
def _workspace(settings: Settings) -> Workspace:
    return Workspace(settings)


@contextmanager
def _local_cluster(workspace: Workspace) -> Iterator[Any]:
    """One process a core, below this one; a process that leaves its share of the memory is ended and begun anew."""
    import dask

    distributed: Any = import_module("distributed")
    # A lost worker is ours to count: the batch comes back at once and is run again. One that is missing 15 s after a death
    # (it died again, or is slow to begin anew) would be given up for good, and the command wait for ever.
    told = {"distributed.scheduler.allowed-failures": 0, "distributed.deploy.lost-worker-timeout": "7 days"}
    with (
        dask.config.set(told),
        distributed.LocalCluster(
            n_workers=num_cpus(),
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # None would take 8787, and complain where another cluster has it
            scheduler_kwargs={"dashboard": False},
            local_directory=str(workspace.scratch / "dask"),
            silence_logs=50,
            preload=["flows.dask_worker"],
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _client(address: str) -> Iterator[Any]:
    distributed: Any = import_module("distributed")
    try:
        client = distributed.Client(address, set_as_default=False, timeout=10)
    except (OSError, TimeoutError) as error:
        raise ValueError(f"runner {address}: no Dask scheduler answers there ({error})") from error
    with client:
        if not client.nthreads():
            raise ValueError(f"runner {address}: the scheduler has no workers; start some with `dask worker {address}`")
        yield client
