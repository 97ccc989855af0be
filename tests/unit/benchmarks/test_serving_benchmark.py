"""The serving benchmark on a small scale: it measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import serving
from benchmarks.serving import carried, drawing, long_run, offline, skew, switches
from serving.publish import Fragments
from tests.unit.serving.conftest import one_thread  # noqa: F401 - for every test here
from tests.unit.serving.talker import head


def test_sound_and_picture_stay_together_and_an_offset_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(abs(ms) < 1 for ms in skew(6)["click_after_flash_ms"])

    class Late(Fragments):
        """Its sound is a frame late."""

        held = np.zeros(640, np.int16)

        def write(self, number: int, picture: np.ndarray, sound_N: np.ndarray) -> bytes:
            said, self.held = self.held, sound_N
            return super().write(number, picture, said)

    monkeypatch.setattr(serving, "Fragments", Late)
    assert skew(6)["click_after_flash_ms"] == pytest.approx([40, 40], abs=1)


def test_a_run_counts_its_frames_and_memory() -> None:
    told = long_run(head(), 120)
    assert told["fps"] > 0
    assert set(told["resident_mib"]) == {60, 100, 120}
    assert set(told["wall_s_by_stage"]) == {"motion", "draw"}


@pytest.mark.parametrize("renderers", [False, True])
def test_a_switch_of_checkpoints_is_timed_under_way_and_loses_no_frame(renderers: bool) -> None:
    told = switches(head(), 6, renderers=renderers)
    assert told["lost_frames"] == 0
    assert told["frames"] > 6
    assert 0 < told["still_ms"]["median"] < 1
    assert told["still_ms"]["median"] < told["ready_ms"]["median"]


def test_streams_follow_from_what_binds_first() -> None:
    assert carried(100, 100, 4, on_gpu=False) == pytest.approx(8)  # each frame takes 10 ms twice
    assert carried(100, 10_000, 4, on_gpu=True) == pytest.approx(16)  # the cores
    assert carried(100, 250, 4, on_gpu=True) == pytest.approx(10)  # the GPU


def test_offline_counts_the_frames_of_all_sounds() -> None:
    told = offline(head(), drawing(), num=2, seconds=0.4)
    assert told["alone"] > 0
    assert told["at_once"] > 0
