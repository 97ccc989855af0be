from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.digest import declared_row, digest_of_values
from tasks.lip_prediction import predicted_lips
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import active_speaker
from tests.moving_mouth import delayed, landmarks, syllables, vad

START, NUM_FRAMES = 250, 200


@cache
def voice(seed: int = 0) -> np.ndarray:
    return syllables(NUM_FRAMES / 25, seed=seed)


@cache
def mouth() -> np.ndarray:
    """Opening, in px, of a mouth that moves just as the first voice leads to expect."""
    gap = predicted_lips(voice())[0][:, 0]
    opened: np.ndarray = 12 + 5 * gap / np.abs(gap).max()
    return opened


def row(audio: np.ndarray | None, mesh: pa.Table, speech_ratio: float = 1.0) -> dict[str, Any]:
    media = Media(START, START + NUM_FRAMES, 64, 64, audio=audio)
    needs = {"landmarks": mesh, "vad": vad(NUM_FRAMES, speech_ratio=speech_ratio, start_frame=START)}
    return declared_row(active_speaker.SIGNAL.columns, active_speaker.compute(media, needs).row)


def in_view(opening: np.ndarray) -> pa.Table:
    return landmarks(opening, start_frame=START)


@pytest.mark.parametrize("late", [-5, 0, 6])
def test_a_face_that_says_what_is_heard_speaks(late: int) -> None:
    found = row(delayed(voice(), late), in_view(mouth()))
    assert found["kind"] == "on_screen"
    assert found["speaking_score"] > 0.9
    assert found["on_screen_ratio"] > 0.8
    assert found["on_screen_ratio"] + found["off_screen_ratio"] == pytest.approx(1)
    assert found["voice_over_ratio"] == found["silent_face_ratio"] == 0


@pytest.mark.parametrize("opening", [mouth()[::-1], np.full(NUM_FRAMES, 12.0)])
def test_a_voice_that_is_not_the_face_s_comes_from_off_screen(opening: np.ndarray) -> None:
    found = row(voice(), in_view(opening))
    assert found["kind"] == "off_screen"
    assert found["speaking_score"] < 0.5
    assert found["off_screen_ratio"] > 0.6
    own = row(voice(), in_view(mouth()))
    assert found["margin"] < 0.5 * own["margin"]


def test_a_voice_without_a_face_is_a_voice_over() -> None:
    found = row(voice(), in_view(mouth())[:0], speech_ratio=0.75)
    assert (found["kind"], found["voice_over_ratio"], found["speaking_score"]) == ("voice_over", 0.75, 0)
    half = row(voice(), in_view(mouth())[:120])
    assert half["voice_over_ratio"] == pytest.approx(0.4)
    assert half["on_screen_ratio"] == pytest.approx(0.6, abs=0.15)


def test_a_face_while_nobody_speaks_is_silent() -> None:
    found = row(voice(), in_view(mouth()), speech_ratio=0.0)
    assert (found["kind"], found["silent_face_ratio"], found["speaking_score"]) == ("silent", 1, 0)


def test_half_of_the_speech_is_another_s() -> None:
    """The voice goes on after the face has stopped to move."""
    stopped = np.concatenate([mouth()[:100], np.full(100, mouth()[100])])
    found = row(voice(), in_view(stopped))
    assert 0.3 < found["on_screen_ratio"] < 0.7
    assert 0.3 < found["off_screen_ratio"] < 0.7


def test_short_gaps_of_the_mesh_are_no_absence() -> None:
    flags = active_speaker.face_in_view(np.array([0, 1, 7, 14]), 16)
    assert np.flatnonzero(flags).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 14]
    assert active_speaker.longest_run(flags) == (0, 8)
    assert active_speaker.longest_run(np.zeros(4, bool)) == (0, 0)
    assert active_speaker.longest_run(np.array([True, False, True])) == (0, 1)


def test_the_score_follows_the_margin() -> None:
    assert active_speaker.score_of(active_speaker.EVEN_MARGIN) == pytest.approx(0.5)
    assert active_speaker.score_of(0.0) < 0.01 < 0.99 < active_speaker.score_of(0.3)


def test_it_is_deterministic() -> None:
    first, second = (digest_of_values(row(voice(), in_view(mouth())), None, {}) for _ in range(2))
    assert first == second


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        row(None, in_view(mouth()))


def test_a_face_that_only_flashes_by_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="for under 2 s at a time"):
        row(voice(), in_view(mouth())[:49])
