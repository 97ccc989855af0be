"""Features of free and covered faces, to fit `occlusion` on: from raw video files to one .npz each.

    python -m tasks.cover_corpus OUT_FOLDER VIDEO ...

Give clips whose faces are free: hands, boxes and microphones are drawn over some of their frames here. See
`modeling/face_cover.py` for what is done with the files.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tasks.damage import STRENGTHS, degrade
from tasks.drawn_covers import KINDS, covered_image, covers_face, covers_mouth, face_height, mouth_center
from tasks.face_cover import REGIONS, SIDE_PX, Region, skin_lab, square_features, square_of
from tasks.face_crops import upright_face
from tasks.face_geometry import FACE_OVAL, LEFT_EYE_OUTER, RIGHT_EYE_OUTER, crops_between, face_rows, points_of
from tasks.lip_corpus import timelines
from tasks.media.normalise import normalise
from tasks.media.reader import Reader
from tasks.signals import faces

FRAMES_PER_VIDEO = 6
FPS = 5
OVER_MOUTH, ELSEWHERE = 2, 1
"""Things of each kind that are drawn on each frame."""
NUM_FREE = 10
"""Damaged looks at the frame as it is; a look with a thing on it is damaged once."""
DAMAGES = ("blur", "noise", "jpeg", "downscale")
VARIED = 0.7
"""Share of the examples whose square is varied."""
SLOPE, GAMMA, CORNER = 0.6, (0.6, 1.6), 0.12
"""Light from one side, at most e^SLOPE at the border; contrast; and of the square's side, how far a corner moves."""

log = logging.getLogger(__name__)


def export(videos: Sequence[Path], folder: Path, *, seed: int = 0) -> list[Path]:
    """The files written, named for the video: `mouth_NF` and `face_NF` features, `mouth_N` and `face_N` covered shares.

    Raises ValueError for a video without a face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for video in videos:
        with tempfile.TemporaryDirectory() as scratch:
            rows = list(examples(video, Path(scratch), np.random.default_rng([seed, zlib.crc32(video.name.encode())])))
        if not rows:
            raise ValueError(f"{video.name}: no face; the occlusion model is fitted on faces in view")
        written.append(folder / f"{video.name}.npz")
        held = {f"{region}_NF": np.stack([features[region] for features, _ in rows]) for region in REGIONS}
        held |= {f"{region}_N": np.array([shares[region] for _, shares in rows]) for region in REGIONS}
        with written[-1].open("wb") as out:
            np.savez(out, **held)  # type: ignore[arg-type]
        log.info("%s: %d examples", video.name, len(rows))
    return written


def examples(
    video: Path, scratch: Path, rng: np.random.Generator
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, float]]]:
    """Features by region and covered share by region, of frames as they are and with things drawn on them; each also
    damaged, mirrored and in another light. The mesh is the one that is found with the thing and the damage in place."""
    made = normalise(video, scratch)
    with Reader() as reader:
        mesh = timelines(reader, made.proxy_path, None, made.num_frames)["landmarks"]
        media = reader.sampled(made.proxy_path, None, 0, made.num_frames, FPS)
    at = dict(zip(mesh["frame"].to_pylist(), points_of(mesh), strict=True))
    have = [f for f in media.frames if f in at]
    for i in np.unique(np.linspace(0, len(have) - 1, FRAMES_PER_VIDEO).astype(int)) if have else []:
        image, points = media.image(have[i]), at[have[i]]
        for shown, cover in _shown(image, points, rng):
            shares = {"mouth": covers_mouth(cover, points), "face": covers_face(cover, points, FACE_OVAL)}
            if (found := mesh_of(shown)) is not None:
                yield {r: features(shown, found, r, rng) for r in REGIONS}, shares
            for _ in range(1 if cover.any() else NUM_FREE):
                worse = damaged(shown, rng)
                if (found := mesh_of(worse)) is None:
                    continue
                light = rng.uniform(0.6, 1.3) * rng.uniform(0.9, 1.1, 3)
                other = np.clip(worse[:, ::-1] * light, 0, 255).astype(np.uint8)
                mirrored = mirror(found, worse.shape[1])
                yield {r: features(other, mirrored, r, rng) for r in REGIONS}, shares


def features(image_rgb: np.ndarray, points: np.ndarray, region: Region, rng: np.random.Generator) -> np.ndarray:
    """Those of a region, of its square as it is or varied."""
    square, skin = upright_face(image_rgb, square_of(points, region), SIDE_PX), skin_lab(image_rgb, points)
    return square_features(*(varied(square, skin, rng) if rng.random() < VARIED else (square, skin)))


def varied(square: np.ndarray, skin: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A square and its skin (LAB) seen otherwise: turned and out of place, lit from one side, with other contrast."""
    import cv2

    side = square.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = (corners + rng.uniform(-CORNER, CORNER, (4, 2)) * side).astype(np.float32)
    warp = cv2.getPerspectiveTransform(corners, moved)
    seen = cv2.warpPerspective(square.astype(np.float32) / 255, warp, (side, side), borderMode=cv2.BORDER_REPLICATE)
    around, slope, gamma = rng.uniform(0, 2 * np.pi), rng.uniform(0, SLOPE), rng.uniform(*GAMMA)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    lit = seen * np.exp(slope * (np.cos(around) * x + np.sin(around) * y))[..., None]
    bare = cv2.cvtColor(np.rint(skin).astype(np.uint8)[None, None], cv2.COLOR_LAB2RGB)
    shown, tone = (np.rint(255 * np.clip(part, 0, 1) ** gamma).astype(np.uint8) for part in (lit, bare / 255))
    return shown, cv2.cvtColor(tone, cv2.COLOR_RGB2LAB)[0, 0].astype(np.float32)


