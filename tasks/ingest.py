"""Sources into rows of `videos` and `rights`: content decides what is new, never the path or the time."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from store.objects import download_s3, list_s3, local_path, local_uri, stat_s3
from store.record import Batch, table_of
from store.schema import RIGHTS, VIDEOS
from store.workspace import Workspace
from tasks.rights import RIGHTS_SUFFIX, rights_row, sidecar_of
from tasks.source_list import is_list, read_list

VIDEO_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".dv",
        ".f4v",
        ".flv",
        ".gif",
        ".h264",
        ".h265",
        ".hevc",
        ".ivf",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".ogv",
        ".qt",
        ".rm",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".wtv",
        ".y4m",
    ]
)
"""What a folder is searched for; a file named on the command line is taken whatever its name."""


@dataclass(frozen=True)
class Source:
    """One file or object: where it is, and a cheap hint that changes when it does."""

    uri: str
    num_bytes: int
    hint: str
    unreadable: str = ""
    rights: bytes | None = None
    """As a list of sources tells them."""


@dataclass
class Ingested:
    """What an ingest saw: ids of new videos, counts of what was known or passed over."""

    new: list[str] = field(default_factory=list)
    unchanged: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    """Names of videos whose content is at no address any more."""
    erased: int = 0
    """Sources that were passed over, since they were erased from this workspace."""
    rights: list[tuple[str, str]] = field(default_factory=list)
    """(name, what is wrong) of sidecars that can't be used; their videos' rights are unknown until they are mended."""


def find_sources(path: str) -> Iterator[Source | str]:
    """The sources under a file, a folder (searched for VIDEO_SUFFIXES) or an s3:// prefix, by name, or in a list.

    Also yields, as a string, the suffix of each file that is passed over. Raises ValueError for a path that isn't there.
    """
    if is_list(path):
        if not path.startswith("s3://"):
            refuse_missing([path])
        for uri, rights in read_list(path):
            found = _s3_source(uri) if uri.startswith("s3://") else local_source(Path(uri))
            yield replace(found, rights=rights)
        return
    if path.startswith("s3://"):
        for uri, num_bytes, etag in list_s3(path):
            if Path(uri).suffix.lower() in VIDEO_SUFFIXES or uri == path:
                yield Source(uri, num_bytes, f"etag:{etag}")
            else:
                yield Path(uri).suffix.lower()
        return
    refuse_missing([path])
    root = Path(os.path.abspath(path))
    if not root.is_dir():
        yield local_source(root)
        return
    for folder, folders, files in os.walk(root):  # symbolic links to folders are not followed: no circles
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield local_source(Path(folder) / name)
            elif not name.endswith(RIGHTS_SUFFIX):  # read beside its video
                yield Path(name).suffix.lower() or name


def _s3_source(uri: str) -> Source:
    try:
        num_bytes, etag = stat_s3(uri)
    except ValueError as error:
        return Source(uri, 0, "", str(error))
    return Source(uri, num_bytes, f"etag:{etag}")


def refuse_missing(paths: Iterable[str]) -> None:
    """Raises ValueError for a path on this machine that isn't there."""
    for path in paths:
        if not path.startswith("s3://") and not os.path.lexists(path):
            raise ValueError(f"{path}: no such file or folder")


