"""People's ratings become a signal of their own: `rated_quality`, learnt from what is stored of the clips that they rated.

A recalibrated `visual_quality` (flows/ratings.py) keeps the order of clips; this one makes the order that people see. The
model is written, published, and named by a setting, with which the signal's rows are stale and roll out like those of any
new version; another training on more ratings is another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flows.labelled import features, handed_over, licences, rated, rated_clips, refuse_few, stored_columns
from infra.clip_features import Features, Linear
from infra.code import code_version
from modeling import rated_quality as models
from modeling.recipes.ratings import RatedQuality, rated_quality
from store import registry
from store.frozen import Frozen
from store.ledger import Manifest
from store.workspace import Workspace, open_workspace
from tasks.annotation.delivery import deliver_existing
from tasks.backends.rated import FILE, Rated
from tasks.signals.rated_quality import DIMENSIONS, NEEDS, OVERALL, VECTORS


def run_rated_quality(
    workspace_root: str | Path | None,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    changed: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Trains on people's ratings of a tier, frozen now (None: all clips that people rated); gives `checkpoint.json` with
    "id", "setting" and "backends", what is to stand in HEADROOM_BACKENDS.

    A dimension that is not surely nearer to the ratings than their mean, on people and videos that the judging model did
    not see, is left out. Raises ValueError for too few ratings, and where all are left out.
    """
    recipe = rated_quality(**(changed or {}))
    workspace = open_workspace(workspace_root)
    deliver_existing(workspace)
    held = rated(workspace, tier=tier, snapshot=snapshot)
    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        rows = rated_clips(reader, recipe.name, DIMENSIONS, held.clips["clip_id"].to_pylist())
        _refuse_few(recipe, rows)
        rows = rows.with_columns(pl.mean_horizontal(DIMENSIONS, ignore_nulls=False).alias(OVERALL))
        names = stored_columns(reader, NEEDS)
        given = features(workspace, reader, names, VECTORS, rows["clip_id"].to_list())
        rights = licences(reader, rows["clip_id"].to_list())
    told, models_of, left_out = {}, {}, {}
    for column in (*DIMENSIONS, OVERALL):
        judged, model = _learnt(recipe, given, rows[column].to_numpy(), rows["group"].to_list())
        told[column] = judged
        if model is None:
            left_out[column] = judged["left_out"]
        else:
            models_of[column] = model
    if not models_of:
        raise ValueError(_refused(told))
    return _published(workspace, recipe, held, Rated(models_of, given.names, left_out), rows, told, rights)


def _refuse_few(recipe: RatedQuality, rows: pl.DataFrame) -> None:
    """Raises ValueError where no dimension has ratings enough; the message counts those of the one with most."""
    known = {d: rows[d].is_not_null().to_numpy() for d in DIMENSIONS}
    most = max(DIMENSIONS, key=lambda d: int(known[d].sum()))
    part = ("rated" if rows.is_empty() else f"rated for {most}", known[most])
    refuse_few(recipe.name, [part], rows["group"].to_list(), (recipe.least_clips, recipe.least_groups))


def _learnt(
    recipe: RatedQuality, given: Features, grades_N: np.ndarray, groups: list[str]
) -> tuple[dict[str, Any], Linear | None]:
    """How well a dimension is predicted, and the model of all its clips; without one, "left_out" says why."""
    here = np.isfinite(grades_N.astype(float))
    own = [g for g, has in zip(groups, here, strict=True) if has]
    if here.sum() < recipe.least_clips or len(set(own)) < recipe.least_groups:
        why = f"{here.sum()} clips of {len(set(own))} people or videos are rated, it takes {recipe.least_clips} of {recipe.least_groups}"
        return {"left_out": why}, None
    taken, grades = given.take(here), grades_N[here].astype(float)
    if np.ptp(grades) == 0:
        return {"left_out": f"people gave every clip {grades[0]:g}"}, None
    judged = models.judged(recipe, taken, grades, own)
    if not judged["gain"]["low"] > 0:
        return {**judged, "left_out": "not surely nearer to the ratings than their mean"}, None
    model, chosen = models.fit(recipe, taken, grades, own)
    return {**judged, **chosen}, model


def _refused(told: Mapping[str, Mapping[str, Any]]) -> str:
    """Why nothing is published, by column: how far off the model and the mean rating are, or what there is too little of."""
    said = []
    for column, judged in told.items():
        why = judged["left_out"]
        if of := judged.get("measures"):
            ours, mean = (of[who]["mean_squared_error"]["value"] for who in ("ours", "mean_rating"))
            why += f" (mean squared error {ours:.2f}, of the mean {mean:.2f})"
        said.append(f"{column}: {why}")
    return (
        f"rated_quality: nothing is published; on people that the model did not see: {'; '.join(said)}; "
        "label more with headroom annotate"
    )


def _published(
    workspace: Workspace,
    recipe: RatedQuality,
    held: Frozen,
    model: Rated,
    rows: pl.DataFrame,
    judged: Mapping[str, Any],
    rights: Mapping[str, int],
) -> dict[str, Any]:
    content = model.to_bytes()
    told = {
        "kind": "ratings",
        "recipe": asdict(recipe),
        "snapshot": {"id": held.snapshot_id, "sha256": held.sha256, "tier": held.tier},
        "columns": list(model.names),
        "metrics": {"held_people": dict(judged)},
        "data": {
            "clips": {"train": rows["clip_id"].to_list()},
            "people": {"train": sorted(set(rows["group"]))},
            "licences": dict(rights),
        },
        "code": code_version(),
    }
    return handed_over(workspace, registry.publish(workspace, content, told), FILE, content)
