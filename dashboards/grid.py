"""A grid preview video: the clips that a query yields, playing side by side."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from dashboards.clip_media import EXACT, GRID_FPS, Span, run
from store.workspace import Workspace

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

MAX_CELLS = 100
MAX_INPUTS = 10
"""Files joined by one run of FFmpeg: each open decoder takes some tens of MiB."""
MIN_LABELLED_PX = 80
BACKGROUND = "0x14171c"
LOSSLESS: dict[str, Any] = {"vcodec": "libx264", "preset": "ultrafast", "qp": 0, "pix_fmt": "yuv420p", "an": None}
FINAL: dict[str, Any] = {
    "vcodec": "libx264", "preset": "veryfast", "crf": 21, "pix_fmt": "yuv420p", "movflags": "+faststart", "an": None,
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One clip of the grid and the two lines written into it."""

    span: Span
    title: str
    value: str


def write_grid(
    workspace: Workspace,
    query: str,
    out: Path,
    *,
    columns: int = 10,
    seconds: float = 5.0,
    cell_px: int = 160,
) -> Path:
    """Writes an MP4 (25 fps, no sound) of the clips that `query` yields, in its order, row by row; gives its path.

    The query is one SELECT that yields `clip_id`; the first other column it yields is written under each clip. Every
    clip loops or is trimmed to `seconds` and is padded to a square of `cell_px`. A query with fewer clips than
    `columns` gives a narrower grid.

    Raises ValueError for a query that is refused, yields no clip_id, no clips, unknown ones or more than 100, for
    sizes out of range, and for a file that can't be written.
    """
    if not (1 <= columns <= 20 and 0.2 <= seconds <= 60 and 32 <= cell_px <= 640 and cell_px % 2 == 0):
        raise ValueError(
            f"grid: columns {columns}, seconds {seconds:g}, cell_px {cell_px}: columns go from 1 to 20, "
            "seconds from 0.2 to 60, cell_px is even and from 32 to 640"
        )
    out = Path(out).absolute()
    if out.suffix.lower() != ".mp4" or out.is_dir():
        raise ValueError(f"grid: {out} is no file to write; give a name that ends in .mp4")
    cells = _cells(workspace, query)
    columns = min(columns, len(cells))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    with tempfile.TemporaryDirectory(dir=workspace.scratch, prefix="grid-") as folder:
        scratch = Path(folder)
        files = [_row(row, columns, seconds, cell_px, scratch / f"row{i:03d}.mp4") for i, row in enumerate(rows)]
        return _published(_stacked(files, scratch, cell_px), out)


def _cells(workspace: Workspace, query: str) -> list[Cell]:
    from tasks import tier

    found = tier.query(workspace, query)
    if "clip_id" not in found.columns:
        raise ValueError(f"grid: the query yields {', '.join(found.columns)}; it must yield clip_id")
    found = found.unique("clip_id", keep="first", maintain_order=True)
    if found.is_empty():
        raise ValueError(
            "grid: the query yields no clips; loosen it (headroom tier funnel shows what each clause removes)"
        )
    if len(found) > MAX_CELLS:
        raise ValueError(f"grid: the query yields {len(found)} clips, a grid holds {MAX_CELLS}; add LIMIT {MAX_CELLS}")
    with workspace.views() as reader:
        clips = reader.sql("""SELECT clip_id, v.name, v.proxy_uri, start_frame, end_frame
            FROM clips JOIN videos v USING (video_id) WHERE v.proxy_uri IS NOT NULL""")
    known = {row["clip_id"]: row for row in clips.iter_rows(named=True)}
    unknown = [str(c) for c in found["clip_id"] if c not in known]
    if unknown:
        told = ", ".join(unknown[:3])
        raise ValueError(f"grid: {len(unknown)} ids are no clips with a proxy, the first {told}; read them from clips")
    return [_cell(workspace, row, known[row["clip_id"]], found) for row in found.iter_rows(named=True)]


def _cell(workspace: Workspace, row: Mapping[str, Any], clip: Mapping[str, Any], found: pl.DataFrame) -> Cell:
    proxy = workspace.objects.local(clip["proxy_uri"])
    start, end = int(clip["start_frame"]), int(clip["end_frame"])
    key = next((c for c in found.columns if c not in ("clip_id", "video_id", "name")), None)
    told = f"{(end - start) / GRID_FPS:.1f} s" if key is None else f"{key} {_short(row[key])}"
    return Cell(Span(proxy, start, end), str(clip["name"]), told)


