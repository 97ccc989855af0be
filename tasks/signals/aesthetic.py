"""How well a picture is made by the rules that photographers are taught: colour, contrast, light, focus, placement.

Rules rank pictures whose faults are plain. They know nothing of a face's expression, of style or of taste: a score of
opinions needs a model trained on opinions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.backend import Backend
from tasks.face_geometry import Box, box_of, face_rows, main_faces
from tasks.frame_quality import exposure, noise_sigma, sharpness
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal

FPS = 1
MAX_FRAMES = 6
SIDE_PX = 320
FLOOR = 0.05
"""No single rule can bring the score below this share of what the others give, to its weight."""
COLOURFUL = 45.0
"""Hasler and Suesstrunk call 45 "averagely colourful" and 82 "highly"; more earns no more."""
WIDE_RANGE = 0.75
"""Of the video range, between the 2nd and 98th percentile."""
SHARP = 12.0
"""RMS Laplacian of the sharpest tiles, in gray levels, from which more is not seen at 640 px."""
WEIGHTS = {"colour": 0.15, "contrast": 0.2, "exposure": 0.25, "sharpness": 0.25, "separation": 0.05, "placement": 0.1}

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("score", pa.float32(), "score", "weighted geometric mean of the six rules below, mean", 0, 1, 4),
        Column("score_min", pa.float32(), "score", "that of the worst frame", 0, 1, 4),
        Column("colourfulness", pa.float32(), "score", "Hasler and Suesstrunk's M3: 0 gray, 45 average", 0, 400, 2),
        Column("contrast", pa.float32(), "ratio", "2nd to 98th percentile of luma, of the video range", 0, 1.2, 4),
        Column(
            "exposure_score", pa.float32(), "score", "1: middle grays and nothing clipped; 0: black, white", 0, 1, 4
        ),
        Column(
            "sharpness", pa.float32(), "gray_levels", "RMS Laplacian of the sharpest tenth of the tiles", 0, 2000, 3
        ),
        Column("separation", pa.float32(), "octaves", "detail of the subject over that around it, log2", -12, 12, 3),
        Column(
            "placement_score", pa.float32(), "score", "1: the eyes on the upper third, centred or on a third", 0, 1, 4
        ),
        Column("num_frames", pa.int32(), "count", "frames looked at", 1, 1_000_000),
    ),
    needs=("faces",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.007,
    params={
        "fps": FPS,
        "max_frames": MAX_FRAMES,
        "colourful": COLOURFUL,
        "wide_range": WIDE_RANGE,
        "sharp": SHARP,
        "weights": WEIGHTS,
        "floor": FLOOR,
    },
    backend="rules",
    summary="Six rules of photography on at most six frames: a rule-based rank of plain faults, not people's opinions.",
    source="Hasler and Suesstrunk, SPIE 2003 (colour); Datta et al., ECCV 2006 (thirds, depth of field); the weights are ours.",
)

BACKENDS = {
    "q_align": Backend(
        run="tasks.backends.q_align:aesthetic",
        model="q-future/Q-ReAlign-Lite-4B",
        licence="Apache-2.0",
        source="Wu et al., Q-Align, ICML 2024; Q-ReAlign by the same group on a Qwen backbone.",
        changes={"resources": Resources(gpu_gib=12.0)},
    ),
}


@dataclass(frozen=True)
class Subject:
    """Where the subject is and the point that is placed (between the eyes, else the middle of the detail), 0 to 1."""

    box: Box
    x: float
    y: float
    cut: bool


def compute(media: Media, needs: Needs) -> Output:
    have = media.at(FPS)
    chosen = sorted({have[round(i)] for i in np.linspace(0, len(have) - 1, min(len(have), MAX_FRAMES))})
    faces = {int(row["frame"]): row for _, row in main_faces(face_rows(needs["faces"]))}
    told = [measures(media, frame, faces.get(frame)) for frame in chosen]
    scores = [score(t) for t in told]
    mean = {name: float(np.mean([t[name] for t in told])) for name in told[0]}
    return Output(row={"score": float(np.mean(scores)), "score_min": min(scores), **mean, "num_frames": len(told)})


def measures(media: Media, frame: int, face: dict[str, float] | None) -> dict[str, float]:
    luma = media.image(frame, None, "gray")
    subject = _on_face(face, media) if face else _on_detail(media.image(frame, SIDE_PX, "gray"))
    low, high = np.quantile(luma, [0.02, 0.98])
    return {
        "colourfulness": colourfulness(media.image(frame, SIDE_PX)),
        "contrast": float(high - low) / 219,
        "exposure_score": exposure(luma),
        "sharpness": sharpness(luma, noise_sigma(luma)),
        "separation": separation(media.image(frame, SIDE_PX, "gray"), subject.box),
        "placement_score": placement(subject),
    }


def score(told: dict[str, float]) -> float:
    """0 to 1: the six rules, each 0 to 1, as a weighted geometric mean, so that one plain fault shows."""
    rules = {
        "colour": min(1.0, told["colourfulness"] / COLOURFUL),
        "contrast": min(1.0, told["contrast"] / WIDE_RANGE),
        "exposure": told["exposure_score"],
        "sharpness": min(1.0, np.log1p(told["sharpness"]) / np.log1p(SHARP)),
        "separation": float(np.clip(0.6 + 0.2 * told["separation"], 0, 1)),
        "placement": told["placement_score"],
    }
    return float(np.prod([max(FLOOR, rule) ** WEIGHTS[name] for name, rule in rules.items()]))


def colourfulness(image_rgb: np.ndarray) -> float:
    """M3 of Hasler and Suesstrunk: spread and mean of two opponent colours."""
    red, green, blue = np.moveaxis(image_rgb.astype(np.float32), 2, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def separation(gray: np.ndarray, inside: Box) -> float:
    """log2 of the mean detail within the subject's box (shares of the frame) over that of the rest."""
    import cv2

    detail = np.abs(cv2.Laplacian(gray, cv2.CV_16S)).astype(np.float32)
    here = np.zeros(gray.shape, bool)
    height, width = gray.shape
    here[round(inside.y0 * height) : round(inside.y1 * height), round(inside.x0 * width) : round(inside.x1 * width)] = (
        True
    )
    if here.all() or not here.any():
        return 0.0
    return float(np.log2((detail[here].mean() + 0.5) / (detail[~here].mean() + 0.5)))


