"""How a recipe of motion does on people it never saw: trained anew without each fold of people, judged beside every baseline.

    python -m benchmarks.motion_people TIER [-w WORKSPACE] [--recipe audio_to_motion] [--folds 5] [--set seed=1 ...] [--json]

Everybody is judged once, by a network that learnt from the others, so that the figures rest on all people of the tier and not on
a quarter. `ahead of` is the mean difference, clip by clip, above 0 where ours is better, with an interval by bootstrap over people.
Baselines are those of modeling/motion_metrics.py, fitted to the same people, and `copy`: the mouth of the person's picture, which is
the best frame of the first 30 % of the clip. All mouths move that picture's mesh by the same landmark warp; `landmark_error` is how
far its lips then are from the true ones, in distances between the eyes, the head turned upright. `stored` is that of the true
motion: what the warp itself misses.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric

# isort: split
import numpy as np
import torch

from benchmarks.machine import machine
from flows.drawn_measures import landmark_error
from flows.motion_data import read, refuse_none
from infra.lag import best_lag, lag_correlation
from modeling.held_groups import folds
from modeling.held_out import company
from modeling.motion import MOUTH, PARAMETERS, POINTS_PER_PX, Person, upright
from modeling.motion_metrics import MAX_LAG, baselines, clip_measures, figure
from modeling.motion_set import MotionClip
from modeling.plates import best_frame
from modeling.recipes.audio_to_motion import AudioToMotion, recipe
from modeling.recipes.renderer import JUDGED_FROM
from modeling.training import predict, train
from serving.face_moves import face_moves
from store.frozen import Frozen, frozen
from store.media import GRID_FPS
from store.timelines import read_spans
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.head_geometry import NUM_CANONICAL

OURS, COPY, STORED = "ours", "copy", "stored"
MEASURES = (
    "lip_distance", "lip_velocity_distance", "correlation", *(f"correlation_{name}" for name in PARAMETERS[MOUTH]), "landmark_error",
)  # fmt: skip
OPEN_EYES = (0.0, 0.0)


def judged(
    workspace: Workspace, tier: str, made: AudioToMotion, num_folds: int, on_done: Callable[[str], None] = lambda told: None
) -> dict[str, Any]:  # fmt: skip
    """{"measures": {who: {measure: figure}}, "ahead": {baseline: {measure: figure}}, "lag_ms": figure, ...} over all people of a
    tier. Raises ValueError for a tier with fewer than two people to learn from."""
    held = frozen(workspace, str(freeze.build(workspace, tier)["snapshot"]))
    data = read(workspace, held)
    refuse_none(held, data)
    together = company(data.clips)
    if len(set(together.values())) < 2:
        raise ValueError(f"motion_people: tier {tier} shows one person; nobody can be held out")
    fold_of = folds([together[c.who] for c in data.clips], num_folds, made.seed)
    mouths: dict[str, dict[str, np.ndarray]] = {}
    for fold in range(fold_of.max() + 1):
        learnt = [c for c, of in zip(data.clips, fold_of, strict=True) if of != fold]
        with tempfile.TemporaryDirectory() as folder:
            net = train(made, learnt, Path(folder))
        beside = baselines(learnt)
        for clip, of in zip(data.clips, fold_of, strict=True):
            if of == fold:
                others = {name: told(clip.sound) for name, told in beside.items()}
                mouths[clip.clip_id] = {
                    OURS: predict(net, clip.sound)[:, MOUTH],
                    **{name: np.asarray(m, np.float32) for name, m in others.items()},
                    COPY: np.tile(clip.motion.values[picture_of(clip), MOUTH], (len(clip), 1)),
                }
        on_done(f"fold {fold + 1} of {fold_of.max() + 1}")
    rows = [
        {who: clip_measures(mouth, clip) for who, mouth in mouths[clip.clip_id].items()}
        for clip in data.clips
    ]  # fmt: skip
    for clip, row, meshes in zip(data.clips, rows, _meshes(held, data.clips), strict=True):
        stored = {STORED: clip.motion.values[:, MOUTH]}
        errors = _landmark_errors(clip, {**mouths[clip.clip_id], **stored}, meshes, data.people[clip.who])
        for who, error in errors.items():
            row.setdefault(who, {})["landmark_error"] = error
    return {
        "machine": machine(), "recipe": made.name, "num_steps": made.num_steps, "folds": int(fold_of.max() + 1),
        "num_clips": len(data.clips), "num_people": len(data.people), "seconds": round(data.seconds, 1),
        **_figures(rows, [together[c.who] for c in data.clips]), "lag_ms": _lag(mouths, data.clips),
    }  # fmt: skip


def picture_of(clip: MotionClip) -> int:
    """The frame of the first 30 % that the person is known by."""
    early = clip.motion.values[: max(1, round(JUDGED_FROM * len(clip)))]
    return best_frame(early, early[:, 7] * 10)


def _figures(rows: Sequence[Mapping[str, Mapping[str, float]]], people: Sequence[str]) -> dict[str, Any]:
    others = [who for who in rows[0] if who not in (OURS, STORED)]

    def told(values: Sequence[float]) -> dict[str, float]:
        return figure(values, people).to_dict()

    better = {m: 1 if "correlation" in m else -1 for m in MEASURES}
    return {
        "measures": {
            who: {m: told([r[who][m] for r in rows]) for m in MEASURES if m in rows[0][who]} for who in rows[0]
        },
        "ahead": {
            who: {m: told([better[m] * (r[OURS][m] - r[who][m]) for r in rows]) for m in MEASURES} for who in others
        },
    }


def _lag(mouths: Mapping[str, Mapping[str, np.ndarray]], clips: Sequence[MotionClip]) -> dict[str, float]:
    """How late jaw_open comes where it fits best, the median over clips and the middle half of them."""
    found = []
    for clip in clips:
        made = mouths[clip.clip_id][OURS][:, :1]
        if len(clip) >= 5 * MAX_LAG and made.std() > 1e-6:
            curve = lag_correlation(made, clip.motion.values[:, :1], np.ones(1), MAX_LAG)
            found.append(best_lag(curve)[1] * 1000 / GRID_FPS)
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75]) if found else (np.nan,) * 3
    return {
        "value": round(float(middle), 1),
        "low": round(float(low), 1),
        "high": round(float(high), 1),
        "n": len(found),
    }


# What is seen, as far as it is geometry


def _meshes(held: Frozen, clips: Sequence[MotionClip]) -> list[np.ndarray]:
    """Of each clip the upright mesh on its frames, float64 (T, N, 3), NaN where there is none."""
    spans = [(c.clip_id, c.video_id, c.first_frame, c.first_frame + len(c)) for c in clips]
    found = []
    for clip, lines in zip(
        clips, read_spans(held.record, held.versions, spans, ["landmarks", "head_pose"]), strict=True
    ):
        mesh, pose = lines["landmarks"], lines["head_pose"]
        frames, at_mesh, at_pose = np.intersect1d(
            mesh["frame"].to_numpy(), pose["frame"].to_numpy(), return_indices=True
        )
        flat = mesh["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        points = flat.reshape(mesh.num_rows, -1, 3)[at_mesh] / POINTS_PER_PX
        angles = np.stack([pose[f"{n}_deg"].to_numpy()[at_pose] for n in ("pitch", "yaw", "roll")], axis=1)
        made = np.full((len(clip), NUM_CANONICAL, 3), np.nan)
        made[frames - clip.first_frame] = upright(points, angles)[:, :NUM_CANONICAL]
        found.append(made)
    return found


def _landmark_errors(
    clip: MotionClip, mouths: Mapping[str, np.ndarray], meshes_TNC: np.ndarray, person: Person
) -> dict[str, float]:
    seen = np.flatnonzero(clip.motion.seen[:, 0])
    picture = seen[np.argmin(abs(seen - picture_of(clip)))]
    moves = face_moves(meshes_TNC[picture])
    found = {}
    for who, mouth_TK in mouths.items():
        if who == COPY:
            made = np.repeat(meshes_TNC[picture][None], len(seen), axis=0)
        else:
            raw = mouth_TK[seen] * person.scale[MOUTH] + person.rest[MOUTH]
            made = np.stack([moves.moved(row, OPEN_EYES) for row in raw])
        found[who] = landmark_error(made, meshes_TNC[seen])
    return found


def table(told: Mapping[str, Any]) -> str:
    others = list(told["ahead"])
    shown = [OURS, *others, STORED]
    head = f"{told['recipe']}, {told['num_steps']} steps: {told['num_clips']} clips of {told['num_people']} people, {told['seconds']:g} s"
    lines = [
        f"| {head} | " + " | ".join([*shown, *(f"ahead of {who}" for who in others)]) + " |",
        "|---" * (1 + len(shown) + len(others)) + "|",
    ]
    for m in MEASURES:
        digits = 4 if m == "landmark_error" else 3
        cells = [f"{of[m]['value'] + 0.0:.{digits}f}" if m in (of := told["measures"][who]) else "" for who in shown]
        for who in others:
            ahead, theirs = told["ahead"][who][m], told["measures"][who][m]["value"]
            share = "" if "correlation" in m else f", {100 * ahead['value'] / theirs:.1f} %"
            cells.append(f"{ahead['value']:.{digits}f} [{ahead['low']:.{digits}f}, {ahead['high']:.{digits}f}]{share}")
        lines.append(f"| {m} | {' | '.join(cells)} |")
    lag = told["lag_ms"]
    lines.append(f"\njaw_open comes {lag['value']:+g} ms late where it fits best (median of {lag['n']} clips, half of them within "
                 f"[{lag['low']:g}, {lag['high']:g}])")  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.motion_people")
    parser.add_argument("tier")
    parser.add_argument("-w", "--workspace")
    parser.add_argument("--recipe", default="audio_to_motion")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="VALUE=...")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    made = recipe(given.recipe, **dict(pair.split("=", 1) for pair in given.set))
    told = judged(
        open_workspace(given.workspace), given.tier, made, given.folds,
        lambda done: print(done, file=sys.stderr, flush=True),
    )  # fmt: skip
    print(json.dumps(told) if given.json else table(told))


if __name__ == "__main__":
    main(sys.argv[1:])
