"""Signals drawn over frames: each kind of timeline, known by its columns and units, has a drawing of its own.

A new signal gets its overlay without a word here when its columns are of a kind below: boxes (x0, y0, x1, y1), a face
mesh, a body or hands (a list `points` in px/N), single points (NAME_x, NAME_y), head angles (yaw, pitch, roll), gaze
angles, flow, a `kind` with the probabilities of several. Another kind is one function under `@overlay`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dashboards.clip_media import GRID_FPS
from tasks import face_geometry as face
from tasks.signal import Column

Rgb = tuple[int, int, int]
MIN_CHANCE = 0.05
"""Kinds that are less likely are not written over a picture."""
TEAL, AMBER, PINK, BLUE, LIME, WHITE, SHADOW = (
    (45, 212, 191), (250, 190, 60), (244, 114, 182), (96, 165, 250), (163, 230, 53), (245, 247, 250), (15, 18, 22),
)  # fmt: skip
COLOURS: Sequence[Rgb] = (TEAL, AMBER, PINK, BLUE, LIME, (192, 132, 252), (251, 146, 60), (148, 163, 184))
MIN_TIP_PX = 4.0
HELD_FRAMES = 5
"""A row stands for the frames around it: detections are made on every fifth."""
FLOW_SIDE_PX, FLOW_STEP_PX, FLOW_PAIR_FRAMES = 320, 20, 5
MIN_FLOW_PX, MAX_FLOW_PX = 5.0, 18.0
"""In a second, of pictures of 320 px: less than one pixel from one frame of a pair to the other is not shown."""


@dataclass(frozen=True)
class Line:
    """What a signal said, in rows. With a column `frame` each row stands for its frame (until `end_frame`, or from
    `start_s` to `end_s` of the clip, where it has those), without one for the whole clip."""

    name: str
    columns: Mapping[str, Column]
    table: pa.Table

    def has(self, *names: str) -> bool:
        return all(n in self.columns for n in names)

    def rows_at(self, frame: int, start_frame: int) -> list[dict[str, Any]]:
        """Rows that stand for `frame`: those whose time holds it, else those of the nearest frame, 0.2 s away at most."""
        if "frame" not in self.table.column_names:
            return list(self.table.to_pylist())
        frames = self.table["frame"].to_numpy()
        if len(frames) == 0:
            return []
        if self.has("end_frame"):
            kept = (frames <= frame) & (self.table["end_frame"].to_numpy() > frame)
        elif self.has("start_s", "end_s"):
            now_s = (frame - start_frame) / GRID_FPS
            kept = (self.table["start_s"].to_numpy() <= now_s) & (self.table["end_s"].to_numpy() > now_s)
        else:
            away = np.abs(frames - frame)
            kept = (away == away.min()) & (away <= HELD_FRAMES)
        return list(self.table.filter(pa.array(kept)).to_pylist())


@dataclass(frozen=True)
class Scene:
    """One clip as overlays see it. `lines` are the signal's own first, then those it needs."""

    start_frame: int
    end_frame: int
    width_px: int
    height_px: int
    lines: Sequence[Line]
    picture: Callable[[int], np.ndarray]
    """RGB of a frame of the video, at the size of the proxy."""
    audio: np.ndarray | None = None
    """16 kHz mono of the clip, where the signal listens."""

    def line(self, *names: str) -> Line | None:
        """The first line that has these columns."""
        return next((line for line in self.lines if line.has(*names)), None)


