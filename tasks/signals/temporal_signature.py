"""How the face moves through the clip: tells a copy of it, however coded, from another moment of the same scene."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal
from tasks.temporal_match import CHANNELS, movements, signature

MIN_FRAMES = 50
MIN_SEEN_RATIO = 0.6
STEP = 2

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "activity",
            pa.float32(),
            "ratio",
            "RMS of the movements, as a multiple of a talking face's; below 0.3 there is little to compare",
            0,
            1000,
            3,
        ),
        Column(
            "seen_ratio", pa.float32(), "ratio", "share of the frames with a face mesh; the rest is bridged", 0, 1, 3
        ),
    ),
    timeline=tuple(
        Column(
            name,
            pa.float32(),
            "ratio",
            f"fast part of the movement of {name}, {scale:g} face heights a unit",
            decimals=3,
        )
        for name, (scale, _) in CHANNELS.items()
    ),
    needs=("landmarks",),
    cost_cpu_s=0.0005,
    params={
        "channels": [[name, *how] for name, how in CHANNELS.items()],
        "smooth_frames": 3,
        "slow_frames": 25,
        "min_frames": MIN_FRAMES,
        "min_seen_ratio": MIN_SEEN_RATIO,
    },
    summary="Ten movements of face and head at 12.5 fps, free of scale and place: what near-duplicates are told by.",
    source="after Kim and Vasudev, Spatiotemporal Sequence Matching for Efficient Video Copy Detection, TCSVT 2005, "
    "with face landmarks in place of image blocks.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip under 2 s and for one without a face most of the time."""
    num_frames = media.end_frame - media.start_frame
    if num_frames < MIN_FRAMES:
        raise NotApplicable("shorter than 2 s")
    values_TC = movements(needs["landmarks"], media.start_frame, media.end_frame)
    seen = float(np.isfinite(values_TC[:, 0]).mean())
    if seen < MIN_SEEN_RATIO:
        raise NotApplicable("no face")
    made_TC = signature(values_TC)
    columns = {"frame": pa.array(np.arange(media.start_frame, media.end_frame, STEP), pa.int32())}
    columns |= {name: pa.array(made_TC[:, i].astype(np.float32)) for i, name in enumerate(CHANNELS)}
    activity = float(np.sqrt(np.square(made_TC).mean()))
    return Output(row={"activity": min(activity, 1000.0), "seen_ratio": seen}, timeline=pa.table(columns))
