"""People's ratings recalibrate `visual_quality`: a map that beats its own value is written, published, and named by a setting.

With the setting the signal has another fingerprint: its rows are stale, are computed beside those that serve, and take
their place all at once, as those of every new version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flows.labelled import handed_over, licences, rated, rated_clips, refuse_few
from infra.code import code_version
from modeling import ratings as models
from modeling.recipes.ratings import Ratings, ratings
from store import registry
from store.ledger import Manifest
from store.timelines import read_spans
from store.workspace import Reader, Workspace, open_workspace
from tasks.annotation.delivery import deliver_existing
from tasks.backends.people import FILE


def run_ratings(
    workspace_root: str | Path | None,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    changed: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Fits the default's value to people's ratings on a tier, frozen now (None: all clips that people rated); gives
    `checkpoint.json` with "id" and "setting", the line of HEADROOM_BACKENDS that has the signal computed so.

    Raises ValueError for too few ratings, and a map that is not surely better than the value as it is.
    """
    recipe = ratings(**(changed or {}))
    workspace = open_workspace(workspace_root)
    deliver_existing(workspace)
    held = rated(workspace, tier=tier, snapshot=snapshot)
    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        rows = _rated(workspace, reader, recipe, held.clips["clip_id"].to_pylist())
        rights = licences(reader, rows["clip_id"].to_list())
    raw, grades, groups = rows["raw"].to_numpy(), rows["grade"].to_numpy(), rows["group"].to_list()
    told = models.judged(recipe, raw, grades, groups)
    if not told["gain"]["low"] > 0:
        ours, before = (told["measures"][k]["mean_squared_error"]["value"] for k in ("ours", "as_it_is"))
        raise ValueError(
            f"visual_quality: on people it did not see, the map is off by {ours:.3f} (mean squared) and the value as it is by "
            f"{before:.3f}: not surely better, so nothing is changed; label more with headroom annotate"
        )
    knots = models.fit(recipe, raw, grades)
    return _published(workspace, recipe, knots, {
        "kind": "ratings",
        "recipe": asdict(recipe),
        "snapshot": {"id": held.snapshot_id, "sha256": held.sha256, "tier": held.tier},
        "metrics": {"held_people": told},
        "data": {
            "clips": {"train": rows["clip_id"].to_list()},
            "people": {"train": sorted(set(groups))},
            "licences": rights,
        },
        "code": code_version(),
    })  # fmt: skip


def _rated(workspace: Workspace, reader: Reader, recipe: Ratings, clip_ids: list[str]) -> pl.DataFrame:
    """clip_id, grade, group, and raw, the default's value, from the keyframes whatever serves now."""
    rows = rated_clips(reader, recipe.name, ("visual_quality",), clip_ids).drop_nulls("visual_quality")
    spans = rows.select("clip_id", "video_id", "start_frame", "end_frame").rows()
    held = read_spans(workspace.record, reader.manifest.versions, spans, ["keyframes"])
    raw = [_mean_quality(h.get("keyframes")) for h in held]
    told = rows.rename({"visual_quality": "grade"}).with_columns(pl.Series("raw", raw, pl.Float64)).drop_nulls("raw")
    here = np.ones(len(told), bool)
    refuse_few("visual_quality", [("rated", here)], told["group"].to_list(), (recipe.least_clips, recipe.least_groups))
    return told


def _mean_quality(keyframes: Any) -> float | None:
    return float(np.mean(keyframes["quality"].to_numpy())) if keyframes is not None and keyframes.num_rows else None


def _published(workspace: Workspace, recipe: Ratings, knots: models.Map, told: Mapping[str, Any]) -> dict[str, Any]:
    from safetensors.numpy import save

    raw, people = (np.round(k, 4) for k in knots)
    made = registry.publish(workspace, save({"raw": raw, "people": people}), told)
    text = json.dumps({"raw": raw.tolist(), "people": people.tolist()})
    return handed_over(workspace, made, FILE, text.encode())
