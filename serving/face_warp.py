"""One picture of a person, moved as the nine motion parameters say: a landmark-driven warp, piecewise affine on a mesh.

The face's mesh moves by serving/face_moves.py and turns with the head; around it a grid carries hair, ears and neck along
and lies still at the picture's edge; each triangle takes its pixels from the picture. The mouth's inside lies behind.

Legend: H, W the picture's height and width; N mesh points; V all vertices, the mesh's first; F triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from modeling.motion import BLINKS, HEAD, HEAD_UNIT_DEG, MOUTH, Person
from serving.face_moves import INNER_LIPS, LOWER_LIDS, OVER_LIDS, UNDER_LIDS, UPPER_LIDS, FaceMoves, face_moves
from tasks.face_geometry import FACE_OVAL
from tasks.head_geometry import NUM_CANONICAL, angles_of, canonical_face, head_turns, turn_of

GRID_STEP_PX = 16
MOST_TURN_DEG = np.array([7.0, 6.0, 8.0])
"""Yaw, pitch and roll away from the picture's own pose: beyond it a flat picture looks flat."""
CLOSED_GAP = 0.04
"""In distances between the eyes: below it the lips of a picture are taken as closed."""
LEAST_YAW_DEG = 2.0
REACH = 1.75
"""In sizes of the face's outline: so far from its centre the head still pulls at its surroundings."""
LEAST_AREA_PX = 0.3
"""Twice the area of a triangle that is drawn."""
SOFT_PX = (5, 5)
"""Over which the places that pixels come from are averaged: edges of triangles bend no lines."""
BELOW_EYES = ((228, 229, 230, 231, 232), (448, 449, 450, 451, 452))
EYE_CORNERS = ((33, 133), (263, 362))
"""Outer and inner, the subject's right eye first."""
LID_SKIN, LID_PAINT, LASHES = 0.5, 0.75, 0.8
"""A shut lid takes its pixels from so far toward the skin around, since the mesh's lids lie within the eye as often as not;
what shows of the eye is painted over with skin; and so strong is the line along it."""
LIPS_APART_PX = (0.4, 1.6)
"""From the first to the second gap the mouth's inside comes to be seen."""


@dataclass(frozen=True)
class Plate:
    """What is warped. `picture` and `inside` RGB uint8 (H, W, 3): the mouth's inside, where it lies in the picture;
    `points` float64 (478, 3), the picture's mesh in its pixels, z smaller toward the viewer."""

    picture: np.ndarray
    points: np.ndarray
    inside: np.ndarray


