"""A portrait that talks: the mouth opens over a dark inside, the eyes blink, the head sways. No network, no weights.

Legend: H height, W width of the film; all positions in `Face` are pixels of the portrait, as the face mesh of
MediaPipe found them, once, on exactly this picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.samples.voice import Mouthing


@dataclass(frozen=True)
class Face:
    """Curves from the viewer's left to right: x, y."""

    upper_lip: tuple[tuple[float, float], ...]
    lower_lip: tuple[tuple[float, float], ...]
    eyes: tuple[tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]], ...]
    chin_y: float
    head: tuple[float, float, float, float]
    """Centre and half axes of the ellipse that moves as the head."""


ASTRONAUT = Face(
    upper_lip=(
        (203.4, 139.9), (206.0, 140.4), (209.1, 141.0), (212.8, 141.6), (217.5, 142.5), (223.1, 143.3),
        (228.8, 143.0), (233.6, 142.4), (237.3, 141.9), (240.4, 141.6), (243.0, 141.4),
    ),
    lower_lip=(
        (203.4, 139.9), (206.7, 143.2), (209.3, 145.4), (212.8, 147.5), (217.2, 149.0), (222.5, 149.9),
        (227.9, 149.6), (232.6, 148.3), (236.4, 146.5), (239.4, 144.5), (243.0, 141.4),
    ),
    eyes=(
        (
            ((195.2, 100.3), (195.9, 99.5), (197.0, 98.6), (199.1, 97.6), (202.5, 97.2), (206.1, 97.8), (209.7, 99.7),
             (212.4, 102.2), (213.6, 103.6)),
            ((195.2, 100.3), (196.6, 101.7), (198.2, 102.7), (200.6, 103.6), (204.1, 104.1), (207.5, 104.0),
             (210.7, 103.8), (212.8, 103.8), (213.6, 103.6)),
        ),
        (
            ((236.6, 104.8), (238.0, 103.4), (240.8, 101.3), (244.5, 99.8), (248.4, 99.7), (251.7, 100.5),
             (253.8, 101.8), (254.8, 102.7), (255.5, 103.5)),
            ((236.6, 104.8), (237.5, 105.1), (239.4, 105.3), (242.6, 105.9), (246.1, 106.3), (249.6, 106.1),
             (252.1, 105.6), (253.9, 104.7), (255.5, 103.5)),
        ),
    ),
    chin_y=178.6,
    head=(223.0, 112.0, 60.0, 74.0),
)  # fmt: skip

WIDEST_GAP_PX = 16.0
"""Between the lips at jaw 1, two fifths of the mouth's width, as in loud speech."""
INSIDE_BGR = np.array([30.0, 18.0, 52.0])
TONGUE_BGR = np.array([62.0, 52.0, 118.0])


@dataclass(frozen=True)
class Look:
    """How one film shows the portrait: the square [x, y, side] it crops, and how it is lit."""

    crop: tuple[float, float, float]
    side_px: int
    mirrored: bool = False
    light_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shade: float = 0.0
    """Darkening toward one side, 0 none to 1 black."""
    seed: int = 0


