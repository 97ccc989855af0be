"""`headroom train identity`: what is usual for a person, told from one picture, learnt from the clips of a frozen tier; plain
functions, as in flows/train.py.

Nothing is detected: it reads the meshes, blendshapes and angles that are stored. `headroom deploy` puts it to work: avatars of
portraits have that rest and scale then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.labelled import groups_of, licences, refuse_few
from infra.code import code_version
from modeling.identity import KIND, OURS, USUAL, fit, identity_of, inputs, judged, targets
from modeling.recipes.identity import Identity, identity
from store import deployments, registry
from store.frozen import Frozen
from store.ledger import Manifest
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.face_geometry import BLENDSHAPE_SCALE

if TYPE_CHECKING:
    from modeling.motion import Motion

CLIPS_AT_ONCE = 16


@dataclass(frozen=True)
class Faces:
    """Frames of people, each of which may be the one picture of them: `inputs` (N, F), `targets` (N, 8), `people` and `groups` of
    each frame; the clips that they come from, of each person, and those left out with the reason."""

    inputs: np.ndarray
    targets: np.ndarray
    people: list[str]
    groups: list[str]
    clips: list[str]
    left_out: dict[str, str]


def run_identity(
    workspace_root: str | Path | None,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    changed: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Trains on a tier, frozen now, or on a snapshot; gives `checkpoint.json` with "id". Trained again on the same, it is the same
    checkpoint.

    Raises ValueError for an unknown tier or snapshot, too few people, and where nothing is told surely better than without.
    """
    identity(**(changed or {}))  # what is wrong with it is told before anything is begun
    workspace = open_workspace(workspace_root)
    if (tier is None) == (snapshot is None):
        raise ValueError("train: give a tier, which is frozen now, or a snapshot; one of them")
    chosen = snapshot or str(freeze.build(workspace, tier or "")["snapshot"])
    from flows.server import prefect_api

    with prefect_api(workspace.settings.workspace):
        from flows import identity_flow

        told: dict[str, Any] = identity_flow.train_identity(
            str(workspace.settings.workspace), chosen, dict(changed or {})
        )
    return told


# The steps


def evaluate(recipe: Identity, faces: Faces) -> tuple[dict[str, Any], list[str]]:
    """(measures on people that the judging model did not see, what is told better than is usual). Raises ValueError where nothing
    surely is."""
    figures = judged(recipe, faces.inputs, faces.targets, faces.people, faces.groups)
    ahead = figures["ahead"][USUAL]
    keeps = [name for name in ("rest", "scale") if ahead[f"{name}_error"]["low"] > 0]
    if not keeps:
        ours, before = (figures["measures"][who]["rest_error"]["value"] for who in (OURS, USUAL))
        raise ValueError(
            f"identity: of people whom it did not see its rest is off by {ours:.3f} of their motion and what is usual by "
            f"{before:.3f}, the scale no better: nothing is surely better, so nothing is published; give a tier with more people"
        )
    return figures, keeps


