"""`headroom deploy`: a checkpoint from the registry into service, or not, by gates and a canary; plain functions.

What makes motion and what draws it, a renderer, go the same way. Gates on its evaluation come first. Then it is a canary:
servers load it beside what serves and give it a share of the new sessions, while probes say known speech through both. It is
promoted or rolled back by what they measured. Where it stands lies in the ledger (store/deployments.py): killed at any moment,
the same command comes to the same end. flows/deploy_flow.py runs the steps as a Prefect flow.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from flows import deploy_gates, deploy_probe, deploy_renderer, deploy_soak, renderer_beside
from flows.deploy_gates import Gate, failures
from flows.deploy_servers import followed, reached, servers_of
from modeling.made_motion import idle_of, network, refuse_not_live
from modeling.recipes.renderer import VARIANTS as RENDERERS
from store import deployments, registry
from store.deployments import KIND, RENDERER, WARP, Deployment, Server
from store.workspace import Workspace, open_workspace

SHARE = 0.1
MOST_SHARE = 0.5
SPEECH_S = 6.0
LOOKS = 3
"""When nothing but times fails, the machine may have been busy: it is looked at again."""
SEEDS = (0, 1, 2)
"""Of probes. What is seen of a mouth follows the sway of the head too: of one network and 6 s of speech it was 0.29 to 0.70 gray
levels by four seeds, and of two that draw alike within 0.03 of each other by the same one."""
SHOWN = 10

SHOWN_BY_SEED = "mouth_shown"
Result = TypeVar("Result")


class Steps(Protocol):
    """What runs the steps, and where people read of them."""

    def step(self, name: str, told: str, run: Callable[[], Result]) -> Result: ...

    def show(self, key: str, description: str, markdown: str) -> None: ...


@dataclass(frozen=True)
class Judged:
    """Gates that were judged, on what (`on`); `reason` is "" when it passes. `notes` say what could not be compared."""

    gates: tuple[Gate, ...]
    reason: str
    notes: tuple[str, ...] = ()
    on: str = ""


def run_deploy(
    workspace_root: str | Path | None, checkpoint: str, *, share: float = SHARE, avatar: str | None = None,
    soak_s: float = 0.0, say: Callable[[str], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Deploys a checkpoint by id, or the latest one of a recipe: {"checkpoint", "kind", "state", "reason", "before", "did"}.

    "state" is serving, refused or rolled back; "did" is nothing when it served already. `avatar` is whom the probes show
    when no server runs; for `soak_s` seconds viewers' sessions are compared as well. Raises ValueError for an unknown
    checkpoint, a share that is none, while another one is deployed, and for a renderer without a checkpoint that makes motion.
    """
    if not 0 < share <= MOST_SHARE:
        raise ValueError(f"canary share {share:.0%}: must be above 0 % and at most {MOST_SHARE:.0%}")
    workspace = open_workspace(workspace_root)
    if registry.checkpoint_row(workspace, checkpoint)["recipe"] == "identity":
        from flows.identity import deploy_identity

        with _only_one(workspace):
            return deploy_identity(workspace, named(workspace, checkpoint)[0])
    name, kind = named(workspace, checkpoint)
    now, open_one = deployments.serving(workspace, kind), deployments.under_way(workspace)
    if (
        now.stable == name
        and (open_one is None or open_one.checkpoint != name)
        and deployments.is_gated(workspace, kind)
    ):
        return {"checkpoint": name, "kind": kind, "state": "serving", "reason": "it serves already", "before": name,
                "did": "nothing"}  # fmt: skip
    from flows.server import prefect_api

    with _only_one(workspace):
        told = begun(workspace, name)
        with prefect_api(workspace.settings.workspace):
            from flows import deploy_flow

            with deploy_flow.watched(say):
                made: dict[str, Any] = deploy_flow.deploy(
                    str(workspace.settings.workspace), told.checkpoint, share, avatar, soak_s
                )
    return made


def named(workspace: Workspace, checkpoint: str) -> tuple[str, str]:
    """A checkpoint's id and kind. Raises ValueError for one that is not known."""
    row = registry.checkpoint_row(workspace, checkpoint)
    return str(row["id"]), RENDERER if row["recipe"] in RENDERERS else KIND


def begun(workspace: Workspace, checkpoint: str) -> Deployment:
    """Its deployment, new or the one under way. Raises ValueError while another one is deployed, and for a renderer that there
    is nothing to draw for."""
    name, kind = named(workspace, checkpoint)
    if kind == RENDERER and not deployments.serving(workspace).stable:
        try:
            registry.checkpoint_row(workspace, KIND)  # a server begins with it
        except ValueError as error:
            raise ValueError(
                f"deploy: renderer {name} draws motion, and no checkpoint makes any ({error}); headroom train "
                "audio_to_motion --tier a2v_bronze trains one"
            ) from error
    return deployments.begin(workspace, name, kind)


