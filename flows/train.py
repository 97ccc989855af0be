"""`train` and `evaluate` for whoever calls from Python or the command line: from a frozen tier to a published checkpoint.

Plain functions; flows/train_flow.py runs the same steps as a Prefect flow, which is imported only after its environment
is set. A killed run goes on when the same command is given again: what it is of decides its folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.data_card import data_card
from flows.evaluation import baselines_of, judged, rows_of, run_evaluate, tell
from flows.hearing import Ears, ears_of
from flows.motion_data import read, refuse_none, stages_read
from infra.code import code_version
from modeling.made_motion import made_motion
from modeling.recipes.audio_to_motion import STAGE_VALUES, AudioToMotion, recipe
from store import registry
from store.frozen import Frozen, frozen, live, snapshot_row, union
from store.timelines import read_spans
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.curriculum import freeze_curriculum, read_curriculum, stage_of

if TYPE_CHECKING:
    from flows.drawn import Drawn
    from modeling.audio_to_motion import MotionNet
    from modeling.held_out import Split
    from modeling.motion_metrics import Predict
    from modeling.motion_set import MotionSet
    from modeling.training import Progress, Stage


@dataclass(frozen=True)
class Prepared:
    """A snapshot, read and split, and where its run keeps its state. Of a curriculum `held`, `data` and `parts` are of the
    clips of all stages, and `recipe` counts all steps."""

    recipe: AudioToMotion
    held: Frozen
    data: MotionSet
    parts: Split
    folder: Path
    stages: Sequence[Stage]
    curriculum: Mapping[str, Any] | None = None
    ears: Ears | None = None
    """What it hears by, where that is not log-mel."""


def run_train(
    workspace_root: str | Path | None,
    recipe_name: str,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    curriculum: Path | None = None,
    changed: Mapping[str, object] | None = None,
    device: str = "auto",
    processes: int = 1,
    on_step: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Trains a recipe on a tier, frozen now, on a snapshot, or through the tiers of a curriculum's file; gives
    `checkpoint.json`, the checkpoint's "id", and "did": "trained", or "nothing" where the same code has trained the same on
    the same snapshots. Where it runs, as modeling/ranks.py tells, is no part of what it is.

    Raises ValueError for an unknown recipe, tier or snapshot, a curriculum that can't be meant, a device that isn't there, and
    for a tier with too few clips.
    """
    from modeling.ranks import Machine

    Machine(device, processes)
    made = recipe(recipe_name, **(changed or {}))  # what is wrong with it is told before anything is begun
    workspace = open_workspace(workspace_root)
    if sum(given is not None for given in (tier, snapshot, curriculum)) != 1:
        raise ValueError("train: give a tier, which is frozen now, a snapshot, or a curriculum; one of them")
    course = None
    if curriculum is not None:
        course = course_of(workspace, recipe_name, curriculum, changed or {})
        chosen = str(course["stages"][-1]["snapshot"]["id"])
    else:
        chosen = snapshot or str(freeze.build(workspace, tier or "")["snapshot"])
    if found := trained_before(workspace, made, chosen, course):
        if (
            registry.evaluation(workspace, found.id, str(found.told["snapshot"]["id"])) is None
        ):  # cut off before its clips were told how they did
            run_evaluate(workspace_root, found.id)
        return {"id": found.id, **found.told, "did": "nothing"}
    before = registry.of_snapshot(workspace, recipe_name, chosen)
    from flows.server import prefect_api

    with prefect_api(workspace.settings.workspace):
        from flows import train_flow
        from flows.training_progress import watched

        with watched(on_step):
            told: dict[str, Any] = train_flow.train(
                str(workspace.settings.workspace),
                recipe_name,
                chosen,
                dict(changed or {}),
                str(course["id"]) if course else None,
                device,
                processes,
            )
    return {**told, "did": "nothing" if told["id"] in before else "trained"}


def course_of(workspace: Workspace, recipe_name: str, file: Path, changed: Mapping[str, object]) -> dict[str, Any]:
    """A curriculum's file, frozen. Raises ValueError for one that can't be meant, also by the recipe."""
    stages = read_curriculum(file)
    for number, stage in enumerate(stages, 1):
        if other := set(stage.set) - set(STAGE_VALUES):
            raise ValueError(
                f"curriculum {file}: stage {number}: set has {', '.join(sorted(other))}; a stage may set "
                f"{', '.join(STAGE_VALUES)}; --set changes the others, for all stages"
            )
        recipe(recipe_name, **{**changed, **stage.set})
    return freeze_curriculum(workspace, stages)