@dataclass
class Canvas:
    """One frame that is drawn on. Drawings take pixels of the proxy."""

    image_rgb: np.ndarray
    frame: int
    scale: float
    texts: list[tuple[float, float, str, Rgb]] = field(default_factory=list)
    """(x, y, text, colour) in pixels of the canvas, written when all is drawn."""

    def polyline(self, points_N2: np.ndarray, colour: Rgb, *, closed: bool = False, width_px: int = 1) -> None:
        import cv2

        fixed = np.rint(np.asarray(points_N2, np.float64) * self.scale * 16).astype(np.int32)
        cv2.polylines(self.image_rgb, [fixed[:, None]], closed, colour, width_px, cv2.LINE_AA, 4)

    def dot(self, x: float, y: float, colour: Rgb, radius_px: float = 2.0) -> None:
        import cv2

        center = (round(x * self.scale * 16), round(y * self.scale * 16))
        cv2.circle(self.image_rgb, center, round(radius_px * 16), colour, -1, cv2.LINE_AA, 4)

    def arrow(self, x0: float, y0: float, x1: float, y1: float, colour: Rgb, width_px: int = 1) -> None:
        import cv2

        ends = [(round(x * self.scale), round(y * self.scale)) for x, y in ((x0, y0), (x1, y1))]
        length_px = max(1.0, float(np.hypot(x1 - x0, y1 - y0)) * self.scale)
        tip = float(np.clip(MIN_TIP_PX / length_px, 0.25, 0.6))
        cv2.arrowedLine(self.image_rgb, ends[0], ends[1], colour, width_px, cv2.LINE_AA, tipLength=tip)

    def text(self, x: float, y: float, text: str, colour: Rgb) -> None:
        self.texts.append((x * self.scale, y * self.scale, text, colour))


Draw = Callable[[Canvas, Line, Scene], None]


@dataclass(frozen=True)
class Overlay:
    kind: str
    fits: Callable[[Line], bool]
    draw: Draw


OVERLAYS: list[Overlay] = []
"""In the order of drawing. All that fit a line are drawn."""


def overlay(kind: str, fits: Callable[[Line], bool]) -> Callable[[Draw], Draw]:
    def registered(draw: Draw) -> Draw:
        OVERLAYS.append(Overlay(kind, fits, draw))
        return draw

    return registered


def kinds_of(line: Line) -> list[str]:
    """Kinds of overlay that a line gets; none means that only its values can be shown."""
    return [o.kind for o in OVERLAYS if o.fits(line)]


def draw_frame(scene: Scene, frame: int, longest_px: int) -> Canvas:
    """The frame, scaled to `longest_px`, with all that the scene's lines say of it drawn over."""
    import cv2

    picture = scene.picture(frame)
    height, width = picture.shape[:2]
    scale = longest_px / max(height, width)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = Canvas(np.ascontiguousarray(cv2.resize(picture, size, interpolation=how)), frame, scale)
    for line in reversed(scene.lines):  # the signal's own on top
        for found in OVERLAYS:
            if found.fits(line):
                found.draw(canvas, line, scene)
    return canvas


def _rows(canvas: Canvas, line: Line, scene: Scene) -> list[dict[str, Any]]:
    return line.rows_at(canvas.frame, scene.start_frame)


@overlay("flow", lambda line: line.has("camera", "subject", "total"))
def _flow(canvas: Canvas, line: Line, scene: Scene) -> None:
    """Arrows of the dense flow to the frame 0.2 s later, by the method that the speeds were measured with; each as long
    as the way of a second, and at most as far as to the next."""
    import cv2

    if canvas.frame + FLOW_PAIR_FRAMES >= scene.end_frame:
        return
    pair = []
    for frame in (canvas.frame, canvas.frame + FLOW_PAIR_FRAMES):
        gray = cv2.cvtColor(scene.picture(frame), cv2.COLOR_RGB2GRAY)
        small = min(1.0, FLOW_SIDE_PX / max(gray.shape))
        pair.append(cv2.resize(gray, None, fx=small, fy=small, interpolation=cv2.INTER_AREA))
    matcher = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
    flow_HW2 = matcher.calc(pair[0], pair[1], None) * (GRID_FPS / FLOW_PAIR_FRAMES)
    half = FLOW_STEP_PX // 2
    for y in range(half, flow_HW2.shape[0], FLOW_STEP_PX):
        for x in range(half, flow_HW2.shape[1], FLOW_STEP_PX):
            way = float(np.hypot(*flow_HW2[y, x]))
            if way >= MIN_FLOW_PX:
                dx, dy = flow_HW2[y, x] * min(1.0, MAX_FLOW_PX / way)
                for colour, width_px in ((SHADOW, 2), (LIME, 1)):
                    canvas.arrow(x / small, y / small, (x + dx) / small, (y + dy) / small, colour, width_px)


