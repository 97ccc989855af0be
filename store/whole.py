"""Whether the files that a version of a table names are there whole: a power loss may keep a manifest and lose its data."""

from __future__ import annotations

import os
from pathlib import Path

import lance

ENDS = {".lance": b"LANC", ".arrow": b"ARROW1"}
"""The last bytes of a file of a kind. A deletion vector's third kind, `.bin`, has none; it is looked at for its length alone."""


def torn_files(dataset: lance.LanceDataset, folder: Path) -> list[Path]:
    """Of a table on a local disk: files that are missing, shorter than the manifest says, or without their end.

    A page in the middle that was lost is not seen: that would take reading all of it.
    """
    torn = []
    for fragment in dataset.get_fragments():
        named = [(folder / "data" / f.path, f.file_size_bytes) for f in fragment.data_files()]
        if deleted := fragment.deletion_file():
            named.append((folder / deleted, None))
        torn += [file for file, num_bytes in named if not _is_whole(file, num_bytes)]
    return torn


def _is_whole(file: Path, num_bytes: int | None) -> bool:
    try:
        with file.open("rb") as handle:
            size, end = os.fstat(handle.fileno()).st_size, ENDS.get(file.suffix, b"")
            if not size or (num_bytes and size != num_bytes) or size < len(end):
                return False
            handle.seek(-len(end), os.SEEK_END)
            return handle.read(len(end)) == end
    except FileNotFoundError:
        return False
