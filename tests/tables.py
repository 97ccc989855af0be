"""Whole workspaces held against each other, row for row; times of computing and places on disk aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.workspace import Workspace, open_workspace

ASIDE = (
    "computed_at",
    "created_at",
    "ingested_at",
    "not_before",
    "uri",
    "proxy_uri",
    "audio_uri",
    "origin",
    "normalise_cpu_s",
)


def contents(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Every table but the log, which also tells of computations whose rows were never committed twice."""
    manifest = workspace.ledger.manifest()
    found = {}
    for table in sorted(manifest.versions):
        if table == "log":
            continue
        rows = workspace.record.read(manifest, table).to_pylist()
        kept = [{k: v for k, v in row.items() if not k.endswith(ASIDE)} for row in rows]
        found[table] = sorted(kept, key=lambda r: str(r.get("key") or r.get("clip_id") or r["video_id"]))
    return found


def differences(first: Path, second: Path) -> list[str]:
    """Human-readable differences of two workspaces; empty when they hold the same."""
    return contents_differ(contents(open_workspace(first)), contents(open_workspace(second)))


def contents_differ(one: dict[str, list[dict[str, Any]]], two: dict[str, list[dict[str, Any]]]) -> list[str]:
    told = [f"table {t} is in one only" for t in sorted(set(one) ^ set(two))]
    for table in sorted(set(one) & set(two)):
        if len(one[table]) != len(two[table]):
            told.append(f"{table}: {len(one[table])} rows against {len(two[table])}")
            continue
        for a, b in zip(one[table], two[table], strict=True):
            told += [
                f"{table}: {k} is {a.get(k)!r} against {b.get(k)!r}" for k in sorted({*a, *b}) if a.get(k) != b.get(k)
            ]
    return told[:20]


def doubled(workspace: Workspace) -> list[str]:
    """Keys that more than one row of a table has."""
    from store.schema import KEYS

    manifest = workspace.ledger.manifest()
    told = []
    for table in manifest.versions:
        if table != "log":
            keys = workspace.record.read(manifest, table)[KEYS.get(table, "clip_id")].to_pylist()
            told += [f"{table}: {k}" for k in set(keys) if keys.count(k) > 1]
    return told
