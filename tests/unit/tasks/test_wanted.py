"""What was asked for stays asked, in whose name it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import ledger
from store.workspace import Workspace, open_workspace
from tasks.signals import discover
from tasks.wanted import ask, wanted


@pytest.fixture
def workspace(tmp_path: Path, either_ledger: str) -> Workspace:
    made = open_workspace(tmp_path / "workspace")
    own = made.settings.workspace / "tiers"
    own.mkdir()
    (own / "still.sql").write_text("SELECT clip_id FROM signals WHERE motion_camera_speed < 1")
    return made


def test_everything_is_wanted_where_nobody_has_asked(workspace: Workspace) -> None:
    assert wanted(workspace).signals is None


def test_a_tier_asks_for_what_it_reads_and_needs(workspace: Workspace) -> None:
    ask(workspace, tiers=["still"])
    found = wanted(workspace)
    assert (found.signals, found.tiers) == ((), ("still",))
    assert [p.tiers for p in found.passes()] == [("still",)]
    rows = workspace.ledger.rows(ledger.wanted.select())
    assert {r["signal"] for r in rows if r["asked_by"] == "tier:still"} >= {"motion", "flow"}
    assert "speech" not in {r["signal"] for r in rows}


def test_the_operator_asks_for_all_or_some(workspace: Workspace) -> None:
    ask(workspace, signals=["motion"])
    assert "speech" not in (wanted(workspace).signals or ())
    assert [p.signals for p in wanted(workspace).passes(["still"])] == [wanted(workspace).signals]
    ask(workspace)
    assert wanted(workspace).signals is None
    assert [(p.signals, p.tiers) for p in wanted(workspace).passes(["still"])] == [(None, ("still",)), (None, ())]


def test_a_tier_that_is_gone_wants_nothing(workspace: Workspace) -> None:
    ask(workspace, tiers=["still"])
    (workspace.settings.workspace / "tiers" / "still.sql").unlink()
    assert wanted(workspace).tiers == ()


def test_the_signals_are_written_down_as_they_are(workspace: Workspace) -> None:
    ask(workspace)
    rows = {r["name"]: r for r in workspace.ledger.rows(ledger.signals.select())}
    assert {n: r["fingerprint"] for n, r in rows.items()} == {n: s.fingerprint for n, s in discover().items()}
    assert rows["faces"]["grain"] == "video"


def test_an_unknown_tier_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="tier 'nonsense' is none of"):
        ask(workspace, tiers=["nonsense"])
