"""How much a renderer of one's own gains by more footage of the person: `renderer_personal` from a few seconds to a minute.

    python -m benchmarks.personal_renderer CHECKPOINT --tier TIER [-w WORKSPACE] [--seconds 4 8 16] [--set num_steps=100 ...] [--json]

CHECKPOINT is a renderer of other people, with which each training begins. Of everybody in the tier whom it did not learn from and
who has enough, the last `HELD_S` seconds of the last clip are judged, and the seconds right before them are learnt from, in their
own clip and in those before it. A figure is the mean over people, and in brackets the least and the most of one of them; what is
ahead of the checkpoint and of the warp is above 0. People differ between rows that say another number of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric

# isort: split
import numpy as np
import torch

from benchmarks.machine import machine
from flows.motion_data import read
from modeling.made_renderer import renderer_of
from modeling.motion_set import MotionClip, MotionSet
from modeling.recipes.renderer import Renderer, renderer
from modeling.renderer import RendererNet
from modeling.renderer_metrics import evaluate
from modeling.renderer_set import FaceClip, read_faces
from modeling.renderer_training import train
from store import registry
from store.frozen import Frozen, frozen
from store.media import GRID_FPS
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.head_geometry import canonical_face

HELD_S = 2.5
MEASURES = ("mouth_psnr", "mouth_ssim", "sharpness")
Cut = tuple[MotionClip, int, int]
"""Frames of a clip, counted from its own first one."""


def footage_before(clips: Sequence[MotionClip], seconds: float) -> list[Cut] | None:
    """What is learnt from: so many seconds before the held-out end of the last of a person's clips, which are given in their
    order; None where there is not as much."""
    wanted, cuts = round(seconds * GRID_FPS), list[Cut]()
    for number, clip in enumerate(reversed(clips)):
        end = len(clip) - (round(HELD_S * GRID_FPS) if number == 0 else 0)
        if end <= 0:
            return None
        first = max(0, end - wanted)
        cuts.insert(0, (clip, first, end))
        wanted -= end - first
        if not wanted:
            return cuts
    return None


def people_of(data: MotionSet, known: set[str]) -> dict[str, list[MotionClip]]:
    """By person, clips in their order, of those who are not known."""
    found: dict[str, list[MotionClip]] = {}
    for clip in sorted(data.clips, key=lambda c: (c.video_id, c.first_frame)):
        if clip.who not in known:
            found.setdefault(clip.who, []).append(clip)
    return found


def learnt(recipe: Renderer, start: RendererNet, clips: Sequence[FaceClip]) -> RendererNet:
    with tempfile.TemporaryDirectory() as folder:
        return train(recipe, clips, Path(folder), start=start.state_dict())


def grown(
    workspace: Workspace, found: registry.Checkpoint, tier: str, seconds: Sequence[float], changed: Mapping[str, object],
    on_done: Callable[[str], None] = lambda told: None,
) -> dict[str, Any]:  # fmt: skip
    """{"seconds": {s: {"people": [..], kind of plate: {baseline or "ours": {measure: [of each person]}}}}}. Raises ValueError where
    nobody has the fewest seconds."""
    general = renderer_of(found)
    held = frozen(workspace, str(freeze.build(workspace, tier)["snapshot"]))
    data = read(workspace, held)
    size = {name: getattr(general.recipe, name) for name in ("width", "num_blocks", "identity_width", "state_width")}
    people = people_of(data, set(found.told["data"]["people"]["train"]))
    rows: dict[str, Any] = {}
    for s in seconds:
        recipe = renderer("renderer_personal", **{"frames_per_clip": round(s * GRID_FPS), **size, **changed})
        for who, clips in people.items():
            cuts = footage_before(clips, s)
            faces = _faces(held, data, cuts, recipe) if cuts else None
            if faces is None:
                continue
            judged = evaluate(learnt(recipe, general, faces[0]), faces[1], general=general)["plates"]
            row = rows.setdefault(f"{s:g}", {"people": []})
            row["people"].append(who)
            for kind, of in judged.items():
                for measure in MEASURES:
                    for name, told in (("ours", of["measures"]["ours"]), *of["ahead"].items()):
                        if name != "copy" and measure in told:
                            cells = row.setdefault(kind, {}).setdefault(name, {}).setdefault(measure, [])
                            cells.append(told[measure]["value"])
            on_done(f"{s:g} s of {who}")
    if f"{min(seconds):g}" not in rows:
        raise ValueError(
            f"personal_renderer: nobody in tier {tier} whom {found.id} did not learn from has {min(seconds) + HELD_S:g} s"
        )
    return {"machine": machine(), "checkpoint": found.id, "num_steps": recipe.num_steps, "seconds": rows}


def _faces(
    held: Frozen, data: MotionSet, cuts: Sequence[Cut], recipe: Renderer
) -> tuple[list[FaceClip], list[FaceClip]] | None:
    """(to learn from, to judge); None where too little of it shows a face that is large enough."""
    triangles, last = canonical_face().triangles, cuts[-1][0]
    some, _ = read_faces(held, [c.cut(first, end) for c, first, end in cuts], data.people, triangles, recipe)
    from_frame = {last.clip_id: last.first_frame + cuts[-1][2]}
    whole = replace(recipe, frames_per_clip=len(last))
    judged, _ = read_faces(held, [last], data.people, triangles, whole, judged_from=from_frame)
    return (some, judged) if len(some) == len(cuts) and judged else None


def table(told: Mapping[str, Any]) -> str:
    lines = [
        f"| {told['num_steps']} steps; {told['machine']} | people | mouth PSNR, dB | ahead of the general one | ahead of the warp "
        "| mouth SSIM ahead of the general one | sharpness |",
        "|---" * 7 + "|",
    ]
    for s, row in told["seconds"].items():
        for kind in (k for k in row if k != "people"):
            of = row[kind]
            cells = [
                _cell(of["ours"]["mouth_psnr"]), _cell(of["general"]["mouth_psnr"]), _cell(of["warp"]["mouth_psnr"]),
                _cell(of["general"]["mouth_ssim"], 3), _cell(of["ours"]["sharpness"]),
            ]  # fmt: skip
            lines.append(f"| {s} s, {kind} | {len(row['people'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float], digits: int = 2) -> str:
    mean, least, most = (f"{v:.{digits}f}" for v in (np.mean(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} [{least}, {most}]"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.personal_renderer")
    parser.add_argument("checkpoint")
    parser.add_argument("--tier", required=True)
    parser.add_argument("-w", "--workspace")
    parser.add_argument("--seconds", type=float, nargs="+", default=[4, 8, 16])
    parser.add_argument("--set", action="append", default=[], metavar="VALUE=...")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    workspace = open_workspace(given.workspace)
    changed = dict(pair.split("=", 1) for pair in given.set)
    found = registry.load(workspace, given.checkpoint)
    told = grown(
        workspace,
        found,
        given.tier,
        sorted(given.seconds),
        changed,
        lambda done: print(done, file=sys.stderr, flush=True),
    )
    print(json.dumps(told) if given.json else table(told))


if __name__ == "__main__":
    main(sys.argv[1:])
