"""The Prefect flow `train`: freeze, read, train, evaluate, publish; with losses as they fall, and what came of it."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.runtime import flow_run

from flows import train as steps
from flows.training_progress import TIME_ALONE, Shown, task_of
from modeling.audio_to_motion import MotionNet
from modeling.motion_metrics import Predict, rms_to_mouth
from modeling.motion_picture import draw_samples, png
from modeling.recipes.audio_to_motion import recipe
from modeling.training import Progress, network_in, predict
from store.scrub import PICTURES
from store.workspace import open_workspace
from tasks.curriculum import load_curriculum

PICTURE_INTERVAL_S = 60.0
NUM_PICTURED = 3
"""Held-out clips whose curves are drawn; the erasure of one of them drops the pictures."""


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
    with _Shown(work) as shown:
        net = task_of(
            "train",
            f"train {made.name}, {work.recipe.num_steps} steps",
            lambda: steps.train(work, shown, device, processes),
        )
        metrics, beside = task_of(
            "evaluate", f"evaluate on held-out {parts.held_out}", lambda: steps.evaluate(work, net)
        )
        shown.figures(metrics)
        shown.picture(net, work.recipe.num_steps, whole=True)
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
    return told


def markdown(told: Mapping[str, Any]) -> str:
    """The measures of a checkpoint beside its baselines, and its data card."""
    parts = [f"# {told['recipe']['name']} {told['id']}"]
    if told["metrics"]["held_out"] == "time":
        parts.append(TIME_ALONE)
    for name, judged in parts_of(told["metrics"]).items():
        parts.append(f"## {name.replace('_', ' ')}: {judged['num_clips']} clips of {judged['num_people']} people")
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


class _Shown(Shown):
    """Also curves of held-out clips as they come to look, as TensorBoard events; the last picture in the Prefect UI."""

    def __init__(self, work: steps.Prepared) -> None:
        super().__init__(work.folder)
        self._save_every = work.recipe.save_every
        self._clips = sorted([*work.parts.held_people, *work.parts.held_time], key=lambda c: c.clip_id)[:NUM_PICTURED]
        self._hear = work.ears.hear if work.ears else None
        self._loud = rms_to_mouth(work.parts.train)
        self._drawn_at = time.monotonic()

    def __call__(self, done: Progress) -> None:
        super().__call__(done)
        fresh = done.step > self._save_every and done.step % self._save_every == 1  # the step after one that was saved
        if fresh and time.monotonic() - self._drawn_at > PICTURE_INTERVAL_S and (net := network_in(self._folder)):
            self._drawn_at = time.monotonic()
            net.hear = self._hear
            self.picture(net, done.step - 1)

    def picture(self, net: MotionNet, step: int, whole: bool = False) -> None:
        """What the network makes of held-out clips; of the whole training also for the Prefect UI and as samples.png."""
        predictors: dict[str, Predict] = {"network": lambda sound: predict(net, sound), "rms to mouth": self._loud}
        drawn = draw_samples(predictors, self._clips)
        self._board.add_image("held_out/motion", drawn, step, dataformats="HWC")
        if whole:
            data = png(drawn)
            (self._folder / "samples.png").write_bytes(data)
            told = "Stored motion (white), the network's (amber), loudness (teal): clips "
            create_image_artifact(
                image_url=f"data:image/png;base64,{base64.b64encode(data).decode()}",
                key=PICTURES,
                description=told + ", ".join(c.clip_id for c in self._clips),
            )

    def figures(self, metrics: Mapping[str, Any]) -> None:
        for part, judged in parts_of(metrics).items():
            for name, told in judged["measures"]["ours"].items():
                self._board.add_scalar(f"{part}/{name}", told["value"], 0)
