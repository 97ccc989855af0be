"""Snapshots: a tier frozen into one file that verifies itself. Training reads snapshots, never live tiers.

Each clip is a leaf: the hash of a salt and of its row. The leaves hang under a Merkle root, the root is in the
header, and `sha256` is the hash of the header. So a clip can be taken out for good (its row and salt go, its leaf
stays) while what is left still verifies; without the salt a leaf can't be guessed from a clip's id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store.guard import Query
from store.sql_rules import CLIP_RELATIONS
from store.tier_sql import Clause, Tier, base_of

FORMAT, FORMAT_1 = "headroom snapshot 2", "headroom snapshot 1"
"""What is written, and what is read, too."""
_SPAN = ("clip_id", "video_id", "start_frame", "end_frame", "start_s", "end_s", "duration_s")
SPAN_COLUMNS = tuple(f"clips.{c}" for c in _SPAN)
_KEPT = ("salt", "leaf")
_CHILDREN = 64
"""Of a node of the hash tree: so the leaves are nearly all there is to hash."""


@dataclass(frozen=True)
class Snapshot:
    """`header` is what `sha256` covers; `clips` has one row per clip, sorted by clip_id: its span, the values of
    the tier's clauses under relation.column, and its salt. A redacted row holds its leaf and nothing else."""

    header: Mapping[str, Any]
    clips: pa.Table
    created_at: float

    @property
    def sha256(self) -> str:
        return _digest(self.header)

    @property
    def id(self) -> str:
        return self.sha256[:16]

    @property
    def tier(self) -> str:
        return str(self.header["tier"])

    @property
    def clip_ids(self) -> list[str]:
        """Without the redacted ones."""
        return [c for c in self.clips["clip_id"].to_pylist() if c is not None]

    @property
    def clauses(self) -> tuple[Clause, ...]:
        return tuple(_clause_from(c) for c in self.header["clauses"])

    @property
    def file_name(self) -> str:
        return f"{self.id}.snapshot"


def freeze(
    query: Query,
    tier: Tier,
    *,
    fingerprints: Mapping[str, str],
    manifest: Mapping[str, int],
    secret: bytes,
    undecided: Mapping[str, Collection[str]] | None = None,
    created_at: float = 0.0,
) -> Snapshot:
    """The tier as it stands. Over unchanged data and code it is the same snapshot each time.

    `fingerprints` are the signals' current ones (those the tier reads are kept), `manifest` the tables' versions,
    `secret` the workspace's key, `undecided` the clips whose row of a signal is missing or stale, by signal.
    Raises ValueError when a clip can't be decided for that, or when a fingerprint is missing.
    """
    if lost := [s for s in tier.signals if s not in fingerprints]:
        raise ValueError(f"tier {tier.name}: no fingerprint given for {', '.join(lost)}; pass those of all signals")
    _refuse_undecided(query, tier, undecided or {})
    values = [c for c in tier.columns if c not in SPAN_COLUMNS and not c.endswith((".clip_id", ".video_id"))]
    joins = {r: tier.joins[r] for r in CLIP_RELATIONS if r in tier.joins}
    base = base_of({**joins, "clips": "inner"})
    where = " AND ".join(c.sql for c in tier.clauses) or "TRUE"
    told = [f"clips.{c} AS {c}" for c in _SPAN] + [f"{column} AS v{i}" for i, column in enumerate(values)]
    rows = query(f"SELECT {', '.join(told)} FROM {base} WHERE {where} ORDER BY clips.clip_id")
    rows = rows.rename_columns([*_SPAN, *values])
    if rows["clip_id"].null_count or len(rows["clip_id"].unique()) != rows.num_rows:
        raise ValueError(f"tier {tier.name}: clips appear twice; the views are damaged, run headroom status")
    key = hmac.digest(secret, b"leaves", "sha256")
    salts = [hashlib.blake2b(c.encode(), key=key, digest_size=16).digest() for c in rows["clip_id"].to_pylist()]
    rows = rows.append_column("salt", pa.array(salts, pa.binary()))
    rows = rows.append_column("leaf", pa.nulls(rows.num_rows, pa.binary())).combine_chunks()
    header = {
        "format": FORMAT,
        "tier": tier.name,
        "sql": tier.sql,
        "inlined": tier.inlined,
        "includes": list(tier.includes),
        "joins": joins,
        "clauses": [_clause_told(c) for c in tier.clauses],
        "fingerprints": {s: fingerprints[s] for s in tier.signals},
        "manifest": dict(manifest),
        "columns": [[f.name, str(f.type)] for f in rows.schema],
        "num_clips": rows.num_rows,
        "duration_s": round(float(pc.sum(rows["duration_s"]).as_py() or 0.0), 3),
        "merkle_root": _root(rows).hex(),
    }
    return Snapshot(header, rows, created_at)


