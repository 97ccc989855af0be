"""Each kind of timeline is drawn where it says, at its time, on a frame of any size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards import overlays, strips
from dashboards.overlays import Line, Scene
from tasks.signal import Column
from tasks.signals import discover

GRAY = (100, 100, 100)


def column(name: str, dtype: pa.DataType, unit: str = "px") -> Column:
    return Column(name, dtype, unit, "made up", decimals=2)


def line(name: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Line:
    types = {c.name: c.dtype for c in columns}
    fields = [("frame", pa.int32()), *types.items()]
    return Line(name, {c.name: c for c in columns}, pa.Table.from_pylist(list(rows), schema=pa.schema(fields)))


def of_signal(name: str, rows: Sequence[Mapping[str, Any]]) -> Line:
    return line(name, discover()[name].spec.timeline, rows)


def scene(*lines: Line, picture: Callable[[int], np.ndarray] | None = None, audio: np.ndarray | None = None) -> Scene:
    plain = np.full((100, 200, 3), GRAY, np.uint8)
    return Scene(100, 150, 200, 100, lines, picture or (lambda _frame: plain), audio)


def changed(made: np.ndarray) -> np.ndarray:
    """(y, x) of the pixels that were drawn."""
    return np.argwhere((made != np.array(GRAY, np.uint8)).any(axis=2))


BOX = tuple(column(n, pa.float32()) for n in ("x0", "y0", "x1", "y1"))
CORNERS = {"x0": 40.0, "y0": 20.0, "x1": 80.0, "y1": 60.0}


def test_boxes_are_drawn_to_scale() -> None:
    boxes = line("things", (*BOX, column("score", pa.float32(), "score")), [{"frame": 100, **CORNERS, "score": 0.5}])
    canvas = overlays.draw_frame(scene(boxes), 103, 400)
    drawn = changed(canvas.image_rgb)
    assert canvas.image_rgb.shape == (200, 400, 3)
    assert np.abs(drawn.min(axis=0) - (40, 80)).max() <= 2
    assert np.abs(drawn.max(axis=0) - (120, 160)).max() <= 2
    assert [(x, y, told) for x, y, told, _ in canvas.texts] == [(80, 40, "0.50")]


def test_a_box_is_called_what_it_is_and_how_sure() -> None:
    columns = (*BOX, column("region", pa.string(), "name"), column("score", pa.float32(), "score"))
    boxes = line("things", columns, [{"frame": 100, **CORNERS, "region": "mouth", "score": 0.25}])
    assert [t[2] for t in overlays.draw_frame(scene(boxes), 100, 200).texts] == ["mouth 0.25"]


def test_boxes_in_shares_of_the_frame() -> None:
    columns = tuple(column(n, pa.float32(), "ratio") for n in ("x0", "y0", "x1", "y1"))
    boxes = line("things", columns, [{"frame": 100, "x0": 0.2, "y0": 0.2, "x1": 0.4, "y1": 0.6}])
    drawn = changed(overlays.draw_frame(scene(boxes), 100, 200).image_rgb)
    assert np.abs(drawn.min(axis=0) - (20, 40)).max() <= 2
    assert np.abs(drawn.max(axis=0) - (60, 80)).max() <= 2


@pytest.mark.parametrize(
    ("columns", "row", "inside", "outside"),
    [
        ((), {}, (115, 125), (114, 126)),
        ((column("end_frame", pa.int32(), "frame"),), {"end_frame": 130}, (120, 129), (119, 130)),
        (
            (column("start_s", pa.float32(), "s"), column("end_s", pa.float32(), "s")),
            {"start_s": 0.4, "end_s": 0.8},
            (110, 119),
            (109, 121),
        ),
    ],
)
def test_a_row_stands_for_its_time(
    columns: tuple[Column, ...], row: dict[str, Any], inside: tuple[int, int], outside: tuple[int, int]
) -> None:
    told = line("things", (*BOX, *columns), [{"frame": 120, **CORNERS, **row}])
    assert [bool(told.rows_at(f, 100)) for f in (*inside, *outside)] == [True, True, False, False]


def test_a_kind_is_told_with_the_likeliest_beside_it() -> None:
    names = ("slides", "game", "still", "natural")
    columns = (column("kind", pa.string(), "name"), *(column(f"{n}_probability", pa.float32(), "score") for n in names))
    chances = dict(zip((f"{n}_probability" for n in names), (0.6, 0.3, 0.02, 0.08), strict=True))
    told = line("content", columns, [{"frame": 100, "kind": "slides", **chances}])
    assert overlays.kinds_of(told) == ["kind"]
    canvas = overlays.draw_frame(scene(told), 100, 400)
    assert [(t[2], t[3]) for t in canvas.texts] == [
        ("slides 0.60", overlays.AMBER), ("game 0.30", overlays.TEAL), ("natural 0.08", overlays.TEAL),
    ]  # fmt: skip
    heights = [t[1] for t in canvas.texts]
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 12, "lines of text do not lie over each other"
    assert {t[0] for t in canvas.texts} == {0}


def test_all_rows_of_the_nearest_frame_are_drawn() -> None:
    rows = [{"frame": f, **CORNERS, "x0": float(x)} for f, x in ((105, 1), (110, 2), (110, 3))]
    assert [r["x0"] for r in line("things", BOX, rows).rows_at(108, 100)] == [2, 3]


def mesh_row(frame: int, points: np.ndarray) -> dict[str, Any]:
    fixed = np.rint(points * 32).astype(int).ravel().tolist()
    low, high = points.min(axis=0), points.max(axis=0)
    box = {"x0": low[0], "y0": low[1], "x1": high[0], "y1": high[1]}
    return {"frame": frame, "presence": 1.0, **{k: float(v) for k, v in box.items()}, "points": fixed}


def test_a_face_mesh_is_drawn_at_its_points() -> None:
    points = np.zeros((478, 3))
    points[:, 0], points[:, 1] = 150.0, 50.0
    points[473] = (170, 80, 0)  # one iris apart
    line_ = of_signal("landmarks", [mesh_row(100, points)])
    assert overlays.kinds_of(line_) == ["mesh or skeleton"]
    drawn = changed(overlays.draw_frame(scene(line_), 100, 200).image_rgb)
    near = [np.abs(drawn - place).max(axis=1).min() for place in ((50, 150), (80, 170))]
    assert max(near) <= 1
    assert not len(changed(overlays.draw_frame(scene(line_), 140, 200).image_rgb)), "a mesh of a second before"


@pytest.mark.parametrize(("count", "dims"), [(33, 3), (33, 4), (21, 3), (21, 2), (5, 3)])
def test_bodies_hands_and_other_points(count: int, dims: int) -> None:
    points = np.zeros((count, dims))
    points[:, 0], points[:, 1] = np.linspace(20, 180, count), np.linspace(10, 90, count)
    told = column("points", pa.list_(pa.int16()), "px/16")
    row = {"frame": 100, "points": np.rint(points * 16).astype(int).ravel().tolist()}
    drawn = changed(overlays.draw_frame(scene(line("body", (told,), [row])), 100, 200).image_rgb)
    assert np.abs(drawn.min(axis=0) - (10, 20)).max() <= 3
    assert np.abs(drawn.max(axis=0) - (90, 180)).max() <= 3


def test_bones_join_points_of_a_hand() -> None:
    points = np.zeros((21, 2))
    points[8] = (100, 50)
    points[7] = (20, 50)
    told = column("points", pa.list_(pa.int16()), "px")
    row = {"frame": 100, "points": points.astype(int).ravel().tolist()}
    drawn = changed(overlays.draw_frame(scene(line("hands", (told,), [row])), 100, 200).image_rgb)
    assert len(drawn[(drawn[:, 0] == 50) & (drawn[:, 1] > 25) & (drawn[:, 1] < 95)]) == 69


def test_points_that_are_hidden_are_not_drawn() -> None:
    points = np.tile([100.0, 50.0, 0.0], (33, 1))
    points[16] = (20, 20, 0)
    columns = (
        column("points", pa.list_(pa.int16()), "px/8"),
        column("visibility", pa.list_(pa.int16()), "score/10000"),
    )
    row = {"frame": 100, "points": (points * 8).astype(int).ravel().tolist(), "visibility": [10_000] * 33}
    seen = changed(overlays.draw_frame(scene(line("body", columns, [row])), 100, 200).image_rgb)
    row["visibility"] = [10_000] * 16 + [4_000] + [10_000] * 16
    hidden = changed(overlays.draw_frame(scene(line("body", columns, [row])), 100, 200).image_rgb)
    assert seen[:, 1].min() < 22
    assert hidden[:, 1].min() > 95


def test_single_points_are_dots() -> None:
    row = {"frame": 100, "face": 0, **CORNERS, "score": 0.9, "nose_x": 60.0, "nose_y": 90.0}
    others = [c for c in discover()["faces"].spec.timeline if c.name.endswith(("_x", "_y")) and "nose" not in c.name]
    told = of_signal("faces", [row | {c.name: 30.0 for c in others}])
    assert overlays.kinds_of(told) == ["boxes", "points"]
    made = overlays.draw_frame(scene(told), 100, 200).image_rgb
    assert made[90, 60].tolist() == list(overlays.WHITE)


@pytest.mark.parametrize(
    ("angles", "axis", "direction"),
    [
        ((0, 0, 0), 2, (0, 0)),
        ((40, 0, 0), 2, (1, 0)),
        ((-40, 0, 0), 2, (-1, 0)),
        ((0, 30, 0), 2, (0, -1)),
        ((0, 0, 90), 0, (0, 1)),
        ((0, 0, 0), 1, (0, 1)),
    ],
)
def test_axes_of_the_head(angles: tuple[float, float, float], axis: int, direction: tuple[int, int]) -> None:
    made = overlays.head_axes(*angles)[axis]
    assert np.sign(np.round(made, 6)).tolist() == list(direction)


@pytest.mark.parametrize("names", [("yaw", "pitch", "roll"), ("yaw_deg", "pitch_deg", "roll_deg")])
def test_head_angles_are_axes_on_the_face(names: tuple[str, str, str]) -> None:
    pose = line(
        "head_pose",
        [column(n, pa.float32(), "deg") for n in names],
        [{"frame": 100, names[0]: 60.0, names[1]: 0.0, names[2]: 0.0}],
    )
    faces = line("faces", BOX, [{"frame": 100, **CORNERS}])
    bare = changed(overlays.draw_frame(scene(faces), 100, 200).image_rgb)
    drawn = changed(overlays.draw_frame(scene(pose, faces), 100, 200).image_rgb)
    assert overlays.kinds_of(pose) == ["head angles"]
    apart = {tuple(p) for p in drawn} - {tuple(p) for p in bare}
    xs = np.array(sorted(apart))[:, 1]
    assert xs.max() > 75, "the face looks to the right"
    assert xs.min() > 50
    assert not len(changed(overlays.draw_frame(scene(pose), 100, 200).image_rgb)), "no face, no place"


def test_the_row_of_a_clip_can_be_drawn() -> None:
    columns = [column(f"{a}_mean_deg", pa.float32(), "deg") for a in ("yaw", "pitch", "roll")]
    whole = Line("head_pose", {c.name: c for c in columns}, pa.table({c.name: [20.0] for c in columns}))
    assert overlays.kinds_of(whole) == ["head angles"]
    faces = line("faces", BOX, [{"frame": 100, **CORNERS}, {"frame": 140, **CORNERS}])
    for frame in (100, 140):
        drawn = [
            len(changed(overlays.draw_frame(s, frame, 200).image_rgb)) for s in (scene(faces), scene(whole, faces))
        ]
        assert drawn[1] > drawn[0]


def test_gaze_is_an_arrow_from_the_eyes() -> None:
    gaze = line(
        "gaze", [column(n, pa.float32(), "deg") for n in ("yaw", "pitch")], [{"frame": 100, "yaw": -60.0, "pitch": 0.0}]
    )
    eyes = tuple(column(f"{s}_eye_{a}", pa.float32()) for s in ("left", "right") for a in "xy")
    at = {"left_eye_x": 70.0, "left_eye_y": 35.0, "right_eye_x": 50.0, "right_eye_y": 35.0}
    faces = line("faces", (*BOX, *eyes), [{"frame": 100, **CORNERS, **at}])
    made = overlays.draw_frame(scene(gaze, faces), 100, 200).image_rgb
    amber = np.argwhere((made == np.array(overlays.AMBER, np.uint8)).all(axis=2))
    left = amber[(amber[:, 1] < 58) & (amber[:, 1] > 42) & (abs(amber[:, 0] - 40) < 15)]
    assert overlays.kinds_of(gaze) == ["gaze"]
    assert len(left) > 8
    assert set(left[:, 0]) <= set(range(28, 43))


def test_closed_eyes_look_nowhere() -> None:
    columns = [
        *(column(n, pa.float32(), "deg") for n in ("yaw_deg", "pitch_deg")),
        column("closed", pa.bool_(), "bool"),
    ]
    faces = line("faces", BOX, [{"frame": 100, **CORNERS}])
    drawn = []
    for closed in (False, True):
        gaze = line("gaze", columns, [{"frame": 100, "yaw_deg": 40.0, "pitch_deg": 0.0, "closed": closed}])
        drawn.append(len(changed(overlays.draw_frame(scene(gaze, faces), 100, 200).image_rgb)))
    bare = len(changed(overlays.draw_frame(scene(faces), 100, 200).image_rgb))
    assert drawn[0] > drawn[1] == bare


def test_the_eyes_of_a_mesh_are_where_a_gaze_begins() -> None:
    points = np.zeros((478, 3))
    points[:, 1] = np.linspace(0, 80, 478)
    points[[33, 263], :2] = [(50, 30), (90, 34)]
    mesh = of_signal("landmarks", [mesh_row(100, points)])
    assert overlays.face_place(scene(mesh), 100, between_eyes=True) == (70, 32, 40)
    assert overlays.face_place(scene(mesh), 100) == (45, 40, 40)


def test_flow_is_drawn_where_the_picture_moves() -> None:
    texture = np.random.default_rng(0).integers(40, 220, (100, 200, 3)).astype(np.uint8)

    def picture(frame: int) -> np.ndarray:
        return np.concatenate([np.roll(texture[:, :100], (frame - 100), axis=1), texture[:, 100:]], axis=1)

    told = of_signal("flow", [{"frame": 100, "camera": 0.0, "subject": 4.0, "total": 4.0}])
    made = overlays.draw_frame(scene(told, picture=picture), 100, 200).image_rgb
    drawn = np.argwhere((made != picture(100)).any(axis=2))
    assert len(drawn) > 50
    assert (drawn[:, 1] < 115).mean() > 0.95
    slow = overlays.draw_frame(scene(told, picture=lambda f: picture(100 + (f - 100) * 2 // 5)), 100, 200).image_rgb
    drawn = np.flatnonzero((slow[40:61] != picture(100)[40:61]).any(axis=(0, 2)))
    assert set(range(29, 42)) <= set(drawn), "2 px in 0.2 s: an arrow of 10 px, the way of a second"
    assert not {44, 45, 46} & set(drawn), "and no longer"
    last = overlays.draw_frame(scene(told, picture=picture), 146, 200).image_rgb
    assert np.array_equal(last, picture(146)), "beyond the clip's end there is no frame to go to"


def test_numbers_alone_have_no_overlay() -> None:
    whole = Line("embedding", {"num_frames": column("num_frames", pa.int32(), "count")}, pa.table({"num_frames": [3]}))
    assert overlays.kinds_of(whole) == []


def test_frames_are_spread_and_moved_to_rows_of_the_signal() -> None:
    assert list(overlays.frames_to_show(scene())) == [105, 125, 140]
    boxes = line("things", BOX, [{"frame": f, **CORNERS} for f in (112, 126)])
    assert list(overlays.frames_to_show(scene(boxes))) == [112, 126, 140]


def pixels(picture: Any, colour: Sequence[int]) -> np.ndarray:
    return np.argwhere((np.asarray(picture) == np.array(colour, np.uint8)).all(axis=2))


def test_a_curve_rises_from_left_to_right() -> None:
    rows = [{"frame": 100 + i, "camera": float(i), "subject": 1.0, "total": 1.0} for i in range(50)]
    made = strips.draw_strips(scene(of_signal("flow", rows)), 500, [125])
    assert made is not None
    teal = pixels(made, overlays.TEAL)
    left, right = teal[teal[:, 1] < 50, 0].mean(), teal[teal[:, 1] > 450, 0].mean()
    assert left - right > 20
    assert len(pixels(made, (90, 100, 112))[:, 1]) > 100, "the line of the frame that is shown"


def test_the_waveform_shows_sound_where_there_is_some() -> None:
    audio = np.zeros(50 * 640, np.float32)
    audio[16_000:] = 0.5 * np.sin(np.arange(len(audio) - 16_000))
    speech = of_signal(
        "vad", [{"frame": 100 + i, "speech_prob": float(i >= 25), "loudness_db": -20.0} for i in range(50)]
    )
    made = strips.draw_strips(scene(speech, audio=audio), 500, [])
    assert made is not None
    loud = np.unique(pixels(made, overlays.TEAL)[:, 0], return_counts=True)
    assert loud[1].max() > 230
    shade = pixels(made, (24, 52, 52))
    assert shade[:, 1].min() >= 249


def test_turns_have_a_lane_each() -> None:
    columns = [
        column("start_s", pa.float32(), "s"),
        column("end_s", pa.float32(), "s"),
        column("speaker", pa.int16(), "count"),
    ]
    rows = [
        {"frame": 100, "start_s": 0.0, "end_s": 1.0, "speaker": 0},
        {"frame": 125, "start_s": 1.0, "end_s": 2.0, "speaker": 1},
    ]
    turns = line("diarization", columns, rows)
    made = strips.draw_strips(scene(turns), 500, [])
    assert made is not None
    first, second = (pixels(made, overlays.COLOURS[i]) for i in (0, 1))
    assert first[:, 1].max() <= 252 <= second[:, 1].min() + 4
    assert first[:, 0].max() < second[:, 0].min()
    assert strips.kinds_of([turns], sound=False) == ["events"]


def test_scores_of_windows_stand_as_high_as_they_are_and_those_taken_for_it_apart() -> None:
    rows = [
        {"frame": 100, "start_s": 0.0, "end_s": 1.0, "window_score": 0.25},
        {"frame": 125, "start_s": 1.0, "end_s": 2.0, "window_score": 1.0},
    ]
    windows = of_signal("synthetic_audio", rows)
    assert strips.kinds_of([windows], sound=False) == ["scores"]
    made = strips.draw_strips(scene(windows), 500, [])
    assert made is not None
    below, above = pixels(made, overlays.TEAL), pixels(made, overlays.AMBER)
    assert below[:, 1].max() < 250 <= above[:, 1].min()
    floor, height = strips.CURVE_PX - 4, strips.CURVE_PX - strips.LABEL_PX - 6
    assert abs(below[:, 0].mean() - (floor - 0.25 * height)) <= 1.5
    assert abs(above[:, 0].mean() - (floor - height)) <= 1.5


@pytest.mark.parametrize(("language", "colour"), [("en", overlays.TEAL), (None, strips.SOFT)])
def test_a_language_lies_over_the_speech_alone(language: str | None, colour: tuple[int, int, int]) -> None:
    told = {"language": language, "probability": 0.9, "second_language": "nn", "second_probability": 0.05}
    declared = {c.name: c for c in discover()["language"].spec.columns if told.get(c.name) is not None}
    whole = Line("language", declared, pa.table({n: [told[n]] for n in declared}))
    speech = of_signal(
        "vad", [{"frame": 100 + i, "speech_prob": float(20 <= i < 40), "loudness_db": -20.0} for i in range(50)]
    )
    assert strips.kinds_of([whole, speech], sound=False) == ["language"]
    made = strips.draw_strips(scene(whole, speech), 500, [])
    assert made is not None
    assert made.height == strips.LANE_PX + 4 + strips.LABEL_PX, "what the lane shows is no curve besides"
    edge = pixels(made, colour)
    edge = edge[edge[:, 0] < strips.LANE_PX + 1]
    assert abs(edge[:, 1].min() - 200) <= 1
    assert abs(edge[:, 1].max() - 399) <= 1
    assert len(pixels(made, strips.INK)) > 50, "its name"


def test_numbers_that_nobody_knows_make_no_curve() -> None:
    flow = of_signal("flow", [{"frame": 100, "camera": 1.0, "subject": None, "total": None}])
    assert strips.curves_of(flow) == ["camera"]
    assert strips.draw_strips(scene(of_signal("flow", [])), 500, []) is None


def test_words_stand_below_the_waveform() -> None:
    words = of_signal("speech", [{"frame": 110, "start_s": 0.4, "end_s": 1.0, "word": "hello", "probability": 1.0}])
    quiet = strips.draw_strips(scene(audio=np.zeros(32_000, np.float32)), 500, [])
    made = strips.draw_strips(scene(words, audio=np.zeros(32_000, np.float32)), 500, [])
    assert quiet is not None
    assert made is not None
    assert made.height == quiet.height + strips.LANE_PX
    mark = pixels(made, (70, 80, 92))
    assert set(mark[:, 1]) == {99}
    assert mark[:, 0].max() > strips.WAVE_PX
    assert strips.kinds_of([words], sound=True) == ["waveform", "words"]


def test_words_in_quick_succession_stand_whole_in_lanes() -> None:
    rows = [
        {"frame": 100, "start_s": 0.1 * i, "end_s": 0.1 * i + 0.1, "word": "considerable", "probability": 1.0}
        for i in range(3)
    ]
    placed = strips._placed_words(of_signal("speech", rows), scene(), 500)
    assert [(told, lane) for _, told, lane in placed] == [("considerable", i) for i in range(3)]
    last = [{**rows[0], "start_s": 2.0 + 0.001 * i, "end_s": 2.05} for i in range(strips.MAX_WORD_LANES + 1)]
    placed = strips._placed_words(of_signal("speech", last), scene(), 500)
    assert [told for _, told, _ in placed] == ["considerable"] * strips.MAX_WORD_LANES + [""]


def test_words_without_glyphs_are_left_out() -> None:
    assert strips._drawable("né… ") == "né…"
    assert strips._drawable("你好") == ""


def test_a_picture_holds_frames_and_strips() -> None:
    rows = [{"frame": 100 + i, "camera": float(i), "subject": 1.0, "total": 1.0} for i in range(50)]
    made = strips.compose(scene(of_signal("flow", rows)), [105, 125, 140], 320)
    assert made.size == (3 * 320 + 12, 160 + 3 * strips.CURVE_PX + strips.LABEL_PX)
    bare = strips.compose(scene(), [105], 320)
    assert bare.size == (320, 160)
