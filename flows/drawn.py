"""Held-out clips drawn and judged as what is seen: measures beside the true frames, videos beside the source, a sheet of stills.

Of a checkpoint that makes motion the whole chain is drawn, from sound to picture, by the engine itself, in a process of its own;
of a renderer alone what it makes of the true mesh. Nothing that is judged was learnt from, nor shown as the person's picture.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.drawn_measures import LOWER, clip_measures
from flows.server import python_path
from modeling.made_renderer import KIND as RENDERER
from modeling.made_renderer import renderer_of
from modeling.motion_metrics import AFTER_VOICE_S, quiet_room
from modeling.renderer_metrics import COPY, OURS, WARP, figures_of
from modeling.side_by_side import NUM_STILLS, beside, chosen, jpeg, sheet, size_of
from modeling.true_faces import MOST_FRAMES, Judged, TrueFaces, later, read_true, stranger
from store import deployments, drawn, registry
from store.media import GRID_FPS
from store.workspace import Workspace
from tasks.head_geometry import canonical_face
from tasks.media.film import write_film

if TYPE_CHECKING:
    from modeling.held_out import Split
    from modeling.motion_metrics import Predict
    from modeling.motion_set import MotionSet
    from store.frozen import Frozen

NONE = "none"
NUM_TRAINED = 4
"""Clips that are drawn where a training ends; an evaluation draws as many as it is asked for."""
SOURCE = "source"
LOUDNESS = "rms_to_mouth"
SHOWN = {LOUDNESS: "loudness, warp", WARP: "warp", OURS: "ours"}
"""Beside the source, in this order, and what is written over them."""
Pictures = dict[str, np.ndarray]


@dataclass(frozen=True)
class Drawn:
    """`told` is what the evaluation says of it; `sheet` a JPEG, None where nothing could be drawn."""

    told: dict[str, Any]
    sheet: bytes | None


def draw_motion(
    workspace: Workspace, found: registry.Checkpoint, held: Frozen, data: MotionSet, parts: Split, beside_: Mapping[str, Predict],
    num: int, renderer: str | None = None,
) -> Drawn:  # fmt: skip
    """Of a checkpoint that makes motion, drawn by a renderer: the one named, by default the one that is deployed; NONE: the warp.

    Raises ValueError for a renderer that is none or can't be used, and for motion that can't be streamed.
    """
    name = renderer or deployments.serving(workspace, RENDERER).stable or NONE
    drawing = None if name == NONE else registry.load(workspace, name)
    if drawing is not None:
        renderer_of(drawing)
    judged, left_out = _chosen(data, parts, num, drawing)
    loud = beside_[LOUDNESS]
    jobs = [(of, {LOUDNESS: loud(_with_silence(of))}) for of in judged]
    pictures = _by_engine(workspace, found.id, drawing.id if drawing else "", jobs, data)
    about = {"motion": found.id, "renderer": drawing.id if drawing else ""}
    return _told(workspace, found, held, data, parts, pictures, about, left_out)


def draw_renderer(
    workspace: Workspace, found: registry.Checkpoint, held: Frozen, data: MotionSet, parts: Split, num: int
) -> Drawn:
    """Of a renderer alone, on the true mesh, from the picture that an avatar of the frames before has."""
    judged, left_out = _chosen(data, parts, num)
    pictures = _by_true_mesh(found, held, data, judged)
    return _told(workspace, found, held, data, parts, pictures, {"motion": "", "renderer": found.id}, left_out)


def _chosen(
    data: MotionSet, parts: Split, num: int, drawing: registry.Checkpoint | None = None
) -> tuple[list[Judged], dict[str, str]]:
    """What is drawn: strangers before others, longer stretches before shorter ones, and each person once before anybody a second
    time; and why clips are not. A renderer must not have learnt from it either."""
    whole = {clip.clip_id: clip for clip in data.clips}
    found, left_out = list[Judged](), dict[str, str]()
    for clip, made in (
        *((c, stranger(c)) for c in parts.held_people),
        *((c, later(whole[c.clip_id], c)) for c in parts.held_time),
    ):
        if made is None:
            left_out[clip.clip_id] = "too short to be drawn"
        elif drawing is not None and _learnt_from(drawing, made, data):
            left_out[clip.clip_id] = f"renderer {drawing.id} learnt from it"
        else:
            found.append(made)
    found.sort(key=lambda of: (of.held_out != "people", -len(of.clip), of.clip.clip_id))
    kinds = [[of for of in found if of.held_out == kind] for kind in ("people", "time")]
    ranked = [of[place] for of in kinds for place in chosen([j.clip.who for j in of], len(of))]
    return ranked[:num], left_out


def _learnt_from(drawing: registry.Checkpoint, made: Judged, data: MotionSet) -> bool:
    """Whether a renderer, or the one that it went on from, saw these frames: of an end that it held out it did not."""
    card = drawing.told["data"]
    if made.held_out == "time" and made.clip.clip_id in card["clips"]["held_time"] and "before" not in card:
        return False
    cards = [card, *([card["before"]] if "before" in card else [])]
    people = {who for c in cards for who in c["people"]["train"]}
    clips = {clip for c in cards for clip in c["clips"]["train"]}
    videos = {c.video_id for c in data.clips if c.clip_id in clips}
    return made.clip.who in people or made.clip.video_id in videos


def _with_silence(of: Judged) -> np.ndarray:
    return np.concatenate([of.clip.sound, quiet_room(AFTER_VOICE_S)])


# What draws


def _by_engine(
    workspace: Workspace, motion: str, renderer: str, jobs: Sequence[tuple[Judged, Mapping[str, np.ndarray]]], data: MotionSet
) -> Iterator[tuple[Judged, Pictures | str]]:  # fmt: skip
    """Pictures of each job by who draws them, or why there are none. Raises ValueError when the engine can't use a checkpoint."""
    if not jobs:
        return
    with _scratch(workspace) as folder:
        clips = [{"clip_id": of.clip.clip_id, "plate": of.plate} for of, _ in jobs]
        job = {
            "workspace": str(workspace.settings.workspace),
            "motion": motion,
            "renderer": renderer or NONE,
            "clips": clips,
        }
        (folder / "job.json").write_text(json.dumps(job))
        for of, mouths in jobs:
            who = data.people[of.clip.who]
            arrays = {"sound": _with_silence(of), "rest": who.rest, "scale": who.scale, **mouths}
            np.savez(folder / f"{of.clip.clip_id}.npz", allow_pickle=False, **arrays)
        command = [sys.executable, "-m", "serving.drawn_clips", str(folder)]
        env = {**os.environ, "PYTHONPATH": python_path(), "HEADROOM_MOTION_RUNTIME": "torch"}  # it has no graph yet
        with (
            (folder / "said").open("w+") as said,
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=said) as process,
        ):
            try:
                yield from _received(process, jobs)
                if process.wait():
                    said.seek(0)
                    raise ValueError(f"evaluate: nothing could be drawn: {said.read().strip()[-500:]}")
            finally:
                process.kill()


