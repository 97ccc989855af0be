"""Test patterns: FFmpeg's own, and drawn ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import numpy as np

from modeling.scenes.stage import FPS, SHOWN, Stage, write

TRAIN = ("testsrc", "smptebars", "smptehdbars", "pal75bars", "rgbtestsrc", "colorchart", "colorspectrum")
HELD_OUT = ("testsrc2", "pal100bars", "yuvtestsrc")


def test_pattern(stage: Stage) -> Iterator[np.ndarray]:
    """Bars, charts and ramps, at times with a counter; held out: other sources of FFmpeg, a zone plate."""
    drawn = stage.pick([_counter, _checks, _ramps, _rings, _star, _cross_hatch, _snow, _stripes], [_zone_plate])
    frames = drawn(stage) if stage.rng.random() < 0.5 else _ffmpeg(stage, stage.pick(TRAIN, HELD_OUT))
    told = stage.rng.random() < 0.3
    size = stage.height_px * stage.rng.uniform(0.06, 0.15)
    for i, image in zip(SHOWN, frames, strict=True):
        if told:
            write(
                image,
                f"00:00:{i // FPS:02d}.{i % FPS}",
                stage.width_px * 0.3,
                stage.height_px * 0.8,
                size,
                (255, 255, 255),
            )
        yield image


def _ffmpeg(stage: Stage, source: str) -> Iterator[np.ndarray]:
    from imageio_ffmpeg import get_ffmpeg_exe

    size = f"{stage.width_px}x{stage.height_px}"
    start = "" if source in ("colorchart", "colorspectrum") else f"size={size}:"
    drawn = f"{source}={start}rate=1,scale={size.replace('x', ':')},format=rgb24"
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        drawn,
        "-frames:v",
        str(len(SHOWN)),
        "-f",
        "rawvideo",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    yield from np.frombuffer(raw, np.uint8).reshape(-1, stage.height_px, stage.width_px, 3).copy()


def _counter(stage: Stage) -> Iterator[np.ndarray]:
    back = stage.colour() if stage.rng.random() < 0.7 else (0, 0, 0)
    ink = (255, 255, 255) if sum(back) < 380 else (0, 0, 0)
    x, y = stage.rng.uniform(0.05, 0.4) * stage.width_px, stage.rng.uniform(0.1, 0.7) * stage.height_px
    for i in SHOWN:
        image = stage.canvas(back)
        write(image, f"frame {i * 5:05d}", x, y, stage.height_px * 0.12, ink)
        yield image


def _grid(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: stage.height_px, : stage.width_px].astype(np.float32)
    return y, x


def _checks(stage: Stage) -> Iterator[np.ndarray]:
    y, x = _grid(stage)
    side, move = stage.rng.uniform(8, 60), stage.rng.choice([0, 0, 5])
    a, b = (np.array(stage.colour(), np.uint8) for _ in range(2))
    for i in SHOWN:
        even = (np.floor((x + i * move) / side) + np.floor(y / side)) % 2 == 0
        yield np.where(even[..., None], a, b)


def _ramps(stage: Stage) -> Iterator[np.ndarray]:
    y, x = _grid(stage)
    ways = stage.rng.normal(size=(3, 2)) * stage.rng.uniform(0.5, 2)
    steps = int(stage.rng.choice([8, 16, 256]))
    for i in SHOWN:
        planes = [((wx * x / stage.width_px + wy * y / stage.height_px + i * 0.01) % 1.0) for wx, wy in ways]
        levels = np.stack(planes if steps < 256 else [planes[0]] * 3, axis=-1)
        yield (np.floor(levels * steps) / steps * 255).astype(np.uint8)


def _rings(stage: Stage) -> Iterator[np.ndarray]:
    import cv2

    back, ink, step = stage.colour(), stage.colour(), int(stage.rng.integers(6, 50))
    for i in SHOWN:
        image = stage.canvas(back)
        for radius in range(step, stage.width_px, step):
            cv2.circle(
                image, (stage.width_px // 2, stage.height_px // 2), radius + i, ink, max(1, step // 3), cv2.LINE_AA
            )
        yield image


def _star(stage: Stage) -> Iterator[np.ndarray]:
    y, x = _grid(stage)
    arms, turns = int(stage.rng.integers(8, 60)), stage.rng.choice([0.0, 0.05])
    angle = np.arctan2(y - stage.height_px / 2, x - stage.width_px / 2)
    a, b = (np.array(stage.colour(), np.uint8) for _ in range(2))
    for i in SHOWN:
        yield np.where((np.sin(arms * (angle + turns * i)) > 0)[..., None], a, b)


def _cross_hatch(stage: Stage) -> Iterator[np.ndarray]:
    step, ink = int(stage.rng.integers(16, 70)), stage.colour(120, 256)
    image = stage.canvas(stage.colour(0, 90))
    image[::step] = image[:, ::step] = ink
    for _ in SHOWN:
        yield image.copy()


def _stripes(stage: Stage) -> Iterator[np.ndarray]:
    """Stripes of full colours, upright or lying, which may wander; at times a block of others in the middle."""
    num, move, upright = int(stage.rng.integers(3, 14)), stage.rng.choice([0, 0, 3]), stage.rng.random() < 0.6
    tones = np.array([[255 * int(b) for b in f"{int(stage.rng.integers(8)):03b}"] for _ in range(num)], np.uint8)
    y, x = _grid(stage)
    long, place = (stage.width_px, x) if upright else (stage.height_px, y)
    block, other = stage.rng.random() < 0.4, stage.colour()
    for i in SHOWN:
        image = tones[((place + move * i) * num / long).astype(int) % num]
        if block:
            image[stage.height_px // 3 : stage.height_px // 2, stage.width_px // 4 : stage.width_px // 2] = other
        yield image


def _snow(stage: Stage) -> Iterator[np.ndarray]:
    grain = int(stage.rng.integers(1, 5))
    for _ in SHOWN:
        small = stage.rng.integers(0, 256, (stage.height_px // grain + 1, stage.width_px // grain + 1, 1), np.uint8)
        large = small.repeat(grain, axis=0).repeat(grain, axis=1).repeat(3, axis=2)
        yield large[: stage.height_px, : stage.width_px]


def _zone_plate(stage: Stage) -> Iterator[np.ndarray]:
    y, x = _grid(stage)
    rate = stage.rng.uniform(0.2, 1.0)
    radius = ((x - stage.width_px / 2) ** 2 + (y - stage.height_px / 2) ** 2) / stage.height_px * rate
    for i in SHOWN:
        wave = 127 + 120 * np.cos(radius + i * 0.5)
        yield wave[..., None].repeat(3, axis=2).astype(np.uint8)
