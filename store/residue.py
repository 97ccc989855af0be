"""What is left of erased things in a workspace: every file is read, and what lies compressed is unpacked first.

Ids are looked for in every run of hexadecimal digits, texts (names, addresses) in each of their spellings, media by
the hash of every file. Tables are read column by column at every version that is there, snapshots row by row.
"""

from __future__ import annotations

import hashlib
import html
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store import shard_table, snapshot
from store.annotation import metadata as annotation_metadata
from store.annotation_database import database_url, existing
from store.ledger import erasures, metadata
from store.objects import Objects
from store.workspace import Workspace

ID_DIGITS = 16
_CHUNK = 1 << 22
_OVERLAP = 4096
"""A name is at most 255 bytes, an address some more."""
_BEFORE = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")
_AFTER = _BEFORE - frozenset(b".-")
"""What may not stand beside a name: `a.mp4` is not found in `data.mp4`, but in `a.mp4.` it is."""
_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)
_DIGITS[list(b"0123456789abcdef")] = range(16)


@dataclass(frozen=True)
class Targets:
    """What must not be found: ids of 16 hexadecimal digits, names and addresses, sha256 of media."""

    ids: frozenset[str]
    texts: tuple[str, ...] = ()
    sha256: frozenset[str] = frozenset()

    def in_bytes(self, data: bytes) -> set[str]:
        """What kinds of things the bytes hold: "id", "name"."""
        found = {"id"} if _holds_id(data, self._numbers) else set()
        return found | ({"name"} if any(next(places(data, s), None) is not None for s in self.spelled) else set())

    def is_media(self, sha256: str) -> bool:
        """Whether a file of this hash is the source itself, whose id its hash begins with, or was made from it."""
        return sha256 in self.sha256 or sha256[:ID_DIGITS] in self.ids

    @cached_property
    def _numbers(self) -> np.ndarray:
        return np.array(sorted(int(i, 16) for i in self.ids), np.uint64)

    @cached_property
    def spelled(self) -> list[bytes]:
        return sorted({s for t in self.texts for s in spellings(t)})


def spellings(text: str) -> set[bytes]:
    """The text in UTF-8, and as JSON, HTML and addresses write it."""
    plain = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text), quote(text)}
    return {t.encode() for t in plain}


def _holds_id(data: bytes, numbers: np.ndarray) -> bool:
    """Whether one of the numbers stands in the data as 16 digits, wherever in a longer run of digits.

    By numpy: a regular expression takes a second for 20 MB.
    """
    digits = _DIGITS[np.frombuffer(data, np.uint8)]
    begins = digits != _NO_DIGIT
    for step in (1, 2, 4, 8):  # doubles the length of the run that begins at each place
        begins = begins[:-step] & begins[step:]
    places = np.flatnonzero(begins)
    value = np.zeros(len(places), np.uint64)
    for i in range(ID_DIGITS):
        value = np.bitwise_or(value << np.uint64(4), digits[places + i], dtype=np.uint64)
    return bool(np.isin(value, numbers).any())


def places(data: bytes | mmap.mmap, text: bytes) -> Iterator[int]:
    """Where the name stands, as a name of its own."""
    at = data.find(text)
    while at >= 0:
        before, after = data[max(0, at - 1) : at], data[at + len(text) : at + len(text) + 1]
        if not (before and _BEFORE.issuperset(before)) and not (after and _AFTER.issuperset(after)):
            yield at
        at = data.find(text, at + 1)


@dataclass
class Searched:
    """How much was read, and where something was left: (place, kind)."""

    files: int = 0
    bytes: int = 0
    rows: int = 0
    unread: int = 0
    """Objects on a server whose address alone was looked at: media of other videos."""
    found: list[tuple[str, str]] = field(default_factory=list)

    def note(self, place: str, kinds: Iterable[str]) -> None:
        self.found += [(place, kind) for kind in sorted(kinds) if (place, kind) not in self.found]


def search(
    workspace: Workspace,
    targets: Targets,
    folders: Sequence[Path] = (),
    *,
    buckets: Sequence[Objects] = (),
    tables: Sequence[str] = (),
    skip: Sequence[Path] = (),
) -> Searched:
    """Every file of the workspace, of `folders` and of `buckets` (shards), every table, snapshot and row of the ledger, and
    the `tables` of shards."""
    told = Searched()
    roots = {workspace.settings.workspace, *folders}
    if "://" not in workspace.settings.objects_url:
        roots.add(Path(workspace.settings.objects_url))
    else:
        _search_bucket(workspace.objects, targets, told)
    for bucket in buckets:
        _search_bucket(bucket, targets, told)
    for uri in tables:
        for text in shard_table.texts(uri):
            told.rows += 1
            told.note(f"shards {uri}", targets.in_bytes(text.encode()))
    tops = [r for r in roots if not any(r != other and r.is_relative_to(other) for other in roots)]
    for file in (f for top in sorted(tops) for f in files_below(top)):
        if file not in skip:
            search_file(file, targets, told)
    _search_tables(workspace, targets, told)
    _search_snapshots(workspace, targets, told)
    _search_ledger(workspace, targets, told)
    _search_annotation(workspace, targets, told)
    return told


