"""The first stage of a motion-first session: sound in, motion out, with the same numbers as offline however it is cut.

A frame's motion is there 55 ms after its time (modeling/log_mel.py looks so far ahead). What remains of a session is the
last two seconds of sound, the network's state, and that of the draw.

Another checkpoint is warmed up on those two seconds beside the one that runs, and takes its place between two chunks: frames,
smoothing, blinks and sway go on where they were.

Legend: N samples, T frames, P motion parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from modeling.audio_to_motion import MotionNet
from modeling.idle_motion import Idle, IdleMotion, loudness_db
from modeling.log_mel import HOP, LOOKAHEAD_SAMPLES, WINDOW, WINDOWS_PER_FRAME, mel_windows
from modeling.motion import HEAD, MOUTH, NUM_PARAMETERS
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Session

MOUTH_EMA, HEAD_EMA = 0.75, 0.35
"""Share of the new value in the smoothed one, per frame: the mouth trails by a third of a frame, the head by two."""
QUIET_DB, QUIET_SLOPE_DB = -48.0, 2.5
"""Half quiet at the first; the room behind a voice lies below, the softest syllables above."""
CLOSING_S, OPENING_S = 0.12, 0.03
"""How fast a mouth comes to rest when it is quiet, and is free again."""
WARM_FRAMES = 50
"""On so much of what was heard another checkpoint is warmed up: the transformer's window."""
AHEAD = LOOKAHEAD_SAMPLES - SAMPLES_PER_FRAME


class MotionStream:
    """Motion of one session, float32 (T, P), normalised, unsmoothed: the network's mouth and head, swayed, and blinks."""

    def __init__(self, net: MotionNet, idle: Idle, seed: int, first_frame: int = 0) -> None:
        self._net, self._state = net, net.start(1)
        self._idle = IdleMotion(idle, seed)
        self._idle.skip(first_frame)
        self._rest: np.ndarray = np.zeros(0, np.float32)
        self._recent = (0, np.zeros(0, np.float32))
        """Frames told, and the sound of the last of them with what they saw ahead. Replaced whole: another thread reads it."""

    def prepare(self, net: MotionNet, idle: Idle) -> Callable[[], bool]:
        """Warms another network up on what was heard of late; may run beside a push. What it gives puts the network in
        the place of this one, between two pushes, and is False when sound came meanwhile: then prepare again. Of the network
        that is here already nothing changes."""
        if net is self._net:
            return lambda: True
        told, recent = self._recent
        state = net.start(1)
        if len(recent):
            with torch.inference_mode():
                _, *after = net(mel_windows(torch.from_numpy(recent.copy())[None], net.recipe.num_mels), *state)
            state = tuple(after)

        def flip() -> bool:
            if self._recent[0] != told:
                return False
            self._net, self._state, self._idle.idle = net, state, idle
            return True

        return flip

    def push(self, sound_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Motion (T, P) and loudness in dB (T,) of all frames that can be told now; float32 sound in [-1, 1]."""
        self._rest = np.concatenate([self._rest, sound_N.astype(np.float32)])
        num = max(0, (len(self._rest) - LOOKAHEAD_SAMPLES) // SAMPLES_PER_FRAME + 1)
        return self._told(num)

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the frames that are left: beyond the end lies silence, and a frame that was begun is filled up with it."""
        num = -(-len(self._rest) // SAMPLES_PER_FRAME)
        wanted = num * SAMPLES_PER_FRAME + WINDOW - HOP
        self._rest = np.concatenate([self._rest, np.zeros(max(0, wanted - len(self._rest)), np.float32)])
        return self._told(num)

    def _told(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        if num <= 0:
            return np.zeros((0, NUM_PARAMETERS), np.float32), np.zeros(0)
        heard = self._rest[: (num * WINDOWS_PER_FRAME - 1) * HOP + WINDOW]
        with torch.inference_mode():
            mel = mel_windows(torch.from_numpy(heard.copy())[None], self._net.recipe.num_mels)
            made, *state = self._net(mel, *self._state)
        self._state = tuple(state)
        loud = loudness_db(self._rest[: num * SAMPLES_PER_FRAME])
        before, past = self._recent
        kept = np.concatenate([past[: max(0, len(past) - AHEAD)], heard])[-WARM_FRAMES * SAMPLES_PER_FRAME - AHEAD :]
        self._recent = (before + num, kept)
        self._rest = self._rest[num * SAMPLES_PER_FRAME :].copy()
        told, idle = made[0].numpy(), self._idle.step(loud)
        return np.concatenate([told[:, :4], idle[:, :2], told[:, 4:] + idle[:, 2:]], axis=1), loud


class Smoothing:
    """EMA of mouth and head, lids as they are; and a mouth that rests while it is quiet. Frame by frame, so that cutting
    the sound elsewhere changes nothing."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._free = 0.0

    def step(self, motion_TP: np.ndarray, loud_T: np.ndarray) -> np.ndarray:
        made = motion_TP.astype(np.float32).copy()
        for t, level_db in enumerate(loud_T):
            spoken = 1 / (1 + np.exp(-(np.clip(level_db, -100, 0) - QUIET_DB) / QUIET_SLOPE_DB))
            tau_s = OPENING_S if spoken > self._free else CLOSING_S
            self._free += (spoken - self._free) * min(1.0, 1 / (25 * tau_s))
            made[t, MOUTH] *= self._free
            if self._before is not None:
                for part, share in ((MOUTH, MOUTH_EMA), (HEAD, HEAD_EMA)):
                    made[t, part] = self._before[part] + share * (made[t, part] - self._before[part])
            self._before = made[t].copy()
        return made


class SpeechMotion:
    """The stage: a chunk's sound gets its motion; chunks come out a little later than they go in, cut at frames."""

    name, remembers = "motion", True

    def __init__(self, module: Module[tuple[MotionNet, Idle]]) -> None:
        self.module = module

    def begin(self, session: Session) -> _Heard:
        net, idle = self.module.model
        return _Heard(session.first_frame, MotionStream(net, idle, session.seed, session.first_frame), Smoothing())

    def step(self, state: _Heard, chunk: Chunk) -> Iterator[Chunk]:
        state.sound = np.concatenate([state.sound, chunk.sound])
        yield from state.leaving(*state.stream.push(chunk.sound.astype(np.float32) / 32768))

    def end(self, state: _Heard) -> Iterator[Chunk]:
        yield from state.leaving(*state.stream.end())

    def prepare(self, state: _Heard, other: SpeechMotion) -> Callable[[], bool]:
        return state.stream.prepare(*other.module.model)


class _Heard:
    def __init__(self, first_frame: int, stream: MotionStream, smoothing: Smoothing) -> None:
        self.stream, self.smoothing, self.frame = stream, smoothing, first_frame
        self.sound: np.ndarray = np.zeros(0, np.int16)

    def leaving(self, motion_TP: np.ndarray, loud_T: np.ndarray) -> Iterator[Chunk]:
        num = len(motion_TP)
        if num == 0:
            return
        sound = np.zeros(num * SAMPLES_PER_FRAME, np.int16)  # the last frame of a session may be filled up
        part = self.sound[: len(sound)]
        sound[: len(part)] = part
        self.sound = self.sound[len(sound) :].copy()
        yield Chunk(self.frame, sound, self.smoothing.step(motion_TP, loud_T))
        self.frame += num
