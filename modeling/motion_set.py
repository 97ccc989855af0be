"""The clips of a snapshot as motion models read them: each person's normalised motion beside the sound of each frame.

Legend: T frames at 25 fps, P parameters of modeling/motion.py, M log-mel windows (four to a frame), C mel bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.data import ClipDataset, ClipRanges
from modeling.log_mel import SAMPLE_HZ, SAMPLES_PER_FRAME
from modeling.motion import TIMELINES, Motion, Person, person_of, raw_motion
from store.frozen import Frozen
from store.media import GRID_FPS

LEAST_SEEN = 0.8
"""A clip with a mesh on a smaller share of its frames teaches more of interpolation than of motion."""
CLIPS_AT_ONCE = 16


@dataclass(frozen=True)
class MotionClip:
    """One clip. `motion` is normalised by `who`; `sound` is float32 (640 T,), shifted by the clip's measured offset so
    that it fits the picture; `speech` is the probability of speech on each frame, float32 (T,)."""

    clip_id: str
    video_id: str
    who: str
    first_frame: int
    """Of the video's grid: that of the first row."""
    motion: Motion
    sound: np.ndarray
    speech: np.ndarray
    weight: float | None = None
    """How often it is to be drawn, relative to others, where a snapshot is balanced."""

    def __len__(self) -> int:
        return len(self.motion.values)

    def cut(self, start: int, end: int) -> MotionClip:
        """Frames [start, end) of it."""
        motion = Motion(self.motion.values[start:end], self.motion.seen[start:end])
        sound = self.sound[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
        first, speech = self.first_frame + start, self.speech[start:end]
        return MotionClip(self.clip_id, self.video_id, self.who, first, motion, sound, speech, self.weight)


@dataclass(frozen=True)
class MotionSet:
    """Clips in the order of their ids, what is usual for each person, and the clips left out with the reason."""

    clips: Sequence[MotionClip]
    people: Mapping[str, Person]
    left_out: Mapping[str, str]

    @property
    def seconds(self) -> float:
        return sum(len(c) for c in self.clips) / GRID_FPS


def read_motion(
    frozen: Frozen, who: Mapping[str, str] | None = None, late_ms: Mapping[str, float] | None = None
) -> MotionSet:
    """Reads the clips of a snapshot. `who` is each clip's person, by default its video; `late_ms` how late the sound of
    a clip comes, by default 0: sound that is late or early by a few frames would teach the wrong moment.
    """
    data = ClipDataset(frozen, ClipRanges(length_s=None, frames=False, timelines=TIMELINES))
    items: dict[str, dict[str, Any]] = {}
    raw: dict[str, Motion] = {}
    left_out: dict[str, str] = {}
    for at in range(0, len(data), CLIPS_AT_ONCE):
        for item in data.__getitems__(list(range(at, min(at + CLIPS_AT_ONCE, len(data))))):
            clip = str(item["clip_id"])
            found = raw_motion(item["timelines"], item["start_frame"], item["end_frame"])
            if reason := _unfit(item, found):
                left_out[clip] = reason
                continue
            assert found is not None
            items[clip], raw[clip] = item, found
    named = {clip: (who or {}).get(clip) or str(item["video_id"]) for clip, item in items.items()}
    by_person: dict[str, list[Motion]] = {}
    for clip, person in named.items():
        by_person.setdefault(person, []).append(raw[clip])
    people = {person: person_of(motions) for person, motions in by_person.items()}
    told = frozen.clips
    weights = (
        dict(zip(told["clip_id"].to_pylist(), told["weight"].to_pylist(), strict=True))
        if "weight" in told.column_names
        else {}
    )
    clips = [
        _clip(items[c], named[c], people[named[c]].normalised(raw[c]), (late_ms or {}).get(c) or 0.0, weights.get(c))
        for c in sorted(items)
    ]
    return MotionSet(clips, people, left_out)


def _unfit(item: Mapping[str, Any], found: Motion | None) -> str:
    """Why a clip can't be learnt from; empty when it can."""
    if not item["has_audio"]:
        return "no audio"
    if "vad" not in item["timelines"]:
        return "no voice activity is stored; run headroom curate --signal vad"
    missing = [n for n in ("landmarks", "head_pose") if n not in item["timelines"]]
    if missing:
        return f"{' and '.join(missing)} not stored; run headroom curate --signal {' --signal '.join(missing)}"
    if found is None or found.seen[:, 0].mean() < LEAST_SEEN:
        return "too few frames with a mesh"
    return ""


def _clip(item: Mapping[str, Any], who: str, motion: Motion, late_ms: float, weight: float | None) -> MotionClip:
    num = len(motion.values)
    late = round(late_ms * SAMPLE_HZ / 1000)
    sound = np.zeros(num * SAMPLES_PER_FRAME, np.float32)
    heard = item["audio"].numpy()
    if abs(late) < len(heard):
        sound[max(0, -late) : len(sound) - max(0, late)] = heard[max(0, late) : len(heard) + min(0, late)]
    vad = item["timelines"]["vad"]
    wanted = np.arange(item["start_frame"], item["end_frame"]) + late_ms * GRID_FPS / 1000
    speech = np.interp(wanted, vad["frame"].numpy(), vad["speech_prob"].numpy()).astype(np.float32)
    whole = MotionClip(item["clip_id"], item["video_id"], who, int(item["start_frame"]), motion, sound, speech, weight)
    lost = -(-abs(late) // SAMPLES_PER_FRAME)  # frames whose sound lies beyond the clip
    return whole.cut(lost, num) if late < 0 else whole.cut(0, num - lost)
