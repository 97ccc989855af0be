"""Signals drawn over time, below the frames: the waveform with words, speech, turns and language; events; scores of
pieces of time; curves of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.charts import number
from dashboards.clip_media import GRID_FPS
from dashboards.grid import fitted, font
from dashboards.overlays import AMBER, COLOURS, TEAL, Line, Rgb, Scene, draw_frame

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

BACKGROUND, FAINT, SOFT, INK = (20, 23, 28), (52, 60, 70), (120, 132, 146), (232, 235, 239)
CURVE_PX, WAVE_PX, LANE_PX, LABEL_PX = 72, 96, 26, 26
TAKEN_FROM = 0.5
"""Of scores: from here on a thing is taken to be what the score says."""
SPEECH_PROB = 0.5
MAX_CURVES, MAX_LANES, MAX_WORD_LANES = 4, 6, 6
WORD_GAP_PX = 6
TEXT_PX, SMALL_PX = 20, 18
LABELS = ("word", "text", "speaker", "label", "kind", "name", "caption", "method")
"""What an event is called, by the first of these columns that it has."""


def draw_strips(scene: Scene, width_px: int, frames: Sequence[int]) -> Image | None:
    """All that the scene's lines say over time, one strip below the other; None when they say nothing of that kind.

    Thin upright lines mark the frames that are shown.
    """
    from PIL import Image, ImageDraw

    of_time = (*_curve_parts(scene), *_score_parts(scene), *_event_parts(scene))
    parts = [part for part in (*of_time, *_language_parts(scene), *_wave_part(scene, width_px)) if part[0] > 0]
    if not parts:
        return None
    picture = Image.new("RGB", (width_px, sum(height for height, _, _ in parts) + LABEL_PX), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    top = 0
    for height, paint, told in parts:
        paint(draw, scene, top, width_px, told)
        top += height
        draw.line((0, top - 1, width_px, top - 1), fill=FAINT)
    for frame in frames:
        x = _x(scene, frame, width_px)
        draw.line((x, 0, x, top), fill=(90, 100, 112))
    _axis(draw, scene, top, width_px)
    return picture


def kinds_of(lines: Sequence[Line], *, sound: bool) -> list[str]:
    """What is drawn over time, in words."""
    found = {
        "curves": any(True for _ in _curves(lines)),
        "scores": any(score_of(line) for line in lines),
        "events": any(events_of(line) and "word" not in line.columns and not score_of(line) for line in lines),
        "language": any(tells_language(line) for line in lines),
        "waveform": sound,
        "words": sound and any(line.has("word", "start_s", "end_s") for line in lines),
        "speech": sound and any(line.has("speech_prob") for line in lines),
    }
    return [kind for kind, there in found.items() if there]


Part = tuple[int, Any, Any]
"""Height in pixels, the function that paints it, and what it paints."""


def events_of(line: Line) -> bool:
    """Whether each row lasts for a time of its own: words, turns, cuts, pieces of text."""
    return line.has("start_s", "end_s") or line.has("end_frame")


def score_of(line: Line) -> str | None:
    """The score in [0, 1] that each piece of time has."""
    return next((n for n in line.columns if n.endswith("_score")), None) if events_of(line) else None


def tells_language(line: Line) -> bool:
    """Whether it says of the clip as a whole which language is spoken, or which it would be if one were told."""
    return "frame" not in line.table.column_names and (line.has("language") or line.has("second_language"))


def curves_of(line: Line) -> list[str]:
    """Columns of numbers, some of them known, of a line by frame that is not drawn over the frames themselves."""
    if "frame" not in line.table.column_names or events_of(line) or line.has("x0", "y0", "x1", "y1"):
        return []
    numeric = [c.name for c in line.columns.values() if pa.types.is_floating(c.dtype) or pa.types.is_integer(c.dtype)]
    known = (n for n in numeric if line.table[n].null_count < line.table.num_rows)
    return [n for n in known if not n.endswith(("_x", "_y"))]


def _curves(lines: Sequence[Line]) -> Iterator[tuple[Line, str]]:
    """Of the signal's own line; where it has none, of those it needs, but not of what the waveform shows."""
    own = [line for line in lines[:1] if curves_of(line)]
    for line in own or [line for line in lines if not line.has("speech_prob")]:
        for name in curves_of(line):
            yield line, name


