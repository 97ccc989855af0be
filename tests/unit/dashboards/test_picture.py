"""The README's picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from dashboards.picture import main, write_picture
from store.workspace import Workspace, open_workspace

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.usefixtures("quick_sql")
def test_the_picture_tells_the_counts(filled: Workspace, tmp_path: Path) -> None:
    out = write_picture(filled, tmp_path / "funnel.svg")
    root = ElementTree.parse(out).getroot()
    texts = [t.text for t in root.iter(f"{SVG}text")]
    for told in ("found", "8", "−2 quarantined", "t_wide", "t_narrow", "motion_static_ratio", "visual_quality_quality"):
        assert told in texts
    bars = {r.get("class"): float(r.get("width", 0)) for r in root.iter(f"{SVG}rect") if "fill t" in r.get("class", "")}
    assert sorted(bars.values()) == [111.0, 222.0]
    assert not list(root.iter(f"{SVG}image"))
    assert out.read_bytes() == write_picture(filled, tmp_path / "again.svg").read_bytes()


def test_a_workspace_without_clips_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no clips; run headroom curate first"):
        write_picture(open_workspace(tmp_path / "empty"), tmp_path / "funnel.svg")


def test_the_picture_is_made_by_a_command(filled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "funnel.svg"
    monkeypatch.setattr("sys.argv", ["picture", str(out), "--workspace", str(filled.settings.workspace)])
    main()
    assert out.read_text(encoding="utf-8").startswith("<svg")
