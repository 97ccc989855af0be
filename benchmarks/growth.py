"""How a time grows with a size: lines on two logarithmic axes, as SVG by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 70, 20, 20, 60
COLOURS = ("#2458d6", "#c2410c", "#15803d", "#7e22ce", "#0e7490", "#a16207", "#be185d", "#475569")


def log_log(series: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> str:
    """A line for each name, over (x, y) above zero; both axes are labelled at powers of ten.

    Raises ValueError for a point that a logarithm can't place, and without any.
    """
    points = [p for line in series.values() for p in line]
    if not points or min(min(p) for p in points) <= 0:
        raise ValueError("a logarithmic plot needs points above zero")
    across = _decades([p[0] for p in points])
    up = _decades([p[1] for p in points])

    def place(px: float, py: float) -> tuple[float, float]:
        right = LEFT + (math.log10(px) - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (math.log10(py) - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM)
        return round(right, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for decade in across:
        at, _ = place(10.0**decade, 10.0 ** up[0])
        parts.append(f'<line x1="{at}" y1="{TOP}" x2="{at}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{10.0**decade:,.15g}</text>')
    for decade in up:
        _, at = place(10.0 ** across[0], 10.0**decade)
        parts.append(f'<line x1="{LEFT}" y1="{at}" x2="{WIDTH - RIGHT}" y2="{at}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{10.0**decade:g}</text>')
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - BOTTOM + 34}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})">{escape(y)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        told = [place(*p) for p in sorted(line)]
        parts.append(
            f'<polyline points="{" ".join(f"{a},{b}" for a, b in told)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [f'<circle cx="{a}" cy="{b}" r="4" fill="{colour}"/>' for a, b in told]
        parts.append(f'<text x="{LEFT + 10}" y="{TOP + 16 * (number + 1)}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _decades(values: Sequence[float]) -> range:
    """The powers of ten around the values, two at least."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return range(low, max(high, low + 1) + 1)
