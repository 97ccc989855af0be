"""A shard set as it lies in its place, a folder or an S3 prefix: tars, Lance tables, a list beside each shard, the index.

shards.json                            what the set is of
index.json, card.json, card.md         all of it at a glance, once it is whole
real/512p/9x16/4-8s/000000.tar         a shard as WebDataset
real/512p/9x16/4-8s/000000.json        its clips, and the hash of the tar
real/512p/9x16/4-8s/clips.lance/       the group as a Lance table
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.objects import Objects
from store.workspace import Workspace

FORMAT = "headroom shards 1"
FORMATS = ("webdataset", "lance")
ASKED, INDEX, TABLE = "shards.json", "index.json", "clips.lance"


@dataclass(frozen=True)
class ShardSet:
    """One set. Keys are relative to its place."""

    objects: Objects

    def read(self, key: str) -> dict[str, Any] | None:
        """A JSON object, None where there is none."""
        if not self.objects.exists(key):
            return None
        found: dict[str, Any] = json.loads(self.objects.local(key, fresh=True).read_bytes())
        return found

    def put(self, key: str, told: Any) -> None:
        self.objects.put_bytes(as_json(told), key)

    def table(self, group: str) -> str:
        return self.objects.uri(f"{group}/{TABLE}")

    def files(self) -> list[str]:
        """Of all objects but those inside of tables."""
        return [key for key, _ in self.objects.under("") if f"/{TABLE}/" not in f"/{key}"]

    def tables(self) -> list[str]:
        """Addresses of all Lance tables."""
        keys = [key for key, _ in self.objects.under("")]
        groups = {key.partition(f"/{TABLE}/")[0] for key in keys if f"/{TABLE}/" in key}
        return [self.table(group) for group in sorted(groups)]

    def lists(self) -> list[str]:
        """Keys of the shards' lists."""
        return sorted(k for k in self.files() if "/" in k and k.endswith(".json") and not Path(k).name.startswith("."))

    def stands(self, listed: dict[str, Any], in_table: Sequence[str]) -> bool:
        """Whether a shard's data are what its list says: a local tar by its hash, one on S3 by its size, rows by their
        clips."""
        tar, rows = listed.get("tar"), listed["formats"]
        if "lance" in rows and list(in_table) != listed["clips"]:
            return False
        if tar is None:
            return True
        if self.objects.is_local:
            file = Path(self.objects.uri(tar["path"]))
            return file.is_file() and file.stat().st_size == tar["bytes"] and sha256_of(file) == tar["sha256"]
        return (tar["path"], tar["bytes"]) in self.objects.under(tar["path"].rpartition("/")[0])

    def clear(self) -> None:
        """Deletes what a killed run left half written in a folder; S3 has whole objects only."""
        if self.objects.is_local:
            self.objects.delete(k for k in self.files() if Path(k).name.startswith("."))


def place(workspace: Workspace, out: str) -> ShardSet:
    """The set in a folder or at an s3:// address. Raises ValueError for any other address."""
    url = out if "://" in out else str(Path(out).absolute())
    return ShardSet(Objects(url, workspace.settings.workspace / "cache" / "shards"))


@contextmanager
def only_one(workspace: Workspace, url: str) -> Iterator[None]:
    """One writer of a set at a time; the lock ends with its holder. Raises ValueError while another writes."""
    lock = workspace.settings.workspace / f".sharding-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"shard: another process writes into {url}; wait for it") from None
        yield


def as_json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


def sha256_of(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def rows_of(file: Path, weights: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Rows of a Lance table from a shard's tar, clip by clip."""

    row: dict[str, Any] = {}
    with tarfile.open(file) as tar:
        for member in tar:
            clip, _, extension = member.name.partition(".")
            data = tar.extractfile(member)
            assert data is not None, member.name
            if row and row["clip_id"] != clip:
                yield row
                row = {}
            row |= {"clip_id": clip, "weight": weights.get(clip)}
            column = f"timeline_{extension[: -len('.arrow')]}" if extension.endswith(".arrow") else extension
            row[column] = data.read().decode() if extension == "json" else data.read()
    if row:
        yield row
