"""What trainings from people's labels share: the tier of the clips they looked at, who may not be split, what is stored of
the clips (nothing is decoded), the data card."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from infra import settings
from infra.clip_features import Features, blendshape_features
from store import registry
from store.frozen import Frozen, frozen
from store.schema import embeddings_table
from store.timelines import read_spans
from store.workspace import Reader, Workspace
from tasks import freeze
from tasks import tier as tiers
from tasks.signals import discover

RATED = "rated"
RATED_SQL = """-- Clips that people rated: what `headroom train visual_quality` and `rated_quality` learn from.
SELECT clip_id FROM clips JOIN labels USING (clip_id)
WHERE coalesce(labels.visual_quality, labels.facial_naturalness, labels.lip_sync_accuracy, labels.motion_smoothness) IS NOT NULL
      -- source: a rating by people, whatever it is
"""
CLIPS_AT_ONCE = 64


def frozen_labels(workspace: Workspace, name: str, sql: str, *, tier: str | None, snapshot: str | None) -> Frozen:
    """A snapshot, or a tier frozen now; without either the tier `name`, which is written beside the workspace's own first."""
    if tier and snapshot:
        raise ValueError("train: give a tier, which is frozen now, or a snapshot; one of them")
    if not (tier or snapshot) and name not in tiers.sources(workspace):
        file = workspace.settings.workspace / "tiers" / f"{name}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(sql)
    return frozen(workspace, snapshot or str(freeze.build(workspace, tier or name)["snapshot"]))


def rated(workspace: Workspace, *, tier: str | None, snapshot: str | None) -> Frozen:
    """Without a tier or a snapshot: all clips that people rated."""
    return frozen_labels(workspace, RATED, RATED_SQL, tier=tier, snapshot=snapshot)


def rated_clips(reader: Reader, what: str, dimensions: Sequence[str], clip_ids: Sequence[str]) -> pl.DataFrame:
    """clip_id, video_id, start_frame, end_frame, group (what no fold may split), and of each dimension people's rating, or
    NULL."""
    told = ", ".join(f"any_value(l.{d}) AS {d}" for d in dimensions)
    rows = reader.sql(
        f"""SELECT clip_id, any_value(c.video_id) AS video_id, any_value(start_frame) AS start_frame,
                   any_value(end_frame) AS end_frame, {told}, any_value(i.identity) AS who
            FROM labels l JOIN clips c USING (clip_id) LEFT JOIN identities i USING (clip_id)
            WHERE coalesce({", ".join(f"l.{d}" for d in dimensions)}) IS NOT NULL GROUP BY clip_id ORDER BY clip_id"""
    ).filter(pl.col("clip_id").is_in(list(clip_ids)))
    groups = groups_of(rows["video_id"].to_list(), rows["who"].to_list())
    return rows.with_columns(pl.Series("group", groups, pl.String)).drop("who")


