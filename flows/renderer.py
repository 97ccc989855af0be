"""`headroom train renderer`: from a frozen tier to a published renderer; plain functions, as in flows/train.py.

It reads what audio_to_motion reads, and frames of the proxies beside it; nothing is detected again. `start` is a checkpoint
that it goes on from: a renderer of many people that gets a minute of one person becomes that person's own, and is judged
beside the one it began as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.data_card import data_card
from flows.evaluation import Layout, parts_of, tell
from flows.motion_data import read, refuse_none
from infra.code import code_version
from modeling.made_renderer import KIND, renderer_of
from modeling.recipes.renderer import JUDGED_FROM, Renderer, renderer
from modeling.renderer_rows import NUMBERS, TEXTS, VERSION, ClipRows
from store import registry
from store.frozen import Frozen, frozen, snapshot_row
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.head_geometry import canonical_face

if TYPE_CHECKING:
    from flows.drawn import Drawn
    from modeling.held_out import Split
    from modeling.motion_set import MotionSet
    from modeling.perceptual.measures import Perceptual
    from modeling.renderer import RendererNet
    from modeling.renderer_set import FaceClip
    from modeling.training import Progress
LAYOUT = Layout(VERSION, TEXTS, NUMBERS)


@dataclass(frozen=True)
class Prepared:
    """A snapshot, read and split; `faces` by part: train, held_people, held_time. `start` is what it goes on from."""

    recipe: Renderer
    held: Frozen
    data: MotionSet
    parts: Split
    faces: Mapping[str, list[FaceClip]]
    left_out: Mapping[str, str]
    folder: Path
    start: registry.Checkpoint | None = None


def run_renderer(
    workspace_root: str | Path | None,
    recipe_name: str,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    start: str | None = None,
    changed: Mapping[str, object] | None = None,
    device: str = "auto",
    processes: int = 1,
    on_step: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Trains a renderer on a tier, frozen now, or on a snapshot; gives `checkpoint.json`, the checkpoint's "id", and "did":
    "trained", or "nothing" where the same code has trained the same. Where it runs, as modeling/ranks.py tells, is no part of
    what it is.

    Raises ValueError for an unknown recipe, tier, snapshot or checkpoint, for a tier of which nothing can be held out, for a
    `start` of another size, and for a device that isn't there.
    """
    from modeling.ranks import Machine

    Machine(device, processes)
    made = renderer(recipe_name, **(changed or {}))
    workspace = open_workspace(workspace_root)
    if (tier is None) == (snapshot is None):
        raise ValueError("train: give a tier, which is frozen now, or a snapshot; one of them")
    begun = registry.load(workspace, start) if start else None
    if begun is not None:
        _refuse_other_size(made, begun)
    chosen = snapshot or str(freeze.build(workspace, tier or "")["snapshot"])
    if found := trained_before(workspace, made, chosen, begun):
        return {"id": found.id, **found.told, "did": "nothing"}
    before = registry.of_snapshot(workspace, made.name, chosen)
    from flows.server import prefect_api

    with prefect_api(workspace.settings.workspace):
        from flows import renderer_flow
        from flows.training_progress import watched

        with watched(on_step):
            told: dict[str, Any] = renderer_flow.train_renderer(
                str(workspace.settings.workspace),
                recipe_name,
                chosen,
                dict(changed or {}),
                begun.id if begun else None,
                device,
                processes,
            )
    return {**told, "did": "nothing" if told["id"] in before else "trained"}


def trained_before(
    workspace: Workspace, made: Renderer, snapshot: str, start: registry.Checkpoint | None
) -> registry.Checkpoint | None:
    """The checkpoint that this code made of the same, None without one that can be read."""
    code = code_version()
    for name in registry.of_snapshot(workspace, made.name, str(snapshot_row(workspace, snapshot)["id"])):
        try:
            found = registry.load(workspace, name)
        except ValueError:
            continue  # damaged: training it again mends it
        same = (found.told["recipe"], found.told.get("start"), found.told["code"])
        if same == (asdict(made), start.id if start else None, code) and not code["commit"].endswith("+"):
            return found
    return None


def prepare(workspace: Workspace, made: Renderer, snapshot: str, start: registry.Checkpoint | None = None) -> Prepared:
    """Reads a snapshot. Raises ValueError when nothing of it can be held out, and when no face can be learnt from."""
    from modeling.held_out import split
    from modeling.renderer_training import run_key

    held = frozen(workspace, snapshot)
    data = read(workspace, held)
    refuse_none(held, data)
    parts = split(data.clips, made)
    faces, left_out = faces_of(held, data, parts, made)
    if not faces["train"]:
        raise ValueError(
            f"snapshot {held.snapshot_id}: no face can be learnt from ({'; '.join(sorted(set(left_out.values())))})"
        )
    key = run_key(made, faces["train"], renderer_of(start).state_dict() if start else None)
    folder = workspace.settings.workspace / "runs" / f"{made.name}-{key[:16]}"
    return Prepared(made, held, data, parts, faces, {**data.left_out, **left_out}, folder, start)


