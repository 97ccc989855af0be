"""Progress reaches standard error, whoever reads standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards import terminal
from tasks.curate import Progress


def test_progress_is_told_beside_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(terminal, "err", Console(stderr=True, highlight=False, width=120))
    with terminal.progress(quiet=True) as told:
        told(Progress("timelines", 0.0, 60.0, 0))
        told(Progress("timelines", 30.0, 60.0, 0))
        told(Progress("clip", 60.0, 60.0, 0))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "video signals: begins, 60 s of footage" in printed.err
    assert "video signals: 30 of 60 s of footage" in printed.err
    assert "smart clipping: 100 %" in printed.err


def test_equal_parts_are_told_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.counted("report", "pages", quiet=True) as told:
        for done in range(45):
            told(done, 44)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[:2] == ["report: 0 of 44 pages", "report: 4 of 44 pages"]
    assert lines[-1] == "report: 44 of 44 pages"
    assert len(lines) == 12


def test_rights_that_can_not_be_used_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.curated({"unusable_rights": [("a.mp4", "the sidecar is no JSON")]})
    assert "rights unknown" in " ".join(capsys.readouterr().out.split())


def test_next_steps_name_a_workspace_that_is_not_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal.next_steps("report/index.html", tmp_path / "workspace")
    assert " -w " not in capsys.readouterr().out
    terminal.next_steps("report/index.html", tmp_path / "elsewhere" / "workspace")
    assert f" -w {tmp_path / 'elsewhere' / 'workspace'} tier funnel" in capsys.readouterr().out
