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


def test_a_column_that_no_signal_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir()
    sql = "SELECT clip_id FROM signals WHERE {} IS NOT NULL"
    (folder / "typo.sql").write_text(sql.format("lip_sync_ofset_ms"))
    (folder / "right.sql").write_text(sql.format("lip_sync_reason"))
    with pytest.raises(
        ValueError, match="tier typo: signal lip_sync has no column lip_sync_ofset_ms; it has lip_sync_offset_ms"
    ):
        tier.parsed(workspace, "typo")
    assert tier.parsed(workspace, "right").signals == ("lip_sync",)
