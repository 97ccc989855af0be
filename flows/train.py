"""`train` and `evaluate` for whoever calls from Python or the command line: from a frozen tier to a published checkpoint.

Plain functions; flows/train_flow.py runs the same steps as a Prefect flow, which is imported only after its environment
is set. A killed run goes on when the same command is given again: what it is of decides its folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from infra.code import code_version
from modeling.made_motion import made_motion, network
from modeling.motion import TIMELINES
from modeling.recipes.audio_to_motion import STAGE_VALUES, AudioToMotion, recipe
from store import registry
from store.frozen import Frozen, frozen, live, snapshot_row, union
from store.ledger import Manifest
from store.media import GRID_FPS
from store.timelines import read_spans
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.curriculum import freeze_curriculum, read_curriculum, stage_of

if TYPE_CHECKING:
    from modeling.audio_to_motion import MotionNet
    from modeling.held_out import Split
    from modeling.motion_metrics import Predict
    from modeling.motion_set import MotionClip, MotionSet
    from modeling.training import Progress, Stage

SURE_OF_OFFSET = 0.3
"""The confidence from which a clip's own lip-sync offset is taken out; every own voice reaches it (lip_sync's scorecard)."""


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


def run_train(
    workspace_root: str | Path | None,
    recipe_name: str,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    curriculum: Path | None = None,
    changed: Mapping[str, object] | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Trains a recipe on a tier, frozen now, on a snapshot, or through the tiers of a curriculum's file; gives
    `checkpoint.json`, the checkpoint's "id", and "did": "trained", or "nothing" where the same code has trained the same on
    the same snapshots.

    Raises ValueError for an unknown recipe, tier or snapshot, a curriculum that can't be meant, and for a tier with too few
    clips.
    """
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
        return {"id": found.id, **found.told, "did": "nothing"}
    before = registry.of_snapshot(workspace, recipe_name, chosen)
    from flows.server import prefect_api

    with prefect_api(workspace.settings.workspace):
        from flows import train_flow

        with train_flow.watched(on_step):
            told: dict[str, Any] = train_flow.train(
                str(workspace.settings.workspace),
                recipe_name,
                chosen,
                dict(changed or {}),
                str(course["id"]) if course else None,
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


def run_evaluate(workspace_root: str | Path | None, checkpoint: str, snapshot: str | None = None) -> dict[str, Any]:
    """Judges a checkpoint on the people of a snapshot (by default its own) whom it did not learn from, and on what it did
    not see of those whom it did; "held_out" is time where it learnt from everybody. Kept beside the checkpoint, and given.

    Raises ValueError for an unknown checkpoint or snapshot, and when nobody in the snapshot is held out.
    """
    workspace = open_workspace(workspace_root)
    found = registry.load(workspace, checkpoint)
    if found.told["kind"] in ("detector", "ratings"):
        raise ValueError(
            f"checkpoint {found.id}: is a {found.told['kind']} model, judged as it was trained; headroom trace {found.id} shows it"
        )
    own = str(found.told["snapshot"]["id"])
    held = frozen(workspace, snapshot or own)
    if held.snapshot_id == own and "curriculum" in found.told:
        held = union([held for held, _ in _stages_read(workspace, found.told["curriculum"])])
    data = read(workspace, held)
    made = {"checkpoint": found.id, "snapshot": held.snapshot_id, **measured(found, data, held)}
    text = json.dumps(made, sort_keys=True, indent=1).encode()
    workspace.objects.put_bytes(text, f"checkpoints/{found.id}/evaluations/{held.snapshot_id}.json")
    return made


# The steps


def prepare(workspace: Workspace, made: AudioToMotion, snapshot: str) -> Prepared:
    """Reads a snapshot for a recipe. Raises ValueError when nothing of it can be held out."""
    from modeling.held_out import split
    from modeling.training import Stage

    held = frozen(workspace, snapshot)
    data = read(workspace, held)
    _refuse_none(held, data)
    parts = split(data.clips, made)
    stages = [Stage(made, parts.train)]
    return Prepared(made, held, data, parts, _folder(workspace, made, stages), stages)


def prepare_curriculum(
    workspace: Workspace, made: AudioToMotion, course: Mapping[str, Any], changed: Mapping[str, object]
) -> Prepared:
    """Reads the snapshots of a frozen curriculum for a recipe. Who is held out of one stage is held out of all.

    Raises ValueError when nothing can be held out, and for a stage of which no clip is left.
    """
    from modeling.held_out import split
    from modeling.training import Stage

    told = [stage_of(stage["asked"]) for stage in course["stages"]]
    read_ = _stages_read(workspace, course)
    held = union([snapshot for snapshot, _ in read_])
    data = read(workspace, held)
    _refuse_none(held, data)
    parts = split(data.clips, made)
    stages = []
    for number, (stage, (snapshot, weights)) in enumerate(zip(told, read_, strict=True), 1):
        clips = [replace(c, weight=weights[c.clip_id]) for c in parts.train if c.clip_id in weights]
        if not clips:
            raise ValueError(
                f"curriculum {course['id']}: stage {number}: of the {len(weights)} clips of {snapshot.tier} that it asks for "
                "none can be learnt from, or all are held out; give a larger tier or fewer conditions"
            )
        values = recipe(made.name, **{**changed, **stage.set})
        epoch_steps = sum(len(c) for c in clips) / (values.batch_size * values.crop_frames)
        num_steps = stage.steps or max(1, math.ceil((stage.epochs or 0) * epoch_steps))
        stages.append(Stage(replace(values, num_steps=num_steps), clips))
    whole = replace(made, num_steps=sum(s.recipe.num_steps for s in stages))
    return Prepared(
        whole, held, data, parts, _folder(workspace, made, stages), stages, {**course, "base": asdict(made)}
    )


def _refuse_none(held: Frozen, data: MotionSet) -> None:
    if not data.clips:
        reasons = "; ".join(sorted(set(data.left_out.values()))) or "it is empty"
        raise ValueError(f"snapshot {held.snapshot_id}: no clip can be learnt from ({reasons})")


def _folder(workspace: Workspace, made: AudioToMotion, stages: Sequence[Stage]) -> Path:
    from modeling.training import run_key

    return workspace.settings.workspace / "runs" / f"{made.name}-{run_key(stages)[:16]}"


def _stages_read(workspace: Workspace, course: Mapping[str, Any]) -> list[tuple[Frozen, dict[str, float | None]]]:
    """Of each stage its snapshot with the clips that it asks for, and their weights, None without."""
    found = []
    for entry in course["stages"]:
        stage, held = stage_of(entry["asked"]), frozen(workspace, str(entry["snapshot"]["id"]))
        sizes = workspace.record.read(
            Manifest(0, dict(held.versions), ""), "clips", ["clip_id", "source_width_px", "source_height_px"]
        ).to_pylist()
        short_px = {r["clip_id"]: min(r["source_width_px"] or 0, r["source_height_px"] or 0) for r in sizes}
        rows = held.clips.to_pylist()
        kept = [
            (stage.min_length_s or 0)
            <= (r["end_frame"] - r["start_frame"]) / GRID_FPS
            <= (stage.max_length_s or math.inf)
            and short_px[r["clip_id"]] >= (stage.min_short_side_px or 0)
            for r in rows
        ]
        clips = held.clips.filter(pa.array(kept, pa.bool_())).combine_chunks()
        weights = {r["clip_id"]: r.get("weight") for r, keep in zip(rows, kept, strict=True) if keep}
        found.append((replace(held, clips=clips), weights))
    return found


def read(workspace: Workspace, held: Frozen) -> MotionSet:
    """The clips of a snapshot, with the people and the lip-sync offsets that stood when it was frozen."""
    from modeling.motion_set import read_motion

    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        who = dict(reader.sql("SELECT clip_id, identity FROM identities").iter_rows())
        late: dict[str, float] = {}
        if "lip_sync_offset_ms" in reader.columns("signals"):
            query = "SELECT clip_id, lip_sync_offset_ms FROM signals WHERE lip_sync_confidence >= ?"
            late = dict(reader.sql(query, [SURE_OF_OFFSET]).iter_rows())
    return read_motion(held, who, late)


def train(work: Prepared, on_step: Callable[[Progress], None]) -> MotionNet:
    from modeling.training import train_stages

    return train_stages(work.stages, work.folder, on_step)


def evaluate(work: Prepared, net: MotionNet) -> tuple[dict[str, Any], dict[str, Predict]]:
    """({"held_out", "held_people", "held_time"}, baselines): measures of modeling/motion_metrics.py."""
    from modeling.motion_metrics import baselines

    beside = baselines(work.parts.train)
    return _judged(net, beside, work.parts), beside


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
        "parameters": list(PARAMETERS),
        "metrics": dict(metrics),
        "idle": fit_idle(work.parts.train, heads).to_dict(),
        "baselines": baselines_to_dict(beside),
        "data": data_card(workspace, work),
        "code": code_version(),
    }
    made = registry.publish(workspace, save(net.state_dict()), told)
    return {"id": made.id, **made.told}