def damaged(image_rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of DAMAGES, of any grade from none to the worst."""
    kind = DAMAGES[rng.integers(len(DAMAGES))]
    strengths = STRENGTHS[kind]
    strength = np.interp(rng.uniform(0, len(strengths) - 1), range(len(strengths)), strengths)
    return degrade(image_rgb, kind, float(strength), int(rng.integers(2**31)))


def _shown(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures and where they are covered, (H, W)."""
    height, middle = face_height(points), points[list(FACE_OVAL), :2].mean(axis=0)
    yield image, np.zeros(image.shape[:2], np.float32)
    for kind in KINDS:
        for _ in range(OVER_MOUTH):
            yield covered_image(image, points, kind, mouth_center(points) + rng.uniform(-0.06, 0.06, 2) * height, rng)
        for _ in range(ELSEWHERE):
            around = rng.uniform(0, 2 * np.pi)
            away = np.array([np.cos(around), np.sin(around)]) * rng.uniform(0.3, 0.9) * height
            yield covered_image(image, points, kind, middle + away, rng)


def mesh_of(image_rgb: np.ndarray) -> np.ndarray | None:
    """Points (478, 3) of the picture's main face as the timelines would hold them, or None."""
    import cv2

    from tasks.face_mesh import MESH_SIDE_PX, mesh
    from tasks.media.media import Media
    from tasks.signals.landmarks import MIN_PRESENCE

    height, width = (side // 2 * 2 for side in image_rgb.shape[:2])
    even = np.ascontiguousarray(image_rgb[:height, :width])
    media = Media(0, 1, width, height, [0], [cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)])
    found = faces.compute(media, {}).timeline
    crops = crops_between(face_rows(found), [0])
    if not crops:
        return None
    points, presence = mesh(media.crop(0, crops[0].to_image(MESH_SIDE_PX), MESH_SIDE_PX), crops[0])
    return points if presence >= MIN_PRESENCE else None


def mirror(points: np.ndarray, width_px: int) -> np.ndarray:
    """The mesh of the mirrored picture, as far as the features read it: right and left corners change places."""
    mirrored = points.copy()
    mirrored[:, 0] = width_px - 1 - mirrored[:, 0]
    mirrored[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]] = mirrored[[LEFT_EYE_OUTER, RIGHT_EYE_OUTER]]
    return mirrored


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Export features for modeling.face_cover.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    export(options.videos, options.folder)


if __name__ == "__main__":
    main()
