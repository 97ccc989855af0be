"""What curating costs: CPU-seconds per second of video or clip, stage by stage and signal by signal.

    python -m benchmarks.curate [FOLDER|FILES ...] [--json] [--runs 1] [--repeats 3]

The engine itself runs, on one core, in a workspace of its own, with clocks around its parts (benchmarks/meter.py);
children (FFmpeg, the decoder) are counted. Models are loaded before. Then the decodes that it asked for are run again
beside a bare PyAV pass over the same proxies, interleaved.
Without FOLDER: HEADROOM_MEDIA/talk, else ../shared/media/talk beside the checkout, else the sample footage.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric
from benchmarks.decoding import bare_pass, child_start_s, report, rounds
from benchmarks.long_video import LIMIT_PEAK_MIB
from benchmarks.machine import machine
from benchmarks.memory import Peak, Watch
from benchmarks.meter import Meter
from store.ledger import Manifest
from store.workspace import Workspace, open_workspace
from tasks.curate import bring_up_to_date
from tasks.ingest import VIDEO_SUFFIXES, ingest
from tasks.jobs import Done, Job, Stage, run_batch
from tasks.plan import wanted_signals
from tasks.reclip import params_in_force
from tasks.signals import discover

LIMIT_CPU_S = 0.6
COSTLY = ("speech", "language", "overlay_text", "transnetv2")
"""Left out of the limit of 0.6: ASR, OCR and TransNetV2. `language` and `speech` share one pass of the recogniser, and
the clock of whichever comes first counts it."""
PLANNING = "planning and commits"
MAX_WARM_FILES = 6

Part = tuple[str, str]
"""(stage, part of it)"""


@dataclass
class Run:
    """One pass of the engine over some files. `media_s` is by stage; `ok` counts rows by signal."""

    workspace: Workspace
    cpu_s: dict[Part, float] = field(default_factory=dict)
    media_s: dict[str, float] = field(default_factory=dict)
    ok: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    rejected_s: float = 0.0
    num_quarantined: int = 0
    wall_s: float = 0.0
    meter: Meter = field(default_factory=Meter)

    def per_s(self) -> dict[Part, float]:
        return {part: s / self.media_s[part[0]] for part, s in self.cpu_s.items() if self.media_s.get(part[0])}


def engine(paths: Sequence[Path], folder: Path, watch: Watch | None = None) -> Run:
    """Curates the files in a fresh workspace in this process, with all signals."""
    run = Run(open_workspace(folder))
    children: dict[str, float] = {}
    began = time.monotonic()
    with run.meter.installed(), run.meter.stage(PLANNING):
        ingest(run.workspace, [str(p) for p in paths])
        outcome = bring_up_to_date(run.workspace, _submit(run, children, watch))
    run.wall_s = time.monotonic() - began
    run.cpu_s = {**run.meter.cpu_s, **{(stage, "children"): s for stage, s in children.items()}}
    run.failed = outcome.tally.failed
    _count(run)
    return run


def _submit(
    run: Run, children: dict[str, float], watch: Watch | None
) -> Callable[[Stage, Manifest, list[list[Job]]], Iterator[Done]]:
    params = params_in_force(run.workspace)

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        for group in groups:
            before = _children_s()
            with watch.stage(stage) if watch else nullcontext(), run.meter.stage(stage):
                done = run_batch(run.workspace, manifest, group, params)
            children[stage] = children.get(stage, 0.0) + _children_s() - before
            yield done

    return submit


def _children_s() -> float:
    """Processor time of the children that have ended and were waited for; run_batch leaves none behind."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _count(run: Run) -> None:
    with run.workspace.views() as reader:
        videos = reader.sql(
            "SELECT name, state, prefilter_reason AS rejected, coalesce(num_frames, 0) / 25 AS s FROM videos"
        ).to_dicts()
        clips_s = reader.sql("SELECT coalesce(sum(duration_s), 0) FROM clips").item()
        lines = reader.sql(
            "SELECT name, count(*) FILTER (WHERE status = 'ok') FROM timelines GROUP BY name"
        ).iter_rows()
        run.ok = dict(lines)
        for name in (n for n, s in discover().items() if s.spec.grain == "clip"):
            if f"{name}_status" in reader.columns("signals"):
                told = reader.sql(f"SELECT count(*) FROM signals WHERE {name}_status = 'ok'")
                run.ok[name] = told.item()
    kept_s = sum(v["s"] for v in videos if v["rejected"] is None)
    run.rejected = {v["name"]: v["rejected"] for v in videos if v["rejected"] is not None}
    run.rejected_s = sum(v["s"] for v in videos if v["rejected"] is not None)
    run.num_quarantined = sum(v["state"] == "quarantined" for v in videos)
    whole_s = kept_s + run.rejected_s
    run.media_s = {"normalise": whole_s, "timelines": kept_s, "clip": kept_s, "signals": clips_s, PLANNING: whole_s}