def weighted(snapshot: Snapshot, weights: Sequence[float], balance: Mapping[str, Any]) -> Snapshot:
    """The snapshot with a column `weight`, how often each clip is to be drawn relative to the mean, and with `balance`, what
    the weights come from, in its header: both are under its hash."""
    rows = snapshot.clips
    clips = rows.add_column(rows.num_columns - len(_KEPT), "weight", pa.array(weights, pa.float64())).combine_chunks()
    told = {"balance": dict(balance), "columns": [[f.name, str(f.type)] for f in clips.schema]}
    header = {**snapshot.header, **told, "merkle_root": _root(clips).hex(), "format": FORMAT}
    return Snapshot(header, clips, snapshot.created_at)


def save(snapshot: Snapshot, folder: Path) -> Path:
    """Writes the snapshot into `folder` under its id, whole or not at all; an equal one is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / snapshot.file_name
    if target.exists() and _holds(target, snapshot):
        return target
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as staged:
        try:
            staged.write(to_bytes(snapshot))
            staged.flush()
            os.fsync(staged.fileno())
            Path(staged.name).replace(target)
        except BaseException:
            Path(staged.name).unlink(missing_ok=True)
            raise
    return target


def load(path: Path) -> Snapshot:
    """Reads and verifies. Raises ValueError when it is no snapshot, or is not what was frozen."""
    return from_bytes(path.read_bytes(), str(path))


def header_of(path: Path) -> dict[str, Any]:
    """The header alone, of any number of clips in no time; these are not verified. Raises ValueError as `load` does."""
    with pa.memory_map(str(path)) as file:
        return dict(_parsed(file, str(path), whole=False).header)


def to_bytes(snapshot: Snapshot) -> bytes:
    """An Arrow file of the clips, with the header as its metadata."""
    told = {"header": _canonical(snapshot.header), "sha256": snapshot.sha256, "created_at": repr(snapshot.created_at)}
    table = snapshot.clips.replace_schema_metadata(told)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def from_bytes(data: bytes, name: str) -> Snapshot:
    """Raises ValueError when the bytes are no snapshot, or its header, its rows and its hash don't belong together."""
    found = _parsed(pa.BufferReader(data), name, whole=True)
    header = found.header
    columns = [[f.name, str(f.type)] for f in found.clips.schema]
    if columns != header["columns"] or found.clips.num_rows != header["num_clips"]:
        raise ValueError(
            f"snapshot {name}: {found.clips.num_rows} rows don't fit its header: changed; build the tier again"
        )
    if (root := _root(found.clips, header["format"]).hex()) != header["merkle_root"]:
        raise ValueError(
            f"snapshot {name}: its clips hash to {root}, not to {header['merkle_root']}: changed; build the tier again"
        )
    return found


def _parsed(source: pa.NativeFile, name: str, *, whole: bool) -> Snapshot:
    """The header verified, the clips as they were read, or none of them."""
    try:
        with pa.ipc.open_file(source) as reader:
            table = reader.read_all().combine_chunks() if whole else reader.schema.empty_table()
        told = table.schema.metadata or {}
        header = json.loads(told[b"header"])
        found = Snapshot(header, table.replace_schema_metadata(None), float(told[b"created_at"]))
        claimed = told[b"sha256"].decode()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(
            f"snapshot {name}: can't be read ({str(error).splitlines()[0]}); build the tier again"
        ) from None
    if header.get("format") not in (FORMAT, FORMAT_1):
        raise ValueError(
            f"snapshot {name}: format {header.get('format')!r}, this version reads {FORMAT_1!r} and {FORMAT!r}; "
            "build the tier again"
        )
    if found.sha256 != claimed:
        raise ValueError(
            f"snapshot {name}: its header has sha256 {found.sha256}, it says {claimed}: changed; build the tier again"
        )
    return found


def redact(snapshot: Snapshot, clip_ids: Collection[str]) -> Snapshot:
    """The snapshot without what it says of these clips: only their leaves stay. `sha256` does not change."""
    gone = pc.fill_null(pc.is_in(snapshot.clips["clip_id"], value_set=pa.array(sorted(clip_ids), pa.string())), False)
    leaves = pa.array(_leaves(snapshot.clips, snapshot.header["format"]), pa.binary())
    # Taken row by row: a mask alone would leave the bytes of what it hides in the buffers, and so in the file.
    kept = pc.if_else(gone, pa.scalar(None, pa.int64()), pa.array(range(snapshot.clips.num_rows), pa.int64()))
    columns = [
        pc.if_else(gone, leaves, snapshot.clips[f.name]) if f.name == "leaf" else snapshot.clips[f.name].take(kept)
        for f in snapshot.clips.schema
    ]
    clips = pa.table(columns, schema=snapshot.clips.schema).combine_chunks()
    return Snapshot(snapshot.header, clips, snapshot.created_at)


def merkle_root(leaves: list[bytes], children: int = _CHILDREN) -> bytes:
    """Root of a hash tree with up to so many children a node; one alone goes up as it is. Nodes and leaves hash under different
    first bytes (RFC 6962), so none can stand for the other."""
    level = leaves or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        nodes = [level[at : at + children] for at in range(0, len(level), children)]
        level = [hashlib.sha256(b"\x01" + b"".join(n)).digest() if len(n) > 1 else n[0] for n in nodes]
    return level[0]


