"""Fits the line between real and made voices that the synthetic_audio signal judges by.

    python -m modeling.made_voices OUT_FOLDER REAL.wav ...           voices of machines, and real ones resynthesised
    python -m tasks.voice_corpus FEATURES.npz --real REAL.wav ... --made OUT_FOLDER/*.wav
    python -m modeling.synthetic_audio FEATURES.npz OUT.npz          the fit, half a minute

Lines on standardised features: with fifteen real voices anything larger learns the voices. Vocoders of source and filter
have a line of their own, since their pulses lie on the far side of people from those of other machines; a sound is taken
for made when it is beyond either. To refit on sound of one's own, run the three commands, put the file's sha256 into a new
table of `infra/weights.toml` and name it in `tasks/signals/synthetic_audio.py`: the fingerprint follows from the hash, and
the signal's rows become stale.

R rows (windows of 2 s), K features, J lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modeling.made_voices import RESYNTHESISED, VOCODED

NUM_STEPS = 30
CLEAN = "clean"
"""The name of the treatment that changes nothing."""


@dataclass(frozen=True)
class Config:
    """`penalty` of squared weights, relative to the number of voices. The line is drawn so that of the sounds of real
    voices, each held back in turn, `false_positive_ratio` would lie above it: less than what is wanted of new people, since
    fifteen voices hold few that are unusual. A clean sound weighs as much as `clean_weight` that were spoilt on their
    way."""

    penalty: float = 0.03
    false_positive_ratio: float = 0.04
    clean_weight: float = 3.0
    clip: float = 2.0
    """Standard deviations at which a feature is cut: beyond them lies what noise and narrow bands do to a few features,
    more than any voice does."""


@dataclass(frozen=True)
class Line:
    """logit = clip((x - mean) / scale) @ weights + bias."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float
    clip: float

    def logits(self, texture_RK: np.ndarray) -> np.ndarray:
        standard = np.clip((texture_RK - self.mean) / self.scale, -self.clip, self.clip)
        return np.asarray(standard @ self.weights + self.bias)


@dataclass(frozen=True)
class VoiceModel:
    """The logit of a window is the greatest of its lines'."""

    lines: Sequence[Line]

    def logits(self, texture_RK: np.ndarray) -> np.ndarray:
        return np.asarray(np.max([one.logits(texture_RK) for one in self.lines], axis=0))

    def save(self, file: Path) -> None:
        """The same model gives the same bytes."""
        arrays = {
            "mean_JK": [one.mean for one in self.lines],
            "scale_JK": [one.scale for one in self.lines],
            "weights_JK": [one.weights for one in self.lines],
            "bias_J": [one.bias for one in self.lines],
            "clip": self.lines[0].clip,
        }
        with file.open("wb") as out:
            np.savez(out, allow_pickle=False, **{k: np.asarray(v, np.float32) for k, v in arrays.items()})


