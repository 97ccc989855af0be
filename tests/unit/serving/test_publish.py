"""What a viewer gets: whole fragments at once, with times that count samples."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from serving.fragments import avc_config, split_units, with_lengths
from serving.publish import Fragments, Recording

SIDE = (64, 64)


def picture(number: int) -> np.ndarray:
    return np.full((*SIDE, 3), (7 * number) % 250, np.uint8)


def tone(number: int) -> np.ndarray:
    return (8000 * np.sin(np.arange(640 * number, 640 * number + 640) * 0.2)).astype(np.int16)


def times(data: bytes, kind: str) -> list[int]:
    with av.open(io.BytesIO(data)) as container:
        return [int(f.pts) for f in container.decode(**{kind: 0})]


def test_each_frame_leaves_as_a_fragment_that_can_be_decoded_at_once() -> None:
    stream = Fragments(SIDE)
    held = stream.header
    for number in range(5):
        held += stream.write(number, picture(number), tone(number))
        assert len(times(held, "video")) == number + 1


def test_picture_and_sound_count_one_clock() -> None:
    stream = Fragments(SIDE)
    heard_from = [tone(n) if n >= 30 else np.zeros(640, np.int16) for n in range(60)]
    held = stream.header + b"".join(stream.write(n, picture(n), heard_from[n]) for n in range(60)) + stream.end()
    assert times(held, "video") == [1024 + 640 * n for n in range(60)]
    sound = times(held, "audio")
    assert sound == [1024 * n for n in range(len(sound))]
    with av.open(io.BytesIO(held)) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
        pictures = [int(f.to_ndarray(format="rgb24").mean()) for f in _decoded(held)]
    assert pictures[10] == pytest.approx(70, abs=4)
    # The stream is put off by the encoder's own first run; what is said with frame 30 is heard when frame 30 is shown.
    begins = int(np.argmax(np.abs(heard) > 0.1))
    assert abs(begins - (1024 + 30 * 640)) < 160  # 10 ms


def _decoded(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(video=0))


def test_a_viewer_who_comes_back_begins_at_0_with_a_whole_picture() -> None:
    stream = Fragments(SIDE, first_frame=1000)
    held = stream.header + stream.write(1000, picture(3), tone(0)) + stream.write(1001, picture(4), tone(1))
    assert times(held, "video") == [1024, 1664]
    assert stream.mime == 'video/mp4; codecs="avc1.42c00a, mp4a.40.2"'


def test_units_are_told_apart_by_their_lengths() -> None:
    data = b"\0\0\0\1\x67abc\0\0\1\x68de"
    assert split_units(data) == [b"\x67abc", b"\x68de"]
    assert with_lengths(data) == b"\0\0\0\4\x67abc\0\0\0\3\x68de"
    assert avc_config(data)[1:4] == b"abc"
    with pytest.raises(ValueError, match="the encoder gave no parameter sets"):
        avc_config(b"\0\0\1\x67abc")


def test_a_recording_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out.mp4"
    recording = Recording(out, SIDE)
    for number in range(25):
        recording.write(number, picture(number), tone(number))
    assert not out.exists()
    assert recording.end() == out
    with av.open(str(out)) as container:
        assert container.streams.video[0].frames == 25
        assert float(container.duration or 0) / 1e6 == pytest.approx(1.0, abs=0.07)
    with pytest.raises(ValueError, match="give a name that ends in .mp4"):
        Recording(tmp_path / "out.avi", SIDE)
    given_up = Recording(tmp_path / "b.mp4", SIDE)
    given_up.abandon()
    assert [f.name for f in tmp_path.iterdir()] == ["a"]
