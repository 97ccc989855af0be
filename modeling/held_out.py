"""What a training does not see, so that it can be judged: people, or time where there are too few people.

Time is the weaker proof: it says how a model does on other words of people whom it learnt from, and nothing of anybody else.

Legend: T frames at 25 fps, C bands, F values of a block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from modeling.log_mel import WINDOWS_PER_FRAME, log_mel
from modeling.motion_set import MotionClip
from store.media import GRID_FPS

HeldOut = Literal["people", "time"]

BLOCK_FRAMES, LEAST_FRAMES, HOP_FRAMES = 37, 25, 12
"""Sounds are compared by blocks of 1.5 s (1 s where that is all there is), two a second: a stretch of 2 s that two of them
share holds a whole block."""
NUM_MELS, NUM_BANDS = 40, 8
SAME_SOUND = 0.78
"""Correlation from which two blocks are the same recording. On the sample footage copies have 0.84 and more where they are
coded anew and cut half a frame apart, 0.83 (the median) under noise as loud as the voice; other words of the same voice have
0.69 at most."""


class HoldsOut(Protocol):
    """The values of a recipe that say what is held out."""

    @property
    def seed(self) -> int: ...
    @property
    def held_people_share(self) -> float: ...
    @property
    def held_people_least(self) -> int: ...
    @property
    def held_time_share(self) -> float: ...
    @property
    def held_time_least_s(self) -> float: ...


@dataclass(frozen=True)
class Split:
    """What is learnt from, and what is held out. `held_time` are ends of clips of those who are learnt from; with
    `held_out` "time" there is nothing else, and `held_people` is empty."""

    train: Sequence[MotionClip]
    held_time: Sequence[MotionClip]
    held_people: Sequence[MotionClip]
    held_out: HeldOut = "people"
    heard: Sequence[str] = ()
    """Clips whose end is not held out since the same sound is in what is learnt from: copies of another clip. Only with
    `held_out` "time", where all rests on it."""


def split(clips: Sequence[MotionClip], recipe: HoldsOut) -> Split:
    """People are held out when there are `held_people_least` of them, else the ends of clips. Every clip of a person is on
    one side, and so are all who appear in one video; who is held out follows from the seed and their names alone.

    Raises ValueError when there are too few people and no end can be held out either.
    """
    together = company(clips)
    people = sorted(set(together.values()))
    held: set[str] = set()
    if len(people) >= max(2, recipe.held_people_least):
        people.sort(key=lambda name: hashlib.sha256(f"{recipe.seed}:{name}".encode()).digest())
        held = set(people[: min(len(people) - 1, max(1, round(recipe.held_people_share * len(people))))])
    train, later = [], []
    for clip in clips:
        if together[clip.who] in held:
            continue
        long = len(clip) >= recipe.held_time_least_s * GRID_FPS
        kept = len(clip) - round(recipe.held_time_share * len(clip)) if long else len(clip)
        train.append(clip.cut(0, kept))
        if kept < len(clip):
            later.append(clip.cut(kept, len(clip)))
    if held:
        return Split(train, later, [c for c in clips if together[c.who] in held])
    heard = heard_in(later, train)
    ends = [c for c, copy in zip(later, heard, strict=True) if not copy]
    if not ends:
        raise ValueError(
            f"split: {len(people)} people without a video in common, fewer than the {max(2, recipe.held_people_least)} from "
            f"which some are held out; and no time can be held out: {len(later)} of {len(clips)} clips last "
            f"{recipe.held_time_least_s:g} s or more, and the ends of all of these are heard in other clips too; "
            "give a larger tier"
        )
    return Split(train, ends, [], "time", [c.clip_id for c, copy in zip(later, heard, strict=True) if copy])


def heard_in(pieces: Sequence[MotionClip], others: Sequence[MotionClip]) -> list[bool]:
    """Of each piece, whether a stretch of its sound of 2 s is also in one of the others, or all of it: a copy, perhaps coded
    anew, louder, or with another picture. Of a piece under 1 s nobody can tell: it counts as heard."""
    bands = [_bands(p.sound) for p in pieces]
    size = min([BLOCK_FRAMES, *(len(b) for b in bands if len(b) >= LEAST_FRAMES)])
    blocks = [_blocks(b, size, HOP_FRAMES) for b in bands]
    best = [np.full(len(b), -1.0, np.float32) for b in blocks]
    for other in others:
        there_NF = _blocks(_bands(other.sound), size, 1)
        for mine_KF, found in zip(blocks, best, strict=True):
            if len(mine_KF) and len(there_NF):
                np.maximum(found, (mine_KF @ there_NF.T).max(axis=1), out=found)
    return [not len(found) or bool((found >= SAME_SOUND).any()) for found in best]


def _bands(sound_N: np.ndarray) -> np.ndarray:
    """(T, C) log energies."""
    mel = log_mel(torch.from_numpy(np.ascontiguousarray(sound_N))[None], NUM_MELS)[0].numpy()
    made: np.ndarray = mel.reshape(-1, WINDOWS_PER_FRAME, NUM_BANDS, NUM_MELS // NUM_BANDS).mean(axis=(1, 3))
    return made


def _blocks(bands_TC: np.ndarray, size: int, hop: int) -> np.ndarray:
    """(K, F) of length 1 each, without each band's mean: loudness and the microphone don't count. Silence has length 0."""
    if len(bands_TC) < size:
        return np.zeros((0, size * NUM_BANDS), np.float32)
    cut = np.lib.stride_tricks.sliding_window_view(bands_TC, size, axis=0)[::hop]  # (K, C, size)
    flat = (cut - cut.mean(axis=2, keepdims=True)).reshape(len(cut), -1).astype(np.float32)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1.0))


def company(clips: Sequence[MotionClip]) -> Mapping[str, str]:
    """By person, the first by name of all whom videos link to them."""
    first = {c.who: c.who for c in clips}
    by_video: dict[str, set[str]] = {}
    for clip in clips:
        by_video.setdefault(clip.video_id, set()).add(clip.who)
    for together in by_video.values():
        named = {first[who] for who in together}
        first = {who: min(named) if head in named else head for who, head in first.items()}
    return first
