"""Clips as the engine draws them from their sound, offline, for who judges it: `python -m serving.drawn_clips FOLDER`.

flows/drawn.py writes FOLDER/job.json and a sound a clip, and reads pictures from standard output: a line of JSON before the
bytes of each video. Nothing is coded in between, so what is measured is what the engine drew.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from modeling.motion import MOUTH, Person
from modeling.plates import SIDE_PX
from serving.avatar import Avatar, of_clip
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.face_warp import FaceWarp
from serving.refined_face import Drawing, RefinedFace, renderer_module
from serving.render import BLOCK_FRAMES
from serving.speech_motion import SpeechMotion
from serving.talking import motion_module
from store.workspace import Workspace, open_workspace

OURS, WARP, COPY = "ours", "warp", "copy"


def videos(
    shown: Avatar, motion: Module[Any], drawing: Module[Drawing] | None, sound_N: np.ndarray,
    mouths: Mapping[str, np.ndarray],
) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
    """(who, pictures uint8 (T, H, W, 3)): "copy", the plate alone, as one picture; "ours"; with a renderer also "warp", the
    same motion without it; and by name what the plain warp makes of other mouths (T, 4), with the head and the lids of ours.
    """
    yield COPY, shown.plate.picture[None]
    motion_TP = motion_of(shown, motion, sound_N)
    warp = FaceWarp(shown.plate, shown.person)
    plain = np.stack([warp.draw(row) for row in motion_TP])
    if drawing is None:
        yield OURS, plain
    else:
        face = RefinedFace(warp, drawing.model)
        yield OURS, np.stack([face.draw(row) for row in motion_TP])
        yield WARP, plain
    for name, mouth_TK in mouths.items():
        other_TP = motion_TP.copy()
        num = min(len(other_TP), len(mouth_TK))
        other_TP[:num, MOUTH] = mouth_TK[:num]
        yield name, np.stack([warp.draw(row) for row in other_TP])


def motion_of(shown: Avatar, motion: Module[Any], sound_N: np.ndarray) -> np.ndarray:
    """float32 (T, P) of a sound in [-1, 1], smoothed, as a session has it."""
    running = Pipeline([motion], [SpeechMotion(motion)]).open(Session(shown))
    heard = np.clip(np.rint(sound_N * 32768), -32768, 32767).astype(np.int16)
    block = BLOCK_FRAMES * SAMPLES_PER_FRAME
    chunks = [
        made
        for at in range(0, len(heard), block)
        for made in running.step(Chunk(at // SAMPLES_PER_FRAME, heard[at : at + block]))
    ]
    chunks += running.end()
    return np.concatenate([chunk.motion for chunk in chunks if chunk.motion is not None])


def draw(workspace: Workspace, folder: Path, out: BinaryIO) -> None:
    """Does the job that lies in a folder. A clip that can't be drawn is told with its reason, and the others go on."""
    job = json.loads((folder / "job.json").read_text())
    motion = motion_module(workspace, job["motion"])
    drawing = renderer_module(workspace, job["renderer"])
    for clip in job["clips"]:
        with np.load(folder / f"{clip['clip_id']}.npz") as held:
            arrays = {name: held[name] for name in held.files}
        sound, person = arrays.pop("sound"), Person(arrays.pop("rest"), arrays.pop("scale"))
        try:
            shown = of_clip(workspace, clip["clip_id"], SIDE_PX, tuple(clip["plate"]))
        except ValueError as error:
            _tell(out, {"clip_id": clip["clip_id"], "problem": str(error)})
            continue
        for who, pictures in videos(replace(shown, person=person), motion, drawing, sound, arrays):
            _tell(out, {"clip_id": clip["clip_id"], "who": who, "shape": pictures.shape}, pictures)


def _tell(out: BinaryIO, head: Mapping[str, Any], pictures: np.ndarray | None = None) -> None:
    out.write(json.dumps(head).encode() + b"\n")
    if pictures is not None:
        out.write(np.ascontiguousarray(pictures).data)
    out.flush()


def main(arguments: list[str]) -> None:
    import cv2
    import torch

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    torch.set_num_threads(1)  # the networks are small: more threads only wait for each other
    cv2.setNumThreads(1)
    folder = Path(arguments[0])
    root = json.loads((folder / "job.json").read_text())["workspace"]
    try:
        draw(open_workspace(root), folder, sys.stdout.buffer)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
