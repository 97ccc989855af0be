"""From one machine to 50 M videos, on paper and by simulation: hours, machines, money, and what binds first.

    python -m benchmarks.scale [--clips 20000 100000] [--videos 1000000 10000000 50000000] [--ASSUMPTION VALUE ...]
                               [--write docs/proofs/scale.md]

Costs are those that the signals declare, and a normalised video that is measured here. Planning, commits, the steps
over all clips, futures and Prefect tasks are measured here at the sizes of --clips and extrapolated as straight lines in the number of clips: every
figure beyond the larger size is a forecast. What can't be measured on one machine is an assumption, and listed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import benchmarks.one_thread  # noqa: F401 - before anything numeric
from benchmarks import scale_measures
from benchmarks.machine import machine
from benchmarks.scale_costs import Assumptions, PerSecond, bill, declared, gpu_backends
from benchmarks.scale_measures import Corpus, Store
from benchmarks.scale_queue import Service, most_workers, simulated
from tasks.plan import BATCH_MEDIA_S

PLANS_PER_RUN = 6
"""The loop plans before each stage and once more at the end (tasks/curate.py)."""
NIGHT_S = 6 * 3600.0
LONGEST_PLANNING_S = 0.1 * NIGHT_S
WORKERS = (16, 64, 256, 1024, 4096)
LARGEST = 10**10
DRIVER = "one driver: commits, Prefect tasks, the steps over all clips"


@dataclass(frozen=True)
class Measured:
    """Of this machine. `task_s` is a Prefect task, `future_s` a Dask future, `job_bytes` one job of a plan in memory."""

    normalise_cpu_s: float
    task_s: float
    future_s: float
    job_bytes: float
    store: Store
    corpus: Corpus


def batches_per_video(told: Assumptions) -> float:
    """Normalise, timelines and signals take a batch for each minute of a video, or share one; choosing clips is fiftieth."""
    return told.video_s / BATCH_MEDIA_S * (3 + 0.02)


def clips_per_video(told: Assumptions) -> float:
    return told.video_s * told.clip_ratio / told.clip_s


def requests_per_video(files: float, told: Assumptions) -> float:
    """Source, proxy and sound in and out (7), and the files that commits write and read again."""
    return 7 + batches_per_video(told) * 2 * files


def service(measured: Measured, cost: PerSecond, videos: float, told: Assumptions, request_s: float) -> Service:
    """One batch of a run over a workspace that holds so many videos when it ends, half of them on the way."""
    per_video = batches_per_video(told)
    rows = videos * clips_per_video(told) / 2
    cpu_s, gpu_s = cost.per_video(told)
    requests = requests_per_video(measured.store.files, told) / per_video
    megabytes = told.video_s * (told.source_mb_per_s + 3 * told.proxy_mb_per_s) / per_video
    return Service(
        submit_s=measured.task_s,
        schedule_s=measured.future_s,
        work_s=(cpu_s + gpu_s) / per_video,
        store_s=max(requests / told.store_requests_s, megabytes / told.store_mb_s),
        commit_s=measured.store.commits.at(rows) + 2 * measured.store.files * request_s,
    )


def size_at_which(binds: Callable[[float], bool]) -> float:
    """The number of videos from which on it binds, by bisection on its logarithm; infinity beyond ten thousand million."""
    low, high = 0.0, math.log(LARGEST)
    if not binds(LARGEST):
        return math.inf
    for _ in range(60):
        mid = (low + high) / 2
        low, high = (low, mid) if binds(math.exp(mid)) else (mid, high)
    return math.exp(high)


def corpus_share(measured: Measured, videos: float, told: Assumptions) -> float:
    """Share of `days` that the steps over all clips take of the driver, which runs them every night."""
    return measured.corpus.total_s(videos * clips_per_video(told), told.days) / (told.days * 86_400)


def limits(
    measured: Measured, cost: PerSecond, told: Assumptions, request_s: float, memory_gib: float
) -> dict[str, float]:
    """By part of one workspace: the videos from which on it can't keep up with `days`."""

    def batches_s(videos: float) -> float:
        return videos * batches_per_video(told) / (told.days * 86_400)

    def of(videos: float) -> Service:
        return service(measured, cost, videos, told, request_s)

    def planning(videos: float) -> float:
        return PLANS_PER_RUN * measured.store.planning.at(videos * clips_per_video(told))

    return {
        DRIVER: size_at_which(lambda v: batches_s(v) * of(v).driver_s + corpus_share(measured, v, told) > 1),
        "planning, a tenth of each night": size_at_which(lambda v: planning(v) > LONGEST_PLANNING_S),
        f"a plan of everything in {memory_gib:g} GiB": memory_gib * 2**30 / measured.job_bytes,
        "scheduler": size_at_which(lambda v: batches_s(v) * of(v).schedule_s > 1),
        "object store": size_at_which(lambda v: batches_s(v) * of(v).store_s > 1),
    }


