"""Fits the map from voice to lips that the lip_sync signal compares with.

    python -m tasks.lip_corpus OUT_FOLDER VIDEO ...       features of talking heads, one .npz a video
    python -m modeling.lip_sync FOLDER OUT.npz AXES.npz   the fit, a few seconds

What ships (`infra/weights/lip_sync_grid.npz`, `lip_sync_axes.npz`) was fitted on ten sentences of GRID. To refit on
footage of one's own, run the two commands, put the files' sha256 into new tables of `infra/weights.toml`, name them in
`tasks/lip_prediction.py`: the fingerprint follows from the hash, and the signal's rows become stale. Ten clips of
3 s are enough for one frame's accuracy at 4 s; more people make the confidence higher.

T frames, L voice features, D lip features, K taps of the filter, P principal components, C canonical axes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infra.lag import best_lag, lag_correlation


@dataclass(frozen=True)
class Config:
    """`context` frames on both sides feed each prediction. `penalty` is relative to unit variance of the inputs."""

    num_components: int = 64
    context: int = 2
    penalty: float = 1.0
    max_lag: int = 15
    num_realignments: int = 1
    shrinkage: float = 0.05
    """Of the covariances that the axes are found with, towards those of features that go alone."""


@dataclass(frozen=True)
class Clip:
    """One person's clip: `lips` (T, D) and `voice` (T, L), as tasks/lip_features.py makes them."""

    name: str
    lips: np.ndarray
    voice: np.ndarray


@dataclass(frozen=True)
class LipSyncModel:
    """lips[t] is predicted as the sum over k of voice[t + k - context] @ taps[k], `taps` being (K, L, D);
    `weights` (D,) sum to 1 and say how well each lip feature is predicted."""

    taps: np.ndarray
    weights: np.ndarray

    def save(self, file: Path) -> None:
        """The same model gives the same bytes."""
        with file.open("wb") as out:
            np.savez(out, filter_KLD=self.taps.astype(np.float32), weights_D=self.weights.astype(np.float32))


@dataclass(frozen=True)
class Axes:
    """`heard` (D, C) takes predicted lips, `lips` (D, C) seen ones onto axes of unit variance, of which each goes with
    its partner only; `weights` (C,) sum to 1 and say how well."""

    heard: np.ndarray
    lips: np.ndarray
    weights: np.ndarray

    def save(self, file: Path) -> None:
        """The same axes give the same bytes."""
        arrays = {"heard_DC": self.heard, "lips_DC": self.lips, "weights_C": self.weights}
        with file.open("wb") as out:
            np.savez(out, allow_pickle=False, **{k: v.astype(np.float32) for k, v in arrays.items()})


