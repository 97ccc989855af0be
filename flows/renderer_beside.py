"""A renderer that is to be deployed beside the one that serves: both draw the same held-out faces (flows/deploy_renderer.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.motion_data import read
from infra.code import code_version
from modeling.made_renderer import renderer_of
from modeling.recipes.renderer import Renderer
from store import registry
from store.frozen import frozen
from store.workspace import Workspace

if TYPE_CHECKING:
    from modeling.motion_set import MotionSet
    from modeling.renderer_set import FaceClip

SERVING = "serving"
HOLDS_OUT = ("seed", "held_people_share", "held_people_least", "held_time_share", "held_time_least_s")


def beside(workspace: Workspace, found: registry.Checkpoint, other: registry.Checkpoint) -> dict[str, Any]:
    """An evaluation of `found` as flows/renderer.py makes it, on what its own snapshot holds out and `other` did not learn from
    either, with the figures of `other` as "serving". Frame by frame the same, so "ahead" of it has an interval of differences.

    Kept; the same code draws nothing again. Raises ValueError when the snapshot can't be read, and when nothing is left.
    """
    snapshot = str(found.told["snapshot"]["id"])
    name, code = f"{snapshot}-beside-{other.id}", code_version()
    kept = registry.evaluation(workspace, found.id, name)
    if kept is not None and kept["code"] == code and not code["commit"].endswith("+"):
        return kept
    told = {
        "checkpoint": found.id,
        "beside": other.id,
        "snapshot": snapshot,
        "code": code,
        **_judged(workspace, found, other),
    }
    text = json.dumps(told, sort_keys=True, indent=1).encode()
    workspace.objects.put_bytes(text, f"checkpoints/{found.id}/evaluations/{name}.json")
    return told


def _judged(workspace: Workspace, found: registry.Checkpoint, other: registry.Checkpoint) -> dict[str, Any]:
    from flows.evaluation import parts_of
    from flows.renderer import faces_of
    from modeling.renderer_metrics import GENERAL, evaluate
    from tasks.signals.face_embedding import embedding

    made = Renderer(**found.told["recipe"])
    held = frozen(workspace, str(found.told["snapshot"]["id"]))
    data = read(workspace, held)
    parts = parts_of(found, data, held, made)
    part = f"held_{parts.held_out}"
    faces = faces_of(held, data, parts, made)[0][part]
    if not (held.sha256 == other.told["snapshot"]["sha256"] and _hold_out_alike(found, other)):
        faces = _unknown(faces, data, other.told["data"], people=parts.held_out == "people")
    if not faces:
        raise ValueError("it learnt from all that is held out of that")
    told = evaluate(
        renderer_of(found), faces, general=renderer_of(other), embed=embedding, over_clips=parts.held_out == "time"
    )
    for of in told["plates"].values():
        for figures in (of["measures"], of["ahead"]):
            figures[SERVING] = figures.pop(GENERAL)
    return {"held_out": parts.held_out, part: told}


def _hold_out_alike(found: registry.Checkpoint, other: registry.Checkpoint) -> bool:
    """Whether both split a snapshot alike, so that what one of them does not see the other does not either."""
    return all(found.told["recipe"][name] == other.told["recipe"][name] for name in HOLDS_OUT)


def _unknown(faces: list[FaceClip], data: MotionSet, card: Mapping[str, Any], *, people: bool) -> list[FaceClip]:
    """Those from which another one did not learn, by its data card: neither the video, nor the person where it is of people."""
    cards = [card, card.get("before", {"clips": {}, "people": {}})]
    clips = {clip for one in cards for clip in one["clips"].get("train", ())}
    known = {who for one in cards for who in one["people"].get("train", ())} if people else set()
    videos = {c.video_id for c in data.clips if c.clip_id in clips}
    return [face for face in faces if face.video_id not in videos and face.who not in known]
