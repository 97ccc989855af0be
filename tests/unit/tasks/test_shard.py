"""Shards: exact clips of the sources, rights and values beside them, the same bytes each time, and a kill costs one shard."""

from __future__ import annotations

import hashlib
import io
import json
import os
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

from store import residue, shard_table
from store.clip_groups import group_of
from store.objects import s3_client
from store.record import Batch, table_of
from store.schema import TIMELINES
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks import shard as sharding
from tasks.digest import pack, unpack
from tasks.ingest import content_id
from tasks.media.errors import MediaError
from tasks.new_signal import ROOT
from tasks.shard import finish, standing, write_group
from tasks.shard_begin import Asked, begun
from tasks.shard_erase import erase_from_shards
from tasks.shard_set import only_one, place
from tasks.source_files import SourceFiles
from tests.unit.dashboards.conftest import signal_rows
from tests.unit.modeling.conftest import CLIP_SPANS, NUM_FRAMES, gray_of
from tests.unit.tasks.sharded import fill_with_sources, put_source

GROUP = "real/1080p/16x9/2-4s"
OTHER = "unknown/1080p/16x9/4-8s"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("shard")
    workspace = open_workspace(folder / "corpus")
    fill_with_sources(workspace, folder / "footage")
    frames = list(range(0, NUM_FRAMES - 5, 5))
    flow = pa.table(
        {"frame": pa.array(frames, pa.int32()), **{c: [1.0] * len(frames) for c in ("camera", "subject", "total")}}
    )
    row = {"key": "va:flow:0", "video_id": "va", "name": "flow", "grain": "video", "window_index": 0, "status": "ok"}
    of = {"a1": "va", "a2": "va"}
    moved: dict[str, dict[str, Any]] = {
        "a1": {"static_ratio": 0.25},
        "a2": {"status": "not_applicable", "reason": "too short"},
    }
    batch = Batch()
    batch.add(
        "timelines", table_of([{**row, "start_frame": 0, "end_frame": NUM_FRAMES, "payload": pack(flow)}], TIMELINES)
    )
    batch.add("signals", signal_rows("motion", moved, of))
    batch.add("signals", signal_rows("content", {c: {"kind": "natural"} for c in of}, of))
    batch.add("signals", signal_rows("caption", {"a1": {"short": "a wall", "medium": "a gray wall"}}, {"a1": "va"}))
    workspace.commit(batch)
    return workspace


