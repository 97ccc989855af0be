from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.content_features import KINDS, NUM_FEATURES
from tasks.face_life import Life
from tasks.signals import content, embedding, faces, landmarks
from tests.drawn_face import media_of


def slide() -> np.ndarray:
    image = np.full((360, 640, 3), 250, np.uint8)
    cv2.rectangle(image, (0, 0), (640, 40), (40, 90, 200), -1)
    for i in range(5):
        cv2.putText(
            image,
            "method result figure",
            (60, 110 + 45 * i),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.9,
            (30, 30, 30),
            2,
            cv2.LINE_AA,
        )
    return image


def bars() -> np.ndarray:
    colours = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]
    return np.repeat(np.array(colours, np.uint8)[np.arange(630) // 90][None], 360, axis=0)[:, :630].copy()


def row_of(*scenes: np.ndarray) -> dict[str, float | str]:
    media = media_of({25 * i: s for i, s in enumerate(scenes)}, 25 * len(scenes))
    vector = embedding.compute(media, {}).vectors["video"]
    found = faces.compute(media, {}).timeline
    mesh = landmarks.compute(media, {"faces": found}).timeline
    return dict(content.compute(media, {"embedding.video": vector, "faces": found, "landmarks": mesh}).row)


def test_columns_and_probabilities() -> None:
    row = row_of(slide(), slide(), slide())
    assert set(row) == {c.name for c in content.SIGNAL.columns}
    assert sum(float(row[f"{kind}_probability"]) for kind in KINDS) == pytest.approx(1)
    assert row["kind"] in KINDS


def test_a_slide_and_bars_are_no_natural_footage() -> None:
    assert row_of(slide(), slide(), slide())["kind"] in ("slides", "screencast")
    assert row_of(bars()[:, :620], bars()[:, :620], bars()[:, :620])["kind"] == "test_pattern"


def test_one_frame_is_enough() -> None:
    assert row_of(bars()[:, :620])["kind"] in KINDS


def test_natural_needs_a_third_and_the_likeliest_of_the_others_gives_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(p: float) -> np.ndarray:
        rest = (1 - p) / (len(KINDS) - 1)
        return np.array([p if kind == "game" else rest for kind in KINDS])

    def shared(natural: float) -> np.ndarray:
        rest = (1 - natural) / 4
        return np.array([natural, rest * 1.2, rest, rest, rest * 0.8, 0, 0, 0, 0])

    cases = (told(0.51), "game"), (shared(0.34), "natural"), (shared(0.32), "screencast")
    for probabilities, kind in cases:
        monkeypatch.setattr(content, "classify", lambda features, vector, p=probabilities: p)
        assert row_of(slide())["kind"] == kind


def test_a_living_face_rules_out_what_has_none() -> None:
    told = np.full(len(KINDS), 1 / len(KINDS))
    by_life = {
        "none": Life(),
        "small": Life(height=0.2, motion=0.05, redness=0),
        "living": Life(height=0.4, motion=0.05, redness=8),
        "stone": Life(height=0.4, motion=0.05, redness=0),
        "still": Life(height=0.4, motion=0.001, redness=8),
    }
    left = {
        name: [kind for kind, p in zip(KINDS, content.with_life(told, life), strict=True) if p]
        for name, life in by_life.items()
    }
    assert left["none"] == left["still"] == list(KINDS)
    assert left["small"] == ["natural", "game", "cartoon", "inset", "statue"]
    assert left["living"] == ["natural", "game", "cartoon"]
    assert left["stone"] == ["natural", "game", "cartoon", "statue"]
    assert all(content.with_life(told, life).sum() == pytest.approx(1) for life in by_life.values())


def test_features_out_of_all_proportion_change_nothing_beyond_a_limit() -> None:
    told, vector = np.zeros(NUM_FEATURES), np.zeros(1280)
    told[0] = 1e6
    wild = content.classify(told, vector)
    told[0] = 1e9
    assert np.isfinite(wild).all()
    assert content.classify(told, vector) == pytest.approx(wild)
