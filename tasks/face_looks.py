"""How a face and what is around it look on one frame: light, ground, colour of the skin. Rules, each with its reason.

Colours are RGB in 0..1 of the proxy, which no one has calibrated: what is told of skin is told of it in this light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.face_geometry import Box

CHEEKS = (50, 280)
"""The subject's right and left cheek, under the eye; with FOREHEAD the places that beards and glasses leave free."""
FOREHEAD = 151
PATCH_RATIO = 0.06
"""Radius of a patch of skin, in face widths."""

DARK, LOW_KEY, HIGH_KEY = 0.2, 0.27, 0.72
BACKLIT = 0.25
SIDE_LIT_OCTAVES = 0.9

MIN_GROUND_RATIO = 0.06
PLAIN_GRADIENT, BLURRED_DETAIL = 1.6, 2.2
"""Gray levels: mean step between neighbours, and mean Laplacian, at 320 px."""
KEYED_GREEN, KEYED_BLUE = 0.17, 0.3
"""By how much the colour stands above both others: painted walls are rarely so green, skies and shirts more often so blue."""

# Chardon, Cretois and Hourseau, Int. J. Cosmetic Science 1991.
ITA_BANDS = ((55, "very_light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"))


@dataclass(frozen=True)
class Looks:
    """One frame. `ita_deg` is None where no skin could be measured."""

    lighting: str
    background: str
    ita_deg: float | None


def looks(image_rgb: np.ndarray, points: np.ndarray | None, face: Box | None) -> Looks:
    """Of a frame (H, W, 3) uint8, its mesh points (478, 2 or more) and face box in pixels of that frame, if any."""
    patches = [] if points is None or face is None else skin_patches(image_rgb, points, face)
    light = image_rgb.astype(np.float32).mean(axis=2) / 255
    ground = around(light.shape, face)
    return Looks(lighting(light, ground, patches), background(image_rgb, ground), ita(patches))


def skin_patches(image_rgb: np.ndarray, points: np.ndarray, face: Box) -> list[np.ndarray]:
    """Median colours, float in 0..1, of right cheek, left cheek and forehead; empty when one lies outside the frame."""
    radius = max(1.0, PATCH_RATIO * (face.x1 - face.x0))
    height, width = image_rgb.shape[:2]
    patches = []
    for point in (*CHEEKS, FOREHEAD):
        x, y = points[point, :2]
        x0, x1, y0, y1 = (round(float(v)) for v in (x - radius, x + radius + 1, y - radius, y + radius + 1))
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            return []
        patches.append(np.median(image_rgb[y0:y1, x0:x1].reshape(-1, 3), axis=0) / 255)
    return patches


def around(shape: tuple[int, ...], face: Box | None) -> np.ndarray:
    """Mask of what is behind: all but the head with its hair and the body below it. Without a face, everything."""
    ground = np.ones(shape[:2], bool)
    if face is not None:
        wide, high = face.x1 - face.x0, face.y1 - face.y0
        top = max(0, round(face.y0 - 0.45 * high))
        ground[top:, max(0, round(face.x0 - 0.5 * wide)) : max(0, round(face.x1 + 0.5 * wide))] = False
        ground[max(0, round(face.y1)) :, max(0, round(face.x0 - 1.4 * wide)) : max(0, round(face.x1 + 1.4 * wide))] = (
            False
        )
    return ground


def lighting(light: np.ndarray, ground: np.ndarray, patches: list[np.ndarray]) -> str:
    """dark, backlit, side_lit, low_key, high_key or even; the first that holds."""
    mean = float(light.mean())
    if not patches:
        return "dark" if mean < DARK else "low_key" if mean < LOW_KEY else "high_key" if mean > HIGH_KEY else "even"
    right, left = (float(p.mean()) for p in patches[:2])
    skin = (right + left) / 2
    behind = float(light[ground].mean()) if ground.any() else mean
    if max(mean, skin) < DARK:
        return "dark"
    if behind - skin > BACKLIT and ground.mean() >= MIN_GROUND_RATIO:
        return "backlit"
    if abs(np.log2((right + 0.02) / (left + 0.02))) > SIDE_LIT_OCTAVES:
        return "side_lit"
    return "low_key" if mean < LOW_KEY else "high_key" if mean > HIGH_KEY else "even"


def background(image_rgb: np.ndarray, ground: np.ndarray) -> str:
    """hidden (the subject fills the frame), keyed (green or blue screen), plain, blurred or detailed."""
    import cv2

    if ground.mean() < MIN_GROUND_RATIO:
        return "hidden"
    gray = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    steps = np.abs(np.diff(gray.astype(np.int16), axis=1, prepend=gray[:, :1].astype(np.int16)))
    colours = image_rgb[ground].astype(np.float32) / 255
    red, green, blue = np.median(colours, axis=0)
    spread = float(np.abs(colours - np.median(colours, axis=0)).mean())
    if (green - max(red, blue) > KEYED_GREEN or blue - max(red, green) > KEYED_BLUE) and spread < 0.08:
        return "keyed"
    if float(steps[ground].mean()) < PLAIN_GRADIENT:
        return "plain" if float(gray[ground].std()) < 40 else "blurred"
    detail = np.abs(cv2.Laplacian(gray, cv2.CV_16S))
    return "blurred" if float(detail[ground].mean()) < BLURRED_DETAIL else "detailed"


def ita(patches: list[np.ndarray]) -> float | None:
    """Individual typology angle in degrees, -90 (dark) to 90 (light), of the median patch; None without patches.

    Source: Chardon et al. 1991: atan((L* - 50) / b*).
    """
    import cv2

    if not patches:
        return None
    colour = np.median(patches, axis=0).astype(np.float32)
    lightness, _, b = (float(v) for v in cv2.cvtColor(colour.reshape(1, 1, 3), cv2.COLOR_RGB2LAB)[0, 0])
    # Skin has b* > 0; at most gray light takes it away, and then the angle says nothing but light or dark.
    return float(np.degrees(np.arctan2(lightness - 50, max(b, 1.0))))


def tone_of(ita_deg: float) -> str:
    """The six bands of Chardon et al., from very_light to dark."""
    return next((name for limit, name in ITA_BANDS if ita_deg > limit), "dark")
