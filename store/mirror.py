"""A workspace's tables, media and snapshots copied into a bucket, or back from one into its folder.

The ledger stays: it says which versions of the tables belong together, so it may be moved by its own means, and what is
copied is what it names. Tables' manifests go last, so whoever reads the copy meanwhile sees whole versions only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store import bulk
from store.objects import Objects, list_s3, split_s3
from store.record import manifest_version
from store.workspace import Workspace

OF_THIS_MACHINE = ("cache", "scratch", "prefect", "report", "tiers")
"""Folders of a workspace that hold no objects; nor does any file beside them, as the ledger."""
ROUNDS = 5


@dataclass
class Mirrored:
    """What a copy moved; `already` lay there as it is, `only_there` is nothing of the workspace's."""

    source: str
    place: str
    objects: int = 0
    bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    already: int = 0
    only_there: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Progress = Callable[[Mirrored], None]


def mirror(workspace: Workspace, place: str, progress: Progress = lambda told: None) -> Mirrored:
    """Brings a bucket prefix to what a local workspace holds, or a folder to what a workspace in a bucket holds.

    Killed, it goes on where it was when it is called again. It ends when all of it is there, by size and digest, and
    nothing was committed meanwhile. Raises ValueError for a place that can't be meant, that holds newer tables, or that
    refuses; OSError when the disk is full.
    """
    source = workspace.objects
    remote = place.startswith("s3://")
    if "://" in place and not remote:
        raise ValueError(f"mirror: {place} is no place for it; give s3://bucket/prefix or a folder")
    if remote != source.is_local:
        raise ValueError(
            f"mirror: {source.url} and {place} are both {'buckets' if remote else 'folders'}; "
            f"copy them by {'aws s3 sync or s5cmd' if remote else 'cp -a or rsync'} while nothing writes"
        )
    target = Objects(place if remote else str(Path(place).absolute()), workspace.settings.workspace / "cache")
    if remote:
        split_s3(target.url)
    folder = Path(source.url if remote else target.url)
    prefix = target.url if remote else source.url
    told = Mirrored(source.url, target.url)
    with _only_one(workspace):
        for number in range(ROUNDS):
            manifest = workspace.ledger.manifest()
            left = _left(folder, prefix, told, to_bucket=remote)
            if number == 0:
                told.already = told.objects - len(left)
            if not left and manifest == workspace.ledger.manifest():
                return told
            for pieces in _in_order(left):
                _move(pieces, folder, told, progress, to_bucket=remote)
    raise ValueError(
        f"mirror: {source.url} was written to all the while; end what writes to it, then run the same command again"
    )


def _move(pieces: Sequence[bulk.Piece], folder: Path, told: Mirrored, progress: Progress, *, to_bucket: bool) -> None:
    def done(num_bytes: int) -> None:
        told.sent += 1
        told.sent_bytes += num_bytes
        progress(told)

    if to_bucket:
        bulk.send(pieces, done)
    else:
        bulk.fetch(pieces, folder, done)


def _left(folder: Path, prefix: str, told: Mirrored, *, to_bucket: bool) -> list[bulk.Piece]:
    """What is still to be moved."""
    held = {uri.removeprefix(f"{prefix}/"): (size, etag) for uri, size, etag in list_s3(f"{prefix}/")}
    here = {f.relative_to(folder).as_posix(): f for f in _objects(folder)}
    source, there = (set(here), set(held)) if to_bucket else (set(held), set(here))
    _refuse_newer(source, there, prefix if to_bucket else str(folder))
    left = []
    for key in sorted(source):
        file, uri = folder / key, f"{prefix}/{key}"
        if key not in there or not bulk.is_same(file, uri, *held[key]):
            left.append(bulk.Piece(file, uri, file.stat().st_size if to_bucket else held[key][0]))
    told.objects, told.only_there = len(source), len(there - source)
    told.bytes = sum((here[k].stat().st_size if to_bucket else held[k][0]) for k in source)
    return left


def _objects(folder: Path) -> Iterator[Path]:
    """Files of a workspace that are objects; half-written ones have names that begin with a dot."""
    for top in sorted(folder.iterdir()) if folder.is_dir() else ():
        if top.name in OF_THIS_MACHINE or top.name.startswith(".") or not top.is_dir() or top.is_symlink():
            continue
        for root, folders, names in os.walk(top):
            folders[:] = [f for f in folders if f != "_torn"]
            yield from (Path(root, n) for n in names if not n.startswith(".") and not Path(root, n).is_symlink())


def _in_order(pieces: Sequence[bulk.Piece]) -> Iterator[Sequence[bulk.Piece]]:
    """First what tables' manifests name, then the manifests."""
    for last in (False, True):
        part = [p for p in pieces if _is_manifest(p.uri) == last]
        if part:
            yield part


def _is_manifest(key: str) -> bool:
    return "/_versions/" in key


def _refuse_newer(source: set[str], there: set[str], place: str) -> None:
    """Somebody who wrote to the copy has made versions of his own: ours among them would be read as his."""
    for key in sorted(there - source):
        if not key.endswith(".manifest"):
            continue
        folder = key.rpartition("/")[0]
        ours = [manifest_version(Path(k)) for k in source if k.endswith(".manifest") and k.startswith(f"{folder}/")]
        if ours and manifest_version(Path(key)) > max(ours):
            raise ValueError(f"mirror: {place}/{key} is newer than the workspace's; give an empty place")


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[None]:
    with (workspace.settings.workspace / ".mirroring").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError("mirror: another one of this workspace is under way; wait for it") from None
        yield