def _received(
    process: subprocess.Popen[bytes], jobs: Sequence[tuple[Judged, Mapping[str, np.ndarray]]]
) -> Iterator[tuple[Judged, Pictures | str]]:
    assert process.stdout is not None
    by_id = {of.clip.clip_id: of for of, _ in jobs}
    made: Pictures = {}
    before = ""
    for line in process.stdout:
        head = json.loads(line)
        if before not in ("", head["clip_id"]) and made:
            yield by_id[before], made
            made = {}
        before = head["clip_id"]
        if "problem" in head:
            yield by_id[before], str(head["problem"])
            continue
        data = process.stdout.read(int(np.prod(head["shape"])))
        if len(data) < np.prod(head["shape"]):
            return  # it ended amid a video: what it said is told
        made[head["who"]] = np.frombuffer(data, np.uint8).reshape(head["shape"])
    if made and process.wait() == 0:
        yield by_id[before], made


def _by_true_mesh(
    found: registry.Checkpoint, held: Frozen, data: MotionSet, judged: Sequence[Judged]
) -> Iterator[tuple[Judged, Pictures | str]]:
    from modeling.renderer_metrics import drawn as painted
    from modeling.renderer_set import read_faces

    net, triangles = renderer_of(found), canonical_face().triangles
    whole = {clip.clip_id: clip for clip in data.clips}
    recipe = replace(net.recipe, frames_per_clip=MOST_FRAMES)
    for of in judged:
        clip = whole[of.clip.clip_id]
        upto = clip.cut(0, of.clip.first_frame + len(of.clip) - clip.first_frame)
        faces, reasons = read_faces(
            held, [upto], data.people, triangles, recipe, judged_from={clip.clip_id: of.clip.first_frame}
        )
        if not faces:
            yield of, reasons[clip.clip_id]
            continue
        face = faces[0]
        # A frame without a mesh shows the one before.
        at = np.maximum(np.searchsorted(face.frames, of.clip.first_frame + np.arange(len(of.clip)), "right") - 1, 0)
        squares = {OURS: painted(net, face, 0), WARP: face.warps[0]}
        shown = {who: np.stack([face.in_picture(0, s) for s in made])[at] for who, made in squares.items()}
        yield of, {COPY: face.pictures[:1], **shown}


