"""A portrait's file, read with suspicion: the picture, and the mesh of the one face on it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tasks.face_geometry import FACE_OVAL, POINT_SCALE

LEAST_FACE_PX = 64
MOST_PICTURE_PX, MOST_PICTURE_BYTES = 40_000_000, 40_000_000
LONGEST_PX = 640
"""Faces are looked for on a picture of this side, as in a proxy."""
SECOND_FACE_SHARE = 0.4
"""A second face of so much of the first one's height is one too many; smaller ones are of the background."""


def bytes_of(file: Path) -> bytes:
    if file.stat().st_size > MOST_PICTURE_BYTES:
        raise ValueError(f"avatar {file.name}: has {file.stat().st_size} bytes, at most {MOST_PICTURE_BYTES} are read")
    return file.read_bytes()


def decoded(file: Path, data: bytes) -> np.ndarray:
    """RGB, upright as its EXIF says."""
    import io

    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MOST_PICTURE_PX:
                raise ValueError(
                    f"avatar {file.name}: has {opened.width} x {opened.height} pixels, at most {MOST_PICTURE_PX} are read"
                )
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"avatar {file.name}: is no picture that can be read ({error}); give a JPEG or PNG") from error


def mesh_of(file: Path, picture: np.ndarray) -> np.ndarray:
    """The only face's mesh, (478, 3) in pixels of the picture, found as in a video of one frame."""
    from tasks.media.media import Media
    from tasks.signals import faces, landmarks

    height, width = picture.shape[:2]
    scale = min(1.0, LONGEST_PX / max(height, width))
    small_size = tuple(max(16, round(n * scale) // 2 * 2) for n in (width, height))
    small = cv2.resize(picture, small_size, interpolation=cv2.INTER_AREA)
    plane = cv2.cvtColor(small, cv2.COLOR_RGB2YUV_I420)
    media = Media(
        start_frame=0, end_frame=1, width_px=small_size[0], height_px=small_size[1], frames=[0], planes=[plane],
        source_width_px=width,
    )  # fmt: skip
    seen = faces.compute(media, {}).timeline
    assert seen is not None
    rows = sorted(seen.to_pylist(), key=lambda r: -(r["y1"] - r["y0"]))
    if not rows:
        raise ValueError(f"avatar {file.name}: shows no face; give a portrait that looks at the camera")
    if len(rows) > 1 and rows[1]["y1"] - rows[1]["y0"] > SECOND_FACE_SHARE * (rows[0]["y1"] - rows[0]["y0"]):
        raise ValueError(f"avatar {file.name}: shows {len(rows)} faces; cut the picture to one of them")
    tall = (rows[0]["y1"] - rows[0]["y0"]) * height / small_size[1]
    if tall < LEAST_FACE_PX:
        raise ValueError(f"avatar {file.name}: its face is {tall:.0f} px high; it must have {LEAST_FACE_PX}")
    mesh = landmarks.compute(media, {"faces": seen.slice(0, 1)}).timeline
    if mesh is None or mesh.num_rows == 0:
        raise ValueError(
            f"avatar {file.name}: its face can't be made out; give one that is seen from the front, uncovered"
        )
    points = np.asarray(mesh["points"].to_pylist()[0], np.float64).reshape(-1, 3) / POINT_SCALE
    ratio = np.array([width / small_size[0], height / small_size[1]])
    placed = np.column_stack([(points[:, :2] + 0.5) * ratio - 0.5, points[:, 2] * ratio[0]])
    inside = (placed[:, :2] >= -1) & (placed[:, :2] <= np.array([width, height]))
    if not inside[list(FACE_OVAL)].all():
        raise ValueError(f"avatar {file.name}: its face is cut off by the picture's edge; give one with room around it")
    return placed