def short(value: float) -> str:
    if math.isinf(value):
        return "never"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def costs_table(measured: Measured, sizes: Sequence[int], told: Assumptions) -> list[str]:
    variants = {
        "CPU": declared(measured.normalise_cpu_s, told),
        "GPU": declared(measured.normalise_cpu_s, told, gpu_backends()),
    }
    lines = [
        f"| videos | variant | core-hours | GPU-hours | machines of {told.cores_per_machine} cores for {told.days:g} days | GPUs | TB | dollars |",
        "|---|---|---|---|---|---|---|---|",
    ]
    requests = requests_per_video(measured.store.files, told)
    for videos in sizes:
        for name, cost in variants.items():
            b = bill(videos, cost, requests, told)
            lines.append(
                f"| {short(videos)} | {name} | {b.core_hours:,.0f} | {b.gpu_hours:,.0f} | {b.machines} | {b.gpus} | {b.terabytes:,.0f} "
                f"| {b.dollars:,.0f} |"
            )
    return lines


def simulation_table(
    measured: Measured, cost: PerSecond, videos: int, told: Assumptions, request_s: float
) -> list[str]:
    lines = [
        "| workers | videos an hour | of what they could | busiest | driver | scheduler | object store |",
        "|---|---|---|---|---|---|---|",
    ]
    made = service(measured, cost, videos, told, request_s)
    for workers in WORKERS:
        seen = simulated(made, workers, max(2000, 6 * workers))
        rate = seen.batches_s / batches_per_video(told) * 3600
        share = seen.batches_s * made.work_s / workers
        busy = " | ".join(f"{seen.busy[n]:.0%}" for n in ("driver", "scheduler", "object store"))
        lines.append(f"| {workers:,} | {rate:,.0f} | {share:.0%} | {seen.binds} | {busy} |")
    return lines


