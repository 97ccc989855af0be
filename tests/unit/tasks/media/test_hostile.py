"""Every hostile file comes to its end, with its reason, and the batch goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.media.errors import MediaError
from tasks.media.normalise import Normalised, normalise
from tests.hostile import make_hostile


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, make_hostile(folder)


@pytest.fixture(scope="module")
def ends(
    hostile: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Normalised | MediaError]:
    """What became of each file, all run one after the other."""
    folder, expected = hostile
    out = tmp_path_factory.mktemp("proxies")
    got: dict[str, Normalised | MediaError] = {}
    for i, name in enumerate(expected):
        try:
            got[name] = normalise(folder / name, out / str(i))
        except MediaError as error:
            got[name] = error
            assert list((out / str(i)).glob("*")) == [], f"{name!r} left something behind"
    return got


def test_every_file_ends_as_it_should(
    hostile: tuple[Path, dict[str, str]], ends: dict[str, Normalised | MediaError]
) -> None:
    told = {}
    for name, end in ends.items():
        if isinstance(end, MediaError):
            told[name] = f"quarantined: {end}"
        else:
            told[name] = f"rejected: {end.rejected}" if end.rejected else "done"
    assert len(told) >= 60
    wrong = {}
    for name, expected in hostile[1].items():
        kind, _, reason = expected.partition(": ")
        if told[name].partition(":")[0] != kind or reason not in told[name]:
            wrong[name] = (expected, told[name])
    assert wrong == {}


def test_reasons_are_short_and_name_the_next_step(ends: dict[str, Normalised | MediaError]) -> None:
    reasons = [e.reason for e in ends.values() if isinstance(e, MediaError)]
    assert len(reasons) >= 18
    assert all(10 < len(r) < 400 and "\n" not in r and "Traceback" not in r for r in reasons)
    # "what was met; what to do"
    assert [r for r in reasons if ";" not in r] == []


def test_what_the_files_are_is_seen(ends: dict[str, Normalised | MediaError]) -> None:
    def done(name: str) -> Normalised:
        end = ends[name]
        assert isinstance(end, Normalised)
        return end

    assert done("interlaced.mp4").interlaced
    assert not done("good.mp4").interlaced
    assert (done("not square.mp4").width_px, done("not square.mp4").height_px) == (136, 64)
    assert (done("turned.mp4").width_px, done("turned.mp4").height_px) == (64, 96)
    assert (done("odd.mp4").width_px, done("odd.mp4").height_px) == (96, 70)
    # 2.4 s of one size, then 2.4 s of another, in one proxy.
    assert 118 <= done("changes size.ts").num_frames <= 121
    assert abs(done("two minutes.mp4").num_frames - 3000) <= 5
    assert done("starts after a day.mkv").source_start_s == pytest.approx(86_400.0, abs=0.05)
    assert done("negative start.mkv").source_start_s == pytest.approx(-0.5, abs=0.05)
    assert done("late picture.mkv").num_frames == pytest.approx(25 * 3.1, abs=2)


def test_sound_that_can_not_be_used_is_told(ends: dict[str, Normalised | MediaError]) -> None:
    why = {
        "no sound.mp4": "no audio",
        "broken sound.mkv": "codec is unknown",
        "noise for sound.mp4": "can't be decoded",
    }
    for name, reason in why.items():
        end = ends[name]
        assert isinstance(end, Normalised)
        assert not end.has_audio
        assert end.audio_path is None
        assert end.audio_sha256 is None
        assert reason in end.audio_reason


def test_no_name_ran_a_command(hostile: tuple[Path, dict[str, str]], ends: dict[str, Normalised | MediaError]) -> None:
    assert len(ends) == len(hostile[1])
    assert not (hostile[0] / "x").exists()
    assert not Path("x").exists()
    assert sorted(os.listdir(hostile[0] / "sub")) == []
