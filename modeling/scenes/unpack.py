"""Takes art and photographs out of free games as Debian packs them, for modeling/scenes/art.py; data card: content.md.

    apt-get download gcompris-qt-data wesnoth-1.16-data neverball-data minetest-data
    for p in *.deb; do dpkg-deb -x "$p" UNPACKED; done
    python -m modeling.scenes.unpack UNPACKED ART PHOTOS         needs rsvg-convert, of Debian's librsvg2-bin

PHOTOS gets only the photographs among the games' pictures; those of other sources, as the data card lists them, are copied
there by hand.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from modeling.scenes.art import FOLDERS, MAX_ART_PX

NUM_DRAWINGS, DRAWING_PX = 170, 900
"""The largest of GCompris's vector drawings, by size of the file, and the longest side they are rendered at."""
LEFT_OUT = (
    *("calendar", "checkers", "chess", "digital", "nine_men", "money", "roman", "alphabet", "braille"),
    "menu_6",
)
"""Drawings of GCompris that show boards and letters, which other kinds of scenes are made of; and one more, which the
published weights did not see either."""
PHOTOGRAPHS = ("erase", "explore_farm_animals", "explore_monuments", "explore_world_animals")
"""Activities of GCompris that show photographs."""
PAINTED = ("babyshapes",)
PEOPLE = ("humans", "elves", "dwarves", "merfolk", "orcs", "undead", "dunefolk", "goblins", "trolls")
MIN_PICTURE_PX, MAX_PICTURE_PX = (500, 300), 1300


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Take art and photographs out of unpacked games.")
    parser.add_argument("unpacked", type=Path, help="folder that the packages were unpacked into")
    parser.add_argument("art", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rsvg", default="rsvg-convert", help="the command that renders vector drawings")
    options = parser.parse_args(argv)
    games = options.unpacked / "usr/share/games"
    for folder in (options.photos, *(options.art / name for name in FOLDERS)):
        folder.mkdir(parents=True, exist_ok=True)
    packed = sorted((options.unpacked / "usr/share/gcompris-qt/rcc").glob("*.rcc"))
    if not packed:
        parser.error(f"{options.unpacked}: GCompris is not there; unpack gcompris-qt-data with dpkg-deb -x")
    _pictures(packed, options.art, options.photos)
    _drawings(packed, options.art, options.rsvg)
    _people(games / "wesnoth/1.16/data/core/images", options.art)
    for file in sorted((games / "neverball").glob("shot-*/*"))[::4]:
        _write(options.art / "screens" / f"{file.parent.name}_{file.stem}.png", _read(file)[..., :3])
    for file in sorted((games / "minetest/games/minetest_game/mods/default/textures").glob("default_*.png")):
        image = _read(file)
        if image.shape[:2] == (16, 16) and (image.ndim == 2 or image.shape[2] == 3 or image[..., 3].min() > 250):
            _write(options.art / "blocks" / file.name, image if image.ndim == 2 else image[..., :3])
    for name in FOLDERS:
        print(f"{name}: {len(list((options.art / name).iterdir()))}")
    print(f"photographs: {len(list(options.photos.iterdir()))}")


def _pictures(packed: Sequence[Path], art: Path, photos: Path) -> None:
    """GCompris's WebP pictures without holes: photographs and painted ones."""
    import cv2

    for file in packed:
        if file.stem not in PHOTOGRAPHS + PAINTED:
            continue
        for k, image in enumerate(webp_in(file.read_bytes())):
            high, wide = image.shape[:2]
            whole = image.ndim == 3 and (image.shape[2] == 3 or (image[..., 3] > 250).mean() > 0.95)
            if min(high, wide) < 200 or not whole:
                continue
            if wide > MAX_PICTURE_PX:
                image = np.asarray(
                    cv2.resize(image, None, fx=1000 / wide, fy=1000 / wide, interpolation=cv2.INTER_AREA)
                )
            if image.shape[1] < MIN_PICTURE_PX[0] or image.shape[0] < MIN_PICTURE_PX[1]:
                continue
            if file.stem in PAINTED:
                _write(art / "pictures" / f"gc_{file.stem}_{k}.png", image[..., :3])
            else:
                cv2.imwrite(str(photos / f"gc_{file.stem}_{k}.jpg"), image[..., :3], [cv2.IMWRITE_JPEG_QUALITY, 95])


def webp_in(data: bytes) -> Iterator[np.ndarray]:
    """The WebP pictures, BGR or BGRA, that lie uncompressed in a file of resources, in its order."""
    import cv2

    for found in re.finditer(b"RIFF....WEBP", data, re.DOTALL):
        size = struct.unpack("<I", data[found.start() + 4 : found.start() + 8])[0] + 8
        part = np.frombuffer(data[found.start() : found.start() + size], np.uint8)
        image = cv2.imdecode(part, cv2.IMREAD_UNCHANGED)
        if image is not None:
            yield np.asarray(image)


def svg_in(data: bytes) -> Iterator[bytes]:
    """The vector drawings in a file of resources, where each lies as a zlib stream, in its order."""
    for found in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        try:
            text = zlib.decompressobj().decompress(data[found.start() :])
        except zlib.error:  # two bytes that are no stream's head
            continue
        if b"<svg" in text[:3000]:
            yield text


def _drawings(packed: Sequence[Path], art: Path, rsvg: str) -> None:
    """GCompris's largest vector drawings: those that fill their canvas as pictures, those cut out as figures."""
    import cv2

    drawings = [(f"{file.stem}_{k}", text) for file in packed for k, text in enumerate(svg_in(file.read_bytes()))]
    for name, text in sorted(drawings, key=lambda d: len(d[1]), reverse=True)[:NUM_DRAWINGS]:
        if name.startswith(LEFT_OUT):
            continue
        command = [rsvg, "--keep-aspect-ratio", "-w", str(DRAWING_PX), "-h", str(DRAWING_PX)]
        made = subprocess.run(command, input=text, capture_output=True, check=False)
        image = cv2.imdecode(np.frombuffer(made.stdout or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
        if made.returncode or image is None:
            print(f"{name}: left out, {rsvg} does not render it")
            continue
        if image.shape[2:] != (4,):
            continue
        filled = float((image[..., 3] > 250).mean())
        if filled > 0.93 and min(image.shape[:2]) >= MIN_PICTURE_PX[1]:
            _write(art / "pictures" / f"{name}.png", image[..., :3])
        elif 0.12 < filled < 0.85:
            _write(art / "figures" / f"{name}.png", image)


def _people(images: Path, art: Path) -> None:
    """Wesnoth's portraits, cut to what they show, and the pictures of its story."""
    for file in sorted((images / "story").iterdir()):
        _write(art / "pictures" / f"w_{file.stem}.png", _read(file)[..., :3])
    for people in PEOPLE:
        for file in sorted((images / "portraits" / people).glob("*.*")):
            image = _read(file)
            if image.ndim != 3 or image.shape[2] != 4:
                continue
            y, x = np.nonzero(image[..., 3] > 20)
            if len(y):
                _write(
                    art / "people" / f"{people}_{file.stem}.png", image[y.min() : y.max() + 1, x.min() : x.max() + 1]
                )


def _read(file: Path) -> np.ndarray:
    """BGR, BGRA or gray. Raises ValueError for a file that is no image."""
    import cv2

    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{file}: not an image that OpenCV reads")
    return np.asarray(image)


def _write(file: Path, image: np.ndarray) -> None:
    """Made small where it is larger than art is read at."""
    import cv2

    scale = min(1.0, MAX_ART_PX / max(image.shape[:2]))
    cv2.imwrite(str(file), cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main()
