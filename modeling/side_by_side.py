"""Drawn clips beside their source, to be looked at: frames of a video, and a sheet of stills of several.

Legend: T frames, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from modeling.motion_picture import BACKGROUND, INK

LABEL_PX = 24
STILL_PX, NUM_STILLS = 112, 8
NAME_PX = 112
Videos = Mapping[str, np.ndarray]
"""By what is written over it: uint8 (T, H, W, 3), all of one size; one picture stands still."""


def beside(videos: Videos) -> Iterator[np.ndarray]:
    """Frames in which all videos stand in a row under their names, as long as the longest lasts; RGB uint8."""
    num = max(len(v) for v in videos.values())
    heads = [_label(name, next(iter(v)).shape[1], LABEL_PX) for name, v in videos.items()]
    for t in range(num):
        columns = [
            np.concatenate([head, v[min(t, len(v) - 1)]]) for head, v in zip(heads, videos.values(), strict=True)
        ]
        yield np.concatenate(columns, axis=1)


def size_of(videos: Videos) -> tuple[int, int]:
    """(H, W) of what `beside` gives."""
    shapes = [v.shape[1:3] for v in videos.values()]
    return LABEL_PX + shapes[0][0], sum(width for _, width in shapes)


def sheet(clips: Mapping[str, Videos]) -> np.ndarray:
    """Under each clip's title a row a video, of stills at the same moments, evenly spread; RGB uint8 (H, W, 3)."""
    made = []
    for title, videos in clips.items():
        num = max(len(v) for v in videos.values())
        at = np.linspace(0, num - 1, NUM_STILLS).astype(int)
        made.append(_label(title, NAME_PX + NUM_STILLS * STILL_PX, LABEL_PX))
        for name, video in videos.items():
            stills = [_small(video[min(t, len(video) - 1)]) for t in at]
            made.append(np.concatenate([_label(name, NAME_PX, STILL_PX), *stills], axis=1))
    return np.concatenate(made)


def jpeg(picture_HWC: np.ndarray) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", picture_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return bytes(data)


def _label(text: str, width_px: int, height_px: int) -> np.ndarray:
    import cv2

    made = np.full((height_px, width_px, 3), BACKGROUND, np.uint8)
    cv2.putText(made, text, (6, height_px // 2 + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return made


def _small(picture: np.ndarray) -> np.ndarray:
    import cv2

    return np.asarray(cv2.resize(picture, (STILL_PX, STILL_PX), interpolation=cv2.INTER_AREA))


def chosen(whos: Sequence[str], most: int) -> list[int]:
    """Places of at most so many, each person once before anybody a second time; in the order given otherwise."""
    turn: dict[str, int] = {}
    ranked = []
    for place, who in enumerate(whos):
        turn[who] = turn.get(who, -1) + 1
        ranked.append((turn[who], place))
    return [place for _, place in sorted(ranked)[:most]]
