"""What a clip shows and says, in sentences: short, medium, long; of every 5 s; and events with their times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import caption_facts as facts
from tasks.backend import Backend
from tasks.caption_facts import EVIDENCE, facts_of
from tasks.caption_text import written
from tasks.digest import between
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, Output, Resources, Signal

WINDOW_FRAMES = 5 * GRID_FPS
MIN_WINDOW_FRAMES = GRID_FPS
"""A rest shorter than 1 s belongs to the window before it."""
MIN_EVENT_FRAMES = 15
JOIN_FRAMES = 15
"""A voice that pauses for less than 0.6 s goes on."""

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column("short", pa.string(), "text", "one sentence: who, how near, what they do"),
        Column("medium", pa.string(), "text", "and where they face, their first words, text on screen, the camera"),
        Column("long", pa.string(), "text", "all that the signals tell, with all words"),
        Column("num_facts", pa.int16(), "count", "facts that the signals told, of 14", 0, 14),
    ),
    timeline=(
        Column("end_frame", pa.int32(), "frame", "one past the last frame of the window or event", 0),
        Column("kind", pa.string(), "name", "window (5 s), speech, face, camera or turn"),
        Column("text", pa.string(), "text", "the window's caption, or what happens"),
    ),
    needs=("faces", *EVIDENCE),
    optional=EVIDENCE,
    cost_cpu_s=0.0015,
    params={
        "window_frames": WINDOW_FRAMES,
        "shots": facts.SHOTS,
        "bounds": (facts.FACE_SCORE_MIN, facts.SPEECH_MOST, facts.SPEECH_SOME, facts.IN_SYNC_CONFIDENCE),
    },
    backend="templates",
    summary="Captions by templates over what the other signals tell: no model looks at the picture for them.",
    source="Our own templates; the shot sizes are those of film grammar.",
)
BACKENDS = {
    "qwen_vl": Backend(
        run="tasks.backends.qwen_vl:caption",
        model="Qwen/Qwen2.5-VL-7B-Instruct",
        licence="Apache-2.0",
        source="Bai et al., Qwen2.5-VL Technical Report, arXiv 2502.13923, 2025.",
        changes={"look": Look(frames_fps=1), "resources": Resources(gpu_gib=20.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    told = facts_of(needs, media, media.start_frame, media.end_frame)
    made = written(told)
    rows = [*windows(media, needs), *events(media, needs)]
    rows.sort(key=lambda row: (row["frame"], row["kind"], row["end_frame"]))
    known = sum(value is not None for value in vars(told).values())
    return Output(
        row={"short": made.short, "medium": made.medium, "long": made.long, "num_facts": known},
        timeline=timeline(rows),
    )


def timeline(rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return pa.Table.from_pylist(list(rows), schema=schema)


def spans(start_frame: int, end_frame: int) -> list[tuple[int, int]]:
    """Windows of 5 s from the clip's start; a short rest belongs to the last of them."""
    starts = list(range(start_frame, end_frame, WINDOW_FRAMES))
    if len(starts) > 1 and end_frame - starts[-1] < MIN_WINDOW_FRAMES:
        starts.pop()
    return list(zip(starts, [*starts[1:], end_frame], strict=True))


def windows(media: Media, needs: Needs) -> list[dict[str, Any]]:
    """One caption each, from the timelines; what is known of the whole clip only (text, quality) is left out."""
    of_frames = {
        n: v for n, v in needs.items() if n not in ("overlay_text", "visual_quality", "speech_quality", "pose")
    }
    return [
        _row(start, end, "window", written(facts_of(of_frames, media, start, end)).medium)
        for start, end in spans(media.start_frame, media.end_frame)
    ]


def events(media: Media, needs: Needs) -> list[dict[str, Any]]:
    """Spans of at least 0.6 s in which somebody speaks, a face comes or is gone, the camera moves, the head is turned."""
    start, end = media.start_frame, media.end_frame
    found = []
    if needs["vad"] is not None:
        speaks = _held(needs["vad"], "speech_prob", start, end, 1) >= facts.SPEECH_PROB
        for first, last in runs(_closed(speaks)):
            found.append(_row(start + first, start + last, "speech", _said(needs, start + first, start + last)))
    count = _face_count(needs["faces"], start, end)
    for first, last in runs(count == 0):
        if last - first < end - start:
            found.append(_row(start + first, start + last, "face", "no face is seen"))
    for first, last in runs(count > max(1, int(np.median(count)))):
        found.append(_row(start + first, start + last, "face", "another face comes into the picture"))
    if needs["flow"] is not None and needs["flow"].num_rows:
        moves = _held(needs["flow"], "camera", start, end, facts.DETECTION_FRAMES) >= facts.CAMERA_MOVES
        found += [_row(start + a, start + b, "camera", "the camera moves") for a, b in runs(moves)]
    turns = needs.get("head_pose.timeline")
    if turns is not None and turns.num_rows:
        yaw = _held(turns, "yaw_deg", start, end, 1)
        for side, told in ((yaw >= facts.ASIDE_DEG, "right"), (yaw <= -facts.ASIDE_DEG, "left")):
            found += [_row(start + a, start + b, "turn", f"the head is turned to the {told}") for a, b in runs(side)]
    return found


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[first, last + 1) of each stretch of True that is long enough to be an event."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= MIN_EVENT_FRAMES]


def _closed(flags: np.ndarray) -> np.ndarray:
    """Short pauses filled."""
    made = flags.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[1], flags.astype(np.int8), [1]])))
    for a, b in edges.reshape(-1, 2):
        if a > 0 and b < len(flags) and b - a < JOIN_FRAMES:
            made[a:b] = True
    return made


def _held(table: pa.Table, column: str, start: int, end: int, reach: int) -> np.ndarray:
    """A value per frame of the clip: each row's stands for `reach` frames; NaN, which no bound holds for, elsewhere."""
    made = np.full(end - start, np.nan)
    for frame, value in zip(table["frame"].to_numpy(), table[column].to_numpy(), strict=True):
        made[max(0, frame - start) : max(0, min(end, frame + reach) - start)] = value
    return made


def _face_count(faces: pa.Table, start: int, end: int) -> np.ndarray:
    """Faces per frame; a frame between two sampled ones has the count of the one before."""
    step = facts.DETECTION_FRAMES
    sure = faces["frame"].to_numpy()[faces["score"].to_numpy() >= facts.FACE_SCORE_MIN]
    sampled = np.arange(start, end) // step * step
    first = -(-start // step) * step
    return np.array([(sure == max(f, first)).sum() for f in sampled])


def _said(needs: Needs, start: int, end: int) -> str:
    """The words that begin in the span, or up to 0.2 s before it: voice activity lags behind soft beginnings."""
    words = needs.get("speech.timeline")
    if words is None:
        return "somebody speaks"
    text = facts.words_of(between(words, start - facts.DETECTION_FRAMES, end), needs["speech"]["language"])
    return f'"{text}"' if text else "somebody speaks"


def _row(start: int, end: int, kind: str, text: str) -> dict[str, Any]:
    return {"frame": start, "end_frame": end, "kind": kind, "text": text}
