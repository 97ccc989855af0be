"""How much a clip moves: the camera, the person, and whether anything moves at all."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal

PAIR_FRAMES = 5
"""A row of `flow` at frame f tells of f to f + 5."""
STATIC_BELOW = 0.2
"""Percent of frame height a second. A sitting person who breathes and talks is above 0.4, a tripod's shot of trees in
light wind at 0.1, a frozen frame at 0."""

_SPEED = "percent_height_per_s"

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("camera_speed", pa.float32(), _SPEED, "mean speed of the global affine motion", 0, 5000, 3),
        Column("camera_speed_p95", pa.float32(), _SPEED, "its 95th percentile over time", 0, 5000, 3),
        Column("subject_speed", pa.float32(), _SPEED, "mean speed of what the camera does not explain", 0, 5000, 3),
        Column("subject_speed_p95", pa.float32(), _SPEED, "its 95th percentile over time", 0, 5000, 3),
        Column("total_speed", pa.float32(), _SPEED, "mean speed of everything", 0, 5000, 3),
        Column("total_speed_p95", pa.float32(), _SPEED, "its 95th percentile over time", 0, 5000, 3),
        Column(
            "static_ratio", pa.float32(), "ratio", f"share of the time with a total speed below {STATIC_BELOW}", 0, 1, 4
        ),
    ),
    needs=("flow",),
    cost_cpu_s=0.0001,
    params={"static_below": STATIC_BELOW},
    summary="Speed of camera, subject and everything, mean and 95th percentile, and the share of time without motion.",
    source="see flow",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip that holds no whole pair of sampled frames."""
    flow: pa.Table = needs["flow"]
    within = flow["frame"].to_numpy() + PAIR_FRAMES < media.end_frame
    if not within.any():
        raise NotApplicable("too short for a pair of frames")
    row: dict[str, float] = {}
    for name in ("camera", "subject", "total"):
        speeds = flow[name].to_numpy()[within].astype(np.float64)
        row[f"{name}_speed"] = float(speeds.mean())
        row[f"{name}_speed_p95"] = float(np.quantile(speeds, 0.95))
    row["static_ratio"] = float((flow["total"].to_numpy()[within] < STATIC_BELOW).mean())
    return Output(row=row)