def _curve_parts(scene: Scene) -> Iterator[Part]:
    for i, (line, name) in enumerate(list(_curves(scene.lines))[:MAX_CURVES]):
        yield CURVE_PX, _paint_curve, (line, name, COLOURS[i % len(COLOURS)])


def _event_parts(scene: Scene) -> Iterator[Part]:
    """A lane for each speaker, or one for all events; words go beside the waveform."""
    for line in scene.lines:
        if not events_of(line) or "word" in line.columns or score_of(line):
            continue
        rows = line.table.to_pylist()
        lanes = sorted({str(r["speaker"]) for r in rows}) if "speaker" in line.columns else [""]
        for i, lane in enumerate(lanes[:MAX_LANES]):
            of_lane = [r for r in rows if not lane or str(r["speaker"]) == lane]
            yield LANE_PX + 4, _paint_events, (line, of_lane, COLOURS[i % len(COLOURS)], lane)


def _score_parts(scene: Scene) -> Iterator[Part]:
    for line in scene.lines:
        if name := score_of(line):
            yield CURVE_PX, _paint_scores, (line, name)


def _language_parts(scene: Scene) -> Iterator[Part]:
    for line in scene.lines:
        if tells_language(line):
            yield LANE_PX + 4, _paint_language, line


def _wave_part(scene: Scene, width_px: int) -> Iterator[Part]:
    words = next((line for line in scene.lines if line.has("word", "start_s", "end_s")), None)
    if scene.audio is not None:
        placed = _placed_words(words, scene, width_px) if words else []
        lanes = max([lane + 1 for _, _, lane in placed], default=0) or (1 if words else 0)
        yield WAVE_PX + lanes * LANE_PX, _paint_wave, placed


def _placed_words(words: Line, scene: Scene, width_px: int) -> list[tuple[float, str, int]]:
    """(x of its start, the word, lane from 0 below the wave): each whole, in the first lane with room for it.

    One that finds no room keeps its mark in the wave and goes without letters.
    """
    ends = [-float(WORD_GAP_PX)] * MAX_WORD_LANES
    placed = []
    for row in words.table.to_pylist():
        x, told = _x(scene, _times(row, scene)[0], width_px), _drawable(row["word"])
        length = font(SMALL_PX).getlength(told)
        at = min(x, width_px - length - 2)  # the last word ends within the picture
        lane = next((i for i, end in enumerate(ends) if end + WORD_GAP_PX <= at), None)
        if lane is None:
            told, lane = "", 0
        else:
            ends[lane] = at + length
        placed.append((x, told, lane))
    return placed


def _paint_curve(draw: ImageDraw, scene: Scene, top: int, width_px: int, told: tuple[Line, str, Rgb]) -> None:
    line, name, colour = told
    table = line.table
    frames = table["frame"].to_numpy()
    values = table[name].to_numpy(zero_copy_only=False).astype(np.float64)
    known = np.isfinite(values)
    label = f"{line.name} {name}"
    if known.any():
        low, high = float(values[known].min()), float(values[known].max())
        label += f"  {number(low)} to {number(high)}" if high > low else f"  {number(low)}"
        level = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
        y = top + CURVE_PX - 8 - np.where(known, level, 0) * (CURVE_PX - LABEL_PX - 12)
        points = [(_x(scene, int(f), width_px), float(v)) for f, v, k in zip(frames, y, known, strict=True) if k]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2)
        for x, v in points if len(points) < 40 else []:
            draw.ellipse((x - 3, v - 3, x + 3, v + 3), fill=colour)
    draw.text((6, top + 2), label, font=font(TEXT_PX), fill=SOFT)


