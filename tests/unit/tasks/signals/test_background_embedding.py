from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.media.media import Media
from tasks.signal import NotApplicable, Output
from tasks.signals import background_embedding, faces
from tasks.signals.background_embedding import background_of, faces_at, masked_features, painted_over
from tests.drawn_face import draw_face, media_of, wall


def room(seed: int) -> np.ndarray:
    """A patterned wall: stripes or dots of the seed's own size and colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:240, 0:320]
    size = 8 + 6 * seed
    pattern = ((x // size + (y // size if seed % 2 else 0)) % 2).astype(bool)[..., None]
    return np.where(pattern, rng.integers(0, 255, 3), rng.integers(0, 255, 3)).astype(np.uint8)


def embedded(*scenes: np.ndarray) -> Output:
    media = media_of({25 * i: s for i, s in enumerate(scenes)}, 25 * len(scenes))
    return background_embedding.compute(media, {"faces": faces.compute(media, {}).timeline})


def test_two_people_in_one_room_are_nearer_than_one_person_in_two_rooms() -> None:
    here = embedded(draw_face(room(1), 160, 120, 120))
    other_person = embedded(draw_face(room(1), 120, 130, 150))
    elsewhere = embedded(draw_face(room(4), 160, 120, 120))
    vector = here.vectors["background"]
    assert vector.shape == (1280,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)
    same_room, same_person = vector @ other_person.vectors["background"], vector @ elsewhere.vectors["background"]
    assert float(same_room) > float(same_person) + 0.2
    assert set(here.row) == {c.name for c in background_embedding.SIGNAL.columns}
    assert 0.4 < here.row["background_ratio"] < 0.9


def test_frames_are_few_and_a_change_of_room_spreads() -> None:
    still = embedded(*[room(1)] * 20)
    assert (still.row["num_frames"], still.row["spread"]) == (4, pytest.approx(0, abs=1e-4))
    assert embedded(*[room(1)] * 4, *[room(4)] * 4).row["spread"] > 0.1


def test_the_person_is_painted_over_with_what_is_around() -> None:
    image = np.full((60, 80, 3), 100, np.float32)
    share = np.ones((60, 80, 1), np.float32)
    image[20:40, 30:50], share[20:40, 30:50] = 255, 0
    painted = painted_over(image, share)
    assert painted == pytest.approx(np.full((60, 80, 3), 100), abs=0.5)
    image[:, 55:] = 40
    assert painted_over(image, share)[30, 48, 0] < painted_over(image, share)[30, 31, 0] - 5


def test_what_stands_where_the_person_is_does_not_matter() -> None:
    behind = np.ones((240, 320), bool)
    behind[60:200, 100:220] = False
    one, other = room(1).copy(), room(1).copy()
    one[60:200, 100:220], other[60:200, 100:220] = 255, (200, 0, 90)
    assert np.allclose(masked_features(one, behind), masked_features(other, behind), atol=1e-6)


def test_a_face_that_the_segmenter_misses_is_masked_with_its_hair() -> None:
    plain = wall()
    assert background_of(plain, []).mean() > 0.95
    masked = background_of(plain, [(100, 80, 140, 120)])
    assert not masked[75:130, 90:150].any()
    assert masked[:50].all()


def test_faces_are_those_of_the_frame() -> None:
    rows = [{"frame": f, "x0": 10.0, "y0": 20.0, "x1": 30.0, "y1": 40.0 + f} for f in (0, 5, 10)]
    assert faces_at(rows, 5, 0.5) == [(5, 10, 15, 22)]


def test_no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_embedding, "person_mask", lambda image: np.ones((256, 256), np.float32))
    none = pa.table({"frame": pa.array([], pa.int32())})
    media: Media = media_of({0: room(1)}, 25)
    with pytest.raises(NotApplicable, match="under 4% of the picture is background"):
        background_embedding.compute(media, {"faces": none})
