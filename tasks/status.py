"""The state of a workspace at one manifest, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from store.ledger import listed, sources
from store.workspace import Reader, Workspace
from tasks import promote, signal_counts, tier
from tasks.backlog import backlog
from tasks.clipping import ClipParams
from tasks.failed import failed
from tasks.ingest import path_of
from tasks.wanted import asked_for


def footage(reader: Reader) -> dict[str, Any]:
    """{"videos": {state: n}, "clips": n, "hours": x}."""
    states = reader.sql("SELECT state, count(*) FROM videos GROUP BY ALL ORDER BY ALL")
    clips = reader.sql("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM clips").row(0)
    rejected = reader.sql("SELECT count(*) FROM videos WHERE prefilter_reason IS NOT NULL").item()
    unclipped = reader.sql("SELECT count(*) FROM videos WHERE state = 'done' AND stage = 'clip'").item()
    videos = {"done": 0, "quarantined": 0, "new": 0, **dict(states.iter_rows())}
    return {
        "videos": {**videos, "rejected_by_prefilter": int(rejected), "without_clips": int(unclipped)},
        "clips": int(clips[0]),
        "hours": round(float(clips[1]), 4),
    }


def quarantined(workspace: Workspace, paths: Sequence[str] = ()) -> list[str]:
    """Names of the quarantined videos: of those that lie under one of the paths; without paths, of all."""
    with workspace.views() as reader:
        names = dict(reader.sql("SELECT video_id, name FROM videos WHERE state = 'quarantined'").iter_rows())
    if paths:
        roots = [path_of(p) for p in paths]
        roots += [r["uri"] for r in workspace.ledger.rows(listed.select().where(listed.c.list.in_(roots)))]
        found = workspace.ledger.rows(sources.select().where(sources.c.video_id.in_(names)))
        under = {r["video_id"] for r in found if any(f"{r['uri']}/".startswith(f"{p.rstrip('/')}/") for p in roots)}
        names = {video_id: name for video_id, name in names.items() if video_id in under}
    return sorted(names.values())


def identities(reader: Reader) -> dict[str, int]:
    """{"people": n, "clips": n}: people told apart by their faces, and the clips that show one of them."""
    people, clips = reader.sql("SELECT count(DISTINCT identity), count(*) FROM identities").row(0)
    return {"people": int(people), "clips": int(clips)}


def pairs(reader: Reader) -> dict[str, int]:
    """{"pairs": n, "people": n}: reference pairs, and the people who are seen in two places."""
    num, people = reader.sql("SELECT count(*), count(DISTINCT identity) FROM pairs").row(0)
    return {"pairs": int(num), "people": int(people)}


def duplicates(reader: Reader) -> dict[str, int]:
    """{"clusters": n, "clips": n, "copies": n}: groups of near-duplicates, the clips in them, and those not kept."""
    row = reader.sql(
        """SELECT count(DISTINCT cluster), count(cluster), count(*) FILTER (WHERE best IS NOT NULL) FROM duplicates"""
    ).row(0)
    return dict(zip(("clusters", "clips", "copies"), map(int, row), strict=True))


def labels(reader: Reader) -> dict[str, int]:
    """{"clips": n, "flagged": n}: clips that have a label by people, and those of them with a bad case."""
    clips, flagged = reader.sql("SELECT count(*), count(*) FILTER (WHERE num_flags > 0) FROM labels").row(0)
    return {"clips": int(clips), "flagged": int(flagged)}


def broken(reader: Reader) -> list[dict[str, str]]:
    """{"name", "reason"} of each quarantined video."""
    return reader.sql("SELECT name, reason FROM videos WHERE state = 'quarantined' ORDER BY name, video_id").to_dicts()


def status(workspace: Workspace) -> dict[str, Any]:
    """Videos by state, those that are quarantined, clips, hours, identities, pairs, duplicates, labels, signals by name,
    those that are asked for, candidates (the fields of tasks.promote.State), backlog, failed rows by reason (the fields of
    tasks.failed.Failed), tiers, clipping: the object of `headroom status --json`."""
    with workspace.views() as reader:
        counts = signal_counts.counts(reader)
        run = reader.manifest.clipping_run
        return {
            "workspace": str(workspace.settings.workspace),
            "manifest": reader.manifest.id,
            **footage(reader),
            "quarantined": broken(reader),
            "identities": identities(reader),
            "pairs": pairs(reader),
            "duplicates": duplicates(reader),
            "labels": labels(reader),
            "signals": {name: asdict(of) for name, of in counts.items()},
            "asked_for": sorted(asked_for(workspace)),
            "candidates": [promote.to_dict(s) for s in promote.states(workspace, reader)],
            "backlog": backlog(workspace, reader, {name: of.stale for name, of in counts.items()}),
            "failed": [asdict(row) for row in failed(reader, counts)],
            "tiers": tier.listed(workspace, reader),
            "clipping": {
                "run": run,
                "default": ClipParams().fingerprint,
                "is_default": run in ("", ClipParams().fingerprint),
            },
        }
