"""What a clip shows, in fifteen dimensions: the words by which a corpus is balanced and searched.

Told by rules over the timelines and four frames. Not told by default, NULL until a backend or a person says it:
`setting` and `accessories` (no permissively licensed classifier comes in a package), `age_band` (nobody's age is
inferred silently), `language` (the signals `language` and `speech` tell it, where there is speech).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.backend import Backend
from tasks.face_geometry import (
    DETECTION_STEP,
    LEFT_EYE_OUTER,
    LIP_BOTTOM_INNER,
    LIP_TOP_INNER,
    RIGHT_EYE_OUTER,
    Box,
    blendshapes_of,
    box_of,
    face_rows,
    main_faces,
    points_of,
)
from tasks.face_looks import looks, tone_of
from tasks.face_mesh import BLENDSHAPES
from tasks.head_geometry import CANONICAL, angles_of, head_turns
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal

FPS = 1
MAX_FRAMES = 4
SIDE_PX = 320

# Height of the face (hairline to chin) in the frame's height, from which a shot has its name.
SHOTS = (
    (0.85, "extreme_close_up"),
    (0.33, "close_up"),
    (0.19, "medium_close_up"),
    (0.11, "medium"),
    (0.055, "medium_long"),
)
VIEWS = ((20.0, "frontal"), (55.0, "three_quarter"))
CAMERA = ((0.5, "static"), (4.0, "slight"))
"""Percent of the frame's height a second: tripods stay below 0.5, hands that hold a camera still below 4."""
EYE_YAW_DEG, EYE_PITCH_DEG = 30.0, 25.0
"""Of an eye that looks as far aside, or up, as the blendshapes tell."""
CAMERA_YAW_DEG, CAMERA_PITCH_DEG = 13.0, 20.0
LIP_REST, LIP_LIVELY = 0.012, 0.045
"""Standard deviation of the inner lips' gap, in distances between the eyes' outer corners."""
QUIET_DB = -50.0
UNTOLD = ("setting", "accessories", "age_band", "language")

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("shot_size", pa.string(), "name", "nullable: extreme_close_up ... long, by the main face's height"),
        Column("view", pa.string(), "name", "nullable: frontal, three_quarter (from 20 deg of yaw), profile (55)"),
        Column("camera_motion", pa.string(), "name", "nullable: static, slight or moving, by the camera's flow"),
        Column("people_count", pa.int16(), "count", "faces on a sampled frame, median over time", 0, 16),
        Column("setting", pa.string(), "name", "nullable: indoors, outdoors ...; NULL by default: no permitted model"),
        Column("lighting", pa.string(), "name", "dark, backlit, side_lit, low_key, high_key or even"),
        Column("background", pa.string(), "name", "hidden, keyed (green, blue), plain, blurred or detailed"),
        Column("speaking_style", pa.string(), "name", "nullable: not_speaking, calm or lively lips, with sound"),
        Column(
            "emotion",
            pa.string(),
            "name",
            "nullable: expression shown (not felt): neutral, happy, surprised, angry, sad",
        ),
        Column("gaze", pa.string(), "name", "nullable: camera, mixed or away; head and eyes together"),
        Column("hands_visible", pa.string(), "name", "none, some or most of the frames with a hand"),
        Column("accessories", pa.string(), "name", "nullable: glasses, hat ...; NULL by default: no permitted model"),
        Column("age_band", pa.string(), "name", "nullable: always NULL by default: age is never inferred silently"),
        Column("skin_tone", pa.string(), "name", "nullable: very_light ... dark by ITA, in this light"),
        Column("language", pa.string(), "code", "nullable: NULL by default: read the signals language and speech"),
        Column(
            "yaw_deg",
            pa.float32(),
            "deg",
            "nullable: yaw behind `view`, median; > 0 to the image's right",
            -180,
            180,
            1,
        ),
        Column("ita_deg", pa.float32(), "deg", "nullable: individual typology angle behind `skin_tone`", -90, 90, 1),
        Column(
            "gaze_ratio",
            pa.float32(),
            "ratio",
            "nullable: share of the frames at 5 fps that look at the camera",
            0,
            1,
            4,
        ),
        Column("num_told", pa.int16(), "count", "dimensions of the fifteen that are not NULL", 0, 15),
    ),
    needs=("faces", "landmarks", "flow", "hands"),
    look=Look(frames_fps=FPS, audio=True),
    cost_cpu_s=0.004,
    weights=(CANONICAL,),
    params={
        "fps": FPS,
        "max_frames": MAX_FRAMES,
        "shots": SHOTS,
        "views": VIEWS,
        "camera": CAMERA,
        "eye_deg": (EYE_YAW_DEG, EYE_PITCH_DEG),
        "camera_deg": (CAMERA_YAW_DEG, CAMERA_PITCH_DEG),
        "lips": (LIP_REST, LIP_LIVELY),
        "quiet_db": QUIET_DB,
        "looks": 1,
    },
    backend="rules",
    summary="Fifteen dimensions by rules over faces, mesh, flow and hands; four of them stay NULL by default.",
    source="ITA: Chardon et al. 1991; shot sizes after common practice; blendshape rules after FACS (Ekman and Friesen).",
)

