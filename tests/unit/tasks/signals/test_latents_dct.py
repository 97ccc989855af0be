from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from store.objects import Objects
from store.workspace import Workspace, open_workspace
from tasks import plan, signal_counts
from tasks.compute import WindowRun, attempt
from tasks.digest import declared_table
from tasks.latents import frames_of
from tasks.media.media import Media
from tasks.signal import Output
from tasks.signals import discover, latents_dct
from tests.drawn_face import draw_face, media_of, wall

VIDEO = "0123456789abcdef"


def media(start: int = 0, end: int = 54) -> Media:
    scenes = {f: draw_face(wall(320, 180), 100 + f, 90, 60) for f in range(54)}
    whole = media_of(scenes, 54)
    keep = [i for i, f in enumerate(whole.frames) if start <= f < end]
    return replace(
        whole,
        start_frame=start,
        end_frame=end,
        frames=[whole.frames[i] for i in keep],
        planes=[whole.planes[i] for i in keep],
    )


def made(told: Media) -> tuple[pa.Table, Mapping[str, bytes]]:
    output = latents_dct.compute(told, {})
    assert output.timeline is not None
    return declared_table(latents_dct.SIGNAL.timeline, output.timeline), output.objects


def test_chunks_of_two_seconds_with_digest_and_quality() -> None:
    rows, objects = made(media())
    assert rows["frame"].to_pylist() == [0, 50]
    assert rows["num_frames"].to_pylist() == [50, 4]
    assert list(objects) == rows["uri"].to_pylist()
    assert [hashlib.sha256(o).hexdigest() for o in objects.values()] == rows["sha256"].to_pylist()
    assert [len(o) for o in objects.values()] == rows["num_bytes"].to_pylist()
    assert min(rows["psnr_db"].to_pylist()) > 28


def test_a_chunk_is_the_same_in_any_block() -> None:
    whole = made(media())[0].to_pylist()
    assert made(media(50, 54))[0].to_pylist() == whole[1:]


def test_psnr() -> None:
    one = np.zeros((2, 4, 4, 3), np.uint8)
    assert latents_dct.psnr_db(one, one) == 100
    assert latents_dct.psnr_db(one, one + 1) == pytest.approx(48.13, abs=0.01)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Workspace, pa.Table]:
    """A workspace that holds the chunks, put there as the engine does."""
    workspace = open_workspace(tmp_path / "w")
    signal = discover()["latents_dct"]
    run = WindowRun(signal, lambda objects: workspace.objects.put_new(objects, f"media/{VIDEO}"))
    run.feed(media(), {})
    held = attempt(signal, run.output, 0, None, 0.0, 0)
    assert held.status == "ok", held.reason
    assert held.timeline is not None
    return workspace, held.timeline


def test_frames_come_back_from_storage(stored: tuple[Workspace, pa.Table]) -> None:
    workspace, rows = stored
    told = media()
    frames = frames_of(workspace, VIDEO, rows, 40, 53)
    expected = np.stack([told.image(f, 256) for f in range(40, 53)])
    assert frames.shape == expected.shape
    assert latents_dct.psnr_db(expected, frames) > 28
    with pytest.raises(ValueError, match="no latents of frame 54"):
        frames_of(workspace, VIDEO, rows, 40, 55)
    with pytest.raises(ValueError, match="no latents of frame 40"):
        frames_of(workspace, VIDEO, rows.slice(1), 40, 53)


def test_other_bytes_than_were_written_are_told(stored: tuple[Workspace, pa.Table]) -> None:
    workspace, rows = stored
    file = workspace.objects.local(workspace.objects.uri(f"media/{VIDEO}/{rows['uri'][0]}"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="other bytes than were written"):
        frames_of(workspace, VIDEO, rows, 0, 5)


def test_a_codec_that_is_gone_is_told(stored: tuple[Workspace, pa.Table], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.latents.CODECS", {})
    with pytest.raises(ValueError, match="codec 'dct', which is none of"):
        frames_of(stored[0], VIDEO, stored[1], 0, 5)


def test_what_is_there_already_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill -9 in the middle of a window."""
    objects = Objects(str(tmp_path), tmp_path / "cache")
    objects.put_new({"a/1": b"one"}, "media/v")
    written: list[str] = []
    put = objects.put_bytes
    monkeypatch.setattr(objects, "put_bytes", lambda data, key: written.append(key) or put(data, key))
    objects.put_new({"a/1": b"one", "a/2": b"two"}, "media/v")
    assert written == ["media/v/a/2"]
    assert (tmp_path / "media/v/a/2").read_bytes() == b"two"


def test_storage_that_fails_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(str(tmp_path), tmp_path / "cache")

    def full(data: bytes, key: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(objects, "put_bytes", full)
    with pytest.raises(ConnectionError, match="No space left"):
        objects.put_new({"a": b"one"}, "media/v")
    signal = discover()["latents_dct"]
    run = WindowRun(signal, lambda told: objects.put_new(told, "media/v"))
    run.feed(media(), {})
    assert attempt(signal, run.output, 0, None, 0.0, 0).status == "failed_transient"


def test_objects_that_nobody_keeps_are_an_error() -> None:
    signal = discover()["latents_dct"]
    run = WindowRun(signal)
    run.feed(media(), {})
    held = attempt(signal, run.output, 0, None, 0.0, 0)
    assert (held.status, "where none are kept" in held.reason) == ("failed_permanent", True)


def test_it_is_computed_only_on_request() -> None:
    assert "latents_dct" in discover()
    assert "latents_dct" not in plan.wanted_signals(None)
    assert "latents_dct" in plan.wanted_signals(["latents_dct"])
    assert set(plan.wanted_signals(None)) == {n for n, s in discover().items() if not s.spec.on_request}


def test_nothing_is_late_that_nobody_asked_for(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w").views() as reader:
        assert signal_counts.counts(reader)["latents_dct"] == signal_counts.Counts()


def test_an_output_without_objects_has_none() -> None:
    assert Output().objects == {}
