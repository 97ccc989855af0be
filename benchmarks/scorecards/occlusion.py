"""Scorecard of occlusion: hands, boxes, microphones and patches of other pictures over the mouths of unseen people, and
faces that are free but blurred, noisy, coded badly or enlarged.

How the weights' training pictures are varied was chosen by a look at the damaged free faces of these people; nothing was
fitted on them. `starving` is a damage that no training picture has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.damage import STRENGTHS, degrade
from tasks.drawn_covers import KINDS, covered_image, face_height, mouth_center
from tasks.face_cover import REGIONS
from tasks.face_geometry import FACE_OVAL, points_of
from tasks.signal import NotApplicable
from tasks.signals import faces, landmarks, occlusion

TRAINED_ON = ("lipnet__", "latent__")
"""Files of talk/ whose people the shipped weights were fitted on begin like this; they are left out."""
PATCH = "picture"
SECONDS = 1.1
JITTER = 0.05
"""Of the face's height, by which a thing misses the middle of the mouth."""

GRADES = (5, 4, 3, 2, 1)
MIDDLE = 3
"""Of tasks.damage's strengths: imperceptible to very annoying."""
BEARABLE, WORST = "grades 4 to 2", "grade 1"
UNFITTED = ("starving",)
DAMAGES = ("blur", "noise", "jpeg", "downscale", *UNFITTED)

Pairs = dict[str, list[tuple[float, bool]]]


def scores_of(frames: list[np.ndarray]) -> dict[str, float] | None:
    """Mouth and face scores of a clip of one frame a second, and how unsure the mesh is of a face; None without one."""
    media = media_of(frames, 1.0)
    mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
    try:
        row = occlusion.compute(media, {"landmarks": mesh}).row
    except NotApplicable:
        return None
    unsure = 1 - float(np.mean(mesh["presence"].to_numpy()))
    return {"mouth": float(row["mouth_score"]), "face": float(row["face_score"]), "unsure": unsure}


