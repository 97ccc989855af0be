"""What a source would yield, told from a sample of it that was curated: before anything is spent on the whole.

The sample is drawn evenly over folders, every file with the same probability, so that a mean over it is one over the
source. Shares have Wilson's interval, hours and costs a bootstrap interval over files; both are of 95 %.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from store import ledger as tables
from store.record import quoted
from store.workspace import Reader, Workspace
from tasks import tier as tiers
from tasks.ingest import Source, find_sources
from tasks.plan import wanted_signals
from tasks.signals import discover

NORMAL_95 = 1.959964
ROUNDS = 2000
TOP = 8


def sources(path: str) -> list[Source]:
    """The video files under a path, sorted. Raises ValueError when there is none."""
    found = sorted((s for s in find_sources(path) if isinstance(s, Source)), key=lambda s: s.uri)
    if not found:
        raise ValueError(f"{path}: holds no video file; give a folder, a file or an s3:// prefix of footage")
    return found


def sampled(found: Sequence[Source], num: int, seed: int) -> list[Source]:
    """`num` of the files, or all: at equal steps through the folders, in a shuffled order within each."""
    draw = np.random.default_rng(seed)
    folders: dict[str, list[Source]] = {}
    for source in found:
        folders.setdefault(source.uri.rsplit("/", 1)[0], []).append(source)
    order = [of[i] for _, of in sorted(folders.items()) for i in draw.permutation(len(of))]
    if num >= len(order):
        return order
    places = (np.arange(num) + draw.random()) * len(order) / num
    return [order[int(p)] for p in places]


def wilson(hits: int, num: int) -> tuple[float, float, float]:
    """(share, low, high) of hits among num tries, num > 0. Source: Wilson, JASA 1927."""
    share, z2 = hits / num, NORMAL_95**2
    centre = (share + z2 / (2 * num)) / (1 + z2 / num)
    away = NORMAL_95 / (1 + z2 / num) * np.sqrt(share * (1 - share) / num + z2 / (4 * num * num))
    return share, max(0.0, float(centre - away)), min(1.0, float(centre + away))


def total(values: Sequence[float], num_all: int, seed: int) -> dict[str, float]:
    """{"value", "low", "high"}: the sum over all files that a sample's values, one a file, tell of."""
    told = np.asarray(values, float)
    if len(told) == num_all:
        return dict.fromkeys(("value", "low", "high"), float(told.sum()))
    drawn = np.random.default_rng(seed).integers(0, len(told), (ROUNDS, len(told)))
    low, high = np.quantile(told[drawn].mean(axis=1), [0.025, 0.975]) * num_all
    return {"value": float(told.mean() * num_all), "low": float(low), "high": float(high)}


def forecast(
    workspace: Workspace, found: Sequence[Source], sample: Sequence[Source], *, seed: int = 0
) -> dict[str, Any]:
    """What the curated sample tells of all files found: the object of `survey --json`, without the preview."""
    at = {row["uri"]: row["video_id"] for row in workspace.ledger.rows(tables.sources.select())}
    files = [at[s.uri] for s in sample]
    num, num_all = len(files), len(found)
    with workspace.views() as reader:
        clips = dict(reader.sql("SELECT video_id, sum(duration_s) / 3600 FROM clips GROUP BY ALL").iter_rows())
        footage = dict(reader.sql("SELECT video_id, coalesce(duration_s, 0) / 3600 FROM videos").iter_rows())
        cost = dict(
            reader.sql(
                """SELECT video_id, (coalesce(normalise_cpu_s, 0) + coalesce(cpu_s, 0)) / 3600 FROM videos LEFT JOIN
                (SELECT video_id, sum(cpu_s) AS cpu_s FROM log GROUP BY ALL) USING (video_id)"""
            ).iter_rows()
        )
        gpu = gpu_signals()
        at_work = (
            dict(
                reader.sql(
                    f"SELECT video_id, sum(coalesce(model_s, 0)) / 3600 FROM log WHERE signal IN ({quoted(gpu)}) GROUP BY ALL"
                ).iter_rows()
            )
            if gpu
            else {}
        )
        rejected, metadata = _reasons(reader, files), _metadata(reader, files)
    # Without a clip nothing can be asked of a tier, and it holds nothing.
    listed = tiers.listed(workspace) if clips else [{"tier": n, "clips": 0} for n in sorted(tiers.sources(workspace))]
    judged = [str(t["tier"]) for t in listed if t["clips"] is not None]
    members = {"any clip": clips} | {name: _hours(workspace, name) if clips else {} for name in judged}
    yields = []
    for name, hours in members.items():
        share, low, high = wilson(sum(f in hours for f in files), num)
        files_told = {"value": share, "low": low, "high": high}
        yields.append(
            {"tier": name, "files": files_told, "hours": total([hours.get(f, 0.0) for f in files], num_all, seed)}
        )
    return {
        "files": num_all,
        "bytes": sum(s.num_bytes for s in found),
        "sample": num,
        "seed": seed,
        "hours": total([footage.get(f, 0.0) for f in files], num_all, seed),
        "cpu_hours": total([cost.get(f, 0.0) for f in files], num_all, seed),
        "gpu_hours": total([at_work.get(f, 0.0) for f in files], num_all, seed),
        "gpu_signals": gpu,
        "gpu_device": device() if gpu else "",
        "yields": yields,
        "rejected": rejected,
        "not_judged": {t["tier"]: t.get("error", "its signals are not here") for t in listed if t["clips"] is None},
        "clauses": [c for name in judged if clips for c in _clauses(workspace, name)],
        "metadata": metadata,
    }


