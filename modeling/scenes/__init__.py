"""Scenes drawn by the few kinds that the content filter tells apart, for training it and for judging it.

    python -m modeling.scenes PHOTOS OUT --num 100 --seed 0            to train on
    python -m modeling.scenes PHOTOS OUT --num 50 --seed 9 --held-out  to judge by: styles that training never saw

`--art ART` adds styles made of pictures by artists to the scenes to train on; modeling/scenes/art.py says what it holds.
PHOTOS is a folder of photographs. OUT gets KIND_SEED_NUMBER.mp4, four frames, one a second, coded by H.264 at a quality that
changes from scene to scene, so that a codec's traces tell nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modeling.scenes.art import of_art
from modeling.scenes.drawn import cartoon, game
from modeling.scenes.patterns import test_pattern
from modeling.scenes.photos import inset, natural, statue, still
from modeling.scenes.screens import screencast
from modeling.scenes.slides import slides
from modeling.scenes.stage import Art, Scene, Stage
from modeling.scenes.wear import worn

KINDS: dict[str, Scene] = {
    "natural": natural,
    "screencast": screencast,
    "slides": slides,
    "game": game,
    "cartoon": cartoon,
    "still": still,
    "inset": inset,
    "test_pattern": test_pattern,
    "statue": statue,
}
SEED_STEP = 100_000
"""Scene `number` of the command's `--seed` S has the seed S * SEED_STEP + number."""
JUDGING_SEED = 9
"""The command's seed whose scenes the scorecard of `content` judges by; no scene to train on may have it. It is not 1, with
which the present weights were trained."""
SIZES = ((640, 360), (640, 360), (480, 270), (360, 640), (480, 480), (360, 288), (224, 224))
MAX_PHOTO_PX = 1000


def load_photos(files: Sequence[Path]) -> list[np.ndarray]:
    """RGB images, the longest side at most 1000 px.

    Raises ValueError when there is none, or for a file that is no image.
    """
    import cv2

    photos = []
    for file in files:
        read = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if read is None:
            raise ValueError(f"{file}: not an image that OpenCV reads; take it out of the folder")
        scale = min(1.0, MAX_PHOTO_PX / max(read.shape[:2]))
        photos.append(cv2.resize(read, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., ::-1])
    if not photos:
        raise ValueError("no photographs: name a folder that holds some")
    return photos


def scene(
    kind: str, seed: int, photos: Sequence[np.ndarray], *, held_out: bool, art: Art | None = None
) -> list[np.ndarray]:
    """RGB frames of one scene, one a second; the same seed, photographs and art give the same scene.

    Scenes to train on are worn as uploads are; those held out are as they were drawn. Art is for scenes to train on.
    """
    rng = np.random.default_rng([seed, list(KINDS).index(kind), int(held_out)])
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    stage = Stage(rng, width, height, photos, held_out, art)
    frames = list((of_art(kind, stage) or KINDS[kind])(stage))
    return frames if held_out else worn(stage, frames, graphics=kind != "natural")


def coded(frames: Sequence[np.ndarray], seed: int) -> bytes:
    """The frames as an H.264 MP4 of one frame a second, at a quality drawn from the seed."""
    import io

    import av

    crf = int(np.random.default_rng([seed, 99]).integers(16, 33))
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=1, options={"crf": str(crf), "preset": "veryfast", "threads": "1"}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()
