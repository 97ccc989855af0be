"""`headroom serve`: makes the avatars ready, starts the workers, and serves until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence

from infra.proxies import checked_proxies
from serving.avatar import Avatar, avatar
from serving.checkpoints import NONE_YET, RECIPE, WARP_ALONE
from serving.clients import Share
from serving.ends import EndingServer, SocketEnd, little_unsent
from serving.follow import follow
from serving.gateway import make_app
from serving.ice import ice_of
from serving.routing import Gateway
from serving.rtmp import Rtmp
from serving.supervise import keep, together
from store import deployments, registry
from store.deployments import Server
from store.workspace import Workspace
from tasks.media.transcode import ffmpeg_binary

MOST_OFFERED = 6
MOST_WORKERS = 2
"""Unless another number is asked for: each takes about half a GB."""
MOST_MESSAGE = 1 << 20
ONE_CLIP_EACH = """
    SELECT clip_id FROM (
        SELECT clips.clip_id, duration_s,
               row_number() OVER (PARTITION BY coalesce(identity, clips.video_id) ORDER BY duration_s DESC, clips.clip_id) AS n
        FROM clips LEFT JOIN identities USING (clip_id)
    ) WHERE n = 1 ORDER BY duration_s DESC, clip_id LIMIT 40
"""


def serve(
    workspace: Workspace, named: Sequence[str], host: str, port: int, capacity: int | None = None,
    checkpoint: str | None = None, num_workers: int | None = None, rtmp: str | None = None,
    renderer: str | None = None, share: Share | None = None, proxies: Sequence[str] = (),
) -> None:  # fmt: skip
    """`named` are clips and pictures; by default up to six people of the workspace, by their longest clips. `port` 0 takes
    any free one. With a checkpoint it serves that one and follows nothing; else what `headroom deploy` says. `capacity`
    sessions (by default one a core) are shared out among `num_workers` processes of this machine, by default two, so that one
    takes over when the other dies; with 0 it waits for workers from elsewhere (`headroom worker`). `rtmp` is a media server's
    address to which each session is published, "{session}" in it being the session's id. `renderer` is what this machine's
    workers draw with, whatever is deployed; by default what is. `share` is what one client may take, by its address, which
    `proxies` are believed to tell.

    Raises ValueError without a checkpoint, for an avatar that can't be made, for a port that is taken, for ICE servers or
    proxies that are none, and when no worker can start.
    """
    import uvicorn

    servers, trusted = ice_of(workspace.settings), checked_proxies(proxies)
    check_there_is_one(workspace, checkpoint)
    if renderer and renderer != WARP_ALONE:
        registry.checkpoint_row(workspace, renderer)
    offered = [avatar(workspace, name) for name in named] or people_of(workspace)
    gateway = Gateway(offered, secrets.token_urlsafe(24), published_to(rtmp) if rtmp else None, share or Share())
    failures: list[ValueError] = []
    with little_unsent(listening(host, port)) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"

        async def run() -> None:
            try:
                await _run(gateway, workspace, address, checkpoint, shares, renderer)
            except ValueError as error:
                failures.append(error)
                server.should_exit = True

        shares = shared_out(capacity or os.cpu_count() or 1, MOST_WORKERS if num_workers is None else num_workers)
        app = make_app(gateway, run, ice_servers=servers, proxies=trusted)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, ws=SocketEnd, ws_max_size=MOST_MESSAGE,
            proxy_headers=False,  # the app itself knows whom to believe
        )  # fmt: skip
        server = EndingServer(config, gateway)
        server.run(sockets=[listener])
    if failures:
        raise failures[0]


async def _run(
    gateway: Gateway, workspace: Workspace, address: str, checkpoint: str | None, shares: Sequence[int],
    renderer: str | None = None,
) -> None:  # fmt: skip
    """Keeps the workers up, says when the first is there, and follows the ledger from then on."""

    async def told() -> None:
        if not shares:
            print(f"{address} waits for workers: headroom worker {address}", flush=True)  # noqa: T201
        await gateway.came.wait()
        serving = "; ".join(sorted({_named(w.state["serving"]) for w in gateway.workers.values()}))
        names = ", ".join(a.name for a in gateway.avatars.values())
        print(f"checkpoint {serving}; {len(gateway.avatars)} avatars: {names}", flush=True)  # noqa: T201
        print(f"open {address} ({sum(shares) or gateway.capacity} sessions at a time); Ctrl-C ends it", flush=True)  # noqa: T201
        if checkpoint is None:
            stable = (await asyncio.to_thread(deployments.serving, workspace)).stable
            if not await asyncio.to_thread(deployments.is_gated, workspace):
                print(f"no gate has seen checkpoint {stable}: headroom deploy {stable[:8]} judges it", flush=True)  # noqa: T201
            await follow(gateway, workspace, server_at(address, gateway))

    await together(keep(gateway, workspace, local(address), checkpoint, shares, renderer), told())


def _named(pair: str) -> str:
    motion, renderer = deployments.parts_of(pair)
    return f"{motion}, drawn by {renderer or deployments.WARP}"


def published_to(url: str) -> Callable[[str], Rtmp]:
    """What hands a session on. Raises ValueError for an address that is no RTMP server's, or the same for all sessions."""
    if not url.startswith(("rtmp://", "rtmps://")) or "{session}" not in url:
        raise ValueError(
            f"serve: --rtmp {url}: must be rtmp://HOST/APP/{{session}}, the last part being each session's id"
        )
    return lambda session: Rtmp(url.replace("{session}", session), ffmpeg_binary())


def shared_out(capacity: int, num_workers: int) -> list[int]:
    """Sessions of each worker; there are no more workers than sessions."""
    num = min(num_workers, capacity)
    return [capacity // num + (n < capacity % num) for n in range(num)]


def local(address: str) -> str:
    """As this machine's own workers reach it."""
    return address.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")


def check_there_is_one(workspace: Workspace, checkpoint: str | None) -> None:
    """Raises ValueError when the checkpoint named, what is deployed, or any at all is missing."""
    if checkpoint is None and deployments.serving(workspace).stable:
        return
    try:
        registry.checkpoint_row(workspace, checkpoint or RECIPE)
    except ValueError as error:
        if checkpoint is not None:
            raise
        raise ValueError(NONE_YET.format(error=error)) from error


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