def _told_course(work: Prepared) -> dict[str, Any]:
    """The curriculum with what became of each stage."""
    assert work.curriculum is not None
    stages = [
        {**entry, "num_steps": stage.recipe.num_steps, "num_clips": len(stage.clips)}
        for entry, stage in zip(work.curriculum["stages"], work.stages, strict=True)
    ]
    return {**work.curriculum, "stages": stages}


def data_card(workspace: Workspace, work: Prepared) -> dict[str, Any]:
    """What it learnt from: clips and people of each part, licences by clip, and the signals that were read. With "held_out"
    "time" nobody is held out, only ends of clips."""
    parts = {"train": work.parts.train}
    seconds = {"train": work.parts.train, "held_time": work.parts.held_time}
    if work.parts.held_out == "people":
        parts["held_people"] = seconds["held_people"] = work.parts.held_people
    with workspace.views(Manifest(0, dict(work.held.versions), "")) as reader:
        rights = {
            video: {"licence": licence or "unknown", "consent": consent or "unknown"}
            for video, licence, consent in reader.sql("SELECT video_id, licence, consent FROM rights").iter_rows()
        }
        names = ", ".join(f"'{n}'" for n in TIMELINES)
        lines = reader.sql(f"SELECT DISTINCT name, fingerprint FROM timelines WHERE name IN ({names}) ORDER BY ALL")
    unknown = {"licence": "unknown", "consent": "unknown"}
    licences: dict[str, int] = {}
    for clip in work.parts.train:
        of = rights.get(clip.video_id, unknown)
        key = f"{of['licence']}, consent {of['consent']}"
        licences[key] = licences.get(key, 0) + 1
    return {
        "held_out": work.parts.held_out,
        "clips": {name: [c.clip_id for c in clips] for name, clips in parts.items()},
        "people": {name: sorted({c.who for c in clips}) for name, clips in parts.items()},
        "seconds": {name: round(sum(len(c) for c in clips) / 25, 2) for name, clips in seconds.items()},
        "heard_twice": list(work.parts.heard),
        "licences": dict(sorted(licences.items())),
        "left_out": dict(work.data.left_out),
        "timelines": [f"{name}@{fingerprint}" for name, fingerprint in lines.iter_rows()],
    }


