"""The contract that every codec keeps, and what is special about the DCT's."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.codecs import MAGIC, Header, packed, unpacked
from tasks.codecs.dct import Dct
from tasks.latents import CODECS
from tasks.signals.latents_dct import psnr_db


def scene(num_frames: int = 9, height: int = 44, width: int = 70) -> np.ndarray:
    """A bright disc that moves over a slope of colours."""
    t, y, x = np.mgrid[:num_frames, :height, :width].astype(np.float32)
    disc = (np.hypot(y - 20, x - 20 - 2 * t) < 12)[..., None]
    slope = np.stack([80 + y, 100 + x * 0.8, 160 - y], axis=-1)
    return np.where(disc, np.array([220, 180, 150], np.float32), slope).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 8), (4, 16, 24), (9, 44, 70), (5, 1, 1)])
def test_any_length_and_size_comes_back_as_it_was(name: str, frames: int, height: int, width: int) -> None:
    codec = CODECS[name]()
    told = scene(frames, height, width)
    latents = codec.encode(told)
    assert latents.shape == (
        -(-frames // codec.frames_per_latent),
        codec.num_channels,
        -(-height // codec.pixels_per_latent),
        -(-width // codec.pixels_per_latent),
    )
    assert np.array_equal(latents, codec.encode(told))
    decoded = codec.decode(latents, frames, height, width)
    assert (decoded.shape, decoded.dtype) == (told.shape, np.uint8)
    assert np.array_equal(decoded, codec.decode(latents, frames, height, width))
    assert psnr_db(told, decoded) > 26


@pytest.mark.parametrize("name", CODECS)
def test_a_chunk_alone_is_what_it_is_in_the_whole(name: str) -> None:
    codec = CODECS[name]()
    told = scene(12)
    step = codec.frames_per_latent
    whole = codec.encode(told)
    assert np.array_equal(codec.encode(told[step : 2 * step]), whole[1:2])
    assert np.array_equal(codec.decode(whole[1:2], step, 44, 70), codec.decode(whole, 12, 44, 70)[step : 2 * step])


def test_more_than_the_mean_of_each_block_is_kept() -> None:
    told = scene(8)
    latents = Dct().encode(told)
    flat = latents.copy()
    for first, count in ((0, 56), (56, 4), (60, 4)):
        flat[:, first + 1 : first + count] = 0
    whole, means = (psnr_db(told, Dct().decode(part, 8, 44, 70)) for part in (latents, flat))
    assert whole > means + 5


def test_a_flat_picture_comes_back_within_a_level_whatever_its_colour() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (250, 5, 5), (10, 10, 240)):
        told = np.full((4, 16, 16, 3), colour, np.uint8)
        decoded = Dct().decode(Dct().encode(told), 4, 16, 16)
        assert np.abs(decoded.astype(int) - told).max() <= 2, colour


@pytest.mark.parametrize(
    "frames", [np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 3), np.float32), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_other_than_rgb_frames_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="frames must be uint8"):
        Dct().encode(frames)


def test_latents_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected int8 \(2, 64, 1, 1\)"):
        Dct().decode(np.zeros((1, 64, 1, 1), np.int8), 8, 8, 8)


def test_a_chunk_says_what_it_is() -> None:
    latents = Dct().encode(scene(5))
    chunk = packed(latents, Dct(), 100, 5, 44, 70)
    header, held = unpacked(chunk)
    assert header == Header("dct", 1, 100, 5, 44, 70, "int8", latents.shape)
    assert np.array_equal(held, latents)
    assert chunk == packed(latents, Dct(), 100, 5, 44, 70)
    assert len(chunk) < latents.nbytes


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"PNG....",
        MAGIC,
        MAGIC + b"\xff\xff\xff\xff{}",
        packed(np.zeros((1, 64, 9, 9), np.int8), Dct(), 0, 4, 72, 72)[:-4],
    ],
)
def test_what_is_no_whole_chunk_is_refused(spoilt: bytes) -> None:
    with pytest.raises(ValueError, match="no chunk|can't be read"):
        unpacked(spoilt)


def test_a_dtype_out_of_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype 'complex128'"):
        unpacked(packed(np.zeros((1, 1, 1, 1), np.complex128), Dct(), 0, 1, 8, 8))