def trained_before(
    workspace: Workspace, made: AudioToMotion, snapshot: str, course: Mapping[str, Any] | None = None
) -> registry.Checkpoint | None:
    """The checkpoint that this code made of this recipe and snapshot, or of this curriculum, None without one that can be
    read. Code that differs from its commit is not known again."""
    code = code_version()
    for name in registry.of_snapshot(workspace, made.name, str(snapshot_row(workspace, snapshot)["id"])):
        try:
            found = registry.load(workspace, name)
        except ValueError:
            continue  # damaged: training it again mends it
        through = found.told.get("curriculum", {})
        before = (through.get("base", found.told["recipe"]), through.get("sha256"), found.told["code"])
        if before == (asdict(made), course and course["sha256"], code) and not code["commit"].endswith("+"):
            return found
    return None


# The steps


def prepare(workspace: Workspace, made: AudioToMotion, snapshot: str) -> Prepared:
    """Reads a snapshot for a recipe. Raises ValueError when nothing of it can be held out."""
    from modeling.held_out import split
    from modeling.training import Stage

    held = frozen(workspace, snapshot)
    data = read(workspace, held)
    refuse_none(held, data)
    parts, ears = split(data.clips, made), ears_of(made)
    stages = [Stage(made, ears.heard(parts.train), ears.quiet()) if ears else Stage(made, parts.train)]
    return Prepared(made, held, data, parts, _folder(workspace, made, stages), stages, ears=ears)


def prepare_curriculum(
    workspace: Workspace, made: AudioToMotion, course: Mapping[str, Any], changed: Mapping[str, object]
) -> Prepared:
    """Reads the snapshots of a frozen curriculum for a recipe. Who is held out of one stage is held out of all.

    Raises ValueError when nothing can be held out, and for a stage of which no clip is left.
    """
    from modeling.held_out import split
    from modeling.training import Stage

    told = [stage_of(stage["asked"]) for stage in course["stages"]]
    read_ = stages_read(workspace, course)
    held = union([snapshot for snapshot, _ in read_])
    data = read(workspace, held)
    refuse_none(held, data)
    parts, ears = split(data.clips, made), ears_of(made)
    learnt, quiet = (ears.heard(parts.train), ears.quiet()) if ears else (parts.train, None)
    stages = []
    for number, (stage, (snapshot, weights)) in enumerate(zip(told, read_, strict=True), 1):
        clips = [replace(c, weight=weights[c.clip_id]) for c in learnt if c.clip_id in weights]
        if not clips:
            raise ValueError(
                f"curriculum {course['id']}: stage {number}: of the {len(weights)} clips of {snapshot.tier} that it asks for "
                "none can be learnt from, or all are held out; give a larger tier or fewer conditions"
            )
        values = recipe(made.name, **{**changed, **stage.set})
        epoch_steps = sum(len(c) for c in clips) / (values.batch_size * values.crop_frames)
        num_steps = stage.steps or max(1, math.ceil((stage.epochs or 0) * epoch_steps))
        stages.append(Stage(replace(values, num_steps=num_steps), clips, quiet))
    whole = replace(made, num_steps=sum(s.recipe.num_steps for s in stages))
    return Prepared(
        whole, held, data, parts, _folder(workspace, made, stages), stages, {**course, "base": asdict(made)}, ears
    )


def _folder(workspace: Workspace, made: AudioToMotion, stages: Sequence[Stage]) -> Path:
    from modeling.training import run_key

    return workspace.settings.workspace / "runs" / f"{made.name}-{run_key(stages)[:16]}"


def train(work: Prepared, on_step: Callable[[Progress], None], device: str = "cpu", processes: int = 1) -> MotionNet:
    from modeling.ranks import Machine
    from modeling.training import train_on

    net = train_on(Machine(device, processes), work.stages, work.folder, on_step)
    net.hear = work.ears.hear if work.ears else None
    return net


def evaluate(work: Prepared, net: MotionNet) -> tuple[dict[str, Any], dict[str, Predict]]:
    """({"held_out", "held_people", "held_time"}, baselines): measures of modeling/motion_metrics.py."""
    from modeling.motion_metrics import baselines

    beside = baselines(work.parts.train)
    return judged(net, beside, work.parts), beside


