"""How well the main face can be seen: its size in source pixels, its sharpness, its light."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_crops import face_height_px, upright_face
from tasks.face_geometry import crops_between, face_rows
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

FPS = 1
SIDE_PX = 256
INNER = slice(54, 202)
"""The middle of the square, from brows to chin: skin, eyes and mouth without hair or background."""
FINE_PX, COARSE_PX = 2.0, (4.0, 8.0)
"""Standard deviations of Gaussians at SIDE_PX. Against blur and downscaling of 37 faces their ratio ranks grades by 0.94
and 0.88, Crete's blur metric by 0.83 and 0.90 and the Laplacian's share of the variance by 0.82 and 0.87 (Spearman)."""
MIN_DB, MAX_DB = -60.0, 40.0
BLACK, WHITE = 16.0, 235.0
"""Luma of the proxy is of video range."""
CLIPPED_SHARE = 0.03
"""Within this share of black or white a pixel counts as clipped."""

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("height_px", pa.float32(), "px", "hairline to chin in source pixels, median", 0, 20_000, 1),
        Column("height_min_px", pa.float32(), "px", "the same on the sampled frame where it is least", 0, 20_000, 1),
        Column(
            "sharpness_db",
            pa.float32(),
            "db",
            f"power of the face's detail below {FINE_PX:g} px against that from {COARSE_PX[0]:g} to {COARSE_PX[1]:g}, at "
            f"{SIDE_PX} px (a small face is enlarged, so it counts as blurred), mean",
            MIN_DB,
            MAX_DB,
            2,
        ),
        Column("sharpness_min_db", pa.float32(), "db", "the same of the least sharp sampled frame", MIN_DB, MAX_DB, 2),
        Column("brightness", pa.float32(), "ratio", "mean luma of the face, 0 black to 1 white", 0, 1, 4),
        Column("contrast", pa.float32(), "ratio", "5th to 95th percentile of the face's luma, mean", 0, 1, 4),
        Column("clipped_ratio", pa.float32(), "ratio", "share of the face that is black or white, mean", 0, 1, 4),
        Column(
            "side_light",
            pa.float32(),
            "ratio",
            "difference between the two halves' brightness by their sum, mean; 0 is even light",
            0,
            1,
            4,
        ),
        Column("num_frames", pa.int32(), "count", "frames looked at", 1, 1_000_000),
    ),
    needs=("faces",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.002,
    params={"fps": FPS, "side_px": SIDE_PX, "inner": [INNER.start, INNER.stop], "bands": [FINE_PX, *COARSE_PX]},
    backend="band_ratio",
    summary="Size, sharpness, brightness, contrast and evenness of light of the main face, on one frame a second.",
    source="Bands as in Burt and Adelson, The Laplacian Pyramid as a Compact Image Code, 1983; the ratio is our own.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip without a face near a sampled frame."""
    frames = media.at(FPS)
    crops = crops_between(face_rows(needs["faces"]), frames)
    if not crops:
        raise NotApplicable("no face")
    scale = (media.source_width_px or media.width_px) / media.width_px
    heights = [face_height_px(crop) * scale for crop in crops.values()]
    sharpness, told = [], []
    for frame, crop in crops.items():
        luma = upright_face(media.image(frame, None, "gray"), crop, SIDE_PX)[INNER, INNER]
        sharpness.append(sharpness_db(luma))
        told.append(light(luma))
    brightness, contrast, clipped, side = np.mean(told, axis=0)
    return Output(
        row={
            "height_px": float(np.median(heights)),
            "height_min_px": float(np.min(heights)),
            "sharpness_db": float(np.mean(sharpness)),
            "sharpness_min_db": float(np.min(sharpness)),
            "brightness": float(brightness),
            "contrast": float(contrast),
            "clipped_ratio": float(clipped),
            "side_light": float(side),
            "num_frames": len(crops),
        }
    )


def sharpness_db(luma: np.ndarray) -> float:
    """How much of the detail is fine; the ratio doesn't change with light or contrast. MIN_DB for a flat picture."""
    import cv2

    image = luma.astype(np.float32)
    fine, low, high = (cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (FINE_PX, *COARSE_PX))
    ratio = float(np.square(image - fine).mean()) / max(float(np.square(low - high).mean()), 1e-2)
    return float(np.clip(10 * np.log10(max(ratio, 1e-9)), MIN_DB, MAX_DB))


def light(luma: np.ndarray) -> tuple[float, float, float, float]:
    """Brightness, contrast, clipped share and difference of the halves, each 0 to 1."""
    value = np.clip((luma.astype(np.float64) - BLACK) / (WHITE - BLACK), 0, 1)
    low, high = np.quantile(value, [0.05, 0.95])
    clipped = (value <= CLIPPED_SHARE) | (value >= 1 - CLIPPED_SHARE)
    half = value.shape[1] // 2
    right, left = float(value[:, :half].mean()), float(value[:, half:].mean())
    side = abs(left - right) / (left + right) if left + right > 0 else 0.0
    return float(value.mean()), float(high - low), float(clipped.mean()), side
