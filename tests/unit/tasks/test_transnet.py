"""TransNetV2: what it tells, and what it leaves alone."""

from __future__ import annotations

import numpy as np

from infra import weights
from tasks.transnet import _network, _to_rgb, transitions


def test_it_marks_the_last_frame_before_a_cut() -> None:
    import cv2

    random = np.random.default_rng(0)
    tiles = [random.integers(30, 220, (3, 4, 3), dtype=np.uint8) for _ in range(2)]
    shots = [np.repeat(cv2.resize(t, (48, 27), interpolation=cv2.INTER_CUBIC)[None], 30, axis=0) for t in tiles]
    one_hot, _ = transitions(np.concatenate(shots))
    assert int(one_hot.argmax()) == 29
    assert one_hot[29] > 0.5 > np.delete(one_hot, 29).max()


def test_colours_are_bt601_limited_range() -> None:
    import cv2

    yuv = np.random.default_rng(1).integers(16, 236, (1, 4, 4, 3), dtype=np.uint8)
    planes = np.concatenate(
        [yuv[0, :, :, 0].reshape(-1), yuv[0, ::2, ::2, 1].reshape(-1), yuv[0, ::2, ::2, 2].reshape(-1)]
    )
    expected = cv2.cvtColor(planes.reshape(6, 4), cv2.COLOR_YUV2RGB_I420)
    difference = np.abs(_to_rgb(yuv)[0, ::2, ::2].astype(int) - expected[::2, ::2])
    assert difference.max() <= 2


def test_the_network_leaves_the_random_generators_alone() -> None:
    import torch

    _network.cache_clear()
    torch.manual_seed(5)
    np.random.seed(5)
    expected = (torch.rand(1).item(), np.random.rand())
    torch.manual_seed(5)
    np.random.seed(5)
    one_hot, many_hot = transitions(np.zeros((60, 27, 48, 3), np.uint8))
    assert (torch.rand(1).item(), np.random.rand()) == expected
    assert one_hot.shape == many_hot.shape == (60,)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_weights_are_those_that_are_listed() -> None:
    assert weights.path("transnetv2").name.endswith(".pth")
