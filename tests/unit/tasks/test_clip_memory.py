"""What a job over the clips of a long video holds: the timelines of the clip at hand, and little that signals freed."""

from __future__ import annotations

from typing import Any

import pytest

from store.workspace import Workspace
from tasks import run_clips
from tests.unit.tasks.stand_in import run


def test_memory_is_looked_after_behind_each_signal(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[None] = []
    monkeypatch.setattr(run_clips, "give_back_if_grown", lambda: looked.append(None))
    computed = run(workspace).tally.computed
    assert len(looked) == sum(computed[n] for n in ("brightness", "double", "loudness")) > 0


def test_only_the_windows_of_the_clip_at_hand_are_held(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def read(
        _workspace: Any, _manifest: Any, _video: str, windows: list[int], _names: Any
    ) -> dict[int, dict[str, Any]]:
        asked.append(windows)
        return {w: {} for w in windows}

    monkeypatch.setattr(run_clips, "held_timelines", read)
    held: dict[int, dict[str, Any]] = {}
    shown = []
    for start, end in ((0, 1500), (1400, 3100), (3100, 3200), (9000, 9001)):
        clip = {"video_id": "v", "start_frame": start, "end_frame": end}
        held = run_clips._lines_of(workspace, workspace.ledger.manifest(), clip, ["faces"], held)
        shown.append(sorted(held))
    assert shown == [[0], [0, 1, 2], [2], [6]]
    assert asked == [[0], [1, 2], [6]]


def test_a_job_reads_timelines_clip_by_clip(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    lines_of, clips = run_clips._lines_of, []

    def seen(*told: Any) -> Any:
        clips.append(told[2]["clip_id"])
        return lines_of(*told)

    monkeypatch.setattr(run_clips, "_lines_of", seen)
    outcome = run(workspace)
    assert len(clips) == len(set(clips)) == outcome.tally.computed["brightness"]
