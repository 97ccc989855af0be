"""What demand-driven curation saves: CPU-seconds of filling one tier against computing every signal, and the same tier.

    python -m benchmarks.demand [FOLDER|FILES ...] [--tier a2v_gold] [--json] [--write docs/proofs/demand.md]

Two fresh workspaces over the same files, each in a process of its own, on one thread: one computes what decides the
tier, the other everything. Processor time is that of the process and its children (FFmpeg, the decoder), models'
loading with it, in both. The tiers must hold the same clips with the same values.
Without FOLDER: HEADROOM_MEDIA/talk and neg, else those of ../shared/media beside the checkout, else the samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric
from benchmarks.machine import machine
from store import snapshot
from store.workspace import open_workspace
from tasks import freeze
from tasks import tier as tiers
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.jobs import run_batch
from tasks.outlook import outlook
from tasks.plan import wanted_signals
from tasks.reclip import params_in_force
from tasks.signals import discover


def run(paths: Sequence[str], folder: Path, tier: str | None) -> dict[str, Any]:
    """Curates the files in a fresh workspace in this process: for a tier, or with every signal."""
    workspace = open_workspace(folder)
    began, cpu_since = time.monotonic(), sum(os.times()[:4])
    ingest(workspace, paths)
    params = params_in_force(workspace)

    def submit(stage: Any, manifest: Any, groups: Any) -> Any:
        for jobs in groups:
            yield run_batch(workspace, manifest, jobs, params)

    wanted = [tiers.parsed(workspace, tier)] if tier else []
    outcome = bring_up_to_date(workspace, submit, tiers=wanted)
    cpu_s = sum(os.times()[:4]) - cpu_since
    return {
        "cpu_s": cpu_s,
        "wall_s": time.monotonic() - began,
        "computed": outcome.tally.computed,
        "skipped": outcome.skipped,
    }


def apart(paths: Sequence[str], folder: Path, tier: str | None) -> dict[str, Any]:
    """`run` in a process of its own: nothing is loaded for it before."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.demand",
        *paths,
        "--into",
        str(folder),
        *(["--tier", tier] if tier else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def members(folder: Path, tier: str) -> list[dict[str, Any]]:
    """The clips of the tier, frozen, with the values of its clauses; without salts, which are each workspace's own."""
    workspace = open_workspace(folder)
    held = snapshot.load(Path(freeze.build(workspace, tier)["path"]))
    return [{k: v for k, v in row.items() if k not in ("salt", "leaf")} for row in held.clips.to_pylist()]


def measure(paths: Sequence[str], tier: str, folder: Path) -> dict[str, Any]:
    for_tier = apart(paths, folder / "tier", tier)
    everything = apart(paths, folder / "all", None)
    one, two = members(folder / "tier", tier), members(folder / "all", tier)
    workspace = open_workspace(folder / "all")
    needed = {n for n in wanted_signals(tiers.signals_of(workspace, tier)) if discover()[n].spec.grain == "clip"}
    with workspace.views() as reader:
        clips, clip_s = reader.sql("SELECT count(*), coalesce(sum(duration_s), 0) FROM clips").row(0)
        videos = reader.sql("SELECT count(*), coalesce(sum(num_frames), 0) / 25 FROM videos").row(0)
    return {
        "machine": machine(),
        "tier": tier,
        "videos": int(videos[0]),
        "video_s": round(float(videos[1]), 1),
        "clips": int(clips),
        "clip_s": round(float(clip_s), 1),
        "tier_cpu_s": round(for_tier["cpu_s"], 1),
        "all_cpu_s": round(everything["cpu_s"], 1),
        "saved_cpu_s": round(everything["cpu_s"] - for_tier["cpu_s"], 1),
        "same_tier": one == two,
        "in_tier": len(two),
        "signals": {
            name: {"all": everything["computed"].get(name, 0), "tier": for_tier["computed"].get(name, 0)}
            for name in everything["computed"]
            if discover()[name].spec.grain == "clip"
        },
        "read_by_tier": sorted(needed),
        "left_by_plan": {
            line["signal"]: line["to_compute"]
            for line in outlook(open_workspace(folder / "tier"), tiers=[tier])["signals"]
        },
    }


def markdown(told: dict[str, Any]) -> str:
    share = told["saved_cpu_s"] / told["all_cpu_s"]
    lines = [
        f"# Filling {told['tier']} against computing everything",
        f"`python -m benchmarks.demand`: {told['videos']} videos ({told['video_s']:g} s), {told['clips']} clips "
        f"({told['clip_s']:g} s), {told['in_tier']} of them in the tier. {told['machine']}.",
        f"For the tier {told['tier_cpu_s']:g} CPU-seconds, with every signal {told['all_cpu_s']:g}: "
        f"**{told['saved_cpu_s']:g} saved ({share:.0%})**. Normalising and the signals of whole videos, which clips are "
        "chosen by, are in both.",
        f"The same clips with the same values: {'yes' if told['same_tier'] else '**NO**'}. "
        f"Rows that still decide something after the run for the tier: {sum(told['left_by_plan'].values())}.",
        "| clip signal | rows with every signal | rows for the tier | read by the tier |\n|---|---|---|---|",
    ]
    rows = [
        f"| {name} | {n['all']} | {n['tier']} | {'yes' if name in told['read_by_tier'] else ''} |"
        for name, n in told["signals"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows) + "\n"


def default_paths() -> list[str]:
    from tests.conftest import ROOT, media_root

    root = media_root()
    if root is None:
        from tasks.samples import make_samples

        make_samples(ROOT / "samples")
        return [str(ROOT / "samples")]
    return [str(root / "talk"), str(root / "neg")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--tier")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into:
        print(json.dumps(run(options.paths, options.into, options.tier)))
        return 0
    with tempfile.TemporaryDirectory(prefix="headroom-demand-") as folder:
        told = measure(options.paths or default_paths(), options.tier or "a2v_gold", Path(folder))
    text = markdown(told)
    if options.write:
        options.write.write_text(text)
    print(json.dumps(told) if options.json else text)
    return 0 if told["same_tier"] else 1


if __name__ == "__main__":
    sys.exit(main())
