"""Decided preferences as pairs for reward models and DPO: a row a pair and dimension, read from the record alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl

from store.workspace import Reader, Workspace

GRID_FPS = 25
ENDINGS = (".parquet", ".jsonl")
SIDE = ("clip_id", "video_id", "start_frame", "end_frame")

_SIDES = """sides AS (
    SELECT l.*, CAST(split_part(key, ':', 2) AS INTEGER) AS side, v.proxy_uri
    FROM _labels l LEFT JOIN videos v USING (video_id) WHERE l.active AND l.task_type = 'pairwise')"""
_PAIRED = """FROM sides a JOIN sides b ON b.item = a.item AND b.question = a.question AND b.side <> a.side
    WHERE a.text = 'won' OR (a.text IN ('tie', 'both_bad') AND a.side = 0)"""


def preferences(reader: Reader) -> pl.DataFrame:
    """Every decided pair, once for each dimension, in one order whatever the record's:

    `dimension`; `verdict` (`preferred`, or `tie` and `both_bad`, where chosen and rejected are only the item's first and
    second); `chosen` and `rejected`, the addresses of their media, a W3C media fragment of the proxy in seconds, NULL once
    those are gone; of each also clip_id as it was cut when it was shown, video_id, start_frame and end_frame at 25 fps;
    `agreement` of the raters (NULL under two), `confidence` (NULL where too few answers tell), `num_raters`,
    `how`; `schema` and `guideline_version`; `decided_at`; `item`.
    """
    sides = [f"{s}.{k} AS {name}_{k}" for s, name in (("a", "chosen"), ("b", "rejected")) for k in SIDE]
    media = [
        f"{s}.proxy_uri || '#t=' || printf('%.2f,%.2f', {s}.start_frame / {GRID_FPS}.0, {s}.end_frame / {GRID_FPS}.0) AS {name}"
        for s, name in (("a", "chosen"), ("b", "rejected"))
    ]
    told = [
        "agreement",
        "confidence",
        "num_raters",
        "how",
        "schema",
        "schema_version AS guideline_version",
        "decided_at",
        "item",
    ]
    columns = ["a.question AS dimension", "CASE a.text WHEN 'won' THEN 'preferred' ELSE a.text END AS verdict"]
    columns += [*media, *sides, *(f"a.{c}" for c in told)]
    return reader.sql(
        f"WITH {_SIDES} SELECT {', '.join(columns)} {_PAIRED} ORDER BY dimension, chosen_clip_id, rejected_clip_id, item"
    )


def export_preferences(workspace: Workspace, out: Path) -> dict[str, Any]:
    """Writes them to a .parquet or .jsonl file, whole or not at all; the same record gives the same bytes.

    Gives {"path", "pairs", "dimensions": {name: {verdict: n}}, "without_media"}. Raises ValueError for another ending, and
    where no preference is decided.
    """
    if out.suffix not in ENDINGS:
        raise ValueError(f"{out}: preferences are written as {' or '.join(ENDINGS)}; give a name that ends so")
    with workspace.views() as reader:
        rows = preferences(reader)
    if rows.is_empty():
        raise ValueError(
            "no preference is decided yet; a batch of a pairwise schema under headroom annotate asks people for some"
        )
    # Whole or not at all: what reads half a file would train on half.
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(part) if out.suffix == ".parquet" else rows.write_ndjson(part)
        part.replace(out)
    except OSError as error:
        raise ValueError(f"{out}: can't be written ({error.strerror}); give another place") from error
    counts = rows.group_by("dimension", "verdict").len().sort("dimension", "verdict")
    told: dict[str, dict[str, int]] = {}
    for dimension, verdict, num in counts.iter_rows():
        told.setdefault(str(dimension), {})[str(verdict)] = int(num)
    lost = rows.filter(pl.col("chosen").is_null() | pl.col("rejected").is_null()).height
    return {"path": str(out), "pairs": rows.height, "dimensions": told, "without_media": lost}