def _root(rows: pa.Table, form: str = FORMAT) -> bytes:
    return merkle_root(_leaves(rows, form), 2 if form == FORMAT_1 else _CHILDREN)


def _leaves(rows: pa.Table, form: str = FORMAT) -> list[bytes]:
    """sha256 of 0x00, the salt, the row's numbers as they lie in memory, and its other values as text; in format 1 all are text.
    A redacted row gives the leaf it kept."""
    names = [n for n in rows.column_names if n not in _KEPT]
    numbers = [n for n in names if form != FORMAT_1 and _is_number(rows.schema.field(n).type)]
    packed, width = _packed([rows[n] for n in numbers], rows.num_rows)
    told = [n for n in names if n not in numbers]
    texts = [pc.fill_null(pc.binary_join_element_wise("=", _as_text(rows[n]), ""), "") for n in told]
    joined = pc.binary_join_element_wise(*texts, "\x1f").to_pylist() if texts else [""] * rows.num_rows
    starts = range(0, rows.num_rows * width, width) if width else [0] * rows.num_rows
    salts, kept = rows["salt"].to_pylist(), rows["leaf"].to_pylist()
    return [
        hashlib.sha256(b"\x00" + salt + packed[at : at + width] + text.encode()).digest() if leaf is None else leaf
        for salt, at, text, leaf in zip(salts, starts, joined, kept, strict=True)
    ]


def _is_number(of: pa.DataType) -> bool:
    return bool(pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of))


def _packed(columns: Sequence[pa.ChunkedArray], count: int) -> tuple[bytes, int]:
    """Row after row, little-endian, and the bytes of a row: of each value whether it is there, then the value, 0 for NULL."""
    fields = [
        (f"{part}{i}", t) for i, c in enumerate(columns) for part, t in (("is", "?"), ("v", _little_endian(c.type)))
    ]
    rows = np.zeros(count, np.dtype(fields))
    for i, column in enumerate(columns):
        rows[f"is{i}"] = pc.is_valid(column).to_numpy()
        rows[f"v{i}"] = pc.fill_null(column, pa.scalar(0).cast(column.type)).to_numpy()
    return rows.tobytes(), rows.dtype.itemsize


def _little_endian(of: pa.DataType) -> np.dtype[Any]:
    made: np.dtype[Any] = np.dtype(of.to_pandas_dtype())
    return made.newbyteorder("<")


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text that can be read back, without the separator of _leaves."""
    if pa.types.is_nested(column.type):
        told = [None if v is None else json.dumps(v, sort_keys=True) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(told, pa.string())])
    text = pc.cast(column, pa.string())
    if not pa.types.is_string(column.type):
        return text
    return pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), "\x1f", "\\x1f")


def _refuse_undecided(query: Query, tier: Tier, undecided: Mapping[str, Collection[str]]) -> None:
    """A clip is decided when all that the tier reads of it is there, or a clause that is decidable keeps it out."""
    waiting: dict[str, set[str]] = {}
    for signal in tier.signals:
        for clip in undecided.get(signal, ()):
            waiting.setdefault(clip, set()).add(signal)
    if not waiting:
        return
    own = [c for c in tier.clauses if c.reads == "own"]
    rest = {s for c in tier.clauses if c.reads == "others" for s in c.signals}
    verdicts = "".join(f", ({c.sql}) AS c{i}" for i, c in enumerate(own))
    rows = query(f"SELECT clips.clip_id{verdicts} FROM {base_of(tier.joins, everything=True)}")
    open_by_signal: dict[str, int] = {}
    num_open = 0
    for row in rows.to_pylist():
        missing = waiting.get(row["clip_id"], set())
        out = any(not row[f"c{i}"] and missing.isdisjoint(c.signals) for i, c in enumerate(own))
        still = missing & rest if out else missing
        num_open += bool(still)
        for signal in still:
            open_by_signal[signal] = open_by_signal.get(signal, 0) + 1
    if num_open:
        told = ", ".join(f"{s} of {n}" for s, n in sorted(open_by_signal.items()))
        raise ValueError(
            f"tier {tier.name}: {num_open} clips are not decided: missing or stale are {told}; "
            f"run headroom curate --tier {tier.name}, then build it again"
        )


def _clause_told(clause: Clause) -> dict[str, Any]:
    told = asdict(clause)
    return {**told, "columns": list(clause.columns), "signals": list(clause.signals)}


def _clause_from(told: Mapping[str, Any]) -> Clause:
    return Clause(**{**told, "columns": tuple(told["columns"]), "signals": tuple(told["signals"])})


def _canonical(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(header).encode()).hexdigest()


def _holds(file: Path, snapshot: Snapshot) -> bool:
    """Whether the file is whole and says the same; when it was frozen first is kept."""
    try:
        return bool(load(file).clips.equals(snapshot.clips))
    except ValueError:
        return False