def patched(image: np.ndarray, points: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of another clip's frame over the mouth: a kind of cover that no weights were fitted on."""
    height = face_height(points)
    center = mouth_center(points) + rng.uniform(-JITTER, JITTER, 2) * height
    size = (rng.uniform([0.4, 0.28], [0.7, 0.5]) * height).astype(int)
    x0, y0 = (int(v) for v in np.rint(center - size / 2).clip(0))
    covered = image.copy()
    part = covered[y0 : y0 + size[1], x0 : x0 + size[0]]
    dy, dx = (int(rng.integers(0, max(1, o - p))) for o, p in zip(other.shape[:2], part.shape[:2], strict=True))
    taken = other[dy : dy + part.shape[0], dx : dx + part.shape[1]]
    part[: taken.shape[0], : taken.shape[1]] = taken
    return covered


def covered_clip(
    frames: list[np.ndarray], meshes: list[np.ndarray], kind: str, over: str, other: np.ndarray, seed: list[int]
) -> list[np.ndarray]:
    """The frames with a thing over the mouth, or beside the face; the same thing on each."""
    shown = []
    for image, points in zip(frames, meshes, strict=True):
        rng = np.random.default_rng(seed)
        height = face_height(points)
        if kind == PATCH:
            shown.append(patched(image, points, other, rng))
            continue
        if over == "mouth":
            center = mouth_center(points) + rng.uniform(-JITTER, JITTER, 2) * height
        else:
            around = rng.uniform(0, np.pi)  # above and to the sides: below is where a hand or a stand reaches the mouth
            away = np.array([np.cos(around), -np.sin(around)]) * 0.8 * height
            center = points[list(FACE_OVAL), :2].mean(axis=0) + away
        shown.append(covered_image(image, points, kind, center, rng)[0])
    return shown


def damaged_rows(clips: list[tuple[str, list[np.ndarray], list[np.ndarray]]]) -> list[Row]:
    """Free faces after each kind of damage; of (person, frames, meshes) of free faces."""
    rows = []
    judged: dict[str, list[float]] = {}
    drawn: Pairs = {}
    for kind in DAMAGES:
        held: dict[tuple[str, str], dict[str, list[float]]] = {}
        for number, (person, frames, meshes) in enumerate(clips):
            for grade, strength in zip(GRADES[1:], STRENGTHS[kind][1:], strict=True):
                which = BEARABLE if grade > 1 else WORST
                for seed, frame in enumerate(frames):
                    told = scores_of([degrade(frame, kind, strength, seed)])
                    judged.setdefault(person, []).append(float(told is not None))
                    for region in REGIONS if told is not None else ():
                        share = held.setdefault((region, which), {}).setdefault(person, [])
                        share.append(float(told[region] >= occlusion.COVERED))
                    if told is not None and grade == MIDDLE:
                        drawn.setdefault(person, []).append((told["mouth"], False))
            rng = np.random.default_rng([number, len(kind)])
            over = str(rng.choice(list(KINDS)))
            shown = covered_clip(frames[:1], meshes[:1], over, "mouth", frames[0], [number, len(kind)])[0]
            told = scores_of([degrade(shown, kind, STRENGTHS[kind][GRADES.index(MIDDLE)])])
            if told is not None:
                drawn.setdefault(person, []).append((told["mouth"], True))
        for (region, which), values in held.items():
            claim = f"free {region}s after {kind}, {which}, held to be covered"
            goal = 0.05 if which == BEARABLE and kind not in UNFITTED else None
            rows.append(row(claim, "share of frames", values, np.mean, goal, "lower", 1.0, "always covered"))
    rows.append(
        row(
            f"a thing over the mouth, both damaged, grade {MIDDLE}",
            "AUC of mouth_score",
            drawn,
            auc_of_pairs,
            0.95,
            "higher",
            0.5,
            "chance",
        )
    )
    rows.append(
        row(
            "damaged free faces that are still found and judged",
            "share of frames",
            judged,
            np.mean,
            None,
            "higher",
            None,
            "",
        )
    )
    return rows


def row(
    claim: str,
    measure: str,
    values: Any,
    statistic: Any,
    goal: float | None,
    better: Any,
    baseline: float | None,
    baseline_name: str,
) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
    return Row("occlusion", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name)


def run(root: Path) -> list[Row]:
    kinds = [*KINDS, PATCH]
    by_kind: dict[str, Pairs] = {kind: {} for kind in kinds}
    drawn: Pairs = {}
    unsure: list[tuple[float, bool]] = []
    beside: Pairs = {}
    whole: Pairs = {}
    free: dict[str, list[float]] = {}
    free_faces: dict[str, list[float]] = {}
    found: dict[str, list[float]] = {}
    kept: list[tuple[str, list[np.ndarray], list[np.ndarray]]] = []
    entries = [e for e in manifest(root, "talk") if not e["path"].name.startswith(TRAINED_ON)]
    clips = [read_frames(e["path"], 1.0, max_s=SECONDS)[0] for e in entries]
    for number, (entry, frames) in enumerate(zip(entries, clips, strict=True)):
        person = entry["person"]
        media = media_of(frames, 1.0)
        mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
        plain = scores_of(frames)
        if plain is None or mesh.num_rows < len(frames):
            continue
        free.setdefault(person, []).append(float(plain["mouth"] >= occlusion.COVERED))
        free_faces.setdefault(person, []).append(float(plain["face"] >= occlusion.COVERED))
        drawn.setdefault(person, []).append((plain["mouth"], False))
        whole.setdefault(person, []).append((plain["face"], False))
        unsure.append((plain["unsure"], False))
        beside.setdefault(person, [])
        kept.append((person, frames, list(points_of(mesh))))
        meshes, other = kept[-1][2], clips[(number + 1) % len(clips)][0]
        for which, kind in enumerate(kinds):
            pairs = by_kind[kind].setdefault(person, [])
            pairs.append((plain["mouth"], False))
            told = scores_of(covered_clip(frames, meshes, kind, "mouth", other, [number, which]))
            found.setdefault(person, []).append(float(told is not None))
            if told is not None:
                pairs.append((told["mouth"], True))
                beside[person].append((told["mouth"], True))
                whole[person].append((told["face"], True))
                if kind != PATCH:
                    drawn[person].append((told["mouth"], True))
                    unsure.append((told["unsure"], True))
            if kind == PATCH:
                continue
            near = scores_of(covered_clip(frames, meshes, kind, "beside", other, [number, which]))
            if near is not None:
                beside[person].append((near["mouth"], False))
    claims: list[tuple[Any, ...]] = [
        (
            "hand, box or microphone over the mouth against a free face",
            "AUC of mouth_score",
            drawn,
            auc_of_pairs,
            0.95,
            "higher",
            auc_of_pairs(unsure),
            "1 - presence of the mesh",
        )
    ]
    claims += [
        (f"{k} over the mouth", "AUC of mouth_score", v, auc_of_pairs, None, "higher", 0.5, "chance")
        for k, v in by_kind.items()
    ]
    claims += [
        (
            "over the mouth against beside the face",
            "AUC of mouth_score",
            beside,
            auc_of_pairs,
            0.9,
            "higher",
            0.5,
            "chance",
        ),
        ("free mouths held to be covered", "share of clips", free, np.mean, 0.1, "lower", 1.0, "always covered"),
        ("anything over the mouth", "AUC of face_score", whole, auc_of_pairs, 0.9, "higher", 0.5, "chance"),
        ("free faces held to be covered", "share of clips", free_faces, np.mean, 0.1, "lower", 1.0, "always covered"),
        ("covered faces that are still found and judged", "share of clips", found, np.mean, None, "higher", None, ""),
    ]
    return [row(*claim) for claim in claims] + damaged_rows(kept)


if __name__ == "__main__":
    command(run)
