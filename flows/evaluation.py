"""`evaluate`: a checkpoint judged on what it did not learn from, beside the baselines; and what that says of each clip.

The measures of each clip go back to the store as the signal eval_RECIPE, so that tiers, funnel and explain read them like any
other: of the checkpoint of that recipe which was judged last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flows.hearing import with_ears
from flows.motion_data import read, stages_read
from modeling.made_motion import network
from modeling.motion_rows import NUMBERS, TEXTS, VERSION, Row, clip_rows
from store import registry
from store.frozen import Frozen, frozen, union
from store.workspace import Workspace, open_workspace
from tasks.scores import put_scores

if TYPE_CHECKING:
    from modeling.audio_to_motion import MotionNet
    from modeling.held_out import HoldsOut, Split
    from modeling.motion_metrics import Predict
    from modeling.motion_set import MotionClip, MotionSet


@dataclass(frozen=True)
class Layout:
    """The columns of a row of a kind of checkpoint, and the version of how they come about."""

    version: int
    texts: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def columns(self) -> dict[str, pa.DataType]:
        return {**dict.fromkeys(self.texts, pa.string()), **dict.fromkeys(self.numbers, pa.float64())}


MOTION = Layout(VERSION, TEXTS, NUMBERS)


def run_evaluate(
    workspace_root: str | Path | None,
    checkpoint: str,
    snapshot: str | None = None,
    measures: Sequence[str] = (),
    *,
    videos: int = 0,
    renderer: str | None = None,
) -> dict[str, Any]:
    """Judges a checkpoint on the people of a snapshot (by default its own) whom it did not learn from, and on what it did
    not see of those whom it did; "held_out" is time where it learnt from everybody. Kept beside the checkpoint, and given.
    `measures` are optional ones of a renderer, as in flows/perceptual.py. So many `videos` are drawn and judged by what is
    seen ("drawn", flows/drawn.py), those of motion by a `renderer`: the deployed one, or one named, or "none".

    Raises ValueError for an unknown checkpoint or snapshot, when nobody in the snapshot is held out, for measures of pictures
    where the checkpoint draws none, and for a renderer beside one.
    """
    workspace = open_workspace(workspace_root)
    found = registry.load(workspace, checkpoint)
    if found.told["kind"] in ("detector", "ratings", "identity"):
        raise ValueError(
            f"checkpoint {found.id}: is a {found.told['kind']} model, judged as it was trained; headroom trace {found.id} shows it"
        )
    if found.told["kind"] == "renderer":
        from flows.renderer import run_evaluate_renderer

        if renderer is not None:
            raise ValueError(
                f"evaluate: --renderer draws for motion, checkpoint {found.id} is a renderer; leave it out"
            )
        return run_evaluate_renderer(workspace, found, snapshot, measures, videos)
    if measures:
        raise ValueError(f"evaluate: --with is of a renderer, checkpoint {found.id} draws nothing; leave it out")
    own = str(found.told["snapshot"]["id"])
    held = frozen(workspace, snapshot or own)
    if held.snapshot_id == own and "curriculum" in found.told:
        held = union([held for held, _ in stages_read(workspace, found.told["curriculum"])])
    data = read(workspace, held)
    net = with_ears(network(found), found.told.get("hearing"))
    beside, parts = baselines_of(found), parts_of(found, data, held, net.recipe)
    metrics = judged(net, beside, parts)
    if videos:
        from flows.drawn import draw_motion

        metrics["drawn"] = draw_motion(workspace, found, held, data, parts, beside, videos, renderer).told
    return tell(workspace, found, held.snapshot_id, metrics, rows_of(net, beside, parts, found.id))


def tell(
    workspace: Workspace,
    found: registry.Checkpoint,
    snapshot: str,
    metrics: Mapping[str, Any],
    rows: Mapping[str, Row],
    layout: Layout = MOTION,
    suffix: str = "",
) -> dict[str, Any]:
    """Writes the rows to the store and, once they are there, the evaluation beside the checkpoint, which it gives. A kill
    between the two leaves no evaluation, so whoever needs one judges anew and writes the same rows. `suffix` is of the file's
    name, of an evaluation that others must not take for the usual one."""
    name = signal_of(str(found.told["recipe"]["name"]))
    put_scores(workspace, name, fingerprint_of(found.id, layout), layout.columns, rows)
    made = {"checkpoint": found.id, "snapshot": snapshot, "signal": name, **metrics}
    text = json.dumps(made, sort_keys=True, indent=1).encode()
    workspace.objects.put_bytes(text, f"checkpoints/{found.id}/evaluations/{snapshot}{suffix}.json")
    return made


def signal_of(recipe: str) -> str:
    """The signal that holds what the evaluation of a recipe's checkpoint says of each clip."""
    return f"eval_{recipe}"


def fingerprint_of(checkpoint: str, layout: Layout = MOTION) -> str:
    """Of a checkpoint and of how it is judged."""
    told = [checkpoint, layout.version, layout.texts, layout.numbers]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def parts_of(found: registry.Checkpoint, data: MotionSet, held: Frozen, made: HoldsOut) -> Split:
    """Of a snapshot, whoever a checkpoint did not learn from; where it was trained, also the ends it did not see, or these
    alone when nobody was held out. Raises ValueError when it learnt from everybody."""
    from modeling.held_out import Split, split

    card = found.told["data"]
    own = held.sha256 == found.told["snapshot"]["sha256"]
    if own and card.get("held_out") == "time":
        return split(data.clips, made)
    learnt_people, learnt_clips = set(card["people"]["train"]), set(card["clips"]["train"])
    learnt_videos = {c.video_id for c in data.clips if c.clip_id in learnt_clips}
    strangers = [c for c in data.clips if c.who not in learnt_people and c.video_id not in learnt_videos]
    if not strangers:
        raise ValueError(
            f"snapshot {held.snapshot_id}: checkpoint {found.id} learnt from everybody in it; give another snapshot"
        )
    later: Sequence[MotionClip] = [c for c in data.clips if c.who in learnt_people and c.video_id not in learnt_videos]
    if own:
        later = split(data.clips, made).held_time
    return Split([], later, strangers)


def judged(net: MotionNet, beside: Mapping[str, Predict], parts: Split) -> dict[str, Any]:
    """{"held_out", "held_people", "held_time"}: measures of modeling/motion_metrics.py of what is held out."""
    from modeling.motion_metrics import evaluate as judge

    predictors, alone = _predictors(net, beside), parts.held_out == "time"
    held = {"held_people": parts.held_people, "held_time": parts.held_time}
    figures = {name: judge(predictors, clips, over_clips=alone) for name, clips in held.items() if clips}
    return {"held_out": parts.held_out, **figures}


def rows_of(net: MotionNet, beside: Mapping[str, Predict], parts: Split, checkpoint: str) -> dict[str, Row]:
    """The same, clip by clip. People whom it never saw say "people" in held_out, ends of clips of others "time"."""
    predictors = _predictors(net, beside)
    return {
        **clip_rows(predictors, parts.held_time, "time", checkpoint),
        **clip_rows(predictors, parts.held_people, "people", checkpoint),
    }


def _predictors(net: MotionNet, beside: Mapping[str, Predict]) -> dict[str, Predict]:
    from modeling.training import predict

    return {"ours": lambda sound: predict(net, sound), **beside}


def baselines_of(found: registry.Checkpoint) -> dict[str, Predict]:
    from modeling.motion_metrics import baselines_from

    return baselines_from(found.told["baselines"])