@overlay("boxes", lambda line: line.has("x0", "y0", "x1", "y1") and not _list_columns(line))
def _boxes(canvas: Canvas, line: Line, scene: Scene) -> None:
    words = [c.name for c in line.columns.values() if pa.types.is_string(c.dtype)]
    number = next((n for n in ("track", "speaker", "face", "hand") if n in line.columns), None)
    for row in _rows(canvas, line, scene):
        colour = COLOURS[int(row[number] or 0) % len(COLOURS)] if number else AMBER
        across, down = _size(line.columns["x0"], scene)
        x0, y0, x1, y1 = (row[n] * s for n, s in zip(("x0", "y0", "x1", "y1"), (across, down) * 2, strict=True))
        canvas.polyline(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), colour, closed=True, width_px=2)
        told = [str(row[w]) for w in words if row[w]][:1]
        if "score" in line.columns and row["score"] is not None:
            told.append(f"{row['score']:.2f}")
        if told:
            canvas.text(x0, y0, " ".join(told), colour)


@overlay("kind", lambda line: line.has("kind") and sum(n.endswith("_probability") for n in line.columns) > 1)
def _kind(canvas: Canvas, line: Line, scene: Scene) -> None:
    """What the picture may be taken for, the likeliest first; the kind that was told stands out."""
    row_px = canvas.image_rgb.shape[0] / canvas.scale / 9
    for row in _rows(canvas, line, scene):
        chances = {n.removesuffix("_probability"): row[n] for n in line.columns if n.endswith("_probability")}
        worth_telling = [k for k, p in chances.items() if p >= MIN_CHANCE or k == row["kind"]]
        for i, kind in enumerate(sorted(worth_telling, key=lambda k: -chances[k])):
            told = f"{kind} {chances[kind]:.2f}"
            canvas.text(0, row_px * (1 + i), told, AMBER if kind == row["kind"] else TEAL)


@overlay("points", lambda line: bool(_pairs(line)))
def _single_points(canvas: Canvas, line: Line, scene: Scene) -> None:
    for row in _rows(canvas, line, scene):
        for x, y in _pairs(line):
            if row[x] is not None and row[y] is not None:
                canvas.dot(row[x], row[y], WHITE)


BODY_BONES = (
    (11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24), (23, 25), (25, 27), (24, 26),
    (26, 28), (9, 10), (0, 2), (0, 5), (2, 7), (5, 8),
)  # fmt: skip
_FINGERS = ((0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20), (0, 5, 9, 13, 17, 0))
HAND_BONES = tuple((a, b) for chain in _FINGERS for a, b in itertools.pairwise(chain))
_RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
_LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
_INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
_BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
_NOSE = (168, 6, 197, 195, 5, 4, 1)


@overlay("mesh or skeleton", lambda line: bool(_list_columns(line)))
def _skeleton(canvas: Canvas, line: Line, scene: Scene) -> None:
    """Lists of points: 478 are a face mesh, 33 a body, 21 a hand; any other number is dots."""
    for row in _rows(canvas, line, scene):
        for name in _list_columns(line):
            points = _points(row[name], line.columns[name], scene)
            if points is None:
                continue
            _hide_unsure(points, row, line)
            colour = COLOURS[int(row.get("hand") or 0) % len(COLOURS)]
            if len(points) == face.NUM_POINTS:
                _face_mesh(canvas, points)
            elif len(points) in (21, 33):
                _bones(canvas, points, HAND_BONES if len(points) == 21 else BODY_BONES, colour)
            else:
                for x, y in points[:, :2]:
                    canvas.dot(x, y, colour, 1.5)


def _hide_unsure(points: np.ndarray, row: Mapping[str, Any], line: Line) -> None:
    """Points of a body that a list `visibility` calls less than half visible become NaN, and are not drawn."""
    seen = row.get("visibility")
    if seen is not None and len(seen) == len(points):
        scale = re.fullmatch(r"score/(\d+)", line.columns["visibility"].unit)
        points[np.asarray(seen) < 0.5 * (float(scale[1]) if scale else 1.0)] = np.nan


