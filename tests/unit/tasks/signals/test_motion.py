from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import motion


def flow_rows(start: int, total: list[float]) -> pa.Table:
    n = len(total)
    frames = pa.array([start + 5 * i for i in range(n)], pa.int32())
    zero = pa.array([0.0] * n, pa.float32())
    return pa.table({"frame": frames, "camera": zero, "subject": pa.array(total, pa.float32()), "total": total})


def test_means_p95_and_share_without_motion() -> None:
    media = Media(100, 151, 320, 180)
    row = motion.compute(media, {"flow": flow_rows(100, [0.0] * 5 + [4.0] * 5)}).row
    assert row["total_speed"] == pytest.approx(2.0)
    assert row["subject_speed_p95"] == pytest.approx(4.0)
    assert row["camera_speed"] == 0
    assert row["static_ratio"] == 0.5


def test_pairs_that_reach_beyond_the_clip_do_not_count() -> None:
    media = Media(0, 50, 320, 180)
    row = motion.compute(media, {"flow": flow_rows(0, [1.0] * 9 + [500.0])}).row
    assert row["total_speed"] == pytest.approx(1.0)


def test_too_short() -> None:
    with pytest.raises(NotApplicable, match="too short for a pair of frames"):
        motion.compute(Media(0, 4, 320, 180), {"flow": flow_rows(0, [1.0])})