def publish(
    workspace: Workspace, work: Prepared, net: MotionNet, metrics: Mapping[str, Any], beside: Mapping[str, Predict]
) -> dict[str, Any]:
    """Puts the checkpoint into the registry; gives what it says of itself, and its id."""
    from safetensors.torch import save

    from modeling.idle_motion import fit_idle
    from modeling.motion import HEAD, PARAMETERS
    from modeling.motion_metrics import baselines_to_dict
    from modeling.training import predict

    heads = [predict(net, c.sound)[:, -len(PARAMETERS[HEAD]) :] for c in work.parts.train]
    told = {
        "kind": "audio_to_motion",
        "recipe": asdict(work.recipe),
        "snapshot": {"id": work.held.snapshot_id, "sha256": work.held.sha256, "tier": work.held.tier},
        **({"curriculum": _told_course(work)} if work.curriculum else {}),
        **({"hearing": work.ears.told} if work.ears else {}),
        "parameters": list(PARAMETERS),
        "metrics": dict(metrics),
        "idle": fit_idle(work.parts.train, heads).to_dict(),
        "baselines": baselines_to_dict(beside),
        "data": data_card(workspace, work.held, work.parts, vars(work.parts), work.data.left_out),
        "code": code_version(),
    }
    made = registry.publish(workspace, save(net.state_dict()), told)
    return {"id": made.id, **made.told}


def tell_clips(
    workspace: Workspace, work: Prepared, net: MotionNet, told: Mapping[str, Any], beside: Mapping[str, Predict],
    seen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Of a checkpoint that was just published: how it did on each held-out clip, into the store, and its evaluation, with what was
    drawn for it."""
    found = registry.load(workspace, str(told["id"]))
    metrics = {**told["metrics"], **({"drawn": dict(seen)} if seen else {})}
    return tell(workspace, found, work.held.snapshot_id, metrics, rows_of(net, beside, work.parts, found.id))


def draw(workspace: Workspace, work: Prepared, told: Mapping[str, Any], beside: Mapping[str, Predict]) -> Drawn | None:
    """Of a checkpoint that was just published, some held-out clips as they look; None for motion that no engine can stream."""
    from flows.drawn import NUM_TRAINED, draw_motion

    if work.ears is not None:
        return None
    found = registry.load(workspace, str(told["id"]))
    return draw_motion(workspace, found, work.held, work.data, work.parts, beside, NUM_TRAINED)


def _told_course(work: Prepared) -> dict[str, Any]:
    """The curriculum with what became of each stage."""
    assert work.curriculum is not None
    stages = [
        {**entry, "num_steps": stage.recipe.num_steps, "num_clips": len(stage.clips)}
        for entry, stage in zip(work.curriculum["stages"], work.stages, strict=True)
    ]
    return {**work.curriculum, "stages": stages}


# One clip, to be looked at


@dataclass(frozen=True)
class Shown:
    """A clip's motion: `clip` is its row of Frozen.clips with "first_frame" and "face", the box of the middle frame's mesh;
    `curves` float32 (T, 9) by name."""

    clip: dict[str, Any]
    proxy: Path
    sound: np.ndarray
    curves: dict[str, np.ndarray]


def motion_of_clip(workspace: Workspace, clip_id: str, checkpoint: str | None = None, seed: int = 0) -> Shown:
    """What the stored timelines say of a clip, normalised over all clips of its person, and what a checkpoint makes of its
    sound alone. Raises ValueError for a clip without motion, and for an unknown checkpoint."""
    from modeling.motion import NUM_PARAMETERS

    with workspace.views() as reader:
        query = (
            """SELECT clip_id FROM identities WHERE identity = (SELECT identity FROM identities WHERE clip_id = ?)"""
        )
        same = reader.sql(query, [clip_id])["clip_id"].to_list()
    held = live(workspace, [clip_id, *same])
    data = read(workspace, held)
    found = next((c for c in data.clips if c.clip_id == clip_id), None)
    if found is None:
        raise ValueError(f"clip {clip_id}: has no motion ({data.left_out.get(clip_id, 'its media are gone')})")
    row = next(r for r in held.clips.to_pylist() if r["clip_id"] == clip_id)
    true = np.where(found.motion.seen, found.motion.values, np.nan).astype(np.float32)
    curves = {"stored": true}
    if checkpoint is not None:
        published = registry.load(workspace, checkpoint)
        ears = ears_of(AudioToMotion(**published.told["recipe"]), published.told.get("hearing"))
        told = made_motion(published, found.sound, seed, ears.hear if ears else None)
        curves[f"checkpoint {published.id[:8]}"] = told
        rms = np.full((len(found), NUM_PARAMETERS), np.nan, np.float32)
        rms[:, :4] = baselines_of(published)["rms_to_mouth"](found.sound)
        curves["rms to mouth"] = rms
    span = (clip_id, found.video_id, found.first_frame, found.first_frame + len(found))
    mesh = read_spans(held.record, held.versions, [span], ["landmarks"])[0]["landmarks"]
    middle = mesh.slice(mesh.num_rows // 2, 1).to_pylist()[0]
    face = [middle[edge] for edge in ("x0", "y0", "x1", "y1")]
    return Shown(
        {**row, "first_frame": found.first_frame, "face": face}, held.local(row["proxy_uri"]), found.sound, curves
    )
