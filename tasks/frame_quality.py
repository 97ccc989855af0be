"""Technical quality of one frame: what `keyframes` measures, and its calibration to 1-5.

All measures take the luma plane (H, W), uint8, at the proxy's own size: video range, 16 is black and 235 white.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from infra import weights

TILE_PX = 32
SHARP_QUANTILE = 0.9
DETAIL_QUANTILE = 0.75
LAPLACIAN_GAIN = 20.0
"""Sum of the mask's squared weights: the power that it makes of noise with a variance of 1."""
LEAST_POWER = 1e-3
HIGHLIGHT_QUANTILE = 0.98
BLOCK_PX = 8


def brisque(luma: np.ndarray) -> float:
    """BRISQUE, 0 (best) to 100: a support vector machine over natural-scene statistics, trained on opinions (LIVE).

    Source: Mittal, Moorthy and Bovik, No-Reference Image Quality Assessment in the Spatial Domain, TIP 2012.
    A frame without any texture has no such statistics and gets 100.
    """
    import cv2

    image = luma.astype(np.float32)
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    features = [*_scene_statistics(image), *_scene_statistics(half)]
    if not np.all(np.isfinite(features)):
        return 100.0
    svm = _svm()
    scaled = -1 + 2 * (np.array(features) - svm["low"]) / (svm["high"] - svm["low"])
    distance = ((svm["vectors"] - scaled) ** 2).sum(axis=1)
    score = float(svm["weights"] @ np.exp(-svm["gamma"] * distance) - svm["rho"])
    return float(np.clip(score, 0, 100))


@cache
def _svm() -> dict[str, np.ndarray]:
    with np.load(weights.path("brisque")) as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}


def _scene_statistics(image: np.ndarray) -> list[float]:
    """18 features: of the mean-subtracted contrast-normalised image, and of its products with four neighbours."""
    import cv2

    # Black beyond the border, as in the authors' release, on which the support vectors rest.
    mean = cv2.GaussianBlur(image, (7, 7), 7 / 6, borderType=cv2.BORDER_CONSTANT)
    square = cv2.GaussianBlur(image * image, (7, 7), 7 / 6, borderType=cv2.BORDER_CONSTANT)
    # Rounding leaves up to 0.01 gray levels of false deviation on flat ground, well below the 1 that is added.
    normal = (image - mean) / (np.sqrt(np.abs(square - mean * mean)) + 1)
    shape, _, left, right = _asymmetric_gaussian(normal)
    features = [shape, (left**2 + right**2) / 2]
    for a, b in (
        (normal[:, :-1], normal[:, 1:]),
        (normal[:-1], normal[1:]),
        (normal[:-1, :-1], normal[1:, 1:]),
        (normal[1:, :-1], normal[:-1, 1:]),
    ):
        shape, middle, left, right = _asymmetric_gaussian(a * b)
        features += [shape, middle, left**2, right**2]
    return features


@cache
def _shape_table() -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import gamma

    shape = np.arange(0.2, 10.0, 0.001)
    return shape, gamma(2 / shape) ** 2 / (gamma(1 / shape) * gamma(3 / shape))


