"""Clips taken out of shards that were exported: the other clips' bytes stay as they are."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks.export import as_json, only_one, put, sha256_of


def erase_from_export(out: Path, clip_ids: Collection[str]) -> int:
    """Rewrites the shards that hold one of the clips, their lists and the manifest; gives the number of shards touched.

    Shards that a killed export left without their list go: it would write them anew. Killed itself, it is run again.
    Raises ValueError while an export into the folder is running.
    """
    touched = 0
    with only_one(out):
        for left in (*out.glob(".part-*"), *out.glob("*/.part-*")):
            left.unlink()
        for shard in sorted(out.glob("*/*.tar")):
            if not shard.with_suffix(".json").is_file():
                shard.unlink()
        for listed in sorted(out.glob("*/*.json")):
            before: dict[str, Any] = json.loads(listed.read_text())
            if set(before["clips"]) & set(clip_ids):
                _rewritten(listed, before, clip_ids)
                touched += 1
        manifest = out / "manifest.json"
        if touched and manifest.is_file():
            put(manifest, as_json(_manifest(out, json.loads(manifest.read_text()))))
    return touched


def _rewritten(listed: Path, before: dict[str, Any], clip_ids: Collection[str]) -> None:
    """One shard without the clips, then its list; without a clip left, neither."""
    shard = listed.with_suffix(".tar")
    kept = [c for c in before["clips"] if c not in clip_ids]
    if not kept:
        shard.unlink(missing_ok=True)
        listed.unlink()
        return
    part = shard.with_name(f".part-{shard.name}")
    duration_s = 0.0
    with tarfile.open(shard) as source, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as target:
        for member in source:
            clip, _, extension = member.name.partition(".")
            if clip in clip_ids:
                continue
            data = source.extractfile(member)
            assert data is not None, member.name
            if extension == "json":
                duration_s += float(json.loads(data.read())["span"]["duration_s"])
                data.seek(0)
            target.addfile(member, data)
    part.replace(shard)
    told = {"sha256": sha256_of(shard), "bytes": shard.stat().st_size, "num_clips": len(kept), "clips": kept}
    if "weights" in before:
        told["weights"] = [w for c, w in zip(before["clips"], before["weights"], strict=True) if c not in clip_ids]
    put(listed, as_json({**before, **told, "duration_s": round(duration_s, 2)}))


def _manifest(out: Path, before: dict[str, Any]) -> dict[str, Any]:
    """The manifest over the shards that are there now."""
    shards = []
    for old in before["shards"]:
        listed = (out / old["path"]).with_suffix(".json")
        if listed.is_file():
            now = json.loads(listed.read_text())
            shards.append({k: now[k] for k in old})
    return {**before, "shards": shards, "num_shards": len(shards), "num_clips": sum(s["num_clips"] for s in shards)}
