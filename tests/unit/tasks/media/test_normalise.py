"""The proxy is true to its source's clock, upright, square, free of borders, and the same bytes every time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tasks.media import normalise as normalise_module
from tasks.media.errors import MediaError
from tasks.media.limits import Limits
from tasks.media.normalise import FINGERPRINT, Normalised, normalise
from tasks.media.transcode import ffmpeg_binary
from tests import made


def proxy_grays(made_proxy: Normalised) -> np.ndarray:
    with av.open(str(made_proxy.proxy_path)) as container:
        frames = [f.to_ndarray(format="gray") for f in container.decode(video=0)]
    return np.stack(frames)


def flash_times_s(made_proxy: Normalised) -> list[float]:
    """Grid times at which the picture turns bright."""
    bright = np.median(proxy_grays(made_proxy).reshape(made_proxy.num_frames, -1), axis=1) > 128
    return [i / 25 for i in np.flatnonzero(bright[1:] & ~bright[:-1]) + 1]


def onsets_s(sound: np.ndarray, hz: int) -> list[float]:
    """Times at which a beep starts after at least 0.1 s of quiet."""
    loud = np.flatnonzero(np.abs(sound) > 0.1)
    starts = loud[np.flatnonzero(np.diff(loud, prepend=-hz) > hz // 10)]
    return [float(s) / hz for s in starts]


def beep_times_s(made_proxy: Normalised) -> list[float]:
    assert made_proxy.audio_path is not None
    sound, hz = soundfile.read(made_proxy.audio_path, dtype="float32")
    assert hz == 16_000
    return onsets_s(sound, hz)


EVENTS_S = [1.0, 2.2, 3.4]
RANDOM_TIMES_S = np.cumsum(np.random.default_rng(3).uniform(0.012, 0.075, 120)).tolist()

CASES = {
    "plain": {"video_s": made.grid(5.0), "sound_s": 0.0},
    "late sound": {"video_s": made.grid(5.0), "sound_s": 0.633},
    "late picture": {"video_s": made.grid(4.5, start_s=0.513), "sound_s": 0.0},
    "both late": {"video_s": made.grid(4.5, start_s=0.413), "sound_s": 0.17},
    "variable rate": {"video_s": RANDOM_TIMES_S, "sound_s": 0.0},
    "variable rate, late sound": {"video_s": RANDOM_TIMES_S, "sound_s": 0.251},
    "60 fps": {"video_s": made.grid(5.0, fps=60.0), "sound_s": 0.0},
    "12 fps": {"video_s": made.grid(5.0, fps=12.0), "sound_s": 0.0},
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("case", CASES)
def test_picture_and_sound_keep_their_times(tmp_path: Path, case: str, suffix: str) -> None:
    video_s, sound_start_s = CASES[case]["video_s"], CASES[case]["sound_s"]
    # A flash is seen when the first frame at or after it is shown: that is the source's own time of the event.
    seen_s = [min(t for t in video_s if t >= e) for e in EVENTS_S]
    beeps = made.beeping([s - sound_start_s for s in seen_s], 4.2)
    source = made.write(
        tmp_path / f"source{suffix}", video_s, made.flashing(EVENTS_S), beeps, sound_start_s=sound_start_s
    )
    got = normalise(source, tmp_path / "out")
    flashes, heard = flash_times_s(got), beep_times_s(got)
    assert len(flashes) == len(heard) == len(EVENTS_S)
    assert np.abs(np.subtract(flashes, heard)).max() <= 0.0205
    # Times map back to the container's own clock; a muxer may have moved that as a whole.
    with av.open(str(source)) as container:
        clock_s = next(container.decode(video=0)).time - video_s[0]
    assert np.abs(np.add(heard, got.source_start_s) - np.add(seen_s, clock_s)).max() <= 0.0305
    assert got.source_start_s <= clock_s + min(video_s[0], sound_start_s) + 0.03


def test_a_steady_25_fps_source_keeps_every_time_stamp(tmp_path: Path) -> None:
    times_s = made.grid(4.0, start_s=0.513)
    source = made.write(tmp_path / "source.mkv", times_s, made.flashing([1.033]), made.tone(4.0))
    got = normalise(source, tmp_path / "out")
    assert flash_times_s(got)[0] + got.source_start_s == pytest.approx(1.033, abs=0.0015)
    assert (got.num_frames, got.first_frame) == (13 + 100, 13)


def test_the_time_before_a_late_picture_counts_for_no_figure(tmp_path: Path) -> None:
    """3 s of sound come first: 75 of 150 frames only repeat the first picture, which is half of all and not choppy."""
    late = made.write(tmp_path / "late.mkv", made.grid(3.0, start_s=3.0), made.moving(), made.tone(6.0))
    prompt = made.write(tmp_path / "prompt.mkv", made.grid(3.0), made.moving(), made.tone(3.0))
    got, plain = normalise(late, tmp_path / "late"), normalise(prompt, tmp_path / "prompt")
    assert (got.num_frames, got.first_frame, plain.first_frame) == (150, 75, 0)
    assert got.rejected is None
    assert got.duplicate_ratio == plain.duplicate_ratio
    assert got.mean_motion == pytest.approx(plain.mean_motion, rel=0.02)


def test_sound_in_the_proxy_agrees_with_the_analysis_sound(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(4.0), made.moving(), made.beeping([1.0, 2.0], 4.0))
    got = normalise(source, tmp_path / "out")
    assert ("mp4" in got.container, got.video_codec, got.audio_codec) == (True, "h264", "aac")
    with av.open(str(got.proxy_path)) as container:
        assert container.streams.audio[0].rate == 48_000
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert np.abs(np.subtract(onsets_s(sound, 48_000), beep_times_s(got))).max() < 0.003


def test_a_hole_in_the_sound_is_filled_with_silence(tmp_path: Path) -> None:
    beeps = made.beeping([0.5, 1.5], 2.5)
    source = made.write(
        tmp_path / "s.mkv", made.grid(4.0), made.moving(), beeps, sound_gap=(1.0, 0.7), sound_codec="pcm_s16le"
    )
    assert beep_times_s(normalise(source, tmp_path / "out")) == pytest.approx([0.5, 2.2], abs=0.012)


def test_drifting_sound_is_held_to_its_time_stamps(tmp_path: Path) -> None:
    """48 kHz sound whose time stamps run 1 % fast is 40 ms off after 4 s unless it is filled."""
    times_s = made.grid(5.0)
    beats = [0.5, 2.0, 4.0]
    plain = made.write(tmp_path / "p.mkv", times_s, made.moving(), made.beeping(beats, 5.0), sound_codec="pcm_s16le")
    slow = made.remake(plain, tmp_path / "slow.mkv", "-c", "copy", "-bsf:a", "setts=ts=TS*1.01")
    assert beep_times_s(normalise(slow, tmp_path / "out")) == pytest.approx([b * 1.01 for b in beats], abs=0.015)


def test_every_proxy_frame_has_its_own_time_and_each_second_its_keyframe(tmp_path: Path) -> None:
    got = normalise(made.write(tmp_path / "s.mp4", RANDOM_TIMES_S, made.moving()), tmp_path / "out")
    with av.open(str(got.proxy_path)) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        assert [round(p.pts * p.time_base * 25) for p in packets] == list(range(got.num_frames))
        assert [i for i, p in enumerate(packets) if p.is_keyframe] == list(range(0, got.num_frames, 25))


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, angle: int) -> None:
    """The left half is bright; shown turned by the display matrix."""

    def half(time_s: float) -> np.ndarray:
        picture = made.moving(128, 96)(time_s) // 4
        picture[:, :64] = 230
        return picture

    plain = made.write(tmp_path / "plain.mp4", made.grid(2.5), half)
    turned = made.remake(plain, tmp_path / "t.mp4", "-c", "copy", before=["-display_rotation", str(angle)])
    got = normalise(turned, tmp_path / "out")
    gray = proxy_grays(got)[10]
    assert (got.width_px, got.height_px) == ((128, 96) if angle == 180 else (96, 128))
    # The display matrix turns counter-clockwise: at 90 the left edge comes to lie at the bottom.
    bright = {90: gray[-40:], 180: gray[:, -40:], 270: gray[:40]}[angle]
    dark = {90: gray[:40], 180: gray[:, :40], 270: gray[-40:]}[angle]
    assert bright.mean() > 200
    assert dark.mean() < 80
    assert got.rotation % 360 in (angle, 360 - angle)


@pytest.mark.parametrize(("sar", "size"), [(Fraction(16, 11), (140, 64)), (Fraction(1, 2), (96, 128))])
def test_pixels_become_square(tmp_path: Path, sar: Fraction, size: tuple[int, int]) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(2.2), made.moving(), sar=sar)
    got = normalise(source, tmp_path / "out")
    assert (got.source_width_px, got.source_height_px) == size
    assert (got.width_px, got.height_px) == size
    with av.open(str(got.proxy_path)) as container:
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def bordered(top: int, left: int, moves: bool = False) -> made.Picture:
    inner = made.moving(320 - 2 * left, 240 - 2 * top)

    def at(time_s: float) -> np.ndarray:
        picture = np.zeros((240, 320, 3), np.uint8)
        shift = round(time_s * 8) if moves else 0
        picture[top : 240 - top, left : 320 - left] = inner(time_s)
        return np.roll(picture, (shift, shift), axis=(0, 1))

    return at


def test_black_borders_are_cropped_and_the_crop_is_told(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(6.0), bordered(30, 40))
    got = normalise(source, tmp_path / "out")
    crop = (got.crop_x0, got.crop_y0, got.crop_x1, got.crop_y1)
    assert np.abs(np.subtract(crop, (40, 30, 280, 210))).max() <= 2
    assert (got.source_width_px, got.source_height_px) == (crop[2] - crop[0], crop[3] - crop[1])
    edges = proxy_grays(got)[20]
    assert min(edges[0].mean(), edges[-1].mean(), edges[:, 0].mean(), edges[:, -1].mean()) > 60


@pytest.mark.parametrize("picture", [bordered(30, 40, moves=True), bordered(2, 2)], ids=["moving", "thin"])
def test_black_that_moves_or_hardly_shows_is_no_border(tmp_path: Path, picture: made.Picture) -> None:
    got = normalise(made.write(tmp_path / "s.mp4", made.grid(6.0), picture), tmp_path / "out")
    assert (got.crop_x0, got.crop_y0, got.crop_x1, got.crop_y1) == (0, 0, 320, 240)


def test_large_pictures_shrink_and_small_ones_stay(tmp_path: Path) -> None:
    large = normalise(made.write(tmp_path / "l.mp4", made.grid(2.1), made.moving(720, 1280)), tmp_path / "l")
    small = normalise(made.write(tmp_path / "s.mp4", made.grid(2.1), made.moving(98, 66)), tmp_path / "s")
    assert (large.width_px, large.height_px) == (360, 640)
    assert (small.width_px, small.height_px) == (98, 66)
    assert 0 < small.cpu_s < large.cpu_s


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(3.0), made.moving(), made.tone(3.0))
    one, two = normalise(source, tmp_path / "one"), normalise(source, tmp_path / "two")
    places = {"proxy_path": one.proxy_path, "audio_path": one.audio_path, "cpu_s": one.cpu_s}
    assert replace(two, **places) == one
    assert one.proxy_path.read_bytes() == two.proxy_path.read_bytes()


def test_nothing_but_the_two_files_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stale = out / ".normalise-killed"
    stale.mkdir(parents=True)
    os.utime(stale, (time.time() - 2 * 86_400,) * 2)
    normalise(made.write(tmp_path / "s.mp4", made.grid(2.1), made.moving(), made.tone(2.1)), out)
    assert sorted(p.name for p in out.iterdir()) == ["audio.flac", "proxy.mp4"]
    silent = normalise(made.write(tmp_path / "quiet.mp4", made.grid(2.1), made.moving()), out)
    assert [p.name for p in out.iterdir()] == ["proxy.mp4"]
    assert (silent.has_audio, silent.audio_reason, silent.audio_path) == (False, "no audio", None)


def test_the_fingerprint_is_a_hash_of_the_recipe() -> None:
    assert len(FINGERPRINT) == 16
    code = "from tasks.media import prefilter; prefilter.STILL_LEVEL = 9.0\nfrom tasks.media import normalise as n\n"
    told = subprocess.run(
        [sys.executable, "-c", code + "print(n.FINGERPRINT)"], capture_output=True, text=True, check=True, timeout=60
    )
    assert len(told.stdout.strip()) == 16
    assert told.stdout.strip() != FINGERPRINT


def pretend_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    fake = folder / "ffmpeg"
    fake.write_text("#!/bin/sh\n" + script)
    fake.chmod(0o755)
    monkeypatch.setattr("tasks.media.transcode.ffmpeg_binary", lambda: str(fake))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return made.write(tmp_path / "video.mp4", made.grid(2.2), made.moving())


def test_a_hanging_decoder_is_killed_with_all_its_children(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "pid"
    pretend_ffmpeg(tmp_path, monkeypatch, f"sleep 300 & echo $! > {noted}\nwait\n")
    with pytest.raises(MediaError, match="normalise: no frame for 1 s; the file makes its decoder hang"):
        normalise(video, tmp_path / "out", Limits(stall_s=1.0))
    assert not alive(int(noted.read_text()))


def test_a_slow_decoder_is_killed(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ffmpeg(tmp_path, monkeypatch, "while true; do head -c 6144 /dev/zero; sleep 0.1; done\n")
    with pytest.raises(MediaError, match="not done within 1 s; the file takes too long to decode"):
        normalise(video, tmp_path / "out", Limits(base_s=1.0, per_s=0.0))


def test_endless_frames_are_stopped(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ffmpeg(tmp_path, monkeypatch, "cat /dev/zero\n")
    with pytest.raises(MediaError, match=r"time stamps run far beyond the 2\.2 s it declares; remux the file"):
        normalise(video, tmp_path / "out")


def test_an_ffmpeg_that_does_not_end_is_killed(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ffmpeg(tmp_path, monkeypatch, "exec 1>&- 2>&-\nexec sleep 300\n")
    with pytest.raises(MediaError, match="FFmpeg did not end within 1 s of its last frame"):
        normalise(video, tmp_path / "out", Limits(stall_s=1.0))


def test_an_ffmpeg_killed_from_outside_may_be_tried_again(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_ffmpeg(tmp_path, monkeypatch, "kill -9 $$\n")
    with pytest.raises(MediaError, match="FFmpeg was killed from outside") as caught:
        normalise(video, tmp_path / "out")
    assert caught.value.transient


def test_an_ffmpeg_killed_once_costs_no_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = made.write(tmp_path / "s.mp4", made.grid(2.2), made.moving(), made.tone(2.2))
    real = ffmpeg_binary()
    pretend_ffmpeg(
        tmp_path,
        monkeypatch,
        f'if [ -e {tmp_path}/once ]; then exec {real} "$@"; fi\n: > {tmp_path}/once\nkill -9 $$\n',
    )
    with pytest.raises(MediaError, match="FFmpeg was killed from outside") as caught:
        normalise(video, tmp_path / "out")
    assert caught.value.transient
    assert normalise(video, tmp_path / "out").audio_path


def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "[out#0/mp4] Error writing trailer: No space left on device"
    pretend_ffmpeg(tmp_path, monkeypatch, f"echo '{said}' >&2\nexit 228\n")
    with pytest.raises(OSError, match="No space left on device"):
        normalise(video, tmp_path / "out")


def test_an_ffmpeg_out_of_memory_is_told(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ffmpeg(tmp_path, monkeypatch, "exit 244\n")
    with pytest.raises(MediaError, match="FFmpeg ran out of the memory it may use; scale the video down"):
        normalise(video, tmp_path / "out")


def test_too_little_memory_is_an_error_not_a_crash(tmp_path: Path, video: Path) -> None:
    with pytest.raises(MediaError, match="normalise: FFmpeg ended with status"):
        normalise(video, tmp_path / "out", Limits(memory_bytes=220 << 20))
    assert list((tmp_path / "out").iterdir()) == []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state not in "ZX"


def test_no_decoder_outlives_a_killed_parent(tmp_path: Path, video: Path) -> None:
    noted = tmp_path / "pid"
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\necho $$ > {noted}.part\nmv {noted}.part {noted}\nexec sleep 300\n")
    fake.chmod(0o755)
    code = "import sys; from pathlib import Path; from tasks.media.normalise import normalise\n"
    code += f"normalise(Path({str(video)!r}), Path({str(tmp_path / 'out')!r}))"
    environment = {**os.environ, "HEADROOM_FFMPEG": str(fake), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        deadline = time.monotonic() + 60
        while not noted.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child = int(noted.read_text())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def test_a_picture_hours_after_the_sound_is_not_bridged(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mkv", made.grid(2.2, start_s=3600.0), made.moving(), made.tone(2.2))
    with pytest.raises(MediaError, match="the picture starts 3600 s after the sound, at most 60 s are bridged"):
        normalise(source, tmp_path / "out")


def test_figures_can_be_written_as_json(tmp_path: Path, video: Path) -> None:
    got = normalise(video, tmp_path / "out")
    assert json.loads(json.dumps(vars(got), default=str))["num_frames"] == 55
    assert normalise_module.VERSION >= 1
