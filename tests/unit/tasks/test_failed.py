"""Failed rows say why and what to do, in `headroom status` and on the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboards import terminal
from flows.summary import markdown, summary
from store.workspace import Workspace, open_workspace
from tasks import backlog, signal_counts, tier
from tasks import status as told_of
from tasks.curate import bring_up_to_date
from tasks.failed import failed
from tasks.ingest import ingest
from tasks.job import ProcessLost
from tasks.media.media import Media
from tasks.signal import Needs, Output
from tasks.wanted import ask
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")


def test_reasons_are_counted_and_each_has_its_next_step(workspace: Workspace, use: Any) -> None:
    def fails(media: Media, needs: Needs) -> Output:
        raise ValueError("no gauge")

    def too_large(media: Media, needs: Needs) -> Output:
        raise MemoryError("4 GiB")

    def lost(media: Media, needs: Needs) -> Output:
        raise ProcessLost("it ended its process")

    use(
        brightness=stand_in.loaded("brightness", stand_in.BRIGHTNESS, too_large),
        loudness=stand_in.loaded("loudness", stand_in.LOUDNESS, lost),
        luma=stand_in.loaded("luma", stand_in.LUMA, fails),
    )
    stand_in.run(workspace)
    with workspace.views() as reader:
        rows = {row.signal: row for row in failed(reader, signal_counts.counts(reader))}
    assert set(rows) == {"luma", "loudness"}, "what needs luma is not applicable"
    assert (rows["luma"].rows, rows["luma"].reason, rows["luma"].first) == (
        2,
        "ValueError: no gauge",
        "a.mp4, minute 1",
    )
    assert rows["luma"].next.startswith("no run tries it again as it is: mend luma")
    assert rows["loudness"].next.startswith("headroom curate --retry")


def test_the_page_of_a_run_tells_what_is_left_and_what_failed_with_the_next_step(
    tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(media: Media, needs: Needs) -> Output:
        raise ValueError("no | gauge")

    monkeypatch.setattr(tier, "listed", lambda *_: [])
    use(double=stand_in.loaded("double", stand_in.DOUBLE, fails))
    footage = tmp_path / "footage"
    footage.mkdir()
    stand_in.make_video(footage / "a.mp4", 3.0)
    (footage / "broken.mp4").write_bytes(b"no video at all")
    workspace = open_workspace(tmp_path / "workspace")
    seen = ingest(workspace, [str(footage)])
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), signals=["double"])
    ask(workspace, signals=["double"])
    told = markdown(workspace, summary(workspace, set(), seen, outcome, 75, 2.5), 3600)
    assert told.startswith("1 video, 6 rows computed, 1 failed, 1 put aside, in 75 s.\n\n")
    assert "## Left to compute\n\nNothing: everything that is asked for is up to date." in told
    (row,) = [line for line in told.splitlines() if line.startswith("| double | 1 | ValueError: no \\| gauge | clip ")]
    assert row.endswith(
        " of a.mp4 | no run tries it again as it is: mend double and raise its version, or mend the file |"
    )
    assert "| broken.mp4 | not a video that can be opened" in told
    assert "| brightness | 1 | 1 | 0 | 1 | 0 | 0 |" in told
    assert "| loudness | " not in told
    assert "1 other signal: nobody has asked for it in this workspace." in told

    ask(workspace, signals=["loudness"])
    monkeypatch.setattr(backlog, "MIN_WORKED_S", 1e9)
    outcome.out_of_budget = True
    told = markdown(workspace, summary(workspace, set(), seen, outcome, 75, 2.5), 3600)
    assert "The time allowed is spent; what is left waits for the next run." in told
    assert told.startswith("1 video, 6 rows computed, 1 failed, 1 put aside, out of time; 1 left to compute, in")
    assert "| loudness | 1 | not known yet |" in told
    assert "When it will be empty is not known" in told


def test_status_in_a_terminal_shows_what_is_asked_for_what_failed_and_what_is_left(
    workspace: Workspace, use: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(media: Media, needs: Needs) -> Output:
        raise ValueError("no [gauge]")

    monkeypatch.setattr(told_of.tier, "listed", lambda *_: [])
    use(brightness=stand_in.loaded("brightness", stand_in.BRIGHTNESS, fails))
    ask(workspace, signals=["brightness"])
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    terminal.status(told_of.status(workspace))
    printed = capsys.readouterr().out
    assert "failed  brightness on clip " in printed
    assert " and 1 more: ValueError: no [gauge]\n  next: no run tries it again as it is" in printed
    assert "quarantined  broken.mp4: not a video" in printed
    assert "loudness" not in printed
    assert "2 other signals: nobody has asked for them here" in printed
    assert "left to compute" not in printed
    ask(workspace, signals=["loudness"])
    monkeypatch.setattr(backlog, "MIN_WORKED_S", 1e9)  # whatever this machine is busy with
    terminal.status(told_of.status(workspace))
    printed = capsys.readouterr().out
    assert "left to compute  2 rows, too little was computed yet to say how long that takes" in printed
    assert "loudness 2 rows; headroom reprocess computes them, or the next night" in printed
