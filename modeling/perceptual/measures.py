"""The optional measures of a drawn clip, as far as weights were given for them.

Legend: T frames, S the square's side, N videos of 16 frames, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from modeling.motion_set import MotionClip
from modeling.perceptual.frechet import videos_of
from modeling.perceptual.lpips import Lpips, lpips_measures
from modeling.perceptual.syncnet import SyncNet, lse_measures
from modeling.renderer_set import FaceClip

VideoFeatures = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From N videos, each RGB uint8 (16, S, S, 3), to float (N, D)."""
BETTER_LOWER = ("lpips", "temporal_lpips", "lse_d", "fvd")


@dataclass(frozen=True)
class Perceptual:
    """`spoken` are the clips whose sound LSE hears, by id."""

    lpips: Lpips | None = None
    syncnet: SyncNet | None = None
    video: VideoFeatures | None = None
    spoken: Mapping[str, MotionClip] = field(default_factory=dict)

    def beside_true(self, shown_TSSC: np.ndarray, clip: FaceClip) -> dict[str, float]:
        """LPIPS, of the square as it is."""
        return lpips_measures(self.lpips, shown_TSSC, clip.true, clip.frames) if self.lpips else {}

    def with_sound(
        self, pictures: Mapping[str, np.ndarray], clip: FaceClip, plate: int
    ) -> Mapping[str, Mapping[str, float]]:
        """LSE by who is shown, of the plate's whole face with their square in it."""
        if self.syncnet is None:
            return {}
        said = self.spoken[clip.clip_id]
        faces = {who: [clip.in_picture(plate, s) for s in squares] for who, squares in pictures.items()}
        return lse_measures(self.syncnet, faces, clip.frames - said.first_frame, said.sound)

    def videos(self, shown_TSSC: np.ndarray, clip: FaceClip) -> np.ndarray:
        """(N, D) of the clip's stretches of 16 frames; only where `video` is given and the clip has one."""
        assert self.video is not None
        return self.video([shown_TSSC[rows] for rows in videos_of(clip.frames)])