def read_faces(workspace: Workspace, held: Frozen, recipe: Identity) -> tuple[Faces, dict[str, int]]:
    """Frames of the snapshot's people, and its clips by licence. Raises ValueError where there are too few people."""
    from modeling.data import ClipDataset, ClipRanges
    from modeling.motion import person_of, raw_motion
    from modeling.motion_set import LEAST_SEEN

    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        who = dict(reader.sql("SELECT clip_id, identity FROM identities").iter_rows())
    needed = ("landmarks", "head_pose", "gaze")
    data = ClipDataset(held, ClipRanges(length_s=None, frames=False, audio=False, timelines=needed))
    by_person: dict[str, list[tuple[Motion, np.ndarray]]] = {}
    videos: dict[str, list[str]] = {}
    clips, left_out = list[str](), dict[str, str]()
    for at in range(0, len(data), CLIPS_AT_ONCE):
        for item in data.__getitems__(list(range(at, min(at + CLIPS_AT_ONCE, len(data))))):
            clip, video = str(item["clip_id"]), str(item["video_id"])
            lines = item["timelines"]
            raw = raw_motion(lines, item["start_frame"], item["end_frame"])
            if raw is None or raw.seen[:, 0].mean() < LEAST_SEEN:
                left_out[clip] = "too few frames with a mesh"
                continue
            rows = _told(
                lines["landmarks"]["frame"].numpy() - item["start_frame"], lines["landmarks"]["blendshapes"], raw
            )
            person = who.get(clip) or video
            by_person.setdefault(person, []).append((raw, rows))
            videos.setdefault(person, []).append(video)
            clips.append(clip)
    names = sorted(by_person)
    linked = groups_of([v for n in names for v in videos[n]], [n for n in names for _ in videos[n]])
    group_of = dict(zip([n for n in names for _ in videos[n]], linked, strict=True))
    refuse_few(
        "identity", [("shown by a mesh", np.ones(len(names), bool))], [group_of[n] for n in names],
        (recipe.least_clips, recipe.least_groups), "give a tier with more people",
    )  # fmt: skip
    taken, told, people = list[np.ndarray](), list[np.ndarray](), list[str]()
    for name in names:
        rows = np.concatenate([r for _, r in by_person[name]])
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, recipe.frames_per_person).round().astype(int))]
        taken.append(chosen)
        told.append(np.tile(targets(person_of([m for m, _ in by_person[name]])), (len(chosen), 1)))
        people += [name] * len(chosen)
    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        rights = licences(reader, clips)
    groups = [group_of[p] for p in people]
    return Faces(np.concatenate(taken), np.concatenate(told), people, groups, clips, left_out), rights


def _told(frames: np.ndarray, blendshapes: Any, raw: Motion) -> np.ndarray:
    """(N, F) of the frames that have a mesh, angles and blendshapes."""
    known = [i for i, row in enumerate(blendshapes) if row is not None and np.isfinite(np.asarray(row, float)).all()]
    here = [i for i in known if 0 <= frames[i] < len(raw.values) and raw.seen[frames[i], 0]]
    shapes = np.array([np.asarray(blendshapes[i], np.float64) for i in here]).reshape(len(here), -1) / BLENDSHAPE_SCALE
    return inputs(raw.values[frames[here]].astype(np.float64), shapes)


def publish(
    workspace: Workspace, recipe: Identity, held: Frozen, faces: Faces, rights: Mapping[str, int],
    figures: Mapping[str, Any], keeps: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Fits it to all people, and puts the checkpoint into the registry; gives what it says of itself."""
    from safetensors.numpy import save

    model = fit(recipe, faces.inputs, faces.targets)
    made = registry.publish(
        workspace, save({k: np.ascontiguousarray(v) for k, v in model.arrays().items()}),
        {
            "kind": KIND,
            "recipe": asdict(recipe),
            "snapshot": {"id": held.snapshot_id, "sha256": held.sha256, "tier": held.tier},
            "keeps": keeps,
            "metrics": {"held_people": dict(figures)},
            "data": {
                "clips": {"train": faces.clips},
                "people": {"train": sorted(set(faces.people))},
                "licences": dict(rights),
                "left_out": faces.left_out,
            },
            "code": code_version(),
        },
    )  # fmt: skip
    return {"id": made.id, **made.told}


def deploy_identity(workspace: Workspace, name: str) -> dict[str, Any]:
    """As flows.deploy.run_deploy gives it, with "kind". What is published passed its gate; here it must be what was published."""
    now = deployments.serving(workspace, KIND)
    if now.stable == name:
        return _result(name, "serving", "it serves already", name, "nothing")
    try:
        identity_of(registry.load(workspace, name))
    except ValueError as error:
        deployments.settle(workspace, KIND, name, "refused", str(error))
        return _result(name, "refused", str(error), now.stable, "refused")
    why = "avatars that are made of a picture from now on have its rest and scale"
    deployments.settle(workspace, KIND, name, "serving", why)
    return _result(name, "serving", why, now.stable, "serving")


def _result(name: str, state: str, reason: str, before: str, did: str) -> dict[str, Any]:
    return {"checkpoint": name, "kind": KIND, "state": state, "reason": reason, "before": before, "did": did}
