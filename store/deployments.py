"""Which checkpoint serves, which is a canary beside it, how it came to that, and which servers there are.

One row of the ledger for each kind of checkpoint, what makes motion and what draws it, says what is to serve; servers read
both once a second, so whoever was away catches up at its start. A row changes together with the history, in one transaction,
and only as long as nobody else has changed it meanwhile. There is one canary at a time, of either kind.

A deployment is `gates` while its figures are judged, then `canary`, and ends `serving`, `refused` (never a canary) or
`rolled back`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from store import ledger
from store.workspace import Workspace

KIND, RENDERER = "audio_to_motion", "renderer"
KINDS = (KIND, RENDERER)
"""Those that a session runs, and that have a canary."""
WARP = "the plain warp"
"""What draws where no renderer serves, in words."""
UNDER_WAY = ("gates", "canary")
ROLLBACK = "headroom deploy --rollback"
BEGAN = "a server began with it"
FORGET_SERVERS_S = 24 * 3600.0
"""A server that was not seen for so long is not coming back under its id."""


class OvertakenError(ValueError):
    """Somebody else changed what serves meanwhile."""


@dataclass(frozen=True)
class Serving:
    """What is to serve. `share` of the new sessions go to the canary; `revision` rises with each change."""

    stable: str = ""
    canary: str = ""
    share: float = 0.0
    revision: int = 0
    changed_at: float = 0.0


@dataclass(frozen=True)
class Deployment:
    """One try to bring a checkpoint into service, or back into it."""

    id: str
    checkpoint: str
    before: str
    state: str
    reason: str
    begun_at: float
    ended_at: float
    kind: str = KIND

    @property
    def name(self) -> str:
        """What people read: the id, or for the way back from the first renderer what draws without one."""
        return self.checkpoint or WARP


@dataclass(frozen=True)
class Server:
    """A running `headroom serve`, by the address that it listens on."""

    id: str
    url: str
    key: str
    pid: int
    seen_at: float


@dataclass(frozen=True)
class Soak:
    """What viewers' sessions did since a canary began to soak: {pair: sums}, of all servers."""

    begun_at: float
    sums: dict[str, dict[str, float]]


def pair_of(motion: str, renderer: str) -> str:
    """How what serves a session is known: "MOTION", or "MOTION+RENDERER" where a renderer draws; "" without a motion."""
    return f"{motion}+{renderer}" if motion and renderer else motion


def parts_of(pair: str) -> tuple[str, str]:
    """Ids of the motion and of the renderer; that one is "" for the plain warp."""
    motion, _, renderer = pair.partition("+")
    return motion, renderer


def serving(workspace: Workspace, kind: str = KIND) -> Serving:
    """Of the checkpoints that make motion, or of another kind. Raises ConnectionError when the ledger can't be read now."""
    return _serving(workspace).get(kind, Serving())


def wanted(workspace: Workspace) -> Serving:
    """Of both kinds together: `stable` and `canary` are pairs, `revision` rises with each change of either. Raises
    ConnectionError when the ledger can't be read now."""
    rows = _serving(workspace)
    motion, drawn = rows.get(KIND, Serving()), rows.get(RENDERER, Serving())
    canary, share = "", 0.0
    if motion.canary:
        canary, share = pair_of(motion.canary, drawn.stable), motion.share
    elif drawn.canary:
        canary, share = pair_of(motion.stable, drawn.canary), drawn.share
    revision, changed_at = motion.revision + drawn.revision, max(motion.changed_at, drawn.changed_at)
    return Serving(pair_of(motion.stable, drawn.stable), canary, share if canary else 0.0, revision, changed_at)


def _serving(workspace: Workspace) -> Mapping[str, Serving]:
    try:
        rows: list[dict[str, Any]] = workspace.ledger.rows(sa.select(ledger.serving))
    except sa.exc.DBAPIError as error:
        raise ConnectionError(f"ledger: can't be read now ({error.orig})") from error
    return {row["kind"]: Serving(**{k: v for k, v in row.items() if k != "kind"}) for row in rows}


def history(workspace: Workspace, kind: str | None = None) -> list[Deployment]:
    """Of all kinds, or of one; the newest first."""
    table = ledger.deployments
    query = sa.select(table).order_by(table.c.begun_at.desc(), table.c.id)
    rows = workspace.ledger.rows(query if kind is None else query.where(table.c.kind == kind))
    return [Deployment(**row) for row in rows]


