"""The canary's share of the viewers, for a while: how their sessions did beside those on what serves, by the servers' own sums.

Servers count by checkpoint from their start on, so what counts is what they add between two looks. The sums since the soak
began lie in the ledger: killed and run again, it goes on, without what was put out meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from flows import deploy_gates
from flows.deploy_gates import Gate, failures
from flows.deploy_probe import state_of
from store import deployments
from store.deployments import RENDERER, Deployment, Serving, Soak, parts_of
from store.workspace import Workspace

LEAST_FRAMES = 1500
"""Of a checkpoint, to viewers: a minute of one session. Less tells nothing."""
LOOKS = 3
"""Where times alone fail before the end, so many times as many frames are waited for."""
POLL_S = 1.0
SOAKED = ("fps", "first_fragment_s", "underrun_ratio", "skew_ms", "frame_change")
"""Of the gates on probes: what does not rest on what is said, and to whom."""
clock = time.time


@dataclass(frozen=True)
class Soaked:
    """Figures of viewers' sessions on the canary and on what serves, the gates on them, in words what they rest on, and why
    the canary fails ("" when it does not)."""

    canary: Mapping[str, float | None]
    stable: Mapping[str, float | None] | None
    gates: tuple[Gate, ...]
    told: str
    reason: str


def soak(workspace: Workspace, told: Deployment, now: Serving, soak_s: float) -> Soaked:
    """Until its time is over, or the canary surely fails. Where few viewers came to it, it passes, and says so: then probes
    alone have decided. Raises OvertakenError when somebody ends the deployment meanwhile."""
    kept = deployments.soaked(workspace, told) or Soak(clock(), {})
    last = _sums(workspace)  # of probes, and of what nobody has seen
    deployments.keep_soak(workspace, told, kept)
    while True:
        over = clock() >= kept.begun_at + soak_s
        seen = _sums(workspace)
        kept = Soak(kept.begun_at, _added(kept.sums, last, seen))
        last = {**last, **seen}
        deployments.keep_soak(workspace, told, kept)
        found = _judged(kept.sums, now, told.kind, soak_s)
        if over or (found.reason and not _may_be_the_machine(found)):
            return found
        time.sleep(POLL_S)


def _may_be_the_machine(found: Soaked) -> bool:
    """Nothing but times fails, and of few frames so far: the machine may be busy just now."""
    few = (found.canary["frames"] or 0.0) < LOOKS * LEAST_FRAMES
    return few and all(gate.timing for gate in found.gates if not gate.passed)


def _sums(workspace: Workspace) -> dict[str, dict[str, dict[str, float]]]:
    """By server and pair; without servers that don't answer."""
    states = {server.id: state_of(server) for server in deployments.servers(workspace)}
    return {name: state["vitals"] for name, state in states.items() if state is not None}


def _added(
    sums: dict[str, dict[str, float]],
    before: Mapping[str, Mapping[str, Mapping[str, float]]],
    after: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, float]]:
    """What has come on top. A server that is new, or was not there at the begin, counts from the next look on."""
    made = {pair: dict(told) for pair, told in sums.items()}
    for server, pairs in after.items():
        for pair, told in pairs.items() if server in before else ():
            known, total = before[server].get(pair, {}), made.setdefault(pair, {})
            for name, value in told.items():
                total[name] = total.get(name, 0.0) + value - known.get(name, 0.0)
    return made


def _judged(sums: Mapping[str, Mapping[str, float]], now: Serving, kind: str, soak_s: float) -> Soaked:
    ours, theirs = _figures(sums, now.canary, kind), _figures(sums, now.stable, kind)
    frames, beside = ours["frames"] or 0.0, theirs["frames"] or 0.0
    if frames < LEAST_FRAMES:
        few = (
            f"viewers saw {frames:.0f} frames of it within {soak_s:g} s, fewer than {LEAST_FRAMES}: probes alone decide"
        )
        return Soaked(ours, theirs, (), few, "")
    compared = theirs if beside >= LEAST_FRAMES else None
    gates = tuple(g for g in deploy_gates.live_gates(ours, compared) if g.name in SOAKED and g.value is not None)
    words = f"passed {len(gates)} on {frames:.0f} frames that viewers saw of it, and {beside:.0f} of what serves"
    reason = failures(gates)
    return Soaked(ours, theirs, gates, words, f"viewers' sessions, {frames:.0f} frames: {reason}" if reason else "")


def _figures(sums: Mapping[str, Mapping[str, float]], pair: str, kind: str) -> dict[str, float | None]:
    """Of all sessions on the checkpoint, whichever renderer a worker of its own draws by."""
    total: dict[str, float] = {}
    for one, told in sums.items():
        if one == pair or (kind != RENDERER and parts_of(one)[0] == parts_of(pair)[0]):
            for name, value in told.items():
                total[name] = total.get(name, 0.0) + value

    def ratio(of: str, by: str) -> float | None:
        return total[of] / total[by] if total.get(by) else None

    return {
        "frames": total.get("frames", 0.0),
        "fps": ratio("frames", "busy_s"),
        "first_fragment_s": ratio("first_fragment_s", "first_fragments"),
        "underrun_ratio": ratio("underruns", "ticks"),
        "skew_ms": None if (skew_ms := ratio("skew_ms", "skews")) is None else abs(skew_ms),
        "frame_change": ratio("change", "changes"),
    }
