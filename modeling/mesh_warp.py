"""One picture of a person with its mesh, drawn with the mesh elsewhere: a piecewise affine warp that needs no training.

Around the face a grid carries hair and neck along and lies still at the picture's edge; each triangle takes its pixels from
the picture; the mouth's inside lies behind the lips. The engine draws so (serving/face_warp.py), and the renderer learns what
this leaves to be desired (modeling/renderer.py), so both must see the same pixels.

Legend: H, W the picture's height and width; N mesh points; V all vertices, the mesh's first; F triangles; G grid points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

NUM_FACE = 468
"""Points of the face's mesh; those of the irises come after them and are not drawn."""
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""Around the gap: from the subject's right corner along the lower lip to the left one, and back along the upper."""
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
STABLE_POINTS = (33, 133, 362, 263, 6, 168, 195, 197, 5, 4, 10, 151, 9, 8, 127, 356, 234, 454)
"""What speech hardly moves."""
SKULL = (2, 94, 164, 326, 97)
"""Between nose and lip: what speech moves least there."""

GRID_STEP_PX = 16
CLOSED_GAP = 0.04
"""In distances between the eyes: below it the lips of a picture are taken as closed."""
REACH = 1.75
"""In sizes of the face's outline: so far from its centre the head still pulls at its surroundings."""
LEAST_AREA_PX = 0.3
"""Twice the area of a triangle that is drawn."""
SOFT_PX = (5, 5)
"""Over which the places that pixels come from are averaged: edges of triangles bend no lines."""
LIPS_APART_PX = (0.4, 1.6)
"""From the first to the second gap the mouth's inside comes to be seen."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the picture."""


@dataclass(frozen=True)
class Plate:
    """What is warped. `picture` and `inside` RGB uint8 (H, W, 3): the mouth's inside, where it lies in the picture;
    `points` float64 (478, 3), the picture's mesh in its pixels, z smaller toward the viewer."""

    picture: np.ndarray
    points: np.ndarray
    inside: np.ndarray


