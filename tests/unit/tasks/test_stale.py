"""Staleness over all clips at once: the same answer in however little memory, and so in however many pieces."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import polars as pl
import pytest

from benchmarks.store import CLIPS_PER_VIDEO, filled
from store.workspace import Workspace
from tasks import plan, signal_counts, stale
from tasks.job import Job
from tasks.signals import discover

pytestmark = pytest.mark.slow

NUM_CLIPS = 100_000
ENOUGH_MIB = 2048
LITTLE_MIB = range(39, 32, -1)
"""The most of these with which something goes to disk is tried: with 34 there was no room for a first piece."""
CHANGES = (
    ("signals", {"motion_input_digest": "7"}, "clip_id LIKE '%0-0'"),
    ("signals", {"gaze_fingerprint": "'old'"}, "clip_id LIKE '%07-3'"),
    ("signals", {"speech_not_before": "1"}, "clip_id LIKE '%070-1'"),
    ("timelines", {"output_digest": "7"}, "video_id LIKE '%00ff' AND name = 'flow'"),
)
WITHOUT_ROW = "00000000000000aa-2"


class Found(NamedTuple):
    windows: pl.DataFrame
    clips: pl.DataFrame
    counts: dict[str, signal_counts.Counts]
    jobs: list[Job]
    spilled: bool


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Generated rows, fresh but for CHANGES, and without the wide row of one clip."""
    made = filled(tmp_path_factory.mktemp("generated"), NUM_CLIPS, True)
    tables = {name: made.record.open(name) for name in ("signals", "timelines")}
    for table, values, where in CHANGES:
        dataset = tables[table]
        assert dataset is not None
        assert dataset.update(values, where=where)["num_rows_updated"] > 0, where
    wide = tables["signals"]
    assert wide is not None
    wide.delete(f"clip_id = '{WITHOUT_ROW}'")
    with made.ledger.turn() as turn:
        turn.publish({name: d.version for name, d in tables.items() if d is not None})
    return made


def found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, memory_mib: int) -> Found:
    monkeypatch.setattr(stale, "MEMORY_MIB", memory_mib)
    names = list(discover())
    wanted = plan.wanted_signals(None)
    with workspace.views() as reader:
        reader.connection.execute("SET threads = 1")
        windows = stale.stale_windows(reader, [n for n in names if discover()[n].spec.grain == "video"])
        clips = stale.stale_clips(reader, names)
        counts = signal_counts.counts(reader)
        jobs = plan.signal_jobs(reader, stale.stale_clips(reader, wanted), wanted)
        spilled = (workspace.scratch / "sql").exists()
    assert not (workspace.scratch / "sql").exists(), "nothing stays on disk"
    return Found(windows.sort(windows.columns), clips.sort(clips.columns), counts, jobs, spilled)


def test_a_plan_in_pieces_is_the_plan_in_one_piece(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(workspace, monkeypatch, ENOUGH_MIB)
    pieces = next(f for mib in LITTLE_MIB if (f := found(workspace, monkeypatch, mib)).spilled)
    assert not whole.spilled
    assert pieces.windows.equals(whole.windows)
    assert pieces.clips.equals(whole.clips)
    assert pieces.counts == whole.counts
    assert pieces.jobs == whole.jobs
    assert whole.jobs


def test_just_the_rows_that_changed_are_stale(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = found(workspace, monkeypatch, ENOUGH_MIB)
    assert rows.windows.is_empty(), "no video signal needs what changed"
    num_videos = NUM_CLIPS // CLIPS_PER_VIDEO
    late = Counter(rows.clips.filter(pl.col("clip_id") != WITHOUT_ROW)["name"])
    ends_with = {end: sum(f"{v:016x}".endswith(end) for v in range(num_videos)) for end in ("0", "07", "070", "00ff")}
    of_flow = {n for n, s in discover().items() if s.spec.grain == "clip" and "flow" in s.spec.needs}
    expected = Counter(dict.fromkeys(of_flow, CLIPS_PER_VIDEO * ends_with["00ff"]))
    expected += Counter(motion=ends_with["0"], gaze=ends_with["07"], speech=ends_with["070"])
    assert late == expected
    assert set(rows.clips.filter(pl.col("clip_id") == WITHOUT_ROW)["name"]) == {
        n for n, s in discover().items() if s.spec.grain == "clip"
    }
    motion = rows.counts["motion"]
    assert (motion.total, motion.stale, motion.ok) == (NUM_CLIPS, expected["motion"] + 1, NUM_CLIPS - 1)
