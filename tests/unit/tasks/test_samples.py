"""The sample footage holds what its manifest says: checked on the files, by means other than those that made them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import av
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from tasks.face_geometry import LIP_BOTTOM_INNER, LIP_TOP_INNER, Crop
from tasks.face_mesh import MESH_SIDE_PX, mesh
from tasks.media.media import Media
from tasks.samples import Sample, carriers, catalogue, make_samples, makers
from tasks.samples.__main__ import main
from tasks.samples.ffmpeg import run
from tasks.samples.voice import mouthing, read_speech


def _missing_carriers() -> list[str]:
    missing = []
    for package in sorted({c.package for c in carriers.ALL}):
        try:
            distribution(package)
        except PackageNotFoundError:
            missing.append(package)
    return missing


needs_carriers = pytest.mark.skipif(
    bool(_missing_carriers()), reason=f"footage carriers are not installed: {_missing_carriers()}; run make setup"
)


def frames_of(file: Path, pixels: str = "gray") -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W[, 3]) and their times in seconds."""
    with av.open(str(file)) as container:
        told = [(f.to_ndarray(format=pixels), float(f.time or 0)) for f in container.decode(video=0)]
    return np.stack([f for f, _ in told]), np.array([t for _, t in told])


def sound_of(file: Path, rate_hz: int = 16_000) -> np.ndarray:
    command = [get_ffmpeg_exe(), "-loglevel", "error", "-i", str(file), "-ac", "1", "-ar", str(rate_hz)]
    told = subprocess.run([*command, "-f", "f32le", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(told, np.float32)


def best_lag(mouth: np.ndarray, sound: np.ndarray, max_lag: int = 12) -> tuple[int, float]:
    """Frames by which the sound is late, and the correlation there."""
    inner = slice(max_lag, len(mouth) - max_lag)
    told = {
        lag: float(np.corrcoef(mouth[inner], np.roll(sound, -lag)[inner])[0, 1]) for lag in range(-max_lag, max_lag + 1)
    }
    lag = max(told, key=lambda at: told[at])
    return lag, told[lag]


def mouth_darkness(frames: np.ndarray) -> np.ndarray:
    """Share of dark pixels where the lower lip rests; it grows as the mouth opens. No model, no landmark."""
    rows, columns = slice(296, 345), slice(215, 300)
    return np.asarray((frames[:, rows, columns] < 75).mean(axis=(1, 2)))


def voice_level(sound: np.ndarray, num_frames: int, fps: int = 25, rate_hz: int = 16_000) -> np.ndarray:
    """Loudness of 40 ms around the instant at which each frame appears, plain RMS of the whole band."""
    size = rate_hz // fps
    padded = np.pad(sound, (size // 2, max(0, num_frames * size - len(sound))))[: num_frames * size]
    return np.asarray(np.sqrt((padded.reshape(num_frames, size) ** 2).mean(axis=1)) ** 0.6)


@pytest.fixture(scope="module")
def short_catalogue() -> Iterator[None]:
    """The whole list, both talkers cut to 6 s, so that it takes seconds."""
    whole = catalogue.CATALOGUE
    first = makers.talker(0.95, 6.0, catalogue.LOOK_1, 25)
    second = makers.talker(17.2, 6.0, catalogue.LOOK_2, 30)
    short = tuple(
        (sample, {catalogue.TALKER_1: first, catalogue.TALKER_2: second}.get(sample.file, make))
        for sample, make in whole
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.samples.CATALOGUE", short)
        yield


@pytest.fixture(scope="module")
def made(short_catalogue: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sample]]:
    folder = tmp_path_factory.mktemp("samples")
    return folder, make_samples(folder)


@needs_carriers
def test_every_file_has_its_manifest_line_and_its_rights(made: tuple[Path, list[Sample]]) -> None:
    folder, samples = made
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [s.file for s in samples]
    on_disk = {f.name for f in folder.iterdir()}
    assert on_disk == {"manifest.jsonl"} | {s.file for s in samples} | {f"{s.file}.rights.json" for s in samples}
    for sample, line in zip(samples, lines, strict=True):
        assert sample.file.startswith("made_" if sample.made else "real_")
        assert line["num_bytes"] == (folder / sample.file).stat().st_size
        rights = json.loads((folder / f"{sample.file}.rights.json").read_text())
        assert rights == {"licence": sample.licence, "consent": sample.consent, "origin": sample.origin}
        assert all(rights.values())


@needs_carriers
def test_made_files_say_so_inside(made: tuple[Path, list[Sample]]) -> None:
    folder, samples = made
    for sample in samples:
        if sample.made and sample.expected != "quarantined":
            with av.open(str(folder / sample.file)) as container:
                assert "not a recording" in container.metadata["comment"], sample.file


@needs_carriers
@pytest.mark.parametrize(("file", "frames_late"), [("made_talker_1.mp4", 0), ("made_talker_1_sound_late.mp4", 7)])
def test_mouth_and_sound_are_as_far_apart_as_told(made: tuple[Path, list[Sample]], file: str, frames_late: int) -> None:
    folder, samples = made
    frames, times_s = frames_of(folder / file)
    assert np.allclose(np.diff(times_s), 0.04)
    lag, correlation = best_lag(mouth_darkness(frames), voice_level(sound_of(folder / file), len(frames)))
    assert lag == frames_late == next(s.known["offset_frames"] for s in samples if s.file == file)
    assert correlation > 0.7


@needs_carriers
def test_the_face_mesh_sees_the_mouth_follow_the_jaw_curve(made: tuple[Path, list[Sample]]) -> None:
    folder, _ = made
    planes = list(frames_of(folder / "made_talker_1.mp4", "yuv420p")[0][:100])
    media = Media(0, 100, planes[0].shape[1], planes[0].shape[0] * 2 // 3, frames=range(100), planes=planes)
    crop = Crop(252, 252, 390, 0.0)
    squares = [media.crop(f, crop.to_image(MESH_SIDE_PX), MESH_SIDE_PX) for f in media.frames]
    told, presence = zip(*(mesh(square, crop) for square in squares), strict=True)
    points = np.stack(told)[:, :, :2]
    gap = np.linalg.norm(points[:, LIP_TOP_INNER] - points[:, LIP_BOTTOM_INNER], axis=1)
    sound, rate_hz = read_speech(carriers.SPEECH.path(), 0.95, 6.0)
    jaw = mouthing(sound, rate_hz, 25).jaw[:100]
    assert min(presence) > 0.9
    assert np.corrcoef(gap, jaw)[0, 1] > 0.9
    for lag in (-1, 1):
        assert np.corrcoef(gap[5:-5], np.roll(jaw, lag)[5:-5])[0, 1] < 0.85


@needs_carriers
def test_frozen_frames_stand_still_and_those_before_move(made: tuple[Path, list[Sample]]) -> None:
    folder, _ = made
    frames, times_s = frames_of(folder / "made_talker_2_frozen.mp4")
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2))
    from_s = makers.FROZEN_FROM_S
    assert change[times_s[1:] > from_s + 0.5].max() < 0.1
    assert change[times_s[1:] < from_s - 0.1].min() > 0.3
    assert times_s[-1] > 5


@needs_carriers
def test_a_file_cut_short_can_not_be_decoded(made: tuple[Path, list[Sample]]) -> None:
    folder, _ = made
    with pytest.raises(av.error.InvalidDataError, match="Invalid data"):
        av.open(str(folder / "made_talker_1_cut_short.mp4"))


@needs_carriers
def test_silence_is_zeros_and_noise_is_as_loud_as_the_voice(made: tuple[Path, list[Sample]]) -> None:
    folder, _ = made
    assert not sound_of(folder / "made_talker_2_silent.mp4").any()
    clean, noisy = sound_of(folder / "made_talker_1.mp4"), sound_of(folder / "made_talker_1_noisy.mp4", 48_000)
    pause = slice(round(0.02 * 48_000), round(0.2 * 48_000))  # before the first word; noise alone
    snr_db = 20 * np.log10(np.sqrt((clean**2).mean()) / np.sqrt((noisy[pause] ** 2).mean()))
    assert abs(snr_db) < 2.5


@needs_carriers
def test_two_scenes_meet_at_the_told_frame(made: tuple[Path, list[Sample]]) -> None:
    folder, _ = made
    frames, _ = frames_of(folder / "made_two_scenes.mp4")
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2))
    assert int(np.argmax(change)) + 1 == makers.CUT_FRAME
    assert np.sort(change)[-1] > 4 * np.sort(change)[-2]


@needs_carriers
def test_borders_are_black_and_as_high_as_told(made: tuple[Path, list[Sample]]) -> None:
    folder, samples = made
    frames, _ = frames_of(folder / "made_talker_2_borders.mp4")
    above, below = next(s.known["border_rows"] for s in samples if s.file == "made_talker_2_borders.mp4")
    brightest_row = frames.max(axis=(0, 2))
    assert brightest_row[: above - 2].max() < 5
    assert brightest_row[len(brightest_row) - below + 2 :].max() < 5
    assert brightest_row[above + 2 : len(brightest_row) - below - 2].min() > 60


@needs_carriers
def test_the_blurred_one_has_lost_its_detail_and_captions_lie_over_the_chest(made: tuple[Path, list[Sample]]) -> None:
    folder, _ = made

    def detail(file: str) -> float:
        frames, _ = frames_of(folder / file)
        return float(np.abs(np.diff(frames[::10].astype(np.int16), axis=2)).mean())

    assert detail("made_talker_2_blurred.mp4") < 0.4 * detail("made_talker_2.mp4")
    plain, _ = frames_of(folder / "made_talker_1.mp4")
    captioned, _ = frames_of(folder / "made_talker_1_captions.mp4")
    differs = np.abs(captioned[:50].astype(np.int16) - plain[:50]).mean(axis=0) > 25
    assert differs[410:490].mean() > 0.5
    assert differs[60:400, :340].mean() < 0.01


@needs_carriers
def test_the_second_call_writes_nothing_and_a_lost_file_comes_back_the_same(made: tuple[Path, list[Sample]]) -> None:
    folder, samples = made
    before = {f: (f.stat().st_mtime_ns, f.stat().st_ino) for f in folder.iterdir()}
    assert make_samples(folder) == samples
    assert {f: (f.stat().st_mtime_ns, f.stat().st_ino) for f in folder.iterdir()} == before

    lost = folder / "made_two_scenes.mp4"
    content = lost.read_bytes()
    lost.unlink()
    told: list[str] = []
    make_samples(folder, told.append)
    assert told == ["1 of 1: made_two_scenes.mp4"]
    assert lost.read_bytes() == content
    kept = {f: (f.stat().st_mtime_ns, f.stat().st_ino) for f in folder.iterdir() if "two_scenes" not in f.name}
    assert {f: v for f, v in before.items() if f in kept and f.name != "manifest.jsonl"} == {
        f: v for f, v in kept.items() if f.name != "manifest.jsonl"
    }


@needs_carriers
def test_a_file_that_is_no_longer_in_the_list_goes(
    made: tuple[Path, list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.samples

    folder, samples = made
    whole = tasks.samples.CATALOGUE
    renamed = replace(whole[-1][0], file="real_other_name.mp4")
    monkeypatch.setattr("tasks.samples.CATALOGUE", (*whole[:-1], (renamed, whole[-1][1])))
    make_samples(folder)
    assert (folder / "real_other_name.mp4").exists()
    assert not (folder / samples[-1].file).exists()
    assert not (folder / f"{samples[-1].file}.rights.json").exists()
    monkeypatch.undo()
    make_samples(folder)


def test_a_missing_package_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(carriers.PORTRAIT, package="no-such-package-as-this")
    monkeypatch.setattr(carriers, "ALL", (absent,))
    with pytest.raises(ValueError, match="'no-such-package-as-this' is not installed; run make setup"):
        make_samples(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_without_the_file_or_with_another_is_refused() -> None:
    with pytest.raises(ValueError, match=r"numpy is installed without no/such\.png; run make setup"):
        carriers.Carried("numpy", "no/such.png", "0").path()
    with pytest.raises(ValueError, match="expected 00; run make setup to get the pinned version"):
        carriers.Carried("numpy", "numpy/__init__.py", "00").path()


def test_ffmpeg_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FFmpeg ended with \d+ on out\.mp4.*No such file"):
        run("-i", tmp_path / "absent.mp4", tmp_path / "out.mp4")


def test_the_command_line_explains_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([]) == 2
    assert "usage: python -m tasks.samples FOLDER" in capsys.readouterr().err
    monkeypatch.setattr(carriers, "ALL", (replace(carriers.PORTRAIT, package="no-such-package-as-this"),))
    assert main(["somewhere/that/is/not"]) == 2
    assert "run make setup" in capsys.readouterr().err


@pytest.mark.parametrize("fps", [25, 30])
def test_the_jaw_peaks_in_the_middle_of_a_burst_and_is_shut_in_silence(fps: int) -> None:
    rate_hz, at_s = 16_000, (0.5, 1.1, 1.58)
    t = np.arange(2 * rate_hz) / rate_hz
    loud = sum(np.exp(-(((t - a) / 0.06) ** 2)) for a in at_s)
    curves = mouthing((0.3 * loud * np.sin(2 * np.pi * 700 * t)).astype(np.float32), rate_hz, fps)
    assert len(curves.jaw) == 2 * fps
    for a in at_s:
        near = np.arange(int((a - 0.15) * fps), int((a + 0.15) * fps) + 1)
        peak_s = np.average(near, weights=curves.jaw[near]) / fps
        assert abs(peak_s - a) < 0.012
    assert curves.jaw[: int(0.2 * fps)].max() == 0
    assert 0 <= curves.jaw.min() <= curves.jaw.max() <= 1