def load_clips(folder: Path) -> list[Clip]:
    """Raises ValueError for a folder without feature files."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(
            f"{folder}: no .npz with features; make them with python -m tasks.lip_corpus {folder} VIDEO ..."
        )
    clips = []
    for file in files:
        with np.load(file) as held:
            clips.append(Clip(file.stem, held["lips_TD"].astype(np.float64), held["voice_TL"].astype(np.float64)))
    return clips


def fit(clips: Sequence[Clip], config: Config | None = None) -> tuple[LipSyncModel, dict[str, int]]:
    """The model, and each clip's own offset in frames (sound late > 0) relative to their median.

    Footage is seldom quite in sync, so the first fit tells each clip's offset and the last is made without them;
    clips whose best lag lies at the edge of the search take no part in it.
    """
    config = config or Config()
    basis_LP = _whitening(np.concatenate([c.voice for c in clips]), config.num_components)
    stacked = [_with_context(c.voice @ basis_LP, config.context) for c in clips]
    offsets = [0] * len(clips)
    used = list(range(len(clips)))
    for realignment in range(config.num_realignments + 1):
        pairs = [_overlap(stacked[i], clips[i].lips, offsets[i]) for i in used]
        inputs, targets = (np.concatenate(side) for side in zip(*pairs, strict=True))
        weights_D, map_KPD = _ridge(inputs, targets, config.penalty)
        if realignment == config.num_realignments:
            break
        lags = [
            best_lag(lag_correlation(rows @ map_KPD, clip.lips, weights_D, config.max_lag))[0]
            for rows, clip in zip(stacked, clips, strict=True)
        ]
        used = [i for i, lag in enumerate(lags) if abs(lag) < config.max_lag] or used
        middle = int(np.median([lags[i] for i in used]))
        offsets = [lag - middle for lag in lags]
    num_taps = 2 * config.context + 1
    per_tap = map_KPD.reshape(num_taps, basis_LP.shape[1], -1)
    filter_KLD = np.einsum("lp,kpd->kld", basis_LP, per_tap)
    return LipSyncModel(filter_KLD, weights_D), {clips[i].name: offsets[i] for i in used}


def common_axes(clips: Sequence[Clip], config: Config | None = None) -> Axes:
    """Canonical axes of lips predicted by a model that did not see the clip, and lips seen, clips put in sync.

    Source: Hotelling, "Relations Between Two Sets of Variates", Biometrika 1936. Weights are the squares of the
    canonical correlations. Raises ValueError with fewer than three clips.
    """
    config = config or Config()
    if len(clips) < 3:
        raise ValueError(f"{len(clips)} clips; each is predicted by the others, give at least 3")
    offsets = fit(clips, config)[1]
    pairs = []
    for clip in (c for c in clips if c.name in offsets):
        model, _ = fit([c for c in clips if c is not clip], config)
        pairs.append(_overlap(predicted(model.taps, clip.voice), clip.lips, offsets[clip.name]))
    heard_TD, lips_TD = (np.concatenate([p - p.mean(axis=0) for p in side]) for side in zip(*pairs, strict=True))
    scale_D = heard_TD.std(axis=0)
    heard_TD = heard_TD / scale_D
    heard_DD, lips_DD = _sphering(heard_TD, config.shrinkage), _sphering(lips_TD, config.shrinkage)
    left, _, right = np.linalg.svd(heard_DD @ (heard_TD.T @ lips_TD) @ lips_DD)
    heard_DC, lips_DC = heard_DD @ left, lips_DD @ right.T
    heard_TC, lips_TC = heard_TD @ heard_DC, lips_TD @ lips_DC
    heard_C, lips_C = heard_TC.std(axis=0), lips_TC.std(axis=0)
    squares_C = np.square(np.clip((heard_TC * lips_TC).mean(axis=0) / (heard_C * lips_C), 0, 1))
    return Axes(heard_DC / scale_D[:, None] / heard_C, lips_DC / lips_C, squares_C / squares_C.sum())


def predicted(taps_KLD: np.ndarray, voice_TL: np.ndarray) -> np.ndarray:
    """Lips (T, D) that a voice leads to expect; the ends are repeated."""
    context = len(taps_KLD) // 2
    padded = np.pad(voice_TL, ((context, context), (0, 0)), mode="edge")
    return np.asarray(np.sum([padded[k : k + len(voice_TL)] @ tap_LD for k, tap_LD in enumerate(taps_KLD)], axis=0))


def _sphering(rows_TD: np.ndarray, shrinkage: float) -> np.ndarray:
    """(D, D): makes features of unit variance, alone; their covariance is shrunk towards its mean variance."""
    covariance = rows_TD.T @ rows_TD / len(rows_TD)
    size = len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / size * np.eye(size)
    spread, axes = np.linalg.eigh(shrunk)
    return np.asarray(axes / np.sqrt(spread) @ axes.T)


def _whitening(voice_TL: np.ndarray, num_components: int) -> np.ndarray:
    """(L, P): onto the principal components, each of unit variance."""
    _, spread, axes = np.linalg.svd(voice_TL, full_matrices=False)
    kept = min(num_components, int((spread > 1e-9 * spread[0]).sum()))
    return np.asarray(axes[:kept].T / (spread[:kept] / np.sqrt(len(voice_TL))))


def _with_context(rows_TP: np.ndarray, context: int) -> np.ndarray:
    """Rows of t - context to t + context side by side; the ends are repeated."""
    padded = np.pad(rows_TP, ((context, context), (0, 0)), mode="edge")
    return np.concatenate([padded[k : k + len(rows_TP)] for k in range(2 * context + 1)], axis=1)


def _overlap(voice: np.ndarray, lips: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    num = min(len(voice), len(lips))
    return voice[max(0, offset) : num + min(0, offset)], lips[max(0, -offset) : num + min(0, -offset)]


def _ridge(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """(weights_D, map): weights are the explained shares of variance, scaled to sum to 1."""
    gram = inputs.T @ inputs + penalty * len(inputs) * np.eye(inputs.shape[1])
    mapped: np.ndarray = np.linalg.solve(gram, inputs.T @ targets)
    left = np.square(targets - inputs @ mapped).sum(axis=0) / np.maximum(np.square(targets).sum(axis=0), 1e-12)
    explained = np.clip(1 - left, 1e-6, 1)
    return explained / explained.sum(), mapped


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the map from voice to lips.")
    parser.add_argument("folder", type=Path, help="feature files of python -m tasks.lip_corpus")
    parser.add_argument("out", type=Path, help="the map")
    parser.add_argument("axes", type=Path, help="the axes along which lips are compared")
    options = parser.parse_args(argv)
    clips = load_clips(options.folder)
    model, offsets = fit(clips)
    model.save(options.out)
    axes = common_axes(clips)
    axes.save(options.axes)
    num_s = sum(len(c.lips) for c in clips) / 25
    print(f"{len(clips)} clips, {num_s:.0f} s; own offsets {offsets}")
    print(f"weights {np.round(model.weights, 3).tolist()}, of axes {np.round(axes.weights, 3).tolist()}")


if __name__ == "__main__":
    main()
