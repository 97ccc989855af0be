"""A head at a known angle: a real face's skin on the canonical face's shape, seen by a pinhole camera.

The shape differs from the canonical one in width, height and depth, so that a fit of the canonical face to it is not
exact, as it isn't on people. The skull behind the face is an ellipsoid of the hair's colour. The eyes are balls with an
iris, seen through the lids' opening, and look where told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.head_geometry import canonical_face, turn_of

SIDE_PX = 512
FIELD_OF_VIEW_DEG = 30.0
DISTANCE_CM = 65.0
SKULL_CENTER_CM = (0.0, 3.5, -5.0)
SKULL_RADII_CM = (8.0, 10.0, 8.5)
EYE_RADIUS_CM, IRIS_RADIUS_CM, PUPIL_RADIUS_CM = 1.2, 0.59, 0.22
SCLERA, IRIS, PUPIL = (225, 218, 212), (92, 66, 48), (18, 16, 16)
RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
LID_FOLLOWS = 0.7
STRETCH = 0.1
"""The most by which a shape differs from the canonical one along each axis."""


@dataclass(frozen=True)
class Skin:
    """A frontal frame, and where the mesh's points lie in it, (468, 2) px."""

    image_rgb: np.ndarray
    points: np.ndarray


def shape_of(rng: np.random.Generator) -> np.ndarray:
    """Points (468, 3) in cm of a face that is wider, longer or flatter than the canonical one."""
    return np.asarray(canonical_face().points * (1 + STRETCH * rng.uniform(-1, 1, 3)))


def render(
    skin: Skin,
    shape: np.ndarray,
    angles_deg: tuple[float, float, float],
    gaze_deg: tuple[float, float] | None = None,
) -> np.ndarray:
    """RGB (512, 512, 3) of the head turned by yaw, pitch, roll about its centre, in the middle of the picture.

    `gaze_deg` is the yaw and pitch of both eyes relative to the camera's axis; None keeps the photographed eyes.
    """
    import cv2

    turn = turn_of(np.array(angles_deg))
    background = _background(skin)
    canvas = background.copy()
    _draw_skull(canvas, skin, turn)
    turned = (shape - SKULL_CENTER_CM) @ turn.T
    placed = _project(turned)
    triangles = canonical_face().triangles
    normals = np.cross(
        turned[triangles[:, 1]] - turned[triangles[:, 0]], turned[triangles[:, 2]] - turned[triangles[:, 0]]
    )
    to_camera = np.array([0, 0, DISTANCE_CM]) - turned[triangles].mean(axis=1)
    facing = (normals * to_camera).sum(axis=1) > 0
    order = np.argsort(turned[triangles].mean(axis=1)[:, 2])  # far ones first: near ones cover them
    for triangle in triangles[order[facing[order]]]:
        _paint(canvas, skin, placed[triangle], skin.points[triangle])
    if gaze_deg is not None:
        gaze = turn_of(np.array([*gaze_deg, 0.0]))
        for lids in (RIGHT_LIDS, LEFT_LIDS):
            _draw_eye(canvas, _lids_at(turned[list(lids)], turn, gaze), turn, gaze)
    return np.asarray(cv2.GaussianBlur(canvas, (3, 3), 0))


def _lids_at(lids_cm: np.ndarray, turn: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """The lids' rim as the upper lid follows the eye up and down, by LID_FOLLOWS of its way (Becker and Fuchs, 1988)."""
    way = EYE_RADIUS_CM * LID_FOLLOWS * float((turn.T @ gaze)[1, 2])
    moved = lids_cm.copy()
    upper = slice(9, 16)
    moved[upper] += way * turn[:, 1]
    # A lid stops at the lower rim: the ring's upper points lie over its lower ones in reverse order.
    height = (moved[upper] - lids_cm[7:0:-1]) @ turn[:, 1]
    moved[upper] += np.maximum(0.15 - height, 0)[:, None] * turn[:, 1]
    return moved


def _draw_eye(canvas: np.ndarray, lids_cm: np.ndarray, turn: np.ndarray, gaze: np.ndarray) -> None:
    """A ball behind the lids whose iris and pupil face along `gaze`; what the lids hide is not drawn."""
    import cv2

    center = lids_cm.mean(axis=0) - turn @ np.array([0, 0, 0.8 * EYE_RADIUS_CM])
    around = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    painted = np.empty_like(canvas)
    painted[:] = SCLERA
    for radius, colour in ((IRIS_RADIUS_CM, IRIS), (PUPIL_RADIUS_CM, PUPIL)):
        depth = np.full_like(around, np.sqrt(EYE_RADIUS_CM**2 - radius**2))
        disc = np.stack([radius * np.cos(around), radius * np.sin(around), depth], axis=-1)
        outline = np.rint(_project(center + disc @ gaze.T) * 16).astype(np.int32)
        cv2.fillConvexPoly(painted, outline, colour, cv2.LINE_AA, 4)
    opening = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(opening, [np.rint(_project(lids_cm) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    canvas[opening > 0] = painted[opening > 0]


def _project(points_cm: np.ndarray) -> np.ndarray:
    focal = SIDE_PX / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))
    scale = focal / (DISTANCE_CM - points_cm[..., 2])
    return np.stack([SIDE_PX / 2 + points_cm[..., 0] * scale, SIDE_PX / 2 - points_cm[..., 1] * scale], axis=-1)


def _background(skin: Skin) -> np.ndarray:
    import cv2

    image = cv2.resize(skin.image_rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 40))


def _draw_skull(canvas: np.ndarray, skin: Skin, turn: np.ndarray) -> None:
    """The outline of an ellipsoid, by the hull of its projected points; a neck under it."""
    import cv2

    steps = np.linspace(0, np.pi, 24)
    polar, around = np.meshgrid(steps, 2 * steps)
    sphere = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1)
    outline = _project((sphere.reshape(-1, 3) * SKULL_RADII_CM) @ turn.T)
    tone, hair = _tone(skin), _tone(skin) * 0.3
    neck = _project(np.array([[-5.5, -4, -2], [5.5, -4, -2], [6.5, -25, -4], [-6.5, -25, -4]]))
    cv2.fillConvexPoly(canvas, np.rint(neck).astype(np.int32), tuple(tone * 0.8), cv2.LINE_AA)
    hull = cv2.convexHull(np.rint(outline).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, tuple(hair), cv2.LINE_AA)


def _tone(skin: Skin) -> np.ndarray:
    """Colour of the cheeks, float64 (3,)."""
    at = np.rint(skin.points[[50, 280]]).astype(int)
    height, width = skin.image_rgb.shape[:2]
    return np.asarray(skin.image_rgb[at[:, 1].clip(0, height - 1), at[:, 0].clip(0, width - 1)].mean(axis=0))


def _paint(canvas: np.ndarray, skin: Skin, to_px: np.ndarray, from_px: np.ndarray) -> None:
    """One triangle of the skin, warped onto the canvas."""
    import cv2

    x0, y0 = np.floor(to_px.min(axis=0)).astype(int)
    x1, y1 = np.ceil(to_px.max(axis=0)).astype(int) + 1
    if x0 < 0 or y0 < 0 or x1 > SIDE_PX or y1 > SIDE_PX:
        return
    corner = np.array([x0, y0])
    back = cv2.getAffineTransform((to_px - corner).astype(np.float32), from_px.astype(np.float32))
    size = (int(x1 - x0), int(y1 - y0))
    patch = cv2.warpAffine(
        skin.image_rgb, back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(mask, np.rint((to_px - corner) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    part = canvas[y0:y1, x0:x1]
    part[mask > 0] = patch[mask > 0]
