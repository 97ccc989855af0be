"""The Prefect flow `train identity`: read, evaluate, publish; with its measures as a page. It takes seconds, so one that was killed
is run again from the start, and gives the same checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from flows import identity as steps
from flows.training_progress import task_of
from modeling.identity import MEAN, MEASURES, OURS, USUAL
from modeling.recipes.identity import identity
from store.frozen import frozen
from store.workspace import open_workspace


def _run_name() -> str:
    return f"train identity on snapshot {str(flow_run.parameters.get('snapshot', ''))[:8]}"


@flow(name="train identity", flow_run_name=_run_name, persist_result=False)
def train_identity(workspace: str, snapshot: str, changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """Learns from a snapshot what is usual for a person known by one picture; judges it on people that the judging model never
    saw, and publishes the checkpoint if anything is surely better than without."""
    place, recipe = open_workspace(workspace), identity(**(changed or {}))
    held = frozen(place, snapshot)
    faces, rights = task_of("read", f"read snapshot {snapshot[:8]}", lambda: steps.read_faces(place, held, recipe))
    get_run_logger().info(
        "%d frames of %d people; %d clips left out",
        len(faces.inputs), len(set(faces.people)), len(faces.left_out),
    )  # fmt: skip
    figures, keeps = task_of("evaluate", "evaluate on held-out people", lambda: steps.evaluate(recipe, faces))
    told = task_of(
        "publish",
        "publish the checkpoint",
        lambda: steps.publish(place, recipe, held, faces, rights, figures, keeps),
    )
    get_run_logger().info("checkpoint %s", told["id"])
    create_markdown_artifact(
        markdown(told),
        key="checkpoint",
        description=f"Checkpoint {told['id']}: measures, beside what is usual, and its data",
    )
    return told


def markdown(told: Mapping[str, Any]) -> str:
    """The measures of a checkpoint beside its baselines, and its data."""
    of = told["metrics"]["held_people"]
    lines = [f"| measure | {OURS} | {USUAL} | {MEAN} | ahead of {USUAL} |", "|---" * 5 + "|"]
    for measure in MEASURES:
        cells = [of["measures"][who][measure] for who in (OURS, USUAL, MEAN)] + [of["ahead"][USUAL][measure]]
        lines.append(f"| {measure} | {' | '.join(_cell(cell) for cell in cells)} |")
    licences = [f"- {count} clips: {licence}" for licence, count in told["data"]["licences"].items()]
    return "\n\n".join(
        [
            f"# {told['recipe']['name']} {told['id']}",
            f"## held out: {of['num_people']} people, each judged by a model that did not see them",
            "\n".join(lines),
            f"It tells {' and '.join(told['keeps'])}; of the rest what is usual is taken.",
            f"## Data\n\nSnapshot {told['snapshot']['id']} of {told['snapshot']['tier']}.",
            "\n".join(licences),
        ]
    )


def _cell(told: Mapping[str, float]) -> str:
    return f"{told['value']:.3f} [{told['low']:.3f}, {told['high']:.3f}]"
