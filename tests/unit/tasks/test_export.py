"""Shards: exact clips, rights and values beside them, the same bytes each time, and a kill costs one shard at most."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from store.clip_groups import group_of
from store.record import Batch, table_of
from store.schema import TIMELINES
from store.workspace import Workspace, open_workspace
from tasks import clip_files as clip_files_module
from tasks import export as exporting
from tasks import freeze
from tasks.clip_files import clip_files, cut
from tasks.digest import pack, unpack
from tasks.export import export
from tasks.new_signal import ROOT
from tests.unit.dashboards.conftest import signal_rows
from tests.unit.modeling.conftest import CLIP_SPANS, NUM_FRAMES, fill, gray_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = open_workspace(tmp_path_factory.mktemp("export") / "corpus")
    fill(workspace)
    frames = list(range(0, NUM_FRAMES - 5, 5))
    flow = pa.table(
        {"frame": pa.array(frames, pa.int32()), **{c: [1.0] * len(frames) for c in ("camera", "subject", "total")}}
    )
    row = {"key": "va:flow:0", "video_id": "va", "name": "flow", "grain": "video", "window_index": 0, "status": "ok"}
    values: dict[str, dict[str, Any]] = {
        "a1": {"static_ratio": 0.25},
        "a2": {"status": "not_applicable", "reason": "too short"},
    }
    batch = Batch()
    batch.add(
        "timelines", table_of([{**row, "start_frame": 0, "end_frame": NUM_FRAMES, "payload": pack(flow)}], TIMELINES)
    )
    batch.add("signals", signal_rows("motion", values, {"a1": "va", "a2": "va"}))
    workspace.commit(batch)
    return workspace


@pytest.fixture(scope="module")
def out(corpus: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "out"
    export(corpus, "all_of_it", folder)
    return folder


def members(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member)
                assert data is not None
                found[member.name] = data.read()
    return found


def tree(folder: Path) -> dict[str, str]:
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


def test_clips_are_cut_exactly(out: Path) -> None:
    found = members(out)
    for clip, (video, start, end) in CLIP_SPANS.items():
        with av.open(io.BytesIO(found[f"{clip}.mp4"])) as container:
            frames = [f.to_ndarray(format="gray") for f in container.decode(video=0)]
        assert len(frames) == end - start
        seen = [float(f[20:40, 60:90].mean()) for f in frames]
        assert np.abs(np.array(seen) - [gray_of(video, i) for i in range(start, end)]).max() < 3


def test_sound_is_the_clips_own(out: Path) -> None:
    found = members(out)
    sound, hz = soundfile.read(io.BytesIO(found["a2.flac"]))
    assert (hz, len(sound)) == (16_000, 95 * 640)
    assert np.abs(sound - (60 * 640 + np.arange(len(sound))) / 2**17).max() < 1e-4
    assert "b1.flac" not in found


def test_json_tells_rights_values_and_reasons(out: Path) -> None:
    found = members(out)
    told = json.loads(found["a1.json"])
    assert told["rights"] == {"licence": "CC-BY-4.0", "consent": "yes", "origin": "made up"}
    assert told["span"] == {"start_frame": 0, "end_frame": 60, "start_s": 0.0, "end_s": 2.4, "duration_s": 2.4}
    assert told["signals"]["motion"]["static_ratio"] == 0.25
    assert json.loads(found["a2.json"])["signals"] == {"motion": {"status": "not_applicable", "reason": "too short"}}
    assert json.loads(found["b1.json"])["signals"] == {}
    assert told["source"] == {"width_px": 1920, "height_px": 1080, "fps": 25.0}


def test_timelines_lie_beside_the_clip(out: Path) -> None:
    found = members(out)
    assert unpack(found["a2.flow.arrow"])["frame"].to_pylist() == list(range(60, 155, 5))
    assert "b1.flow.arrow" not in found


def test_the_manifest_lists_every_shard(out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["num_clips"] == 3
    paths = [s["path"] for s in manifest["shards"]]
    assert paths == ["landscape-1080p-00to05s/000000.tar"]
    for shard in manifest["shards"]:
        data = (out / shard["path"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        assert shard["bytes"] == len(data)
    assert sum(s["duration_s"] for s in manifest["shards"]) == pytest.approx(255 / 25)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its tar files open
def test_webdataset_reads_it(out: Path) -> None:
    wds = pytest.importorskip("webdataset")
    data = wds.WebDataset(str(next(out.glob("*/*.tar"))), shardshuffle=False)
    samples = {s["__key__"]: s for s in data}
    assert sorted(samples) == ["a1", "a2", "b1"]
    assert json.loads(samples["a1"]["json"])["clip_id"] == "a1"
    assert {"mp4", "flac", "json", "flow.arrow"} <= set(samples["a2"])


def test_the_same_snapshot_gives_the_same_bytes(corpus: Workspace, out: Path, tmp_path: Path) -> None:
    export(corpus, "all_of_it", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(out)


@pytest.fixture
def small(corpus: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three shards: one clip each."""
    monkeypatch.setattr(tarfile, "RECORDSIZE", 10_000_000)
    export(corpus, "all_of_it", tmp_path / "small", shard_mb=1)
    assert len(list((tmp_path / "small").glob("*/*.tar"))) == 3
    return tmp_path / "small"