def run_rollback(workspace_root: str | Path | None, kind: str | None = None) -> dict[str, Any]:
    """Ends the deployment that is under way, else goes back to the checkpoint before, of this kind or of the one that was
    deployed last: what serves then, as `run_deploy`; "checkpoint" is "" for the plain warp.

    Raises ValueError for a kind that is none, when there is no way back, or when the checkpoint before can't be used.
    """
    if kind is not None and kind not in deployments.KINDS:
        raise ValueError(f"rollback: kind {kind!r} is none of {', '.join(deployments.KINDS)}")
    workspace = open_workspace(workspace_root)
    if deployments.under_way(workspace) is None:
        last = deployments.previous(workspace, kind)
        if last.before:
            usable(workspace, last.before, last.kind)
    made = deployments.go_back(workspace, kind)
    return {"checkpoint": made.checkpoint, "kind": made.kind, "state": made.state, "reason": made.reason, "before": made.before,
            "did": "rollback", "stable": deployments.serving(workspace, made.kind).stable}  # fmt: skip


def shown(workspace: Workspace) -> dict[str, Any]:
    """What serves, on which servers, and what was deployed."""
    now, drawn = deployments.serving(workspace), deployments.serving(workspace, RENDERER)
    there, away = reached(workspace)
    last = [vars(d) for d in deployments.history(workspace)[:SHOWN]]
    return {**vars(now), "renderer": drawn.stable, "renderer_canary": drawn.canary, "renderer_share": drawn.share,
            "identity": deployments.serving(workspace, "identity").stable, "gated": deployments.is_gated(workspace),
            "servers": [s.url for s in there], "away": list(away), "history": last}  # fmt: skip


def deploy(
    workspace: Workspace, told: Deployment, share: float, avatar: str | None, by: Steps, soak_s: float = 0.0
) -> dict[str, Any]:
    """From where it stands to its end. One that serves already, because a server began with it, is judged all the same, by the
    baselines and by probes alone, and is no canary."""
    before, name = told.before or (WARP if told.kind == RENDERER else ""), told.checkpoint
    serves = deployments.serving(workspace, told.kind).stable == name
    judged = by.step(
        "gates",
        f"judge {name[:8]} by its evaluation",
        lambda: judge(workspace, name, told.before, told.kind),
    )
    by.show("deploy-gates", f"Evaluation gates of {name}", gates_page(name, before, judged))
    if judged.reason:
        return _ended(workspace, told, "refused", judged.reason, by, serves=serves)
    if not serves:
        by.step(
            "canary",
            f"give {name[:8]} {share:.0%} of the new sessions",
            lambda: deployments.to_canary(workspace, told, share),
        )
    try:
        with servers_of(workspace, avatar, told.kind) as (servers, away):
            # Read now: a server of our own may have begun with a motion just then.
            now = deployments.wanted(workspace)
            pair, beside = (now.stable, "") if serves else (now.canary, now.stable)
            loaded = by.step(
                "load", f"{len(servers)} servers load it beside", lambda: followed(servers, now.revision, pair)
            )
            by.show("deploy-canary", f"Servers with the canary {name}", servers_page(loaded, away, share))
            reason = "; ".join(f"{s['url']}: {s['why']}" for s in loaded if not s["holds"])
            if not reason:
                sound = deploy_probe.speech(SPEECH_S)
                compared = [
                    by.step(
                        "compare",
                        f"probe both on {s.url}",
                        lambda s=s: compare(s, pair, beside, sound),  # type: ignore[misc]
                    )
                    for s in servers
                ]
                by.show("deploy-comparison", f"{name} beside {before or 'nothing'}", comparison_page(servers, compared))
                reason = "; ".join(c.reason for c in compared if c.reason)
            soaked = ""
            if not reason and soak_s and not serves:
                seen = by.step(
                    "soak",
                    f"{name[:8]} serves its share of the viewers for {soak_s:g} s",
                    lambda: deploy_soak.soak(workspace, told, now, soak_s),
                )
                by.show("deploy-soak", f"{name} beside {before or 'nothing'}, by viewers' sessions", soak_page(seen))
                reason, soaked = seen.reason, f"; {seen.told}"
            if reason:
                return _ended(workspace, told, "refused" if serves else "rolled back", reason, by, serves=serves)
            probed = sum(len(c.gates) for c in compared)
            why = (
                f"passed {len(judged.gates)} gates on its evaluation ({judged.on}) and {probed} on live probes{soaked}"
            )
            come = deployments.confirm if serves else deployments.promote
            by.step("promote", f"{name[:8]} serves everybody", lambda: come(workspace, told, why))
            after = deployments.wanted(workspace)
            switched = by.step(
                "switch", "live sessions change over", lambda: followed(servers, after.revision, after.stable)
            )
            by.show("deploy-result", f"{name} serves", servers_page(switched, away, 1.0))
            return _result(told, "serving", why)
    except (ValueError, deploy_probe.ProbeError) as error:
        if isinstance(error, deployments.OvertakenError):
            raise
        state, why = "refused" if serves else "rolled back", f"it could not be compared: {error}"
        return _ended(workspace, told, state, why, by, serves=serves)


