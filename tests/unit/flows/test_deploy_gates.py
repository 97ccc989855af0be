"""Gates, on figures that are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows import deploy, deploy_gates
from flows.deploy_gates import alike, compared_on, evaluation_gates, failures, live_gates
from flows.deploy_probe import _heard, _skew_ms
from flows.deploy_sync import mouth_lag


def figure(value: float, spread: float = 0.1) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread, "n": 8}


def metrics(lip: float = 1.0, correlation: float = 0.4, ahead: float = 0.3, quiver: float = 0.5) -> dict[str, Any]:
    """An evaluation in the form of modeling/motion_metrics.py."""
    ours = {
        "lip_distance": figure(lip), "lip_velocity_distance": figure(5 * lip), "correlation": figure(correlation),
    }  # fmt: skip
    silence = {
        "after_voice_open": figure(0.2),
        "after_voice_quiver": figure(quiver),
        "nothing_room_open": 0.1,
        "nothing_room_quiver": quiver,
    }
    return {
        "held_people": {
            "num_people": 4, "num_clips": 8, "seconds": 40.0,
            "measures": {"ours": ours}, "ahead": {"mean_motion": dict.fromkeys(ours, figure(ahead))}, "silence": silence,
        }
    }  # fmt: skip


LIVE = {
    "frames": 180.0, "lost_frames": 0.0, "fps": 60.0, "first_fragment_s": 0.2, "underrun_ratio": 0.0, "skew_ms": 1.0,
    "frame_change": 1.0, "mouth_range": 0.6, "mouth_loudness": 0.5,
    "mouth_shown": 5.0, "mouth_lag_ms": -40.0, "mouth_lag_clearness": 2.0,
}  # fmt: skip


def failed(gates: list[deploy_gates.Gate]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


def test_one_that_is_as_good_as_what_serves_passes_and_worse_by_its_interval_fails() -> None:
    assert failed(evaluation_gates(metrics(), metrics())) == []
    assert failed(evaluation_gates(metrics(1.08), metrics())) == ["lip_velocity_distance"]
    assert failed(evaluation_gates(metrics(1.3, 0.2), metrics())) == [
        "lip_distance",
        "lip_velocity_distance",
        "correlation",
    ]
    assert failed(evaluation_gates(metrics(9.0, 0.0), None)) == [], "the first one is judged by the baselines"


def test_one_that_is_clearly_behind_a_baseline_or_quivers_in_silence_fails() -> None:
    assert failed(evaluation_gates(metrics(ahead=-0.05), None)) == []
    names = ("lip_distance", "lip_velocity_distance", "correlation")
    assert failed(evaluation_gates(metrics(ahead=-0.2), metrics())) == [
        f"{n} ahead of mean_motion, upper end" for n in names
    ]
    for name in names:
        behind = metrics()
        behind["held_people"]["ahead"]["rms_to_mouth"] = {**dict.fromkeys(names, figure(0.3)), name: figure(-0.2)}
        assert failed(evaluation_gates(behind, metrics())) == [f"{name} ahead of rms_to_mouth, upper end"]
    quivers = evaluation_gates(metrics(quiver=3.0), metrics())
    assert failed(quivers) == ["after_voice_quiver", "nothing_room_quiver"]
    assert failures(quivers).startswith("after_voice_quiver is 3, must be at most 1 (a mouth must rest")
    assert failed(evaluation_gates(metrics(quiver=3.0), metrics(quiver=3.0))) == []
    with pytest.raises(ValueError, match="its evaluation has no held_people"):
        evaluation_gates({}, None)


def test_where_only_time_was_held_out_the_gates_say_so_and_compare_the_same_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def time_alone(lip: float = 1.0, seconds: float = 4.8) -> dict[str, Any]:
        judged = {**metrics(lip)["held_people"], "num_people": 1, "num_clips": 2, "seconds": seconds}
        return {"held_out": "time", "held_time": judged}

    assert compared_on(metrics()) == "4 people it never saw, 40 s"
    assert compared_on(time_alone()) == "held-out time, 4.8 s of a person it learnt from, and on nobody it never saw"
    assert failed(evaluation_gates(time_alone(1.3), time_alone())) == ["lip_distance", "lip_velocity_distance"]
    assert [alike(time_alone(), other) for other in (time_alone(), time_alone(1, 9.0), metrics())] == [
        True,
        False,
        False,
    ]
    assert failed(evaluation_gates(time_alone(1.3), metrics())) == [], "people are not compared with time"
    with pytest.raises(ValueError, match="its evaluation has no held_time"):
        evaluation_gates({"held_out": "time", **metrics()}, None)

    evaluations = {"new": time_alone(), "old": metrics()}
    monkeypatch.setattr(
        deploy, "usable", lambda place, name, kind: SimpleNamespace(id=name, told={"snapshot": {"id": "s"}})
    )
    monkeypatch.setattr(deploy, "evaluation_of", lambda place, found, snapshot: evaluations[found.id])
    monkeypatch.setattr(deploy.registry, "load", lambda place, name: SimpleNamespace(id=name))
    judged = deploy.judge(None, "new", "old")  # type: ignore[arg-type]
    assert judged.notes[0].startswith("old, which serves, was not judged on the same (held-out time, 4.8 s")
    assert "Judged on held-out time, 4.8 s of a person" in deploy.gates_page("new", "old", judged)


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"fps": 20.0}, "fps"), ({"fps": 30.0}, "fps"), ({"first_fragment_s": 0.6}, "first_fragment_s"),
        ({"underrun_ratio": 0.1}, "underrun_ratio"), ({"skew_ms": 60.0}, "skew_ms"), ({"skew_ms": None}, "skew_ms"),
        ({"lost_frames": 1.0}, "lost_frames"), ({"frame_change": 0.0}, "frame_change"), ({"mouth_range": 0.0}, "mouth_range"),
        ({"mouth_range": 0.2}, "mouth_range"), ({"mouth_loudness": 0.2}, "mouth_loudness"), ({"mouth_shown": 1.4}, "mouth_shown"),
        ({"mouth_lag_ms": -140.0}, "mouth_lag_ms"), ({"mouth_lag_ms": 90.0}, "mouth_lag_ms"), ({"mouth_lag_ms": None}, "mouth_lag_ms"),
    ],
)  # fmt: skip
def test_a_canary_that_is_slow_late_or_frozen_fails_by_name(changed: dict[str, Any], gate: str) -> None:
    assert failed(live_gates(LIVE, LIVE)) == []
    assert failed(live_gates(LIVE, None)) == []
    assert failed(live_gates({**LIVE, **changed}, LIVE)) == [gate]


@pytest.mark.parametrize(
    ("lag_ms", "beside_ms", "clearness", "passes"),
    [
        (-150.0, None, 0.5, True), (-200.0, None, 0.5, False), (200.0, None, 0.5, False), (None, None, 0.5, True),
        (0.0, -160.0, 2.0, True), (-100.0, 0.0, 2.0, False), (-70.0, 30.0, 2.0, True), (None, -40.0, 1.2, True),
    ],
)  # fmt: skip
def test_a_mouths_lag_is_bound_by_that_of_what_serves_where_it_can_be_told(
    lag_ms: float | None, beside_ms: float | None, clearness: float, passes: bool
) -> None:
    beside = {**LIVE, "mouth_lag_ms": beside_ms, "mouth_lag_clearness": clearness}
    assert (failed(live_gates({**LIVE, "mouth_lag_ms": lag_ms}, beside)) == []) == passes


def test_a_mouths_lag_is_found_in_its_pixels_and_none_in_a_mouth_that_does_as_it_likes() -> None:
    draw = np.random.default_rng(0)
    loud = np.repeat(draw.random(40), 4)  # syllables
    heard = draw.normal(0, 1, 160 * 640) * np.repeat(0.05 + 0.3 * loud, 640)
    sway = 20 * np.sin(np.arange(160) / 30)
    for late, told_ms in ((0, 0), (5, -200), (-3, 120)):
        opening = np.roll(loud, late)
        pictures = np.full((160, 64, 64), 120.0) + sway[:, None, None] + draw.normal(0, 2, (160, 64, 64))
        pictures[:, 30:40, 20:44] -= 60 * opening[:, None, None]
        lag, clearness = mouth_lag(
            np.clip(pictures, 0, 255).astype(np.uint8), range(0, 160 * 640, 640), heard, (16, 24, 48, 48)
        )
        assert lag == pytest.approx(told_ms, abs=15)
        assert clearness > 2
    at_will = draw.normal(120, 20, (160, 64, 64)).clip(0, 255).astype(np.uint8)
    assert mouth_lag(at_will, range(0, 160 * 640, 640), heard, (16, 24, 48, 48))[0] is None
    assert mouth_lag(at_will[:50], range(0, 50 * 640, 640), heard, (16, 24, 48, 48)) == (None, 0.0)


def test_a_page_tells_each_gate() -> None:
    told = deploy_gates.table(live_gates({**LIVE, "mouth_range": 0.0, "skew_ms": None}, LIVE))
    assert "| mouth_range | 0 | at least 0.24 | **failed** | the checkpoint that serves has 0.6 |" in told
    assert "| skew_ms | not measured |" in told
    assert "| fps | 60 | at least 36 | passed |" in told


def test_skew_is_found_in_the_sound_itself() -> None:
    said = (np.random.default_rng(0).normal(0, 3000, 16_000)).astype(np.int16)
    heard = np.concatenate([np.zeros(8000), said / 32768, np.zeros(4000)])
    heard = _heard([(at, heard[at : at + 1024]) for at in range(0, len(heard), 1024)])
    assert _skew_ms(heard, said, 0.5) == pytest.approx(0)
    assert _skew_ms(heard, said, 0.45) == pytest.approx(50)
    assert _skew_ms(np.random.default_rng(1).normal(0, 1, 20_000), said, 0.5) is None
    assert _skew_ms(_heard([]), said, 0.5) is None
