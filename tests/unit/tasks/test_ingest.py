"""Content decides what is new; rights come from a sidecar or a default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store.workspace import Workspace, open_workspace
from tasks.ingest import ingest


@pytest.fixture
def workspace(tmp_path: Path, either_ledger: str) -> Workspace:
    return open_workspace(tmp_path / "workspace")


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"one")
    (folder / "b.MOV").write_bytes(b"two")
    (folder / "notes.txt").write_text("no video")
    return folder


def videos(workspace: Workspace) -> dict[str, dict[str, object]]:
    with workspace.views() as reader:
        rows = reader.sql("SELECT * FROM videos JOIN rights USING (video_id) ORDER BY name").to_dicts()
    return {str(r["name"]): r for r in rows}


def test_a_folder_is_searched_by_suffix(workspace: Workspace, footage: Path) -> None:
    (footage / "a.mp4.rights.json").write_text('{"licence": "CC0-1.0"}')  # read, so not told as passed over
    seen = ingest(workspace, [str(footage)])
    assert (len(seen.new), seen.unchanged, seen.ignored) == (2, 0, {".txt": 1})
    assert set(videos(workspace)) == {"a.mp4", "b.MOV"}


def test_a_second_ingest_is_unchanged_and_commits_nothing(workspace: Workspace, footage: Path) -> None:
    ingest(workspace, [str(footage)])
    before = workspace.ledger.manifest().id
    seen = ingest(workspace, [str(footage)])
    assert (seen.new, seen.unchanged) == ([], 2)
    assert workspace.ledger.manifest().id == before


def test_the_same_content_under_two_names_is_one_video(workspace: Workspace, footage: Path) -> None:
    (footage / "copy.mp4").write_bytes(b"one")
    seen = ingest(workspace, [str(footage)])
    assert (len(seen.new), seen.unchanged) == (2, 1)


def test_a_touched_file_is_unchanged_and_a_changed_one_is_new(workspace: Workspace, footage: Path) -> None:
    ingest(workspace, [str(footage)])
    os.utime(footage / "a.mp4", (1, 1))
    assert ingest(workspace, [str(footage)]).new == []
    (footage / "a.mp4").write_bytes(b"three")
    assert len(ingest(workspace, [str(footage)]).new) == 1


def test_verify_sees_a_change_that_kept_size_and_time(workspace: Workspace, footage: Path) -> None:
    ingest(workspace, [str(footage)])
    before = (footage / "a.mp4").stat()
    with (footage / "a.mp4").open("r+b") as handle:
        handle.write(b"ONE")
    os.utime(footage / "a.mp4", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ingest(workspace, [str(footage)]).new == []
    assert len(ingest(workspace, [str(footage)], verify=True).new) == 1


def test_rights_come_from_the_sidecar_or_the_default(workspace: Workspace, footage: Path) -> None:
    (footage / "a.mp4.rights.json").write_text('{"licence": "CC-BY-4.0", "consent": "signed"}')
    ingest(workspace, [str(footage)])
    found = videos(workspace)
    assert (found["a.mp4"]["licence"], found["a.mp4"]["told_by"]) == ("CC-BY-4.0", "sidecar")
    assert (found["b.MOV"]["licence"], found["b.MOV"]["told_by"]) == ("unknown", "default")


def test_a_new_sidecar_is_seen_though_the_video_is_known(workspace: Workspace, footage: Path) -> None:
    ingest(workspace, [str(footage)])
    (footage / "a.rights.json").write_text('{"licence": "CC0-1.0"}')
    assert ingest(workspace, [str(footage)]).new == []
    assert videos(workspace)["a.mp4"]["licence"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "write an object"),
        ('{"licens": "MIT"}', "says 'licens'"),
        ('{"licence": ["MIT"]}', "each as a text"),
    ],
)
def test_a_broken_sidecar_leaves_rights_unknown_and_stops_nothing(
    workspace: Workspace, footage: Path, text: str, message: str
) -> None:
    (footage / "a.rights.json").write_text(text)
    seen = ingest(workspace, [str(footage)])
    assert len(seen.new) == 2
    ((name, reason),) = seen.rights
    assert name == "a.mp4"
    assert message in reason
    assert videos(workspace)["a.mp4"]["consent"] == "unknown"
    assert ingest(workspace, [str(footage)]).rights == []
    (footage / "a.rights.json").write_text('{"consent": "signed"}')
    ingest(workspace, [str(footage)])
    assert videos(workspace)["a.mp4"]["consent"] == "signed"


def test_a_copy_without_a_sidecar_changes_no_rights(workspace: Workspace, footage: Path) -> None:
    (footage / "a.rights.json").write_text('{"licence": "CC-BY-4.0", "consent": "no"}')
    (footage / "copy.mp4").write_bytes(b"one")
    ingest(workspace, [str(footage)])
    (footage / "later.mp4").write_bytes(b"one")
    ingest(workspace, [str(footage)])
    found = videos(workspace)["a.mp4"]
    assert (found["licence"], found["consent"], found["told_by"]) == ("CC-BY-4.0", "no", "sidecar")


def test_rights_are_taken_back_with_their_sidecar(workspace: Workspace, footage: Path) -> None:
    (footage / "a.rights.json").write_text('{"licence": "CC0-1.0"}')
    ingest(workspace, [str(footage)])
    (footage / "a.rights.json").unlink()
    ingest(workspace, [str(footage)])
    assert (videos(workspace)["a.mp4"]["licence"], videos(workspace)["a.mp4"]["told_by"]) == ("unknown", "default")


def test_a_moved_file_is_followed(workspace: Workspace, footage: Path) -> None:
    ingest(workspace, [str(footage)])
    (footage / "a.mp4").rename(footage / "moved.mp4")
    assert ingest(workspace, [str(footage)]).new == []
    assert set(videos(workspace)) == {"moved.mp4", "b.MOV"}
    assert str(videos(workspace)["moved.mp4"]["uri"]).endswith("/moved.mp4")


def test_a_path_that_is_not_there_says_so(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        ingest(workspace, ["/nowhere/at/all"])


def test_what_can_not_be_read_is_quarantined_with_its_reason(workspace: Workspace, footage: Path) -> None:
    os.mkfifo(footage / "pipe.mp4")
    (footage / "loop.mp4").symlink_to(footage / "loop.mp4")
    ingest(workspace, [str(footage)])
    found = videos(workspace)
    assert (found["pipe.mp4"]["state"], found["pipe.mp4"]["reason"]) == (
        "quarantined",
        "a pipe, socket or device, not a regular file",
    )
    assert "can't be read" in str(found["loop.mp4"]["reason"])


def test_a_name_as_long_as_may_be_leaves_no_room_for_a_sidecar(workspace: Workspace, footage: Path) -> None:
    (footage / ("n" * 251 + ".mp4")).write_bytes(b"long")
    assert len(ingest(workspace, [str(footage)]).new) == 3


def test_names_that_are_no_utf8_are_escaped(workspace: Workspace, footage: Path) -> None:
    with open(os.fsencode(footage) + b"/caf\xe9.mp4", "wb") as handle:
        handle.write(b"x")
    ingest(workspace, [str(footage)])
    (row,) = [r for n, r in videos(workspace).items() if n.startswith("caf")]
    assert row["name"] == "caf%E9.mp4"
    assert workspace.objects.local(str(row["uri"])).read_bytes() == b"x"


@pytest.mark.parametrize("first", ["a.mp4", "copy.mp4"])
def test_copies_that_say_different_things_leave_it_unknown(workspace: Workspace, footage: Path, first: str) -> None:
    """Whatever is met first: a copy with kinder words must not launder a video."""
    (footage / "copy.mp4").write_bytes(b"one")
    for name, consent in (("a.mp4", "not-recorded"), ("copy.mp4", "yes")):
        told = f'{{"licence": "CC0-1.0", "consent": "{consent}", "origin": "{name}"}}'
        (footage / f"{name}.rights.json").write_text(told)
    ingest(workspace, [str(footage / first)])
    seen = ingest(workspace, [str(footage)])
    (row,) = (r for r in videos(workspace).values() if r["name"] != "b.MOV")
    assert (row["licence"], row["consent"]) == ("CC0-1.0", "unknown")
    ((_, why),) = seen.rights
    assert "says consent 'not-recorded'" in why
    assert "copy.mp4 says 'yes'; make them agree" in why
    (footage / "copy.mp4.rights.json").unlink()
    ingest(workspace, [str(footage)])
    (row,) = (r for r in videos(workspace).values() if r["name"] != "b.MOV")
    assert (row["consent"], row["told_by"]) == ("not-recorded", "sidecar")
