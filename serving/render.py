"""`headroom render`: sound files said by an avatar, as MP4s. The same pipeline as live, as fast as it goes.

Several sounds go in lockstep, a frame of each at a time: their squares are one batch of the renderer, and warping, adding and
coding share the cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modeling.plates import SIDE_PX
from serving.avatar import Avatar, avatar
from serving.checkpoints import checkpoint_of
from serving.engine import SAMPLE_HZ, SAMPLES_PER_FRAME, Chunk, Pipeline, Session
from serving.face_warp import FaceWarp
from serving.publish import Recording, frames_of
from serving.refined_face import RefinedFace, renderer_module
from serving.talking import DrawnFace, motion_module, talking
from store import deployments
from store.media import GRID_FPS
from store.workspace import Workspace

BLOCK_FRAMES = 25
MOST_S = 4 * 3600
AT_ONCE = 8


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
    for _, said in studio(workspace, named, checkpoint, seed, side_px, renderer).said([(audio, out)]):
        if isinstance(said, ValueError):
            raise said
        return said
    raise AssertionError("one sound has one end")


def render_folder(
    workspace: Workspace, folder: Path, named: str, out: Path, checkpoint: str | None = None, seed: int = 0,
    side_px: int = SIDE_PX, renderer: str | None = None, at_once: int = AT_ONCE,
) -> dict[str, Any]:  # fmt: skip
    """Says every file of a folder, some at once, into OUT/NAME.mp4. What is there already, of the same sound by the same
    checkpoints, stays. Gives {"path", "rendered", "kept", "failed": {name: reason}, "frames", "seconds", "fps", ...}, of what it
    rendered now; a file that can't be said stops no other.

    Raises ValueError as `render` does, for a folder without a file, and for two files of one name.
    """
    sounds = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    twice = [name for name, num in Counter(f.stem for f in sounds).items() if num > 1]
    if not sounds or twice:
        told = f"two files are called {twice[0]}, and both would be {twice[0]}.mp4" if twice else "holds no file"
        raise ValueError(f"render: {folder} {told}; give a folder of sound files")
    place = studio(workspace, named, checkpoint, seed, side_px, renderer)
    made = _Made(out / ".rendered.json")
    wanted = {f: {**place.about(), "side_px": side_px, "sound": _sha256(f)} for f in sounds}
    left = [f for f in sounds if not (out / f"{f.stem}.mp4").exists() or made.of(f.stem) != wanted[f]]
    began, frames, failed, rendered = time.perf_counter(), 0, dict[str, str](), list[str]()
    for audio, said in place.said([(f, out / f"{f.stem}.mp4") for f in left], at_once):
        if isinstance(said, ValueError):
            failed[audio.name] = str(said)
            continue
        made.keep(audio.stem, wanted[audio])
        rendered.append(audio.name)
        frames += said["frames"]
    took, lasts = time.perf_counter() - began, frames / GRID_FPS
    return {
        "path": str(out), **place.about(), "rendered": rendered, "kept": len(sounds) - len(left), "failed": failed,
        "frames": frames, "seconds": lasts, "fps": round(frames / took, 1) if frames else None,
        "real_time_factor": round(took / lasts, 3) if frames else None,
    }  # fmt: skip


class _Made:
    """What recordings of a folder follow from; kept after each, so that a kill costs those under way alone."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._told: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def of(self, name: str) -> Any:
        return self._told.get(name)

    def keep(self, name: str, told: Mapping[str, Any]) -> None:
        self._told[name] = dict(told)
        part = self._file.with_name(f"{self._file.name}.part")
        part.write_text(json.dumps(self._told, sort_keys=True, indent=1))
        part.replace(self._file)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def studio(
    workspace: Workspace, named: str, checkpoint: str | None = None, seed: int = 0, side_px: int = SIDE_PX,
    renderer: str | None = None,
) -> Studio:  # fmt: skip
    """Raises ValueError as `render` does."""
    motion = motion_module(workspace, checkpoint or deployments.serving(workspace).stable or None)
    return Studio(talking(motion, renderer_module(workspace, renderer)), avatar(workspace, named, side_px), seed)


