"""Fits the line between real and made voices that the synthetic_audio signal judges by.

    python -m modeling.made_voices OUT_FOLDER REAL.wav ...           voices of machines, and real ones resynthesised
    python -m tasks.voice_corpus FEATURES.npz --real REAL.wav ... --made OUT_FOLDER/*.wav
    python -m modeling.synthetic_audio FEATURES.npz OUT.npz          the fit, half a minute

A linear model on standardised features: with fifteen real voices anything larger learns the voices. To refit on sound
of one's own, run the three commands, put the file's sha256 into a new table of `infra/weights.toml` and name it in
`tasks/signals/synthetic_audio.py`: the fingerprint follows from the hash, and the signal's rows become stale.

R rows (windows of 2 s), K features.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modeling.made_voices import RESYNTHESISED

NUM_STEPS = 30
CLEAN = "clean"
"""The name of the treatment that changes nothing."""


@dataclass(frozen=True)
class Config:
    """`penalty` of squared weights, relative to the number of voices. The line is drawn so that of the sounds of real
    voices, each held back in turn, `false_positive_ratio` would lie above it: less than what is wanted of new people, since
    fifteen voices hold few that are unusual. A clean sound weighs as much as
    `clean_weight` that were spoilt on their way."""

    penalty: float = 0.01
    false_positive_ratio: float = 0.01
    clean_weight: float = 3.0
    clip: float = 4.0
    """Standard deviations at which a feature is cut: what lies further was never seen."""


@dataclass(frozen=True)
class VoiceModel:
    """score = sigmoid(clip((x - mean) / scale) @ weights + bias)."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float
    clip: float

    def logits(self, texture_RK: np.ndarray) -> np.ndarray:
        standard = np.clip((texture_RK - self.mean) / self.scale, -self.clip, self.clip)
        return np.asarray(standard @ self.weights + self.bias)

    def save(self, file: Path) -> None:
        """The same model gives the same bytes."""
        with file.open("wb") as out:
            arrays = {"mean_K": self.mean, "scale_K": self.scale, "weights_K": self.weights}
            numbers = {"bias": np.array(self.bias), "clip": np.array(self.clip)}
            np.savez(out, allow_pickle=False, **{k: v.astype(np.float32) for k, v in {**arrays, **numbers}.items()})


def fit(
    texture_RK: np.ndarray,
    made_R: np.ndarray,
    voice_R: np.ndarray,
    treatment_R: np.ndarray,
    config: Config | None = None,
) -> tuple[VoiceModel, dict[str, float]]:
    """The model, and by voice (and kind of synthesis) the share of its sounds above the line while it was held back.

    A sound is a voice under one treatment; its logit is the mean over its windows. A resynthesised voice is held back
    with the real one. Raises ValueError with fewer than three voices of a kind.
    """
    config = config or Config()
    for kind, name in ((False, "real"), (True, "made")):
        if (num := len(np.unique(voice_R[made_R == kind]))) < 3:
            raise ValueError(f"{num} {name} voices; the fit would learn them by heart, give at least 3")
    people = np.array([str(v).removeprefix(RESYNTHESISED) for v in voice_R])
    held_R = np.empty(len(made_R))
    for person in np.unique(people):
        back = people == person
        held_R[back] = line(texture_RK[~back], made_R[~back], voice_R[~back], treatment_R[~back], config).logits(
            texture_RK[back]
        )
    sounds = np.array([f"{v}/{t}" for v, t in zip(voice_R, treatment_R, strict=True)])
    real = np.array([held_R[sounds == s].mean() for s in np.unique(sounds[~made_R])])
    threshold = float(np.quantile(real, 1 - config.false_positive_ratio))
    model = line(texture_RK, made_R, voice_R, treatment_R, config)
    above = {
        str(v): float(np.mean([held_R[sounds == s].mean() > threshold for s in np.unique(sounds[voice_R == v])]))
        for v in np.unique(voice_R)
    }
    return replace(model, bias=model.bias - threshold), above


def line(
    texture_RK: np.ndarray, made_R: np.ndarray, voice_R: np.ndarray, treatment_R: np.ndarray, config: Config
) -> VoiceModel:
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
    return VoiceModel(mean_K, scale_K, found[:-1], float(found[-1]), config.clip)


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
