"""A candidate takes the place of the version that serves, all of its rows at once, and goes back.

By itself a candidate takes over when every clip that has a row of the version before has one of it, none of them is to
be tried again, and not many fail where the version before has values. Killed before its manifest is written, nothing
has happened.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from store import ledger as tables
from store.candidates import Swap, discard, swap, tables_of
from store.ledger import Manifest
from store.schema import narrow
from store.workspace import Reader, Workspace
from tasks.rollout import Candidate, candidates, replaced, with_candidate
from tasks.signal import LoadedSignal
from tasks.signals import discover
from tasks.stale import stale_clips

MAX_NEWLY_FAILED = 0.05
"""A candidate that fails on a larger share of the clips that have values now waits for somebody to look."""
KEEP_S = 7 * 86400.0
"""The rows before a promotion are kept so long."""
_UNKNOWN = {"backend": "", "held": False, "left_at": 0.0}


@dataclass(frozen=True)
class State:
    """A candidate and how far it is. `why` says what it waits for; empty: it takes over with the next run."""

    signal: str
    version: int
    backend: str
    fingerprint: str
    serving: str
    serving_version: int
    """0 when nobody wrote down what the fingerprint stands for."""
    rows: int
    """Clips that have a row of another version."""
    computed: int
    """Of these, those that have one of the candidate's, made from the present inputs."""
    held: bool
    why: str


@dataclass(frozen=True)
class Took:
    """What changed places: `version` serves now, `before` no more."""

    signal: str
    version: int
    backend: str
    fingerprint: str
    before: str
    before_version: int
    rows: int


def states(workspace: Workspace, reader: Reader, names: Iterable[str] | None = None) -> list[State]:
    """The candidates among the signals (None: all)."""
    rolling = candidates(reader, discover() if names is None else names)
    if not rolling:
        return []
    known = _known(workspace)
    late = stale_clips(reader, list(rolling))
    served = replaced(reader, rolling)
    waiting = dict.fromkeys(rolling, 0)
    for name, _, clip in late.iter_rows():
        waiting[name] += (name, clip) in served
    found = []
    for name, candidate in rolling.items():
        spec = discover()[name].spec
        held = bool(known.get((name, candidate.fingerprint), {}).get("held"))
        before = int(known.get((name, candidate.serving), {}).get("version", 0))
        computed = max(0, candidate.rows - waiting[name])
        why = f"{waiting[name]:,} rows are to be computed" if waiting[name] else _why_not(reader, candidate)
        why = why or ("it is held back" if held else "")
        told = (spec.version, spec.backend, candidate.fingerprint, candidate.serving, before)
        found.append(State(name, *told, candidate.rows, computed, held, why))
    return found


def take_over(workspace: Workspace, reader: Reader, names: Collection[str]) -> list[Took]:
    """Promotes the candidates that wait for nothing; none when the workspace changed since `reader` was opened."""
    ready = [s for s in states(workspace, reader, names) if not s.why]
    made = (_change(workspace, reader.manifest, s.signal, s.serving, s.fingerprint, clear=False) for s in ready[:1])
    return [took for took in made if took is not None]


def promote(workspace: Workspace, name: str) -> Took:
    """Promotes a candidate all of whose rows are computed, also one that was held back or fails on many clips.

    Raises ValueError when there is no such candidate, or rows of it are missing.
    """
    _loaded(name)
    while True:
        with workspace.views() as reader:
            found = states(workspace, reader, [name])
            if not found:
                raise ValueError(f"signal {name}: has no candidate, its present version serves already")
            state = found[0]
            if state.computed < state.rows:
                raise ValueError(
                    f"signal {name}: {state.computed:,} of {state.rows:,} rows of the candidate are computed; "
                    f"headroom curate --signal {name} computes the rest"
                )
        if took := _change(workspace, reader.manifest, name, state.serving, state.fingerprint, clear=False):
            return took


def roll_back(workspace: Workspace, name: str) -> Took:
    """The rows that readers saw before the last promotion take their place again. What served until now is kept as a
    candidate that does not take over by itself. Raises ValueError when nothing is kept."""
    spec = _loaded(name)
    while True:
        manifest = workspace.ledger.manifest()
        kept = [
            r
            for r in _known(workspace).values()
            if r["signal"] == name
            and r["left_at"]
            and not r["held"]
            and narrow(name, r["fingerprint"]) in manifest.versions
        ]
        if not kept:
            raise ValueError(
                f"signal {name}: no version before is kept; it goes {KEEP_S / 86400:.0f} days after a promotion"
            )
        to = max(kept, key=lambda r: r["left_at"])["fingerprint"]
        with workspace.views(manifest) as reader:
            rows = reader.sql(
                f"SELECT {name}_fingerprint FROM signals WHERE {name}_status IS NOT NULL "
                "GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1"
            )
        serving = str(rows.item()) if len(rows) else spec.fingerprint
        if took := _change(workspace, manifest, name, serving, to, clear=True):
            return took


def hold(workspace: Workspace, name: str, fingerprint: str, *, held: bool) -> None:
    """Whether a version waits for `promote`, however complete it is."""
    workspace.ledger.put(tables.rollouts, [_row(workspace, name, fingerprint) | {"held": held}])


