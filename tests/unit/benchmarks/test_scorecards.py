"""The known answers that scorecards make are the answers they claim."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks.scorecards import faces, flow, keyframes, motion, overlay_text, vad
from benchmarks.scorecards.footage import manifest, media_of, read_frames
from tasks.damage import STRENGTHS, degrade
from tests.drawn_face import draw_face, wall


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds at 10 fps, 960 x 540, whose gray level is ten times the number of the frame."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 960, 540, "yuv420p"
        stream.bit_rate = 4_000_000
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((540, 960, 3), 10 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_frames_are_sampled_by_time_and_scaled_down(clip: Path) -> None:
    frames, source_width = read_frames(clip, 5, max_s=1.0)
    assert source_width == 960
    assert [f.shape for f in frames] == [(360, 640, 3)] * 6
    assert [float(f.mean()) for f in frames] == pytest.approx([0, 20, 40, 60, 80, 100], abs=4)
    faster, _ = read_frames(clip, 25, max_s=0.4)
    assert len(faster) == 11
    assert float(faster[10].mean()) == pytest.approx(40, abs=4)
    media = media_of(frames, 5, source_width_px=source_width)
    assert (list(media.frames), media.end_frame, media.source_width_px) == ([0, 5, 10, 15, 20, 25], 30, 960)


def test_the_manifest_names_people(tmp_path: Path) -> None:
    lines = [
        {"file": "talk/a.mp4", "w": 64, "identity": "ann"},
        {"file": "neg/b.mp4", "w": 64},
        {"file": "audio/c.wav"},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert [e["person"] for e in manifest(tmp_path, "talk", "neg", "audio")] == ["ann", "neg/b.mp4"]
    assert manifest(tmp_path, "talk")[0]["path"] == tmp_path / "talk/a.mp4"


def test_a_quick_look_takes_a_few_files_of_each_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"file": f"{folder}/{i}.mp4", "w": 64} for folder in ("talk", "neg") for i in range(6)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert len(manifest(tmp_path, "talk", "neg")) == 12
    monkeypatch.setenv("HEADROOM_SCORECARD_FILES", "2")
    assert [e["file"] for e in manifest(tmp_path, "talk", "neg")] == [
        "talk/0.mp4",
        "talk/3.mp4",
        "neg/0.mp4",
        "neg/3.mp4",
    ]
    monkeypatch.setenv("HEADROOM_SCORECARD_FILES", "50")
    assert len(manifest(tmp_path, "talk", "neg")) == 12


@pytest.mark.parametrize("kind", list(STRENGTHS))
def test_damage_grows_with_the_strength_from_none(kind: str) -> None:
    frame = draw_face(wall(), 160, 110, 140)
    strengths = STRENGTHS[kind]
    damage = [float(np.abs(degrade(frame, kind, s).astype(int) - frame.astype(int)).mean()) for s in strengths]
    assert damage[0] == 0
    assert damage == sorted(damage)
    assert degrade(frame, kind, strengths[-1]).shape == frame.shape


def test_a_pan_moves_at_the_speed_it_claims() -> None:
    ramp = np.repeat(np.arange(400, dtype=np.float32)[None, :, None] % 256, 200, 0).repeat(3, 2).astype(np.uint8)
    frames = motion.panned(ramp, 20.0)
    step = 20 / 100 * 120 / motion.FPS
    assert frames[0].shape[:2] == (120, 240)
    assert frames[1][60, 10, 0] - frames[0][60, 10, 0] == pytest.approx(step, abs=1)


def test_share_read_is_over_letters() -> None:
    assert overlay_text.share_read("Hello world", "HELLO WORLD") == 1
    assert overlay_text.share_read("abcd", "xaxbx") == 0.5
    assert overlay_text.share_read("abcd", "") == 0


def test_burned_text_changes_the_frame_and_fits() -> None:
    rng = np.random.default_rng(0)
    frame = wall(320, 180)
    for style in range(4):
        shown, text = overlay_text.burned(frame, "several words that will not all fit in here", 0.08, style, rng)
        assert "several words that will not all fit in here".startswith(text)
        changed = np.abs(shown.astype(int) - frame.astype(int)).max(axis=(0, 2)) > 40
        assert changed.mean() > 0.3
        assert not changed[-3:].any()


def test_a_voice_amid_noise_has_the_ratio_and_the_pauses_it_claims() -> None:
    voice = np.sin(2 * np.pi * 220 * np.arange(32_000) / 16_000) * 0.3
    sound, speaks = vad.amid_noise(voice, 10.0, 0)
    assert len(sound) == 640 * len(speaks) == 640 * (50 + 2 * vad.PAUSE_FRAMES)
    assert speaks.sum() == 50 + 2 * vad.NEAR_FRAMES
    power = np.square(sound.reshape(-1, 640)).mean(axis=1)
    inside = speaks.nonzero()[0][vad.NEAR_FRAMES : -vad.NEAR_FRAMES]
    assert 10 * np.log10(power[inside].mean() / power[~speaks].mean() - 1) == pytest.approx(10, abs=0.7)


def test_a_zoom_moves_at_the_speed_it_claims() -> None:
    texture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 3)
    frames, (speed, _) = flow.zoomed(cv2.convertScaleAbs(texture, alpha=4, beta=-384), 1.05)
    assert len(frames) == flow.NUM_FRAMES
    x, y = np.meshgrid(np.arange(320) - 159.5, np.arange(240) - 119.5)
    assert speed == pytest.approx(0.05 * np.hypot(x, y).mean() / 240 * 100 * 5)
    told = flow.told(frames)
    assert [row["camera"] for row in told] == pytest.approx([speed, speed], rel=0.2)


def test_points_of_a_face_follow_and_those_that_stay_do_not() -> None:
    frame = draw_face(wall(640, 480), 320, 220, 260)
    _, score, points = faces.found_on(frame)
    assert points is not None
    assert score > 0.7
    for kind in ("shifted", "mirrored"):
        assert max(faces.misses(frame, points, kind)) < 20
    shift = 0.08 * 640 / np.hypot(*(points[0] - points[1])) * 100
    assert faces.stays(frame, points, "shifted")[0] == pytest.approx(shift)


def test_noise_of_a_gray_level_is_so_much_of_luma() -> None:
    noisy = degrade(np.full((240, 320, 3), 128, np.uint8), "noise", 10.0)
    luma = media_of([noisy], 1.0).image(0, None, "gray")
    assert luma.std() == pytest.approx(10 * keyframes.LUMA_NOISE, rel=0.03)