def ingest(workspace: Workspace, paths: Sequence[str], *, verify: bool = False, readmit: bool = False) -> Ingested:
    """Registers every source under the paths; a source whose content is known is only counted.

    Size, mtime and inode (or the ETag) spare reading a file again; `verify` reads it all the same. What was erased
    from this workspace is passed over, wherever it is met, unless `readmit` takes it in again.
    """
    from store import ledger as tables

    ledger = workspace.ledger
    known_sources = {row["uri"]: row for row in ledger.rows(tables.sources.select())}
    any_erased = bool(ledger.rows(tables.erased.select().limit(1)))
    manifest = ledger.manifest()
    rows = workspace.record.read(manifest, "videos", ["video_id", "name", "uri", "state", "stage"]).to_pylist()
    known_videos = {row["video_id"]: row["uri"] for row in rows}
    # Their content was nowhere to be found: seen anywhere again, they are tried again.
    missing = {row["video_id"] for row in rows if row["state"] == "removed" or row["stage"] == "source"}
    addresses: dict[str, set[str]] = {}
    for row in known_sources.values():
        addresses.setdefault(row["video_id"], set()).add(row["uri"])
    seen, batch, told, met = Ingested(), Batch(), [], set[str]()
    lists = {path_of(p) for p in paths if is_list(p)}
    entries = ledger.rows(tables.listed.select())
    # What a list says of an address stands when the address is met by another way too. Of several lists that name it, all
    # are heard before any is believed: the one that is read last must not win, or each run would change the rights anew.
    by_list: dict[str, dict[str, bytes]] = {}
    for r in entries:
        if r["rights"] and r["list"] not in lists:
            by_list.setdefault(r["uri"], {})[r["list"]] = r["rights"].encode()
    of_paths = [(path, list(find_sources(path)) if is_list(path) else find_sources(path)) for path in paths]
    for path, found in of_paths:
        for source in found if isinstance(found, list) else ():
            if isinstance(source, Source) and source.rights:
                by_list.setdefault(source.uri, {})[path_of(path)] = source.rights
    listed_now: dict[tuple[str, str], str] = {}
    for path, found in of_paths:
        for source in found:
            if isinstance(source, str):
                seen.ignored[source] = seen.ignored.get(source, 0) + 1
                continue
            met.add(source.uri)
            if is_list(path):
                listed_now[path_of(path), source.uri] = (source.rights or b"").decode()
            words = _heard(source.uri, by_list.get(source.uri, {}))
            if not words and (beside := sidecar_of(source.uri)) is not None:
                words = {source.uri: (beside, "sidecar")}
            rights = b"\n".join(sorted({text for text, _ in words.values()})) if words else None
            rights_sha256 = hashlib.sha256(rights).hexdigest() if rights else ""
            known = known_sources.get(source.uri)
            same = known is not None and known["hint"] == source.hint and not verify
            untouched = same and known is not None and known["rights_sha256"] == rights_sha256
            if untouched and known is not None and known["video_id"] not in missing:
                seen.unchanged += 1
                continue
            address = address_of(source.uri, source.hint)
            if any_erased and known is None and not readmit and ledger.erased([address]):
                seen.erased += 1
                listed_now.pop((path_of(path), source.uri), None)
                continue
            video_id = str(known["video_id"]) if same and known is not None else _content_id(workspace, source)
            if any_erased and readmit:
                ledger.readmit(video_id)
            elif any_erased and (by := ledger.erased_by(video_id)):
                ledger.put(
                    tables.erased,
                    [{"hmac": tables.hmac_of(ledger.secret(), address), "kind": "address", "erasure": by}],
                )
                seen.erased += 1
                listed_now.pop((path_of(path), source.uri), None)
                continue
            is_new = video_id not in known_videos
            if not is_new:
                seen.unchanged += 1
                if video_id in missing or not _is_there(known_videos[video_id]):
                    batch.add("videos", _moved(video_id, source.uri, again=video_id in missing))
                    known_videos[video_id] = source.uri
                    missing.discard(video_id)
            else:
                known_videos[video_id] = source.uri
                seen.new.append(video_id)
                batch.add("videos", table_of([_video_row(source, video_id)], VIDEOS))
            gone = known is not None and bool(known["rights_sha256"]) and rights is None
            if gone or rights is not None or is_new:
                for other in addresses.get(video_id, set()) - {source.uri}:
                    if other in by_list:
                        words |= _heard(other, by_list[other])
                    elif (said := sidecar_of(other)) is not None:
                        words[other] = (said, "sidecar")
                addresses.setdefault(video_id, set()).add(source.uri)
                row = rights_row(workspace, video_id, source.uri, words)
                batch.add("rights", table_of([row], RIGHTS))
                if row["told_by"] not in ("sidecar", "list", "default"):
                    problem = (source.uri.rsplit("/", 1)[-1], str(row["told_by"]))
                    seen.rights += [problem] if problem not in seen.rights else []
            told.append(
                {
                    "uri": source.uri,
                    "video_id": video_id,
                    "num_bytes": source.num_bytes,
                    "hint": source.hint,
                    "rights_sha256": rights_sha256,
                    "seen_at": time.time(),
                }
            )
    lost = {uri for uri in known_sources if uri not in met and any(_under(uri, path) for path in paths)}
    left = [r for r in entries if r["list"] in lists and (r["list"], r["uri"]) not in listed_now]
    lost |= {r["uri"] for r in left if r["uri"] in known_sources and r["uri"] not in met}
    now_at = {uri: row["video_id"] for uri, row in known_sources.items() if uri not in lost}
    now_at |= {row["uri"]: row["video_id"] for row in told}
    without = {row["video_id"] for row in known_sources.values()} - set(now_at.values())
    for row in (r for r in rows if r["video_id"] in without):
        if row["state"] == "quarantined" and row["stage"] != "source":
            batch.add("videos", _removed(row["video_id"]))
        elif row["state"] != "removed":
            seen.gone.append(row["name"])
    if not batch.empty:
        workspace.commit(batch)
    # After the commit: were it before, a kill in between would leave a source that is known and has no video.
    held = {(r["list"], r["uri"]): r["rights"] for r in entries}
    new = [{"list": a, "uri": u, "rights": r} for (a, u), r in listed_now.items() if held.get((a, u)) != r]
    ledger.put(tables.listed, new)
    for row in left:
        ledger.drop(
            tables.listed.delete().where(tables.listed.c.list == row["list"], tables.listed.c.uri == row["uri"])
        )
    ledger.put(tables.sources, told)
    ledger.drop_sources(lost)
    return seen


