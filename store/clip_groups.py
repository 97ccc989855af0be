"""Groups of clips that make even batches: by what they show, resolution of the source, aspect ratio and length."""

from __future__ import annotations

import math

RESOLUTIONS = (256, 384, 512, 720, 1080, 1440, 2160)
"""Least shorter side of a source, in px, that gives a group its name; below the first it is "low"."""
LENGTHS_S = (0, 2, 4, 8, 16, 32, 64)
ASPECTS = {"9x21": 9 / 21, "9x16": 9 / 16, "3x4": 3 / 4, "1x1": 1.0, "4x3": 4 / 3, "16x9": 16 / 9, "21x9": 21 / 9}
"""A picture has the name of the nearest, by the quotient of the ratios."""


def group_of(kind: str | None, width_px: int, height_px: int, seconds: float) -> str:
    """As "real/512p/9x16/4-8s". `kind` is what `content` tells of the clip: its "natural" is called real, and what nobody
    told is unknown."""
    ratio = math.log(width_px / height_px)
    aspect = min(ASPECTS, key=lambda name: (abs(math.log(ASPECTS[name]) - ratio), name))
    shown = {"natural": "real", None: "unknown"}.get(kind, kind)
    return f"{shown}/{resolution_of(min(width_px, height_px))}/{aspect}/{length_of(seconds)}"


def size_group(short_side_px: int, seconds: float) -> str:
    """As "512p/4-8s"."""
    return f"{resolution_of(short_side_px)}/{length_of(seconds)}"


def resolution_of(short_side_px: int) -> str:
    reached = [r for r in RESOLUTIONS if short_side_px >= r]
    return f"{reached[-1]}p" if reached else "low"


def length_of(seconds: float) -> str:
    low = max(s for s in LENGTHS_S if s <= seconds)
    high = min((s for s in LENGTHS_S if s > seconds), default=None)
    return f"{low}-{high}s" if high else f"{low}s+"
