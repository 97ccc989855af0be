from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.digest import timeline_schema
from tasks.face_geometry import BLENDSHAPE_SCALE, LIP_BOTTOM_INNER, POINT_SCALE
from tasks.face_mesh import BLENDSHAPES
from tasks.head_geometry import NUM_CANONICAL, canonical_face, turn_of
from tasks.media.media import Media
from tasks.signals import categories, faces, flow, hands, landmarks
from tests.drawn_face import media_of, wall

NUM = 50
TIMELINES = {
    "faces": faces.SIGNAL.timeline,
    "landmarks": landmarks.SIGNAL.timeline,
    "flow": flow.SIGNAL.timeline,
    "hands": hands.SIGNAL.timeline,
}


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, timeline_schema(TIMELINES[name]))


def face(frame: int, x: float = 320, y: float = 150, height: float = 140, number: int = 0) -> dict[str, Any]:
    half = 0.4 * height
    points = {f"{p}_{a}": 0.0 for p in ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left") for a in "xy"}
    box = {"x0": x - half, "y0": y - height / 2, "x1": x + half, "y1": y + height / 2}
    return {"frame": frame, "face": number, "score": 0.9, **box, **points}


def mesh(yaw: float = 0.0, shapes: dict[str, float] | None = None, mouth: float = 0.0) -> pa.Table:
    """The canonical face, turned, 140 px high at (320, 150), its lower lip moving by `mouth` of the eyes' distance."""
    turned = canonical_face().points @ turn_of(np.array([yaw, 0.0, 0.0])).T
    points = np.zeros((478, 3))
    points[:NUM_CANONICAL] = turned * [8, -8, -8] + [320, 150, 0]
    values = np.array([(shapes or {}).get(name, 0.0) for name in BLENDSHAPES])
    rows = []
    for frame in range(NUM):
        here = points.copy()
        here[LIP_BOTTOM_INNER, 1] += mouth * 75 * (1 + np.sin(frame))
        rows.append(
            {
                "frame": frame,
                "presence": 1.0,
                **dict(zip(("x0", "y0", "x1", "y1"), (250.0, 80.0, 390.0, 220.0), strict=True)),
                "points": np.rint(here * POINT_SCALE).astype(int).ravel().tolist(),
                "blendshapes": np.rint(values * BLENDSHAPE_SCALE).astype(int).tolist() if frame % 5 == 0 else None,
            }
        )
    return table("landmarks", rows)


def camera_at(camera: float) -> pa.Table:
    return table("flow", [{"frame": f, "camera": camera, "subject": 0.0, "total": camera} for f in range(0, NUM, 5)])


def clip(audio: np.ndarray | None = None) -> Media:
    media = media_of({0: wall(640, 360), 25: wall(640, 360)}, NUM)
    media.audio = audio
    return media


def row_of(media: Media | None = None, **needs: pa.Table) -> dict[str, Any]:
    told = {
        "faces": table("faces", [face(f) for f in range(0, NUM, 5)]),
        "landmarks": mesh(),
        "flow": camera_at(0.1),
        "hands": table("hands", []),
        **needs,
    }
    return dict(categories.compute(media or clip(), told).row)


def test_a_plain_talking_head() -> None:
    row = row_of()
    assert set(row) == {c.name for c in categories.SIGNAL.columns}
    assert row["shot_size"] == "close_up"
    assert row["view"] == "frontal"
    assert row["camera_motion"] == "static"
    assert row["people_count"] == 1
    assert row["background"] == "plain"
    assert row["emotion"] == "neutral"
    assert row["gaze"] == "camera"
    assert row["hands_visible"] == "none"
    assert row["num_told"] == 11


def test_what_no_permitted_model_tells_is_null_in_an_ok_row() -> None:
    row = row_of()
    assert [row[name] for name in categories.UNTOLD] == [None] * 4
    columns = {c.name: c for c in categories.SIGNAL.columns}
    assert all(columns[name].meaning.startswith("nullable:") for name in categories.UNTOLD)


def test_without_a_face_only_the_picture_is_told() -> None:
    row = row_of(faces=table("faces", []), landmarks=table("landmarks", []), flow=table("flow", []))
    empty = (
        "shot_size",
        "view",
        "camera_motion",
        "speaking_style",
        "emotion",
        "gaze",
        "skin_tone",
        "yaw_deg",
        "ita_deg",
    )
    assert [row[name] for name in empty] == [None] * len(empty)
    assert row["people_count"] == 0
    assert row["num_told"] == 4  # people, lighting, background, hands


@pytest.mark.parametrize(
    ("height", "told"),
    [
        (330, "extreme_close_up"),
        (150, "close_up"),
        (80, "medium_close_up"),
        (50, "medium"),
        (25, "medium_long"),
        (12, "long"),
    ],
)
def test_shot_size_by_the_height_of_the_face(height: float, told: str) -> None:
    assert row_of(faces=table("faces", [face(f, height=height) for f in range(0, NUM, 5)]))["shot_size"] == told


@pytest.mark.parametrize(
    ("yaw", "told"), [(5, "frontal"), (-35, "three_quarter"), (35, "three_quarter"), (70, "profile")]
)
def test_view_by_the_turn_of_the_head(yaw: float, told: str) -> None:
    row = row_of(landmarks=mesh(yaw))
    assert row["view"] == told
    assert row["yaw_deg"] == pytest.approx(yaw, abs=1)


@pytest.mark.parametrize(("speed", "told"), [(0.1, "static"), (1.5, "slight"), (9.0, "moving")])
def test_camera_motion(speed: float, told: str) -> None:
    assert row_of(flow=camera_at(speed))["camera_motion"] == told


def test_people_are_counted_over_time() -> None:
    two = [face(f, x, number=i) for f in range(0, NUM, 5) for i, x in enumerate((200, 450))]
    assert row_of(faces=table("faces", two))["people_count"] == 2


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"mouth_smile_left": 0.6, "mouth_smile_right": 0.6}, "happy"),
        ({"brow_inner_up": 0.6, "eye_wide_left": 0.3, "eye_wide_right": 0.3}, "surprised"),
        ({"brow_down_left": 0.6, "brow_down_right": 0.6, "nose_sneer_left": 0.3, "nose_sneer_right": 0.3}, "angry"),
        ({"mouth_frown_left": 0.4, "mouth_frown_right": 0.4, "brow_inner_up": 0.35}, "sad"),
        ({"jaw_open": 0.5}, "neutral"),
    ],
)
def test_emotion_by_action_units(shapes: dict[str, float], told: str) -> None:
    assert row_of(landmarks=mesh(shapes=shapes))["emotion"] == told


