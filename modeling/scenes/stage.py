"""What every drawn scene shares: its canvas, its chance, photographs to put on it, and letters to write with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

FPS = 5
NUM_FRAMES = 16
SHOWN = tuple(range(0, NUM_FRAMES, FPS))
"""Scenes run at 5 fps; one frame a second is drawn, as the content filter looks at no more."""
WORDS = (
    *("open", "save", "build", "test", "result", "value", "index", "model", "budget", "quarter", "growth", "market"),
    *("region", "launch", "plan", "team", "review", "data", "notes", "chapter", "summary", "method", "figure", "table"),
    *("import", "return", "class", "while", "print", "error", "config", "server", "client", "window"),
)

PHOTO_COLOURS = 0.5
"""Share of the colours that scenes to train on take from a photograph."""

T = TypeVar("T")
Colour = tuple[int, int, int]
ACCENTS = ((52, 120, 246), (40, 160, 90), (220, 90, 50), (150, 80, 200), (200, 160, 30))


@dataclass(frozen=True)
class Art:
    """Pictures by artists: `pictures` and `screens` of games RGB, `figures` and `people` RGBA, all uint8 (H, W, C), and
    `blocks`, RGB textures of one size."""

    pictures: Sequence[np.ndarray]
    figures: Sequence[np.ndarray]
    people: Sequence[np.ndarray]
    screens: Sequence[np.ndarray]
    blocks: Sequence[np.ndarray]


@dataclass(frozen=True)
class Stage:
    """One scene to be drawn. `held_out` scenes use styles that no other scene uses: they judge, they never train. `art`,
    of scenes to train on, adds styles made of it."""

    rng: np.random.Generator
    width_px: int
    height_px: int
    photos: Sequence[np.ndarray]
    held_out: bool = False
    art: Art | None = None

    def pick(self, train: Sequence[T], held_out: Sequence[T]) -> T:
        """One style, of the training ones or of those held out."""
        choices = held_out if self.held_out else train
        return choices[int(self.rng.integers(len(choices)))]

    def colour(self, low: int = 0, high: int = 256) -> Colour:
        """Any colour, or in scenes to train on at times that of a place in a photograph, so that drawings are not told
        by colours that nothing in the world has; each of its values from low to high - 1."""
        if not self.held_out and self.rng.random() < PHOTO_COLOURS:
            image = self.photos[int(self.rng.integers(len(self.photos)))]
            place = image[int(self.rng.integers(image.shape[0])), int(self.rng.integers(image.shape[1]))]
            r, g, b = (int(v) for v in np.clip(place, low, high - 1))
            return (r, g, b)
        r, g, b = (int(v) for v in self.rng.integers(low, high, 3))
        return (r, g, b)

    def canvas(self, colour: Colour | Sequence[int] = (0, 0, 0)) -> np.ndarray:
        return np.full((self.height_px, self.width_px, 3), colour, np.uint8)

    def photo(self) -> np.ndarray:
        """One of the photographs, uint8 (H, W, 3), at times mirrored, brightened or tinted."""
        image = self.photos[int(self.rng.integers(len(self.photos)))]
        if self.rng.random() < 0.5:
            image = image[:, ::-1]
        gains = self.rng.uniform(0.75, 1.2) * self.rng.uniform(0.9, 1.1, 3)
        if self.rng.random() < 0.15:
            image = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
        return np.clip(image * gains, 0, 255).astype(np.uint8)

    def words(self, low: int, high: int) -> str:
        return " ".join(self.rng.choice(WORDS, int(self.rng.integers(low, high))))


Scene = Callable[[Stage], Iterator[np.ndarray]]


def cover(image: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    """The image scaled and cropped in the middle to fill (height, width)."""
    import cv2

    scale = max(width_px / image.shape[1], height_px / image.shape[0])
    size = (max(width_px, round(image.shape[1] * scale)), max(height_px, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    x, y = (size[0] - width_px) // 2, (size[1] - height_px) // 2
    return np.ascontiguousarray(scaled[y : y + height_px, x : x + width_px])


def write(image: np.ndarray, text: str, x: float, y: float, height_px: float, colour: Sequence[int]) -> None:
    """Text in smooth letters of a height, its top left at (x, y), into the image."""
    from PIL import Image, ImageDraw

    font = _font(max(6.0, height_px))
    left, top = max(0, int(x)), max(0, int(y))
    right = min(image.shape[1], int(x + font.getlength(text)) + 4)
    bottom = min(image.shape[0], int(y + 1.5 * height_px) + 2)
    if right <= left or bottom <= top:
        return
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    ImageDraw.Draw(part).text((x - left, y - top), text, tuple(colour), font)
    image[top:bottom, left:right] = np.asarray(part)


@cache
def _font(height_px: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(height_px)


def box(
    image: np.ndarray, x0: float, y0: float, x1: float, y1: float, colour: Sequence[int], line_px: int = -1
) -> None:
    """A rectangle, filled unless a line's width is given."""
    import cv2

    cv2.rectangle(image, (int(x0), int(y0)), (int(x1), int(y1)), tuple(int(c) for c in colour), line_px)


def smooth_noise(rng: np.random.Generator, height_px: int, width_px: int, cells: int) -> np.ndarray:
    """Float32 (H, W) of mean 0 and about unit size, that changes over 1 / `cells` of the width."""
    import cv2

    rows = max(2, round(cells * height_px / width_px) + 1)
    coarse = rng.normal(size=(rows, cells + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC))