class FaceWarp:
    """Draws one person. Holds no state: a frame follows from its parameters alone."""

    def __init__(self, plate: Plate, person: Person) -> None:
        self.plate, self.person = plate, person
        self._height, self._width = plate.picture.shape[:2]
        self._turn = head_turns(plate.points[None])[0]
        self._angles = angles_of(self._turn)
        upright = (plate.points[:NUM_CANONICAL] * [1, -1, -1]) @ self._turn
        self._across = float(np.linalg.norm(upright[33] - upright[263]))
        self.moves: FaceMoves = face_moves(upright / self._across)
        self._neck = self._pivot(upright)
        self._still = self._seen(self.moves.upright, self._turn)
        self._around, self._carried, self._follows = self._surroundings()
        self._behind = self._lifted(self._around)
        self._triangles, self._in_eye = self._all_triangles()
        self._lips = list(INNER_LIPS)
        # Lips that touch in the picture may lie a little apart in the mesh: nothing shows between them.
        gap = float(np.linalg.norm(self._still[14] - self._still[13]))
        self._closed_px = gap if gap < CLOSED_GAP * self._across else 0.0
        self._lid_colours = [
            self._colour_at(self._still[list(UNDER_LIDS[eye]) + list(BELOW_EYES[eye])]) for eye in (0, 1)
        ]

    def draw(self, motion_P: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one row of normalised motion."""
        vertices = self.vertices(motion_P)
        right, left = float(np.clip(motion_P[BLINKS][1], 0, 1)), float(np.clip(motion_P[BLINKS][0], 0, 1))
        map_x, map_y = self._maps(vertices, (right, left))
        picture = cv2.remap(self.plate.picture, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        self._shut_lids(picture, vertices, (right, left))
        return self._with_inside(picture, vertices)

    def vertices(self, motion_P: np.ndarray) -> np.ndarray:
        """Where all vertices lie, (V, 2) in pixels."""
        raw = self.person.raw(motion_P.astype(np.float64))
        shut = np.clip(motion_P[BLINKS], 0, 1)
        mesh = self.moves.moved(raw[MOUTH], (float(shut[0]), float(shut[1])))
        pitch, yaw, roll = motion_P[HEAD].astype(np.float64) * HEAD_UNIT_DEG
        away, most = np.array([yaw, pitch, roll]), MOST_TURN_DEG.copy()
        if away[0] * self._angles[0] > 0:  # further from the camera than in the picture: what it would show isn't there
            most[0] = max(LEAST_YAW_DEG, most[0] - abs(self._angles[0]) / 2)
        away = most * np.tanh(away / most)
        turn = turn_of(self._angles + away)
        face = self._seen(mesh, turn)
        stiff = self._seen(self.moves.upright, turn)
        # The grid goes with the head as far as it is carried, and with the skin beside it: a jaw that opens moves the neck.
        pulled = face[list(FACE_OVAL)] - stiff[list(FACE_OVAL)]
        around = self._around + self._carried * (self._seen(self._behind, turn) - self._around)
        around = around + self._follows @ pulled
        return np.concatenate([face, around])

    def _seen(self, upright_N3: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of points of the upright head; the neck stays where it is."""
        here = (upright_N3 * self._across) @ turn.T
        neck = self._neck @ turn.T - self._neck @ self._turn.T
        return np.asarray((here - neck)[:, :2] * [1, -1])

    def _pivot(self, upright_N3: np.ndarray) -> np.ndarray:
        """Where the head sits on the neck: between the ears, and half as far below as the chin is."""
        ears, chin = upright_N3[[234, 454]].mean(axis=0), upright_N3[152]
        return np.array([ears[0], ears[1] + 0.8 * (chin[1] - ears[1]), ears[2]])

    def _surroundings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The grid's points (G, 2), how far each is carried by the head (G, 1), and by which of the outline (G, 36)."""
        oval = self._still[list(FACE_OVAL)]
        step = GRID_STEP_PX
        xs = np.linspace(0, self._width - 1, self._width // step + 1)
        ys = np.linspace(0, self._height - 1, self._height // step + 1)
        grid: np.ndarray = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        contour = oval.astype(np.float32).reshape(-1, 1, 2)
        away = np.array([-cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in grid])
        grid, away = grid[away > 0.4 * step], away[away > 0.4 * step]
        size = float(np.sqrt(cv2.contourArea(contour) / np.pi))
        chin_y = oval[:, 1].max()
        # Beside and above the face hair and ears are the head's; below the chin there is only the neck.
        below = np.clip((grid[:, 1] - chin_y) / (0.75 * size), 0, 1)
        out = np.clip(away / size - 0.45, 0, None) / (REACH - 0.45)
        edge = np.min([grid[:, 0], grid[:, 1], self._width - 1 - grid[:, 0], self._height - 1 - grid[:, 1]], axis=0)
        loose = np.clip(1 - out, 0, 1) * (1 - below) * np.clip(edge / (1.5 * step), 0, 1)
        carried = loose * loose * (3 - 2 * loose)
        distance = np.linalg.norm(grid[:, None] - oval[None], axis=-1)
        near = np.exp(-((distance / (0.25 * size)) ** 2))
        follows = near / np.maximum(near.sum(axis=1, keepdims=True), 1e-9)
        follows *= (np.exp(-((away / (0.45 * size)) ** 2)) * (edge > 0))[:, None]
        return grid, carried[:, None], follows

    def _lifted(self, grid_G2: np.ndarray) -> np.ndarray:
        """The grid as points of the upright head, at the depth of the ears."""
        depth = (self._across * self.moves.upright[[234, 454]] @ self._turn.T)[:, 2].mean()
        seen = np.column_stack([grid_G2[:, 0], -grid_G2[:, 1], np.full(len(grid_G2), depth)])
        return np.asarray(seen @ self._turn / self._across)

    def _colour_at(self, places_N2: np.ndarray) -> np.ndarray:
        at = np.clip(np.rint(places_N2).astype(int), 0, [self._width - 1, self._height - 1])
        return np.asarray(np.median(self.plate.picture[at[:, 1], at[:, 0]], axis=0) * 0.92)

    def _all_triangles(self) -> tuple[np.ndarray, np.ndarray]:
        """(F, 3): the grid's and the outline's, by Delaunay, then over them the face's, the nearest last; and which lie
        between lids (F,). All go round clockwise on the screen when they are seen from the front. Where the face turns its
        cheek away, what lies under it shows."""
        from scipy.spatial import Delaunay

        oval = np.array(FACE_OVAL)
        index = np.concatenate([oval, NUM_CANONICAL + np.arange(len(self._around))])
        places = np.concatenate([self._still[oval], self._around])
        found = Delaunay(places).simplices
        faces = canonical_face().triangles
        depth = self.moves.upright[faces][:, :, 2].mean(axis=1)
        lids = [p for rows in (*UPPER_LIDS, *LOWER_LIDS, *EYE_CORNERS) for p in rows]
        eyes: np.ndarray = np.all(np.isin(faces, lids), axis=1)
        order = np.lexsort((depth, ~eyes))  # lids shut over the eyes
        around = index[found]
        turned = _twice_area(np.concatenate([self._still, self._around])[around]) < 0
        around[turned] = around[turned][:, [0, 2, 1]]
        in_eye = np.concatenate([np.zeros(len(around), bool), eyes[order]])
        return np.concatenate([around, faces[order][:, [0, 2, 1]]]), in_eye

    def _maps(self, vertices_V2: np.ndarray, shut: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """For each pixel where it comes from, two float32 (H, W); lids are shut so far, the subject's right one first."""
        whole = np.concatenate([self._still, self._around])
        lids = whole.copy()
        for eye in (0, 1):
            for lid, skin in ((UPPER_LIDS[eye], OVER_LIDS[eye]), (LOWER_LIDS[eye], UNDER_LIDS[eye])):
                lids[list(lid)] += LID_SKIN * shut[eye] * (whole[list(skin)] - whole[list(lid)])
        to = vertices_V2[self._triangles]
        origin, edges = to[:, 0], to[:, 1:] - to[:, :1]
        signed = _twice_area(to)
        area = np.where(np.abs(signed) < 1e-3, 1e-3, signed)
        inverse = (
            np.stack(
                [np.stack([edges[:, 1, 1], -edges[:, 1, 0]], 1), np.stack([-edges[:, 0, 1], edges[:, 0, 0]], 1)], 1
            )
            / area[:, None, None]
        )  # (F, 2, 2): shares of the two edges by x and y
        begin = np.where(self._in_eye[:, None, None], whole[self._triangles], lids[self._triangles])
        run = begin[:, 1:] - begin[:, :1]
        linear = np.einsum("fek,fed->fdk", inverse, run)  # from pixels here to pixels there
        shift = begin[:, 0] - np.einsum("fdk,fk->fd", linear, origin)
        planes = np.concatenate([linear.reshape(-1, 4), shift], axis=1).astype(np.float32)
        # Where no triangle lies a pixel stays its own.
        planes = np.concatenate([planes, np.array([[1, 0, 0, 1, 0, 0]], np.float32)])
        owner = np.full((self._height, self._width), len(planes) - 1, np.int32)
        corners = np.rint(to * 16).astype(np.int32)
        # What is turned away, or thin as a line, would only leave specks: its neighbours cover it.
        for number in np.flatnonzero(signed > LEAST_AREA_PX):
            cv2.fillConvexPoly(owner, corners[number], int(number), cv2.LINE_8, 4)
        per_pixel = planes[owner]
        x, y = np.arange(self._width, dtype=np.float32), np.arange(self._height, dtype=np.float32)[:, None]
        map_x = per_pixel[..., 0] * x + per_pixel[..., 1] * y + per_pixel[..., 4]
        map_y = per_pixel[..., 2] * x + per_pixel[..., 3] * y + per_pixel[..., 5]
        return cv2.blur(map_x, SOFT_PX), cv2.blur(map_y, SOFT_PX)

    def _shut_lids(self, picture: np.ndarray, vertices_V2: np.ndarray, shut: tuple[float, float]) -> None:
        """Skin over what still shows of eyes that are more than half shut, and a dark line along the lid, into the picture."""
        for eye in (0, 1):
            share = float(np.clip(2 * shut[eye] - 0.9, 0, 1))
            if share <= 0:
                continue
            outer, inner = EYE_CORNERS[eye]
            edge = vertices_V2[[outer, *LOWER_LIDS[eye], inner]]
            lid = np.concatenate([edge + np.array([0, 1.6]), vertices_V2[list(OVER_LIDS[eye][::-1])]])
            x0, y0 = np.maximum(np.floor(lid.min(axis=0)).astype(int) - 4, 0)
            x1, y1 = np.ceil(lid.max(axis=0)).astype(int) + 5
            part = picture[y0:y1, x0:x1]
            if not part.size:
                continue
            for mask, colour, most in (
                (self._polygon(part, lid - [x0, y0], 1.5), self._lid_colours[eye], LID_PAINT),
                (self._line(part, edge - [x0, y0]), 0.3 * self._lid_colours[eye], LASHES),
            ):
                weight = np.float32(most * share / 255) * mask[..., None].astype(np.float32)
                part[:] = np.rint(part * (1 - weight) + colour.astype(np.float32) * weight).astype(np.uint8)

    @staticmethod
    def _polygon(part: np.ndarray, corners_N2: np.ndarray, soft_px: float) -> np.ndarray:
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(corners_N2 * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(mask, (0, 0), soft_px)

    @staticmethod
    def _line(part: np.ndarray, corners_N2: np.ndarray) -> np.ndarray:
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.polylines(mask, [np.rint(corners_N2 * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(mask, (0, 0), 0.6)

    def _with_inside(self, picture: np.ndarray, vertices_V2: np.ndarray) -> np.ndarray:
        """The mouth's inside, where the lips are apart; it goes with the skull, so lips slide over the teeth."""
        lips = vertices_V2[self._lips]
        gap = float(np.linalg.norm(vertices_V2[14] - vertices_V2[13])) - self._closed_px
        seen = np.clip((gap - LIPS_APART_PX[0]) / (LIPS_APART_PX[1] - LIPS_APART_PX[0]), 0, 1)
        if seen <= 0:
            return picture
        x0, y0 = np.maximum(np.floor(lips.min(axis=0)).astype(int) - 4, 0)
        x1, y1 = np.ceil(lips.max(axis=0)).astype(int) + 5
        box = (slice(y0, min(y1, self._height)), slice(x0, min(x1, self._width)))
        if not picture[box].size:
            return picture
        mask = np.zeros(picture[box].shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint((lips - [x0, y0]) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        share = cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32)[..., None] * np.float32(seen / 255)
        skull = [2, 94, 164, 326, 97]  # between nose and lip: what speech moves least there
        moved = (vertices_V2[skull] - self._still[skull]).mean(axis=0)
        shift = np.array([[1, 0, x0 - moved[0]], [0, 1, y0 - moved[1]]], np.float32)
        inside = cv2.warpAffine(
            self.plate.inside, shift, mask.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        depth = cv2.GaussianBlur(mask, (0, 0), 2.5).astype(np.float32)[..., None] / 255
        shaded = inside.astype(np.float32) * (0.6 + 0.4 * depth)
        made = picture.copy()
        made[box] = np.rint(picture[box] * (1 - share) + shaded * share).astype(np.uint8)
        return made


def _twice_area(corners_F32: np.ndarray) -> np.ndarray:
    """Of triangles (F, 3, 2), > 0 for those that go round clockwise on the screen."""
    edges = corners_F32[:, 1:] - corners_F32[:, :1]
    return np.asarray(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
