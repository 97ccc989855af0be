"""One picture of a person, moved as the nine motion parameters say: a landmark-driven warp, piecewise affine on a mesh.

The face's mesh moves by serving/face_moves.py and turns with the head; modeling/mesh_warp.py draws it and what is around it.

Legend: H, W the picture's height and width; N mesh points; V all vertices, the mesh's first.
"""

from __future__ import annotations

import cv2
import numpy as np

from modeling.mesh_warp import FACE_OVAL, MeshWarp, Plate
from modeling.motion import BLINKS, HEAD, HEAD_UNIT_DEG, MOUTH, Person
from serving.face_moves import LOWER_LIDS, OVER_LIDS, UNDER_LIDS, UPPER_LIDS, FaceMoves, face_moves
from tasks.head_geometry import NUM_CANONICAL, angles_of, canonical_face, head_turns, turn_of

MOST_TURN_DEG = np.array([7.0, 6.0, 8.0])
"""Yaw, pitch and roll away from the picture's own pose: beyond it a flat picture looks flat."""
LEAST_YAW_DEG = 2.0
BELOW_EYES = ((228, 229, 230, 231, 232), (448, 449, 450, 451, 452))
EYE_CORNERS = ((33, 133), (263, 362))
"""Outer and inner, the subject's right eye first."""
LID_SKIN, LID_PAINT, LASHES = 0.5, 0.75, 0.8
"""A shut lid takes its pixels from so far toward the skin around, since the mesh's lids lie within the eye as often as not;
what shows of the eye is painted over with skin; and so strong is the line along it."""
LIDS = tuple(p for rows in (*UPPER_LIDS, *LOWER_LIDS, *EYE_CORNERS) for p in rows)


class FaceWarp:
    """Draws one person. Holds no state: a frame follows from its parameters alone."""

    def __init__(self, plate: Plate, person: Person) -> None:
        self.plate, self.person = plate, person
        self._turn = head_turns(plate.points[None])[0]
        self._angles = angles_of(self._turn)
        upright = (plate.points[:NUM_CANONICAL] * [1, -1, -1]) @ self._turn
        self.across_px = float(np.linalg.norm(upright[33] - upright[263]))
        self.moves: FaceMoves = face_moves(upright / self.across_px)
        self._neck = self._pivot(upright)
        still = self._seen(self.moves.upright, self._turn)
        depth = self.moves.upright[:, 2]
        self.mesh = MeshWarp(plate, still, canonical_face().triangles, depth, self.across_px, LIDS)
        self._behind = self._lifted(self.mesh.around)
        self._lid_colours = [self._colour_at(still[list(UNDER_LIDS[eye]) + list(BELOW_EYES[eye])]) for eye in (0, 1)]

    def draw(self, motion_P: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one row of normalised motion."""
        return self.drawn(motion_P)[0]

    def drawn(self, motion_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and where its vertices lie, (V, 2)."""
        vertices = self.vertices(motion_P)
        right, left = float(np.clip(motion_P[BLINKS][1], 0, 1)), float(np.clip(motion_P[BLINKS][0], 0, 1))
        picture = self.mesh.warped(vertices, self._lids((right, left)))
        self._shut_lids(picture, vertices, (right, left))
        return self.mesh.with_inside(picture, vertices), vertices

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
        grid = self.mesh.around
        around = grid + self.mesh.carried * (self._seen(self._behind, turn) - grid)
        around = around + self.mesh.follows @ pulled
        return np.concatenate([face, around])

    def _seen(self, upright_N3: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of points of the upright head; the neck stays where it is."""
        here = (upright_N3 * self.across_px) @ turn.T
        neck = self._neck @ turn.T - self._neck @ self._turn.T
        return np.asarray((here - neck)[:, :2] * [1, -1])

    def _pivot(self, upright_N3: np.ndarray) -> np.ndarray:
        """Where the head sits on the neck: between the ears, and half as far below as the chin is."""
        ears, chin = upright_N3[[234, 454]].mean(axis=0), upright_N3[152]
        return np.array([ears[0], ears[1] + 0.8 * (chin[1] - ears[1]), ears[2]])

    def _lifted(self, grid_G2: np.ndarray) -> np.ndarray:
        """The grid as points of the upright head, at the depth of the ears."""
        depth = (self.across_px * self.moves.upright[[234, 454]] @ self._turn.T)[:, 2].mean()
        seen = np.column_stack([grid_G2[:, 0], -grid_G2[:, 1], np.full(len(grid_G2), depth)])
        return np.asarray(seen @ self._turn / self.across_px)

    def _colour_at(self, places_N2: np.ndarray) -> np.ndarray:
        at = np.clip(np.rint(places_N2).astype(int), 0, [self.mesh.width - 1, self.mesh.height - 1])
        return np.asarray(np.median(self.plate.picture[at[:, 1], at[:, 0]], axis=0) * 0.92)

    def _lids(self, shut: tuple[float, float]) -> np.ndarray:
        """Where skin takes its pixels, (V, 2), with lids shut so far, the subject's right one first."""
        whole = self.mesh.whole
        lids: np.ndarray = whole.copy()
        for eye in (0, 1):
            for lid, skin in ((UPPER_LIDS[eye], OVER_LIDS[eye]), (LOWER_LIDS[eye], UNDER_LIDS[eye])):
                lids[list(lid)] += LID_SKIN * shut[eye] * (whole[list(skin)] - whole[list(lid)])
        return lids

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
