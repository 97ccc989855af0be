"""Timelines on units that no cut divides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.clip_timelines import Timelines, timelines_from, unit_bounds


def cuts_table(*cuts: tuple[int, int]) -> pa.Table:
    frames, ends = [c[0] for c in cuts], [c[1] for c in cuts]
    return pa.table({"frame": pa.array(frames, pa.int32()), "end_frame": pa.array(ends, pa.int32())})


def faces_table(frames: list[int], heights: list[float], scores: list[float] | None = None) -> pa.Table:
    return pa.table(
        {
            "frame": pa.array(frames, pa.int32()),
            "y0": pa.array([10.0] * len(frames), pa.float32()),
            "y1": pa.array([10.0 + h for h in heights], pa.float32()),
            "score": pa.array(scores or [0.95] * len(frames), pa.float32()),
        }
    )


def flow_table(frames: list[int], subject: list[float]) -> pa.Table:
    return pa.table({"frame": pa.array(frames, pa.int32()), "subject": subject, "camera": [0.5] * len(frames)})


def keyframes_table(frames: list[int], quality: list[float]) -> pa.Table:
    return pa.table({"frame": pa.array(frames, pa.int32()), "quality": quality})


def test_units_end_at_cuts() -> None:
    assert unit_bounds(17, [(7, 7), (11, 13)]).tolist() == [0, 5, 7, 10, 11, 13, 15, 17]


def test_a_unit_takes_what_was_measured_in_its_own_shot() -> None:
    made = timelines_from(
        40,
        faces_table([0, 5, 5, 10, 15, 25, 30, 35], [50, 60, 20, 50, 50, 90, 90, 90]),
        flow_table([5, 10, 15, 20, 25, 30, 35], [1, 2, 3, 99, 5, 6, 7]),
        keyframes_table([0, 25], [4.0, 2.0]),
        cuts_table((22, 22)),
    )
    assert made.bounds.tolist() == [0, 5, 10, 15, 20, 22, 25, 30, 35, 40]
    assert made.shot.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    # Frame 20 has no face; the short unit [22, 25) has no sample and takes that of frame 25.
    assert made.face_height_px.tolist() == [50, 60, 50, 50, 0, 90, 90, 90, 90]
    # The flow row of frame 20 compares it with frame 25, across the cut.
    assert made.motion.tolist() == [1, 1, 2, 3, 3, 5, 5, 6, 7]
    assert made.quality.tolist() == [4, 4, 4, 4, 4, 2, 2, 2, 2]
    assert made.camera_motion.tolist() == [0.5] * 9
    assert made.speech.tolist() == [0.0] * 9


def test_the_time_before_the_picture_starts_belongs_to_no_shot() -> None:
    made = timelines_from(
        20,
        faces_table([0, 5, 10, 15], [50] * 4),
        flow_table([0, 5, 10, 15], [0, 0, 2, 3]),
        keyframes_table([0], [4.0]),
        cuts_table(),
        first_frame=7,
    )
    assert made.bounds.tolist() == [0, 5, 7, 10, 15, 20]
    assert made.shot.tolist() == [-1, -1, -1, -1, -1], "no keyframe of the picture itself was measured"
    measured = timelines_from(
        20,
        faces_table([0, 5, 10, 15], [50] * 4),
        flow_table([0, 5, 10, 15], [0, 0, 2, 3]),
        keyframes_table([0, 10], [1.0, 4.0]),
        cuts_table(),
        first_frame=7,
    )
    assert measured.shot.tolist() == [-1, -1, 1, 1, 1]
    assert measured.motion.tolist()[2:] == [2, 2, 3]
    assert measured.quality.tolist()[2:] == [4, 4, 4]


def test_a_gradual_cut_and_what_was_never_measured_belong_to_no_shot() -> None:
    made = timelines_from(
        40,
        faces_table([], []),
        flow_table([5, 30, 35], [1, 2, 3]),
        keyframes_table([0], [4.0]),
        cuts_table((12, 18)),
    )
    assert made.bounds.tolist() == [0, 5, 10, 12, 15, 18, 20, 25, 30, 35, 40]
    assert made.shot.tolist() == [0, 0, 0, -1, -1, -1, -1, -1, -1, -1]  # no keyframe after the cut


def test_a_face_that_is_not_sure_counts_as_none() -> None:
    made = timelines_from(
        20,
        faces_table([0, 0, 5, 10], [40, 90, 50, 60], [0.95, 0.84, 0.84, 0.85]),
        flow_table([0], [1]),
        keyframes_table([0], [4]),
        cuts_table(),
    )
    assert made.face_height_px.tolist() == [40, 0, 60, 0]


def test_speech_is_where_its_probability_is_high() -> None:
    vad = pa.table({"frame": pa.array(range(20), pa.int32()), "speech_prob": [0.9] * 10 + [0.1] * 10})
    made = timelines_from(20, faces_table([], []), flow_table([5], [1]), keyframes_table([0], [4]), cuts_table(), vad)
    assert made.speech.tolist() == [1, 1, 0, 0]


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="video of 0 frames"):
        timelines_from(0, faces_table([], []), flow_table([], []), keyframes_table([], []), cuts_table())


def test_units_must_fill_the_video_and_values_the_units() -> None:
    one = np.ones(2)
    with pytest.raises(ValueError, match="rise from 0 to 10"):
        Timelines(10, np.array([0, 5, 9]), one, one, one, one, one, one)
    with pytest.raises(ValueError, match="timeline motion: 2 values for 2 units, 1 of them not finite"):
        Timelines(10, np.array([0, 5, 10]), one, one, np.array([1, np.nan]), one, one, one)
