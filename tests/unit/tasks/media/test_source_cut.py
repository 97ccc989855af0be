"""A clip of its source: to the frame what its proxy shows, at full size and rate, the sound in its place."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.media import source_cut
from tasks.media.errors import MediaError
from tasks.media.normalise import normalise
from tasks.media.source_cut import Cut, cut, origin
from tests.made import beeping, grid, remake, write


def numbered(times_s: Sequence[float], width: int = 96, height: int = 64) -> Callable[[float], np.ndarray]:
    """Pictures whose gray tells their number: 4 levels apart, over and over."""
    number = {round(t, 6): i for i, t in enumerate(times_s)}

    def at(time_s: float) -> np.ndarray:
        return np.full((height, width, 3), 24 + 4 * (number[round(time_s, 6)] % 50), np.uint8)

    return at


def number_of(frame: av.VideoFrame) -> int:
    return round((float(np.median(frame.to_ndarray(format="gray"))) - 24) / 4)


def frames(data: bytes | Path) -> list[av.VideoFrame]:
    with av.open(str(data) if isinstance(data, Path) else io.BytesIO(data)) as container:
        return list(container.decode(video=0))


def sound(made: Cut) -> np.ndarray:
    with av.open(io.BytesIO(made.data)) as container:
        return np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])


def uneven(num: int) -> list[float]:
    """Steps of 20 to 120 ms by chance, and one of 2 s."""
    steps = np.random.default_rng(3).integers(20, 120, num) / 1000
    steps[num // 2] = 2.0
    return [float(t) for t in np.cumsum(steps) - steps[0]]


SOURCES = {
    "25": grid(8.0, 25),
    "29.97": grid(8.0, 30000 / 1001),
    "50": grid(8.0, 50),
    "23.976": grid(8.0, 24000 / 1001),
    "10": grid(8.0, 10),
    "uneven": uneven(100),
    "late": grid(8.0, 30, start_s=0.513),
}


@pytest.mark.parametrize("rate", SOURCES)
def test_it_begins_and_ends_with_what_the_proxy_shows(rate: str, tmp_path: Path) -> None:
    times = SOURCES[rate]
    path = write(tmp_path / "a.mp4", times, numbered(times), beeping([1.0], 8.0))
    shown = [number_of(f) for f in frames(normalise(path, tmp_path / "made").proxy_path)]
    source = origin(path)
    for start, end in ((0, 40), (101, 102), (113, len(shown))):
        made = frames(cut(source, start, end).data)
        found = [number_of(f) for f in made]
        assert (found[0], found[-1]) == (shown[start], shown[end - 1]), (start, end)
        steps = np.diff(found) % 50
        assert (steps == 1).all(), "each frame of the source once, none lost"
        first = next(i for i, t in enumerate(times) if i % 50 == found[0] and abs(t - times[0] - start / 25) < 2.1)
        length = np.diff([float(f.time) for f in made])[1:]
        assert np.abs(length - np.diff(times[first : first + len(made)])[1:]).max(initial=0) < 1e-4, (
            "at their own times"
        )


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_other_containers(suffix: str, tmp_path: Path) -> None:
    times = grid(8.0, 30)
    made = write(tmp_path / "a.mp4", times, numbered(times), beeping([4.0], 8.0, lasts_s=0.5))
    path = remake(made, tmp_path / f"a.{suffix}", "-c", "copy")
    shown = [number_of(f) for f in frames(normalise(path, tmp_path / "made").proxy_path)]
    one = cut(origin(path), 90, 140)
    found = [number_of(f) for f in frames(one.data)]
    assert (found[0], found[-1]) == (shown[90], shown[139])
    heard = np.abs(sound(one))
    begins_s = (found[0] + 50 * round((90 / 25 * 30 - found[0]) / 50)) / 30
    assert np.flatnonzero(heard > 0.1)[0] / 48_000 == pytest.approx(4.0 - begins_s, abs=0.02)


def test_sound_is_as_long_as_the_clip_and_silent_where_there_is_none(tmp_path: Path) -> None:
    times = grid(6.0, 50)
    path = write(tmp_path / "a.mp4", times, numbered(times), beeping([0.2], 2.0, lasts_s=0.5), sound_start_s=2.0)
    made = cut(origin(path), 25, 125)
    heard = sound(made)
    assert len(heard) / 48_000 == pytest.approx(4.0, abs=0.025)  # the last packet of AAC is whole
    loud = np.flatnonzero(np.abs(heard) > 0.1)
    assert loud[0] / 48_000 == pytest.approx(2.2 - 1.0, abs=0.03)
    assert not np.abs(heard[3 * 48_000 + 4800 : -4800]).max() > 0.01
    assert (made.start_s, made.end_s) == (1.0, 5.0)


def test_full_size_upright_square_and_without_borders(tmp_path: Path) -> None:
    times = grid(4.0, 25)

    def boxed(time_s: float) -> np.ndarray:
        picture = np.zeros((720, 1280, 3), np.uint8)
        picture[90:630] = np.random.default_rng(round(time_s * 25)).integers(60, 220, (540, 1280, 1))
        return picture

    path = write(tmp_path / "a.mp4", times, boxed)
    source = origin(path)
    assert source.width_px == 1280
    assert 540 <= source.height_px <= 548
    assert {(f.width, f.height) for f in frames(cut(source, 10, 20).data)} == {(1280, source.height_px)}
    turned = remake(path, tmp_path / "turned.mp4", "-c", "copy", before=["-display_rotation", "90"])
    assert {(f.width, f.height) for f in frames(cut(origin(turned), 10, 20).data)} == {(source.height_px, 1280)}


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    times = grid(6.0, 30)
    path = write(tmp_path / "a.mp4", times, numbered(times), beeping([1.0], 6.0))
    one = cut(origin(path), 20, 90)
    assert cut(origin(path), 20, 90) == one
    other = tmp_path / "another name.mp4"
    other.write_bytes(path.read_bytes())
    assert cut(origin(other), 20, 90) == one, "nothing of its name is in it"


def test_what_can_not_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = grid(4.0, 25)
    path = write(tmp_path / "a.mp4", times, numbered(times))
    source = origin(path)
    with pytest.raises(MediaError, match=r"cut: gives no frame between -0\.80 and -0\.42 s") as caught:
        cut(source, -20, -10)
    assert not caught.value.transient
    only_sound = write(tmp_path / "b.mp4", [], None, beeping([1.0], 2.0))
    with pytest.raises(MediaError, match="no video stream"):
        origin(only_sound)
    monkeypatch.setitem(source_cut.X264, "crf", "nonsense")
    with pytest.raises(MediaError, match=r"FFmpeg ended with \d+: "):
        cut(source, 0, 25)
    monkeypatch.setitem(source_cut.X264, "crf", 17)
    monkeypatch.setattr(source_cut, "num_frames_of", lambda file: 3)
    with pytest.raises(MediaError, match="gave 3 of the 25 frames"):
        cut(source, 0, 25)
    monkeypatch.setattr(source_cut, "LIMITS", source_cut.Limits(base_s=0.001, per_s=0.0))
    with pytest.raises(MediaError, match="run the same command again") as caught:
        cut(source, 0, 25)
    assert caught.value.transient