BACKENDS = {
    "qwen_vl": Backend(
        run="tasks.backends.qwen_vl:categories",
        model="Qwen/Qwen2.5-VL-7B-Instruct",
        licence="Apache-2.0",
        source="Bai et al., Qwen2.5-VL Technical Report, arXiv 2502.13923, 2025.",
        changes={"resources": Resources(gpu_gib=20.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    rows = face_rows(needs["faces"])
    main = [row for _, row in main_faces(rows)]
    mesh: pa.Table = needs["landmarks"]
    points = points_of(mesh) if mesh.num_rows else np.zeros((0, 478, 3), np.float32)
    angles = angles_of(head_turns(points)) if len(points) else np.zeros((0, 3))
    seen = _seen(media, main, mesh["frame"].to_numpy(), points)
    itas = [look.ita_deg for look in seen if look.ita_deg is not None]
    gaze_ratio = _gaze_ratio(mesh, angles)
    told = {
        "shot_size": _step_down(SHOTS, _face_height(main, media), "long") if main else None,
        "view": _step_up(VIEWS, float(np.median(np.abs(angles[:, 0]))), "profile") if len(angles) else None,
        "camera_motion": _camera_motion(needs["flow"], media),
        "people_count": _people(rows, media),
        "lighting": _commonest([look.lighting for look in seen]),
        "background": _commonest([look.background for look in seen]),
        "speaking_style": _speaking_style(points, media.audio) if len(points) else None,
        "emotion": _emotion(mesh),
        "gaze": None
        if gaze_ratio is None
        else "camera"
        if gaze_ratio >= 0.7
        else "away"
        if gaze_ratio < 0.3
        else "mixed",
        "hands_visible": _hands(needs["hands"], media),
        "skin_tone": tone_of(float(np.median(itas))) if itas else None,
        **dict.fromkeys(UNTOLD),
    }
    return Output(
        row={
            **told,
            "yaw_deg": float(np.median(angles[:, 0])) if len(angles) else None,
            "ita_deg": float(np.median(itas)) if itas else None,
            "gaze_ratio": gaze_ratio,
            "num_told": sum(value is not None for value in told.values()),
        }
    )


def _seen(media: Media, main: Sequence[dict[str, float]], mesh_frames: np.ndarray, points: np.ndarray) -> list:
    """Looks of at most four frames, with the face and mesh of the same frame where there are any."""
    have = media.at(FPS)
    chosen = sorted({have[round(i)] for i in np.linspace(0, len(have) - 1, min(len(have), MAX_FRAMES))})
    boxes = {int(row["frame"]): box_of(row) for row in main}
    told = []
    for frame in chosen:
        image = media.image(frame, SIDE_PX)
        scale = image.shape[1] / media.width_px
        at = np.flatnonzero(mesh_frames == frame)
        box = boxes.get(frame)
        small = Box(box.x0 * scale, box.y0 * scale, box.x1 * scale, box.y1 * scale) if box else None
        told.append(looks(image, points[at[0]] * scale if len(at) else None, small))
    return told


def _face_height(main: Sequence[dict[str, float]], media: Media) -> float:
    return float(np.median([row["y1"] - row["y0"] for row in main]) / media.height_px)


def _people(rows: Sequence[dict[str, float]], media: Media) -> int:
    sampled = range(-(-media.start_frame // DETECTION_STEP) * DETECTION_STEP, media.end_frame, DETECTION_STEP)
    counts = Counter(int(row["frame"]) for row in rows)
    return int(np.median([counts.get(frame, 0) for frame in sampled])) if len(sampled) else 0


def _camera_motion(flow: pa.Table, media: Media) -> str | None:
    within = flow["frame"].to_numpy() + DETECTION_STEP < media.end_frame
    return _step_up(CAMERA, float(flow["camera"].to_numpy()[within].mean()), "moving") if within.any() else None


def _hands(hands: pa.Table, media: Media) -> str:
    """Hands are looked for on one frame a second and on the one 0.2 s later."""
    sampled = [f for f in range(media.start_frame, media.end_frame) if f % 25 in (0, 5)]
    ratio = len(set(hands["frame"].to_pylist())) / max(1, len(sampled))
    return "none" if ratio < 0.1 else "some" if ratio < 0.5 else "most"


def _speaking_style(points: np.ndarray, audio: np.ndarray | None) -> str:
    """By how much the lips part and close, if there is any sound."""
    gap = np.linalg.norm(points[:, LIP_TOP_INNER] - points[:, LIP_BOTTOM_INNER], axis=1)
    span = np.linalg.norm(points[:, LEFT_EYE_OUTER, :2] - points[:, RIGHT_EYE_OUTER, :2], axis=1)
    moves = float((gap / np.maximum(span, 1.0)).std())
    loud_db = -np.inf if audio is None else 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-12)
    if loud_db < QUIET_DB or moves < LIP_REST:
        return "not_speaking"
    return "lively" if moves >= LIP_LIVELY else "calm"


def _gaze_ratio(mesh: pa.Table, angles: np.ndarray) -> float | None:
    """Share of the frames with blendshapes on which head and eyes together point at the camera."""
    frames, shapes = blendshapes_of(mesh) if mesh.num_rows else (np.zeros(0, int), np.zeros((0, 52)))
    if len(frames) == 0:
        return None
    look = {name: shapes[:, BLENDSHAPES.index(name)] for name in BLENDSHAPES if name.startswith("eye_look")}
    # To the subject's left, which is the image's right, as yaw counts.
    aside = (
        look["eye_look_out_left"] + look["eye_look_in_right"] - look["eye_look_in_left"] - look["eye_look_out_right"]
    ) / 2
    up = (
        look["eye_look_up_left"] + look["eye_look_up_right"] - look["eye_look_down_left"] - look["eye_look_down_right"]
    ) / 2
    here = angles[np.searchsorted(mesh["frame"].to_numpy(), frames)]
    yaw, pitch = here[:, 0] + EYE_YAW_DEG * aside, here[:, 1] + EYE_PITCH_DEG * up
    return float(((np.abs(yaw) < CAMERA_YAW_DEG) & (np.abs(pitch) < CAMERA_PITCH_DEG)).mean())


def _emotion(mesh: pa.Table) -> str | None:
    """By FACS: a smile (12), brows up with wide eyes (1+2+5), brows down (4) with a sneer, brows up with a frown (1+15)."""
    shapes = blendshapes_of(mesh)[1] if mesh.num_rows else np.zeros((0, 52))
    if len(shapes) == 0:
        return None
    mean = dict(zip(BLENDSHAPES, shapes.mean(axis=0), strict=True))

    def both(name: str) -> float:
        return float(mean[f"{name}_left"] + mean[f"{name}_right"]) / 2

    if both("mouth_smile") > 0.4:
        return "happy"
    if mean["brow_inner_up"] > 0.4 and both("eye_wide") > 0.15:
        return "surprised"
    if both("brow_down") > 0.4 and (both("nose_sneer") > 0.1 or both("mouth_press") > 0.3):
        return "angry"
    return "sad" if both("mouth_frown") > 0.2 and mean["brow_inner_up"] > 0.25 else "neutral"


def _step_down(steps: Sequence[tuple[float, str]], value: float, last: str) -> str:
    """The first name whose limit the value reaches; limits fall."""
    return next((name for limit, name in steps if value >= limit), last)


def _step_up(steps: Sequence[tuple[float, str]], value: float, last: str) -> str:
    """The first name whose limit the value stays below; limits rise."""
    return next((name for limit, name in steps if value < limit), last)


def _commonest(names: Sequence[str]) -> str:
    """The name met most often; of equals, the one met first."""
    return Counter(names).most_common(1)[0][0]
