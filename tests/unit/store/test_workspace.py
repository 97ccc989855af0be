"""Opening a workspace and what queries leave in it."""

from __future__ import annotations

import os
from pathlib import Path

from store.workspace import open_workspace


def test_what_a_killed_query_left_on_disk_goes_after_a_day(tmp_path: Path) -> None:
    opened = open_workspace(tmp_path / "w")
    spill = opened.scratch / "sql"
    spill.mkdir(parents=True)
    left, other = spill / "left.tmp", spill / "of_another_process.tmp"
    left.touch()
    other.touch()
    os.utime(left, (0, 0))
    with opened.views() as reader, reader.in_pieces(512):
        assert not left.exists()
        assert other.exists()