def warmed(paths: Sequence[Path], folder: Path) -> Run:
    """Curates short files one by one until every signal has been ok once: then all models are in memory."""
    import cv2
    import numpy as np

    from tasks.transnet import transitions

    cv2.setNumThreads(1)
    transitions(np.zeros((60, 27, 48, 3), np.uint8))
    sums: Run | None = None
    for i, path in enumerate(sorted(paths, key=lambda p: p.stat().st_size)[:MAX_WARM_FILES]):
        run = engine([path], folder / str(i))
        if sums is not None:
            run = _added(sums, run)
        sums = run
        if all(run.ok.get(name, 0) for name in wanted_signals(None)):
            break
    assert sums is not None
    return sums


def _added(first: Run, second: Run) -> Run:
    def both(a: Mapping[Any, float], b: Mapping[Any, float]) -> dict[Any, Any]:
        return {k: a.get(k, 0) + b.get(k, 0) for k in {**a, **b}}

    return Run(
        second.workspace,
        cpu_s=both(first.cpu_s, second.cpu_s),
        media_s=both(first.media_s, second.media_s),
        ok=both(first.ok, second.ok),
    )


def load_s(warm: Run, steady: Mapping[Part, float]) -> dict[Part, float]:
    """What the first run of a part took beyond its later cost: imports and models."""
    parts = (p for p in warm.cpu_s if p in steady)
    return {p: max(0.0, warm.cpu_s[p] - steady[p] * warm.media_s[p[0]]) for p in parts}


def limited_sum(per_s: Mapping[Part, float]) -> float:
    """All signals with their decode, without ASR, OCR and TransNetV2."""
    return sum(s for (stage, part), s in per_s.items() if stage in ("timelines", "signals") and part not in COSTLY)


def source_ratio(run: Run) -> tuple[float, float]:
    """(CPU-seconds per second of a bare decode of the sources, normalise over it), over what was not quarantined."""
    with run.workspace.views() as reader:
        rows = reader.sql("SELECT uri FROM videos WHERE state <> 'quarantined'")["uri"].to_list()
    spent = sum(bare_pass(run.workspace.objects.local(uri))[0] for uri in rows)
    normalise = sum(s for (stage, _), s in run.cpu_s.items() if stage == "normalise")
    return spent / run.media_s["normalise"], normalise / spent


def table(runs: Sequence[Run], warm: Run) -> list[str]:
    """One line per part, medians over the runs; "declared" is the signal's cost_cpu_s."""
    told = [run.per_s() for run in runs]
    steady = {part: statistics.median(t.get(part, 0.0) for t in told) for part in told[0]}
    loads = load_s(warm, steady)
    lines = [
        "| stage | part | CPU-s | CPU-s per s | range | declared | loading, CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    order = ["normalise", "timelines", "clip", "signals", PLANNING]
    for stage, part in sorted(steady, key=lambda p: (order.index(p[0]), -steady[p])):
        declared = f"{discover()[part].spec.cost_cpu_s:g}" if part in discover() else ""
        values = [t.get((stage, part), 0.0) for t in told]
        spread = f"{min(values):.4f} to {max(values):.4f}" if len(runs) > 1 else ""
        cpu_s, loading = runs[-1].cpu_s.get((stage, part), 0.0), loads.get((stage, part), 0.0)
        shown = f"| {stage} | {part} | {cpu_s:.2f} | {steady[stage, part]:.4f} | {spread} | {declared} |"
        lines.append(f"{shown} {f'{loading:.1f}' if loading >= 0.05 else ''} |")
    return lines


def sums(runs: Sequence[Run]) -> dict[str, float]:
    """Medians over the runs, CPU-seconds per second."""
    told = [run.per_s() for run in runs]

    def median(what: Callable[[dict[Part, float]], float]) -> float:
        return round(statistics.median(what(t) for t in told), 4)

    return {
        "all": median(lambda t: sum(t.values())),
        "all_without_asr_ocr_transnet": median(lambda t: sum(s for p, s in t.items() if p[1] not in COSTLY)),
        "signals": median(lambda t: sum(s for p, s in t.items() if p[0] in ("timelines", "signals"))),
        "signals_without_asr_ocr_transnet": median(limited_sum),
        "limit": LIMIT_CPU_S,
    }


def prefilter_saving(run: Run, per_s: float) -> dict[str, float]:
    """CPU-seconds that signals of the rejected files were spared: their length times the measured cost."""
    saved = run.rejected_s * per_s
    return {
        "num_rejected": len(run.rejected),
        "rejected_s": round(run.rejected_s, 1),
        "saved_cpu_s": round(saved, 1),
        "saved_ratio": round(saved / (saved + sum(run.cpu_s.values())), 4),
    }


def footage(told: Sequence[str]) -> list[Path]:
    """The video files meant. Raises ValueError when there are none."""
    media = Path(os.environ.get("HEADROOM_MEDIA") or Path(__file__).resolve().parents[2] / "shared" / "media")
    folders = [Path(t) for t in told] or [media / "talk"]
    if not told and not folders[0].is_dir():
        from tasks.samples import make_samples

        folders = [Path("samples")]
        make_samples(folders[0])
    files = [f for folder in folders for f in (sorted(folder.iterdir()) if folder.is_dir() else [folder])]
    videos = [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise ValueError(
            f"{', '.join(map(str, folders))}: no video; give a folder or files of {sorted(VIDEO_SUFFIXES)}"
        )
    return videos


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="FOLDER|FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, the rest to stderr")
    parser.add_argument("--runs", type=int, default=1, help="runs of the engine")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the decoding comparison")
    options = parser.parse_args(arguments)
    shown = sys.stderr if options.json else sys.stdout
    try:
        paths = footage(options.paths)
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="curate") as folder:
        told = measured(paths, Path(folder), options.runs, options.repeats, lambda s: print(s, file=shown))
    if options.json:
        print(json.dumps(told))


