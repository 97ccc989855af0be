"""Small measurements behind benchmarks/scale.py, each of the engine's own code on this machine."""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import dedup, identity
from benchmarks.store import filled, generated
from store.record import Batch
from store.workspace import Workspace
from tasks import face_links, plan
from tasks.job import Job
from tasks.signal import GRID_FPS

NUM_CLIPS_OF_BATCH = 4
"""Clips of about half a minute of footage, which with the rest of a minute is what a batch holds."""


@dataclass(frozen=True)
class Line:
    """Seconds as `fixed + each * rows`, through two measured sizes."""

    fixed: float
    each: float

    def at(self, rows: float) -> float:
        return self.fixed + self.each * rows


def line(first: tuple[float, float], second: tuple[float, float]) -> Line:
    """Through two points (rows, seconds); it never falls, and what is no difference in time is no slope."""
    (rows_a, s_a), (rows_b, s_b) = first, second
    each = max(0.0, (s_b - s_a) / (rows_b - rows_a))
    return Line(max(0.0, min(s_a - each * rows_a, s_a, s_b)), each)


def planning_s(workspace: Workspace, runs: int = 3) -> float:
    """CPU-seconds of a plan of everything, where nothing is stale; the best of a few runs, since a busy machine only adds."""
    wanted = plan.wanted_signals(None)
    spent = []
    for _ in range(runs):
        shutil.rmtree(workspace.scratch / "nothing", ignore_errors=True)  # so that every row is looked at
        began = time.process_time()
        with workspace.views() as reader:
            found = plan.next_jobs(reader, wanted, "generated")
        spent.append(time.process_time() - began)
        assert not found.jobs, "the generated rows are not fresh"
    return min(spent)


def batch_of_rows() -> Batch:
    """What a batch of clip signals commits: every column of a few clips. They are rows that the table holds already."""
    rows = next(t for name, t in generated(NUM_CLIPS_OF_BATCH * 4, True) if name == "signals")
    made = Batch()
    made.add("signals", rows.slice(0, NUM_CLIPS_OF_BATCH))
    return made


def commit_s(workspace: Workspace, runs: int = 7) -> tuple[float, float]:
    """(CPU-seconds, files written) of the commit of one batch of clip signals, the best of a few runs; on a local disk."""
    spent, files = [], []
    for _ in range(runs):
        batch = batch_of_rows()
        before = _num_files(workspace)
        began = time.process_time()
        workspace.commit(batch)
        spent.append(time.process_time() - began)
        files.append(_num_files(workspace) - before)
    return min(spent), statistics.median(files)


def _num_files(workspace: Workspace) -> int:
    return sum(1 for f in Path(workspace.record.root).rglob("*") if f.is_file())


@dataclass(frozen=True)
class Store:
    """Planning and commits against the number of clips in one workspace."""

    sizes: tuple[int, int]
    plan_s: tuple[float, float]
    commit_s: tuple[float, float]
    files: float
    peak_gib: float

    @property
    def planning(self) -> Line:
        return line((self.sizes[0], self.plan_s[0]), (self.sizes[1], self.plan_s[1]))

    @property
    def commits(self) -> Line:
        return line((self.sizes[0], self.commit_s[0]), (self.sizes[1], self.commit_s[1]))


def store(sizes: tuple[int, int], folder: Path | None = None) -> Store:
    """Two workspaces of generated rows, one after the other."""
    plans, commits, files = [], [], 0.0
    for num_clips in sizes:
        place = Path(tempfile.mkdtemp(prefix="scale", dir=folder))
        try:
            workspace = filled(place, num_clips, True)
            plans.append(planning_s(workspace))
            spent, files = commit_s(workspace)
            commits.append(spent)
        finally:
            shutil.rmtree(place)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Store(sizes, (plans[0], plans[1]), (commits[0], commits[1]), files, peak)


@dataclass(frozen=True)
class Corpus:
    """The steps over all clips against the number of clips in one workspace."""

    sizes: tuple[int, int]
    run_s: tuple[float, float]
    """CPU-seconds of grouping people, pairing them and choosing among copies, after a hundredth of the clips came."""
    pair_s: float
    """Of one comparison of two faces; a new one is compared with all."""
    lookup_s: float
    """Of looking one clip up among those that may be its copies, by the index."""

    @property
    def runs(self) -> Line:
        return line((self.sizes[0], self.run_s[0]), (self.sizes[1], self.run_s[1]))

    def total_s(self, clips: float, num_runs: float) -> float:
        """CPU-seconds until a workspace holds so many clips, that came over as many runs in equal parts."""
        return num_runs * self.runs.at(clips / 2) + clips * (clips / 2 * self.pair_s + self.lookup_s)


