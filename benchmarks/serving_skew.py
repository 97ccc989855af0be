"""How far apart sound and picture come out of a live session, early and after an hour, as a viewer sees it.

A click goes in with the sound, by the clock of the gateway (serving/inbox.py); the session's own motion stage hears it, and a stage
in the place of the one that draws shows white while it does. Flash and click are decoded from the fragments that come out.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
import numpy as np
import torch

from modeling.audio_to_motion import MotionNet
from modeling.idle_motion import Idle
from modeling.recipes.audio_to_motion import recipe
from serving.avatar import Avatar
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.inbox import TICK_FRAMES, TICK_SAMPLES, Inbox
from serving.live import LiveSession
from serving.speech_motion import SpeechMotion
from store.media import GRID_FPS

LOUD = 3000
AROUND = 2 * GRID_FPS
"""Frames that are decoded before and after a flash; a whole picture comes each second."""
STILL = Idle(blinks_per_min=26, blink_depth=0.9, sway=(0.2, 0.3, 0.1), pole=(0.9, 0.9, 0.9))


class Flash:
    """The stage that shows white while it hears the click, and black else."""

    name, remembers = "draw", False

    def __init__(self, side_px: tuple[int, int]) -> None:
        self._dark, self._white = (np.full((*side_px, 3), level, np.uint8) for level in (0, 255))

    def begin(self, session: Session) -> None:
        return None

    def step(self, state: None, chunk: Chunk) -> Iterator[Chunk]:
        loud = np.abs(chunk.sound.reshape(-1, SAMPLES_PER_FRAME).astype(int)).max(axis=1) > LOUD
        yield replace(chunk, frames=[self._white if white else self._dark for white in loud])

    def end(self, state: None) -> Iterator[Chunk]:
        yield from ()


def skew(shown: Avatar, seconds: int) -> dict[str, Any]:
    """Milliseconds by which the click comes after the white frame, early and at the end of a session of so many seconds."""
    torch.manual_seed(0)
    motion = Module("audio_to_motion", "untrained", (MotionNet(recipe("audio_to_motion")).eval(), STILL))
    side_px = shown.plate.picture.shape[:2]
    live = LiveSession(Pipeline([motion], [SpeechMotion(motion), Flash(side_px)]), shown, side_px)
    _, header = live.watch()
    inbox, num_frames = Inbox(), seconds * GRID_FPS
    wanted = (AROUND, (num_frames - 2 * AROUND) // AROUND * AROUND + AROUND)
    silence = np.zeros(TICK_SAMPLES, np.int16)
    click = silence.copy()
    click[:SAMPLES_PER_FRAME] = 12_000 * np.sin(np.arange(SAMPLES_PER_FRAME) * 0.8)
    kept = dict.fromkeys(wanted, header)
    made = 0
    for heard in range(0, num_frames, TICK_FRAMES):
        inbox.hear(click if heard in wanted else silence)
        out, _ = live.tick(inbox.due())
        inbox.said()
        for one in _fragments(out):
            for at in wanted:
                if at - AROUND <= made < at + AROUND:
                    kept[at] += one
            made += 1
    return {"seconds": seconds, "click_after_flash_ms": [_apart(data) for data in kept.values()]}


def _fragments(data: bytes) -> Iterator[bytes]:
    """One a frame: `moof` and `mdat`."""
    at = 0
    while at < len(data):
        end = at + int.from_bytes(data[at : at + 4])
        end += int.from_bytes(data[end : end + 4])
        yield data[at:end]
        at = end


def _apart(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as container:
        flash = next(
            float(f.pts * f.time_base) for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 128
        )
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
            if len(loud):
                return round(1000 * (float(frame.pts * frame.time_base) + loud[0] / 16_000 - flash), 2)
    raise ValueError("skew: the click is not heard")
