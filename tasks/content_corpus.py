"""Makes the features that the content filter is trained on: `python -m tasks.content_corpus OUT.npz FOLDER`.

FOLDER holds videos named KIND_ANYTHING, as `python -m modeling.scenes` writes them or as cut out of one's own footage.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tasks.content_features import KINDS, SIDE_PX, features, spread
from tasks.media.media import Media
from tasks.signal import GRID_FPS
from tasks.signals import embedding


def media_of(file: Path) -> Media:
    """One frame a second of a video, as the signals get them; sides even and at most 640 px."""
    import av
    import cv2

    planes: list[np.ndarray] = []
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            if frame.time is None or frame.time < len(planes):
                continue
            scale = min(1.0, 640 / max(frame.width, frame.height))
            width, height = (2 * max(1, round(side * scale / 2)) for side in (frame.width, frame.height))
            rgb = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
            planes.append(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420))
    end = len(planes) * GRID_FPS
    return Media(0, end, width, height, range(0, end, GRID_FPS), planes, source_width_px=width)


def row_of(media: Media) -> np.ndarray:
    """Features and clip vector side by side, float32."""
    frames = media.at(embedding.FPS)
    images = [media.image(frames[i], SIDE_PX) for i in spread(len(frames))]
    vector = embedding.compute(media, {}).vectors["video"]
    return np.asarray(np.concatenate([features(images), vector]), np.float32)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the content filter's features of videos named KIND_ANYTHING.")
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    named = [(kind, file) for kind in KINDS for file in sorted(options.folder.glob(f"{kind}_*"))]
    if not named:
        parser.error(f"{options.folder}: no video named by one of {', '.join(KINDS)}")
    rows = np.stack([row_of(media_of(file)) for _, file in named])
    np.savez(options.out, features=rows, kinds=np.array([KINDS.index(kind) for kind, _ in named]))


if __name__ == "__main__":
    main()