def corpus(sizes: tuple[int, int], folder: Path | None = None) -> Corpus:
    """Two workspaces of made faces, and a table of made pictures of the smaller size."""
    pair_s, spent = comparison_s(), []
    for num_clips in sizes:
        place = Path(tempfile.mkdtemp(prefix="scale", dir=folder))
        try:
            num_added = max(1, num_clips // 100)
            told = identity.measured(place, num_clips, num_added, 10).cpu_s
        finally:
            shutil.rmtree(place)
        after = sum(s for name, s in told.items() if name.endswith("after more clips"))
        spent.append(max(0.0, after - num_clips * num_added * pair_s))
    place = Path(tempfile.mkdtemp(prefix="scale", dir=folder))
    try:
        lookup_s = (
            dedup.measured(place, max(dedup.ROWS, sizes[0] // dedup.ROWS * dedup.ROWS), 50).cpu_ms_per_clip / 1000
        )
    finally:
        shutil.rmtree(place)
    return Corpus(sizes, (spent[0], spent[1]), pair_s, lookup_s)


def comparison_s(num_clips: int = 50_000) -> float:
    """CPU-seconds of one pair where new faces are compared with all."""
    faces = identity.faces_of(identity.owners(num_clips), 0, num_clips)
    asked = np.arange(min(num_clips, face_links.CHUNK))
    near = face_links.Near.nobody(num_clips, face_links.MAX_LINKS)
    began = time.process_time()
    face_links.compare(near, faces, asked, face_links.LINK_COSINE)
    return (time.process_time() - began) / (len(asked) * num_clips)


def bytes_of_job(num: int = 20_000) -> float:
    """Memory that one job of a plan holds: a plan is a list in the memory of whoever drives the run."""
    tracemalloc.start()
    held = [Job("signals", f"{i:016x}", f"video {i}.mp4", 60.0, (f"{i:016x}-0", f"{i:016x}-1"), ()) for i in range(num)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(held)


# Both by processor time of the process that has them in hand: it is one Python, so that is what a queue of them takes.
FUTURES = """
import time
from distributed import Client, LocalCluster
def nothing():
    return None
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        client.submit(nothing, pure=False).result()
        began = time.process_time()
        held = [client.submit(nothing, pure=False) for _ in range(500)]
        client.gather(held)
        print((time.process_time() - began) / 500)
"""

TASKS = """
import sys, tempfile, time
from pathlib import Path
from flows.server import prefect_api
NUM = 40
with prefect_api(Path(tempfile.mkdtemp())):
    from prefect import Task, flow
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner
    def run():
        with ThreadPoolTaskRunner(max_workers=8) as pool:
            def go(num):
                held = [pool.submit(Task(lambda: None, name="nothing", cache_policy=NO_CACHE, persist_result=False), parameters={}) for _ in range(num)]
                [h.result() for h in held]
            go(8)
            began = time.process_time()
            go(NUM)
            return (time.process_time() - began) / NUM
    spent = flow(name="measure", persist_result=False)(run)()
print(spent)
"""


def in_child(code: str) -> float:
    """The number that a program prints last. Raises RuntimeError with what it said when it fails."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    return float(done.stdout.split()[-1])


def normalise_cpu_s(source: Path | None = None) -> float:
    """CPU-seconds per second of a video for proxy, sound and prefilter, processes' starts with it. Without a file one is made:
    16 s of 720p at 30 frames a second, a moving pattern out of focus under a tone."""
    from tasks.media.normalise import normalise
    from tasks.media.transcode import ffmpeg_binary

    with tempfile.TemporaryDirectory() as folder:
        video = source or Path(folder) / "made.mp4"
        if source is None:
            picture = ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30:d=16,gblur=sigma=3"]
            sound = ["-f", "lavfi", "-i", "sine=frequency=300:duration=16"]
            made = [ffmpeg_binary(), "-v", "error", "-nostdin", *picture, *sound, "-pix_fmt", "yuv420p"]
            subprocess.run([*made, "-preset", "superfast", "-shortest", str(video)], check=True)
        before = _cpu_s()
        told = normalise(video, Path(folder) / "out")
        return (_cpu_s() - before) / (told.num_frames / GRID_FPS)


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