def faces_of(
    held: Frozen, data: MotionSet, parts: Split, made: Renderer
) -> tuple[dict[str, list[FaceClip]], dict[str, str]]:
    """By part, and the clips that are left out of one with the reason."""
    from modeling.renderer_set import read_faces

    triangles = canonical_face().triangles
    whole = {clip.clip_id: clip for clip in data.clips}
    strangers = {c.clip_id: c.first_frame + round(JUDGED_FROM * len(c)) for c in parts.held_people}
    later = {  # a whole clip of somebody who is known has no beginning that was learnt from
        c.clip_id: c.first_frame if len(c) < len(whole[c.clip_id]) else c.first_frame + round(JUDGED_FROM * len(c))
        for c in parts.held_time
    }
    found: dict[str, list[FaceClip]] = {}
    left_out: dict[str, str] = {}
    for name, clips, judged_from in (
        ("train", list(parts.train), None),
        ("held_time", [whole[c] for c in later], later),
        ("held_people", [whole[c] for c in strangers], strangers),
    ):
        found[name], reasons = read_faces(held, clips, data.people, triangles, made, judged_from=judged_from)
        if name != "held_time":  # the end of a clip may be too short to be judged: the clip is learnt from all the same
            left_out |= reasons
    return found, left_out


def train(work: Prepared, on_step: Callable[[Progress], None], device: str = "cpu", processes: int = 1) -> RendererNet:
    from modeling.ranks import Machine
    from modeling.renderer_training import train_on

    start = renderer_of(work.start).state_dict() if work.start else None
    return train_on(Machine(device, processes), work.recipe, work.faces["train"], work.folder, on_step, start)


def evaluate(work: Prepared, net: RendererNet, rows: ClipRows | None = None) -> dict[str, Any]:
    """{"held_out", "held_people", "held_time"}: measures of modeling/renderer_metrics.py, beside the checkpoint that it went
    on from; `rows` gathers them clip by clip. Raises ValueError when nothing that is held out can be judged."""
    general = renderer_of(work.start) if work.start else None
    return judged(net, work.faces, work.parts.held_out, general, rows=rows)


def judged(
    net: RendererNet,
    faces: Mapping[str, list[FaceClip]],
    held_out: str,
    general: RendererNet | None = None,
    perceptual: Perceptual | None = None,
    rows: ClipRows | None = None,
) -> dict[str, Any]:
    from modeling.renderer_metrics import evaluate as judge
    from tasks.signals.face_embedding import embedding

    gathered = rows or ClipRows()
    told = {
        name: judge(
            net,
            faces[name],
            general=general,
            embed=embedding,
            perceptual=perceptual,
            over_clips=held_out == "time",
            on_clip=partial(gathered.add, name.removeprefix("held_")),
        )
        for name in ("held_people", "held_time")
        if faces.get(name)
    }
    if f"held_{held_out}" not in told:
        raise ValueError(f"evaluate: no held-out {held_out} shows a face that can be judged; give a larger tier")
    return {"held_out": held_out, **told}


