"""Technical quality of one frame a second: the timeline that smart clipping and visual_quality read."""

from __future__ import annotations

import pyarrow as pa

from tasks.frame_quality import DAMAGES, measures, quality
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Signal

FPS = 1

SIGNAL = Signal(
    grain="video",
    version=2,
    timeline=(
        Column("brisque", pa.float32(), "score", "BRISQUE: 0 natural, 100 distorted", 0, 100, 2),
        Column(
            "sharpness", pa.float32(), "gray_levels", "RMS Laplacian of the sharpest tenth of the tiles", 0, 2000, 3
        ),
        Column(
            "fine_slope", pa.float32(), "log_ratio", "log power of finest detail over detail twice as large", -20, 20, 3
        ),
        Column(
            "coarse_slope", pa.float32(), "log_ratio", "that over detail twice as large again; low: blur", -20, 20, 3
        ),
        Column("blockiness", pa.float32(), "ratio", "excess of steps across an 8 px grid; 0 without one", 0, 1000, 4),
        Column("exposure", pa.float32(), "score", "1 well exposed and unclipped, 0 black or white", 0, 1, 4),
        Column("highlight", pa.float32(), "score", "98th percentile of brightness, 0 black to 1 white", 0, 1, 4),
        Column("noise", pa.float32(), "gray_levels", "standard deviation of the noise", 0, 255, 3),
        Column("quality", pa.float32(), "grade", "technical quality, 1 very annoying to 5 no damage seen", 1, 5, 3),
    ),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.01,
    weights=("brisque",),
    params={"fps": FPS, "damages": DAMAGES},
    backend="measures_worst_damage",
    summary="BRISQUE, sharpness, slopes of detail, blockiness, exposure and noise of one frame a second, mapped to 1-5.",
    source="Mittal, Moorthy and Bovik, TIP 2012; mapping fitted to synthetic degradations, see its scorecard.",
)


def compute(media: Media, needs: Needs) -> Output:
    columns: dict[str, list[float]] = {"frame": [], **{c.name: [] for c in SIGNAL.timeline}}
    for frame in media.at(FPS):
        told = measures(media.image(frame, None, "gray"))
        columns["frame"].append(frame)
        for name, value in {**told, "quality": quality(told)}.items():
            columns[name].append(value)
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.table(columns, schema=schema))
