"""Scorecard of keyframes: each measure against the damage that it names. `quality` has its card at visual_quality."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import media_of, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from benchmarks.scorecards.visual_quality import GRADES, Curve, clean_frames, luma_variance, own_spearman
from tasks.damage import STRENGTHS, degrade
from tasks.signals import keyframes

KINDS = ("blur", "noise", "jpeg", "downscale", "darkness")
LUMA_NOISE = 219 / 255 * float(np.linalg.norm((0.299, 0.587, 0.114)))
"""What noise of one gray level in red, green and blue, each its own, is in luma of the video range."""


def told(frame: np.ndarray) -> dict[str, float]:
    measured: dict[str, float] = timeline_of(keyframes.compute, media_of([frame], 1.0)).to_pylist()[0]
    return measured


def immerkaer(frame: np.ndarray) -> float:
    """Baseline: noise by the mean response to a mask that is blind to slopes (Immerkaer, CVIU 1996)."""
    import cv2

    luma = media_of([frame], 1.0).image(0, None, "gray").astype(np.float32)
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.sqrt(np.pi / 2) * np.abs(cv2.filter2D(luma, -1, mask)).mean() / 6)


def within(curves: Sequence[Curve]) -> float:
    return float(np.mean([own_spearman(c) for c in curves]))


def mean_error(values: list[tuple[float, float]]) -> float:
    """Of (known, measured)."""
    return float(np.mean([abs(known - value) for known, value in values]))


def row(
    claim: str,
    measure: str,
    values: Mapping[str, Sequence[Any]],
    statistic: Callable[[list[Any]], float],
    goal: float,
    **more: Any,
) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    n = sum(map(len, values.values()))
    return Row("keyframes", claim, measure, value, low, high, n, len(values), goal=goal, **more)


def run(root: Path) -> list[Row]:
    curves: dict[tuple[str, str], dict[str, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    plain: dict[str, list[Curve]] = defaultdict(list)
    noise: dict[str, list[tuple[float, float]]] = defaultdict(list)
    naive_noise: list[tuple[float, float]] = []
    blocks: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for person, frame in clean_frames(root):
        for kind in KINDS:
            shown = [degrade(frame, kind, strength) for strength in STRENGTHS[kind]]
            measured = [told(image) for image in shown]
            for name in ("brisque", "sharpness", "exposure"):
                values = [m[name] for m in measured]
                curves[name, kind][person].append(list(zip(GRADES, values, strict=True)))
            plain[kind].append(list(zip(GRADES, map(luma_variance, shown), strict=True)))
            if kind == "noise":
                known = [LUMA_NOISE * sigma for sigma in STRENGTHS[kind]]
                noise[person] += [(k, m["noise"]) for k, m in zip(known, measured, strict=True)][1:]
                naive_noise += [(k, immerkaer(image)) for k, image in zip(known, shown, strict=True)][1:]
            if kind == "jpeg":
                blocks[person] += [(m["blockiness"], i > 0) for i, m in enumerate(measured)]

    def follows(name: str, kind: str, sign: int, goal: float) -> Row:
        turned = {p: [[(sign * g, v) for g, v in c] for c in found] for p, found in curves[name, kind].items()}
        naive = within([[(sign * g, v) for g, v in c] for c in plain[kind]])
        verb = "falls" if sign > 0 else "rises"
        return row(
            f"{name} {verb} with {kind}",
            "Spearman within a frame's five grades",
            turned,
            within,
            goal,
            baseline=naive,
            baseline_name="luma deviation",
        )

    return [
        *(follows("brisque", kind, -1, 0.9) for kind in ("blur", "noise", "jpeg", "downscale")),
        follows("sharpness", "blur", 1, 0.95),
        follows("sharpness", "downscale", 1, 0.95),
        follows("exposure", "darkness", 1, 0.95),
        row("noise is the deviation of the noise added, 2 to 20 gray levels of luma", "mean error, gray levels", noise, mean_error, 2.0, better="lower", baseline=mean_error(naive_noise), baseline_name="Immerkaer's mask"),
        row("JPEG at quality 50 to 6 against none", "AUC of blockiness", blocks, auc_of_pairs, 0.95, baseline=0.5, baseline_name="chance"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