def under_way(workspace: Workspace) -> Deployment | None:
    return next((d for d in history(workspace) if d.state in UNDER_WAY), None)


def begin(workspace: Workspace, checkpoint: str, kind: str = KIND) -> Deployment:
    """A new deployment, or the one of this checkpoint that is under way. Raises ValueError when another one is, of either
    kind."""
    with workspace.ledger.turn() as turn:
        found = under_way(workspace)
        if found is None:
            stable = serving(workspace, kind).stable
            found = _new(checkpoint, stable if stable != checkpoint else "", "gates", "", kind)
            turn.put(ledger.deployments, [asdict(found)])
    if found.checkpoint != checkpoint:
        raise ValueError(
            f"checkpoint {found.checkpoint} is being deployed; headroom deploy {found.checkpoint[:8]} completes it, "
            "headroom deploy --rollback ends it"
        )
    return found


def is_gated(workspace: Workspace, kind: str = KIND) -> bool:
    """Whether what serves came there by gates, now or before, and not because a server found nothing else."""
    stable = serving(workspace, kind).stable
    came = [d for d in history(workspace, kind) if d.checkpoint == stable and d.state == "serving"]
    return not came or any(not d.reason.startswith((BEGAN, ROLLBACK)) for d in came)


def first(workspace: Workspace, checkpoint: str) -> Serving:
    """What serves; a server that finds nothing that does begins with this checkpoint, and that becomes history."""
    told = serving(workspace)
    if told.stable:
        return told
    made = _new(checkpoint, "", "serving", f"{BEGAN}: none was deployed, and no gate has seen it")
    made = replace(made, ended_at=made.begun_at)
    try:
        return _change(workspace, told, replace(told, stable=checkpoint), made)
    except OvertakenError:
        return serving(workspace)


def settle(workspace: Workspace, kind: str, checkpoint: str, state: str, reason: str) -> Serving:
    """Of a kind that has no canary, "serving" or "refused" at once."""
    now = serving(workspace, kind)
    made = _new(checkpoint, now.stable, state, reason, kind)
    wanted = replace(now, stable=checkpoint) if state == "serving" else now
    return _change(workspace, now, wanted, replace(made, ended_at=made.begun_at))


def to_canary(workspace: Workspace, told: Deployment, share: float) -> Serving:
    """Gives it a share of the new sessions; again, it changes the share."""
    now = serving(workspace, told.kind)
    _expect(told, under_way(workspace))
    wanted = replace(now, canary=told.checkpoint, share=share)
    return _change(workspace, now, wanted, replace(told, state="canary"))


def promote(workspace: Workspace, told: Deployment, reason: str) -> Serving:
    """The canary serves everybody. Raises OvertakenError when it is no canary any more."""
    now = serving(workspace, told.kind)
    if now.canary != told.checkpoint:
        raise OvertakenError(f"checkpoint {told.checkpoint} is no canary any more: somebody has ended its deployment")
    wanted = replace(now, stable=told.checkpoint, canary="", share=0.0)
    return _change(workspace, now, wanted, replace(told, state="serving", reason=reason, ended_at=time.time()))


def confirm(workspace: Workspace, told: Deployment, reason: str) -> Serving:
    """What serves already serves on, by gates now. Raises OvertakenError when its deployment was ended meanwhile."""
    now = serving(workspace, told.kind)
    _expect(told, under_way(workspace))
    return _change(workspace, now, now, replace(told, state="serving", reason=reason, ended_at=time.time()))


def end(workspace: Workspace, told: Deployment, state: str, reason: str) -> Serving:
    """`refused` or `rolled back`: nobody gets it any more. Raises OvertakenError when it was ended otherwise."""
    now = serving(workspace, told.kind)
    _expect(told, under_way(workspace))
    wanted = replace(now, canary="", share=0.0) if now.canary == told.checkpoint else now
    return _change(workspace, now, wanted, replace(told, state=state, reason=reason, ended_at=time.time()))