def groups_of(videos: Sequence[str], people: Sequence[str | None]) -> list[str]:
    """By clip, the first by name of all people and videos that it is linked to: what no fold may split."""
    first: dict[str, str] = {}

    def head(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for video, who in zip(videos, people, strict=True):
        a, b = head(f"video {video}"), head(f"person {who}" if who else f"video {video}")
        first[max(a, b)] = min(a, b)
    return [head(f"video {video}") for video in videos]


def refuse_few(
    what: str, parts: Iterable[tuple[str, np.ndarray]], groups: Sequence[str], least: tuple[int, int],
    more: str = "label more with headroom annotate",
) -> None:  # fmt: skip
    """Raises ValueError, with counts, unless each part (a mask over clips) has `least` clips and groups."""
    counts = [(told, int(mask.sum()), len({g for g, m in zip(groups, mask, strict=True) if m})) for told, mask in parts]
    if any(n < least[0] or of < least[1] for _, n, of in counts):
        said = " and ".join(f"{n} clips of {of} people or videos are {told}" for told, n, of in counts)
        raise ValueError(f"{what}: {said}; it takes {least[0]} clips of {least[1]}; {more}")


def licences(reader: Reader, clip_ids: Sequence[str]) -> dict[str, int]:
    """Clips by licence and consent."""
    rights = dict(
        reader.sql(
            "SELECT clip_id, coalesce(licence, 'unknown') || ', consent ' || coalesce(consent, 'unknown') "
            "FROM clips LEFT JOIN rights USING (video_id)"
        ).iter_rows()
    )
    told: dict[str, int] = {}
    for clip in clip_ids:
        told[rights[clip]] = told.get(rights[clip], 0) + 1
    return dict(sorted(told.items()))


def stored_columns(reader: Reader, signals: Collection[str]) -> list[str]:
    """The numbers and booleans that those of the signals which are of clips made here."""
    have = set(reader.columns("signals"))
    found = []
    for name, signal in sorted(discover().items()):
        if signal.spec.grain == "clip" and name in signals:
            kinds = [c for c in signal.spec.columns if str(c.dtype) not in ("string", "large_string")]
            found += [f"{name}_{c.name}" for c in kinds if f"{name}_{c.name}" in have and "list" not in str(c.dtype)]
    return found


def features(
    workspace: Workspace,
    reader: Reader,
    names: Sequence[str],
    vectors: Sequence[tuple[str, str]],
    clip_ids: Sequence[str],
) -> Features:
    """What is stored of clips: these columns, these vectors (signal, vector), and what is told of the face's blendshapes."""
    spans = reader.sql(
        "SELECT "
        + ", ".join(
            ["clip_id", "video_id", "start_frame", "end_frame", *(f"CAST({n} AS DOUBLE) AS {n}" for n in names)]
        )
        + " FROM clips LEFT JOIN signals USING (clip_id)"
    )
    rows = pl.DataFrame({"clip_id": list(clip_ids)}, {"clip_id": pl.String}).join(
        spans, on="clip_id", how="left", maintain_order="left"
    )
    of_vectors = {}
    for signal, vector in vectors:
        if (table := embeddings_table(signal, vector)) in reader.manifest.versions:
            held = workspace.record.read(reader.manifest, table, ["clip_id", "vector"])
            known = dict(zip(held["clip_id"].to_pylist(), held["vector"].to_pylist(), strict=True))
            empty = [np.nan] * held.schema.field("vector").type.list_size
            of_vectors[f"{signal}_{vector}"] = np.array([known.get(c) or empty for c in clip_ids], float)
    lines = [
        read.get("landmarks")
        for start in range(0, len(rows), CLIPS_AT_ONCE)
        for read in read_spans(
            workspace.record, reader.manifest.versions,
            rows.slice(start, CLIPS_AT_ONCE).select("clip_id", "video_id", "start_frame", "end_frame").rows(),
            ["landmarks"],
        )
    ]  # fmt: skip
    faces = [{} if line is None else blendshape_features(line["blendshapes"].to_pylist()) for line in lines]
    said = list(next((f for f in faces if f), {}))
    shapes = np.array([[f.get(n, np.nan) for n in said] for f in faces], float).reshape(len(rows), len(said))
    own = rows.select(names).to_numpy().astype(float) if names else np.zeros((len(rows), 0))
    return Features((*names, *said), np.concatenate([own, shapes], axis=1), of_vectors)


def handed_over(workspace: Workspace, made: registry.Checkpoint, file: str, content: bytes) -> dict[str, Any]:
    """Puts what a signal's backend `people` reads into a folder of the workspace, whole or not at all; gives
    `checkpoint.json` with "id", "setting", the part of HEADROOM_BACKENDS that has the signal computed so, and "backends",
    the whole of it beside what is set now."""
    name = str(made.told["recipe"]["name"])
    folder = workspace.settings.workspace / "ratings" / f"{name}-{made.id}"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{file}"
    part.write_bytes(content)
    part.replace(folder / file)
    told = f"people?model={quote(str(folder))}"
    backends = " ".join(f"{signal}={how}" for signal, how in {**settings.backends(), name: told}.items())
    return {"id": made.id, **made.told, "setting": f"{name}={told}", "backends": backends}
