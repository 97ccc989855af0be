"""The known answers of the identity scorecards are the answers they claim."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scorecards import people, voice_embedding
from benchmarks.scorecards.face_embedding import accuracy, pair_counts, pairs_of, pairwise_f1
from benchmarks.scorecards.identity_consistency import balanced
from tests.drawn_face import draw_face, wall

A, B = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_pairs_are_of_the_own_clip_and_of_other_people() -> None:
    told = pairs_of({"ann": [A, A], "bob": [B]}, {"ann": [A, B], "bob": [B]})
    assert told["ann"] == [(1, True), (0, False), (0, True), (0, False)]
    assert told["bob"] == [(1, True), (0, False), (1, False)]


def test_pairwise_f1_counts_wrong_joins_and_wrong_parts() -> None:
    clips = {"ann": [A, A, A], "bob": [B, B]}
    right = pair_counts(clips, np.array([0, 0, 0, 1, 1]))
    assert pairwise_f1([c for told in right.values() for c in told]) == 1
    parted = pair_counts(clips, np.array([0, 0, 2, 1, 1]))
    assert parted["ann"] == [(1, 0, 2)]
    one = pair_counts(clips, np.zeros(7, int))  # two bridges follow and are nobody's
    assert one == {"ann": [(3, 3, 0)], "bob": [(1, 3, 0)]}
    assert pairwise_f1([c for told in one.values() for c in told]) == pytest.approx(8 / 14)


def test_both_truths_weigh_alike() -> None:
    assert accuracy([(0.9, True), (0.1, True), (0.1, False), (0.2, False)]) == 0.75
    assert balanced([(True, True), (True, True), (False, False)]) == 0.5


def test_light_falls_from_the_left_and_the_head_stays() -> None:
    scene = draw_face(wall(), 160, 120, 130)
    lit = people.relit([scene])[0].astype(int)
    assert lit[10, :40].mean() > lit[10, -40:].mean() + 30
    moved = people.before_another_background([scene], np.full((90, 90, 3), 7, np.uint8))[0]
    assert np.abs(moved[5:20].astype(int) - 7).max() <= 1
    assert np.abs(moved[110:130, 150:170].astype(int) - scene[110:130, 150:170]).max() <= 1


def test_noise_has_the_level_it_claims_and_the_telephone_its_band() -> None:
    time_s = np.arange(16_000) / 16_000
    tones = np.sin(2 * np.pi * 1000 * time_s) + np.sin(2 * np.pi * 6000 * time_s)
    phone = voice_embedding.by_telephone(tones.astype(np.float32))
    assert phone == pytest.approx(np.sin(2 * np.pi * 1000 * time_s), abs=1e-3)
    noise = voice_embedding.noisy(phone, 0) - phone
    assert 20 * np.log10(np.std(phone) / np.std(noise)) == pytest.approx(10, abs=0.2)
