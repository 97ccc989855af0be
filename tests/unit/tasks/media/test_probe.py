"""What the probing child tells, and what becomes of one that hangs or dies. Kinds of files are in test_hostile.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tasks.media import probe as probe_module
from tasks.media.errors import MediaError
from tasks.media.limits import Limits
from tasks.media.probe import probe
from tests import made


def test_the_facts_of_a_file(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mkv", made.grid(3.0, start_s=0.2), made.moving(), made.tone(3.0))
    got = probe(source)
    assert (got.container, got.video_codec, got.audio_codec) == ("matroska,webm", "h264", "aac")
    assert (got.width_px, got.height_px, got.pix_fmt, got.sar, got.rotation) == (96, 64, "yuv420p", 1.0, 0)
    assert (got.has_video, got.has_audio, got.audio_reason, got.interlaced) == (True, True, "", False)
    assert got.source_fps == pytest.approx(25.0, abs=0.1)
    assert got.video_start_s == pytest.approx(0.2, abs=0.03)
    assert got.duration_s == pytest.approx(3.2, abs=0.05)
    assert got.bytes == source.stat().st_size
    assert got.crop == (0, 0, 96, 64)


def test_a_file_without_a_length_gets_one_for_its_time_limit(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(2.2), made.moving())
    raw = made.remake(source, tmp_path / "raw.h264", "-r", "25", "-f", "h264")
    got = probe(raw)
    assert got.duration_s is None
    assert got.media_s == raw.stat().st_size / 12_500


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(0.2), made.moving())
    with pytest.raises(MediaError, match="probe: the picture is 96x64, more than 5000 pixels; scale it down"):
        probe(source, Limits(max_pixels=5000))


def test_a_name_with_a_nul_is_refused() -> None:
    with pytest.raises(MediaError, match=r"probe: can't be read \(embedded null byte\)"):
        probe(Path("a\0b.mp4"))


def pretend_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(probe_module, "python_child", lambda module: ([sys.executable, "-c", code], None))


def test_a_hanging_prober_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_child(monkeypatch, "import time; time.sleep(300)")
    (tmp_path / "s.mp4").write_bytes(b"x")
    with pytest.raises(MediaError, match="probe: no answer within 1 s; the file makes its decoder hang"):
        probe(tmp_path / "s.mp4", Limits(base_s=1.0))


def test_a_dying_prober_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_child(monkeypatch, "import os, sys; print('no luck', file=sys.stderr, flush=True); os.abort()")
    (tmp_path / "s.mp4").write_bytes(b"x")
    with pytest.raises(MediaError, match=r"probe: the decoder ended with status -6 \(no luck\)"):
        probe(tmp_path / "s.mp4")


def test_a_prober_that_is_killed_from_outside_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the system when memory is short: the file is not put aside for it."""
    pretend_child(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    (tmp_path / "s.mp4").write_bytes(b"x")
    with pytest.raises(MediaError, match="probe: the decoder ended with status -9") as caught:
        probe(tmp_path / "s.mp4")
    assert caught.value.transient


def test_a_prober_without_memory_is_told(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(0.2), made.moving())
    with pytest.raises(MediaError, match="probe: "):
        probe(source, Limits(memory_bytes=100 << 20))