def _asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right deviation of an asymmetric generalised Gaussian; NaN if one side is empty."""
    from scipy.special import gamma

    squares = values * values
    negative = values < 0
    num_negative = int(negative.sum())
    if num_negative in (0, values.size):
        return (float("nan"),) * 4
    sum_negative = float(squares[negative].sum(dtype=np.float64))
    sum_all = float(squares.sum(dtype=np.float64))
    left = np.sqrt(sum_negative / num_negative)
    right = np.sqrt(max(sum_all - sum_negative, 0.0) / (values.size - num_negative))
    if left == 0 or right == 0:
        return (float("nan"),) * 4
    ratio = left / right
    spread = float(np.abs(values).mean(dtype=np.float64)) ** 2 / (sum_all / values.size)
    told = spread * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, table = _shape_table()
    # The table rises with the shape.
    shape = float(shapes[min(int(np.searchsorted(table, told)), len(shapes) - 1)])
    middle = (right - left) * gamma(2 / shape) / np.sqrt(gamma(1 / shape) * gamma(3 / shape))
    return shape, float(middle), float(left), float(right)


def noise_sigma(luma: np.ndarray) -> float:
    """Standard deviation of the noise in gray levels: median of the absolute response to Immerkaer's mask.

    The mask cancels what is linear; the median ignores edges. Video coding removes fine noise, so 0 is common.
    Source: Immerkaer, Fast Noise Variance Estimation, CVIU 1996.
    """
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(luma.astype(np.float32), -1, mask))[1:-1, 1:-1]
    return float(np.median(response)) * 1.4826 / 6 if response.size else 0.0


def sharpness(luma: np.ndarray, noise: float) -> float:
    """RMS of the Laplacian, in gray levels, in the sharpest tenth of the frame's tiles, less the noise's share.

    The sharpest tiles, because a portrait's background may be out of focus on purpose.
    """
    power = float(np.quantile(_detail_power(luma, luma), SHARP_QUANTILE))
    return float(np.sqrt(max(power - LAPLACIAN_GAIN * noise**2, 0.0)))


def detail_slopes(luma: np.ndarray, noise: float) -> tuple[float, float]:
    """(fine, coarse): natural logarithm of the power of detail over that of the detail twice as large.

    Fine is full size over half size, coarse half over a quarter, in the quarter of the tiles with most detail at
    half size, less the noise's share. An edge in focus has the same slopes whatever its contrast, so unlike sharpness
    they tell blur and enlargement from a plain picture.
    """
    import cv2

    half = cv2.resize(luma.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    quarter = cv2.resize(half, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    powers = [_detail_power(image, luma) for image in (luma, half, quarter)]
    chosen = powers[1] >= np.quantile(powers[1], DETAIL_QUANTILE)
    # Each halving takes three quarters of the noise's power.
    means = [float(p[chosen].mean()) - LAPLACIAN_GAIN * noise**2 / 4**i for i, p in enumerate(powers)]
    fine, middle, coarse = (max(m, LEAST_POWER) for m in means)
    return float(np.log(fine / middle)), float(np.log(middle / coarse))


def _detail_power(image: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """Mean squared Laplacian of the image (the luma, or a smaller level of it) on each of the luma's tiles."""
    import cv2

    response = cv2.Laplacian(image.astype(np.float32), cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)
    rows, columns = max(1, luma.shape[0] // TILE_PX), max(1, luma.shape[1] // TILE_PX)
    power = cv2.resize(np.square(response, dtype=np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(power)


def blockiness(luma: np.ndarray) -> float:
    """Excess of the steps across an 8 px grid over those elsewhere, as a ratio >= 0; 0 when there is no grid.

    The grid's phase is searched, because cropping moves it; scaling the source down removes it.
    Source: after Wang, Sheikh and Bovik, No-Reference Perceptual Quality Assessment of JPEG Images, ICIP 2002.
    """
    image = luma.astype(np.float32)
    excess = [
        _grid_excess(np.abs(np.diff(image, axis=1)).mean(axis=0)),
        _grid_excess(np.abs(np.diff(image, axis=0)).mean(axis=1)),
    ]
    return float(np.mean(excess))


def _grid_excess(steps: np.ndarray) -> float:
    if len(steps) < 4 * BLOCK_PX:
        return 0.0
    # A grid line stands out from its neighbours; an edge of the scene does so in one place only: hence the median.
    inner = steps[2:-2]
    around = (steps[:-4] + steps[1:-3] + steps[3:-1] + steps[4:]) / 4
    ratio = inner / (around + 0.5)
    by_phase = [float(np.median(ratio[phase::BLOCK_PX])) for phase in range(BLOCK_PX)]
    best = int(np.argmax(by_phase))
    others = float(np.mean([r for phase, r in enumerate(by_phase) if phase != best]))
    return max(0.0, by_phase[best] - max(others, 1e-6) - 0.05)


def exposure(luma: np.ndarray) -> float:
    """How well exposed, 0 to 1: 1 when the mean is between 0.25 and 0.75 of white and nothing is clipped.

    Falls with the share of clipped pixels, and linearly to 0 as the mean goes to black or white.
    """
    level = (luma.astype(np.float32) - 16) / 219
    clipped = float(((level <= 0.01) | (level >= 0.99)).mean())
    mean = float(np.clip(level.mean(), 0, 1))
    return float(np.clip(min(mean / 0.25, (1 - mean) / 0.25, 1.0) * (1 - clipped), 0, 1))


def highlight(luma: np.ndarray) -> float:
    """Level of the brightest fiftieth of the frame, 0 black to 1 white: low when the light is too low, and high in a
    dark scene whose subject is lit."""
    return float(np.clip((float(np.quantile(luma, HIGHLIGHT_QUANTILE)) - 16) / 219, 0, 1))


Measures = dict[str, float]
FEATURES: dict[str, Callable[[Measures], float]] = {
    "fine_slope": lambda m: m["fine_slope"],
    "coarse_slope": lambda m: m["coarse_slope"],
    "sharpness": lambda m: float(np.log(m["sharpness"] + 0.5)),
    "noise": lambda m: float(np.log(m["noise"] + 0.1)),
    "blockiness": lambda m: float(np.log1p(m["blockiness"])),
    "highlight": lambda m: m["highlight"],
    "brisque": lambda m: m["brisque"] / 100,
}
# Each damage alone takes 0 to 4 grades, by a logistic function. Fitted to five grades each of blur, noise, JPEG,
# downscaling, darkness and starving (small, blurred, few bits, which leave edges of their own) of clean frames by
# `python -m benchmarks.scorecards.visual_quality --fit`: a ranking of technical damage, not opinions of people.
# Exposure has no say: a stage in the dark or a white wall may be meant.
DAMAGES: dict[str, dict[str, float]] = {
    "blur": {"fine_slope": -2.002, "coarse_slope": -1.223, "constant": -6.362},
    "downscale": {"coarse_slope": -3.791, "constant": -8.336},
    "noise": {"noise": 1.907, "constant": -3.129},
    "jpeg": {"blockiness": 4.846, "constant": -3.219},
    "darkness": {"highlight": -9.0, "constant": 2.71},
    "starving": {"brisque": 11.888, "constant": -8.375},
}
WORST = 4.0
"""Exponent of the norm that adds up damages: the worst one decides almost alone."""


def measures(luma: np.ndarray) -> Measures:
    noise = noise_sigma(luma)
    fine_slope, coarse_slope = detail_slopes(luma, noise)
    return {
        "brisque": brisque(luma),
        "sharpness": sharpness(luma, noise),
        "fine_slope": fine_slope,
        "coarse_slope": coarse_slope,
        "blockiness": blockiness(luma),
        "exposure": exposure(luma),
        "highlight": highlight(luma),
        "noise": noise,
    }


def quality(told: Measures) -> float:
    """Technical quality, 1 (very annoying) to 5 (no damage seen), from the measures of a frame."""
    features = {name: feature(told) for name, feature in FEATURES.items()} | {"constant": 1.0}
    totals = [sum(weight * features[name] for name, weight in told_by.items()) for told_by in DAMAGES.values()]
    losses = 4 / (1 + np.exp(-np.clip(totals, -50, 50)))
    return float(5 - min(4.0, float((losses**WORST).sum() ** (1 / WORST))))
