"""Which clip signals are rolling out: readers see rows of another version than the one in the code and the settings.

The wide table says so itself, nothing else does: a row of another fingerprint is there. Such a row is never written
over one by one. The candidate's rows are computed beside it, and take its place all at once (tasks/promote.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from store.record import Record
from store.schema import narrow
from store.workspace import Reader
from tasks.signals import discover


@dataclass(frozen=True)
class Candidate:
    """The present version of a signal, while another one serves.

    `serving` is the fingerprint that readers see; of a mixture, which only an older Headroom or `reclip` can leave, one
    of them. `rows`: active clips that have a row of another version than the candidate's.
    """

    signal: str
    fingerprint: str
    serving: str
    mixed: bool
    rows: int

    @property
    def table(self) -> str:
        return narrow(self.signal, self.fingerprint)


def candidates(reader: Reader, names: Iterable[str]) -> dict[str, Candidate]:
    """Those of the signals that are rolling out."""
    columns = set(reader.columns("signals"))
    known = discover()
    told = [n for n in names if n in known and known[n].spec.grain == "clip" and f"{n}_fingerprint" in columns]
    if not told:
        return {}
    # Nearly always there is none: that is asked first, since counting all of it takes several times as long.
    differ = [f"bool_or({n}_fingerprint <> '{known[n].fingerprint}')" for n in told]
    flags = reader.sql(f"SELECT {', '.join(f'{d} AS c{i}' for i, d in enumerate(differ))} FROM signals").row(0)
    told = [name for name, flag in zip(told, flags, strict=True) if flag]
    if not told:
        return {}
    parts = []
    for name in told:
        other = f"FILTER (WHERE {name}_status IS NOT NULL AND {name}_fingerprint <> '{known[name].fingerprint}')"
        parts += [f"count(*) {other}", f"min({name}_fingerprint) {other}", f"max({name}_fingerprint) {other}"]
        parts.append(f"count(*) FILTER (WHERE {name}_fingerprint = '{known[name].fingerprint}')")
    row = reader.sql(f"SELECT {', '.join(f'{p} AS c{i}' for i, p in enumerate(parts))} FROM signals").row(0)
    found = {}
    for at, name in enumerate(told):
        rows, least, most, current = row[4 * at : 4 * at + 4]
        if rows:
            mixed = least != most or current > 0
            found[name] = Candidate(name, known[name].fingerprint, least, mixed, int(rows))
    return found


def serving(reader: Reader, names: Iterable[str]) -> dict[str, str]:
    """By signal the fingerprint of the rows that readers see; of a mixture, that of the present version."""
    told = list(names)
    rolling = candidates(reader, told)
    now = {n: discover()[n].fingerprint for n in told if n in discover()}
    return now | {n: c.serving for n, c in rolling.items() if not c.mixed}


def with_candidate(reader: Reader, candidate: Candidate) -> str | None:
    """The relation of a candidate's rows, joinable by clip_id; None before the first is computed."""
    if candidate.table not in reader.manifest.versions:
        return None
    dataset = Record(reader.root).open(candidate.table, reader.manifest.versions[candidate.table])
    name = f"_candidate_{candidate.signal}"
    reader.connection.register(name, dataset)
    return name


def replaced(reader: Reader, names: Collection[str]) -> set[tuple[str, str]]:
    """(signal, clip_id) of every active clip that has a row which readers see."""
    found: set[tuple[str, str]] = set()
    for name in names:
        rows = reader.sql(f"SELECT clip_id FROM signals WHERE {name}_status IS NOT NULL")
        found |= {(name, c) for c in rows["clip_id"]}
    return found
