"""The Prefect flow `train`: freeze, read, train, evaluate, publish; with losses as they fall, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from flows import train as steps
from flows.training_progress import NUM_PICTURED, TIME_ALONE, Pictured, Pictures, task_of
from infra.counted import clips_of_people
from modeling.audio_to_motion import MotionNet
from modeling.motion_metrics import Predict, rms_to_mouth
from modeling.motion_picture import draw_samples
from modeling.recipes.audio_to_motion import recipe
from modeling.training import network_in, predict
from store.scrub import MOTION_SAMPLES
from store.workspace import open_workspace
from tasks.curriculum import load_curriculum


def _run_name() -> str:
    """Such as "train audio_to_motion on snapshot 1c22f0a9"."""
    told = flow_run.parameters
    if course := told.get("curriculum"):
        return f"train {told.get('recipe_name')} through curriculum {str(course)[:8]}"
    return f"train {told.get('recipe_name')} on snapshot {str(told.get('snapshot', ''))[:8]}"


@flow(name="train", flow_run_name=_run_name, persist_result=False)
def train(
    workspace: str,
    recipe_name: str,
    snapshot: str,
    changed: dict[str, Any] | None = None,
    curriculum: str | None = None,
    device: str = "cpu",
    processes: int = 1,
) -> dict[str, Any]:
    """Trains a recipe on a snapshot, or through a frozen curriculum of which it is the last; judges it on people (or, with
    too few of them, on time) that it never saw, and publishes the checkpoint."""
    place = open_workspace(workspace)
    made = recipe(recipe_name, **(changed or {}))
    if curriculum:
        course = load_curriculum(place, curriculum)
        work = task_of(
            "read",
            f"read curriculum {curriculum[:8]}",
            lambda: steps.prepare_curriculum(place, made, course, changed or {}),
        )
    else:
        work = task_of("read", f"read snapshot {snapshot[:8]}", lambda: steps.prepare(place, made, snapshot))
    parts = work.parts
    held = (
        f"{len(parts.held_people)} of people" if parts.held_out == "people" else f"the ends of {len(parts.held_time)}"
    )
    get_run_logger().info(
        "%d clips to learn from, %s held out, %d left out; state in %s",
        len(parts.train), held, len(work.data.left_out), work.folder,
    )  # fmt: skip
    with Pictured(work.folder, work.recipe.save_every, _pictures(work)) as shown:
        net = task_of(
            "train",
            f"train {made.name}, {work.recipe.num_steps} steps",
            lambda: steps.train(work, shown, device, processes),
        )
        metrics, beside = task_of(
            "evaluate", f"evaluate on held-out {parts.held_out}", lambda: steps.evaluate(work, net)
        )
        for part, judged in parts_of(metrics).items():
            shown.figures(part, {name: told["value"] for name, told in judged["measures"]["ours"].items()})
        shown.last(net, work.recipe.num_steps)
        told: dict[str, Any] = task_of(
            "publish", "publish the checkpoint", lambda: steps.publish(place, work, net, metrics, beside)
        )
        drawn = task_of("draw", "draw held-out clips", lambda: steps.draw(place, work, told, beside))
        shown.drawn(drawn, work.recipe.num_steps)
    seen = drawn.told if drawn else None
    task_of("tell", "tell the store of each clip", lambda: steps.tell_clips(place, work, net, told, beside, seen))
    get_run_logger().info("checkpoint %s", told["id"])
    create_markdown_artifact(
        markdown(told),
        key="checkpoint",
        description=f"Checkpoint {told['id']}: measures, beside the baselines, and its data",
    )
    return {**told, "drawn": seen} if seen else told


def markdown(told: Mapping[str, Any]) -> str:
    """The measures of a checkpoint beside its baselines, and its data card."""
    parts = [f"# {told['recipe']['name']} {told['id']}"]
    if told["metrics"]["held_out"] == "time":
        parts.append(TIME_ALONE)
    for name, judged in parts_of(told["metrics"]).items():
        parts.append(f"## {name.replace('_', ' ')}: {clips_of_people(judged['num_clips'], judged['num_people'])}")
        parts.append(measures_table(judged))
    card = told["data"]
    stages = told.get("curriculum", {}).get("stages", ())
    lines = [
        f"{number}. snapshot {s['snapshot']['id']} of {s['snapshot']['tier']}: {s['num_clips']} clips, {s['num_steps']} steps"
        for number, s in enumerate(stages, 1)
    ]
    parts += ["## Data", "\n".join(lines) or f"Snapshot {told['snapshot']['id']} of {told['snapshot']['tier']}."]
    parts.append("\n".join(f"- {count} clips: {licence}" for licence, count in card["licences"].items()))
    return "\n\n".join(parts)


def parts_of(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The measures, by what was held out."""
    return {name: judged for name, judged in metrics.items() if isinstance(judged, Mapping) and "measures" in judged}


def measures_table(judged: Mapping[str, Any]) -> str:
    lines = ["| measure | " + " | ".join(judged["measures"]) + " |", "|---" * (1 + len(judged["measures"])) + "|"]
    for measure in judged["measures"]["ours"]:
        cells = [_cell(of[measure]) for of in judged["measures"].values()]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(told: Mapping[str, float]) -> str:
    return f"{told['value']:.3f} [{told['low']:.3f}, {told['high']:.3f}]"


def _pictures(work: steps.Prepared) -> Pictures[MotionNet]:
    """Curves of held-out clips as they come to look."""
    clips = sorted([*work.parts.held_people, *work.parts.held_time], key=lambda c: c.clip_id)[:NUM_PICTURED]
    loud = rms_to_mouth(work.parts.train)

    def saved() -> MotionNet | None:
        net = network_in(work.folder)
        if net is not None:
            net.hear = work.ears.hear if work.ears else None
        return net

    def draw(net: MotionNet) -> np.ndarray:
        predictors: dict[str, Predict] = {"network": lambda sound: predict(net, sound), "rms to mouth": loud}
        return draw_samples(predictors, clips)

    told = "Stored motion (white), the network's (amber), loudness (teal)"
    return Pictures(MOTION_SAMPLES, "held_out/motion", told, [c.clip_id for c in clips], saved, draw)
