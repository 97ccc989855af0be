"""A quality in the grades of people: the default's value by a rising map that was fitted to annotators' ratings.

The map is a file of a few numbers in a folder of the workspace, written by `headroom train visual_quality`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tasks.backend import Checkpoint
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

FILE = "ratings.json"
Map = tuple[np.ndarray, np.ndarray]
"""Knots: values of the default, rising, and grades, not falling."""


def load(checkpoint: Checkpoint) -> Map:
    told = json.loads((Path(checkpoint.model) / FILE).read_text())
    return np.array(told["raw"], float), np.array(told["people"], float)


def visual_quality(model: Map, media: Media, needs: Needs, default: Compute) -> Output:
    """Quality by the map; the measures beside it are those of the default."""
    row = dict(default(media, needs).row)
    mapped = {k: float(np.clip(np.interp(row[k], *model), 1, 5)) for k in ("quality", "quality_min")}
    return Output(row=row | mapped)
