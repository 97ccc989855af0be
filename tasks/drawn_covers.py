"""Things drawn over a face at a known place, for the training and the judging of `occlusion`: hand, box, microphone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.face_geometry import CHIN, FOREHEAD, LIP_BOTTOM_OUTER, LIP_TOP_OUTER, OUTER_LIPS

CHEEKS = [50, 280, 205, 425]
GRAIN = 2.5
Draw = Callable[[np.ndarray, np.ndarray, np.ndarray, float, np.random.Generator, np.ndarray], None]


def mouth_center(points: np.ndarray) -> np.ndarray:
    return np.asarray(points[[LIP_TOP_OUTER, LIP_BOTTOM_OUTER], :2].mean(axis=0))


def face_height(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[CHIN, :2] - points[FOREHEAD, :2]))


def covered_image(
    image_rgb: np.ndarray, points: np.ndarray, kind: str, center: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A copy with a thing of `kind` drawn around `center`, and where it covers, float32 (H, W) 0 to 1.

    Its size goes by the face's; its edges are as soft as the picture's own.
    """
    import cv2

    paint = image_rgb.copy()
    mask = np.zeros(image_rgb.shape[:2], np.uint8)
    height = face_height(points)
    KINDS[kind](paint, mask, center, height, rng, _skin(image_rgb, points))
    cover = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.6, 0.006 * height))
    ys, xs = np.nonzero(cover > 0.002)
    if len(ys) == 0:
        return image_rgb.copy(), cover
    part = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    share = cover[part][..., None]
    grain = rng.normal(0, GRAIN, share.shape)
    mixed = image_rgb.copy()
    blend = image_rgb[part] * (1 - share) + (paint[part] + grain) * share
    mixed[part] = np.rint(np.clip(blend, 0, 255)).astype(np.uint8)
    return mixed, cover


def covers_mouth(cover: np.ndarray, points: np.ndarray) -> float:
    """Share of the lips' outline and inside that lies under a cover (H, W)."""
    return _share(cover, points[list(OUTER_LIPS), :2])


def covers_face(cover: np.ndarray, points: np.ndarray, oval: tuple[int, ...]) -> float:
    """Share of the face's oval that lies under a cover (H, W)."""
    return _share(cover, points[list(oval), :2])


def _share(cover: np.ndarray, outline: np.ndarray) -> float:
    import cv2

    inside = np.zeros(cover.shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(outline).astype(np.int32)], 1)
    return float(cover[inside > 0].mean()) if inside.any() else 0.0


def _skin(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    at = np.rint(points[CHEEKS, :2]).astype(int)
    height, width = image.shape[:2]
    return np.asarray(np.median(image[at[:, 1].clip(0, height - 1), at[:, 0].clip(0, width - 1)], axis=0))


def _box(
    paint: np.ndarray, mask: np.ndarray, center: np.ndarray, height: float, rng: np.random.Generator, _: np.ndarray
) -> None:
    """A slip, a phone, a caption: a turned rectangle of one colour or two, with or without letters."""
    import cv2

    size = rng.uniform([0.36, 0.24], [0.75, 0.5]) * height
    corners = np.rint(cv2.boxPoints((tuple(center), tuple(size), float(rng.uniform(-25, 25))))).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1, cv2.LINE_8)
    colour, other = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    if rng.random() < 0.3:
        colour[:] = colour.mean()
    ramp = np.linspace(0, rng.random(), paint.shape[1])[None, :, None]
    paint[:] = (colour * (1 - ramp) + other * ramp).astype(np.uint8)
    if rng.random() < 0.5:
        for line in range(3):
            at = (int(center[0] - size[0] / 2), int(center[1] + (line - 0.5) * 0.14 * height))
            letters = "".join(chr(rng.integers(65, 91)) for _ in range(12))
            cv2.putText(
                paint, letters, at, cv2.FONT_HERSHEY_SIMPLEX, height / 350, other.tolist(), max(1, int(height / 90))
            )


