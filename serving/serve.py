"""`headroom serve`: makes the avatars ready, loads the checkpoint, and serves until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from functools import partial

from serving.avatar import Avatar, avatar
from serving.checkpoints import Checkpoints
from serving.engine import Chunk, Pipeline
from serving.follow import follow
from serving.gateway import make_app
from serving.sessions import Gateway
from serving.talking import motion_module, talking
from serving.viewer import MOST_MESSAGE_BYTES
from store import deployments
from store.deployments import Server
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
    """`named` are clips and pictures; by default up to six people of the workspace, by their longest clips. `port` 0 takes
    any free one. With a checkpoint it serves that one and follows nothing; else what `headroom deploy` says.

    Raises ValueError without a checkpoint, for an avatar that can't be made, and for a port that is taken.
    """
    import cv2
    import torch
    import uvicorn

    torch.set_num_threads(1)  # sessions share the cores, one each
    cv2.setNumThreads(1)
    held = held_by(workspace, checkpoint)
    offered = [avatar(workspace, name) for name in named] or people_of(workspace)
    gateway = Gateway(held, offered, capacity or os.cpu_count() or 1, secrets.token_urlsafe(24))
    with listening(host, port) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        beside = None if checkpoint else partial(follow, gateway, workspace, server_at(address, gateway))
        names = ", ".join(a.name for a in offered)
        print(f"checkpoint {held.serving}; {len(offered)} avatars: {names}", flush=True)  # noqa: T201
        print(f"open {address} ({gateway.capacity} sessions at a time); Ctrl-C ends it", flush=True)  # noqa: T201
        told = uvicorn.Config(
            make_app(gateway, beside), log_level="warning", access_log=False, ws_max_size=2 * MOST_MESSAGE_BYTES
        )
        uvicorn.Server(told).run(sockets=[listener])


def held_by(workspace: Workspace, checkpoint: str | None = None) -> Checkpoints:
    """The checkpoint named, else what is deployed; a workspace that has deployed none begins with the latest one."""

    def load(name: str) -> Pipeline[Chunk]:
        return talking(motion_module(workspace, name))

    if checkpoint is not None:
        return Checkpoints(load(checkpoint), load)
    told = deployments.serving(workspace)
    if name := told.stable or told.canary:
        return Checkpoints(load(name), load)
    module = motion_module(workspace)
    told = deployments.first(workspace, module.checkpoint)
    first = talking(module) if told.stable == module.checkpoint else load(told.stable)
    return Checkpoints(first, load)


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound here, so that its port is known before anybody is told of it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ValueError(f"serve: can't listen on {host}:{port} ({error.strerror}); give another --port") from error
    return made


def server_at(address: str, gateway: Gateway) -> Server:
    """As others reach it: one that listens everywhere is told by this machine's name."""
    told = address.replace("0.0.0.0", socket.gethostname())  # noqa: S104 - it is replaced
    return Server(secrets.token_hex(6), told, gateway.probe_key, os.getpid(), 0.0)


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
