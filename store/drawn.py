"""Videos that evaluations drew of held-out clips, beside the checkpoint that drew them: `checkpoints/ID/drawn/NAME/`.

In the folder lie a video a clip, `CLIP.mp4`, a sheet of stills of all of them, and `drawn.json`, which says what they are and what
they measured. NAME is the snapshot, and the renderer where one drew for a motion. They show people of the clips: an erasure drops the
videos of its clips and every sheet that shows one; `headroom evaluate` draws the others' sheet anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from store.ledger import checkpoints as checkpoints_table
from store.workspace import Workspace

SHEET, ABOUT = "sheet.jpg", "drawn.json"


def folder_of(checkpoint: str, snapshot: str, renderer: str = "") -> str:
    return f"checkpoints/{checkpoint}/drawn/{snapshot}{f'-{renderer}' if renderer else ''}"


def video_key(folder: str, clip_id: str) -> str:
    return f"{folder}/{clip_id}.mp4"


def sheet_key(folder: str) -> str:
    return f"{folder}/{SHEET}"


def drawn_by(workspace: Workspace, checkpoint: str) -> list[dict[str, Any]]:
    """What evaluations drew with a checkpoint: each `drawn.json`, with "folder", of "clips" those whose video is there, and as
    "sheet" the key of the sheet, "" without."""
    keys = {key for key, _ in workspace.objects.under(f"checkpoints/{checkpoint}/drawn")}
    found = []
    for key in sorted(k for k in keys if k.endswith(f"/{ABOUT}")):
        told = json.loads(workspace.objects.local(key, fresh=True).read_bytes())
        folder = key.removesuffix(f"/{ABOUT}")
        there = [c for c in told["clips"] if video_key(folder, c["clip_id"]) in keys]
        sheet = sheet_key(folder)
        found.append({**told, "folder": folder, "clips": there, "sheet": sheet if sheet in keys else ""})
    return found


def put(workspace: Workspace, folder: str, about: Mapping[str, Any], videos: Mapping[str, Path], sheet: bytes) -> None:
    """Takes the place of what was drawn there before. Whom the pictures show is told before there is one, so that an erasure
    finds them whenever this is cut off. `about` has "clips", each with "clip_id"; videos are moved in, by clip."""
    workspace.objects.delete([key for key, _ in workspace.objects.under(folder) if not key.endswith(ABOUT)])
    text = json.dumps(dict(about), sort_keys=True, indent=1).encode()
    workspace.objects.put_bytes(text, f"{folder}/{ABOUT}")
    for clip_id, file in videos.items():
        workspace.objects.put(file, video_key(folder, clip_id))
    workspace.objects.put_bytes(sheet, sheet_key(folder))


def videos_of(workspace: Workspace, clip_id: str) -> list[dict[str, Any]]:
    """The videos that show a clip: {"checkpoint", "uri"}."""
    return [
        {"checkpoint": checkpoint, "uri": workspace.objects.uri(video_key(of["folder"], clip_id))}
        for checkpoint in _checkpoints(workspace)
        for of in drawn_by(workspace, checkpoint)
        if any(c["clip_id"] == clip_id for c in of["clips"])
    ]


def drop(workspace: Workspace, clip_ids: Collection[str]) -> None:
    """Deletes the videos of clips and the sheets that show one; the other videos stay. Before `drawn.json` is redacted."""
    for checkpoint in _checkpoints(workspace):
        keys = [key for key, _ in workspace.objects.under(f"checkpoints/{checkpoint}/drawn")]
        going = [key for key in keys if Path(key).stem in clip_ids]
        for key in (k for k in keys if k.endswith(f"/{ABOUT}")):
            told = json.loads(workspace.objects.local(key, fresh=True).read_bytes())
            if any(c["clip_id"] in clip_ids for c in told["clips"]):
                going.append(sheet_key(key.removesuffix(f"/{ABOUT}")))
        workspace.objects.delete(key for key in going if key in keys)


def _checkpoints(workspace: Workspace) -> list[str]:
    rows = workspace.ledger.rows(checkpoints_table.select().order_by(checkpoints_table.c.created_at))
    return [str(row["id"]) for row in rows]