def placement(subject: Subject) -> float:
    """1 when the subject's point lies on the upper third (0.28 to 0.45 of the height counts as on it) and in the
    middle or on a third of the width; a head that the frame cuts loses 40 %."""
    off_x = min(abs(subject.x - third) for third in (1 / 3, 1 / 2, 2 / 3))
    off_y = max(0.28 - subject.y, 0.0, subject.y - 0.45)
    return float(np.exp(-((off_x / 0.15) ** 2) - (off_y / 0.18) ** 2)) * (0.6 if subject.cut else 1.0)


def _on_face(row: dict[str, float], media: Media) -> Subject:
    box = box_of(row)
    width, height = media.width_px, media.height_px
    return Subject(
        Box(box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height),
        (row["right_eye_x"] + row["left_eye_x"]) / 2 / width,
        (row["right_eye_y"] + row["left_eye_y"]) / 2 / height,
        box.x0 <= 1 or box.y0 <= 1 or box.x1 >= width - 1 or box.y1 >= height - 1,
    )


def _on_detail(gray: np.ndarray) -> Subject:
    """Without a face: the middle of the detail, one spread to each side."""
    import cv2

    detail = np.abs(cv2.Laplacian(gray, cv2.CV_16S)).astype(np.float64) + 1e-6
    ys, xs = (np.arange(n) + 0.5 for n in gray.shape)
    told = []
    for places, axis in ((xs, 0), (ys, 1)):
        weight = detail.sum(axis=axis) / detail.sum()
        middle = float((weight * places).sum())
        told.append((middle / len(places), float(np.sqrt((weight * (places - middle) ** 2).sum())) / len(places)))
    (x, reach_x), (y, reach_y) = told
    return Subject(Box(max(0, x - reach_x), max(0, y - reach_y), min(1, x + reach_x), min(1, y + reach_y)), x, y, False)