def usable(workspace: Workspace, checkpoint: str, kind: str = KIND) -> registry.Checkpoint:
    """Raises ValueError for a checkpoint that is not what was published, or whose network can't be used."""
    found = registry.load(workspace, checkpoint)
    if kind == RENDERER:
        deploy_renderer.step_ready(workspace, found)
        return found
    refuse_not_live(found)
    network(found)
    idle_of(found)
    return found


def judge(workspace: Workspace, checkpoint: str, stable: str, kind: str = KIND) -> Judged:
    """By its evaluation, beside that of the checkpoint that serves on the same snapshot; of a renderer beside the warp, and
    beside what the one that serves makes of the same faces. One that was never evaluated is evaluated now."""
    try:
        found = usable(workspace, checkpoint, kind)
    except ValueError as error:
        return Judged((), str(error))
    snapshot = str(found.told["snapshot"]["id"])
    try:
        own, notes = evaluation_of(workspace, found, snapshot), list[str]()
    except ValueError as error:
        return Judged((), f"checkpoint {checkpoint}: was never evaluated and can't be now ({error})")
    if kind == RENDERER:
        try:
            drawn = deploy_renderer.renderer_gates(own, deploy_renderer.frame_ms(workspace, found))
        except ValueError as error:
            return Judged((), f"checkpoint {checkpoint}: {str(error).removeprefix(f'checkpoint {checkpoint}: ')}")
        if stable:
            try:
                seen = renderer_beside.beside(workspace, found, registry.load(workspace, stable))
                drawn += deploy_renderer.beside_gates(seen)
                notes.append(f"{stable}, which serves, drew the same: {deploy_gates.compared_on(seen)}")
            except (ValueError, FileNotFoundError) as error:  # it was erased, or the footage is gone
                notes.append(f"{stable}, which serves, can't draw the same ({error}): the warp alone decides")
        return Judged(tuple(drawn), failures(drawn), tuple(notes), deploy_gates.compared_on(own))
    beside: Mapping[str, Any] | None = None
    if stable:
        try:
            beside = evaluation_of(workspace, registry.load(workspace, stable), snapshot)
        except ValueError as error:
            notes.append(
                f"{stable}, which serves, can't be judged on snapshot {snapshot} ({error}): baselines alone decide"
            )
    try:
        gates, on = deploy_gates.evaluation_gates(own, beside), deploy_gates.compared_on(own)
    except ValueError as error:
        return Judged((), f"checkpoint {checkpoint}: {error}")
    if beside is not None and not deploy_gates.alike(own, beside):
        notes.append(f"{stable}, which serves, was not judged on the same ({on}): baselines alone decide")
    return Judged(tuple(gates), failures(gates), tuple(notes), on)


def evaluation_of(workspace: Workspace, found: registry.Checkpoint, snapshot: str) -> Mapping[str, Any]:
    """Of a checkpoint on a snapshot: that of its training, else the one that was kept, else made now. Raises ValueError
    when it can't be made."""
    from flows.evaluation import run_evaluate

    if found.told["snapshot"]["id"] == snapshot and found.told.get("metrics"):
        trained: Mapping[str, Any] = found.told["metrics"]
        return trained
    kept = registry.evaluation(workspace, found.id, snapshot)
    return kept or run_evaluate(workspace.settings.workspace, found.id, snapshot)


@dataclass(frozen=True)
class Compared:
    """Figures of both on one server, the gates on them, and why the canary fails ("" when it does not)."""

    canary: Mapping[str, float | None]
    stable: Mapping[str, float | None] | None
    gates: tuple[Gate, ...]
    reason: str


