"""`headroom render`: a sound file said by an avatar, as an MP4. The same pipeline as live, as fast as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modeling.plates import SIDE_PX
from serving.avatar import avatar
from serving.engine import SAMPLE_HZ, SAMPLES_PER_FRAME, Chunk, Session
from serving.publish import Recording, frames_of
from serving.refined_face import renderer_module
from serving.talking import motion_module, talking
from store import deployments
from store.media import GRID_FPS
from store.workspace import Workspace

BLOCK_FRAMES = 25
MOST_S = 4 * 3600


def render(
    workspace: Workspace, audio: Path, named: str, out: Path, checkpoint: str | None = None, seed: int = 0,
    side_px: int = SIDE_PX, renderer: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Writes the MP4, by default with the checkpoint that is deployed, else with the latest; drawn by the renderer named or
    deployed, else ("" in what it gives) by the plain warp. Gives {"path", "checkpoint", "renderer", "avatar", "frames",
    "seconds", "fps", "real_time_factor"}, the factor being the time it took over the time it lasts.

    Raises ValueError without a checkpoint, for an avatar that can't be made, for sound that can't be read, and for a name
    that is no MP4's.
    """
    import cv2
    import torch

    module = motion_module(workspace, checkpoint or deployments.serving(workspace).stable or None)
    drawing = renderer_module(workspace, renderer)
    shown = avatar(workspace, named, side_px)
    running = talking(module, drawing).open(Session(shown, seed))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is small: more threads only wait for each other
    cv2.setNumThreads(1)
    recording = Recording(out, (side_px, side_px))
    began, number = time.perf_counter(), 0
    try:
        for chunk in _spoken(running, audio):
            for told in frames_of(chunk.first_frame, chunk.frames, chunk.sound):
                recording.write(*told)
                number += 1
        path = recording.end()
    except BaseException:
        recording.abandon()
        raise
    finally:
        torch.set_num_threads(threads)
    took, lasts = time.perf_counter() - began, number / GRID_FPS
    return {
        "path": str(path), "checkpoint": module.checkpoint, "renderer": drawing.checkpoint if drawing else "",
        "avatar": shown.key, "frames": number, "seconds": lasts,
        "fps": round(number / took, 1), "real_time_factor": round(took / lasts, 3),
    }  # fmt: skip


def _spoken(running: Any, audio: Path) -> Iterator[Chunk]:
    for place, block in enumerate(read_blocks(audio)):
        yield from running.step(Chunk(place * BLOCK_FRAMES, block))
    yield from running.end()


def read_blocks(audio: Path) -> Iterator[np.ndarray]:
    """The sound of any file that FFmpeg reads, as int16 at 16 kHz, mono, a second at a time; the last one may be shorter.

    Raises ValueError for a file that isn't there, has no sound, can't be decoded, or goes on for more than four hours.
    """
    import av

    if not audio.is_file():
        raise ValueError(f"sound {audio}: there is no such file")
    rest: np.ndarray = np.zeros(0, np.int16)
    block, heard = BLOCK_FRAMES * SAMPLES_PER_FRAME, 0
    try:
        with av.open(f"file:{audio}") as container:
            if not container.streams.audio:
                raise ValueError(f"sound {audio}: the file has none; give one with a voice")
            even = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_HZ)
            frames = (f for decoded in container.decode(audio=0) for f in even.resample(decoded))
            for frame in frames:
                rest = np.concatenate([rest, frame.to_ndarray()[0]])
                heard += frame.samples
                if heard > MOST_S * SAMPLE_HZ:
                    raise ValueError(f"sound {audio}: lasts more than {MOST_S // 3600} hours; cut it")
                while len(rest) >= block:
                    yield rest[:block]
                    rest = rest[block:].copy()
            for frame in even.resample(None):
                rest = np.concatenate([rest, frame.to_ndarray()[0]])
                heard += frame.samples
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"sound {audio}: can't be decoded ({error})") from error
    if not heard:
        raise ValueError(f"sound {audio}: the file has none; give one with a voice")
    for at in range(0, len(rest), block):
        yield rest[at : at + block]