def measured(
    paths: Sequence[Path], folder: Path, num_runs: int, repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    say(f"{machine()}; load {os.getloadavg()[0]:.1f}\n")
    warm = warmed(paths, folder / "warm")
    cold = [name for name in wanted_signals(None) if not warm.ok.get(name)]
    watch = Watch()
    runs = [engine(paths, folder / f"run{i}", watch) for i in range(num_runs)]
    peaks = watch.peaks()
    last, found = runs[-1], sums(runs)
    media_s, clips_s = last.media_s["normalise"], last.media_s["signals"]
    say(
        f"{len(paths)} files, {media_s:.0f} s of video, {clips_s:.0f} s in clips, {len(last.rejected)} rejected, "
        f"{last.num_quarantined} quarantined, {sum(last.failed.values())} rows failed {last.failed or ''}\n"
    )
    say("\n".join(table(runs, warm)))
    say(f"\nnot loaded before, so their loading counts: {', '.join(cold)}" if cold else "")
    say(f"sum of all: {found['all']:.3f}; without ASR, OCR, TransNetV2: {found['all_without_asr_ocr_transnet']:.3f}")
    limited = found["signals_without_asr_ocr_transnet"]
    say(f"signals with their decode: {found['signals']:.3f}; without ASR, OCR, TransNetV2: {limited:.3f}, limit 0.6")
    bare_per_s, ratio = source_ratio(last)
    say(f"normalise: {ratio:.2f} times a bare decode of the sources ({bare_per_s:.4f} CPU-s per s)")
    saving = prefilter_saving(last, found["signals"])
    say(
        "prefilter: {num_rejected:.0f} rejected ({rejected_s} s), {saved_cpu_s} CPU-s of signals spared\n".format(
            **saving
        )
    )
    decoding = report(rounds(last.meter, repeats), child_start_s(last.meter.calls[0].proxy), say)
    _say_peaks("this footage", peaks, say)
    told: dict[str, Any] = {
        "machine": machine(), "files": len(paths), "media_s": media_s, "clips_s": clips_s, "sums": found,
        "per_s": {f"{stage}.{part}": round(s, 5) for (stage, part), s in last.per_s().items()},
        "normalise_ratio": round(ratio, 3), "prefilter": saving, "decoding": decoding,
        "peaks": [asdict(p) for p in peaks], "wall_s": round(last.wall_s, 1),
    }  # fmt: skip
    return told


def _say_peaks(what: str, peaks: Sequence[Peak], say: Callable[[str], None]) -> None:
    say(f"\n| peak memory, {what} | worker MiB | children MiB | together | of the limit {LIMIT_PEAK_MIB} |")
    say("|---|---|---|---|---|")
    for p in peaks:
        share = p.sum_mib / LIMIT_PEAK_MIB
        say(f"| {p.stage} | {p.worker_mib:.0f} | {p.children_mib:.0f} | {p.sum_mib:.0f} | {share:.2f} |")


if __name__ == "__main__":
    main()