def _short(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(cells: Sequence[Cell], columns: int, seconds: float, cell_px: int, out: Path) -> Path:
    """One row of the grid, padded to `columns` cells, with its labels. Made in parts when it is long."""
    parts = []
    for i in range(0, len(cells), MAX_INPUTS):
        part = out.with_name(f"{out.stem}-{i:02d}.mp4")
        _part(cells[i : i + MAX_INPUTS], min(MAX_INPUTS, columns - i), seconds, cell_px, part)
        parts.append(part)
    if len(parts) == 1 and columns > MAX_INPUTS:  # a short last row below long ones
        return _joined(parts, out, [(0, 0)], size=(columns * cell_px, cell_px))
    if len(parts) == 1:
        return parts[0]
    return _joined(parts, out, [(i * MAX_INPUTS * cell_px, 0) for i in range(len(parts))])


def _part(cells: Sequence[Cell], width_cells: int, seconds: float, cell_px: int, out: Path) -> None:
    """At most MAX_INPUTS cells side by side over one strip of labels."""
    import ffmpeg

    num_frames = max(1, round(seconds * GRID_FPS))
    labels = out.with_suffix(".png")
    _draw_labels(cells, width_cells, cell_px, labels)
    row = _tiled(
        [_playing(cell.span, num_frames, cell_px) for cell in cells], [(i * cell_px, 0) for i in range(len(cells))]
    )
    row = row.filter("pad", width_cells * cell_px, cell_px, 0, 0, color=BACKGROUND)
    graph = row.overlay(ffmpeg.input(f"file:{labels}"), x=0, y=0, format="auto", eof_action="repeat")
    run(ffmpeg.output(graph, str(out), **EXACT, **LOSSLESS, r=GRID_FPS, frames=num_frames, **{"threads:v": 1}))


def _playing(span: Span, num_frames: int, cell_px: int) -> Any:
    """The span as exactly `num_frames` frames of a square cell, from its start again when it is shorter."""
    import ffmpeg

    used = min(num_frames, span.end_frame - span.start_frame)
    stream = ffmpeg.input(
        f"file:{span.proxy}", ss=f"{span.start_frame / GRID_FPS:.2f}", t=f"{used / GRID_FPS:.2f}", threads=1
    )
    stream = stream.video.filter("scale", cell_px, cell_px, force_original_aspect_ratio="decrease", flags="area")
    stream = stream.filter("pad", cell_px, cell_px, "(ow-iw)/2", "(oh-ih)/2", color=BACKGROUND).filter("setsar", 1)
    if used < num_frames:
        stream = stream.filter("loop", loop=-1, size=used, start=0)
    return stream.filter("setpts", f"N/{GRID_FPS}/TB").filter("trim", end_frame=num_frames).filter("fps", GRID_FPS)


def _tiled(streams: Sequence[Any], corners: Sequence[tuple[int, int]]) -> Any:
    import ffmpeg

    if len(streams) == 1:  # xstack takes two or more
        return streams[0]
    layout = "|".join(f"{x}_{y}" for x, y in corners)
    return ffmpeg.filter(list(streams), "xstack", inputs=len(streams), layout=layout, fill=BACKGROUND)


def _stacked(rows: list[Path], scratch: Path, cell_px: int) -> Path:
    """All rows, one below the other, MAX_INPUTS files at a time until one is left; the last run compresses."""
    heights = dict.fromkeys(rows, cell_px)
    step = 0
    while len(rows) > MAX_INPUTS:
        groups = [rows[i : i + MAX_INPUTS] for i in range(0, len(rows), MAX_INPUTS)]
        rows = []
        for group in groups:
            made = _joined(group, scratch / f"stack{step:03d}.mp4", _below([heights[f] for f in group]))
            heights[made] = sum(heights[f] for f in group)
            rows.append(made)
            step += 1
    return _joined(rows, scratch / "grid.mp4", _below([heights[f] for f in rows]), FINAL)


def _below(heights: Sequence[int]) -> list[tuple[int, int]]:
    return [(0, sum(heights[:i])) for i in range(len(heights))]


def _joined(
    files: Sequence[Path],
    out: Path,
    corners: Sequence[tuple[int, int]],
    codec: Mapping[str, Any] = LOSSLESS,
    size: tuple[int, int] | None = None,
) -> Path:
    import ffmpeg

    graph = _tiled([ffmpeg.input(f"file:{f}", threads=1).video for f in files], corners)
    if size is not None:
        graph = graph.filter("pad", *size, 0, 0, color=BACKGROUND)
    run(ffmpeg.output(graph, str(out), **EXACT, **codec, r=GRID_FPS, **{"threads:v": 1}))
    return out


def _published(made: Path, out: Path) -> Path:
    """Moves the grid to its place, whole or not at all. Raises ValueError for a place that can't be written."""
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, part)
        part.replace(out)
    except OSError as error:
        raise ValueError(f"grid: {out} can't be written ({error.strerror}); choose another place") from error
    return out


def _draw_labels(cells: Sequence[Cell], width_cells: int, cell_px: int, out: Path) -> None:
    """A transparent picture of one row: below each cell its title and its value, over a dark strip.

    Cells of less than 80 px have no room for words and stay without.
    """
    from PIL import Image, ImageDraw

    face = font(max(9, cell_px // 14))
    line_px = round(face.size * 1.3)
    strip_px = 2 * line_px + 4
    picture = Image.new("RGBA", (width_cells * cell_px, cell_px))
    draw = ImageDraw.Draw(picture)
    for i, cell in enumerate(cells if cell_px >= MIN_LABELLED_PX else ()):
        x, y = i * cell_px, cell_px - strip_px
        draw.rectangle((x, y, x + cell_px - 1, cell_px - 1), fill=(10, 12, 16, 168))
        draw.rectangle((x, 0, x + cell_px - 1, cell_px - 1), outline=(10, 12, 16, 255))
        for line, (text, colour) in enumerate(((cell.title, (245, 247, 250, 255)), (cell.value, (158, 220, 205, 255)))):
            told = fitted(text, face, cell_px - 12)
            draw.text((x + 6, y + 2 + line * line_px), told, font=face, fill=colour)
    picture.save(out)


@cache
def font(size_px: int) -> FreeTypeFont:
    """Pillow's own font, so that labels look alike on every machine."""
    from PIL import ImageFont

    found: FreeTypeFont | BitmapFont = ImageFont.load_default(size_px)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def fitted(text: str, face: FreeTypeFont, width_px: int) -> str:
    """Text cut in the middle, where file names differ least, to the width."""
    text = " ".join(text.split())
    if face.getlength(text) <= width_px:
        return text
    kept = len(text)
    while kept > 2 and face.getlength(_elided(text, kept)) > width_px:
        kept -= 1
    return _elided(text, kept)


def _elided(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"