def test_gaze_adds_eyes_to_the_head() -> None:
    aside = {"eye_look_out_left": 0.8, "eye_look_in_right": 0.8}  # to the image's right
    assert row_of(landmarks=mesh(shapes=aside))["gaze"] == "away"
    assert row_of(landmarks=mesh(yaw=-22))["gaze"] == "away"
    assert row_of(landmarks=mesh(yaw=-22, shapes=aside))["gaze"] == "camera"


def test_speaking_style_needs_lips_and_sound() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, NUM * 640).astype(np.float32)
    told = {
        (loud, mouth): row_of(clip(sound * loud), landmarks=mesh(mouth=mouth))["speaking_style"]
        for loud in (1.0, 0.0)
        for mouth in (0.0, 0.04, 0.2)
    }
    assert told == {
        (1.0, 0.0): "not_speaking",
        (1.0, 0.04): "calm",
        (1.0, 0.2): "lively",
        (0.0, 0.0): "not_speaking",
        (0.0, 0.04): "not_speaking",
        (0.0, 0.2): "not_speaking",
    }
    assert row_of(clip(), landmarks=mesh(mouth=0.2))["speaking_style"] == "not_speaking"


def test_hands_by_the_share_of_the_frames_looked_at() -> None:
    one = {"hand": 0, "presence": 0.9, "left_score": 0.5, "points": [0] * 63}
    assert row_of(hands=table("hands", [{"frame": 0, **one}]))["hands_visible"] == "some"
    assert row_of(hands=table("hands", [{"frame": f, **one} for f in (0, 5, 25, 30)]))["hands_visible"] == "most"


def test_skin_is_measured_on_the_frames_that_have_a_mesh() -> None:
    scene = wall(640, 360)
    scene[70:240, 250:400] = (214, 176, 150)
    media = media_of({0: scene, 25: scene}, NUM)
    row = row_of(media)
    assert row["skin_tone"] in ("light", "intermediate")
    assert 28 < row["ita_deg"] < 60
    scene[70:240, 250:400] = (80, 56, 42)
    assert row_of(media_of({0: scene, 25: scene}, NUM))["skin_tone"] == "dark"
