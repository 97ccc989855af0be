"""The engine with stand-in signals."""

from __future__ import annotations

from typing import Any

import pytest

from tasks import held, plan, promote, rollout, run_clips, run_windows, shadow, stale
from tasks.signal import LoadedSignal
from tests.unit.tasks import stand_in


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use_signals(**changed: LoadedSignal) -> dict[str, LoadedSignal]:
        made = stand_in.signals(**changed)
        for module in (plan, stale, held, run_windows, run_clips, rollout, promote, shadow):
            monkeypatch.setattr(module, "discover", lambda: made)
        return made

    return use_signals