# What is told of it


def _told(
    workspace: Workspace, found: registry.Checkpoint, held: Frozen, data: MotionSet, parts: Split,
    pictures: Iterable[tuple[Judged, Pictures | str]], about: Mapping[str, str], left_out: dict[str, str],
) -> Drawn:  # fmt: skip
    rows = {row["clip_id"]: row for row in held.clips.to_pylist()}
    judged: list[tuple[Judged, dict[str, dict[str, float]]]] = []
    stills: dict[str, Pictures] = {}
    files: dict[str, Path] = {}
    with _scratch(workspace) as folder:
        for of, made in pictures:
            clip = of.clip
            true = made if isinstance(made, str) else read_true(held, rows[clip.clip_id], clip)
            if isinstance(true, str):
                left_out[clip.clip_id] = true
                continue
            assert not isinstance(made, str)
            judged.append((of, clip_measures(made, true, clip, data.people[clip.who])))
            shown = _shown(true, made, len(clip))
            files[clip.clip_id] = folder / f"{clip.clip_id}.mp4"
            write_film(beside(shown), size_of(shown), clip.sound, files[clip.clip_id])
            at = np.linspace(0, len(clip) - 1, NUM_STILLS).astype(int)
            stills[f"clip {clip.clip_id}, held out: {of.held_out}"] = {n: v[at].copy() for n, v in shown.items()}
        told: dict[str, Any] = {**about, "left_out": left_out}
        for part in ("people", "time"):
            of_part = [(of, row) for of, row in judged if of.held_out == part]
            if of_part:
                told[f"held_{part}"] = _figures(of_part, parts.held_out == "time")
        if not judged:
            return Drawn(told, None)
        drawn_sheet = jpeg(sheet(stills))
        place = drawn.folder_of(found.id, held.snapshot_id, about["renderer"] if about["motion"] else "")
        clips = [
            {"clip_id": of.clip.clip_id, "held_out": of.held_out, "first_frame": of.clip.first_frame, "num_frames": len(of.clip)}
            for of, _ in judged
        ]  # fmt: skip
        told["sheet"] = workspace.objects.uri(drawn.sheet_key(place))
        told["videos"] = [workspace.objects.uri(drawn.video_key(place, of.clip.clip_id)) for of, _ in judged]
        drawn.put(workspace, place, {**told, "snapshot": held.snapshot_id, "clips": clips}, files, drawn_sheet)
    return Drawn(told, drawn_sheet)


def _figures(judged: Sequence[tuple[Judged, dict[str, dict[str, float]]]], over_clips: bool) -> dict[str, Any]:
    clips = [of.clip for of, _ in judged]
    names = [f"{c.who} {c.clip_id}" if over_clips else c.who for c in clips]
    return {
        "num_clips": len(clips),
        "num_people": len({c.who for c in clips}),
        "seconds": round(sum(len(c) for c in clips) / GRID_FPS, 2),
        **figures_of([row for _, row in judged], names, 0, LOWER),
    }


def _shown(true: TrueFaces, made: Pictures, num: int) -> Pictures:
    return {SOURCE: true.pictures, **{label: made[who][:num] for who, label in SHOWN.items() if who in made}}


@contextmanager
def _scratch(workspace: Workspace) -> Iterator[Path]:
    """A folder that an erasure removes, should whoever made it be killed."""
    root = workspace.settings.workspace / "scratch"
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="drawn-", dir=root) as folder:
        yield Path(folder)
