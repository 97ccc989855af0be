"""Object storage behind one interface: a folder by default, S3 by URL. Keys are relative, with forward slashes.

What is stored of an object is its key, so a workspace may be moved; sources outside of it have absolute addresses.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlparse


class Objects:
    """Media, snapshots and reports of a workspace. Every put is atomic: an object is there whole, or not at all."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self._cache = cache
        self._remote = "://" in url
        if self._remote and not url.startswith("s3://"):
            raise ValueError(f"object storage {url!r}: expected a folder or s3://bucket/prefix")

    def uri(self, key: str) -> str:
        """Where a key's object is; an absolute address is left as it is."""
        return key if "://" in key or key.startswith("/") else f"{self.url}/{key}"

    def put(self, source: Path, key: str) -> str:
        """Moves a local file in; gives the key back, which is what tables hold."""
        if self._remote:
            upload_s3(source, self.uri(key))
            source.unlink()
            return key
        target = Path(self.url) / key
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        shutil.move(source, staged)
        _sync(staged)
        staged.replace(target)
        return key

    def put_bytes(self, data: bytes, key: str) -> str:
        staged = self._cache / "staged" / uuid.uuid4().hex
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.write_bytes(data)
            return self.put(staged, key)
        finally:
            staged.unlink(missing_ok=True)  # where the disk is full, or storage refused

    def put_new(self, objects: Mapping[str, bytes], folder: str) -> None:
        """Puts objects whose address names their content; one that is there already is left, so a job that was killed
        goes on where it was. Raises ConnectionError when the storage can't be written now."""
        for address, data in objects.items():
            key = f"{folder}/{address}"
            try:
                if not self.exists(key):
                    self.put_bytes(data, key)
            except (OSError, StorageRefusedError) as error:
                raise ConnectionError(f"{self.uri(key)}: can't be written now ({error})") from error

    def local(self, uri: str, *, fresh: bool = False) -> Path:
        """A local path for reading an object by its key or address; S3 objects are fetched into the cache once, and anew
        when asked `fresh`: for one that is not what it should be, or that may have changed."""
        uri = self.uri(uri)
        if not uri.startswith("s3://"):
            return local_path(uri)
        cached = self._cache / "objects" / hashlib.sha256(uri.encode()).hexdigest()[:32]
        cached = cached.with_suffix(Path(uri).suffix)
        return cached if cached.exists() and not fresh else download_s3(uri, cached)

    def under(self, folder: str) -> list[tuple[str, int]]:
        """(key, bytes) of the objects in a folder and below it, by name; half-written ones of a local folder too."""
        if self._remote:
            found = list_s3(self.uri(folder).rstrip("/") + "/")
            return [(uri.removeprefix(f"{self.url}/"), num_bytes) for uri, num_bytes, _ in found]
        files = sorted(f for f in Path(self.uri(folder)).rglob("*") if f.is_file() and not f.is_symlink())
        return [(f.relative_to(self.url).as_posix(), f.stat().st_size) for f in files]

    @property
    def is_local(self) -> bool:
        return not self._remote

    def delete(self, uris: Iterable[str]) -> None:
        """Deletes objects, with the folders that this leaves empty; one that is gone already is no error."""
        if self._remote:
            delete_s3([self.uri(uri) for uri in uris])
            return
        for uri in uris:
            file = local_path(self.uri(uri))
            file.unlink(missing_ok=True)
            for folder in file.parents:
                if folder == Path(self.url) or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()

    def drop_copies(self) -> None:
        """Deletes the local copies of objects; they are fetched again when they are read."""
        shutil.rmtree(self._cache, ignore_errors=True)

    def exists(self, uri: str) -> bool:
        uri = self.uri(uri)
        return exists_s3(uri) if uri.startswith("s3://") else local_path(uri).exists()


def local_uri(file: Path) -> str:
    """The path itself; a file:// address where its bytes are no UTF-8, which no database would take."""
    text = str(file)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(file))
    return text


def local_path(uri: str) -> Path:
    """The path that `local_uri` was made of."""
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))) if uri.startswith("file://") else Path(uri)


def s3_client() -> Any:
    """A client with credentials from the usual chain; AWS_ENDPOINT_URL points it at other servers."""
    import boto3

    return boto3.client("s3")


def split_s3(uri: str) -> tuple[str, str]:
    parsed = urlparse(uri)
    if parsed.scheme != "s3" or not parsed.netloc:
        raise ValueError(f"{uri!r} is no s3://bucket/key address")
    return parsed.netloc, parsed.path.lstrip("/")


