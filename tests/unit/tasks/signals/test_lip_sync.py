from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.lag import best_lag
from tasks.digest import declared_row, digest_of_values
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import lip_sync
from tests.moving_mouth import delayed, landmarks, syllables, vad

START, NUM_FRAMES = 250, 200


@cache
def voice() -> np.ndarray:
    return syllables(NUM_FRAMES / 25)


@cache
def mouth() -> np.ndarray:
    """Opening, in px, of a mouth that moves just as the voice leads to expect."""
    gap = lip_sync.predicted_lips(voice())[0][:, 0]
    opened: np.ndarray = 12 + 5 * gap / np.abs(gap).max()
    return opened


def row(audio: np.ndarray | None, opening: np.ndarray, speech_ratio: float = 1.0, every: int = 1) -> dict[str, Any]:
    num = len(opening)
    media = Media(START, START + num, 64, 64, audio=audio)
    needs = {
        "landmarks": landmarks(opening, start_frame=START, every=every),
        "vad": vad(num, speech_ratio=speech_ratio, start_frame=START),
    }
    return declared_row(lip_sync.SIGNAL.columns, lip_sync.compute(media, needs).row)


@pytest.mark.parametrize("late", [-10, -3, 0, 1, 7, 10])
def test_a_known_shift_of_the_sound_is_found(late: int) -> None:
    found = row(delayed(voice(), late), mouth())
    assert abs(found["offset_frames"] - late) <= 1
    assert abs(found["offset_ms"] - 40 * late) <= 40
    assert found["confidence"] > 0.3
    assert found["in_sync_ratio"] == pytest.approx(1.0 if late == 0 else 0.0, abs=0.2 if abs(late) != 1 else 1.0)
    assert found["speech_s"] == NUM_FRAMES / 25


@pytest.mark.parametrize(("num_rows", "lag"), [(50, 2), (1000, -15)])
def test_chance_where_little_overlaps_does_not_lead_short_windows_astray(
    num_rows: int, lag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A little more correlation, over 35 of 50 rows, is chance; over 985 of 1000 it is not."""
    plain = np.zeros(31)
    plain[0], plain[15 + 2] = 0.5, 0.45
    monkeypatch.setattr(lip_sync, "lag_correlation", lambda *_: plain)
    curve = lip_sync.lag_curve(np.zeros((num_rows + 3, 12)), np.zeros((num_rows, 12)), np.ones(12) / 12)
    assert best_lag(curve)[0] == lag
    assert curve[0] == pytest.approx(0.5 * (num_rows - 15) / num_rows)


def test_another_voice_gives_less_confidence() -> None:
    own, other = row(voice(), mouth()), row(syllables(NUM_FRAMES / 25, seed=5), mouth())
    assert other["confidence"] < 0.6 * own["confidence"]


def test_where_a_long_sound_is_cut_into_pieces_hardly_matters() -> None:
    """The encoder takes 8 s at a time; the same sound cut elsewhere must lead to the same lips."""
    audio = syllables(14.0)
    whole, part = lip_sync.predicted_lips(audio)[0], lip_sync.predicted_lips(audio[3 * 16_000 :])[0]
    agreement = [np.corrcoef(a, b)[0, 1] for a, b in zip(whole[75:].T, part.T, strict=True)]
    assert np.mean(agreement) > 0.85


def test_it_is_deterministic() -> None:
    first, second = (digest_of_values(row(voice(), mouth()), None, {}) for _ in range(2))
    assert first == second


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        row(None, mouth())


def test_a_short_clip_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="shorter than 4 s"):
        row(voice(), mouth()[:99])


def test_little_speech_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="speech in under 30 %"):
        row(voice(), mouth(), speech_ratio=0.25)


def test_a_face_that_is_mostly_away_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no face in most frames"):
        row(voice(), mouth(), every=2)


def test_a_mouth_at_rest_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="the mouth does not move"):
        row(voice(), np.full(NUM_FRAMES, 12.0))


def test_windows_tell_how_much_of_the_speech_is_in_sync() -> None:
    track = np.random.default_rng(0).normal(size=(300, 2))
    moved = np.concatenate([track[:150], np.roll(track, 5, axis=0)[150:]])
    weights, speech = np.full(2, 0.5), np.ones(300, bool)
    assert lip_sync.in_sync_ratio(track, track, weights, speech) == 1.0
    assert 0.3 < lip_sync.in_sync_ratio(moved, track, weights, speech) < 0.7
    speech[150:] = False
    assert lip_sync.in_sync_ratio(moved, track, weights, speech) > 0.7
    speech[:] = False
    speech[290] = True
    assert lip_sync.in_sync_ratio(moved, track, weights, speech) == 0.0


def test_a_window_of_lips_is_held_against_the_sound_around_it() -> None:
    """Sound 12 frames late: in the window itself only 38 of 50 rows have a partner, and chance weighs more."""
    rng = np.random.default_rng(0)
    track, weights = rng.normal(size=(300, 2)), np.full(2, 0.5)
    late = np.roll(track, 12, axis=0)
    around = lip_sync.lag_curve(late, track, weights, (100, 150))
    assert around[15 + 12] == pytest.approx(1.0)
    alone = lip_sync.lag_curve(late[100:150], track[100:150], weights)
    assert alone[15 + 12] == pytest.approx(38 / 50)
    assert lip_sync.lag_curve(late, track, weights, (250, 300))[15 + 12] == pytest.approx(38 / 50), "the sound ends"


def test_lips_are_compared_along_axes_of_weights_that_sum_to_one() -> None:
    heard, seen, weights = lip_sync.compared(voice(), np.random.default_rng(0).normal(size=(NUM_FRAMES, 6)))
    assert heard.shape == seen.shape == (NUM_FRAMES, len(weights))
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    assert (weights[:4] > 0.1).all(), "the mouth's opening does not outvote its width and protrusion"


@pytest.mark.slow
def test_a_real_mouth_is_found_late_when_its_sound_is_made_late(real_media: Path, tmp_path: Path) -> None:
    from tasks.lip_corpus import timelines
    from tasks.media.normalise import normalise
    from tasks.media.reader import Reader

    made = normalise(real_media / "talk" / "pcavs__00086.mp4", tmp_path)
    assert made.audio_path is not None
    with Reader() as reader:
        needs = timelines(reader, made.proxy_path, made.audio_path, made.num_frames)
        audio = reader.read_audio(made.audio_path, 0, made.num_frames)
    media = Media(0, made.num_frames, made.width_px, made.height_px)
    for late in (-7, 0, 6):
        media.audio = delayed(audio, late)
        found = lip_sync.compute(media, needs).row
        assert abs(found["offset_frames"] - late) <= 1
        assert found["confidence"] > 0.35
