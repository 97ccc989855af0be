"""Histograms, drawn as SVG by hand: no library, no script, colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT, BASE = 300, 96, 80
"""Of the drawing, in its own units; BASE is where the bars stand."""
MAX_BINS = 24
_BAR = Markup(
    '<rect class="bar" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" rx="1" data-count="{}">'
    "<title>{}</title></rect>"
)


@dataclass(frozen=True)
class Mark:
    """A threshold of a tier: `text` as ">= 0.5", `colour` the name of the tier's colour."""

    tier: str
    value: float
    text: str
    colour: str


@dataclass(frozen=True)
class Histogram:
    """Counts between `edges`. `below` and `above` lie outside them; the first and the last bin hold them too."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0
    whole: bool = False

    @property
    def last(self) -> float:
        """The highest value told below the drawing: of whole numbers, the last bin's own."""
        return self.high - 1 if self.whole else self.high

    @property
    def low(self) -> float:
        return self.edges[0]

    @property
    def high(self) -> float:
        return self.edges[-1]


def histogram(values: Sequence[float], *, whole: bool = False, include: Sequence[float] = ()) -> Histogram:
    """Values counted in at most 24 bins over round edges; `whole` numbers in bins that begin at whole numbers.

    The range ends at the 1st and 99th percentile when a long tail would squeeze the rest, and grows to show the
    thresholds in `include` as long as they do not squeeze it more than twice. Raises ValueError without values.
    """
    if not values:
        raise ValueError("histogram: no values; leave it out")
    ordered = sorted(float(v) for v in values)
    low, high = _range(ordered, [i for i in include if math.isfinite(i)])
    step = _round_step((high - low) / MAX_BINS or abs(low) / 10 or 1.0)
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.floor(low / step + 1e-9)
    last = math.floor(high / step + 1e-9) + 1 if whole else max(first + 1, math.ceil(high / step - 1e-9))
    edges = tuple(round(i * step, 10) for i in range(first, last + 1))
    counts = [0] * (len(edges) - 1)
    for value in ordered:
        place = math.floor(value / step + 1e-9) - first
        counts[min(max(place, 0), len(counts) - 1)] += 1
    below = sum(1 for v in ordered if v < edges[0] - 1e-9)
    above = sum(1 for v in ordered if v > edges[-1] + 1e-9)
    return Histogram(edges, tuple(counts), below, above, whole and step == 1)


def _range(ordered: Sequence[float], include: Sequence[float]) -> tuple[float, float]:
    low, high = ordered[0], ordered[-1]
    inner_low, inner_high = quantile(ordered, 0.01), quantile(ordered, 0.99)
    if inner_high > inner_low and high - low > 3 * (inner_high - inner_low):
        low, high = inner_low, inner_high
    width = high - low
    for value in include:
        grown_low, grown_high = min(low, value), max(high, value)
        if grown_high - grown_low <= 2 * width or not width:
            low, high = grown_low, grown_high
    return low, high


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values, by linear interpolation."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def _round_step(least: float) -> float:
    """The least of 1, 2, 2.5 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= least * (1 - 1e-9))


def draw(made: Histogram, marks: Sequence[Mark], *, label: str, unit: str) -> Markup:
    """The histogram with the thresholds as dashed lines; each bar tells its range and count."""
    tallest = max(made.counts)
    bin_width = WIDTH / len(made.counts)
    bar_width = min(bin_width - 1.2, WIDTH / 8) if bin_width > 2 else bin_width
    parts = []
    for i, count in enumerate(made.counts):
        if not count:
            continue
        height = max(1.5, (BASE - 14) * count / tallest)
        upper = "" if made.whole else f" to {number(made.edges[i + 1])}"
        told = f"{number(made.edges[i])}{upper}: {count:,}"
        left = (i + 0.5) * bin_width - bar_width / 2
        parts.append(_BAR.format(left, BASE - height, bar_width, height, count, told))
    for mark in marks:
        x = (mark.value - made.low) / (made.high - made.low) * WIDTH
        if -0.01 <= x <= WIDTH + 0.01:
            parts.append(
                Markup(
                    '<line class="mark {}" x1="{:.2f}" x2="{:.2f}" y1="4" y2="{}"><title>{} {}</title></line>'
                ).format(mark.colour, x, x, BASE, mark.tier, mark.text)
            )
    low = ("≤ " if made.below else "") + number(made.low)
    high = ("≥ " if made.above else "") + number(made.last)
    return Markup(
        '<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>'
        '<text x="0" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text></svg>'
    ).format(
        WIDTH, HEIGHT, f"Distribution of {label}, {unit}", Markup("").join(parts), WIDTH, BASE, BASE,
        HEIGHT - 3, low, WIDTH, HEIGHT - 3, high,
    )  # fmt: skip


def number(value: float, digits: int = 4) -> str:
    """A number for people: as many digits that count, thousands apart, no trailing zeros."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    told = f"{value:.{min(digits, 5)}f}"
    return told.rstrip("0").rstrip(".") if "." in told else told
