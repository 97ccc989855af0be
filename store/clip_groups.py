"""Groups of clips that make even batches: by shape, resolution of the source, and length."""

from __future__ import annotations

RESOLUTIONS = (360, 480, 720, 1080, 2160)
"""Least height (of a portrait: width) of a source, in px, that gives a group its name; below the first it is "low"."""
LENGTHS_S = (0, 5, 15, 30, 61)
SQUARE = 1.15
"""Sides that differ by less are square."""


def group_of(width_px: int, height_px: int, seconds: float) -> str:
    """As "landscape-720p-05to15s"."""
    ratio = width_px / height_px
    shape = "square" if 1 / SQUARE < ratio < SQUARE else "landscape" if ratio > 1 else "portrait"
    return f"{shape}-{size_group(min(width_px, height_px), seconds)}"


def size_group(short_side_px: int, seconds: float) -> str:
    """As "720p-05to15s"."""
    reached = [r for r in RESOLUTIONS if short_side_px >= r]
    resolution = f"{reached[-1]}p" if reached else "low"
    low = max(s for s in LENGTHS_S if s <= seconds)
    high = min((s for s in LENGTHS_S if s > seconds), default=LENGTHS_S[-1])
    return f"{resolution}-{low:02d}to{high:02d}s"