def _paint_events(
    draw: ImageDraw, scene: Scene, top: int, width_px: int, told: tuple[Line, list[dict[str, Any]], Rgb, str]
) -> None:
    line, rows, colour, lane = told
    label = next((n for n in LABELS if n in line.columns and n != "speaker"), "")
    for row in rows:
        first, last = _times(row, scene)
        x0, x1 = (_x(scene, f, width_px) for f in (first, last))
        x1 = max(x1, x0 + 3)
        draw.rectangle((x0, top + 3, x1, top + LANE_PX), fill=tuple(c // 2 for c in colour), outline=colour)
        if label and x1 - x0 > 24:
            told_event = fitted(_drawable(row[label]), font(SMALL_PX), int(x1 - x0) - 6)
            draw.text((x0 + 3, top + 4), told_event, font=font(SMALL_PX), fill=INK)
    told_lane = f"{line.name} {lane}".strip() + ("" if rows else ": none")
    width = font(SMALL_PX).getlength(told_lane)
    draw.text((width_px - width - 6, top + 4), told_lane, font=font(SMALL_PX), fill=SOFT)


def _paint_scores(draw: ImageDraw, scene: Scene, top: int, width_px: int, told: tuple[Line, str]) -> None:
    """Each piece of time as high as its score; a line where it is taken to be what the score says."""
    line, name = told
    floor, height = top + CURVE_PX - 4, CURVE_PX - LABEL_PX - 6
    for row in line.table.to_pylist():
        x0, x1 = (_x(scene, f, width_px) for f in _times(row, scene))
        colour = AMBER if row[name] >= TAKEN_FROM else TEAL
        place = (x0 + 1, floor - row[name] * height, max(x1 - 1, x0 + 2), floor)
        draw.rectangle(place, fill=tuple(c // 2 for c in colour))
        draw.line((place[0], place[1], place[2], place[1]), fill=colour, width=2)
        value = f"{row[name]:.2f}"
        if x1 - x0 > font(SMALL_PX).getlength(value) + 6:
            draw.text((x0 + 4, floor - SMALL_PX - 4), value, font=font(SMALL_PX), fill=INK)
    bound = floor - TAKEN_FROM * height
    for x in range(0, width_px, 8):
        draw.line((x, bound, x + 3, bound), fill=SOFT)
    label = f"{line.name} {name}" + ("" if line.table.num_rows else ": none")
    draw.text((6, top + 2), label, font=font(TEXT_PX), fill=SOFT)


def _paint_language(draw: ImageDraw, scene: Scene, top: int, width_px: int, line: Line) -> None:
    """The speech of the clip, under the name of its language and of the next likeliest."""
    told = line.table.to_pylist()[0]
    language = told.get("language")
    colour = TEAL if language else SOFT
    for start, end in _spoken(scene):
        x0, x1 = (_x(scene, f, width_px) for f in (start, end))
        draw.rectangle(
            (x0, top + 3, max(x1, x0 + 2), top + LANE_PX), fill=tuple(c // 2 for c in colour), outline=colour
        )
    sure = told.get("probability", told.get("language_probability"))
    words = [str(language or "no language told"), "" if sure is None else f"{sure:.2f}"]
    if told.get("second_language"):
        words.append(f", else {told['second_language']} {told.get('second_probability') or 0:.2f}")
    text = f"{' '.join(words[:2]).strip()}{''.join(words[2:])}"
    box = draw.textbbox((6, top + 4), text, font=font(SMALL_PX))
    draw.rectangle((box[0] - 3, top + 5, box[2] + 3, top + LANE_PX - 2), fill=BACKGROUND)
    draw.text((6, top + 4), text, font=font(SMALL_PX), fill=INK)


def _spoken(scene: Scene) -> list[tuple[int, int]]:
    """Spans of frames in which somebody speaks; the whole clip where nobody listened for it."""
    speech = scene.line("speech_prob")
    if speech is None:
        return [(scene.start_frame, scene.end_frame)]
    frames, probs = speech.table["frame"].to_numpy(), speech.table["speech_prob"].to_numpy()
    inside = np.concatenate([[False], probs >= SPEECH_PROB, [False]]).astype(int)
    begins, ends = np.flatnonzero(np.diff(inside) == 1), np.flatnonzero(np.diff(inside) == -1)
    return [(int(frames[a]), int(frames[b - 1]) + 1) for a, b in zip(begins, ends, strict=True)]


def _paint_wave(draw: ImageDraw, scene: Scene, top: int, width_px: int, words: list[tuple[float, str, int]]) -> None:
    assert scene.audio is not None
    middle = top + WAVE_PX // 2
    speech = next((line for line in scene.lines if line.has("speech_prob")), None)
    if speech is not None:
        for frame, prob in zip(speech.table["frame"].to_pylist(), speech.table["speech_prob"].to_pylist(), strict=True):
            if prob is not None and prob >= SPEECH_PROB:
                ends = (_x(scene, frame, width_px), _x(scene, frame + 1, width_px))
                draw.rectangle((ends[0], top + 1, ends[1], top + WAVE_PX - 2), fill=(24, 52, 52))
    edges = np.linspace(0, len(scene.audio), width_px + 1).astype(int)
    loudest = max(float(np.abs(scene.audio).max(initial=0.0)), 0.02)
    for x in range(width_px):
        part = scene.audio[edges[x] : max(edges[x + 1], edges[x] + 1)]
        if len(part):
            up, down = (float(v) / loudest * (WAVE_PX // 2 - 4) for v in (part.max(), part.min()))
            draw.line((x, middle - up, x, middle - down), fill=TEAL)
    for start, told, lane in words:
        below = top + WAVE_PX + lane * LANE_PX
        draw.line((start, top, start, below + LANE_PX - 4 if told else top + WAVE_PX), fill=(70, 80, 92))
        place = min(start + 3, width_px - font(SMALL_PX).getlength(told) - 2)
        draw.text((place, below + 1), told, font=font(SMALL_PX), fill=INK)


def _axis(draw: ImageDraw, scene: Scene, top: int, width_px: int) -> None:
    """Seconds from the clip's start, at most ten of them told."""
    length_s = (scene.end_frame - scene.start_frame) / GRID_FPS
    step = next(s for s in (0.5, 1, 2, 5, 10, 30, 60, 600) if length_s / s <= 10 or s == 600)
    for i in range(int(length_s / step) + 1):
        told = f"{i * step:g} s"
        x = min(i * step / length_s * width_px, width_px - font(SMALL_PX).getlength(told) - 2)
        draw.text((x + 2, top + 2), told, font=font(SMALL_PX), fill=SOFT)


def _times(row: dict[str, Any], scene: Scene) -> tuple[float, float]:
    """First and last frame of an event."""
    if row.get("start_s") is not None:
        return scene.start_frame + row["start_s"] * GRID_FPS, scene.start_frame + row["end_s"] * GRID_FPS
    return row["frame"], row["end_frame"]


def _drawable(value: Any) -> str:
    """The words; nothing where Pillow's own font has no glyphs for them, instead of a row of boxes."""
    text = str(value).strip()
    return text if all(ord(c) < 0x250 or 0x2000 <= ord(c) < 0x2070 for c in text) else ""


def _x(scene: Scene, frame: float, width_px: int) -> float:
    return float((frame - scene.start_frame) / max(1, scene.end_frame - scene.start_frame) * (width_px - 1))


def compose(scene: Scene, frames: Sequence[int], frame_px: int) -> Image:
    """The frames side by side with their overlays, and what is told over time below them."""
    from PIL import Image, ImageDraw

    panes = []
    for frame in frames:
        canvas = draw_frame(scene, frame, frame_px)
        pane = Image.fromarray(canvas.image_rgb)
        draw = ImageDraw.Draw(pane)
        for x, y, text, colour in canvas.texts:
            told = fitted(_drawable(text), font(TEXT_PX), max(40, pane.width - int(x) - 4))
            place = (min(max(x, 0), pane.width - 10), min(max(y - TEXT_PX - 5, 0), pane.height - TEXT_PX - 4))
            box = draw.textbbox(place, told, font=font(TEXT_PX))
            draw.rectangle((box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 2), fill=BACKGROUND)
            draw.text(place, told, font=font(TEXT_PX), fill=colour)
        panes.append(pane)
    gap = 6
    width = sum(p.width for p in panes) + gap * (len(panes) - 1)
    height = max(p.height for p in panes)
    strips = draw_strips(scene, max(width, 720), frames)
    picture = Image.new(
        "RGB", (max(width, 720) if strips else width, height + (strips.height if strips else 0)), BACKGROUND
    )
    x = (picture.width - width) // 2
    for pane in panes:
        picture.paste(pane, (x, (height - pane.height) // 2))
        x += pane.width + gap
    if strips:
        picture.paste(strips, (0, height))
    return picture
