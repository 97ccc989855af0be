"""Where the content of a video lies now, and whether it still is what was curated."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from threading import Lock

from store import ledger as tables
from store.objects import download_s3, exists_s3, local_path
from store.workspace import Workspace
from tasks.ingest import content_id, local_source
from tasks.media.errors import MediaError
from tasks.media.source_cut import Origin, origin

KEPT_BYTES, KEPT_FILES = 16 << 30, 64
"""Of sources fetched from S3, at a time: no more bytes, but always so many files, since some are being cut."""


class SourceFiles:
    """Sources of videos, each looked for once. What is fetched from S3 lies in `scratch`."""

    def __init__(self, workspace: Workspace, scratch: Path) -> None:
        self._scratch = scratch
        self._seen: dict[str, dict[str, str]] = {}
        for row in workspace.ledger.rows(tables.sources.select().order_by(tables.sources.c.uri)):
            self._seen.setdefault(row["video_id"], {})[row["uri"]] = row["hint"]
        self._origins: dict[str, Origin] = {}
        self._fetched: dict[str, Path] = {}
        self._lock = Lock()

    def lost(self, video_id: str, uri: str) -> str:
        """Why the video can't be cut from its source; empty when it can. One on S3 is only asked for until it is fetched."""
        reasons = []
        for address, hint in self._addresses(video_id, uri).items():
            reason = _gone(address) if address.startswith("s3://") else _changed(address, hint, video_id)
            if not reason:
                return ""
            reasons.append(reason)
        return "; ".join(reasons)

    def open(self, video_id: str, uri: str) -> Origin:
        """Raises MediaError (stage "source") when it is gone or changed, or can't be opened."""
        with self._lock:
            if video_id not in self._origins or not self._origins[video_id].path.exists():
                self._origins[video_id] = origin(self._file(video_id, uri))
            return self._origins[video_id]

    def _addresses(self, video_id: str, uri: str) -> dict[str, str]:
        return self._seen.get(video_id) or {uri: ""}

    def _file(self, video_id: str, uri: str) -> Path:
        reasons = []
        for address, hint in self._addresses(video_id, uri).items():
            if address.startswith("s3://"):
                try:
                    return self._fetch(video_id, address)
                except ValueError as error:
                    reasons.append(str(error))
                    continue
            reason = _changed(address, hint, video_id)
            if not reason:
                return local_path(address)
            reasons.append(reason)
        raise MediaError("source", "; ".join(reasons))

    def _fetch(self, video_id: str, address: str) -> Path:
        """Raises ValueError when it can't be fetched, and when it is not what was curated."""
        while len(self._fetched) > KEPT_FILES and sum(f.stat().st_size for f in self._fetched.values()) > KEPT_BYTES:
            self._fetched.pop(next(iter(self._fetched))).unlink()
        name = hashlib.sha256(address.encode()).hexdigest()[:32] + Path(address).suffix
        file = download_s3(address, self._scratch / "sources" / name)
        if content_id(file) != video_id:
            file.unlink()
            raise ValueError(f"{address} holds something else than what was curated")
        self._fetched[video_id] = file
        return file


def _gone(address: str) -> str:
    return "" if exists_s3(address) else f"{address} is gone"


def _changed(address: str, hint: str, video_id: str) -> str:
    """Why a file on this machine is not the video's content; empty when it is. Size, mtime and inode as they were spare
    reading it."""
    file = local_path(address)
    if not os.path.lexists(file):
        return f"{address} is gone"
    found = local_source(file)
    if found.unreadable:
        return f"{address} {found.unreadable}"
    if found.hint == hint:
        return ""
    try:
        return "" if content_id(file) == video_id else f"{address} was changed since it was curated"
    except OSError as error:
        return f"{address} can't be read ({error.strerror})"
