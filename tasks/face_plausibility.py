"""How lopsided, restless or one-eyed a face mesh is: what real faces hardly are, and made ones may be."""

from __future__ import annotations

import numpy as np

from tasks.face_geometry import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, STABLE_POINTS, align_by_similarity

FRONTAL_SHARE = 0.25
BLINK_DROP, OPEN_AGAIN, MAX_BLINK_FRAMES = 0.4, 0.25, 12
"""A lid's gap, against its own median over the clip, shut by 40 % is a blink until it is within 25 %; 0.5 s at most."""

_PAIRS = (
    (33, 263), (133, 362), (61, 291), (70, 300), (63, 293), (105, 334), (66, 296), (107, 336), (159, 386), (145, 374),
    (98, 327), (64, 294), (109, 338), (67, 297), (103, 332), (54, 284), (21, 251), (162, 389), (127, 356), (234, 454),
    (93, 323), (132, 361), (58, 288), (172, 397), (136, 365), (150, 379), (149, 378), (176, 400), (148, 377), (37, 267),
    (39, 269), (40, 270), (185, 409), (146, 375), (91, 321), (181, 405), (84, 314), (48, 278), (50, 280), (205, 425),
)  # fmt: skip
_MIDDLE = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 0, 13, 14, 17, 152)
FACE = (*(right for right, _ in _PAIRS), *(left for _, left in _PAIRS), *_MIDDLE)
MIRRORED = (*(left for _, left in _PAIRS), *(right for right, _ in _PAIRS), *_MIDDLE)
"""The point of FACE that each becomes in a mirror."""
LIDS = (((159, 158, 160), (145, 153, 144), (33, 133)), ((386, 385, 387), (374, 380, 373), (263, 362)))
"""Upper lid, lower lid, corners; right eye, left eye."""


def face_asymmetry(points_TNC: np.ndarray) -> float:
    """In distances of the eyes' outer corners; 0 for a face that is its own mirror image, however it is turned."""
    right, left = points_TNC[:, RIGHT_EYE_OUTER], points_TNC[:, LEFT_EYE_OUTER]
    turned = np.abs(np.arctan2(left[:, 2] - right[:, 2], np.maximum(np.hypot(*(left - right)[:, :2].T), 1e-6)))
    chosen = np.argsort(turned, kind="stable")[: max(1, int(FRONTAL_SHARE * len(points_TNC)))]
    spans = np.maximum(np.linalg.norm(left - right, axis=1), 1e-6)[chosen]
    face = points_TNC[chosen][:, FACE].astype(np.float64)
    mirror = points_TNC[chosen][:, MIRRORED] * np.array([-1.0, 1.0, 1.0])
    face -= face.mean(axis=1, keepdims=True)
    mirror -= mirror.mean(axis=1, keepdims=True)
    # Kabsch: the rotation, never a reflection, that lays the mirror image onto the face.
    u, _, vt = np.linalg.svd(np.swapaxes(mirror, 1, 2) @ face)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    off = face - mirror @ (u @ vt)
    return float(np.median(np.sqrt((off**2).sum(axis=2).mean(axis=1)) / spans))


def face_jitter(frames: np.ndarray, points_TNC: np.ndarray) -> float:
    """Median over the runs of three frames, in distances of the eyes' outer corners; 0 without such a run."""
    stable = align_by_similarity(points_TNC)[:, STABLE_POINTS, :2].astype(np.float64)
    whole = frames[2:] - frames[:-2] == 2
    second = stable[2:] - 2 * stable[1:-1] + stable[:-2]
    sizes = np.sqrt((second**2).sum(axis=2).mean(axis=1))[whole]
    return float(np.median(sizes)) if len(sizes) else 0.0


def eye_openness(points_TNC: np.ndarray) -> np.ndarray:
    """Gap of the lids over the width of the eye, (2, T): right, left."""
    opened = []
    for upper, lower, (outer, inner) in LIDS:
        gap = np.linalg.norm(points_TNC[:, upper, :2] - points_TNC[:, lower, :2], axis=2).mean(axis=1)
        opened.append(gap / np.maximum(np.linalg.norm(points_TNC[:, outer] - points_TNC[:, inner], axis=1), 1e-6))
    return np.stack(opened)


def blink_asymmetries(points_TNC: np.ndarray) -> list[float]:
    """For each blink, how much less one lid shuts than the other, 0 alike to 1 not at all."""
    opened = eye_openness(points_TNC)
    shut = 1 - opened / np.maximum(np.median(opened, axis=1, keepdims=True), 1e-6)
    farther = shut.max(axis=0)
    found, t = [], 0
    while t < len(farther):
        if farther[t] <= BLINK_DROP:
            t += 1
            continue
        after = np.flatnonzero(farther[t:] < OPEN_AGAIN)
        end = t + int(after[0]) if len(after) else len(farther)
        if end - t <= MAX_BLINK_FRAMES:
            depth = np.clip(shut[:, t:end].max(axis=1), 0, 1)
            found.append(float((depth.max() - depth.min()) / depth.max()))
        t = end
    return found
