from __future__ import annotations

import numpy as np
import pytest

from tasks.signals import unsafe
from tests.drawn_face import draw_face, media_of, wall


def test_a_face_and_noise_are_safe() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    row = unsafe.compute(media_of({0: draw_face(wall(), 160, 110, 140), 125: noise}, 250), {}).row
    assert set(row) == {c.name for c in unsafe.SIGNAL.columns}
    assert row["num_frames"] == 2
    assert row["nsfw_score"] < 0.2
    assert row["unsafe_ratio"] == 0


def test_the_worst_frame_counts_and_the_mean_is_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.1, 0.9, 0.8, 0.2])
    monkeypatch.setattr(unsafe, "nsfw_score", lambda image: next(told))
    row = unsafe.compute(media_of({125 * i: wall() for i in range(4)}, 500), {}).row
    assert row["nsfw_score"] == pytest.approx(0.9)
    assert row["nsfw_mean_score"] == pytest.approx(0.5)
    assert row["unsafe_ratio"] == pytest.approx(0.5)


def test_colours_are_in_the_order_of_the_network() -> None:
    """Skin in a picture with red and blue exchanged is no skin: the score must depend on the order."""
    skin = draw_face(wall(), 160, 110, 220)
    assert unsafe.nsfw_score(skin) != pytest.approx(unsafe.nsfw_score(skin[..., ::-1].copy()), rel=0.02)


def test_the_network_gives_what_its_carrier_gives() -> None:
    """Against the carrier's own preprocessing (bilinear by Pillow instead of by area) on the same picture."""
    import io

    from PIL import Image

    picture = draw_face(wall(256, 256), 128, 110, 140)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG")
    decoded = np.asarray(Image.open(buffer).convert("RGB"), np.float32)[16:240, 16:240, ::-1]
    session = unsafe._session()
    feed = {session.get_inputs()[0].name: (decoded - np.float32([104, 117, 123]))[None]}
    assert unsafe.nsfw_score(picture) == pytest.approx(float(session.run(None, feed)[0][0, 1]), abs=0.01)
