"""`headroom serve`: makes the avatars ready, loads the checkpoint, and serves until Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Sequence

from serving.avatar import Avatar, avatar
from serving.gateway import MOST_MESSAGE_BYTES, Gateway, make_app
from serving.talking import motion_module, talking
from store.workspace import Workspace

MOST_OFFERED = 6
ONE_CLIP_EACH = """
    SELECT clip_id FROM (
        SELECT clips.clip_id, duration_s,
               row_number() OVER (PARTITION BY coalesce(identity, clips.video_id) ORDER BY duration_s DESC, clips.clip_id) AS n
        FROM clips LEFT JOIN identities USING (clip_id)
    ) WHERE n = 1 ORDER BY duration_s DESC, clip_id LIMIT 40
"""


def serve(
    workspace: Workspace, named: Sequence[str], host: str, port: int, capacity: int | None = None,
    checkpoint: str | None = None,
) -> None:  # fmt: skip
    """`named` are clips and pictures; by default up to six people of the workspace, by their longest clips.

    Raises ValueError without a checkpoint, and for an avatar that can't be made.
    """
    import cv2
    import torch
    import uvicorn

    torch.set_num_threads(1)  # sessions share the cores, one each
    cv2.setNumThreads(1)
    module = motion_module(workspace, checkpoint)
    offered = [avatar(workspace, name) for name in named] or people_of(workspace)
    gateway = Gateway(talking(module), offered, capacity or os.cpu_count() or 1)
    names = ", ".join(a.name for a in offered)
    print(f"checkpoint {module.checkpoint}; {len(offered)} avatars: {names}", flush=True)  # noqa: T201
    print(f"open http://{host}:{port} ({gateway.capacity} sessions at a time); Ctrl-C ends it", flush=True)  # noqa: T201
    uvicorn.run(
        make_app(gateway),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        ws_max_size=2 * MOST_MESSAGE_BYTES,
    )


def people_of(workspace: Workspace) -> list[Avatar]:
    """One avatar of each person of the workspace, as far as their clips give one. Raises ValueError when none does."""
    with workspace.views() as reader:
        clips = [str(c) for c in reader.sql(ONE_CLIP_EACH)["clip_id"].to_list()]
    made: list[Avatar] = []
    why = "it has no clips"
    for clip in clips:
        if len(made) == MOST_OFFERED:
            break
        try:
            made.append(avatar(workspace, clip))
        except ValueError as error:
            why = str(error)
    if not made:
        raise ValueError(f"serve: no clip of the workspace makes an avatar ({why}); give --avatar PICTURE")
    return made
