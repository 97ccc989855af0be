"""Ranges of frozen clips: the right frames, sound and rows, in an order that can be repeated and gone on with."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import headroom
from modeling.data import ClipDataset, ClipLoader, ClipRanges, collate
from store.frozen import Frozen, frozen
from store.media import fit, read_frames, read_sound
from store.record import Batch, table_of
from store.schema import CLIPS, TIMELINES
from store.timelines import read_spans
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tests.unit.modeling.conftest import CLIP_SPANS, fill, gray_of

SMALL = ClipRanges(length_s=1.0, size=(32, 48), timelines=("dots", "words"))


def gray(frames_TCHW: torch.Tensor) -> list[float]:
    """Of the right half's middle, by frame."""
    return [float(v) for v in frames_TCHW[:, :, 12:20, 34:44].float().mean(dim=(1, 2, 3))]


def test_ranges_cover_each_clip_and_nothing_else(held: Frozen) -> None:
    items = ClipDataset(held, replace(SMALL, frames=False, audio=False, timelines=()))
    spans = [(i["clip_id"], i["start_frame"], i["end_frame"]) for i in (items[k] for k in range(len(items)))]
    expected = [(c, s + 25 * k, s + 25 * (k + 1)) for c, (_, s, e) in CLIP_SPANS.items() for k in range((e - s) // 25)]
    assert spans == expected
    assert len(ClipDataset(held, replace(SMALL, hop_s=0.2))) == sum(
        (e - s - 25) // 5 + 1 for _, s, e in CLIP_SPANS.values()
    )
    assert len(ClipDataset(held, replace(SMALL, length_s=3.9))) == 1
    whole = ClipDataset(held, replace(SMALL, length_s=None, frames=False, audio=False))
    assert [whole[i]["end_frame"] for i in range(len(whole))] == [60, 155, 110]


def test_frames_are_those_of_the_range(held: Frozen) -> None:
    data = ClipDataset(held, SMALL)
    for index in (1, 3, 7):
        item = data[index]
        assert item["frames"].shape == (25, 3, 32, 48)
        assert item["frames"].dtype == torch.uint8
        assert item["frame_index"].tolist() == list(range(item["start_frame"], item["end_frame"]))
        expected = [gray_of(item["video_id"], f) for f in range(item["start_frame"], item["end_frame"])]
        assert np.abs(np.array(gray(item["frames"])) - expected).max() < 3


@pytest.mark.parametrize(("fps", "step", "count"), [(5.0, 5, 5), (12.5, 2, 12), (1.0, 25, 1)])
def test_frames_at_a_lower_rate(held: Frozen, fps: float, step: int, count: int) -> None:
    item = ClipDataset(held, replace(SMALL, fps=fps))[1]
    assert item["frame_index"].tolist() == list(range(25, 50, step))[:count]
    assert gray(item["frames"])[-1] == pytest.approx(gray_of("va", item["frame_index"][-1]), abs=3)


def test_sound_is_exactly_the_range_or_silence(held: Frozen) -> None:
    data = ClipDataset(held, SMALL)
    heard = data[1]
    assert heard["has_audio"]
    assert heard["audio"].shape == (16_000,)
    assert torch.allclose(heard["audio"], (25 * 640 + torch.arange(16_000)) / 2**17, atol=1e-6)
    silent = data[len(data) - 1]
    assert not silent["has_audio"]
    assert not silent["audio"].any()


def test_timelines_are_cut_to_the_range(held: Frozen) -> None:
    data = ClipDataset(held, SMALL)
    item = data[4]
    assert (item["clip_id"], item["start_frame"], item["clip_start_frame"]) == ("a2", 110, 60)
    dots = item["timelines"]["dots"]
    assert dots["frame"].tolist() == list(range(110, 135))
    assert torch.equal(dots["x"], torch.arange(110, 135) * 0.5)
    assert dots["points"].tolist()[0] == [110, 111]
    assert dots["shape"][0] == [1]
    assert dots["shape"][1] is None
    assert item["timelines"]["words"] == {"frame": torch.tensor([130], dtype=torch.int32), "word": ["two"]}
    assert "words" not in data[0]["timelines"]


def test_a_batch_stacks_what_fits(held: Frozen) -> None:
    batch = collate(ClipDataset(held, SMALL).__getitems__([0, 3]))
    assert batch["frames"].shape == (2, 25, 3, 32, 48)
    assert batch["audio"].shape == (2, 16_000)
    assert batch["clip_id"] == ["a1", "a2"]
    uneven = collate(ClipDataset(held, replace(SMALL, length_s=None, timelines=())).__getitems__([0, 1]))
    assert [len(a) for a in uneven["audio"]] == [60 * 640, 95 * 640]


@pytest.mark.parametrize(("cut", "size"), [(True, (32, 32)), (False, (32, 32)), (True, (128, 64)), (False, (20, 90))])
def test_a_point_of_the_proxy_is_found_again(held: Frozen, cut: bool, size: tuple[int, int]) -> None:
    """The edge between dark and bright, at x 48 of the proxy, lies where the affine says."""
    item = ClipDataset(held, replace(SMALL, size=size, pad=not cut))[4]
    x, y = (item["proxy_to_frame"] @ torch.tensor([48.0, 32.0, 1.0])).tolist()
    row = item["frames"][0, 0, round(y)].float()
    inside = (row > 5).nonzero().ravel()
    edge = int(((row > 70) & (torch.arange(len(row)) >= inside[0])).nonzero()[0])
    assert edge == pytest.approx(x, abs=1.5)
    black = float((item["frames"][0].float().mean(0) < 4).float().mean())
    assert (black > 0.2) == (not cut)


def ids(loader: ClipLoader) -> list[tuple[str, int]]:
    return [pair for b in loader for pair in zip(b["clip_id"], b["start_frame"], strict=True)]


def light(held: Frozen, **told: Any) -> ClipLoader:
    data = ClipDataset(held, ClipRanges(length_s=0.2, frames=False, audio=False))
    return ClipLoader(data, **{"batch_size": 4, "seed": 3, **told})


def test_the_order_follows_from_the_seed(held: Frozen) -> None:
    first, again, other = ids(light(held)), ids(light(held)), ids(light(held, seed=4))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other) == ids(light(held, shuffle=False))
    loader = light(held)
    assert ids(loader) == first
    assert ids(loader) != first, "the second epoch has an order of its own"


def test_it_goes_on_where_it_stopped(held: Frozen) -> None:
    whole = ids(light(held)) + ids_of_epoch(held, 1)
    loader, seen = light(held), []
    for number, batch in enumerate(loader):
        seen += list(zip(batch["clip_id"], batch["start_frame"], strict=True))
        if number == 2:
            break
    resumed = light(held)
    resumed.load_state_dict(pickle.loads(pickle.dumps(loader.state_dict())))
    assert len(resumed) == len(light(held)) - 3
    assert seen + ids(resumed) + ids(resumed) == whole


def ids_of_epoch(held: Frozen, epoch: int) -> list[tuple[str, int]]:
    loader = light(held)
    loader.epoch = epoch
    return ids(loader)


def test_ranks_share_an_epoch_and_their_number_may_change(held: Frozen) -> None:
    every = ids(light(held))
    parts = [ids(light(held, rank=r, world_size=2)) for r in range(2)]
    assert len(parts[0]) == len(parts[1])
    assert len(set(parts[0]) | set(parts[1])) == len(every) // 2 * 2
    half = light(held, rank=1, world_size=2)
    next(iter(half))
    rest = light(held)
    rest.load_state_dict(half.state_dict())
    assert ids(rest) == every[8:]


def test_a_state_of_something_else_is_refused(held: Frozen) -> None:
    state = light(held).state_dict()
    with pytest.raises(ValueError, match="loader state: its seed is 3, this loader's 5"):
        light(held, seed=5).load_state_dict(state)
    with pytest.raises(ValueError, match="its num_items is"):
        ClipLoader(ClipDataset(held, SMALL), seed=3).load_state_dict(state)
    with pytest.raises(ValueError, match="its snapshot is other"):
        light(held).load_state_dict({**state, "snapshot": "other"})


@pytest.mark.slow
def test_spawned_processes_give_the_same_batches(held: Frozen) -> None:
    data = ClipDataset(held, SMALL)
    alone = list(ClipLoader(data, batch_size=2, seed=1))
    loader = ClipLoader(data, batch_size=2, seed=1, num_workers=2)
    for mine, theirs in zip(alone, loader, strict=True):
        assert mine["clip_id"] == theirs["clip_id"]
        assert torch.equal(mine["frames"], theirs["frames"])
        assert torch.equal(mine["audio"], theirs["audio"])
        assert str(mine["timelines"]) == str(theirs["timelines"])


def test_a_forked_process_is_refused(held: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ClipDataset(held, SMALL)
    copied = pickle.loads(pickle.dumps(data))
    assert copied[0]["clip_id"] == "a1"
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    with pytest.raises(RuntimeError, match="this process was forked; use ClipLoader"):
        data[0]


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"fps": 30.0}, "fps 30: frames come from a grid of 25"),
        ({"size": (0, 64)}, "at least 2 px"),
        ({"length_s": 0.01}, "length_s 0.01: a frame lasts 0.04 s"),
        ({"hop_s": 0.0}, "hop_s 0: a frame lasts"),
    ],
)
def test_ranges_that_make_no_sense(told: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ClipRanges(**told)


def test_loaders_that_make_no_sense(held: Frozen) -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        light(held, rank=2, world_size=2)
    with pytest.raises(ValueError, match="a batch holds 1 or more"):
        light(held, batch_size=0)


def test_media_that_can_not_be_read_are_named(tmp_path: Path, held: Frozen) -> None:
    how = fit(96, 64, (32, 48), cut=True)
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"no.mp4: can't be decoded"):
        read_frames(tmp_path / "no.mp4", [0], how)
    with pytest.raises(ValueError, match="ends before frame 200"):
        read_frames(held.local(held.clips["proxy_uri"][0].as_py()), [150, 200], how)
    with pytest.raises(ValueError, match=r"no.flac: can't be read"):
        read_sound(tmp_path / "no.flac", 0, 1)