def go_back(workspace: Workspace, kind: str | None = None) -> Deployment:
    """Ends the deployment that is under way, of whichever kind, else lets the checkpoint before serve again, of this kind or
    of the one that was deployed last, and gives what became of it. Before the first renderer was the plain warp ("").

    Raises ValueError when nothing was deployed, when there was none before, and when that was done already.
    """
    open_one = under_way(workspace)
    if open_one is not None:
        end(workspace, open_one, "rolled back", ROLLBACK)
        return next(d for d in history(workspace) if d.id == open_one.id)
    last = previous(workspace, kind)
    now = serving(workspace, last.kind)
    back = _new(last.before, now.stable, "serving", f"{ROLLBACK}: back from {now.stable or WARP}", last.kind)
    back = replace(back, ended_at=back.begun_at)
    _change(workspace, now, replace(now, stable=last.before, canary="", share=0.0), back)
    return back


def previous(workspace: Workspace, kind: str | None = None) -> Deployment:
    """The deployment that made what serves now serve, of a kind or of the one that was deployed last. Raises ValueError when
    there is no way back from it."""
    kinds = KINDS if kind is None else (kind,)
    last = next((d for d in history(workspace) if d.kind in kinds and d.state == "serving"), None)
    # Without a renderer the warp draws; without a motion there is nothing to see.
    if (
        last is None
        or (last.kind == KIND and not last.before)
        or last.checkpoint != serving(workspace, last.kind).stable
    ):
        raise ValueError("rollback: no checkpoint served before; headroom deploy shows what was deployed")
    if last.reason.startswith(ROLLBACK):
        raise ValueError(
            f"rollback: {last.name} serves by a roll-back already; headroom deploy {last.before[:8]} takes the other again"
        )
    return last


def soaked(workspace: Workspace, told: Deployment) -> Soak | None:
    """How far a deployment's soak is; None before it began."""
    table = ledger.soaks
    rows = workspace.ledger.rows(sa.select(table).where(table.c.deployment == told.id))
    return Soak(rows[0]["begun_at"], json.loads(rows[0]["sums"])) if rows else None


def keep_soak(workspace: Workspace, told: Deployment, soak: Soak) -> None:
    """Raises OvertakenError when the deployment was ended meanwhile."""
    _expect(told, under_way(workspace))
    row = {"deployment": told.id, "begun_at": soak.begun_at, "sums": json.dumps(soak.sums)}
    workspace.ledger.put(ledger.soaks, [row])


def announce(workspace: Workspace, server: Server) -> None:
    """Says that a server is there. Raises ConnectionError when the ledger can't be written now."""
    table = ledger.servers
    try:
        workspace.ledger.put(table, [asdict(replace(server, seen_at=time.time()))])
        workspace.ledger.drop(table.delete().where(table.c.seen_at < time.time() - FORGET_SERVERS_S))
    except sa.exc.DBAPIError as error:
        raise ConnectionError(f"ledger: can't be written now ({error.orig})") from error


def withdraw(workspace: Workspace, server: Server) -> None:
    workspace.ledger.drop(ledger.servers.delete().where(ledger.servers.c.id == server.id))


def servers(workspace: Workspace) -> list[Server]:
    """Those that announced themselves; one that was killed is among them until its row is too old."""
    return [Server(**row) for row in workspace.ledger.rows(sa.select(ledger.servers).order_by(ledger.servers.c.id))]


def _change(workspace: Workspace, expected: Serving, wanted: Serving, deployment: Deployment) -> Serving:
    """Both rows or neither. Only the holder of the turn writes them, so what is read within it is what stands."""
    kind = deployment.kind
    made = replace(wanted, revision=expected.revision + 1, changed_at=time.time())
    with workspace.ledger.turn() as turn:
        if serving(workspace, kind).revision != expected.revision:
            raise OvertakenError("what serves was changed meanwhile by somebody else; headroom deploy shows it")
        turn.put(ledger.serving, [{"kind": kind, **asdict(made)}])
        turn.put(ledger.deployments, [asdict(deployment)])
    return made


def _expect(told: Deployment, found: Deployment | None) -> None:
    if found is None or found.id != told.id:
        raise OvertakenError(
            f"the deployment of {told.checkpoint} was ended by somebody else; headroom deploy shows it"
        )


def _new(checkpoint: str, before: str, state: str, reason: str, kind: str = KIND) -> Deployment:
    return Deployment(secrets.token_hex(6), checkpoint, before, state, reason, time.time(), 0.0, kind)