@pytest.fixture(scope="module")
def out(corpus: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "out"
    told = shard(corpus, folder)
    assert (told["did"], told["num_clips"], told["left_out"]) == ("made", 3, {})
    return folder


def shard(workspace: Workspace, out: Path | str, name: str = "all_of_it", **asked: Any) -> dict[str, Any]:
    with begun(workspace, name, str(out), Asked(**asked)) as work:
        if (found := standing(work)) is not None:
            return finish(work, found)
        return finish(work, [s for group in work.groups for s in write_group(work, group)])


def members(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member)
                assert data is not None
                found[member.name] = data.read()
    return found


def tree(folder: Path) -> dict[str, str]:
    """All files but those inside of Lance tables, whose names are drawn by chance."""
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and ".lance/" not in str(f)
    }


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of all Lance tables, by group."""
    found = {}
    for path in sorted(folder.rglob("*.lance")):
        if path.name == "clips.lance" and (table := shard_table.opened(str(path))) is not None:
            found[path.parent.relative_to(folder).as_posix()] = table.to_table().sort_by("clip_id").to_pylist()
    return found


def test_clips_are_cut_from_the_source_exactly(out: Path) -> None:
    found = members(out)
    for clip, (video, start, end) in CLIP_SPANS.items():
        with av.open(io.BytesIO(found[f"{clip}.mp4"])) as container:
            frames = list(container.decode(video=0))
        media = json.loads(found[f"{clip}.json"])["media"]
        assert {(f.width, f.height) for f in frames} == {(192, 128)}, "the source's size, not the proxy's"
        assert len(frames) == media["num_frames"] == 2 * (end - start) - 1, "at 50 fps, up to the proxy's last frame"
        seen = [float(f.to_ndarray(format="gray")[40:80, 120:180].mean()) for f in frames]
        assert np.abs(np.array(seen)[::2] - [gray_of(video, i) for i in range(start, end)]).max() < 3
        assert media["proxy_to_clip"] == [2.0, 2.0]


def test_sound_is_the_clips_own(out: Path) -> None:
    found = members(out)
    sound, hz = soundfile.read(io.BytesIO(found["a2.flac"]))
    assert (hz, len(sound)) == (16_000, 95 * 640)
    assert np.abs(sound - (60 * 640 + np.arange(len(sound))) / 2**17).max() < 1e-4
    assert "b1.flac" not in found
    with av.open(io.BytesIO(found["a1.mp4"])) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert np.flatnonzero(np.abs(heard) > 0.1)[0] / 48_000 == pytest.approx(1.0, abs=0.03)
    with av.open(io.BytesIO(found["b1.mp4"])) as container:
        assert not container.streams.audio


def test_json_tells_rights_values_and_reasons(out: Path) -> None:
    found = members(out)
    told = json.loads(found["a1.json"])
    assert told["rights"] == {"licence": "CC-BY-4.0", "consent": "yes", "origin": "made up"}
    assert told["span"] == {"start_frame": 0, "end_frame": 60, "start_s": 0.0, "end_s": 2.4, "duration_s": 2.4}
    assert told["signals"]["motion"]["static_ratio"] == 0.25
    assert told["caption"] == {"short": "a wall", "medium": "a gray wall", "long": None}
    assert told["identity"] is None
    assert json.loads(found["a2.json"])["signals"]["motion"] == {"status": "not_applicable", "reason": "too short"}
    assert json.loads(found["b1.json"])["signals"] == {}
    assert told["source"] == {"width_px": 1920, "height_px": 1080, "fps": 25.0}


def test_timelines_lie_beside_the_clip(out: Path) -> None:
    found = members(out)
    assert unpack(found["a2.flow.arrow"])["frame"].to_pylist() == list(range(60, 155, 5))
    assert "b1.flow.arrow" not in found


def test_the_index_leads_to_every_clip(out: Path) -> None:
    index = json.loads((out / "index.json").read_text())
    assert index["num_clips"] == 3
    assert list(index["groups"]) == [GROUP, OTHER]
    for s in index["shards"]:
        data = (out / s["tar"]["path"]).read_bytes()
        assert s["tar"]["sha256"] == hashlib.sha256(data).hexdigest()
        assert s["tar"]["bytes"] == s["bytes"] == len(data)
    assert sum(s["duration_s"] for s in index["shards"]) == pytest.approx(255 / 25)
    for clip, (number, offset) in index["clips"].items():
        with (out / index["shards"][number]["tar"]["path"]).open("rb") as file:
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r|") as tar:
                first = tar.next()
                assert first is not None
                assert first.name == f"{clip}.mp4"


def test_lance_holds_the_same(out: Path) -> None:
    found = members(out)
    rows = {row["clip_id"]: row for rows in tables(out).values() for row in rows}
    assert sorted(rows) == ["a1", "a2", "b1"]
    for clip, row in rows.items():
        assert row["mp4"] == found[f"{clip}.mp4"]
        assert row["json"].encode() == found[f"{clip}.json"]
        assert row["flac"] == found.get(f"{clip}.flac")
        assert row["timeline_flow"] == found.get(f"{clip}.flow.arrow")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its tar files open
def test_webdataset_reads_it(out: Path) -> None:
    wds = pytest.importorskip("webdataset")
    data = wds.WebDataset([str(p) for p in sorted(out.rglob("*.tar"))], shardshuffle=False)
    samples = {s["__key__"]: s for s in data}
    assert sorted(samples) == ["a1", "a2", "b1"]
    assert json.loads(samples["a1"]["json"])["clip_id"] == "a1"
    assert {"mp4", "flac", "json", "flow.arrow"} <= set(samples["a2"])


def test_the_card_of_the_set_tells_its_groups(out: Path) -> None:
    card = (out / "card.md").read_text()
    assert f"| {GROUP} | 2 | 1 |" in card
    assert "3 clips in 2 shards, as webdataset and lance." in card


def test_the_same_snapshot_gives_the_same_bytes(corpus: Workspace, out: Path, tmp_path: Path) -> None:
    shard(corpus, tmp_path / "again")
    assert tree(tmp_path / "again") == tree(out)
    assert tables(tmp_path / "again") == tables(out)


def test_a_second_run_computes_nothing(corpus: Workspace, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {f: f.stat().st_mtime_ns for f in out.rglob("*")}
    monkeypatch.setattr(sharding, "clip_files", None)
    told = shard(corpus, out)
    assert (told["did"], told["made"]) == ("nothing", 0)
    assert {f: f.stat().st_mtime_ns for f in out.rglob("*")} == before


@pytest.fixture
def small(corpus: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three shards: one clip each."""
    monkeypatch.setattr(tarfile, "RECORDSIZE", 10_000_000)
    shard(corpus, tmp_path / "small", shard_mb=1)
    assert len(list((tmp_path / "small").rglob("*.tar"))) == 3
    return tmp_path / "small"