def test_a_frame_may_be_asked_for_twice(held: Frozen) -> None:
    how = fit(96, 64, (32, 48), cut=True)
    made = torch.from_numpy(read_frames(held.local(held.clips["proxy_uri"][0].as_py()), [30, 30, 31], how))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])


def test_a_snapshot_reads_what_it_was_frozen_at(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    built = freeze.build(workspace, "all_of_it")
    batch = Batch()
    later = pa.table({"frame": pa.array([65], pa.int32()), "word": ["later"]})
    from tasks.digest import pack

    batch.add(
        "timelines",
        table_of(
            [{"key": "a2:words", "video_id": "va", "clip_id": "a2", "name": "words", "payload": pack(later)}], TIMELINES
        ),
    )
    gone = {"clip_id": "b1", "video_id": "vb", "start_frame": 10, "end_frame": 110, "active": False}
    batch.add("clips", table_of([gone], CLIPS))
    workspace.commit(batch)
    held = frozen(workspace, built["snapshot"])
    assert held.clips["clip_id"].to_pylist() == ["a1", "a2", "b1"]
    words = read_spans(held.record, held.versions, [("a2", "va", 60, 155)], ["words"])[0]["words"]
    assert words["word"].to_pylist() == ["one", "two"]
    assert frozen(workspace, built["snapshot"][:6]).sha256 == held.sha256
    with pytest.raises(ValueError, match="no tier with a snapshot, and no snapshot's id"):
        frozen(workspace, "nothing_like_it")
    lost = replace(held, versions={**held.versions, "timelines": 999})
    with pytest.raises(ValueError, match="table timelines: version 999 can't be read"):
        read_spans(lost.record, lost.versions, [("a2", "va", 60, 155)], ["words"])


def test_a_timeline_with_a_gap_is_left_out(held: Frozen) -> None:
    spans = [("b1", "vb", 10, 110), ("x", "vb", 100, 200)]
    inside, beyond = read_spans(held.record, held.versions, spans, ["dots"])
    assert inside["dots"].num_rows == 100
    assert beyond == {}
    assert read_spans(held.record, {}, spans, ["dots"]) == [{}, {}]


def test_the_python_interface_gives_batches(corpus: Workspace) -> None:
    tier = headroom.open(corpus.settings.workspace).tier("all_of_it")
    loader = tier.to_torch(batch_size=2, length_s=1.0, size=(16, 16), timelines=("dots",), seed=9)
    batch = next(iter(loader))
    assert batch["frames"].shape == (2, 25, 3, 16, 16)
    with pytest.raises(ValueError, match="timeline 'dotz' is not in this snapshot; it has .*dots"):
        tier.to_torch(length_s=1.0, timelines=("dots", "dotz"))
    named = tier.to_torch(snapshot=loader.dataset.frozen.snapshot_id, length_s=1.0)
    assert named.dataset.frozen.sha256 == loader.dataset.frozen.sha256
    other = corpus.settings.workspace / "tiers" / "other.sql"
    other.write_text("SELECT clip_id FROM clips")
    with pytest.raises(ValueError, match="is of tier all_of_it, not of other"):
        headroom.open(corpus.settings.workspace).tier("other").to_torch(snapshot=loader.dataset.frozen.snapshot_id)
