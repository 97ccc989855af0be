from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.signals import embedding
from tests.drawn_face import draw_face, media_of, wall


def vector(*scenes: np.ndarray) -> np.ndarray:
    media = media_of({25 * i: s for i, s in enumerate(scenes)}, 25 * len(scenes))
    return embedding.compute(media, {}).vectors["video"]


def test_length_one_and_nearest_to_its_own_re_encode() -> None:
    face = draw_face(wall(), 160, 110, 140)
    noise = np.random.default_rng(0).integers(0, 255, face.shape, dtype=np.uint8)
    stripes = np.where(np.arange(320)[None, :, None] // 20 % 2, 220, 40).repeat(240, 0).repeat(3, 2).astype(np.uint8)
    coded = cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
    own = vector(face)
    assert own.dtype == np.float32
    assert own.shape == (1280,)
    assert np.linalg.norm(own) == pytest.approx(1, abs=1e-5)
    assert own @ vector(coded) > 0.85
    assert own @ vector(coded) > max(own @ vector(noise), own @ vector(stripes)) + 0.2


def test_spread_is_zero_for_a_still_and_more_for_two_scenes() -> None:
    face, black = draw_face(wall(), 160, 110, 140), np.zeros((240, 320, 3), np.uint8)
    still = embedding.compute(media_of({0: face, 25: face}, 50), {}).row
    assert still["num_frames"] == 2
    assert still["temporal_spread"] == pytest.approx(0, abs=1e-6)
    assert embedding.compute(media_of({0: face, 25: black}, 50), {}).row["temporal_spread"] > 0.05


def test_the_features_feed_the_classes_of_the_same_network() -> None:
    """The pooled features times the classifier's own weights give the class that the whole network gives."""
    from ai_edge_litert.interpreter import Interpreter

    from infra import weights

    whole = Interpreter(model_path=str(weights.path("efficientnet_lite0")), num_threads=1)
    whole.allocate_tensors()
    details = {d["name"]: d["index"] for d in whole.get_tensor_details()}
    dense = whole.get_tensor(details["efficientnet-lite0/model/head/dense/MatMul"])
    face = draw_face(wall(224, 224), 112, 100, 140)
    whole.set_tensor(whole.get_input_details()[0]["index"], ((face.astype(np.float32) - 127) / 128)[None])
    whole.invoke()
    classes = whole.get_tensor(whole.get_output_details()[0]["index"])[0]
    logits = dense @ embedding.features(face)
    assert np.corrcoef(logits, np.log(classes + 1e-9))[0, 1] > 0.98


def test_the_same_clip_gives_the_same_bytes() -> None:
    face = draw_face(wall(), 160, 110, 140)
    assert vector(face).tobytes() == vector(face).tobytes()
