"""A clip as a video with its motion drawn below: the stored timelines' own, and beside it what a checkpoint predicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modeling.motion import PARAMETERS
from modeling.motion_picture import LABEL_PX, LANE_PX, WIDTH_PX, Curves, draw_lanes
from store.media import fit, read_frames
from tasks.media.film import write_film

PICTURE_PX = 360
FRAMES_AT_ONCE = 50


def write_motion_video(clip: Mapping[str, Any], proxy: Path, sound_N: np.ndarray, curves: Curves, out: Path) -> Path:
    """Writes an MP4 with sound. `clip` is a row of Frozen.clips, of which the curves tell frames "first_frame" on, and
    "face" a box x0, y0, x1, y1 in pixels of the proxy. The first curves are white, the next amber.

    Raises ValueError for a file that is no MP4, and when FFmpeg fails.
    """
    out = Path(out).absolute()
    if out.suffix.lower() != ".mp4" or out.is_dir():
        raise ValueError(f"motion: {out} is no file to write; give a name that ends in .mp4")
    num = len(next(iter(curves.values())))
    lanes = draw_lanes(curves, num)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_film(_pictures(clip, proxy, lanes, num), (PICTURE_PX + len(lanes), WIDTH_PX), sound_N, out)
    return out


def _pictures(clip: Mapping[str, Any], proxy: Path, lanes: np.ndarray, num: int) -> Iterator[np.ndarray]:
    first, size = int(clip["first_frame"]), (int(clip["height_px"]), int(clip["width_px"]))
    how, face = fit(size[1], size[0], size, cut=True), square_around(clip["face"], size)
    for at in range(0, num, FRAMES_AT_ONCE):
        frames = list(range(first + at, first + min(num, at + FRAMES_AT_ONCE)))
        for place, picture in enumerate(read_frames(proxy, frames, how), at):
            yield np.concatenate([beside(picture.transpose(1, 2, 0), face), with_cursor(lanes, place, num)])


def square_around(face: Sequence[float], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a square around a box x0, y0, x1, y1, with room for the head, within (height, width)."""
    x0, y0, x1, y1 = face
    side = int(min(1.5 * max(x1 - x0, y1 - y0), *size))
    left = int(np.clip((x0 + x1) / 2 - side / 2, 0, size[1] - side))
    top = int(np.clip((y0 + y1) / 2 - side / 2, 0, size[0] - side))
    return slice(top, top + side), slice(left, left + side)


def beside(picture_HWC: np.ndarray, face: tuple[slice, slice]) -> np.ndarray:
    """The face at a height of PICTURE_PX, and what is left of the width for the whole frame."""
    import cv2

    made = np.zeros((PICTURE_PX, WIDTH_PX, 3), np.uint8)
    near = np.ascontiguousarray(picture_HWC[face])
    made[:, :PICTURE_PX] = cv2.resize(near, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_LINEAR)
    height, width = picture_HWC.shape[:2]
    scale = min(PICTURE_PX / height, (WIDTH_PX - PICTURE_PX) / width)
    whole = cv2.resize(
        np.ascontiguousarray(picture_HWC), (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )
    top, left = (PICTURE_PX - len(whole)) // 2, PICTURE_PX + (WIDTH_PX - PICTURE_PX - whole.shape[1]) // 2
    made[top : top + len(whole), left : left + whole.shape[1]] = whole
    return made


def with_cursor(lanes: np.ndarray, place: int, num_frames: int) -> np.ndarray:
    """The lanes with an upright line at frame `place` of them."""
    shown = lanes.copy()
    x = round(LABEL_PX + place * (WIDTH_PX - LABEL_PX - 8) / max(1, num_frames - 1))
    shown[: LANE_PX * len(PARAMETERS), x] = (240, 80, 80)
    return shown
