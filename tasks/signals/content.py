"""What a clip is, if it is not plain footage: a screen, slides, a game, a cartoon, a still, a video in a video ...

A network, fitted on drawn scenes alone, gives the probabilities. Two rules stand over it, in `with_life`: what a living
face excludes is taken out, and a living face makes natural likelier. Natural means no more than none of the others.

It finds what looks like the drawings it learned from. Rendered and drawn films, realistic games, a statue that was made
to speak and dolls pass as natural more often than not: see its scorecard's rows of real footage.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.backend import Backend
from tasks.content_features import ECC_ROUNDS, KINDS, MAX_FRAMES, SIDE_PX, features, spread
from tasks.face_life import FILLING_HEIGHT, LIVING_HEIGHT, LIVING_MOTION, RED_LIPS, Life, life_of
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal

WEIGHTS = "content"
FPS = 1
NATURAL_FROM = 1 / 3
"""A clip is not natural where the other kinds together are more than twice as likely; which of them, their likeliest
says. Screens, slides and games share what natural lacks, so none of them needs a half of its own."""
LIFELESS = ("screencast", "slides", "still", "test_pattern", "statue")
"""Kinds that a living face as the clip's main matter speaks against; stone is spoken against by red lips too."""
LIVING_ODDS = 5.0
MEANINGS = {
    "natural": "that of plain footage of the world",
    "screencast": "that of a recorded screen",
    "slides": "that of slides",
    "game": "that of a computer game",
    "cartoon": "that of a drawn or rendered cartoon",
    "still": "that of a photograph that stands or over which the camera moves (Ken Burns)",
    "inset": "that of a video within a picture: picture in picture, side by side",
    "test_pattern": "that of bars, charts, counters on plain ground",
    "statue": "that of a bust of one material",
}

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column(
            "kind",
            pa.string(),
            "name",
            f"natural where its probability is {NATURAL_FROM:.2f} or more, else the likeliest of {', '.join(KINDS[1:])}",
        ),
        *(Column(f"{kind}_probability", pa.float32(), "score", MEANINGS[kind], 0, 1, 4) for kind in KINDS),
    ),
    needs=("embedding", "faces", "landmarks"),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.009,
    weights=(WEIGHTS,),
    params={
        "fps": FPS,
        "max_frames": MAX_FRAMES,
        "side_px": SIDE_PX,
        "ecc_rounds": ECC_ROUNDS,
        "natural_from": NATURAL_FROM,
        "kinds": KINDS,
        "life": (LIVING_ODDS, LIVING_HEIGHT, FILLING_HEIGHT, LIVING_MOTION, RED_LIPS),
    },
    backend="drawn_scenes_mlp",
    summary="Nine kinds by a small network trained on drawn scenes only; a living face rules some of them out.",
    source="Our own; calibrated by temperature (Guo et al., ICML 2017); the vector is that of `embedding`.",
)

BACKENDS = {
    "qwen_vl": Backend(
        run="tasks.backends.qwen_vl:content",
        model="Qwen/Qwen2.5-VL-7B-Instruct",
        licence="Apache-2.0",
        source="Bai et al., Qwen2.5-VL Technical Report, arXiv 2502.13923, 2025.",
        changes={"needs": (), "weights": (), "resources": Resources(gpu_gib=20.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    frames = media.at(FPS)
    chosen = [frames[i] for i in spread(len(frames))]
    told = classify(features([media.image(f, SIDE_PX) for f in chosen]), np.asarray(needs["embedding.video"]))
    probabilities = with_life(told, life_of(media, needs["faces"], needs["landmarks"], chosen))
    return Output(
        row={
            "kind": named(probabilities),
            **{f"{kind}_probability": float(p) for kind, p in zip(KINDS, probabilities, strict=True)},
        }
    )


def with_life(probabilities: np.ndarray, life: Life) -> np.ndarray:
    """What a living face rules out goes to natural: stills, screens and patterns where it lives, a picture in a
    picture where it fills the frame, a statue where it lives and has skin. What is left weighs less beside natural:
    the network was fitted on as many scenes of each kind, and most faces that live are people's."""
    ruled_out = [kind for kind in LIFELESS if life.lives and (kind != "statue" or life.has_skin)]
    ruled_out += ["inset"] if life.fills else []
    kept: np.ndarray = probabilities * np.where((np.array(KINDS) == "natural") & life.lives, LIVING_ODDS, 1.0)
    kept /= kept.sum()
    for kind in ruled_out:
        kept[KINDS.index("natural")] += kept[KINDS.index(kind)]
        kept[KINDS.index(kind)] = 0
    return kept


def named(probabilities: np.ndarray) -> str:
    """The kind that the probabilities (K,) of KINDS tell."""
    return KINDS[0] if probabilities[0] >= NATURAL_FROM else KINDS[1 + int(probabilities[1:].argmax())]


def classify(told: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Probabilities of KINDS, summing to 1, from the features (NUM_FEATURES,) and the clip's vector (1280,)."""
    model = _model()
    inputs = np.concatenate([told, vector @ model["basis_DP"]])
    limit = float(model["max_deviation"])
    x = np.clip((inputs - model["centre_I"]) / model["scale_I"], -limit, limit)
    hidden = np.maximum(np.einsum("i,eih->eh", x, model["w1_EIH"]) + model["b1_EH"], 0)
    logits = (np.einsum("eh,ehk->ek", hidden, model["w2_EHK"]) + model["b2_EK"]).mean(axis=0) / model["temperature"]
    odds = np.exp(logits - logits.max())
    return np.asarray(odds / odds.sum())


@cache
def _model() -> dict[str, np.ndarray]:
    with np.load(weights.path(WEIGHTS)) as held:
        return {name: held[name].astype(np.float64) for name in held.files}
