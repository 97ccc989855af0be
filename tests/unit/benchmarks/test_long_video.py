"""What the benchmark of a long video runs, and that it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import long_video
from benchmarks.long_video import LIMIT_PEAK_MIB, repeated, spread, table
from store.workspace import Workspace
from tasks.curate import Submit
from tasks.job import Done, Job, Stage
from tasks.media.probe import probe
from tests import made


def jobs(num_clips: int) -> list[list[Job]]:
    """In batches of two jobs of two clips."""
    items = [f"c{i}" for i in range(num_clips)]
    pairs = [Job("signals", "v", "v.mp4", 1.0, tuple(items[i : i + 2])) for i in range(0, num_clips, 2)]
    return [pairs[i : i + 2] for i in range(0, len(pairs), 2)]


@pytest.mark.parametrize(
    ("num_clips", "chosen"),
    [(1, ["c0"]), (2, ["c0", "c10"]), (3, ["c0", "c5", "c10"]), (11, [f"c{i}" for i in range(11)])],
)
def test_clips_are_spread_from_the_first_to_the_last(num_clips: int, chosen: list[str]) -> None:
    batches = spread(jobs(11), num_clips)
    assert [item for group in batches for job in group for item in job.items] == chosen
    assert all(job.items for group in batches for job in group)


def test_without_a_number_nothing_is_left_out() -> None:
    assert spread(jobs(11), None) == jobs(11) == spread(jobs(11), 12)


def test_a_file_is_repeated_to_a_length(tmp_path: Path) -> None:
    source = made.write(tmp_path / "s.mp4", made.grid(2.0), made.moving(64, 48), made.tone(2.0))
    assert probe(repeated(source, tmp_path / "long.mkv", 0.25)).duration_s == pytest.approx(15, abs=0.2)


def test_the_page_says_what_ran() -> None:
    peak = {"stage": "timelines 4/4", "worker_mib": 500.4, "children_mib": 100.0, "sum_mib": 600.4}
    told = {"minutes": 120.0, "num_windows": 120, "num_clips": 3, "of_clips": 122, "failed": {}, "peaks": [peak]}
    head, *rows = table(told)
    assert f"120 minutes, one thread; limit {LIMIT_PEAK_MIB} MiB" in head
    assert "all 120 windows" in head
    assert "3 of 122 clips" in head
    assert "Rows failed: none" in head
    assert rows[-1] == "| timelines 4/4 | 500 | 100 | 600 |"


def test_it_stops_when_the_clips_asked_for_are_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: tuple[Stage, ...] = ("timelines", "signals", "signals")
    ran: list[tuple[str, tuple[str, ...]]] = []

    def run(_workspace: object, _manifest: object, group: list[Job], _params: object) -> Done:
        ran.extend((job.stage, job.items) for job in group)
        return Done()

    def engine(workspace: Workspace, submit: Submit) -> None:
        for stage in stages:
            list(submit(stage, workspace.ledger.manifest(), [[Job(stage, "v", "v.mp4", 1.0, ("a", "b", "c"))]]))

    monkeypatch.setattr(long_video, "run_batch", run)
    monkeypatch.setattr(long_video, "bring_up_to_date", engine)
    monkeypatch.setattr(long_video, "ingest", lambda *_: None)
    seen = long_video.curated(tmp_path / "v.mp4", tmp_path / "workspace", 2)
    assert ran == [("timelines", ("a", "b", "c")), ("signals", ("a", "c"))]
    assert (seen.num_windows, seen.num_clips, seen.of_clips) == (3, 2, 3)
    assert [p.stage for p in seen.peaks if p.stage not in ("before", "between")] == ["ingest", "timelines", "signals"]