class StorageRefusedError(ValueError):
    """Object storage can't be read or written; the message says what to do."""


_NEXT = (
    (
        "NoSuchBucket",
        "there is no bucket {bucket}; make it with `python -m store.bucket s3://{bucket}`, or correct the name",
    ),
    (
        "AccessDenied|Forbidden|403",
        "the key may not do that; its policy must allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on {bucket}",
    ),
    ("ExpiredToken|InvalidToken", "the credentials have expired; get new ones and run the same command again"),
    (
        "InvalidAccessKeyId|SignatureDoesNotMatch|NoCredentials|Unable to locate",
        "check AWS_ACCESS_KEY_ID and its secret, or AWS_PROFILE",
    ),
    (
        "Could not connect|connection refused|no such host|timed out|timeout",
        "check AWS_ENDPOINT_URL and the network, then run the same command again",
    ),
)


def refused(uri: str, what: str, error: object) -> StorageRefusedError:
    """An error that names the object or prefix, what storage said of it and the next step."""
    told = " ".join(str(error).split())
    if within := re.search(r"<Code>(\w+)</Code>.*?<Message>([^<]*)", told):
        told = f"{within[1]}: {within[2]}"  # what Lance tells is longer than what matters of it
    bucket = split_s3(uri)[0]
    steps = (step for codes, step in _NEXT if any(code.lower() in told.lower() for code in codes.split("|")))
    step = next(steps, "check that it exists and your credentials").format(bucket=bucket)
    return StorageRefusedError(f"{uri}: {what} ({told}); {step}")


@contextmanager
def _asking(uri: str, what: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        told = error
        # Asked for one object's head, a bucket that is not there says 404 as well.
        if error.operation_name == "HeadObject" and error.response["Error"]["Code"] == "404":
            told = _without_bucket(uri) or error
        raise refused(uri, what, told) from error
    except (BotoCoreError, Boto3Error) as error:
        raise refused(uri, what, error) from error


def _without_bucket(uri: str) -> Any:
    """The error of a bucket that is not there, None where it is."""
    from botocore.exceptions import ClientError

    try:
        s3_client().list_objects_v2(Bucket=split_s3(uri)[0], MaxKeys=1)
    except ClientError as error:
        return error
    return None


def list_s3(prefix: str) -> Iterator[tuple[str, int, str]]:
    """(uri, bytes, etag) of the objects below a prefix, by name. Raises ValueError for a bucket that can't be read."""
    bucket, name = split_s3(prefix)
    with _asking(prefix, "can't list it"):
        for page in s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=name):
            for item in page.get("Contents", []):
                yield f"s3://{bucket}/{item['Key']}", int(item["Size"]), str(item["ETag"]).strip('"')


def stat_s3(uri: str) -> tuple[int, str]:
    """(bytes, etag) of one object. Raises ValueError for one that can't be read."""
    bucket, name = split_s3(uri)
    with _asking(uri, "can't be read"):
        head = s3_client().head_object(Bucket=bucket, Key=name)
    return int(head["ContentLength"]), str(head["ETag"]).strip('"')


def exists_s3(uri: str) -> bool:
    """Without its bucket an object is not there. Raises ValueError where it can't be told: a key that may not ask."""
    from botocore.exceptions import ClientError

    bucket, name = split_s3(uri)
    with _asking(uri, "can't be looked for"):
        try:
            s3_client().head_object(Bucket=bucket, Key=name)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
    return True


def upload_s3(source: Path, uri: str) -> None:
    """Raises ValueError when it can't be written."""
    bucket, name = split_s3(uri)
    with _asking(uri, "can't be written"):
        s3_client().upload_file(str(source), bucket, name)


def delete_s3(uris: Sequence[str]) -> None:
    """Raises ValueError when one can't be deleted."""
    if not uris:
        return
    client = s3_client()
    for uri in uris:
        bucket, name = split_s3(uri)
        with _asking(uri, "can't be deleted"):
            client.delete_object(Bucket=bucket, Key=name)


def download_s3(uri: str, target: Path) -> Path:
    """Fetches one object to `target`, atomically. Raises ValueError for one that can't be read."""
    bucket, name = split_s3(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with _asking(uri, "can't fetch it"):
            s3_client().download_file(bucket, name, str(part))
    except (StorageRefusedError, OSError):
        part.unlink(missing_ok=True)
        raise
    part.replace(target)
    return target


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
