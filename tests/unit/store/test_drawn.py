"""What evaluations drew: found by checkpoint and by clip, taken the place of, and dropped with the clips it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from store import drawn, registry
from store.workspace import Workspace, open_workspace
from tests.unit.store.test_registry import TOLD


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "ws")


@pytest.fixture
def checkpoint(place: Workspace) -> str:
    return registry.publish(place, b"weights", TOLD).id


def put(place: Workspace, checkpoint: str, clips: Sequence[str], renderer: str = "") -> str:
    folder = drawn.folder_of(checkpoint, "s1", renderer)
    films = {clip: place.settings.workspace / f"{clip}.mp4" for clip in clips}
    for film in films.values():
        film.write_bytes(b"film")
    drawn.put(place, folder, {"renderer": renderer, "clips": [{"clip_id": c} for c in clips]}, films, b"sheet")
    return folder


def test_what_is_drawn_anew_takes_the_place_of_what_was(place: Workspace, checkpoint: str) -> None:
    put(place, checkpoint, ["a", "b"])
    folder = put(place, checkpoint, ["b", "c"])
    other = put(place, checkpoint, ["a"], "r0")
    keys = [key for key, _ in place.objects.under(folder)]
    assert keys == [f"{folder}/{name}" for name in ("b.mp4", "c.mp4", "drawn.json", "sheet.jpg")]
    found = drawn.drawn_by(place, checkpoint)
    assert {of["folder"]: [c["clip_id"] for c in of["clips"]] for of in found} == {folder: ["b", "c"], other: ["a"]}
    assert [v["uri"] for v in drawn.videos_of(place, "a")] == [place.objects.uri(f"{other}/a.mp4")]
    assert drawn.drawn_by(place, "another") == []


def test_the_videos_of_a_clip_are_dropped_and_each_sheet_that_shows_it(place: Workspace, checkpoint: str) -> None:
    folder, other = put(place, checkpoint, ["a", "b"]), put(place, checkpoint, ["c"], "r0")
    drawn.drop(place, ["a"])
    keys = [key for key, _ in place.objects.under(folder)]
    assert keys == [f"{folder}/b.mp4", f"{folder}/drawn.json"]
    left = {c["clip_id"]: of["sheet"] for of in drawn.drawn_by(place, checkpoint) for c in of["clips"]}
    assert left == {"b": "", "c": f"{other}/sheet.jpg"}


def test_one_that_was_cut_off_amid_its_videos_is_found_by_an_erasure(
    place: Workspace, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(source: Path, key: str) -> str:
        raise OSError("no space left")

    real = place.objects.put
    monkeypatch.setattr(
        place.objects, "put", lambda source, key: real(source, key) if not key.endswith("/b.mp4") else torn(source, key)
    )
    with pytest.raises(OSError, match="no space"):
        put(place, checkpoint, ["a", "b"])
    [of] = drawn.drawn_by(place, checkpoint)
    assert ([c["clip_id"] for c in of["clips"]], of["sheet"]) == (["a"], "")
    drawn.drop(place, ["a"])
    assert [key for key, _ in place.objects.under(of["folder"])] == [f"{of['folder']}/drawn.json"]