def gpu_signals() -> list[str]:
    """The signals that are computed now, by default or by the backends that the settings choose, and ask for a GPU."""
    known = discover()
    return [n for n in wanted_signals(None) if known[n].spec.resources.gpu_gib > 0]


def device() -> str:
    """Where the models of such signals ran: "cuda", or "cpu" on a machine without a GPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _hours(workspace: Workspace, name: str) -> dict[str, float]:
    """By video: hours of its clips in the tier."""
    inside = f"clip_id IN (SELECT clip_id FROM {name})"
    query = f"SELECT video_id, sum(duration_s) / 3600 AS hours FROM clips WHERE {inside} GROUP BY ALL"
    return dict(tiers.query(workspace, query).iter_rows())


def _clauses(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """The clauses that take most clips out of the tier, after those before them."""
    rows = [c for c in tiers.counted(workspace, name, thresholds=False).clauses if c.removed_after]
    rows.sort(key=lambda c: -c.removed_after)
    return [{"tier": name, "clause": c.clause.text, "clips": c.removed_after} for c in rows[:3]]


def _reasons(reader: Reader, files: Sequence[str]) -> list[dict[str, Any]]:
    """Why files yield no clip, the commonest reason first; numbers in it are left out, so that like counts with like."""
    rows = reader.sql(
        """SELECT v.video_id, CASE WHEN state = 'quarantined' THEN coalesce(v.stage, '') ELSE CASE WHEN prefilter_reason IS
        NOT NULL THEN 'prefilter' ELSE 'clip' END END, coalesce(prefilter_reason, v.reason, p.reason, 'no clip fits')
        FROM videos v LEFT JOIN (SELECT video_id, min(reason) AS reason FROM clipping WHERE clip_id IS NULL GROUP BY ALL) p
        USING (video_id) WHERE v.video_id NOT IN (SELECT video_id FROM clips)"""
    )
    why = {video: (stage, re.sub(r"\d+(\.\d+)?", "#", text)) for video, stage, text in rows.iter_rows()}
    counts = Counter(why[f] for f in files if f in why)
    return [{"stage": s, "reason": r, "files": n, "ratio": n / len(files)} for (s, r), n in counts.most_common(TOP)]


def _metadata(reader: Reader, files: Sequence[str]) -> list[dict[str, Any]]:
    """By field: of how many files it is told, how many values it has, and what speaks against relying on it."""
    rows = {
        row["video_id"]: row
        for row in reader.sql(
            """SELECT v.video_id, name, licence, consent, told_by, least(source_width_px, source_height_px) AS side_px
            FROM videos v LEFT JOIN rights USING (video_id)"""
        ).iter_rows(named=True)
    }
    held = [rows[f] for f in files]
    made = []
    for field in ("licence", "consent"):
        values = [r[field] for r in held if r["told_by"] == "sidecar" and r[field] not in (None, "unknown")]
        made.append(_told(field, len(values), len(held), len(set(values)), ""))
    broken = sum(r["told_by"] not in (None, "sidecar", "default") for r in held)
    sidecars = sum(r["told_by"] != "default" for r in held)
    made.append(_told("sidecar", sidecars, len(held), sidecars, f"{broken} can't be used" if broken else ""))
    sizes = [(int(m[1]), r["side_px"]) for r in held if (m := re.search(r"(?<!\d)(\d{3,4})p(?![a-z0-9])", r["name"]))]
    wrong = sum(side is None or abs(told - side) > 0.1 * told for told, side in sizes)
    note = f"{wrong} of them are not that large" if wrong else ""
    made.append(_told("resolution in the name", len(sizes), len(held), len({t for t, _ in sizes}), note))
    words = [w for r in held if (w := " ".join(re.findall(r"[^\W\d_]{3,}", r["name"].rsplit(".", 1)[0])).lower())]
    made.append(_told("words in the name", len(words), len(held), len(set(words)), ""))
    copies = len(files) - len(set(files))
    made.append(_told("content", len(files), len(files), len(set(files)), f"{copies} are copies" if copies else ""))
    return made


def _told(field: str, told: int, of: int, values: int, wrong: str) -> dict[str, Any]:
    """`verdict`: "absent", "the same everywhere" (so it tells no file from another), "contradicted", or "informative"."""
    verdict = "absent" if not told else "contradicted" if wrong else "informative"
    if verdict == "informative" and values == 1 and told > 1:
        verdict = "the same everywhere"
    return {"field": field, "told": told, "of": of, "values": values, "wrong": wrong, "verdict": verdict}