def note_before(workspace: Workspace, rows: Iterable[Mapping[str, Any]]) -> None:
    """Keeps what the fingerprints of the last run stood for, where they are not the present ones: it is told to people."""
    known = {(r["signal"], r["fingerprint"]) for r in workspace.ledger.rows(tables.rollouts.select())}
    told = [
        {"signal": r["name"], "fingerprint": r["fingerprint"], "version": r["version"], **_UNKNOWN}
        for r in rows
        if r["fingerprint"] != discover()[r["name"]].fingerprint and (r["name"], r["fingerprint"]) not in known
    ]
    workspace.ledger.put(tables.rollouts, told)


def retire(workspace: Workspace, keep_s: float = KEEP_S) -> list[str]:
    """Ends the narrow tables of versions that are neither at work nor kept for a roll-back; gives their names."""
    known = _known(workspace)
    present = {(n, s.fingerprint) for n, s in discover().items()}
    with workspace.ledger.turn() as turn:
        gone = []
        for table in (t for t in turn.manifest.versions if "@" in t):
            owner = _owner(table)
            left_at = float(known.get(owner, {}).get("left_at") or 0.0)
            if owner not in present and left_at + keep_s < time.time():
                gone.append(table)
        if gone:
            turn.publish({}, without=gone)
    discard(workspace)
    return gone


def version_told(version: int, backend: str, fingerprint: str) -> str:
    told = f"version {version}" if version else f"version {fingerprint[:8]}"
    return told + (f" ({backend})" if backend not in ("", "default") else "")


def _owner(table: str) -> tuple[str, str]:
    """(signal, fingerprint) of a narrow table."""
    name, _, fingerprint = table.rpartition("@")
    if name.startswith("embeddings_"):
        told = name.removeprefix("embeddings_")
        fits = [n for n in discover() if told.startswith(f"{n}_")]
        return max(fits, key=len, default=told), fingerprint
    return name.removeprefix("timelines@"), fingerprint


def _why_not(reader: Reader, candidate: Candidate) -> str:
    """Why a candidate whose rows are all there does not take over; empty when it may."""
    beside, n = with_candidate(reader, candidate), candidate.signal
    if beside is None:
        return f"{candidate.rows:,} rows are to be computed"
    row = reader.sql(f"""SELECT count(*) FILTER (WHERE k.{n}_status = 'failed_transient'),
            count(*) FILTER (WHERE s.{n}_status = 'ok' AND k.{n}_status LIKE 'failed%'),
            count(*) FILTER (WHERE s.{n}_status = 'ok')
        FROM signals s JOIN {beside} k USING (clip_id) WHERE s.{n}_status IS NOT NULL""").row(0)
    passing, failed, ok = map(int, row)
    if passing:
        return f"{passing:,} rows failed in passing and are tried again"
    if failed > MAX_NEWLY_FAILED * ok:
        return f"it fails on {failed:,} of {ok:,} clips that have values now"
    return ""


def _change(workspace: Workspace, manifest: Manifest, name: str, serving: str, to: str, *, clear: bool) -> Took | None:
    """One swap, one manifest; None, and nothing written, when the workspace is not at `manifest` any more."""
    spec = _loaded(name).spec
    change = Swap(name, serving, to, tuple(spec.vectors), bool(spec.timeline), clear)
    comes, goes = _row(workspace, name, to), _row(workspace, name, serving)
    with workspace.ledger.turn() as turn:
        if turn.manifest.id != manifest.id:
            return None
        versions = swap(workspace.record, turn, change)
        turn.put(
            tables.rollouts,
            [comes | {"held": False, "left_at": 0.0}, goes | {"held": clear, "left_at": time.time()}],
        )
        turn.publish(versions, without=tables_of(change, to))
    with workspace.views() as reader:
        told = f"SELECT count(*) FROM signals WHERE {name}_status IS NOT NULL AND {name}_fingerprint = ?"
        rows = int(reader.sql(told, [to]).item())
    return Took(name, comes["version"], comes["backend"], to, serving, goes["version"], rows)


def _row(workspace: Workspace, name: str, fingerprint: str) -> dict[str, Any]:
    """What is known of a version, as a row of the ledger."""
    signal = discover()[name]
    fresh = {"signal": name, "fingerprint": fingerprint, "version": 0, **_UNKNOWN}
    if fingerprint == signal.fingerprint:
        fresh |= {"version": signal.spec.version, "backend": signal.spec.backend}
    return fresh | _known(workspace).get((name, fingerprint), {})


def _known(workspace: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    """By signal and fingerprint; the ledger's table of signals tells of the version that last ran."""
    ledger = workspace.ledger
    last = [
        {"signal": r["name"], "fingerprint": r["fingerprint"], "version": r["version"], **_UNKNOWN}
        for r in ledger.rows(tables.signals.select())
    ]
    rows = [*last, *ledger.rows(tables.rollouts.select())]
    return {(r["signal"], r["fingerprint"]): r for r in rows}


def _loaded(name: str) -> LoadedSignal:
    found = discover().get(name)
    if found is None or found.spec.grain != "clip":
        told = ", ".join(sorted(n for n, s in discover().items() if s.spec.grain == "clip"))
        raise ValueError(f"signal {name!r} is none of the clip signals {told}")
    return found


def to_dict(told: State | Took) -> dict[str, Any]:
    return asdict(told)
