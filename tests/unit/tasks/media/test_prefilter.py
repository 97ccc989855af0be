"""The prefilter's figures on pictures whose answer is known, and what it says of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tasks.media.borders import Bars, agreed_crop, bars_of
from tasks.media.errors import MediaError
from tasks.media.prefilter import MAX_SAME_S, GrayStream, Prefilter, perceptual_hash, verdict

TEXTURE = np.random.default_rng(5).integers(40, 220, (60, 80), dtype=np.uint8)


def stream_of(frames: list[np.ndarray], piece: int = 7) -> GrayStream:
    stream = GrayStream(80, 60)
    for i in range(0, len(frames), piece):
        stream.take(b"".join(f.tobytes() for f in frames[i : i + piece]))
    return stream


def test_pieces_of_any_size_give_the_same_figures() -> None:
    frames = [np.roll(TEXTURE, i, axis=1) for i in range(150)]
    assert stream_of(frames, 1).figures() == stream_of(frames, 64).figures() == stream_of(frames, 150).figures()


def test_repeats_are_counted() -> None:
    frames = [np.roll(TEXTURE, i // 4, axis=1) for i in range(101)]
    assert stream_of(frames).figures().duplicate_ratio == pytest.approx(0.75)
    assert stream_of([TEXTURE] * 50).figures().duplicate_ratio == 1.0


def test_still_seconds_black_frames_and_motion_are_measured() -> None:
    flicker = [TEXTURE + (i % 2) for i in range(100)]  # changes from frame to frame, not from second to second
    frames = [f.astype(np.uint8) for f in flicker]
    dark = [np.full_like(TEXTURE, 16)] * 25
    assert stream_of(frames).figures().mean_motion == pytest.approx(1.0)
    assert stream_of([TEXTURE] * 100).figures().static_ratio == 1.0
    assert stream_of(frames + dark).figures().black_ratio == pytest.approx(0.2)


def test_the_hash_holds_under_noise_and_tells_pictures_apart() -> None:
    def differing(one: str, two: str) -> int:
        return (int(one, 16) ^ int(two, 16)).bit_count()

    noisy = TEXTURE + np.random.default_rng(6).normal(0, 3, TEXTURE.shape)
    assert differing(perceptual_hash(TEXTURE), perceptual_hash(noisy)) <= 6
    assert differing(perceptual_hash(TEXTURE), perceptual_hash(TEXTURE[::-1])) >= 16
    assert len(perceptual_hash(TEXTURE)) == 16


def test_no_frame_has_no_figures() -> None:
    with pytest.raises(ValueError, match="prefilter: took no frame"):
        GrayStream(80, 60).figures()


def test_a_picture_that_never_changes_is_stopped() -> None:
    stream = stream_of([TEXTURE, TEXTURE[::-1]])
    for _ in range(MAX_SAME_S - 2):
        stream.take(TEXTURE.tobytes() * 25)
    with pytest.raises(MediaError, match="the picture stands still for more than 600 s"):
        stream.take(TEXTURE.tobytes() * 100)
    assert stream.num_frames == pytest.approx(25 * MAX_SAME_S, abs=100)


FINE = Prefilter(duplicate_ratio=0.02, static_ratio=0.0, mean_motion=2.0, black_ratio=0.0, phash="0" * 16)


@pytest.mark.parametrize(
    ("figures", "num_frames", "fps", "said"),
    [
        ({}, 250, 25.0, None),
        ({}, 49, 25.0, "too short: 1.96 s"),
        ({"black_ratio": 0.95}, 250, 25.0, "black: 95%"),
        ({"duplicate_ratio": 0.95}, 250, 25.0, "frozen: 95%"),
        ({"duplicate_ratio": 0.6}, 250, 25.0, "choppy: 60%"),
        ({"duplicate_ratio": 0.61}, 250, 10.0, None),
        ({"duplicate_ratio": 0.8}, 250, 10.0, "choppy: 50%"),
        ({"duplicate_ratio": 0.6}, 250, 0.0, "choppy: 60%"),
        ({"static_ratio": 0.9}, 250, 25.0, "static"),
    ],
)
def test_the_verdict_names_what_was_seen(
    figures: dict[str, float], num_frames: int, fps: float, said: str | None
) -> None:
    told = verdict(Prefilter(**{**vars(FINE), **figures}), num_frames, fps)
    assert told == said if said is None else str(told).startswith(said)


def framed(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    picture = np.zeros((100, 200), np.uint8)
    picture[y0:y1, x0:x1] = 120
    return picture


def test_bars_have_straight_lit_edges() -> None:
    assert bars_of(framed(30, 10, 180, 90)) == Bars((30, 10, 20, 10), (True,) * 4)
    assert bars_of(np.zeros((100, 200), np.uint8)) is None
    ys, xs = np.mgrid[:100, :200]
    head = (((xs - 100) / 50) ** 2 + ((ys - 50) / 40) ** 2 < 1).astype(np.uint8) * 150
    found = bars_of(head)
    assert found is not None
    assert found.lit == (False,) * 4
    assert found.inward_px == pytest.approx((51, 11, 51, 11), abs=2)


def test_borders_need_agreement() -> None:
    def crop(*inward: tuple[int, int, int, int], lit: bool = True) -> tuple[int, int, int, int]:
        return agreed_crop([Bars(i, (lit,) * 4) for i in inward], (200, 100))

    bars, whole = (30, 10, 20, 10), (0, 0, 200, 100)
    assert crop(*[bars] * 5) == (30, 10, 180, 90)
    assert crop(*[bars] * 4, (60, 40, 50, 40)) == (30, 10, 180, 90)
    assert crop(*[bars] * 4, (0, 0, 0, 0)) == whole
    assert crop(*[bars] * 5, lit=False) == whole
    assert crop(*[bars] * 2) == whole
    assert agreed_crop([Bars(bars, (True,) * 4)] * 3 + [None], (200, 100)) == (30, 10, 180, 90)
    assert crop(*[(30 + 9 * i, 10, 20, 10) for i in range(6)]) == (0, 10, 180, 90)
    assert crop(*[(90, 10, 90, 10)] * 5) == whole
    assert crop(*[(31, 11, 21, 11)] * 5) == (32, 12, 178, 88)


def test_errors_survive_a_trip_between_processes() -> None:
    back = pickle.loads(pickle.dumps(MediaError("probe", "why", transient=True)))
    assert (back.stage, back.reason, back.transient, str(back)) == ("probe", "why", True, "probe: why")
