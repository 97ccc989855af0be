"""The reader gives exactly the frames and samples asked for, once each, and survives decoders that hang or die."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.media import decoder, reader
from tasks.media.errors import MediaError
from tasks.media.limits import Limits
from tasks.media.normalise import Normalised, normalise
from tasks.media.reader import Reader
from tasks.media.ring import SPARE_SLOTS, SharedFrames, anonymous_memory, free_slots
from tests import made

NUM_FRAMES = 260


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Normalised:
    folder = tmp_path_factory.mktemp("proxy")
    seconds = NUM_FRAMES / 25
    source = made.write(folder / "s.mp4", made.grid(seconds), made.moving(160, 96), made.tone(seconds - 1))
    return normalise(source, folder / "out")


@pytest.fixture(scope="module")
def truth(proxy: Normalised) -> np.ndarray:
    """All planes by a bare PyAV pass, uint8 (T, H * 3 / 2, W)."""
    with av.open(str(proxy.proxy_path)) as container:
        return np.stack([f.to_ndarray() for f in container.decode(video=0)])


@pytest.fixture
def opened() -> Iterator[Reader]:
    with Reader() as one:
        yield one


@pytest.mark.parametrize("fps", [25.0, 5.0, 1.0, 0.5])
@pytest.mark.parametrize("context", [0, 7])
@pytest.mark.parametrize(("start", "end"), [(0, 260), (50, 200), (30, 31)])
def test_blocks_hold_the_sampled_frames_of_block_and_context(
    opened: Reader, proxy: Normalised, truth: np.ndarray, fps: float, context: int, start: int, end: int
) -> None:
    got = list(
        opened.blocks(
            proxy.proxy_path,
            proxy.audio_path,
            NUM_FRAMES,
            start,
            end,
            block_frames=100,
            context_frames=context,
            fps=fps,
        )
    )
    step = round(25 / fps)
    assert [(m.start_frame, m.end_frame) for m in got] == [(s, min(end, s + 100)) for s in range(start, end, 100)]
    for media in got:
        low, high = max(0, media.start_frame - context), min(NUM_FRAMES, media.end_frame + context)
        assert list(media.frames) == [f for f in range(low, high) if f % step == 0]
        assert all(np.array_equal(p, truth[f]) for f, p in zip(media.frames, media.planes, strict=True))
        assert media.audio is not None
        assert media.audio.shape == ((media.end_frame - media.start_frame) * 640,)
        assert (media.width_px, media.height_px, media.source_width_px) == (160, 96, 160)


def test_each_frame_is_decoded_once(opened: Reader, proxy: Normalised, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    plane = SharedFrames.plane

    def counted(self: SharedFrames, slot: int) -> np.ndarray:
        given.append(slot)
        return plane(self, slot)

    monkeypatch.setattr(SharedFrames, "plane", counted)
    for _ in opened.blocks(proxy.proxy_path, None, NUM_FRAMES, 0, NUM_FRAMES, block_frames=50, context_frames=20):
        pass
    assert len(given) == NUM_FRAMES


def test_frames_stay_as_they_are_while_somebody_looks(
    opened: Reader, proxy: Normalised, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when slots run short, when the reader goes on to other clips, and when it is closed."""
    monkeypatch.setattr(reader, "RING_BYTES", 100 * 160 * 144)
    kept = list(opened.blocks(proxy.proxy_path, None, NUM_FRAMES, 0, NUM_FRAMES, block_frames=50))
    for start in range(0, 200, 20):
        kept.append(opened.sampled(proxy.proxy_path, None, start, start + 60, 25.0))
    opened.close()
    gc.collect()
    for media in kept:
        assert all(np.array_equal(p, truth[f]) for f, p in zip(media.frames, media.planes, strict=True))


def test_slots_come_back_when_nobody_looks(opened: Reader, proxy: Normalised) -> None:
    for _ in range(3):
        for media in opened.blocks(proxy.proxy_path, None, NUM_FRAMES, 0, NUM_FRAMES, block_frames=50):
            assert media.image(media.frames[0], 80).shape == (48, 80, 3)
    del media
    gc.collect()
    assert opened._shared is not None
    assert opened._shared.held == {}


