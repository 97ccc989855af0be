"""Known damage to a picture, grade by grade: what scorecards judge signals on, and what `occlusion` is fitted to bear."""

from __future__ import annotations

import io

import numpy as np

STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.0, 0.8, 1.4, 2.4, 4.0),
    "noise": (0.0, 4.0, 9.0, 18.0, 35.0),
    "jpeg": (101, 50, 28, 14, 6),
    "downscale": (1.0, 1.6, 2.4, 3.6, 6.0),
    "darkness": (1.0, 0.6, 0.4, 0.25, 0.12),
    "starving": (1.0, 1.5, 2.2, 3.2, 4.5),
}
"""Of each kind, from none to very annoying at 640 px: ITU-T P.910's grades 5 to 1."""


def degrade(rgb: np.ndarray, kind: str, strength: float, seed: int = 0) -> np.ndarray:
    """The frame with one damage. blur: sigma in px; noise: sigma in gray levels; jpeg: quality; downscale:
    factor, and back up; darkness: gain; starving: smaller by the factor, blurred, back up, and too few bits for it, as
    of a bad call. The first strength of each kind changes nothing."""
    import cv2

    height, width = rgb.shape[:2]
    if strength == STRENGTHS[kind][0]:
        return rgb
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), strength))
    if kind == "noise":
        noisy = rgb + np.random.default_rng(seed).normal(0, strength, rgb.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
    if kind == "jpeg":
        coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(strength)])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if kind == "downscale":
        small = cv2.resize(rgb, (round(width / strength), round(height / strength)), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    if kind == "starving":
        small = cv2.resize(rgb, (round(width / strength), round(height / strength)), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (0, 0), 1.0)
        large = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
        return _coded(np.asarray(large), crf=min(46, round(22 + 6 * strength)))
    return np.clip(np.rint(rgb * strength), 0, 255).astype(np.uint8)


def _coded(rgb: np.ndarray, crf: int) -> np.ndarray:
    """The frame through H.264 and back. Sides are even."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = rgb.shape[0], rgb.shape[1], "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as made:
        return np.asarray(next(made.decode(video=0)).to_ndarray(format="rgb24"))
