"""A list of sources: a CSV, JSON lines or Parquet file that names videos and, where it says so, their rights.

Column `uri` holds a path (a relative one counts from the list's own place) or an s3:// address; `licence`, `consent` and
`origin` are those of the video, and an empty cell says nothing. Other columns are left alone.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from store.objects import download_s3, local_path
from tasks.rights import RIGHTS_KEYS

SUFFIXES = (".csv", ".jsonl", ".parquet")


def is_list(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def read_list(path: str) -> Iterator[tuple[str, bytes | None]]:
    """(address, rights as a sidecar would hold them) of each row, in the list's order; a doubled address once.

    Raises ValueError for a file that is no such list, naming the row where it is a row's fault.
    """
    rows = _rows(path)
    seen = set[str]()
    for number, row in enumerate(rows, 1):
        address = row.get("uri")
        if not isinstance(address, str) or not address.strip():
            raise ValueError(f"{path}: row {number} has no uri; give a path or an s3:// address in each")
        uri = _absolute(path, address.strip(), number)
        if uri in seen:
            continue
        seen.add(uri)
        told = {key: row[key] for key in RIGHTS_KEYS if row.get(key) not in (None, "")}
        yield uri, json.dumps(told, sort_keys=True).encode() if told else None


def _rows(path: str) -> list[dict[str, object]]:
    import polars as pl

    with tempfile.TemporaryDirectory() as folder:
        file = download_s3(path, Path(folder) / "list") if path.startswith("s3://") else Path(path)
        try:
            match PurePosixPath(path).suffix.lower():
                case ".csv":
                    table = pl.read_csv(file, infer_schema=False)
                case ".jsonl":
                    table = pl.read_ndjson(file, infer_schema_length=None)
                case _:
                    table = pl.read_parquet(file)
        except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise ValueError(f"{path}: can't be read as a list of sources ({why})") from error
    if "uri" not in table.columns:
        raise ValueError(f"{path}: a list of sources needs a column uri, this one has {', '.join(table.columns)}")
    return table.select(c for c in table.columns if c in ("uri", *RIGHTS_KEYS)).to_dicts()


def _absolute(path: str, address: str, number: int) -> str:
    if address.startswith("file://"):
        return str(local_path(address))
    if "://" in address and not address.startswith("s3://"):
        raise ValueError(f"{path}: row {number}: {address} is neither a path nor an s3:// address")
    if address.startswith("s3://"):
        return address
    if path.startswith("s3://"):
        return f"{path.rsplit('/', 1)[0]}/{address}"
    return os.path.abspath(Path(path).parent / address)
