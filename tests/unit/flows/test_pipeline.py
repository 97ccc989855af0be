"""The flows themselves, against a real API: what they publish, and what they do when a part refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from store.workspace import open_workspace

pytestmark = pytest.mark.slow


def artifacts(api: str, key: str) -> list[dict[str, Any]]:
    query = {"artifacts": {"key": {"any_": [key]}}, "sort": "UPDATED_DESC"}
    found: list[dict[str, Any]] = httpx.post(f"{api}/artifacts/filter", json=query).raise_for_status().json()
    return found


def test_tiers_that_can_be_frozen_are_and_the_others_say_why(
    prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import pipeline

    def build(workspace: Any, name: str) -> dict[str, Any]:
        if name == "silver":
            raise ValueError("3 clips are undecided")
        return {"tier": name, "clips": 1204, "snapshot": "s1", "sha256": "0"}

    monkeypatch.setattr(pipeline.tier, "sources", lambda place: {"silver": Path(), "bronze": Path()})
    monkeypatch.setattr(pipeline.freeze, "build", build)
    with pytest.raises(ValueError, match="tier silver is not frozen: .*3 clips are undecided"):
        pipeline.build_tiers(str(tmp_path))
    table = artifacts(prefect, "tiers")[0]["data"]
    assert "| bronze | 1,204 | s1 |" in table
    assert "| silver | not frozen | " in table


def test_a_run_with_nothing_to_do_says_so(prefect: str, tmp_path: Path) -> None:
    from flows import pipeline

    told = pipeline.reprocess(str(open_workspace(tmp_path).settings.workspace), budget_s=5)
    assert (told["computed"], told["clips"], told["out_of_budget"]) == ({}, 0, False)
    summary = artifacts(prefect, "summary")[0]["data"]
    assert "## Computed by this run\n\nNothing." in summary
    query = {"flow_runs": {"name": {"like_": f"reprocess {tmp_path.name}"}}}
    (run,) = httpx.post(f"{prefect}/flow_runs/filter", json=query).raise_for_status().json()
    assert run["name"].endswith(": nothing to compute")


def test_progress_is_written_now_and_then_and_at_the_end_of_a_stage(
    prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import pipeline
    from tasks.curate import Progress

    written: list[tuple[str, float]] = []

    def create(progress: float, *, key: str, description: str) -> str:
        written.append((key, progress))
        return key

    monkeypatch.setattr(pipeline, "create_progress_artifact", create)
    monkeypatch.setattr(
        pipeline, "update_progress_artifact", lambda key, progress, description: written.append((key, progress))
    )
    bars = pipeline._ProgressArtifacts()
    for stage, done_s in (("normalise", 1.0), ("normalise", 2.0), ("normalise", 3.0), ("clip", 3.0)):
        bars.told(Progress(stage, done_s, 3.0, 0))  # type: ignore[arg-type]
    bars.flush()
    assert written == [
        ("progress-normalise", 33.3), ("progress-normalise", 100.0), ("progress-clip", 100.0), ("progress-clip", 100.0)
    ]  # fmt: skip