@dataclass(frozen=True)
class Studio:
    """One avatar with the pipeline that shows it, of any family, for any number of sounds."""

    pipeline: Pipeline[Chunk]
    shown: Avatar
    seed: int = 0

    def about(self) -> dict[str, Any]:
        """What a recording follows from, beside its sound."""
        checkpoint, drawn_by = deployments.parts_of(checkpoint_of(self.pipeline))
        return {"checkpoint": checkpoint, "renderer": drawn_by, "avatar": self.shown.key, "seed": self.seed}

    @property
    def face(self) -> DrawnFace | None:
        """The stage that draws frame by frame and is done here instead, for several sounds at once; None where pictures come
        out of the pipeline."""
        last = self.pipeline.stages[-1]
        return last if isinstance(last, DrawnFace) else None

    def said(
        self, wanted: Sequence[tuple[Path, Path]], at_once: int = AT_ONCE
    ) -> Iterator[tuple[Path, dict[str, Any] | ValueError]]:
        """(sound, what `render` gives) as each is done, or the reason why one could not be said: the others go on."""
        waiting, under_way = deque(wanted), list[_Saying]()
        cores = min(at_once, len(wanted), os.cpu_count() or 1)
        try:
            with _one_thread_each(), ThreadPoolExecutor(cores) as threads:
                # One sound needs no other thread; several share the cores frame by frame.
                each = map if cores < 2 else threads.map
                while waiting or under_way:
                    while waiting and len(under_way) < at_once:
                        audio, out = waiting.popleft()
                        try:
                            under_way.append(_Saying(self, audio, out))
                        except ValueError as error:
                            yield audio, error
                    for saying in list(under_way):
                        try:
                            more = saying.more()
                        except ValueError as error:
                            under_way.remove(saying)
                            yield saying.audio, error
                            continue
                        if not more:
                            under_way.remove(saying)
                            yield saying.audio, {**saying.end(), **self.about()}
                    if under_way:
                        self._draw(under_way, each)
        finally:
            for saying in under_way:
                saying.abandon()

    def _draw(self, under_way: Sequence[_Saying], each: Callable[..., Any]) -> None:
        """As many frames as all of them have, in lockstep."""
        drawing = self.face.renderer if self.face else None
        for _ in range(min(len(saying.rows) for saying in under_way)):
            if drawing is None:
                list(each(_Saying.show, under_way))
                continue
            placed = list(each(_Saying.place, under_way))
            faces = [saying.face for saying in under_way]
            made, after = drawing.model.step(
                np.stack([p.given for p in placed]),
                np.concatenate([face.identity for face in faces]),
                np.concatenate([face.state for face in faces]),
            )
            for place, face in enumerate(faces):
                face.state = after[place : place + 1]
            list(each(_Saying.finish, under_way, placed, made))


class _Saying:
    """One sound on its way to its MP4; `rows` are frames: number, picture, or the motion to draw it from, and sound."""

    def __init__(self, studio: Studio, audio: Path, out: Path) -> None:
        self.audio, self._blocks = audio, enumerate(read_blocks(audio))
        self._drawn, pipeline, shown = studio.face is not None, studio.pipeline, studio.shown
        if studio.face is not None:
            self._warp = warp = FaceWarp(shown.plate, shown.person)
            renderer = studio.face.renderer
            self.face: Any = RefinedFace(warp, renderer.model) if renderer else None
            pipeline = Pipeline(pipeline.modules, pipeline.stages[:-1])
        self._running = pipeline.open(Session(shown, studio.seed))
        self.rows: deque[tuple[int, np.ndarray, np.ndarray]] = deque()
        self._ended, self._number, self._began = False, 0, time.perf_counter()
        self._recording = Recording(out, studio.shown.plate.picture.shape[:2])

    def more(self) -> bool:
        """Hears on until there is a frame to draw; False at the end. Raises ValueError for sound that can't be read; then
        nothing is left of the recording."""
        try:
            while not self.rows and not self._ended:
                place, block = next(self._blocks, (0, None))
                self._ended = block is None
                told = self._running.end() if block is None else self._running.step(Chunk(place * BLOCK_FRAMES, block))
                for chunk in told:
                    made = chunk.motion if self._drawn else chunk.frames
                    assert made is not None
                    self.rows.extend(frames_of(chunk.first_frame, list(made), chunk.sound))
        except ValueError:
            self.abandon()
            raise
        return bool(self.rows)

    def show(self) -> None:
        made = self.rows[0][1]
        self._write(self._warp.draw(made) if self._drawn else made)

    def place(self) -> Any:
        return self.face.place(self.rows[0][1])

    def finish(self, placed: Any, made_CSS: np.ndarray) -> None:
        self._write(self.face.finish(placed, made_CSS))

    def _write(self, picture: np.ndarray) -> None:
        number, _, sound = self.rows.popleft()
        self._recording.write(number, picture, sound)
        self._number += 1

    def end(self) -> dict[str, Any]:
        path = self._recording.end()
        took, lasts = time.perf_counter() - self._began, self._number / GRID_FPS
        return {
            "path": str(path), "frames": self._number, "seconds": lasts,
            "fps": round(self._number / took, 1), "real_time_factor": round(took / lasts, 3),
        }  # fmt: skip

    def abandon(self) -> None:
        self._recording.abandon()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """The networks are small: more threads only wait for each other."""
    import cv2
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
