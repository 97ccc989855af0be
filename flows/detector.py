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

from flows.labelled import frozen_labels, groups_of, licences, refuse_few
from infra.code import code_version
from modeling import detector as models
from modeling.detector import Features, Model
from modeling.recipes.detector import Detector, detector
from store import registry
from store.frozen import Frozen
from store.ledger import Manifest
from store.schema import embeddings_table
from store.timelines import read_spans
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
CLIPS_AT_ONCE = 64


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
        names = stored_columns(reader)
        given = features(workspace, reader, names, looked.clip_ids)
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


def stored_columns(reader: Reader) -> list[str]:
    """The numbers and booleans that clip signals made, those asked for by name left out."""
    have = set(reader.columns("signals"))
    found = []
    for name, signal in sorted(discover().items()):
        if signal.spec.grain == "clip" and not signal.spec.on_request:
            kinds = [c for c in signal.spec.columns if str(c.dtype) not in ("string", "large_string")]
            found += [f"{name}_{c.name}" for c in kinds if f"{name}_{c.name}" in have and "list" not in str(c.dtype)]
    return found


def features(workspace: Workspace, reader: Reader, names: Sequence[str], clip_ids: Sequence[str]) -> Features:
    """What is stored of clips: these columns, vectors, and of the face's blendshapes the mean, the deviation and the
    largest step from a frame to the next."""
    spans = reader.sql(
        "SELECT "
        + ", ".join(
            ["clip_id", "video_id", "start_frame", "end_frame", *(f"CAST({n} AS DOUBLE) AS {n}" for n in names)]
        )
        + " FROM clips LEFT JOIN signals USING (clip_id)"
    )
    rows = pl.DataFrame({"clip_id": list(clip_ids)}).join(spans, on="clip_id", how="left", maintain_order="left")
    vectors = {}
    for signal, vector in VECTORS:
        if (table := embeddings_table(signal, vector)) in reader.manifest.versions:
            held = workspace.record.read(reader.manifest, table, ["clip_id", "vector"])
            known = dict(zip(held["clip_id"].to_pylist(), held["vector"].to_pylist(), strict=True))
            empty = [np.nan] * held.schema.field("vector").type.list_size
            vectors[f"{signal}_{vector}"] = np.array([known.get(c, empty) for c in clip_ids], float)
    faces = [
        _blendshapes(read.get("landmarks"))
        for start in range(0, len(rows), CLIPS_AT_ONCE)
        for read in read_spans(
            workspace.record, reader.manifest.versions,
            rows.slice(start, CLIPS_AT_ONCE).select("clip_id", "video_id", "start_frame", "end_frame").rows(),
            ["landmarks"],
        )
    ]  # fmt: skip
    width = max((len(f) for f in faces), default=0)
    shapes = np.array([f if len(f) else np.full(width, np.nan) for f in faces]).reshape(len(rows), width)
    own = rows.select(names).to_numpy().astype(float) if names else np.zeros((len(rows), 0))
    said = [f"blendshape_{what}_{i}" for what in ("mean", "deviation", "step") for i in range(width // 3)]
    return Features((*names, *said), np.concatenate([own, shapes], axis=1), vectors)


def _blendshapes(landmarks: Any) -> np.ndarray:
    if landmarks is None or landmarks.num_rows < 2:
        return np.zeros(0)
    told = [row for row in landmarks["blendshapes"].to_pylist() if row is not None]
    if len(told) < 2:
        return np.zeros(0)
    shapes_TB = np.array(told, float)
    return np.concatenate([shapes_TB.mean(0), shapes_TB.std(0), np.abs(np.diff(shapes_TB, axis=0)).max(0)])


def _publish(
    workspace: Workspace,
    recipe: Detector,
    held: Frozen,
    looked: Looked,
    names: Sequence[str],
    model: Model,
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
    workspace: Workspace, recipe: Detector, names: Sequence[str], model: Model, seen: Mapping[str, float]
) -> int:
    """Every clip of now; those that it learnt from keep what models said that had not seen them."""
    with workspace.views() as reader:
        ids = reader.sql("SELECT clip_id FROM clips ORDER BY clip_id")["clip_id"].to_list()
        given = features(workspace, reader, names, ids)
    if given.columns.shape[1] != len(model.centre) - sum(b.shape[1] for b in model.bases.values()):
        raise ValueError(
            f"detector {recipe.flag}: the clips have other features now than it learnt from; train it again"
        )
    scores = [seen.get(c, s) for c, s in zip(ids, model.score(given).tolist(), strict=True)]
    file = workspace.scratch / f"{recipe.name}.parquet"
    pl.DataFrame({"clip_id": ids, "score": [round(s, 4) for s in scores]}).write_parquet(file)
    try:
        adopt(workspace, file, recipe.name)
    finally:
        file.unlink()
    return len(ids)
