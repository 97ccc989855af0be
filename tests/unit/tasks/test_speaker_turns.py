import numpy as np
import pytest

from tasks import speaker_turns
from tasks.speaker_turns import Turn

RNG = np.random.default_rng(0)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def voices(num: int) -> np.ndarray:
    """(K, 256) centres, unlike one another as real voices are: a common part, and one of each."""
    return unit(1.0 * unit(np.ones(256)) + unit(RNG.normal(size=(num, 256))))


def windows(centres: np.ndarray, speakers: list[int]) -> np.ndarray:
    return unit(centres[speakers] + 0.35 * unit(RNG.normal(size=(len(speakers), 256))))


@pytest.mark.parametrize("order", [[0] * 20, [0] * 8 + [1] * 9, [0] * 8 + [1] * 8 + [2] * 8 + [0] * 5 + [1] * 4])
def test_speakers_are_counted_and_named_in_order(order: list[int]) -> None:
    labels, likeness = speaker_turns.clusters(windows(voices(3)[::-1], order), 4)
    assert labels.tolist() == order
    assert (likeness >= speaker_turns.SAME_VOICE) == (max(order) == 0)


def test_windows_astride_a_change_are_no_third_speaker() -> None:
    centres = voices(2)
    blends = np.linspace(0.35, 0.65, 6)[:, None]
    astride = unit(blends * centres[0] + (1 - blends) * centres[1] + 0.1 * unit(RNG.normal(size=(1, 256))))
    embedded = np.concatenate([windows(centres, [0] * 8), astride, windows(centres, [1] * 8)])
    labels, _ = speaker_turns.clusters(embedded, 4)
    assert labels.max() == 1
    assert labels[:8].tolist() == [0] * 8
    assert labels[-8:].tolist() == [1] * 8
    mixed = np.array([0] * 8 + [2] * 6 + [1] * 8)
    assert speaker_turns.without_mixtures(embedded, mixed).max() == 1


def test_a_third_voice_is_no_mixture_of_the_others() -> None:
    centres = voices(3)
    assert all(speaker_turns.likeness_to_mixture(centres, k) < speaker_turns.MIXTURE for k in range(3))
    mixture = np.vstack([centres[:2], unit(0.4 * centres[0] + 0.6 * centres[1])])
    assert speaker_turns.likeness_to_mixture(mixture, 2) == pytest.approx(1)


def test_windows_that_share_sound_say_nothing() -> None:
    embedded, side = unit(RNG.normal(size=(4, 256))), np.array([False, False, True, True])
    assert speaker_turns.likeness_across(embedded, np.arange(4), side, 4) == 1.0
    assert speaker_turns.likeness_across(embedded, np.arange(4), side, 3) == pytest.approx(embedded[0] @ embedded[3])


def test_too_few_windows_are_one_speaker() -> None:
    assert speaker_turns.bisected(windows(voices(2), [0, 1, 1])) is None
    labels, likeness = speaker_turns.clusters(windows(voices(2), [0, 1, 1]), 4)
    assert (labels.tolist(), likeness) == ([0, 0, 0], 1.0)


def test_a_change_of_speaker_must_pay() -> None:
    scores = np.array([[1.0, 0.0]] * 5 + [[0.0, 0.3]] + [[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5)
    assert speaker_turns.decoded(scores, 0.0).tolist() == [0] * 5 + [1] + [0] * 5 + [1] * 5
    assert speaker_turns.decoded(scores, 0.5).tolist() == [0] * 11 + [1] * 5
    assert speaker_turns.decoded(scores, 50.0).tolist() == [0] * 16


def test_turns_bridge_short_pauses_of_the_same_speaker() -> None:
    speaker = np.array([-1, 0, 0, -1, 0, 1, -1, -1, -1, 1])
    assert speaker_turns.turns_of(speaker, 2) == [Turn(1, 5, 0), Turn(5, 6, 1), Turn(9, 10, 1)]
    assert speaker_turns.turns_of(speaker, 3) == [Turn(1, 5, 0), Turn(5, 10, 1)]
    assert speaker_turns.turns_of(np.full(5, -1), 3) == []
