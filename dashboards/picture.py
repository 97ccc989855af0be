"""The README's picture: a workspace's funnel as one SVG, of counts and shapes only.

`python -m dashboards.picture OUT.svg --workspace FOLDER` writes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dashboards import report, report_facts
from dashboards.charts import Histogram, Mark, histogram, number
from dashboards.tier_facts import tier_facts
from store.workspace import Workspace, open_workspace
from tasks import tier as tiers

WIDTH = 920
LEFT, RIGHT = 196, 640
ROW, BAR = 34, 22
PLOT_WIDTH, PLOT_HEIGHT = 264, 64
SHOWN_COLUMNS = ("lip_sync_offset_ms", "speech_quality_ovrl_mos", "face_track_main_face_height_px")
"""Drawn below the funnel, as far as the workspace has them; then whatever has thresholds, until there are three."""
MAX_PLOTS = 3


def write_picture(workspace: Workspace, out: Path) -> Path:
    """Writes the funnel of the newest manifest and up to three distributions, with the tiers' thresholds, as an SVG.

    Raises ValueError for a workspace without clips.
    """
    with workspace.views() as reader:
        videos = report_facts.videos_of(reader)
        found = tier_facts(workspace, reader, tiers.guarded(workspace, reader.manifest))
        num_clips = int(reader.sql("SELECT count(*) FROM clips").item())
        if not num_clips:
            raise ValueError(f"picture: {workspace.settings.workspace} has no clips; run headroom curate first")
        marks = report_facts.marks_of(found)
        present = reader.columns("signals")
        columns = [c for c in dict.fromkeys([*SHOWN_COLUMNS, *sorted(marks)]) if c in present]
        plots: list[tuple[str, Histogram, list[Mark]]] = []
        for column in columns:
            values = reader.sql(f'SELECT "{column}" FROM signals WHERE "{column}" IS NOT NULL')[column]
            if len(plots) < MAX_PLOTS and values.dtype.is_numeric() and values.n_unique() > 1:
                told = marks.get(column, [])
                made = histogram(values.to_list(), whole=values.dtype.is_integer(), include=[m.value for m in told])
                plots.append((column, made, told))
    steps = report.funnel_steps(videos, num_clips, found)
    svg = _drawn(steps, plots)
    part = out.with_name(f".{out.name}.part")
    part.write_text(svg, encoding="utf-8")
    part.replace(out)
    return out


def _drawn(steps: Sequence[dict[str, Any]], plots: Sequence[tuple[str, Histogram, list[Mark]]]) -> str:
    parts: list[Markup] = []
    y = 24
    for i, step in enumerate(steps):
        if i == 0 or steps[i - 1]["unit"] != step["unit"]:
            y += 18 if i else 0
            parts.append(Markup('<text class="unit" x="32" y="{}">{}</text>').format(y + 10, step["unit"].upper()))
            y += 22
        parts.append(_step(step, y))
        y += ROW
    if plots:
        y += 34
        parts += [_plot(32 + i * (PLOT_WIDTH + 32), y, *plot) for i, plot in enumerate(plots)]
        y += PLOT_HEIGHT + 62
    told = ", ".join(f"{s['label']} {s['count']}" for s in steps)
    page = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}" height="{}" role="img" '
        'aria-label="Funnel of a corpus: {}"><style>{}</style>'
        '<rect class="page" width="100%" height="100%" rx="14"/>{}</svg>\n'
    )
    style = Markup((report.TEMPLATES / "picture.css").read_text())  # noqa: S704 - our own file
    return str(page.format(WIDTH, y, WIDTH, y, told, style, Markup("\n").join(parts)))


def _step(step: dict[str, Any], y: int) -> Markup:
    whole = RIGHT - LEFT
    length = whole * step["count"] / step["of"] if step["of"] else 0
    lost = f"−{step['lost']:,} {step['why']}" if step["lost"] > 0 else ""
    count = f"{step['count']:,}"
    return Markup(
        '<text x="32" y="{}">{}</text><rect class="track" x="{}" y="{}" width="{}" height="{}" rx="5"/>'
        '<rect class="fill {}" x="{}" y="{}" width="{:.1f}" height="{}" rx="5"/>'
        '<text class="count" x="{}" y="{}">{}</text><text class="soft" x="{}" y="{}">{}</text>'
    ).format(
        y + 16, step["label"], LEFT, y, whole, BAR, step["colour"], LEFT, y, length, BAR,
        RIGHT + 18, y + 16, count, RIGHT + 18 + 9 * len(count) + 10, y + 16, lost,
    )  # fmt: skip


def _plot(x: int, y: int, column: str, made: Histogram, marks: list[Mark]) -> Markup:
    tallest, width = max(made.counts), PLOT_WIDTH / len(made.counts)
    base = y + 18 + PLOT_HEIGHT
    parts = [Markup('<text x="{}" y="{}">{}</text>').format(x, y, column)]
    for i, count in enumerate(made.counts):
        if count:
            height = max(2, (PLOT_HEIGHT - 6) * count / tallest)
            parts.append(
                Markup(
                    '<rect class="fill neutral" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5"/>'
                ).format(x + i * width + 0.8, base - height, max(width - 1.6, 1), height)
            )
    parts.append(Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x + PLOT_WIDTH, base, base))
    for mark in marks:
        at = x + (mark.value - made.low) / (made.high - made.low) * PLOT_WIDTH
        if x <= at <= x + PLOT_WIDTH:
            line = Markup('<line class="mark {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>')
            parts.append(line.format(mark.colour, at, at, y + 12, base))
    ends = Markup(
        '<text class="soft" x="{}" y="{}">{}</text><text class="soft" x="{}" y="{}" text-anchor="end">{}</text>'
    )
    parts.append(ends.format(x, base + 17, number(made.low), x + PLOT_WIDTH, base + 17, number(made.last)))
    return Markup("").join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the funnel of a workspace as an SVG.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--workspace", type=Path, default=None)
    given = parser.parse_args()
    write_picture(open_workspace(given.workspace), given.out)


if __name__ == "__main__":
    main()
