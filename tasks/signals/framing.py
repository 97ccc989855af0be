"""How the person is set into the picture: head and shoulders inside it, head room, centring, a steady background."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_geometry import CHIN, FOREHEAD, LEFT_EYE_OUTER, RIGHT_EYE_OUTER, points_of
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

# In face heights (hairline to chin), by usual adult proportions: crown to hairline 0.27, breadth of the shoulders 2.4;
# a head-and-shoulders picture ends below the collar.
CROWN, COLLAR, SHOULDERS = 0.27, 0.7, 2.4
HEAD_REACH, BODY_REACH = 0.75, 1.3
"""What may be the person, and so is no background: this far to either side of the face's middle, in face heights, beside
the head (with its hair) and below the chin."""
FPS = 1
SMALL_SIDE_PX = 96
FPS_STEP = 5
"""Every fifth mesh places the person well enough."""
MIN_BACKGROUND = 0.02
LUMA_RANGE = 219.0

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "completeness",
            pa.float32(),
            "ratio",
            "share of the box of head and shoulders, by proportions of the face, that lies inside the frame, mean",
            0,
            1,
            4,
        ),
        Column("head_cut_ratio", pa.float32(), "ratio", "share of the frames that cut crown, chin or side", 0, 1, 4),
        Column(
            "head_room",
            pa.float32(),
            "ratio",
            "from the crown to the frame's top, in frame heights, median; < 0: the frame cuts the head",
            -20,
            1,
            4,
        ),
        Column(
            "below_chin",
            pa.float32(),
            "ratio",
            "from the chin to the frame's bottom, in face heights, median; 0.7 shows the collar, 2 the chest",
            -20,
            1000,
            3,
        ),
        Column(
            "offset_x", pa.float32(), "ratio", "face's middle right of the frame's, in frame widths, median", -2, 2, 4
        ),
        Column(
            "eye_line", pa.float32(), "ratio", "height of the eyes, 0 top of the frame to 1 bottom, median", -2, 3, 4
        ),
        Column("face_height_ratio", pa.float32(), "ratio", "hairline to chin, in frame heights, median", 0, 20, 4),
        Column(
            "size_change",
            pa.float32(),
            "ratio",
            "how much larger the face is at its 95th than at its 5th percentile over time, less 1",
            0,
            1000,
            4,
        ),
        Column(
            "background_ratio",
            pa.float32(),
            "ratio",
            "share of the frame that is surely background throughout: beside the reckoned head and body",
            0,
            1,
            4,
        ),
        Column(
            "background_change",
            pa.float32(),
            "ratio",
            "standard deviation over time of the background's luma, mean over its pixels, 1 is from black to white; "
            "0 on a tripod before a wall, and where background_ratio is 0",
            0,
            1,
            5,
        ),
    ),
    needs=("landmarks",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.0003,
    params={
        "crown": CROWN,
        "collar": COLLAR,
        "shoulders": SHOULDERS,
        "reach": [HEAD_REACH, BODY_REACH],
        "fps": FPS,
        "small_side_px": SMALL_SIDE_PX,
    },
    backend="face_proportions",
    summary="Place of head and shoulders in the frame, reckoned from the face's size, and how much the background changes.",
    source="Proportions after Farkas, Anthropometry of the Head and Face, 1994; shoulders are reckoned, not seen.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip without a mesh."""
    landmarks: pa.Table = needs["landmarks"]
    if landmarks.num_rows == 0:
        raise NotApplicable("no face")
    points = points_of(landmarks)[..., :2].astype(np.float64)
    width, height = float(media.width_px), float(media.height_px)
    chin, hairline = points[:, CHIN], points[:, FOREHEAD]
    tall = np.maximum(np.linalg.norm(chin - hairline, axis=1), 1e-3)
    up = (hairline - chin) / tall[:, None]
    crown = hairline + up * (CROWN * tall)[:, None]
    center = (chin + hairline) / 2
    sides = points[..., 0].min(axis=1), points[..., 0].max(axis=1)
    top, bottom = np.minimum(crown[:, 1], hairline[:, 1]), np.maximum(chin[:, 1], points[..., 1].max(axis=1))
    cut = (top < 0) | (bottom > height) | (sides[0] < 0) | (sides[1] > width)
    eyes = points[:, [RIGHT_EYE_OUTER, LEFT_EYE_OUTER], 1].mean(axis=1)
    small, large = np.quantile(tall, [0.05, 0.95])
    share, change = background(media, center[:, 0], np.stack([crown[:, 1], chin[:, 1]], axis=1), tall)
    return Output(
        row={
            "completeness": float(_inside(center[:, 0], crown[:, 1], chin[:, 1], tall, width, height).mean()),
            "head_cut_ratio": float(cut.mean()),
            "head_room": float(np.clip(np.median(top) / height, -20, 1)),
            "below_chin": float(np.clip(np.median((height - chin[:, 1]) / tall), -20, 1000)),
            "offset_x": float(np.clip(np.median(center[:, 0]) / width - 0.5, -2, 2)),
            "eye_line": float(np.clip(np.median(eyes) / height, -2, 3)),
            "face_height_ratio": float(min(np.median(tall) / height, 20)),
            "size_change": float(min(large / small - 1, 1000)),
            "background_ratio": share,
            "background_change": change,
        }
    )


def _inside(
    center_x: np.ndarray, crown_y: np.ndarray, chin_y: np.ndarray, tall: np.ndarray, width: float, height: float
) -> np.ndarray:
    """Share (T,) of the head-and-shoulders box that lies inside the frame."""
    left, right = center_x - SHOULDERS / 2 * tall, center_x + SHOULDERS / 2 * tall
    bottom = np.maximum(chin_y + COLLAR * tall, crown_y + 1e-3)
    wide = np.maximum(np.minimum(right, width) - np.maximum(left, 0), 0) / (right - left)
    high = np.maximum(np.minimum(bottom, height) - np.maximum(crown_y, 0), 0) / (bottom - crown_y)
    return np.asarray(np.clip(wide * high, 0, 1))


def background(media: Media, center_x: np.ndarray, crown_chin_y: np.ndarray, tall: np.ndarray) -> tuple[float, float]:
    """(share of the frame that is background, how much it changes), of the frames sampled once a second.

    Background is what the person's reckoned outline never covers: the head with its hair, and the body from the chin
    down, wherever the face was during the clip.
    """
    frames = media.at(FPS)
    images = np.stack([media.image(f, SMALL_SIDE_PX, "gray") for f in frames]).astype(np.float32)
    rows, columns = images.shape[1:]
    x = (np.arange(columns) + 0.5) * media.width_px / columns
    y = (np.arange(rows) + 0.5) * media.height_px / rows
    free = np.ones((rows, columns), bool)
    for i in range(0, len(tall), FPS_STEP):
        beside = np.abs(x - center_x[i]) / tall[i]
        head = (y >= crown_chin_y[i, 0])[:, None] & (beside <= HEAD_REACH)[None]
        body = (y >= crown_chin_y[i, 1])[:, None] & (beside <= BODY_REACH)[None]
        free &= ~(head | body)
    share = float(free.mean())
    if share < MIN_BACKGROUND or len(images) < 2:
        return 0.0, 0.0
    return share, float(images.std(axis=0)[free].mean() / LUMA_RANGE)