def test_a_killed_run_goes_on(corpus: Workspace, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, rows = tree(small), tables(small)
    first, second, third = sorted(small.rglob("*.tar"))
    stamp = first.stat().st_mtime_ns
    second.with_suffix(".json").unlink()
    third.unlink()
    (small / "index.json").unlink()
    (third.parent / f".{third.name}.0123").write_bytes(b"half")
    made = []
    original = sharding.clip_files
    monkeypatch.setattr(
        sharding, "clip_files", lambda clip, *rest: made.append(clip["clip_id"]) or original(clip, *rest)
    )
    told = shard(corpus, small, shard_mb=1)
    assert (tree(small), tables(small)) == (whole, rows)
    assert sorted(made) == ["a2", "b1"]
    assert told["made"] == 2
    assert first.stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_kill_9_at_any_step_leaves_what_can_be_gone_on_with(corpus: Workspace, small: Path, tmp_path: Path) -> None:
    """Killed before the n-th object that is put, or just before or after rows are written, each run goes on from what the
    one before left."""
    whole, rows, out = tree(small), tables(small), tmp_path / "killed"
    code = f"""
import os, signal, sys, tarfile
from store import residue, shard_table
from store.objects import Objects
from store.workspace import open_workspace
from tests.unit.tasks.test_shard import shard
tarfile.RECORDSIZE = 10_000_000
left = int(sys.argv[1])
def counted(original):
    def replaced(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given)
    return replaced
Objects.put = counted(Objects.put)
shard_table.put_shard = counted(shard_table.put_shard)
shard(open_workspace({str(corpus.settings.workspace)!r}), {str(out)!r}, shard_mb=1)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for step in (0, 1, 2, 3, 2, 1):
        done = subprocess.run(
            [sys.executable, "-c", code, str(step)], cwd=ROOT, capture_output=True, check=False, env=environment
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        finished = {n: sha for n, sha in tree(out).items() if "/." not in f"/{n}"} if out.exists() else {}
        assert finished.items() <= whole.items(), "what stands is right, whenever it was killed"
    shard(corpus, out, shard_mb=1)
    assert (tree(out), tables(out)) == (whole, rows)


@pytest.mark.parametrize("what", ["tar", "rows"])
def test_a_damaged_shard_alone_is_made_again(what: str, corpus: Workspace, small: Path) -> None:
    whole, rows = tree(small), tables(small)
    first = sorted(small.rglob("*.tar"))[0]
    if what == "tar":
        data = bytearray(first.read_bytes())
        data[5000] ^= 1
        first.write_bytes(data)
    else:
        shard_table.drop_shards(str(first.parent / "clips.lance"), [0])
    assert shard(corpus, small, shard_mb=1)["made"] == 1
    assert (tree(small), tables(small)) == (whole, rows)


def test_one_format_alone(corpus: Workspace, tmp_path: Path) -> None:
    told = shard(corpus, tmp_path / "l", formats=("lance",), timelines=())
    assert not list((tmp_path / "l").rglob("*.tar"))
    assert sum(len(rows) for rows in tables(tmp_path / "l").values()) == told["num_clips"] == 3
    assert shard(corpus, tmp_path / "l", formats=("lance",), timelines=())["did"] == "nothing"
    assert erase_from_shards(corpus, str(tmp_path / "l"), ["a1"]) == 1
    assert [r["clip_id"] for rows in tables(tmp_path / "l").values() for r in rows] == ["a2", "b1"]
    told = shard(corpus, tmp_path / "w", formats=("webdataset",), timelines=())
    assert not list((tmp_path / "w").rglob("*.lance"))
    assert len(members(tmp_path / "w")) == 3 * 2 + 2


@pytest.mark.usefixtures("either_ledger")
def test_a_source_that_is_gone_or_changed_is_told(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "ws")
    fill_with_sources(workspace, tmp_path / "footage")
    (tmp_path / "footage" / "va.mp4").unlink()
    other = tmp_path / "footage" / "vb.mp4"
    other.write_bytes(other.read_bytes() + b"more")
    told = shard(workspace, tmp_path / "out", timelines=())
    assert (told["num_clips"], told["shards"]) == (0, [])
    assert not list((tmp_path / "out").rglob("*.tar"))
    assert shard(workspace, tmp_path / "out", timelines=())["did"] == "nothing"
    assert told["left_out"] == {
        "a1": f"source: {tmp_path}/footage/va.mp4 is gone",
        "a2": f"source: {tmp_path}/footage/va.mp4 is gone",
        "b1": f"source: {other} was changed since it was curated",
    }
    put_source(workspace, tmp_path / "footage", "va")
    told = shard(workspace, tmp_path / "out", timelines=())
    assert (told["num_clips"], list(told["left_out"])) == (2, ["b1"]), "it is back, and so are its clips"
    (tmp_path / "footage" / "va.mp4").unlink()
    told = shard(workspace, tmp_path / "out", timelines=())
    assert (told["did"], told["num_clips"]) == ("nothing", 2), "what was cut stays"
    assert "1 clips of the snapshot are not in them" in (tmp_path / "out" / "card.md").read_text()


def test_a_clip_that_can_not_be_cut_is_left_out_and_one_killed_is_not(
    corpus: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, transient = sharding.clip_files, False

    def failing(clip: dict[str, Any], *rest: Any) -> dict[str, bytes]:
        if clip["clip_id"] == "a1":
            raise MediaError("cut", "gives no frame", transient=transient)
        return original(clip, *rest)

    monkeypatch.setattr(sharding, "clip_files", failing)
    told = shard(corpus, tmp_path / "out", timelines=())
    assert told["left_out"] == {"a1": "cut: gives no frame"}
    assert told["num_clips"] == 2
    assert shard(corpus, tmp_path / "out", timelines=())["did"] == "nothing"
    transient = True
    with pytest.raises(ValueError, match="clip a1: cut: gives no frame"):
        shard(corpus, tmp_path / "other", timelines=())


def test_a_place_of_something_else_is_left_alone(corpus: Workspace, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds shards of another shard_mb \(256\)"):
        shard(corpus, out, shard_mb=5)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no shards"):
        shard(corpus, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ValueError, match=r"mine.txt can't be written"):
        shard(corpus, tmp_path / "mine.txt")


def test_one_writer_at_a_time(corpus: Workspace, out: Path) -> None:
    with only_one(corpus, str(out)):
        with pytest.raises(ValueError, match="another process writes into"):
            shard(corpus, out)
        with pytest.raises(ValueError, match="another process writes into"):
            erase_from_shards(corpus, str(out), ["a1"])


def test_what_can_not_be_sharded(corpus: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="timelines nonsense: no signal has them"):
        Asked(timelines=("nonsense",))
    with pytest.raises(ValueError, match="shard of 0 MB"):
        Asked(shard_mb=0)
    with pytest.raises(ValueError, match="format zip: give webdataset, lance or both"):
        Asked(formats=("zip",))
    with pytest.raises(ValueError, match="no tier with a snapshot"):
        shard(corpus, tmp_path / "o", "ffffffffffff")
    snapshot = str(freeze.build(corpus, "all_of_it")["snapshot"])
    told = shard(corpus, tmp_path / "by_id", snapshot[:8], timelines=(), formats=("webdataset",))
    assert told["snapshot"] == snapshot
    assert not any(name.endswith("arrow") for name in members(tmp_path / "by_id"))


def test_erased_clips_leave_tars_tables_index_and_card(corpus: Workspace, small: Path) -> None:
    before, others = members(small), {"a2", "b1"}
    assert erase_from_shards(corpus, str(small), ["a1"]) == 1
    assert members(small) == {name: data for name, data in before.items() if name.partition(".")[0] in others}
    index = json.loads((small / "index.json").read_text())
    assert set(index["clips"]) == others
    assert index["num_clips"] == 2
    assert {r["clip_id"] for rows in tables(small).values() for r in rows} == others
    for table in place(corpus, str(small)).tables():
        assert not any("a1" in text for text in shard_table.texts(table)), "no version says anything of it"
    assert "2 clips in 2 shards" in (small / "card.md").read_text()
    assert erase_from_shards(corpus, str(small), ["a1"]) == 0
    assert erase_from_shards(corpus, str(small / "moved"), ["a1"]) == 0


@pytest.mark.parametrize(
    ("kind", "width", "height", "seconds", "group"),
    [
        ("natural", 576, 1024, 4.0, "real/512p/9x16/4-8s"),
        ("natural", 1920, 1080, 3.9, "real/1080p/16x9/2-4s"),
        ("slides", 640, 480, 60.0, "slides/384p/4x3/32-64s"),
        (None, 200, 200, 90.0, "unknown/low/1x1/64s+"),
    ],
)
def test_groups(kind: str | None, width: int, height: int, seconds: float, group: str) -> None:
    assert group_of(kind, width, height, seconds) == group


def test_on_s3_it_is_the_same_and_can_be_erased(corpus: Workspace, out: Path, bucket: str, tmp_path: Path) -> None:
    url = f"s3://{bucket}/set"
    told = shard(corpus, url)
    local = json.loads((out / "index.json").read_text())
    assert [s["tar"]["sha256"] for s in told["shards"]] == [s["tar"]["sha256"] for s in local["shards"]]
    assert place(corpus, url).read("index.json") == local
    assert shard(corpus, url)["did"] == "nothing"
    targets = residue.Targets(frozenset(["a1" + "0" * 14]), ("a1.mp4",))  # the name of a member
    found = residue.Searched()
    for key, _ in place(corpus, url).objects.under(""):
        found.note(key, targets.in_bytes(place(corpus, url).objects.local(key).read_bytes()))
    assert any(key.endswith(".tar") for key, _ in found.found)
    assert erase_from_shards(corpus, url, ["a1"]) == 1
    after = place(corpus, url)
    assert set((after.read("index.json") or {})["clips"]) == {"a2", "b1"}
    searched = residue.search(corpus, targets, buckets=[after.objects], tables=after.tables())
    assert searched.found == []
    assert {clip for table in after.tables() for ids in shard_table.shards_in(table).values() for clip in ids} == {
        "a2",
        "b1",
    }


def test_a_source_on_s3_is_fetched_and_looked_at(corpus: Workspace, bucket: str, tmp_path: Path) -> None:
    file = put_source(corpus, tmp_path, "vb")
    uri = f"s3://{bucket}/raw/vb.mp4"
    s3_client().upload_file(str(file), bucket, "raw/vb.mp4")
    name = content_id(file)
    held = SourceFiles(corpus, tmp_path / "scratch")
    assert held.lost(name, uri) == ""
    assert held.open(name, uri).width_px == 192
    with pytest.raises(MediaError, match="holds something else than what was curated"):
        held.open("ab" * 8, uri)
    with pytest.raises(MediaError, match="can't fetch it"):
        held.open("cd" * 8, f"s3://{bucket}/raw/none.mp4")
    assert held.lost("cd" * 8, f"s3://{bucket}/raw/none.mp4") == f"s3://{bucket}/raw/none.mp4 is gone"
    link = tmp_path / "folder"
    link.mkdir()
    assert "not a regular file" in held.lost("ef" * 8, str(link))
