"""Tiers as files: one that can't be read spoils nothing but itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.workspace import open_workspace
from tasks import tier


def test_a_file_that_is_no_text_spoils_only_its_own_tier(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir()
    (folder / "mine.sql").write_text("SELECT clip_id FROM clips WHERE duration_s > 3 -- source: chosen\n")
    (folder / "broken.sql").write_bytes(b"\xff\xfe\x00SELECT")
    assert tier.parsed(workspace, "mine").clauses[0].sql
    with pytest.raises(ValueError, match="broken"):
        tier.parsed(workspace, "broken")
