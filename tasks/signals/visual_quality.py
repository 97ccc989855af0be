"""Technical quality of a clip: how much blur, noise, blocks or darkness stands between viewer and person."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.backend import Backend
from tasks.frame_quality import DAMAGES, measures, quality
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal

FPS = 1
MEASURES = (
    "quality",
    "brisque",
    "sharpness",
    "fine_slope",
    "coarse_slope",
    "blockiness",
    "noise",
    "exposure",
    "highlight",
)

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column("quality", pa.float32(), "grade", "technical quality, 1 to 5, mean over one frame a second", 1, 5, 3),
        Column("quality_min", pa.float32(), "grade", "that of the worst frame", 1, 5, 3),
        Column("brisque", pa.float32(), "score", "BRISQUE, mean: 0 natural, 100 distorted", 0, 100, 2),
        Column("sharpness", pa.float32(), "gray_levels", "RMS Laplacian of the sharpest tiles, mean", 0, 2000, 3),
        Column(
            "fine_slope", pa.float32(), "log_ratio", "log power of finest detail over detail twice as large", -20, 20, 3
        ),
        Column("coarse_slope", pa.float32(), "log_ratio", "that over detail twice as large again, mean", -20, 20, 3),
        Column("blockiness", pa.float32(), "ratio", "excess of steps across an 8 px grid, mean", 0, 1000, 4),
        Column("highlight", pa.float32(), "score", "98th percentile of brightness, 0 black to 1 white", 0, 1, 4),
        Column("noise", pa.float32(), "gray_levels", "standard deviation of the noise, mean", 0, 255, 3),
        Column("exposure", pa.float32(), "score", "1 well exposed and unclipped, 0 black or white, mean", 0, 1, 4),
        Column("source_height_px", pa.int32(), "px", "height of the source without black borders", 0, 20_000),
        Column("source_width_px", pa.int32(), "px", "width of the source without black borders", 0, 20_000),
    ),
    needs=("keyframes",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.0001,
    params={"fps": FPS, "damages": DAMAGES},
    summary="Quality 1-5 and the measures behind it, from the keyframes; the source's size beside it.",
    source="see keyframes",
)

BACKENDS = {
    "q_align": Backend(
        run="tasks.backends.q_align:visual_quality",
        model="q-future/Q-ReAlign-Lite-4B",
        licence="Apache-2.0",
        source="Wu et al., Q-Align, ICML 2024; Q-ReAlign by the same group on a Qwen backbone.",
        changes={"resources": Resources(gpu_gib=12.0)},
    ),
    "people": Backend(
        run="tasks.backends.people:visual_quality",
        model="headroom train visual_quality writes one and prints the setting",
        licence="your own labels",
        code="Apache-2.0 (Headroom)",
        package="",
        source="Brought to what annotators of the workspace say, by a rising map.",
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    keyframes: pa.Table = needs["keyframes"]
    values = {name: keyframes[name].to_numpy() for name in MEASURES}
    if keyframes.num_rows == 0:
        # A clip of under a second may lie between two keyframes: its middle frame stands for it.
        frames = [measures(media.image(frame, None, "gray")) for frame in media.at(FPS)]
        values = {name: np.array([(quality(m) if name == "quality" else m[name]) for m in frames]) for name in MEASURES}
    source_width = media.source_width_px or media.width_px
    row = {name: float(np.mean(values[name], dtype=np.float64)) for name in MEASURES}
    row["quality_min"] = float(np.min(values["quality"]))
    size = {
        "source_width_px": source_width,
        "source_height_px": round(media.height_px * source_width / media.width_px),
    }
    return Output(row=row | size)