def film(portrait_png: Path, face: Face, look: Look, mouth: Mouthing, fps: float) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 BGR, one for each value of `mouth`, the same bytes for the same input."""
    import cv2

    picture = cv2.imread(str(portrait_png))
    assert picture is not None, portrait_png
    head = _head_motion(mouth, fps, look.seed)
    eyelid = _blinks(len(mouth.jaw), fps, look.seed)
    stage = _Stage(picture, face, look)
    rng = np.random.default_rng(look.seed)
    for i in range(len(mouth.jaw)):
        drawn = stage.draw(float(mouth.jaw[i]), float(mouth.width[i]), float(eyelid[i]), head[i])
        grain = rng.normal(0, 1.6, drawn.shape[:2])[..., None]  # a camera's: without it the film looks drawn
        lit = np.clip(drawn * stage.light + grain, 0, 255)
        frame = np.rint(lit).astype(np.uint8)
        yield np.ascontiguousarray(frame[:, ::-1] if look.mirrored else frame)


class _Stage:
    """The portrait, cropped and enlarged once, with the maps that move it."""

    def __init__(self, picture: np.ndarray, face: Face, look: Look) -> None:
        import cv2

        x, y, side = look.crop
        self.scale = k = look.side_px / side
        to_film = np.array([[k, 0, -x * k + (k - 1) / 2], [0, k, -y * k + (k - 1) / 2]])
        size = (look.side_px, look.side_px)
        self.still = cv2.warpAffine(picture, to_film, size, flags=cv2.INTER_LANCZOS4).astype(np.float32)
        soft = cv2.GaussianBlur(self.still, (0, 0), 1.6)
        self.still = np.clip(self.still * 1.4 - soft * 0.4, 0, 255)  # an enlarged picture is soft; sharpen once
        self.ys, self.xs = np.mgrid[0 : look.side_px, 0 : look.side_px].astype(np.float32)

        def film_points(points: tuple[tuple[float, float], ...]) -> np.ndarray:
            return (np.array(points) - [x, y]) * k + (k - 1) / 2

        self.upper, self.lower = film_points(face.upper_lip), film_points(face.lower_lip)
        self.eyes = [(film_points(lid), film_points(under)) for lid, under in face.eyes]
        self.chin_y = float(film_points(((0, face.chin_y),))[0, 1])
        self.centre = film_points((face.head[:2],))[0]
        self.axes = np.array(face.head[2:]) * k
        across = self.xs / look.side_px
        u, v = (self.xs - self.centre[0]) / self.axes[0], (self.ys - self.centre[1]) / self.axes[1]
        radius = np.hypot(u, v)
        self.belongs = np.where(radius < 1, 1, np.exp(-(((radius - 1) / 0.38) ** 2)))
        self.bulge = np.sqrt(np.clip(1 - radius**2, 0, 1))
        self.light = (1 - look.shade * across)[..., None] * np.array(look.light_bgr, np.float32)

    def draw(self, jaw: float, width: float, eyelid: float, head: np.ndarray) -> np.ndarray:
        return self._sway(self._blink(self._speak(jaw, width), eyelid), head)

    def _speak(self, jaw: float, width: float) -> np.ndarray:
        """Lips and chin moved apart or together; between them the teeth of the portrait, then the dark inside."""
        k = self.scale
        left, right = self.lower[0], self.lower[-1]
        middle = (left[0] + right[0]) / 2
        x0, x1 = int(left[0] - 45 * k), int(right[0] + 45 * k)
        y0, y1 = int(self.upper[:, 1].min() - 30 * k), min(int(self.chin_y + 40 * k), len(self.still))
        xs, ys = self.xs[y0:y1, x0:x1], self.ys[y0:y1, x0:x1]
        around = np.exp(-(((xs - middle) / (30 * k)) ** 2) - ((ys - left[1] - 5 * k) / (26 * k)) ** 2)
        from_x = middle + (xs - middle) / (1 + 0.16 * width * around)
        top = np.interp(from_x, self.upper[:, 0], self.upper[:, 1])
        bottom = np.interp(from_x, self.lower[:, 0], self.lower[:, 1])
        rest = float((self.lower[:, 1] - np.interp(self.lower[:, 0], *self.upper.T)).max())
        gap = jaw * WIDEST_GAP_PX * k
        closed, opened = max(0.0, 1 - gap / rest), max(0.0, gap - rest)

        half = (right[0] - left[0]) / 2
        down = np.clip((ys - bottom) / (self.chin_y - bottom), 0, 2)
        sideways = np.clip(np.abs(from_x - middle) / (half * (1.12 + 0.75 * np.clip(down, 0, 1))), 0, 1)
        bell = np.cos(np.pi / 2 * sideways) ** 2
        jaw_reach = bell * np.where(down < 1, 1 - 0.25 * down, 0.75 * np.clip(1 - (down - 1) / 0.55, 0, 1) ** 2)
        near_lip = np.exp(-((np.maximum(ys - bottom, 0) / (14 * k)) ** 2))
        lower_move = 0.9 * opened * jaw_reach - 0.62 * closed * (bottom - top) * near_lip
        above = np.exp(-((np.maximum(top - ys, 0) / (8 * k)) ** 2))
        upper_move = 0.38 * closed * (bottom - top) * above - 0.1 * opened * bell * above

        lower_y, upper_y = ys - lower_move, ys - upper_move
        picture = self.still
        lower_part = self._sample(picture, from_x, np.maximum(lower_y, bottom))
        upper_part = self._sample(picture, from_x, np.minimum(upper_y, top))
        teeth = self._sample(picture, from_x, np.clip(ys, top, bottom))
        is_lower = np.clip((lower_y - bottom) / 1.5 + 0.5, 0, 1)[..., None]
        is_upper = np.clip((top - upper_y) / 1.5 + 0.5, 0, 1)[..., None]
        in_mouth = np.clip(np.minimum(from_x - left[0], right[0] - from_x) / (1.5 * k), 0, 1)[..., None]
        is_lower = 1 - (1 - is_lower) * in_mouth  # beside the corners both lips meet
        depth = np.clip((ys - bottom) / (8 * k), 0, 1)[..., None]
        inside = INSIDE_BGR + (TONGUE_BGR - INSIDE_BGR) * depth * (1 - 0.6 * sideways[..., None])
        is_teeth = np.clip((bottom - 0.6 * k - ys) / (1.2 * k) + 0.5, 0, 1)[..., None]
        in_shadow = np.clip(0.72 + (ys - top) / (10 * k), 0.5, 1)[..., None]
        mouth = teeth * in_shadow * is_teeth + inside * (1 - is_teeth)
        part = upper_part * is_upper + (1 - is_upper) * (lower_part * is_lower + mouth * (1 - is_lower))
        made = picture.copy()
        made[y0:y1, x0:x1] = part
        return made

    def _blink(self, picture: np.ndarray, eyelid: float) -> np.ndarray:
        """The upper lid, stretched down over an eye that stays where it is."""
        if eyelid <= 0:
            return picture
        k, made = self.scale, picture.copy()
        for lid, under in self.eyes:
            x0, x1 = int(lid[0, 0]), int(lid[-1, 0]) + 1
            y0, y1 = int(lid[:, 1].min() - 8 * k), int(under[:, 1].max() + 2 * k)
            xs, ys = self.xs[y0:y1, x0:x1], self.ys[y0:y1, x0:x1]
            was = np.interp(xs, lid[:, 0], lid[:, 1]) + 0.5 * k
            now = was + eyelid * np.maximum(np.interp(xs, under[:, 0], under[:, 1]) - was, 0)
            brow, lashes = was - 6 * k, 2.8 * k  # the skin stretches, the lashes go along as they are
            stretched = brow + (ys - brow) * (was - lashes - brow) / (now - lashes - brow)
            skin = self._sample(picture, xs, np.where(ys > now - lashes, ys - now + was, stretched))
            covers = (np.clip((now - ys) / 1.5 + 0.5, 0, 1) * (ys > brow))[..., None]
            made[y0:y1, x0:x1] = skin * covers + picture[y0:y1, x0:x1] * (1 - covers)
        return made

    def _sway(self, picture: np.ndarray, head: np.ndarray) -> np.ndarray:
        """`head`: right, down, turn in px of the portrait, roll in radians. Shoulders and wall stay."""
        right, down, turn, roll = head
        move_x = right + turn * self.bulge
        x = self.xs - self.belongs * (move_x * self.scale + roll * (self.centre[1] - self.ys + self.axes[1]))
        y = self.ys - self.belongs * (down * self.scale + roll * (self.xs - self.centre[0]))
        return self._sample(picture, x, y)

    @staticmethod
    def _sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        import cv2

        maps = x.astype(np.float32), y.astype(np.float32)
        moved: np.ndarray = cv2.remap(picture, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return moved


def _head_motion(mouth: Mouthing, fps: float, seed: int) -> np.ndarray:
    """(T, 4): slow sums of sines with seeded phases, and a nod that goes with how loudly one speaks."""
    t = np.arange(len(mouth.jaw)) / fps
    rng = np.random.default_rng(seed + 1)

    def wander(amplitude: float) -> np.ndarray:
        rates_hz, phases = rng.uniform(0.15, 0.8, 4), rng.uniform(0, 2 * np.pi, 4)
        return np.asarray(amplitude * np.sin(2 * np.pi * np.outer(t, rates_hz) + phases).sum(axis=1) / 2)

    return np.stack([wander(3.2), wander(1.5) + 2.5 * mouth.loudness, wander(2.5), wander(0.02)], axis=1)


def _blinks(num_frames: int, fps: float, seed: int) -> np.ndarray:
    """How far the lid is down, 0 to 1: a blink of a quarter of a second every two to five seconds."""
    rng = np.random.default_rng(seed + 2)
    t, lid, at = np.arange(num_frames) / fps, np.zeros(num_frames), rng.uniform(0.6, 2.0)
    while at < num_frames / fps:
        since = t - at
        lid = np.maximum(lid, np.clip(np.minimum(since / 0.08, (0.26 - since) / 0.14), 0, 1))
        at += rng.uniform(2.0, 5.0)
    return lid
