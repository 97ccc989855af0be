"""The Prefect flow `train renderer`: read, train, evaluate, publish; with the losses as they fall, pictures as they come to look, and
what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from flows import renderer as steps
from flows.training_progress import NUM_PICTURED, TIME_ALONE, Pictured, Pictures, task_of
from infra.counted import clips_of_people
from modeling.recipes.renderer import renderer
from modeling.renderer import RendererNet
from modeling.renderer_picture import draw_samples
from modeling.renderer_rows import ClipRows
from modeling.renderer_training import network_in
from store import registry
from store.scrub import RENDERER_SAMPLES
from store.workspace import open_workspace


def _run_name() -> str:
    told = flow_run.parameters
    return f"train {told.get('recipe_name')} on snapshot {str(told.get('snapshot', ''))[:8]}"


@flow(name="train renderer", flow_run_name=_run_name, persist_result=False)
def train_renderer(
    workspace: str,
    recipe_name: str,
    snapshot: str,
    changed: dict[str, Any] | None = None,
    start: str | None = None,
    device: str = "cpu",
    processes: int = 1,
) -> dict[str, Any]:
    """Trains a renderer on a snapshot, from the weights of `start` if that is given; judges it on people (or, with too few of
    them, on time) that it never saw, and publishes the checkpoint."""
    place = open_workspace(workspace)
    made = renderer(recipe_name, **(changed or {}))
    begun = registry.load(place, start) if start else None
    work = task_of("read", f"read snapshot {snapshot[:8]}", lambda: steps.prepare(place, made, snapshot, begun))
    counts = ", ".join(f"{len(clips)} {name}" for name, clips in work.faces.items())
    get_run_logger().info("clips: %s; %d left out; state in %s", counts, len(work.left_out), work.folder)
    with Pictured(work.folder, made.save_every, _pictures(work)) as shown:
        net = task_of(
            "train",
            f"train {made.name}, {made.num_steps} steps",
            lambda: steps.train(work, shown, device, processes),
        )
        rows = ClipRows()
        metrics = task_of(
            "evaluate", f"evaluate on held-out {work.parts.held_out}", lambda: steps.evaluate(work, net, rows)
        )
        for name, judged in metrics.items():
            for kind, of in judged["plates"].items() if isinstance(judged, Mapping) else ():
                values = {measure: told["value"] for measure, told in of["measures"]["ours"].items()}
                shown.figures(f"{name}_{kind}", values)
        shown.last(net, made.num_steps)
        told = task_of("publish", "publish the checkpoint", lambda: steps.publish(place, work, net, metrics))
        drawn = task_of("draw", "draw held-out clips", lambda: steps.draw(place, work, told))
        shown.drawn(drawn, made.num_steps)
    task_of("tell", "tell the store of each clip", lambda: steps.tell_clips(place, work, told, rows, drawn.told))
    get_run_logger().info("checkpoint %s", told["id"])
    create_markdown_artifact(
        markdown(told), key="checkpoint", description=f"Checkpoint {told['id']}: measures, beside the baselines"
    )
    return {**told, "drawn": drawn.told}


def _pictures(work: steps.Prepared) -> Pictures[RendererNet]:
    """Frames of held-out clips: as filmed, as the warp shows them, and as the network draws them."""
    held = [c for part in ("held_people", "held_time") for c in work.faces.get(part, [])]
    clips = sorted({c.clip_id: c for c in held}.values(), key=lambda c: c.clip_id)[:NUM_PICTURED]
    told = "The person's picture (left); frames as filmed, as the warp shows them, and as the network draws them"
    return Pictures(
        RENDERER_SAMPLES,
        "held_out/frames",
        told,
        [c.clip_id for c in clips],
        lambda: network_in(work.folder),
        lambda net: draw_samples(net, clips),
    )


def markdown(told: Mapping[str, Any]) -> str:
    """The measures of a checkpoint beside its baselines, and its data card."""
    parts = [f"# {told['recipe']['name']} {told['id']}"]
    if told["metrics"]["held_out"] == "time":
        parts.append(TIME_ALONE)
    for name, judged in told["metrics"].items():
        if not isinstance(judged, Mapping):
            continue
        parts.append(f"## {name.replace('_', ' ')}: {clips_of_people(judged['num_clips'], judged['num_people'])}")
        for kind, of in judged["plates"].items():
            whos = list(of["measures"])
            lines = [f"| from {kind} | {' | '.join(whos)} |", "|---" * (1 + len(whos)) + "|"]
            for measure in of["measures"]["ours"]:
                cells = [_cell(of["measures"][who].get(measure)) for who in whos]
                lines.append(f"| {measure} | {' | '.join(cells)} |")
            parts.append("\n".join(lines))
    parts += ["## Data", f"Snapshot {told['snapshot']['id']} of {told['snapshot']['tier']}."]
    parts.append("\n".join(f"- {count} clips: {licence}" for licence, count in told["data"]["licences"].items()))
    return "\n\n".join(parts)


def _cell(told: Mapping[str, float] | None) -> str:
    return "" if told is None else f"{told['value']:.3f} [{told['low']:.3f}, {told['high']:.3f}]"