@pytest.mark.parametrize(("start", "end"), [(0, 260), (37, 160), (110, 114), (101, 124), (255, 260)])
@pytest.mark.parametrize("fps", [25.0, 5.0, 1.0])
def test_sampled_gives_the_grid_frames_of_a_clip(
    opened: Reader, proxy: Normalised, truth: np.ndarray, start: int, end: int, fps: float
) -> None:
    media = opened.sampled(proxy.proxy_path, proxy.audio_path, start, end, fps, source_width_px=1920)
    wanted = [f for f in range(start, end) if f % round(25 / fps) == 0] or [(start + end) // 2]
    assert list(media.frames) == wanted == media.at(fps)
    assert all(np.array_equal(p, truth[f]) for f, p in zip(media.frames, media.planes, strict=True))
    assert (media.source_width_px, media.video_has_audio) == (1920, True)


@pytest.mark.parametrize("fps", [25.0, 5.0, 1.0])
def test_decord_gives_the_same_frames(proxy: Normalised, truth: np.ndarray, fps: float) -> None:
    """It has RGB only, by another decoder and another conversion: luma within 1.5 levels on average, and nearer to
    the frame asked for than to its neighbours."""
    with Reader(sampler="decord") as second:
        media = second.sampled(proxy.proxy_path, None, 37, 160, fps)
    assert list(media.frames) == [f for f in range(37, 160) if f % round(25 / fps) == 0]
    for frame, plane in zip(media.frames, media.planes, strict=True):
        off = [np.abs(plane[:96].astype(int) - truth[f][:96]).mean() for f in (frame - 1, frame, frame + 1)]
        assert off[1] <= 1.5
        assert off[1] < 0.5 * min(off[0], off[2])


def test_no_frames_means_sound_only(opened: Reader, proxy: Normalised) -> None:
    media = opened.sampled(proxy.proxy_path, proxy.audio_path, 0, 100, None)
    blocks = list(
        opened.blocks(proxy.proxy_path, proxy.audio_path, NUM_FRAMES, 0, NUM_FRAMES, block_frames=150, fps=None)
    )
    assert (media.frames, media.planes, media.width_px) == ([], [], 160)
    assert [(m.start_frame, len(m.planes)) for m in blocks] == [(0, 0), (150, 0)]
    assert media.audio is not None
    assert np.abs(media.audio).max() > 0.2


def test_sound_is_exact_and_silent_beyond_its_end(opened: Reader, proxy: Normalised) -> None:
    assert proxy.audio_path is not None
    whole = opened.read_audio(proxy.audio_path, 0, NUM_FRAMES)
    assert whole.dtype == np.float32
    assert whole.shape == (NUM_FRAMES * 640,)
    assert np.sqrt(2 * np.square(whole[10 * 640 : 200 * 640]).mean()) == pytest.approx(0.3, abs=0.01)
    assert np.abs(whole[240 * 640 :]).max() == 0.0
    assert np.array_equal(opened.read_audio(proxy.audio_path, 33, 77), whole[33 * 640 : 77 * 640])
    assert np.abs(opened.read_audio(proxy.audio_path, 1000, 1010)).max() == 0.0


def test_damaged_sound_is_told(opened: Reader, tmp_path: Path) -> None:
    (tmp_path / "audio.flac").write_bytes(b"fLaC nothing")
    with pytest.raises(MediaError, match=r"decode: audio\.flac can't be read .*; normalise the video again"):
        opened.read_audio(tmp_path / "audio.flac", 0, 10)


def test_a_missing_proxy_is_told(opened: Reader, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="decode: the proxy is not there"):
        opened.sampled(tmp_path / "none.mp4", None, 0, 10, 5.0)


def test_a_damaged_proxy_is_told_and_the_reader_goes_on(opened: Reader, proxy: Normalised, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match="decode: InvalidDataError"):
        opened.sampled(tmp_path / "bad.mp4", None, 0, 10, 5.0)
    before = opened.child_pid
    assert len(opened.sampled(proxy.proxy_path, None, 0, 10, 5.0).frames) == 2
    assert opened.child_pid == before


def test_a_proxy_that_ends_early_is_told(opened: Reader, proxy: Normalised) -> None:
    with pytest.raises(MediaError, match="the proxy holds 10 of the 50 frames asked for up to 299; normalise"):
        opened.sampled(proxy.proxy_path, None, 250, 300, 25.0)


def test_a_picture_that_is_no_proxy_is_refused(opened: Reader, tmp_path: Path) -> None:
    other = made.write(tmp_path / "444.mp4", made.grid(2.0), made.moving(), pix_fmt="yuv444p")
    with pytest.raises(MediaError, match="the proxy holds yuv444p, expected yuv420p; normalise it again"):
        opened.sampled(other, None, 0, 10, 5.0)


def test_frames_too_large_for_the_ring_are_refused(
    opened: Reader, proxy: Normalised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "RING_BYTES", 10 * 160 * 144)
    with pytest.raises(MediaError, match="frames of 160x96 px don't fit the ring; read the proxy, not the source"):
        opened.sampled(proxy.proxy_path, None, 0, 10, 5.0)


def test_a_decoder_that_dies_is_told_and_replaced(opened: Reader, proxy: Normalised, truth: np.ndarray) -> None:
    blocks = opened.blocks(proxy.proxy_path, None, NUM_FRAMES, 0, NUM_FRAMES, block_frames=10)
    next(blocks)
    first = opened.child_pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(MediaError, match=r"the decoder died with status -9 .*; it starts anew") as caught:
        list(blocks)
    assert caught.value.transient
    assert np.array_equal(opened.sampled(proxy.proxy_path, None, 0, 10, 5.0).planes[1], truth[5])
    assert opened.child_pid != first


def test_a_decoder_that_died_between_calls_is_replaced_silently(opened: Reader, proxy: Normalised) -> None:
    opened.sampled(proxy.proxy_path, None, 0, 10, 5.0)
    first = opened.child_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert opened._child is not None
    opened._child.wait()
    assert len(opened.sampled(proxy.proxy_path, None, 0, 10, 5.0).frames) == 2


def test_a_decoder_that_hangs_is_killed_in_time(proxy: Normalised, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with Reader(Limits(memory_bytes=3 << 29, stall_s=2.0)) as impatient:
        impatient.sampled(proxy.proxy_path, None, 0, 10, 5.0)
        child = impatient.child_pid
        started = time.monotonic()
        with pytest.raises(MediaError, match="decode: no frame for 2 s; the file makes its decoder hang"):
            impatient.sampled(tmp_path / "pipe.mp4", None, 0, 10, 5.0)
        assert time.monotonic() - started < 10
        assert child is not None
        assert not Path(f"/proc/{child}").exists()
        assert len(impatient.sampled(proxy.proxy_path, None, 0, 10, 5.0).frames) == 2


def test_a_decoder_without_memory_is_told(proxy: Normalised) -> None:
    with Reader(Limits(memory_bytes=100 << 20)) as poor, pytest.raises(MediaError, match="decode: "):
        poor.sampled(proxy.proxy_path, None, 0, 10, 5.0)


def test_blocks_left_in_the_middle_harm_nobody(opened: Reader, proxy: Normalised, truth: np.ndarray) -> None:
    blocks = opened.blocks(proxy.proxy_path, None, NUM_FRAMES, 0, NUM_FRAMES, block_frames=20)
    next(blocks)
    with pytest.raises(RuntimeError, match=r"in the middle of blocks\(\); finish or close them"):
        opened.sampled(proxy.proxy_path, None, 0, 10, 5.0)
    blocks.close()
    assert np.array_equal(opened.sampled(proxy.proxy_path, None, 0, 10, 5.0).planes[1], truth[5])


def test_the_child_is_recycled(opened: Reader, proxy: Normalised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "REQUESTS_PER_CHILD", 3)
    seen = set()
    for _ in range(6):
        opened.sampled(proxy.proxy_path, None, 0, 10, 5.0)
        seen.add(opened.child_pid)
    assert len(seen) >= 2


def test_nothing_is_left_when_the_reader_is_closed(proxy: Normalised) -> None:
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    with Reader() as one:
        media = one.sampled(proxy.proxy_path, None, 0, 100, 5.0)
        child = one.child_pid
    assert child is not None
    assert not Path(f"/proc/{child}").exists()
    del media
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert [n for n in os.listdir("/dev/shm") if "headroom" in n] == []


def test_free_slots_keep_clear_of_busy_bytes() -> None:
    assert free_slots(1000, 100, [], 99) == list(range(10))
    assert free_slots(1000, 100, [[150, 250], [900, 1000]], 99) == [0, 3, 4, 5, 6, 7, 8]
    assert free_slots(1000, 100, [[0, 100]], 3) == [1, 2, 3]
    assert free_slots(1050, 100, [[0, 100]], 99) == list(range(1, 10))


def test_shared_frames_copy_when_slots_run_short() -> None:
    fd = anonymous_memory((SPARE_SLOTS + 2) * 6)
    shared = SharedFrames(fd, (SPARE_SLOTS + 2) * 6)
    os.close(fd)
    shared.begin(2, 2, [], SPARE_SLOTS + 2)
    planes = [shared.plane(slot) for slot in range(5)]
    assert [p.base is not None and not p.flags.owndata for p in planes][:3] == [True, True, True]
    assert list(shared.freed) == [3, 4]
    del planes
    gc.collect()
    assert sorted(shared.take_freed()) == [0, 1, 2, 3, 4]
    assert shared.take_freed() == []


def test_the_decoder_knows_the_proxys_grid() -> None:
    from tasks.media.transcode import GRID_FPS, X264

    assert decoder.GRID_FPS == reader.GRID_FPS == GRID_FPS
    assert X264["g"] == decoder.KEYFRAME_STEP
