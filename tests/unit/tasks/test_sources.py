"""A video is its content: what happens when its file moves, goes, or is another one when it is normalised again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.workspace import Workspace, open_workspace
from tasks import jobs, plan
from tasks.curate import Outcome, bring_up_to_date
from tasks.ingest import ingest
from tests.unit.tasks import stand_in

Renew = Callable[[], None]


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    stand_in.make_video(folder / "a.mp4", 3.0, luma=90)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, footage: Path, use: Any, either_ledger: str) -> Workspace:
    """Holds the one video and its clip."""
    use()
    made = open_workspace(tmp_path / "workspace")
    curate(made, footage)
    return made


@pytest.fixture
def renew(monkeypatch: pytest.MonkeyPatch) -> Renew:
    """Makes every proxy stale, as a new version of normalise does."""

    def change() -> None:
        for module in (plan, jobs):
            monkeypatch.setattr(module, "NORMALISE_FINGERPRINT", "the next")

    return change


def curate(workspace: Workspace, *paths: Path) -> Outcome:
    ingest(workspace, [str(p) for p in paths])
    return bring_up_to_date(workspace, stand_in.serial(workspace))


def video(workspace: Workspace) -> dict[str, Any]:
    with workspace.views() as reader:
        return reader.sql("SELECT * FROM videos ORDER BY ingested_at").to_dicts()[0]


def clips(workspace: Workspace) -> list[str]:
    with workspace.views() as reader:
        return reader.sql("SELECT clip_id FROM clips ORDER BY clip_id")["clip_id"].to_list()


def test_a_new_normalise_leaves_clips_standing(workspace: Workspace, renew: Renew) -> None:
    before = clips(workspace)
    renew()
    curate(workspace)
    assert (video(workspace)["state"], video(workspace)["normalise_fingerprint"]) == ("done", "the next")
    assert clips(workspace) == before
    assert curate(workspace).tally.computed == {}


def test_another_file_in_a_videos_place_is_not_taken_for_it(workspace: Workspace, footage: Path, renew: Renew) -> None:
    before = video(workspace)
    stand_in.make_video(footage / "a.mp4", 2.0, luma=200)
    renew()
    curate(workspace)
    now = video(workspace)
    assert (now["state"], now["stage"], now["proxy_sha256"]) == ("quarantined", "source", before["proxy_sha256"])
    assert "holds something else now" in now["reason"]


def test_a_pipe_in_a_videos_place_does_not_hold_the_run(workspace: Workspace, footage: Path, renew: Renew) -> None:
    (footage / "a.mp4").unlink()
    os.mkfifo(footage / "a.mp4")
    renew()
    curate(workspace)
    assert (video(workspace)["state"], video(workspace)["stage"]) == ("quarantined", "source")


@pytest.mark.parametrize("place", ["b.mp4", "a.mp4"])
def test_content_that_is_found_again_is_tried_again(
    workspace: Workspace, footage: Path, tmp_path: Path, renew: Renew, place: str
) -> None:
    """At another place, or put back where it was with its size, time and inode."""
    before = clips(workspace)
    (footage / "a.mp4").rename(tmp_path / "elsewhere")
    renew()
    curate(workspace)
    assert "is not there any more" in video(workspace)["reason"]
    (tmp_path / "elsewhere").rename(footage / place)
    curate(workspace, footage)
    assert (video(workspace)["state"], video(workspace)["name"]) == ("done", place)
    assert clips(workspace) == before
    assert curate(workspace, footage).tally.computed == {}


def test_a_moved_file_is_normalised_where_it_is(workspace: Workspace, footage: Path, renew: Renew) -> None:
    (footage / "a.mp4").rename(footage / "moved.mp4")
    ingest(workspace, [str(footage)])
    renew()
    curate(workspace)
    assert (video(workspace)["state"], video(workspace)["name"]) == ("done", "moved.mp4")


def states(workspace: Workspace) -> dict[str, str]:
    with workspace.views() as reader:
        return dict(reader.sql("SELECT name || ' ' || num_bytes, state FROM videos").iter_rows())


def test_a_broken_file_that_is_mended_at_its_place_is_no_longer_held_against_the_corpus(
    workspace: Workspace, footage: Path
) -> None:
    (footage / "b.mp4").write_bytes(b"")
    curate(workspace, footage)
    assert states(workspace)["b.mp4 0"] == "quarantined"
    stand_in.make_video(footage / "b.mp4", 3.0, luma=200)
    curate(workspace, footage)
    size = (footage / "b.mp4").stat().st_size
    assert states(workspace) | {"b.mp4 0": "removed", f"b.mp4 {size}": "done"} == states(workspace)
    (footage / "c.mp4").write_bytes(b"")  # the same content as before: it is tried again
    curate(workspace, footage)
    assert states(workspace)["c.mp4 0"] == "quarantined"
    (footage / "c.mp4").unlink()
    curate(workspace, footage)
    assert states(workspace)["c.mp4 0"] == "removed"
    assert curate(workspace, footage).tally.computed == {}


def test_a_video_whose_file_is_gone_is_told_once_and_what_was_computed_stands(
    workspace: Workspace, footage: Path
) -> None:
    (footage / "a.mp4").unlink()
    before = clips(workspace)
    assert ingest(workspace, [str(footage)]).gone == ["a.mp4"]
    assert ingest(workspace, [str(footage)]).gone == []
    assert (video(workspace)["state"], clips(workspace)) == ("done", before)


def test_a_search_of_another_folder_says_nothing_of_this_one(
    workspace: Workspace, footage: Path, tmp_path: Path
) -> None:
    (tmp_path / "footage2").mkdir()
    (footage / "a.mp4").unlink()
    assert ingest(workspace, [str(tmp_path / "footage2")]).gone == []
