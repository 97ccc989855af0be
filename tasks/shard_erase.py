"""Clips taken out of shards: the other clips' bytes stay as they are."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from store import shard_table
from store.workspace import Workspace
from tasks.card import as_files
from tasks.shard import for_card, index_of
from tasks.shard_set import INDEX, ShardSet, only_one, place, sha256_of


def erase_from_shards(workspace: Workspace, url: str, clip_ids: Collection[str]) -> int:
    """Rewrites the tars that hold one of the clips, their lists, the Lance tables, the index and the card; gives the number
    of shards touched. A place that is gone is no error.

    Shards that a killed run left without their list go: it would write them anew. Killed itself, it is run again.
    Raises ValueError while another process writes into the place.
    """
    shards, touched = place(workspace, url), 0
    scratch = workspace.scratch / "erasing"
    with only_one(workspace, url):
        shards.clear()
        keys = set(shards.files())
        if not keys:
            return 0
        tars = {k for k in keys if k.endswith(".tar")}
        shards.objects.delete(sorted(k for k in tars if k.removesuffix(".tar") + ".json" not in keys))
        for key in shards.lists():
            before = shards.read(key)
            assert before is not None, key
            if {*before["clips"], *before["left_out"]} & set(clip_ids):
                _rewritten(shards, key, before, clip_ids, scratch)
                touched += 1
        for table in shards.tables():
            shard_table.erase(table, clip_ids)
        _whole(shards)
        shards.objects.drop_copies()
        shutil.rmtree(scratch, ignore_errors=True)
    return touched


def _rewritten(shards: ShardSet, key: str, before: dict[str, Any], clip_ids: Collection[str], scratch: Path) -> None:
    """One shard without the clips, then its list; without a clip left, neither."""
    kept = [c for c in before["clips"] if c not in clip_ids]
    left_out = {c: why for c, why in before["left_out"].items() if c not in clip_ids}
    if not kept and not left_out:
        shards.objects.delete([key.removesuffix(".json") + ".tar", key])
        return
    ends = [*before["offsets"][1:], before["bytes"]]
    sizes = {c: e - o for c, o, e in zip(before["clips"], before["offsets"], ends, strict=True)}
    told = {
        **before,
        "clips": kept,
        "num_clips": len(kept),
        "left_out": left_out,
        "offsets": [sum(sizes[c] for c in kept[:i]) for i in range(len(kept))],
        "bytes": sum(sizes[c] for c in kept),
    }
    for name in ("weights", "durations_s"):
        if name in before:
            told[name] = [v for c, v in zip(before["clips"], before[name], strict=True) if c not in clip_ids]
    told["duration_s"] = round(sum(told["durations_s"]), 2)
    if "tar" in before and not kept:
        shards.objects.delete([told.pop("tar")["path"]])
    elif "tar" in before:
        scratch.mkdir(parents=True, exist_ok=True)
        file = scratch / "shard.tar"
        source = shards.objects.local(before["tar"]["path"], fresh=True)
        with tarfile.open(source) as old, tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as new:
            for member in old:
                if member.name.partition(".")[0] not in clip_ids:
                    new.addfile(member, old.extractfile(member))
        told["bytes"] = file.stat().st_size
        told["tar"] = {"path": before["tar"]["path"], "sha256": sha256_of(file), "bytes": told["bytes"]}
        shards.objects.put(file, before["tar"]["path"])
    shards.put(key, told)


def _whole(shards: ShardSet) -> None:
    """Index and card over the shards that are there now."""
    before = shards.read(INDEX)
    if before is None:
        return
    listed = [found for key in shards.lists() if (found := shards.read(key)) is not None]
    listed.sort(key=lambda s: (s["group"], s["number"]))
    named = {k: before[k] for k in ("format", "tier", "snapshot", "sha256", "formats")}
    told = index_of(listed, named)
    shards.put(INDEX, told)
    if shards.objects.exists("card.json"):
        card = json.loads(shards.objects.local("card.json", fresh=True).read_bytes())
        for file, data in as_files({**card, "shards": for_card(told)}).items():
            shards.objects.put_bytes(data, file)
