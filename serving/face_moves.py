"""How the points of one face's mesh move with the nine motion parameters: by hand-made fields, without any training.

Everything is in the upright head of modeling/motion.py: x to the right of the image, y up, z toward the viewer, in units
of the distance between the eyes' outer corners. Four fields move the mouth; how much of each follows from the parameters
themselves, by least squares on what `mouth_of` measures on the moved mesh, so that a mouth opens as far as it was told.

Legend: N mesh points (468 of the face), M mouth parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modeling.mesh_warp import INNER_LIPS
from modeling.motion import CHIN, CORNERS, EARS, mouth_of

LOWER_LIP = (
    95, 88, 178, 87, 14, 317, 402, 318, 324, 96, 89, 179, 86, 15, 316, 403, 319, 325,
    77, 90, 180, 85, 16, 315, 404, 320, 307, 146, 91, 181, 84, 17, 314, 405, 321, 375,
)  # fmt: skip
UPPER_LIP = (
    191, 80, 81, 82, 13, 312, 311, 310, 415, 183, 42, 41, 38, 12, 268, 271, 272, 407,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 185, 40, 39, 37, 0, 267, 269, 270, 409,
)  # fmt: skip
OUTER_ROWS = slice(27, 36)
"""Of the two lips above: their outlines."""
UPPER_LIDS = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
LOWER_LIDS = ((7, 163, 144, 145, 153, 154, 155), (249, 390, 373, 374, 380, 381, 382))
OVER_LIDS = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
UNDER_LIDS = ((25, 110, 24, 23, 22, 26, 112), (255, 339, 254, 253, 252, 256, 341))
UNDER_BROWS = ((113, 225, 224, 223, 222, 221, 189), (342, 445, 444, 443, 442, 441, 413))
"""The subject's right eye first, each from its outer corner inward; those below each other close together."""

UPPER_SHARE = 0.2
"""Of an opening gap: the upper lip rises by so much of it, the lower lip and the jaw fall by the rest."""
LID_SHARES = ((UPPER_LIDS, 0.94), (OVER_LIDS, 0.55), (UNDER_BROWS, 0.12))
"""Of the way down to the lower lid, when the eye shuts."""
SOFTNESS = 0.02
"""Of the least squares: how dear it is to use a field."""
MOST = np.array([0.45, 0.3, 0.1, 12.0])
"""Of each field: a mesh is not pulled further."""


@dataclass(frozen=True)
class FaceMoves:
    """`upright` (N, 3) of the reference; `fields` (4, N, 3); `solve` (4, M), from wanted change to amounts of fields."""

    upright: np.ndarray
    mouth: np.ndarray
    fields: np.ndarray
    solve: np.ndarray

    def moved(self, mouth_M: np.ndarray, shut: tuple[float, float]) -> np.ndarray:
        """The mesh (N, 3) with a mouth of these raw parameters and lids so far shut, the subject's left first."""
        amounts = np.clip(self.solve @ (mouth_M - self.mouth), -MOST, MOST)
        made = self.upright + np.tensordot(amounts, self.fields, 1)
        for eye, share in ((0, shut[1]), (1, shut[0])):
            gap = made[list(LOWER_LIDS[eye])] - made[list(UPPER_LIDS[eye])]
            gap[:, 1] = np.minimum(gap[:, 1], 0)
            for rows, part in LID_SHARES:
                made[list(rows[eye])] += part * share * gap
            made[list(LOWER_LIDS[eye])] -= (1 - LID_SHARES[0][1]) * share * gap
        return np.asarray(made)


def face_moves(upright_NC: np.ndarray) -> FaceMoves:
    """The fields of one face, from its mesh turned upright (`modeling.motion.upright`)."""
    fields = _fields(upright_NC)
    before = mouth_of(upright_NC[None])[0]
    steps = np.array([0.05, 0.03, 0.01, 1.0])
    slopes = np.stack(
        [
            (mouth_of((upright_NC + step * field)[None])[0] - before) / step
            for step, field in zip(steps, fields, strict=True)
        ],
        axis=1,
    )
    unit = np.array([0.05, 0.05, 0.1, 2.0])  # what is a usual change of each parameter, so that none rules
    scaled = slopes / unit[:, None] * MOST
    solve = np.linalg.solve(scaled.T @ scaled + SOFTNESS * np.eye(4), scaled.T / unit) * MOST[:, None]
    return FaceMoves(upright_NC, before, fields, solve)


def _fields(points: np.ndarray) -> np.ndarray:
    """Opening, widening, pouting and turning the jaw: for 1 of gap, 1 of width, 1 of lips' height, 1 degree."""
    centre = points[list(CORNERS)].mean(axis=0)
    half = abs(points[CORNERS[1], 0] - points[CORNERS[0], 0]) / 2
    x, y = points[:, 0] - centre[0], points[:, 1] - centre[1]
    chin = centre[1] - points[CHIN, 1]
    lens = np.clip(1 - (x / half) ** 2, 0, 1)
    inner_half = abs(points[308, 0] - points[78, 0]) / 2
    lens[list(INNER_LIPS)] = np.clip(1 - (x[list(INNER_LIPS)] / inner_half) ** 2, 0, 1)
    lens = lens**0.8

    below = _smooth(-y / chin, -0.05, 0.35)
    below[list(LOWER_LIP)], below[list(UPPER_LIP)] = 1, 0
    jaw = _smooth(-y / chin, 0.25, 0.75) * np.exp(-((x / (2.6 * half)) ** 4))
    low = below * ((1 - jaw) * lens + jaw)
    low[list(INNER_LIPS)] = (below * lens)[list(INNER_LIPS)]
    high = (1 - below) * lens * _smooth(y / chin, 0.55, 0.1) * (y > -0.25 * chin)
    opening = np.zeros_like(points)
    opening[:, 1] = UPPER_SHARE * high - (1 - UPPER_SHARE) * low

    near = np.exp(-((x / (2.2 * half)) ** 4) - (y / (0.85 * chin)) ** 2)
    widening = np.zeros_like(points)
    widening[:, 0] = np.clip(x / half, -1.3, 1.3) / 2 * near
    widening[:, 2] = -0.15 * np.clip(abs(x) / half, 0, 1) * near

    pouting = np.zeros_like(points)
    for lip_rows, sign in ((UPPER_LIP, 1.0), (LOWER_LIP, -1.0)):
        outline = list(lip_rows)[OUTER_ROWS]
        pouting[outline, 1] = sign * lens[outline]
        for row in (1, 2):  # the rows between the gap and the outline follow in part
            between = list(lip_rows)[9 * row : 9 * row + 9]
            pouting[between, 1] = sign * row / 3 * lens[between]
    skin = np.setdiff1d(np.arange(len(points)), [*UPPER_LIP, *LOWER_LIP, *INNER_LIPS])
    around = np.exp(-((y[skin] / (0.55 * chin)) ** 4)) * np.exp(-((x[skin] / (1.3 * half)) ** 4)) * 0.7
    pouting[skin, 1] = np.sign(y[skin]) * around * np.clip(abs(y[skin]) / (0.3 * chin), 0, 1)
    pouting[:, 2] = 0.5 * near * lens

    hinge = points[list(EARS)].mean(axis=0)
    turn = np.radians(1.0)
    turning = np.zeros_like(points)
    turning[:, 1] = -turn * (points[:, 2] - hinge[2]) * jaw
    turning[:, 2] = turn * (points[:, 1] - hinge[1]) * jaw
    return np.stack([opening, widening, pouting, turning])


def _smooth(value: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 at the start, 1 at the end, without a corner."""
    share = np.clip((value - start) / (end - start), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