def local_source(file: Path) -> Source:
    uri = local_uri(file)
    try:
        found = file.stat()
    except OSError as error:
        return Source(uri, 0, "", f"can't be read: {error.strerror}")
    if not stat.S_ISREG(found.st_mode):
        return Source(uri, 0, "", "a pipe, socket or device, not a regular file")
    return Source(uri, found.st_size, f"{found.st_size}:{found.st_mtime_ns}:{found.st_ino}")


def path_of(told: str) -> str:
    """A path as the ledger knows it."""
    return told if "://" in told else os.path.abspath(told)


def address_of(uri: str, hint: str) -> str:
    """An address with the hint that changes when what lies there does: what an erasure remembers, as an HMAC."""
    return f"{uri}\n{hint}"


def content_id(file: Path) -> str:
    """First 16 hex digits of the content's sha256. Raises OSError for a file that can't be read."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def _content_id(workspace: Workspace, source: Source) -> str:
    """The content's id; of the address for what has no content to read."""
    if source.unreadable:
        return hashlib.sha256(source.uri.encode()).hexdigest()[:16]
    if not source.uri.startswith("s3://"):
        return content_id(local_path(source.uri))
    path = download_s3(source.uri, workspace.scratch / "ingest" / hashlib.sha256(source.uri.encode()).hexdigest()[:32])
    found = content_id(path)
    path.unlink()
    return found


def _under(uri: str, path: str) -> bool:
    """Whether a search of `path` finds the address, if it is there."""
    if path.startswith("s3://"):
        return uri.startswith(path)
    return uri.startswith(local_uri(Path(os.path.abspath(path))).rstrip("/") + "/")


def _removed(video_id: str) -> pa.Table:
    told = {"video_id": video_id, "state": "removed", "stage": "source", "reason": "its file is gone or mended since"}
    return pa.table({n: pa.array([v], pa.string()) for n, v in told.items()})


def _is_there(uri: str) -> bool:
    return uri.startswith("s3://") or os.path.lexists(local_path(uri))


def _moved(video_id: str, uri: str, *, again: bool) -> pa.Table:
    """The video's new address; `again`: it is normalised anew."""
    told = {"video_id": [video_id], "uri": [uri], "name": [uri.rsplit("/", 1)[-1]]}
    anew = {"state": ["new"], "stage": [None], "reason": [None], "normalise_fingerprint": [None]}
    return pa.table({n: pa.array(v, pa.string()) for n, v in {**told, **(anew if again else {})}.items()})


def _video_row(source: Source, video_id: str) -> dict[str, object]:
    row: dict[str, object] = {
        "video_id": video_id,
        "name": source.uri.rsplit("/", 1)[-1],
        "uri": source.uri,
        "num_bytes": source.num_bytes,
        "state": "new",
        "ingested_at": time.time(),
    }
    if source.unreadable:
        row |= {"state": "quarantined", "stage": "ingest", "reason": source.unreadable, "normalise_fingerprint": "-"}
    return row


def _heard(uri: str, by_list: Mapping[str, bytes]) -> dict[str, tuple[bytes, str]]:
    """What lists say of an address, as `rights_row` takes it: once where they agree, by list where they don't."""
    one = len(set(by_list.values())) == 1
    return {uri if one else f"{uri} in {name}": (text, "list") for name, text in by_list.items()}