def fit(
    texture_RK: np.ndarray,
    made_R: np.ndarray,
    voice_R: np.ndarray,
    treatment_R: np.ndarray,
    config: Config | None = None,
) -> tuple[VoiceModel, dict[str, float]]:
    """The model, and by voice (and kind of synthesis) the share of its sounds above the line while it was held back.

    A sound is a voice under one treatment; its logit is the mean over its windows. What was made of a real voice is held
    back with it. Raises ValueError with fewer than three voices of a kind.
    """
    config = config or Config()
    for kind, name in ((False, "real"), (True, "made")):
        if (num := len(np.unique(voice_R[made_R == kind]))) < 3:
            raise ValueError(f"{num} {name} voices; the fit would learn them by heart, give at least 3")
    people = np.array([str(v).removeprefix(RESYNTHESISED).removeprefix(VOCODED) for v in voice_R])
    vocoded = np.char.startswith(voice_R.astype(str), VOCODED)
    sides = [side for side in (~vocoded, vocoded) if (side & made_R).any()]
    sounds = np.array([f"{v}/{t}" for v, t in zip(voice_R, treatment_R, strict=True)])

    def of_sounds(logits_R: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.array([logits_R[sounds == s].mean() for s in np.unique(sounds[chosen])])

    held_JR, lines = np.empty((len(sides), len(made_R))), []
    for j, side in enumerate(sides):
        learnt = side | ~made_R
        for person in np.unique(people):
            back = people == person
            kept = learnt & ~back
            held_JR[j, back] = line(
                texture_RK[kept], made_R[kept], voice_R[kept], treatment_R[kept], config
            ).logits(texture_RK[back])  # fmt: skip
        lines.append(line(texture_RK[learnt], made_R[learnt], voice_R[learnt], treatment_R[learnt], config))
    # Each line lets as many people through; then all move together, until no more than wanted are beyond any.
    own_J = np.array([np.quantile(of_sounds(held_R, ~made_R), 1 - config.false_positive_ratio) for held_R in held_JR])
    held_R = (held_JR - own_J[:, None]).max(axis=0)
    threshold_J = own_J + np.quantile(of_sounds(held_R, ~made_R), 1 - config.false_positive_ratio)
    held_R = (held_JR - threshold_J[:, None]).max(axis=0)
    above = {str(v): float((of_sounds(held_R, voice_R == v) > 0).mean()) for v in np.unique(voice_R)}
    moved = [replace(one, bias=one.bias - float(t)) for one, t in zip(lines, threshold_J, strict=True)]
    return VoiceModel(moved), above


def line(
    texture_RK: np.ndarray, made_R: np.ndarray, voice_R: np.ndarray, treatment_R: np.ndarray, config: Config
) -> Line:
    """Logistic regression by Newton's method; every voice weighs the same, and both kinds do."""
    weight_R = _weights(made_R, voice_R, np.where(treatment_R == CLEAN, config.clean_weight, 1.0))
    mean_K = np.average(texture_RK, axis=0, weights=weight_R)
    scale_K = np.sqrt(np.average(np.square(texture_RK - mean_K), axis=0, weights=weight_R)) + 1e-6
    inputs = np.clip((texture_RK - mean_K) / scale_K, -config.clip, config.clip)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    penalties = np.append(np.full(inputs.shape[1] - 1, config.penalty), 1e-6)
    found = np.zeros(inputs.shape[1])
    for _ in range(NUM_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(inputs @ found, -30, 30)))
        slope = inputs.T @ (weight_R * (made_R - probability)) - penalties * found
        curvature = (inputs * (weight_R * probability * (1 - probability))[:, None]).T @ inputs + np.diag(penalties)
        step = np.linalg.solve(curvature, slope)
        found = found + step
        if np.abs(step).max() < 1e-8:
            break
    return Line(mean_K, scale_K, found[:-1], float(found[-1]), config.clip)


def _weights(made_R: np.ndarray, voice_R: np.ndarray, weight_R: np.ndarray) -> np.ndarray:
    """Of each row: the voices of a kind share one half evenly, a voice's rows its part, by their weight."""
    shared_R = np.zeros(len(made_R))
    for kind in (True, False):
        voices = np.unique(voice_R[made_R == kind])
        for voice in voices:
            rows = (made_R == kind) & (voice_R == voice)
            shared_R[rows] = 0.5 / len(voices) * weight_R[rows] / weight_R[rows].sum()
    return shared_R


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the line between real and made voices.")
    parser.add_argument("features", type=Path, help="of python -m tasks.voice_corpus")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(argv)
    with np.load(options.features) as held:
        model, above = fit(held["texture_RK"], held["made_R"], held["voice_R"], held["treatment_R"])
    model.save(options.out)
    print("share of sounds taken for made while their voice was held back:")
    for voice, ratio in above.items():
        print(f"{voice:<32} {ratio:.2f}")


if __name__ == "__main__":
    main()