def test_a_killed_export_goes_on(corpus: Workspace, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tree(small)
    first, second, third = sorted(small.glob("*/*.tar"))
    stamp = first.stat().st_mtime_ns
    second.with_suffix(".json").unlink()
    third.unlink()
    (small / "manifest.json").unlink()
    (third.parent / f".part-{third.name}").write_bytes(b"half")
    made = []
    original = exporting.clip_files
    monkeypatch.setattr(
        exporting, "clip_files", lambda clip, *rest: made.append(clip["clip_id"]) or original(clip, *rest)
    )
    export(corpus, "all_of_it", small, shard_mb=1)
    assert tree(small) == whole
    assert made == ["a2", "b1"]
    assert first.stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_kill_9_at_any_step_leaves_what_can_be_gone_on_with(corpus: Workspace, small: Path, tmp_path: Path) -> None:
    """Killed at the n-th file that is put in its place, each run goes on from what the one before left."""
    whole, out = tree(small), tmp_path / "killed"
    code = f"""
import os, signal, sys, tarfile
from pathlib import Path
from store.workspace import open_workspace
from tasks.export import export
tarfile.RECORDSIZE = 10_000_000
left, put = int(sys.argv[1]), Path.replace
def replace(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(self, target)
Path.replace = replace
export(open_workspace({str(corpus.settings.workspace)!r}), "all_of_it", Path({str(out)!r}), shard_mb=1)
"""
    for step in (0, 2, 1):
        done = subprocess.run([sys.executable, "-c", code, str(step)], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        finished = {name: sha for name, sha in tree(out).items() if ".part-" not in name} if out.exists() else {}
        assert finished.items() <= whole.items(), "what stands is right, whenever it was killed"
    export(corpus, "all_of_it", out, shard_mb=1)
    assert tree(out) == whole


def test_a_damaged_shard_is_made_again(corpus: Workspace, small: Path) -> None:
    whole = tree(small)
    shard = sorted(small.glob("*/*.tar"))[1]
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    export(corpus, "all_of_it", small, shard_mb=1)
    assert tree(small) == whole


def test_a_folder_of_something_else_is_left_alone(corpus: Workspace, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an export of another shard_mb \(256\)"):
        export(corpus, "all_of_it", out, shard_mb=5)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no export"):
        export(corpus, "all_of_it", tmp_path)
    assert [f.name for f in tmp_path.iterdir() if f.name != ".lock"] == ["mine.txt"]
    with pytest.raises(ValueError, match=r"mine.txt can't be written"):
        export(corpus, "all_of_it", tmp_path / "mine.txt")


def test_one_export_at_a_time(corpus: Workspace, out: Path) -> None:
    with (out / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another export into"):
            export(corpus, "all_of_it", out)


def test_what_can_not_be_exported(corpus: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="timelines nonsense: no signal has them"):
        export(corpus, "all_of_it", tmp_path / "o", timelines=["nonsense"])
    with pytest.raises(ValueError, match="shard of 0 MB"):
        export(corpus, "all_of_it", tmp_path / "o", shard_mb=0)
    with pytest.raises(ValueError, match="no tier with a snapshot"):
        export(corpus, "ffffffffffff", tmp_path / "o")
    snapshot = str(freeze.build(corpus, "all_of_it")["snapshot"])
    told = export(corpus, snapshot[:8], tmp_path / "by_id", timelines=[])
    assert told["snapshot"] == snapshot
    assert not any(name.endswith("arrow") for name in members(tmp_path / "by_id"))


def test_a_proxy_that_is_too_short_or_gone(corpus: Workspace, tmp_path: Path) -> None:
    proxy = corpus.settings.workspace / "media" / "va" / "proxy.mp4"
    with pytest.raises(ValueError, match="gave 10 of the 20 frames from 150"):
        cut(proxy, 150, 170)
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no.mp4: can't be read"):
        clip_files({"start_frame": 0, "end_frame": 5}, tmp_path / "no.mp4", None, {}, {})


def test_what_ffmpeg_says_is_told(corpus: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = corpus.settings.workspace / "media" / "va" / "proxy.mp4"
    monkeypatch.setattr(clip_files_module, "CRF", "nonsense")
    with pytest.raises(ValueError, match=r"proxy.mp4: FFmpeg ended with \d+: .*"):
        cut(proxy, 0, 5)


def test_sound_of_the_proxy_is_cut_with_the_picture(tmp_path: Path) -> None:
    """A beep from frame 50 on: the cut from frame 40 has it after 0.4 s."""
    from tests.made import beeping, grid, moving, write

    write(tmp_path / "made.mp4", grid(4.0), moving(), beeping([2.0], 4.0, lasts_s=0.5), options={"g": "25"})
    (tmp_path / "cut.mp4").write_bytes(cut(tmp_path / "made.mp4", 40, 90))
    with av.open(str(tmp_path / "cut.mp4")) as container:
        sound = np.concatenate([f.to_ndarray().mean(axis=0) for f in container.decode(audio=0)])
        hz = container.streams.audio[0].rate
    loud = np.flatnonzero(np.abs(sound) > 0.1)
    assert loud[0] / hz == pytest.approx(0.4, abs=0.06)
    assert len(sound) / hz == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize(
    ("width", "height", "seconds", "group"),
    [
        (1920, 1080, 4.9, "landscape-1080p-00to05s"),
        (720, 1280, 5.0, "portrait-720p-05to15s"),
        (512, 480, 60.0, "square-480p-30to61s"),
        (200, 300, 20.0, "portrait-low-15to30s"),
    ],
)
def test_groups(width: int, height: int, seconds: float, group: str) -> None:
    assert group_of(width, height, seconds) == group
