"""What a run says of itself."""

from __future__ import annotations

from pathlib import Path

from flows.summary import Summary, _when, ended_videos, markdown, outcome_told, recomputed, span, summary
from store.workspace import open_workspace
from tasks.compute import Failure, Tally
from tasks.curate import Outcome
from tasks.ingest import ingest


def test_lines_of_the_nightly_run() -> None:
    made = Summary(
        computed={"motion": 40}, failed={"motion": 1, "speech": 2}, stopped={"motion": 7, "lip_sync": 3},
        outdated={"motion": 1204}, totals={"motion": 1204, "speech": 30, "lip_sync": 1204},
    )  # fmt: skip
    assert recomputed(made) == [
        "motion: 41 of 1,204 rows computed, 7 spared, their inputs came out the same, 1 failed",
        "speech: 2 of 30 rows computed, 2 failed",
        "lip_sync: 0 of 1,204 rows computed, 3 spared, their inputs came out the same",
    ]


def test_a_run_is_named_for_what_came_of_it() -> None:
    assert outcome_told(Summary()) == "nothing to compute"
    made = Summary(
        videos={"done": 2, "quarantined": 1, "unchanged": 4}, computed={"motion": 1200}, failed={"motion": 2},
        out_of_budget=True,
    )  # fmt: skip
    assert outcome_told(made) == "2 videos, 1,200 rows computed, 2 failed, 1 put aside, out of time"
    assert outcome_told(Summary(computed={"gaze": 1})) == "1 row computed"


def test_when_the_backlog_is_empty_is_told_in_nights() -> None:
    assert _when(None, 3600) == "When it will be empty is not known: too little was computed yet to measure a rate."
    assert _when(13, 6 * 3600.0).endswith(": 3 more nights of 6 h.")
    assert _when(0.0, 3.0).endswith(": 1 more night of 3 s."), "a rate that is rounded to nothing"
    assert _when(0.1, 6 * 3600.0).endswith(": 1 more night of 6 h.")
    assert _when(0.1, None).startswith("Empty after about 6 min of computing, at the rate of the last hours")
    assert [span(s) for s in (0, 40, 99.4, 100, 3600, 20 * 3600)] == ["1 s", "40 s", "99 s", "2 min", "60 min", "20 h"]


def test_counts_are_of_this_run_and_tables_hold_any_name(tmp_path: Path) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    (footage / "old.mp4").symlink_to(tmp_path / "nowhere")
    workspace = open_workspace(tmp_path / "workspace")
    ingest(workspace, [str(footage)])
    with workspace.views() as reader:
        before = ended_videos(reader)
    (footage / "a | b <i>\n.mp4").symlink_to(tmp_path / "nowhere")
    seen = ingest(workspace, [str(footage)])
    outcome = Outcome(
        tally=Tally(failed={"gaze": 1}, failures=[Failure("gaze", "clip c of a | b", "ValueError: no eyes")])
    )
    made = summary(workspace, before, seen, outcome, 1.23456, 2.5)
    assert made.videos == {"done": 0, "quarantined": 1, "unchanged": 1}
    assert made.wall_s == 1.235
    assert [name for name, _ in made.quarantined_files] == ["a | b <i>\n.mp4"]
    told = markdown(workspace, made)
    assert "| videos found | 2 |" in told
    assert "| decodable | 0 |" in told
    assert "| a \\| b &lt;i> .mp4 | can't be read: No such file or directory |" in told
