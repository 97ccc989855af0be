"""Q-Align's five levels: a vision-language model is asked how good a picture is, and its next word is read as a grade.

Source: Wu et al., Q-Align: Teaching LMMs for Visual Scoring via Discrete Text-Defined Levels, ICML 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.backends.qwen_vl import Prompt, VisionLanguage, load
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

__all__ = ["aesthetic", "grades", "load", "visual_quality"]

LEVELS = (" excellent", " good", " fair", " poor", " bad")
GRADES = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
FPS = 1
SIDE_PX = 640


def grades(model: VisionLanguage, images: Sequence[np.ndarray], what: str = "quality") -> np.ndarray:
    """Float64 (N,), 1 to 5, of RGB images: the mean grade under the model's probabilities of the five words."""
    question, begun = f"How would you rate the {what} of this image?", f"The {what} of the image is"
    prompts = [Prompt((image,), question, begun) for image in images]
    return np.asarray(model.choices(prompts, LEVELS) @ GRADES)


def visual_quality(model: VisionLanguage, media: Media, needs: Needs, default: Compute) -> Output:
    """Quality by the model; the measures beside it are those of the default."""
    made = grades(model, [media.image(frame, SIDE_PX) for frame in media.at(FPS)])
    row = dict(default(media, needs).row)
    return Output(row=row | {"quality": float(made.mean()), "quality_min": float(made.min())})


def aesthetic(model: VisionLanguage, media: Media, needs: Needs, default: Compute) -> Output:
    """Score by the model, its grade brought to 0 to 1; the rules beside it are those of the default."""
    made = (grades(model, [media.image(frame, SIDE_PX) for frame in media.at(FPS)], "aesthetics") - 1) / 4
    row = dict(default(media, needs).row)
    return Output(row=row | {"score": float(made.mean()), "score_min": float(made.min())})