def report(measured: Measured, sizes: Sequence[int], told: Assumptions, request_s: float, memory_gib: float) -> str:
    cost = declared(measured.normalise_cpu_s, told)
    found = limits(measured, cost, told, request_s, memory_gib)
    first = min(found, key=lambda name: found[name])
    held, all_clips = measured.store, measured.corpus
    backends = ", ".join(f"{s}={b}" for s, b in gpu_backends().items())
    parts = [
        machine(), "",
        "## Measured here", "",
        f"- normalising a second of video: {measured.normalise_cpu_s:.3f} CPU-s; all default signals, as they declare: "
        f"{cost.video:.3f} CPU-s per second of video (normalising with it), {cost.clip:.3f} per second of clip",
        f"- planning without change: {held.plan_s[0]:.2f} CPU-s at {held.sizes[0]:,} clips, {held.plan_s[1]:.2f} CPU-s at {held.sizes[1]:,}",
        f"- the commit of a batch (4 clips, all columns): {1000 * held.commit_s[0]:.0f} CPU-ms at {held.sizes[0]:,} clips, "
        f"{1000 * held.commit_s[1]:.0f} CPU-ms at {held.sizes[1]:,}; it writes {held.files:.0f} files",
        f"- the steps over all clips (who is who, reference pairs, choice among copies) after a hundredth came: "
        f"{all_clips.run_s[0]:.1f} CPU-s at {all_clips.sizes[0]:,} clips, {all_clips.run_s[1]:.1f} CPU-s at {all_clips.sizes[1]:,}; "
        f"two faces compared: {1e9 * all_clips.pair_s:.1f} CPU-ns; a clip looked up for copies: {1000 * all_clips.lookup_s:.1f} CPU-ms",
        f"- a Dask future: {1000 * measured.future_s:.2f} CPU-ms (client, scheduler and worker together); a Prefect task: "
        f"{1000 * measured.task_s:.0f} CPU-ms of the driver; "
        f"a job of a plan: {measured.job_bytes:.0f} bytes", "",
        "## Hours, machines, money", "",
        *costs_table(measured, sizes, told), "",
        f"Computing once; TB are sources and proxies, in dollars for one month. GPU: {backends} on GPUs, each at the assumed "
        f"{told.gpu_s_per_s:g} GPU-s per second of clip, the rest on cores.", "",
        "## What binds", "",
        f"One workspace keeps up with {told.days:g} days until:", "",
        "| part | videos |", "|---|---|", *(f"| {name} | {short(value)} |" for name, value in sorted(found.items(), key=lambda i: i[1])), "",
        f"First: {first}, from {short(found[first])} videos. Above that a corpus is cut into workspaces, each with its own driver; "
        "for the sizes above: " + ", ".join(f"{short(v)}: {math.ceil(v / found[first])}" for v in sizes) + ".", "",
        f"Of {told.days:g} days the steps over all clips take one driver {corpus_share(measured, sizes[0], told):.1%} at {short(sizes[0])} "
        f"videos and {corpus_share(measured, found[DRIVER], told):.1%} at {short(found[DRIVER])}: each new face is compared with all.", "",
        f"## A run over a workspace of {short(sizes[0])} videos, simulated", "",
        *simulation_table(measured, cost, sizes[0], told, request_s), "",
        f"The driver keeps {most_workers(service(measured, cost, sizes[0], told, request_s)):.0f} workers of one core busy there.", "",
        "## Assumed", "",
        *(f"- {name} = {value:g}" for name, value in asdict(told).items()), f"- request_s = {request_s:g}", f"- memory_gib = {memory_gib:g}",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def measure(clips: tuple[int, int], source: Path | None = None) -> Measured:
    return Measured(
        normalise_cpu_s=scale_measures.normalise_cpu_s(source),
        task_s=scale_measures.in_child(scale_measures.TASKS),
        future_s=scale_measures.in_child(scale_measures.FUTURES),
        job_bytes=scale_measures.bytes_of_job(),
        store=scale_measures.store(clips),
        corpus=scale_measures.corpus(clips),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs=2, default=(20_000, 100_000), help="sizes that are measured")
    parser.add_argument("--videos", type=int, nargs="+", default=[1_000_000, 10_000_000, 50_000_000])
    parser.add_argument(
        "--request-s", type=float, default=0.03, help="of one request to the object store, one after another"
    )
    parser.add_argument("--memory-gib", type=float, default=16.0, help="of whoever plans")
    parser.add_argument(
        "--source", type=Path, default=None, help="a video of your own, to measure normalising (default: a made one)"
    )
    parser.add_argument("--write", type=Path, default=None, help="also into this page")
    for f in fields(Assumptions):
        parser.add_argument(f"--{f.name.replace('_', '-')}", type=type(f.default), default=f.default)
    options = vars(parser.parse_args(arguments))
    told = Assumptions(**{f.name: options[f.name] for f in fields(Assumptions)})
    small, large = options["clips"]
    if not 0 < small < large:
        parser.error(f"--clips {small} {large}: give a smaller and a larger number of clips")
    text = report(
        measure((small, large), options["source"]), options["videos"], told, options["request_s"], options["memory_gib"]
    )
    print(text)
    if options["write"]:
        told_first = "# scale: on paper\n\nWritten by `python -m benchmarks.scale --write`; forecasts, but for what is under *Measured here*.\n\n"
        options["write"].write_text(told_first + text)


if __name__ == "__main__":
    main()
