"""A kind of bad case with enough flags becomes a detector: its checkpoint is published, its scores are a column of tiers.

Nothing is decoded: it learns from columns, vectors and blendshapes that are stored. Its scores come in by tasks.adopt,
with a fingerprint of their own, and are no signal file: a signal is the same code in every workspace, while a detector
exists where somebody flagged enough clips, under a name that a designer chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flows.labelled import features, frozen_labels, groups_of, licences, refuse_few, stored_columns
from infra.clip_features import Linear
from infra.code import code_version
from modeling import detector as models
from modeling.recipes.detector import Detector, detector
from store import registry
from store.frozen import Frozen
from store.ledger import Manifest
from store.workspace import Reader, Workspace, open_workspace
from tasks.adopt import adopt
from tasks.annotation.delivery import deliver_existing
from tasks.signals import discover

TIER = "looked_at"
TIER_SQL = """-- Clips that people looked at for bad cases: what detectors learn from, `headroom train detector --flag KIND`.
SELECT clip_id FROM clips JOIN labels USING (clip_id)
WHERE labels.num_flags IS NOT NULL
      -- source: a label by people, whether it found a bad case or none
"""
VECTORS = (("embedding", "video"), ("face_embedding", "face"))


@dataclass(frozen=True)
class Looked:
    """Clips that were asked about: `flagged` (N,), `groups` that are never split (people and videos that meet)."""

    clip_ids: tuple[str, ...]
    flagged: np.ndarray
    groups: tuple[str, ...]


def run_detector(
    workspace_root: str | Path | None,
    flag: str,
    *,
    tier: str | None = None,
    snapshot: str | None = None,
    changed: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Trains a detector for a flag on a tier, frozen now (None: all that people looked at), publishes it, and scores every
    clip into the column detector_FLAG_score; gives `checkpoint.json` with "id" and "scored".

    Labelled clips have the scores of models that did not see them. Run again, it scores what came since. Raises
    ValueError for a flag that nobody was asked about, and for too few clips or people with it or without it.
    """
    recipe = detector(flag, **(changed or {}))
    workspace = open_workspace(workspace_root)
    deliver_existing(workspace)
    held = frozen_labels(workspace, TIER, TIER_SQL, tier=tier, snapshot=snapshot)
    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        looked = looked_at(reader, recipe, held.clips["clip_id"].to_pylist())
        names = stored_columns(reader, [n for n, s in discover().items() if not s.spec.on_request])
        given = features(workspace, reader, names, VECTORS, looked.clip_ids)
        rights = licences(reader, looked.clip_ids)
    scores = models.cross_validated(recipe, given, looked.flagged, looked.groups)
    judged = models.measured(scores, looked.flagged, looked.groups)
    model = models.fit(recipe, given, looked.flagged)
    made = _publish(workspace, recipe, held, looked, names, model, judged, rights)
    useful = judged["measures"]["ours"]["auc"]["low"] > 0.5
    seen = dict(zip(looked.clip_ids, scores["ours"].tolist(), strict=True))
    scored = _score_all(workspace, recipe, names, model, seen) if useful else 0
    return {"id": made.id, **made.told, "scored": scored}


def looked_at(reader: Reader, recipe: Detector, clip_ids: Sequence[str]) -> Looked:
    """Raises ValueError where there are too few; the message counts them."""
    rows = reader.sql(
        """SELECT v.clip_id, any_value(c.video_id) AS video, any_value(i.identity) AS who, v.question,
                  max(v.number) = 1 AS flagged
           FROM label_values v JOIN clips c USING (clip_id) LEFT JOIN identities i USING (clip_id)
           WHERE v.task_type = 'flags' GROUP BY v.clip_id, v.question ORDER BY v.clip_id"""
    ).filter(pl.col("clip_id").is_in(list(clip_ids)))
    own = rows.filter(pl.col("question") == recipe.flag)
    if own.is_empty():
        known = rows.filter("flagged").group_by("question").len().sort("question").iter_rows()
        told = ", ".join(f"{kind} ({n} flagged)" for kind, n in known) or "none yet; headroom annotate asks for them"
        raise ValueError(f"detector: nobody was asked about {recipe.flag!r}; flags are {told}")
    flagged = own["flagged"].to_numpy().astype(bool)
    groups = groups_of(own["video"].to_list(), own["who"].to_list())
    parts = (("flagged", flagged), ("looked at without it", ~flagged))
    refuse_few(f"detector {recipe.flag}", parts, groups, (recipe.least_clips, recipe.least_groups))
    return Looked(tuple(own["clip_id"]), flagged, tuple(groups))


def _publish(
    workspace: Workspace,
    recipe: Detector,
    held: Frozen,
    looked: Looked,
    names: Sequence[str],
    model: Linear,
    judged: Mapping[str, Any],
    rights: Mapping[str, int],
) -> registry.Checkpoint:
    from safetensors.numpy import save

    told = {
        "kind": "detector",
        "recipe": {"name": recipe.name, **asdict(recipe)},
        "snapshot": {"id": held.snapshot_id, "sha256": held.sha256, "tier": held.tier},
        "columns": list(names),
        "metrics": {"held_people": dict(judged)},
        "data": {
            "clips": {"train": list(looked.clip_ids)},
            "people": {"train": sorted(set(looked.groups))},
            "flagged": int(looked.flagged.sum()),
            "licences": dict(rights),
        },
        "code": code_version(),
    }
    return registry.publish(workspace, save(model.to_arrays()), told)


def _score_all(
    workspace: Workspace, recipe: Detector, names: Sequence[str], model: Linear, seen: Mapping[str, float]
) -> int:
    """Every clip of now; those that it learnt from keep what models said that had not seen them."""
    with workspace.views() as reader:
        ids = reader.sql("SELECT clip_id FROM clips ORDER BY clip_id")["clip_id"].to_list()
        given = features(workspace, reader, names, VECTORS, ids)
    if given.columns.shape[1] != len(model.weights) - sum(b.shape[1] for b in model.inputs.bases.values()):
        raise ValueError(
            f"detector {recipe.flag}: the clips have other features now than it learnt from; train it again"
        )
    scores = [seen.get(c, s) for c, s in zip(ids, models.score(model, given).tolist(), strict=True)]
    file = workspace.scratch / f"{recipe.name}.parquet"
    pl.DataFrame({"clip_id": ids, "score": [round(s, 4) for s in scores]}).write_parquet(file)
    try:
        adopt(workspace, file, recipe.name)
    finally:
        file.unlink()
    return len(ids)