def compare(server: Server, canary: str, stable: str, sound: np.ndarray) -> Compared:
    """Probes of both, one after the other, again when nothing but times fails; where all but what is seen of the mouth is well,
    with other seeds too. Raises ProbeError when what serves can't be probed: then there is nothing to compare with."""
    first, *others = SEEDS
    for look in range(LOOKS):
        beside = deploy_probe.probe(server, stable, sound, first) if stable else None
        try:
            ours = deploy_probe.probe(server, canary, sound, first)
        except deploy_probe.ProbeError as error:
            return Compared({}, beside, (), f"the canary failed: {error}")
        gates = tuple(deploy_gates.live_gates(ours, beside))
        failed = [g for g in gates if not g.passed]
        if not failed or not all(g.timing for g in failed) or look == LOOKS - 1:
            break
    if others and {g.name for g in failed} <= {SHOWN_BY_SEED}:
        # Side by side: of these nothing is timed.
        told = [[ours], [beside] if beside else []]
        with ThreadPoolExecutor(2) as threads:
            for seed in others:
                theirs = threads.submit(deploy_probe.probe, server, stable, sound, seed) if stable else None
                try:
                    told[0].append(deploy_probe.probe(server, canary, sound, seed))
                except deploy_probe.ProbeError as error:
                    return Compared(ours, beside, gates, f"the canary failed: {error}")
                if theirs is not None:
                    told[1].append(theirs.result())
        ours = {**ours, SHOWN_BY_SEED: _median(told[0])}
        beside = {**beside, SHOWN_BY_SEED: _median(told[1])} if beside else None
        gates = tuple(deploy_gates.live_gates(ours, beside))
    return Compared(ours, beside, gates, failures(gates))


def _median(told: Sequence[Mapping[str, float | None]]) -> float | None:
    values = [value for one in told if (value := one[SHOWN_BY_SEED]) is not None]
    return float(np.median(values)) if values else None


def _ended(
    workspace: Workspace, told: Deployment, state: str, reason: str, by: Steps, *, serves: bool
) -> dict[str, Any]:
    named = reason if told.checkpoint in reason else f"checkpoint {told.checkpoint}: {reason}"
    if serves:
        named += "; it serves on, since nothing else is deployed: headroom deploy another one"
    by.step(state, f"{told.checkpoint[:8]} is {state}", lambda: deployments.end(workspace, told, state, named))
    by.show("deploy-result", f"{told.checkpoint} is {state}", f"# {told.checkpoint} is {state}\n\n{named}")
    made = _result(told, state, named)
    return {**made, "before": told.checkpoint} if serves else made


def _result(told: Deployment, state: str, reason: str) -> dict[str, Any]:
    ended = replace(told, state=state, reason=reason, ended_at=time.time())
    return {**vars(ended), "did": state, "seconds": round(ended.ended_at - told.begun_at, 1)}


# What people read


def gates_page(name: str, before: str, judged: Judged) -> str:
    beside = f", beside {before}, which serves" if before else "; nothing serves yet"
    end = f"Refused: {judged.reason}" if judged.reason else "All passed."
    on = [f"Judged on {judged.on}."] if judged.on else []
    return "\n\n".join(
        [f"# {name} by its evaluation{beside}", *on, deploy_gates.table(judged.gates), *judged.notes, end]
    )


def servers_page(servers: Sequence[Mapping[str, Any]], away: Mapping[str, str], share: float) -> str:
    lines = ["| server | has it | slowest switch | |", "|---|---|---|---|"]
    for told in servers:
        slow = "" if told["slowest_switch_ms"] is None else f"{told['slowest_switch_ms']:.3f} ms"
        lines.append(f"| {told['url']} | {'yes' if told['holds'] else '**no**'} | {slow} | {told['why']} |")
    lines += [f"| {url} | {why} | | |" for url, why in away.items()]
    return f"{share:.0%} of the new sessions.\n\n" + "\n".join(lines)


def comparison_page(servers: Sequence[Server], compared: Sequence[Compared]) -> str:
    parts = []
    for server, told in zip(servers, compared, strict=True):
        names = told.canary or told.stable or {}
        rows = [f"| {n} | {_cell(told.canary, n)} | {_cell(told.stable, n)} |" for n in names]
        parts += [f"## {server.url}", "\n".join(["| figure | canary | serving |", "|---|---|---|", *rows])]
        parts += [deploy_gates.table(told.gates), f"**{told.reason}**" if told.reason else "All passed."]
    return "\n\n".join(parts)


def soak_page(seen: deploy_soak.Soaked) -> str:
    names = seen.canary
    rows = [f"| {n} | {_cell(seen.canary, n)} | {_cell(seen.stable, n)} |" for n in names]
    figures = "\n".join(["| figure | canary | serving |", "|---|---|---|", *rows])
    return "\n\n".join(
        [f"{seen.told}.", figures, deploy_gates.table(seen.gates), f"**{seen.reason}**" if seen.reason else ""]
    )


def _cell(figures: Mapping[str, float | None] | None, name: str) -> str:
    value = (figures or {}).get(name)
    return "" if value is None else f"{value:.3g}"


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[None]:
    """One deployment at a time on this machine; the lock ends with its holder. Raises ValueError when it is held."""
    with (workspace.settings.workspace / ".deploying").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError("another headroom deploy runs for this workspace; wait for its end") from None
        yield