def _face_mesh(canvas: Canvas, points: np.ndarray) -> None:
    for x, y in points[:468:3, :2]:
        canvas.dot(x, y, (130, 150, 170), 0.7)
    chains: tuple[tuple[Sequence[int], Rgb], ...] = (
        (face.FACE_OVAL, BLUE), (_RIGHT_EYE, LIME), (_LEFT_EYE, LIME), (face.OUTER_LIPS, PINK), (_INNER_LIPS, PINK),
    )  # fmt: skip
    for closed, colour in chains:
        canvas.polyline(points[list(closed), :2], colour, closed=True)
    for chain in (*_BROWS, _NOSE):
        canvas.polyline(points[list(chain), :2], TEAL)
    for iris in points[[468, 473], :2]:
        canvas.dot(iris[0], iris[1], AMBER, 2)


def _bones(canvas: Canvas, points: np.ndarray, bones: Sequence[tuple[int, int]], colour: Rgb) -> None:
    sure = np.isfinite(points[:, :2]).all(axis=1)
    for a, b in bones:
        if sure[a] and sure[b]:
            canvas.polyline(points[[a, b], :2], colour, width_px=2)
    for x, y in points[sure][:, :2]:
        canvas.dot(x, y, WHITE, 1.6)


@overlay("head angles", lambda line: _angles(line) is not None and _angle(line, "roll") is not None)
def _head_axes(canvas: Canvas, line: Line, scene: Scene) -> None:
    """The axes of the head: red to its left, green down, blue out of the face."""
    names = [_angle(line, a) for a in ("yaw", "pitch", "roll")]
    place = face_place(scene, canvas.frame)
    for row in _rows(canvas, line, scene):
        values = [row[n] for n in names if n is not None]
        if None in values or place is None:
            continue
        x, y, size = place
        axes = head_axes(*(float(v) for v in values)) * size
        for (dx, dy), colour in zip(axes, ((248, 113, 113), (74, 222, 128), BLUE), strict=True):
            canvas.arrow(x, y, x + dx, y + dy, colour, 2)


@overlay("gaze", lambda line: _angles(line) is not None and _angle(line, "roll") is None)
def _gaze(canvas: Canvas, line: Line, scene: Scene) -> None:
    """An arrow from between the eyes along the direction they look in."""
    found, place = _angles(line), face_place(scene, canvas.frame, between_eyes=True)
    for row in _rows(canvas, line, scene):
        assert found is not None
        yaw, pitch = (row[n] for n in found)
        if yaw is not None and pitch is not None and place is not None and not row.get("closed"):
            x, y, size = place
            dx, dy = head_axes(float(yaw), float(pitch), 0.0)[2] * size * 1.5
            canvas.arrow(x, y, x + dx, y + dy, AMBER, 2)


