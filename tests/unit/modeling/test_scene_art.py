"""Scenes made of art: each style by itself, what is read of a folder, and that no scene which judges shows any."""

from __future__ import annotations

import zlib
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from modeling.scenes import scene
from modeling.scenes.art import FOLDERS, STYLES, load_art, of_art
from modeling.scenes.stage import SHOWN, Art, Scene, Stage
from modeling.scenes.unpack import main as unpack
from modeling.scenes.unpack import svg_in, webp_in

SIZE = (160, 90)


def _photo() -> np.ndarray:
    y, x = np.mgrid[:90, :160]
    return np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)


def _art() -> Art:
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (9, 16, 3), np.uint8), SIZE)
    alpha = np.zeros((90, 160, 1), np.uint8)
    alpha[20:70, 40:120] = 255
    figure = np.concatenate([picture, alpha], axis=2)
    blocks = [rng.integers(0, 255, (16, 16, 3), np.uint8) for _ in range(3)]
    return Art([picture], [figure], [figure], [picture], blocks)


def _stage(seed: int, *, held_out: bool = False) -> Stage:
    return Stage(np.random.default_rng(seed), *SIZE, [_photo()], held_out, _art())


@pytest.mark.parametrize("draw", sorted({s for of in STYLES.values() for s in of}, key=repr), ids=lambda d: d.__name__)
def test_each_style_is_drawn_and_moves(draw: Scene) -> None:
    made = [list(draw(_stage(seed))) for seed in range(3)]
    for frames in made:
        assert len(frames) == len(SHOWN)
        assert all(f.dtype == np.uint8 and f.shape == (90, 160, 3) for f in frames)
    assert any(not np.array_equal(a, b) for frames in made for a, b in pairwise(frames))
    assert not np.array_equal(made[0][0], made[1][0])


def test_stone_has_one_colour_and_a_painted_figure_its_own() -> None:
    """Chroma of the figure's middle, which both styles draw large."""
    from modeling.scenes.art import painted, stone

    def chroma(draw: Scene) -> float:
        parts = [next(iter(draw(_stage(seed))))[40:60, 70:90].astype(int) for seed in range(12)]
        return float(np.median([np.ptp(p, axis=2).mean() for p in parts]))

    assert chroma(stone) < 60 < chroma(painted)


def test_art_is_for_scenes_to_train_on_and_for_kinds_that_have_styles() -> None:
    assert all(of_art("cartoon", _stage(seed, held_out=True)) is None for seed in range(9))
    assert all(of_art("slides", _stage(seed)) is None for seed in range(9))
    chosen = [of_art("cartoon", _stage(seed)) for seed in range(30)]
    assert 5 < sum(style is not None for style in chosen) < 25
    photos = [_photo()]
    with_art, without = (scene("game", 3, photos, held_out=True, art=art) for art in (_art(), None))
    assert all(np.array_equal(a, b) for a, b in zip(with_art, without, strict=True))


def test_a_folder_of_art_is_read_and_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pictures: no pictures there"):
        load_art(tmp_path)
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        bgra = np.zeros((8, 1400, 4), np.uint8)
        bgra[..., 0] = 200
        cv2.imwrite(str(tmp_path / name / "a.png"), bgra)
    art = load_art(tmp_path)
    assert art.pictures[0].shape == (4, 700, 3)
    assert art.figures[0].shape == (4, 700, 4)
    assert art.pictures[0][0, 0].tolist() == [0, 0, 200]
    cv2.imwrite(str(tmp_path / "people" / "b.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"b\.png: not an image with an alpha channel"):
        load_art(tmp_path)


def test_pictures_and_drawings_are_found_in_a_file_of_resources() -> None:
    """Between bytes that look like the head of either and are none."""
    image = np.full((12, 20, 3), (0, 0, 200), np.uint8)
    webp = cv2.imencode(".webp", image)[1].tobytes()
    drawing = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>"
    data = b"\x78\x9cno" + webp + b"RIFF\0\0\0\0WEBP" + zlib.compress(drawing) + zlib.compress(b"no drawing") + webp
    found = list(webp_in(data))
    assert [f.shape for f in found] == [image.shape, image.shape]
    assert np.abs(found[1].astype(int) - image).max() < 12
    assert list(svg_in(data)) == [drawing]


def test_only_gcompris_is_asked_for_where_nothing_was_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        unpack([str(tmp_path), str(tmp_path / "art"), str(tmp_path / "photos")])
    assert "unpack gcompris-qt-data" in capsys.readouterr().err
