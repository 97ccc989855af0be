"""The engine with stand-in signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.workspace import Workspace, open_workspace
from tasks import (
    backlog,
    failed,
    held,
    plan,
    promote,
    rollout,
    run_clips,
    run_windows,
    shadow,
    signal_counts,
    stale,
    survey,
    wanted,
)
from tasks.ingest import ingest
from tasks.signal import LoadedSignal
from tests.unit.tasks import stand_in


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use_signals(**changed: LoadedSignal) -> dict[str, LoadedSignal]:
        made = stand_in.signals(**changed)
        computing = (plan, stale, held, run_windows, run_clips, rollout, promote)
        for module in (*computing, shadow, signal_counts, survey, wanted, backlog, failed):
            monkeypatch.setattr(module, "discover", lambda: made)
        return made

    return use_signals


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    stand_in.make_video(folder / "a.mp4", 3.0, luma=90)
    stand_in.make_video(folder / "b.mp4", 4.0, luma=160, tone=False)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, footage: Path, use: Any) -> Workspace:
    use()
    made = open_workspace(tmp_path / "workspace")
    ingest(made, [str(footage)])
    return made


@pytest.fixture
def curated(tmp_path: Path, footage: Path, use: Any) -> Workspace:
    """`workspace` after its first run."""
    use()
    return stand_in.curated(footage, tmp_path / "workspace")