def files_below(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in sorted(names))


def search_file(file: Path, targets: Targets, told: Searched) -> None:
    """The file's path, bytes and hash; one that is gone meanwhile, a socket or a pipe holds nothing."""
    told.note(str(file), {f"{kind} in its path" for kind in targets.in_bytes(os.fsencode(file))})
    if not file.is_file() or file.is_symlink():
        return
    digest, kinds, before = hashlib.sha256(), set[str](), b""
    try:
        with file.open("rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                kinds |= targets.in_bytes(before + chunk)
                before = chunk[-_OVERLAP:]
                told.bytes += len(chunk)
    except FileNotFoundError:
        return
    told.files += 1
    told.note(str(file), kinds | ({"media"} if targets.is_media(digest.hexdigest()) else set()))


def _search_bucket(objects: Objects, targets: Targets, told: Searched) -> None:
    """Addresses of all objects; the bytes of those that are no media and no table, which are read as tables."""
    for uri, num_bytes in objects.under(""):
        told.note(uri, {f"{kind} in its address" for kind in targets.in_bytes(uri.encode())})
        if uri.startswith("media/") or ".lance/" in uri:
            told.unread += 1
            continue
        file = objects.local(uri, fresh=True)
        told.note(uri, targets.in_bytes(file.read_bytes()))
        told.files, told.bytes = told.files + 1, told.bytes + num_bytes


def _search_tables(workspace: Workspace, targets: Targets, told: Searched) -> None:
    record = workspace.record
    for table in record.tables(workspace.ledger.manifest()):
        newest = record.open(table)
        assert newest is not None, table
        for version in sorted(v["version"] for v in newest.versions()):
            dataset = record.open(table, version)
            assert dataset is not None, table
            names = [f.name for f in dataset.schema if _is_text(f.type)]
            for batch in dataset.to_batches(columns=names):
                told.rows += batch.num_rows
                for name in names:
                    told.note(f"table {table}, version {version}, column {name}", _in_column(batch[name], targets))


def _search_snapshots(workspace: Workspace, targets: Targets, told: Searched) -> None:
    for uri, _ in workspace.objects.under("snapshots"):
        if not uri.endswith(".snapshot"):
            continue
        held = snapshot.load(workspace.objects.local(uri))
        told.note(f"{uri}, its header", targets.in_bytes(json.dumps(dict(held.header)).encode()))
        told.rows += held.clips.num_rows
        for name in (n for n in held.clips.column_names if _is_text(held.clips.schema.field(n).type)):
            # The buffers, not the values: what a NULL hides may still be in the file.
            buffers = [b for chunk in held.clips[name].chunks for b in chunk.buffers() if b is not None]
            told.note(f"{uri}, column {name}", {k for b in buffers for k in targets.in_bytes(b.to_pybytes())})


def _search_ledger(workspace: Workspace, targets: Targets, told: Searched) -> None:
    """All rows but the journals of erasures, which name what goes until the search is over."""
    for table in metadata.sorted_tables:
        if table is erasures:
            continue
        for row in workspace.ledger.rows(table.select()):
            told.rows += 1
            told.note(f"ledger, table {table.name}", targets.in_bytes(" ".join(map(str, row.values())).encode()))


def _search_annotation(workspace: Workspace, targets: Targets, told: Searched) -> None:
    """All rows of annotation on a database server; a file of SQLite is searched as a file."""
    url = database_url(workspace.settings)
    database = None if url.startswith("sqlite") else existing(workspace.settings)
    if database is None:
        return
    try:
        for table in annotation_metadata.sorted_tables:
            for row in database.read(lambda c, t=table: c.execute(t.select()).all()):  # type: ignore[misc]
                told.rows += 1
                told.note(f"annotation, table {table.name}", targets.in_bytes(" ".join(map(str, row)).encode()))
    finally:
        database.close()


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _in_column(column: pa.Array | pa.ChunkedArray, targets: Targets) -> set[str]:
    texts = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    told = [v for v in texts.unique().to_pylist() if v]
    return targets.in_bytes("\n".join(told).encode())
