"""The serving benchmark on a small scale: it measures what it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks import serving, serving_backends
from benchmarks.serving import carried, drawing, faults, first_fragment_s, long_run, offline, switches
from benchmarks.serving_skew import skew
from serving import live
from serving.publish import Fragments
from tests.unit.serving.conftest import one_thread  # noqa: F401 - for every test here
from tests.unit.serving.talker import head


def test_sound_and_picture_stay_together_and_an_offset_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(abs(ms) < 1 for ms in skew(head(), 9)["click_after_flash_ms"])

    class Late(Fragments):
        """Its sound is a frame late."""

        held = np.zeros(640, np.int16)

        def write(self, number: int, picture: np.ndarray, sound_N: np.ndarray) -> bytes:
            said, self.held = self.held, sound_N
            return super().write(number, picture, said)

    monkeypatch.setattr(live, "Fragments", Late)
    assert skew(head(), 9)["click_after_flash_ms"] == pytest.approx([40, 40], abs=1)


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


def test_a_new_sessions_first_sound_is_timed() -> None:
    assert 0 < first_fragment_s(head()) < 30


FINE = {
    "run": {"fps": 30.0, "growth_mib": 5.0, "chunks": 1000},
    "renderer": {"fps": 31.0, "growth_mib": -1.0, "chunks": 1000},
    "switch": {"still_ms": {"median": 0.01, "worst": 20.0}, "lost_frames": 0},
    "renderer_switch": {"still_ms": {"median": 1.0, "worst": 20.0}, "lost_frames": 0},
    "skew": {"seconds": 3600, "click_after_flash_ms": [0.1, -40.0]},
    "first_fragment_s": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changed", "why"),
    [
        ("run", {"fps": 29.0, "growth_mib": 0.0, "chunks": 9}, "run: 29.0 frames a second of one core, at least 30"),
        ("renderer", {"fps": 40.0, "growth_mib": 6.0, "chunks": 9}, "renderer: 6.0 MiB more after 9 chunks, at most 5"),
        ("switch", {"still_ms": {"median": 1.5}, "lost_frames": 0}, "switch: stands still for 1.500 ms, at most 1;"),
        ("renderer_switch", {"still_ms": {"median": 0.1}, "lost_frames": 2}, "at most 1; 2 frames lost"),
        ("skew", {"seconds": 3600, "click_after_flash_ms": [0.0, 41.0]}, "skew: +41.0 ms late in 3600 s, at most 40"),
        ("first_fragment_s", 0.6, "first fragment: 0.60 s, at most 0.5"),
    ],
)
def test_each_limit_that_is_broken_is_told_and_ends_with_1(
    name: str, changed: Any, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faults(FINE) == []
    (fault,) = faults({**FINE, name: changed})
    assert why in fault
    found = {**FINE, name: changed}
    monkeypatch.setattr(serving, "of_picture", lambda path: head())
    for part, key in (
        ("long_run", "run"),
        ("switches", "switch"),
        ("skew", "skew"),
        ("first_fragment_s", "first_fragment_s"),
    ):

        def told(*given: Any, key: str = key, **more: Any) -> Any:
            if key == "run" and len(given) > 2:
                return found["renderer"]
            return found["renderer_switch"] if more.get("renderers") else {**FINE, **found}[key]

        monkeypatch.setattr(serving, part, told)
    monkeypatch.setattr(serving_backends, "backends", dict)
    monkeypatch.setattr(serving, "step_ms", lambda *given: 1.0)
    monkeypatch.setattr(serving, "offline", lambda *given: {})
    assert serving.main(["--avatar", "drawn", "--json"]) == 1
    assert why in json.loads(capsys.readouterr().out)["faults"][0]


def test_backends_draw_alike_and_are_timed_beside_torch() -> None:
    pytest.importorskip("onnx", reason="graphs need onnx: pip install -e '.[export]'")
    told = serving_backends.backends(rounds=1)
    for network in ("motion", "renderer"):
        assert {"torch float32", "torch bfloat16", "ONNX Runtime float32"} <= set(told[network])
        for name, one in told[network].items():
            assert one["apart"] <= (0.03 if "bfloat16" in name else 1e-4)
            assert one["ms"] > 0
        assert (told[network]["torch float32"]["ratio"], told[network]["torch float32"]["apart"]) == (1.0, 0.0)
        assert told[network]["torch bfloat16"]["apart"] > 0, "another precision, and not the same again"
    assert serving_backends.table(told).count("\n") == 1 + len(told["motion"])