def _microphone(
    paint: np.ndarray, mask: np.ndarray, center: np.ndarray, height: float, rng: np.random.Generator, _: np.ndarray
) -> None:
    """A ball of foam or wire with light from one side, on a handle that leaves the picture below."""
    import cv2

    radius = rng.uniform(0.15, 0.24) * height
    tilt = rng.uniform(-0.5, 0.5)
    foot = center + 3 * height * np.array([np.sin(tilt), np.cos(tilt)])
    grey = rng.uniform(10, 110)
    tone = grey + rng.uniform(-12, 12, 3) if rng.random() < 0.8 else rng.uniform(20, 220, 3)
    paint[:] = np.clip(tone * 0.6, 0, 255).astype(np.uint8)
    ends = [tuple(int(v) for v in np.rint(p)) for p in (center, foot)]
    cv2.line(mask, ends[0], ends[1], 1, max(2, int(radius * rng.uniform(0.7, 1.1))))
    ys, xs = np.mgrid[: mask.shape[0], : mask.shape[1]]
    away = np.stack([xs - center[0], ys - center[1]], axis=-1) / radius
    inside = (away**2).sum(axis=-1) <= 1
    light = rng.uniform(-0.6, 0.6, 2)
    shade = 1.1 - 0.5 * ((away - light) ** 2).sum(axis=-1)
    grain = rng.normal(0, 1, mask.shape)
    if rng.random() < 0.5:
        pitch = max(2.0, radius / rng.uniform(6, 12))
        grain = 2 * ((xs // pitch + ys // pitch) % 2) - 1.0
    ball = tone * shade[..., None] + rng.uniform(3, 16) * grain[..., None]
    paint[inside] = np.clip(ball, 0, 255).astype(np.uint8)[inside]
    mask[inside] = 1


def _hand(
    paint: np.ndarray, mask: np.ndarray, center: np.ndarray, height: float, rng: np.random.Generator, skin: np.ndarray
) -> None:
    """Four rounded fingers side by side and a palm or a wrist, in the skin's own colour, shaded across each finger."""
    import cv2

    along = rng.uniform(0, 2 * np.pi)
    forward, across = np.array([np.cos(along), np.sin(along)]), np.array([-np.sin(along), np.cos(along)])
    thick = rng.uniform(0.09, 0.12) * height
    tone = np.clip(skin * rng.uniform(0.75, 1.12) + rng.uniform(-8, 8, 3), 0, 255)
    paint[:] = (tone * 0.55).astype(np.uint8)  # the gaps between fingers
    palm = center - forward * 0.45 * height
    wrist = center - forward * 1.6 * height
    ends = [tuple(int(v) for v in np.rint(p)) for p in (palm, wrist)]
    for canvas, colour in ((mask, (1, 1, 1)), (paint, tuple(tone.tolist()))):
        cv2.line(canvas, ends[0], ends[1], colour, int(3.6 * thick))
    for finger in range(4):
        side = (finger - 1.5) * thick * 1.02
        length = (0.30, 0.36, 0.34, 0.26)[finger] * height
        base = palm + across * side + forward * 0.1 * height
        tip = center + across * side + forward * (length - 0.15 * height)
        for share, light in ((1.0, 0.72), (0.8, 0.9), (0.5, 1.02), (0.2, 1.1)):
            ends = [tuple(int(v) for v in np.rint(p)) for p in (base, tip)]
            cv2.line(
                paint, ends[0], ends[1], np.clip(tone * light, 0, 255).tolist(), max(1, int(share * thick)), cv2.LINE_AA
            )
        cv2.line(mask, ends[0], ends[1], 1, max(1, int(thick)))
        nail = tip - forward * 0.01 * height
        cv2.circle(
            paint,
            tuple(int(v) for v in nail),
            max(1, int(0.28 * thick)),
            np.clip(tone * 1.12 + 8, 0, 255).tolist(),
            -1,
            cv2.LINE_AA,
        )


KINDS: dict[str, Draw] = {"hand": _hand, "box": _box, "microphone": _microphone}
