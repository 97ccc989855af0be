"""The command line where nothing is curated: wrong calls, wrong folders, help."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.workspace import open_workspace
from tests.e2e.test_demo import headroom, run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new one, without a video."""
    folder = tmp_path_factory.mktemp("e2e") / "workspace"
    open_workspace(folder).ledger.manifest()
    return folder


def test_a_command_that_reads_makes_no_workspace(tmp_path: Path) -> None:
    told = run("status", workspace=tmp_path / "typo", code=2)
    assert "there is no workspace at" in told["error"]
    assert not (tmp_path / "typo").exists()


def test_a_folder_without_a_video_is_told(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    said = headroom("curate", tmp_path, "--workspace", workspace)
    assert said.code == 0
    assert f"headroom: no video under {tmp_path}" in said.err
    assert "no video under" not in headroom("curate", "--workspace", workspace).err


def test_a_folder_of_footage_is_no_workspace(tmp_path: Path) -> None:
    told = run("status", workspace=tmp_path, code=2)
    assert "there is no workspace at" in told["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    assert "it must be a Headroom ledger" in run("status", workspace=tmp_path, code=2)["error"]


def test_the_bare_command_helps_and_tells_its_version() -> None:
    for arguments, told in ((["--version"], "headroom 0.1.0"), ([], "Commands:")):
        said = headroom(*arguments)
        assert told in said.out
        assert said.err == ""


def test_debug_shows_where_an_error_comes_from(workspace: Path) -> None:
    said = headroom("tier", "show", "none", "--workspace", workspace, "--debug")
    assert said.code == 2
    assert "Traceback (most recent call last)" in said.err
    assert said.err.strip().splitlines()[-1].startswith("headroom: tier 'none' is none of")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("curate", "/nowhere"), "no such file or folder"),
        (("curate", "--tier", "nonsense"), "tier 'nonsense' is none of"),
        (("sql", "DROP TABLE clips"), "SELECT"),
        (("sql", "SELECT * FROM '/etc/passwd'"), "passwd"),
        (("tier", "build", "nonsense"), "is none of"),
        (("tier", "explain", "nonsense"), "'nonsense' is no clip here"),
        (("reclip", "--set", "min_s=nan"), "min_s is nan; give a finite number"),
        (("trace", "nonsense"), "is no video, clip, identity, snapshot or checkpoint"),
        (("tier", "diff", "nonsense"), "is no tier with a snapshot"),
        (("reprocess", "--budget", "soon"), "write it as 2h"),
        (("reclip", "--set", "length=3"), "is none of"),
        (("grid", "SELECT 1", "out.mp4"), "clip_id"),
    ],
)
def test_a_wrong_call_ends_in_one_clear_line(workspace: Path, arguments: tuple[str, ...], message: str) -> None:
    said = headroom(*arguments, "--workspace", workspace)
    assert said.code == 2
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err
