"""Whatever a signal does becomes a row; the rule of staleness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from tasks.compute import MAX_ATTEMPTS, Held, WindowRun, attempt, is_stale
from tasks.media.media import Media
from tasks.signal import Column, LoadedSignal, Needs, NotApplicable, Output, Signal

SPEC = Signal(grain="clip", version=1, columns=(Column("x", pa.float32(), "", "x", low=0, high=1, decimals=3),))
CLIP = LoadedSignal("made", SPEC, lambda media, needs: Output(), "f1")


def held(**changes: object) -> Held:
    return Held(
        **{
            "status": "ok",
            "reason": "",
            "fingerprint": "f1",
            "input_digest": 1,
            "output_digest": 2,
            **changes,
        }
    )  # type: ignore[arg-type]


def raising(error: BaseException) -> Callable[[], Output]:
    def run() -> Output:
        raise error

    return run


def test_an_ok_row_holds_its_rounded_values() -> None:
    made = attempt(CLIP, lambda: Output(row={"x": 0.12345}), 1, None, now=100.0)
    assert (made.status, made.row["x"], made.reason) == ("ok", pytest.approx(0.123), "")


@pytest.mark.parametrize(
    ("run", "status", "reason"),
    [
        (raising(NotApplicable("no audio")), "not_applicable", "no audio"),
        (raising(MemoryError("big")), "failed_transient", "MemoryError: big"),
        (raising(KeyError("oops")), "failed_permanent", "KeyError: 'oops'"),
        (lambda: Output(row={"x": float("nan")}), "failed_permanent", "only finite values"),
        (lambda: Output(row={"x": 1.5}), "failed_permanent", "declared 0 to 1"),
        (lambda: Output(row={"x": 0.5, "y": 1}), "failed_permanent", "returned columns"),
        (lambda: Output(row={"x": 0.5}, vectors={"v": np.zeros(3)}), "failed_permanent", "vectors"),
        (
            lambda: Output(row={"x": 0.5}, timeline=pa.table({"frame": [0]})),
            "failed_permanent",
            "timeline returned, not declared",
        ),
    ],
)
def test_whatever_is_raised_becomes_a_row_without_values(run: Callable[[], Output], status: str, reason: str) -> None:
    made = attempt(CLIP, run, 1, None, now=100.0)
    assert made.status == status
    assert reason in made.reason
    assert made.row == {}


def test_a_passing_failure_waits_longer_each_time_and_then_stays() -> None:
    before, waits = None, []
    for _ in range(MAX_ATTEMPTS):
        before = attempt(CLIP, raising(MemoryError("big")), 1, before, now=100.0)
        waits.append(before.not_before - 100.0)
    assert before is not None
    assert waits[:-1] == sorted(waits[:-1])
    assert before.status == "failed_permanent"
    assert f"after {MAX_ATTEMPTS} attempts" in before.reason


def test_the_rule_of_staleness() -> None:
    assert is_stale(None, "f1", 1, now=0)
    assert not is_stale(held(), "f1", 1, now=0)
    assert is_stale(held(), "f2", 1, now=0)
    assert is_stale(held(), "f1", 2, now=0)
    assert not is_stale(held(status="failed_permanent"), "f1", 1, now=0)
    assert not is_stale(held(status="failed_transient", not_before=10), "f1", 1, now=9)
    assert is_stale(held(status="failed_transient", not_before=10), "f1", 1, now=10)


def window_run(compute: Callable[[Media, Needs], Output]) -> WindowRun:
    spec = Signal(grain="video", version=1, timeline=(Column("x", pa.float32(), "", "x", decimals=3),))
    return WindowRun(LoadedSignal("lines", spec, compute, "f"))


def line(media: Media) -> Output:
    return Output(
        timeline=pa.table({"frame": pa.array([media.start_frame], pa.int32()), "x": pa.array([1.0], pa.float32())})
    )


def test_a_window_joins_its_blocks() -> None:
    run = window_run(lambda media, needs: line(media))
    for start in (0, 250):
        run.feed(Media(start, start + 250, 64, 64), {})
    timeline = run.output().timeline
    assert timeline is not None
    assert timeline["frame"].to_pylist() == [0, 250]


def test_a_window_is_not_applicable_only_if_no_block_is() -> None:
    def first_only(media: Media, needs: Needs) -> Output:
        if media.start_frame:
            raise NotApplicable("black")
        return line(media)

    run = window_run(first_only)
    run.feed(Media(250, 500, 64, 64), {})
    with pytest.raises(NotApplicable, match="black"):
        run.output()
    run.feed(Media(0, 250, 64, 64), {})
    assert run.output().timeline is not None


def test_a_window_fails_with_its_first_error() -> None:
    def broken(media: Media, needs: Needs) -> Output:
        raise KeyError(media.start_frame)

    run = window_run(broken)
    run.feed(Media(0, 250, 64, 64), {})
    run.feed(Media(250, 500, 64, 64), {})
    with pytest.raises(KeyError, match="0"):
        run.output()
