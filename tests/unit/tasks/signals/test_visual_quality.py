from __future__ import annotations

import numpy as np
import pytest

from tasks.signals import keyframes, visual_quality
from tests.drawn_face import draw_face, media_of, wall


def test_means_the_worst_and_the_source_size() -> None:
    good, black = draw_face(wall(), 160, 110, 140), np.zeros((240, 320, 3), np.uint8)
    media = media_of({0: good, 25: black}, 50, source_width_px=1280)
    rows = keyframes.compute(media, {}).timeline
    row = visual_quality.compute(media, {"keyframes": rows}).row
    first, second = rows["quality"].to_pylist()
    assert row["quality"] == pytest.approx((first + second) / 2)
    assert row["quality_min"] == second
    assert (row["source_width_px"], row["source_height_px"]) == (1280, 960)
    assert set(row) == {c.name for c in visual_quality.SIGNAL.columns}


def test_a_clip_between_two_keyframes_is_judged_by_its_middle_frame() -> None:
    good = draw_face(wall(), 160, 110, 140)
    rows = keyframes.compute(media_of({0: good}, 25), {}).timeline
    between = media_of({7: good}, 15, start_frame=1)
    row = visual_quality.compute(between, {"keyframes": rows.slice(0, 0)}).row
    assert row["quality"] == pytest.approx(rows["quality"].to_pylist()[0], abs=1e-3)
    assert row["quality_min"] == row["quality"]