def head_axes(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """(3, 2): where the head's own left, down and forward point on the screen, x right and y down, length 1 at most.

    Angles as in the columns of head pose: yaw > 0 turns the face to the right of the picture, pitch > 0 up,
    roll > 0 tilts the head clockwise on the screen.
    """
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    turn_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turn_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    # Columns: the subject's left (right of the picture), down, and forward (to the viewer, z > 0 here).
    axes: np.ndarray = (turn_z @ turn_y @ turn_x)[:2].T
    return axes


def face_place(scene: Scene, frame: int, *, between_eyes: bool = False) -> tuple[float, float, float] | None:
    """(x, y, half the face's height) of the main face in pixels of the proxy, from a mesh, else from a box."""
    for line in scene.lines:
        rows = line.rows_at(frame, scene.start_frame) if line.has("x0", "y0", "x1", "y1") else []
        row = next((r for r in rows if r["x0"] is not None), None)
        if row is None:
            continue
        half = (row["y1"] - row["y0"]) / 2
        if between_eyes and len(row.get("points") or ()) == 3 * face.NUM_POINTS:
            mesh = _points(row["points"], line.columns["points"], scene)
            assert mesh is not None
            x, y = mesh[[face.RIGHT_EYE_OUTER, face.LEFT_EYE_OUTER], :2].mean(axis=0)
            return float(x), float(y), half
        if between_eyes and row.get("left_eye_x") is not None:
            return (row["left_eye_x"] + row["right_eye_x"]) / 2, (row["left_eye_y"] + row["right_eye_y"]) / 2, half
        return (row["x0"] + row["x1"]) / 2, row["y0"] + half * (0.7 if between_eyes else 1.0), half
    return None


def _angle(line: Line, axis: str) -> str | None:
    """The column that tells an angle: `yaw`, `yaw_deg`, `yaw_mean_deg`, `gaze_yaw_deg` ..."""
    pattern = re.compile(rf"(?:\w+_)?{axis}(?:_mean|_median)?(?:_deg)?")
    told = [c.name for c in line.columns.values() if c.unit == "deg" and pattern.fullmatch(c.name)]
    return min(told, key=len) if told else None


def _angles(line: Line) -> tuple[str, str] | None:
    yaw, pitch = _angle(line, "yaw"), _angle(line, "pitch")
    return (yaw, pitch) if yaw and pitch else None


def _pairs(line: Line) -> list[tuple[str, str]]:
    """Columns NAME_x and NAME_y in pixels of rows that stand for frames."""
    if "frame" not in line.table.column_names:
        return []
    ends = [c.name[:-2] for c in line.columns.values() if c.name.endswith("_x") and c.unit == "px"]
    return [(f"{e}_x", f"{e}_y") for e in ends if f"{e}_y" in line.columns]


def _list_columns(line: Line) -> list[str]:
    """Lists of numbers whose unit is a length on the picture."""
    return [
        c.name
        for c in line.columns.values()
        if (pa.types.is_list(c.dtype) or pa.types.is_fixed_size_list(c.dtype))
        and re.match(r"px(/|$)|ratio(/|$)", c.unit)
    ]


def _points(values: Sequence[float] | None, column: Column, scene: Scene) -> np.ndarray | None:
    """(N, 2 or more) in pixels of the proxy; coordinates of a point follow each other, x and y first."""
    if not values:
        return None
    count = next(
        (n for n in (face.NUM_POINTS, 33, 21) if len(values) % n == 0 and len(values) // n in (2, 3, 4, 5)), None
    )
    dims = len(values) // count if count else 3 if len(values) % 3 == 0 else 2
    unit = re.fullmatch(r"(px|ratio)(?:/(\d+))?", column.unit)
    scale = 1 / float(unit[2]) if unit and unit[2] else 1.0
    points = np.asarray(values[: len(values) // dims * dims], np.float64).reshape(-1, dims) * scale
    points[:, :2] *= _size(column, scene)
    return points


def _size(column: Column, scene: Scene) -> tuple[float, float]:
    """What a coordinate is to be multiplied by: 1 for pixels, the frame's size for shares of it."""
    return (scene.width_px, scene.height_px) if column.unit.startswith("ratio") else (1.0, 1.0)


def spatial(line: Line) -> bool:
    """Whether a line is drawn over frames, at places of its own."""
    return bool(set(kinds_of(line)) & {"boxes", "points", "mesh or skeleton", "head angles", "gaze"})


def frames_to_show(scene: Scene, count: int = 3) -> Iterator[int]:
    """Frames spread over the clip, each moved to a row of the signal's own line if one is near."""
    length = scene.end_frame - scene.start_frame
    own = scene.lines[0] if scene.lines and spatial(scene.lines[0]) else None
    rows = np.unique(own.table["frame"].to_numpy()) if own and "frame" in own.table.column_names else np.array([])
    for i in range(count):
        target = scene.start_frame + length * (2 * i + 1) // (2 * count)
        snapped = target - target % HELD_FRAMES
        target = snapped if snapped >= scene.start_frame else target
        if len(rows):
            nearest = int(rows[np.argmin(np.abs(rows - target))])
            target = nearest if abs(nearest - target) <= length // (2 * count) else target
        yield target