class MeshWarp:
    """Draws one plate with its vertices elsewhere. `triangles_F3` are the face's, as the canonical face has them, and
    `depth_N` the height of its points toward the viewer. Holds no state."""

    def __init__(
        self, plate: Plate, still_N2: np.ndarray, triangles_F3: np.ndarray, depth_N: np.ndarray, across_px: float,
        lids: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.plate, self.still = plate, still_N2[:NUM_FACE]
        self.height, self.width = plate.picture.shape[:2]
        self.around, self.carried, self.follows = self._surroundings()
        self.whole: np.ndarray = np.concatenate([self.still, self.around])
        self.triangles, self.in_eye = self._all_triangles(triangles_F3, depth_N, lids)
        # Lips that touch in the picture may lie a little apart in the mesh: nothing shows between them.
        gap = float(np.linalg.norm(self.still[14] - self.still[13]))
        self.closed_px = gap if gap < CLOSED_GAP * across_px else 0.0

    def vertices(self, face_N2: np.ndarray) -> np.ndarray:
        """(V, 2) of a face whose head turns by little: the skin beside its outline is pulled along, the rest stays."""
        face = face_N2[:NUM_FACE]
        oval = list(FACE_OVAL)
        return np.concatenate([face, self.around + self.follows @ (face[oval] - self.still[oval])])

    def draw(self, vertices_V2: np.ndarray, lids_V2: np.ndarray | None = None, box: Box | None = None) -> np.ndarray:
        """RGB uint8 of the whole picture, or of a box of it; see `warped` and `with_inside`."""
        return self.with_inside(self.warped(vertices_V2, lids_V2, box), vertices_V2, box)

    def warped(self, vertices_V2: np.ndarray, lids_V2: np.ndarray | None = None, box: Box | None = None) -> np.ndarray:
        """Without the mouth's inside. `lids_V2` is where triangles that do not lie between lids take their pixels, by default
        where the picture's own mesh is."""
        map_x, map_y = self._maps(vertices_V2, self.whole if lids_V2 is None else lids_V2, box)
        made: np.ndarray = cv2.remap(self.plate.picture, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return made

    def with_inside(self, picture: np.ndarray, vertices_V2: np.ndarray, box: Box | None = None) -> np.ndarray:
        """The mouth's inside, where the lips are apart; it goes with the skull, so lips slide over the teeth."""
        left, top = box[:2] if box else (0, 0)
        lips = vertices_V2[list(INNER_LIPS)] - [left, top]
        gap = float(np.linalg.norm(vertices_V2[14] - vertices_V2[13])) - self.closed_px
        seen = np.clip((gap - LIPS_APART_PX[0]) / (LIPS_APART_PX[1] - LIPS_APART_PX[0]), 0, 1)
        if seen <= 0:
            return picture
        x0, y0 = np.maximum(np.floor(lips.min(axis=0)).astype(int) - 4, 0)
        x1, y1 = np.ceil(lips.max(axis=0)).astype(int) + 5
        place = (slice(y0, min(y1, picture.shape[0])), slice(x0, min(x1, picture.shape[1])))
        if not picture[place].size:
            return picture
        mask = np.zeros(picture[place].shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint((lips - [x0, y0]) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        share = cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32)[..., None] * np.float32(seen / 255)
        moved = (vertices_V2[list(SKULL)] - self.still[list(SKULL)]).mean(axis=0)
        shift = np.array([[1, 0, left + x0 - moved[0]], [0, 1, top + y0 - moved[1]]], np.float32)
        inside = cv2.warpAffine(
            self.plate.inside, shift, mask.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        depth = cv2.GaussianBlur(mask, (0, 0), 2.5).astype(np.float32)[..., None] / 255
        shaded = inside.astype(np.float32) * (0.6 + 0.4 * depth)
        made = picture.copy()
        made[place] = np.rint(picture[place] * (1 - share) + shaded * share).astype(np.uint8)
        return made

    def _surroundings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The grid's points (G, 2), how far each is carried by the head (G, 1), and by which of the outline (G, 36)."""
        oval = self.still[list(FACE_OVAL)]
        step = GRID_STEP_PX
        xs = np.linspace(0, self.width - 1, self.width // step + 1)
        ys = np.linspace(0, self.height - 1, self.height // step + 1)
        grid: np.ndarray = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        contour = oval.astype(np.float32).reshape(-1, 1, 2)
        away = np.array([-cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in grid])
        grid, away = grid[away > 0.4 * step], away[away > 0.4 * step]
        size = float(np.sqrt(cv2.contourArea(contour) / np.pi))
        chin_y = oval[:, 1].max()
        # Beside and above the face hair and ears are the head's; below the chin there is only the neck.
        below = np.clip((grid[:, 1] - chin_y) / (0.75 * size), 0, 1)
        out = np.clip(away / size - 0.45, 0, None) / (REACH - 0.45)
        edge = np.min([grid[:, 0], grid[:, 1], self.width - 1 - grid[:, 0], self.height - 1 - grid[:, 1]], axis=0)
        loose = np.clip(1 - out, 0, 1) * (1 - below) * np.clip(edge / (1.5 * step), 0, 1)
        carried = loose * loose * (3 - 2 * loose)
        distance = np.linalg.norm(grid[:, None] - oval[None], axis=-1)
        near = np.exp(-((distance / (0.25 * size)) ** 2))
        follows = near / np.maximum(near.sum(axis=1, keepdims=True), 1e-9)
        follows *= (np.exp(-((away / (0.45 * size)) ** 2)) * (edge > 0))[:, None]
        return grid, carried[:, None], follows

    def _all_triangles(
        self, faces_F3: np.ndarray, depth_N: np.ndarray, lids: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(F, 3): the grid's and the outline's, by Delaunay, then over them the face's, the nearest last; and which lie
        between lids (F,). All go round clockwise on the screen when they are seen from the front. Where the face turns its
        cheek away, what lies under it shows."""
        from scipy.spatial import Delaunay

        oval = np.array(FACE_OVAL)
        index = np.concatenate([oval, NUM_FACE + np.arange(len(self.around))])
        places = np.concatenate([self.still[oval], self.around])
        found = Delaunay(places).simplices
        depth = depth_N[faces_F3].mean(axis=1)
        eyes: np.ndarray = np.all(np.isin(faces_F3, list(lids)), axis=1)
        order = np.lexsort((depth, ~eyes))  # lids shut over the eyes
        around = index[found]
        turned = _twice_area(self.whole[around]) < 0
        around[turned] = around[turned][:, [0, 2, 1]]
        in_eye = np.concatenate([np.zeros(len(around), bool), eyes[order]])
        return np.concatenate([around, faces_F3[order][:, [0, 2, 1]]]), in_eye

    def _maps(self, vertices_V2: np.ndarray, lids_V2: np.ndarray, box: Box | None) -> tuple[np.ndarray, np.ndarray]:
        """For each pixel where it comes from, two float32 (H, W)."""
        x0, y0, x1, y1 = box or (0, 0, self.width, self.height)
        to = vertices_V2[self.triangles]
        origin, edges = to[:, 0], to[:, 1:] - to[:, :1]
        signed = _twice_area(to)
        area = np.where(np.abs(signed) < 1e-3, 1e-3, signed)
        inverse = (
            np.stack(
                [np.stack([edges[:, 1, 1], -edges[:, 1, 0]], 1), np.stack([-edges[:, 0, 1], edges[:, 0, 0]], 1)], 1
            )
            / area[:, None, None]
        )  # (F, 2, 2): shares of the two edges by x and y
        begin = np.where(self.in_eye[:, None, None], self.whole[self.triangles], lids_V2[self.triangles])
        run = begin[:, 1:] - begin[:, :1]
        linear = np.einsum("fek,fed->fdk", inverse, run)  # from pixels here to pixels there
        shift = begin[:, 0] - np.einsum("fdk,fk->fd", linear, origin)
        planes = np.concatenate([linear.reshape(-1, 4), shift], axis=1).astype(np.float32)
        # Where no triangle lies a pixel stays its own.
        planes = np.concatenate([planes, np.array([[1, 0, 0, 1, 0, 0]], np.float32)])
        owner = np.full((y1 - y0, x1 - x0), len(planes) - 1, np.int32)
        corners = np.rint((to - [x0, y0]) * 16).astype(np.int32)
        # What is turned away, or thin as a line, would only leave specks: its neighbours cover it.
        drawn = signed > LEAST_AREA_PX
        if box is not None:
            drawn &= ((to.max(axis=1) >= [x0, y0]) & (to.min(axis=1) < [x1, y1])).all(axis=1)
        for number in np.flatnonzero(drawn):
            cv2.fillConvexPoly(owner, corners[number], int(number), cv2.LINE_8, 4)
        per_pixel = planes[owner]
        x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)[:, None]
        map_x = per_pixel[..., 0] * x + per_pixel[..., 1] * y + per_pixel[..., 4]
        map_y = per_pixel[..., 2] * x + per_pixel[..., 3] * y + per_pixel[..., 5]
        return cv2.blur(map_x, SOFT_PX), cv2.blur(map_y, SOFT_PX)


def _twice_area(corners_F32: np.ndarray) -> np.ndarray:
    """Of triangles (F, 3, 2), > 0 for those that go round clockwise on the screen."""
    edges = corners_F32[:, 1:] - corners_F32[:, :1]
    return np.asarray(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
