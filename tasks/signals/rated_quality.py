"""What people would rate a clip, dimension by dimension, learnt from the ratings of this workspace's annotators.

Nothing ships with it: without ratings there is nothing to compute, so it is computed on request, and says so. `headroom
train rated_quality` makes a model and prints the setting by which the signal becomes one like all others.
"""

from __future__ import annotations

import pyarrow as pa

from tasks.backend import Backend
from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal

DIMENSIONS = ("visual_quality", "facial_naturalness", "lip_sync_accuracy", "motion_smoothness")
"""As the view `labels` names people's ratings."""
OVERALL = "overall"
NEEDS = (
    "landmarks",
    "active_speaker",
    "aesthetic",
    "anatomy",
    "embedding",
    "expressiveness",
    "face_quality",
    "face_track",
    "framing",
    "gaze",
    "head_pose",
    "identity_consistency",
    "lip_sync",
    "motion",
    "occlusion",
    "speech_quality",
    "synthetic_audio",
    "visual_quality",
)
"""What a model learns from: how a clip looks, moves and sounds. `face_embedding` is none of it: a grade must not hang on who
somebody is."""
VECTORS = (("embedding", "video"),)

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        *(
            Column(name, pa.float32(), "grade", f"nullable: rating of {name} that people would give", 1, 5, 3)
            for name in DIMENSIONS
        ),
        Column(OVERALL, pa.float32(), "grade", "nullable: mean of the four that people would give", 1, 5, 3),
        Column("left_out", pa.string(), "text", "nullable: which of these the model does not tell, and why"),
    ),
    on_request=True,
    cost_cpu_s=0.0001,
    summary="What annotators would rate a clip, by a model of this workspace's ratings; without one, not applicable.",
    source="Hoerl and Kennard, Ridge Regression, Technometrics 1970. There is no scorecard: `headroom train rated_quality` "
    "measures it on your clips, of people and videos that the judging model never saw, and leaves out each column that is "
    "not surely nearer to the ratings than their mean.",
)

BACKENDS = {
    "people": Backend(
        run="tasks.backends.rated:rated_quality",
        model="headroom train rated_quality writes one and prints the setting",
        licence="your own labels",
        code="Apache-2.0 (Headroom)",
        package="",
        source="Ridge regression over what is stored of a clip.",
        changes={"needs": NEEDS, "optional": NEEDS, "on_request": False},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: a number without ratings behind it would mean nothing."""
    raise NotApplicable("no model of people's ratings: label with headroom annotate, then headroom train rated_quality")