def measured(found: registry.Checkpoint, data: MotionSet, held: Frozen) -> dict[str, Any]:
    """Measures of a checkpoint on whoever it did not learn from; where it was trained, also on the ends it did not see, or on
    these alone when nobody was held out."""
    from modeling.held_out import Split, split

    made, card = AudioToMotion(**found.told["recipe"]), found.told["data"]
    net, beside, own = network(found), baselines_of(found), held.sha256 == found.told["snapshot"]["sha256"]
    if own and card.get("held_out") == "time":
        return _judged(net, beside, split(data.clips, made))
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
    return _judged(net, beside, Split([], later, strangers))


def _judged(net: MotionNet, beside: Mapping[str, Predict], parts: Split) -> dict[str, Any]:
    from modeling.motion_metrics import evaluate as judge
    from modeling.training import predict

    predictors: dict[str, Predict] = {"ours": lambda sound: predict(net, sound), **beside}
    held, alone = {"held_people": parts.held_people, "held_time": parts.held_time}, parts.held_out == "time"
    figures = {name: judge(predictors, clips, over_clips=alone) for name, clips in held.items() if clips}
    return {"held_out": parts.held_out, **figures}


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
        curves[f"checkpoint {published.id[:8]}"] = made_motion(published, found.sound, seed)
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


def baselines_of(found: registry.Checkpoint) -> dict[str, Predict]:
    from modeling.motion_metrics import baselines_from

    return baselines_from(found.told["baselines"])