def publish(workspace: Workspace, work: Prepared, net: RendererNet, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Puts the checkpoint into the registry, and its graph beside it where onnx is installed; gives what it says of itself."""
    from safetensors.torch import save

    told = {
        "kind": KIND,
        "recipe": asdict(work.recipe),
        "snapshot": {"id": work.held.snapshot_id, "sha256": work.held.sha256, "tier": work.held.tier},
        **({"start": work.start.id} if work.start else {}),
        "metrics": dict(metrics),
        "data": card_of(workspace, work),
        "code": code_version(),
    }
    made = registry.publish(workspace, save({k: v.contiguous() for k, v in net.state_dict().items()}), told)
    if find_spec("onnx") is not None:
        run_export_renderer(workspace, made, None)
    return {"id": made.id, **made.told}


def run_export_renderer(workspace: Workspace, found: registry.Checkpoint, out: Path | None) -> dict[str, Any]:
    """Exports a renderer, by default to beside its checkpoint; {"checkpoint", "kind", "path", "num_bytes", "most_apart"}, the last in
    gray levels. Raises ValueError as modeling/renderer_export.py does."""
    from flows.export import about, written
    from modeling.renderer_export import OnnxRenderer, export, most_apart

    net = renderer_of(found)
    graph = export(net, about(found))
    apart = 255 * most_apart(net, OnnxRenderer(graph))
    path = written(workspace, found, graph, out)
    return {"checkpoint": found.id, "kind": KIND, "path": path, "num_bytes": len(graph), "most_apart": apart}


def card_of(workspace: Workspace, work: Prepared) -> dict[str, Any]:
    """What it learnt from, as audio_to_motion tells it; of one that went on from another, also what that had learnt from."""
    used = {clip.clip_id for clip in work.faces["train"]}
    parts = {
        "train": [c for c in work.parts.train if c.clip_id in used],
        "held_time": work.parts.held_time,
        "held_people": work.parts.held_people,
    }
    told = data_card(workspace, work.held, work.parts, parts, work.left_out)
    told["frames"] = {name: sum(len(c) for c in clips) for name, clips in work.faces.items()}
    if work.start:
        told["before"] = {key: work.start.told["data"][key] for key in ("clips", "people", "licences")}
    return told


def tell_clips(
    workspace: Workspace, work: Prepared, told: Mapping[str, Any], rows: ClipRows, seen: Mapping[str, Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Of a renderer that was just published: how it did on each held-out clip, into the store, and its evaluation, with what was
    drawn for it."""
    found = registry.load(workspace, str(told["id"]))
    metrics = {**told["metrics"], **({"drawn": dict(seen)} if seen else {})}
    return tell(workspace, found, work.held.snapshot_id, metrics, rows.of(found.id), LAYOUT)


def draw(workspace: Workspace, work: Prepared, told: Mapping[str, Any]) -> Drawn:
    """Of a renderer that was just published, some held-out clips as they look."""
    from flows.drawn import NUM_TRAINED, draw_renderer

    found = registry.load(workspace, str(told["id"]))
    return draw_renderer(workspace, found, work.held, work.data, work.parts, NUM_TRAINED)


def run_evaluate_renderer(
    workspace: Workspace, found: registry.Checkpoint, snapshot: str | None, measures: Sequence[str] = (), videos: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Judges a renderer on whom it did not learn from, of any snapshot, by default its own. Kept beside the checkpoint. So many
    `videos` are drawn as flows/drawn.py tells. `measures` are those of flows/perceptual.py; what they were made by is told as
    "perceptual", and part of the file's name.

    Raises ValueError for an unknown snapshot, when nobody in it is held out, for what `measures` can't name, and where FVD is
    asked for and nothing that is held out is large enough.
    """
    from flows.perceptual import networks_of

    networks = networks_of(measures)
    made = Renderer(**found.told["recipe"])
    held = frozen(workspace, snapshot or str(found.told["snapshot"]["id"]))
    data = read(workspace, held)
    parts = parts_of(found, data, held, made)
    faces, _ = faces_of(held, data, parts, made)
    start = found.told.get("start")
    general = renderer_of(registry.load(workspace, str(start))) if start else None
    if networks.video is not None:
        _refuse_too_few(faces, parts.held_out == "time")
    rows = ClipRows()
    told = {
        **({"perceptual": dict(networks.told)} if networks.told else {}),
        **judged(renderer_of(found), faces, parts.held_out, general, networks.measuring(data.clips), rows),
    }
    if videos:
        from flows.drawn import draw_renderer

        told["drawn"] = draw_renderer(workspace, found, held, data, parts, videos).told
    suffix = f"-{networks.digest}" if networks.told else ""
    return tell(workspace, found, held.snapshot_id, told, rows.of(found.id), LAYOUT, suffix)


def _refuse_too_few(faces: Mapping[str, list[FaceClip]], over_clips: bool) -> None:
    """Before anything is drawn. Raises ValueError where no part that is held out is large enough for FVD."""
    from modeling.renderer_metrics import fvd_told, names_of

    told = [
        (name, *fvd_told(faces[name], names_of(faces[name], over_clips)))
        for name in ("held_people", "held_time")
        if faces.get(name)
    ]
    if told and not any(measured for _, measured, _ in told):
        raise ValueError(f"evaluate: --with fvd: {'; '.join(f'{name}: {notes[0]}' for name, _, notes in told)}")


def _refuse_other_size(made: Renderer, begun: registry.Checkpoint) -> None:
    own = renderer_of(begun).recipe
    for name in ("width", "num_blocks", "identity_width", "state_width"):
        if (here := getattr(made, name)) != (there := getattr(own, name)):
            raise ValueError(
                f"recipe {made.name}: {name} is {here}, that of checkpoint {begun.id} {there}; --set {name}={there}"
            )
