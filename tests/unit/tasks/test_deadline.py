"""Signals that do not return."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store.workspace import Workspace
from tasks import deadline
from tasks.deadline import SignalTimedOut, limit_s, within_limit
from tasks.jobs import run_batch
from tasks.media.media import Media
from tasks.reclip import params_in_force
from tasks.signal import Needs, Output
from tests.unit.tasks import stand_in
from tests.unit.tasks.stand_in import run, wide

pytestmark = pytest.mark.usefixtures("quick_sql")


def hanging(media: Media, needs: Needs) -> Output:
    while True:
        time.sleep(0.001)


def test_a_signal_that_hangs_fails_alone(workspace: Workspace, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = use()
    use(
        brightness=stand_in.loaded("brightness", made["brightness"].spec, hanging),
        luma=stand_in.loaded("luma", replace(made["luma"].spec, version=2), made["luma"].compute),
    )
    monkeypatch.setenv("HEADROOM_SIGNAL_LIMIT_S", "0.5")
    outcome = run(workspace)
    assert outcome.tally.failed == {"brightness": 2}
    row = wide(workspace).row(0, named=True)
    assert (row["brightness_status"], row["loudness_status"]) == ("failed_transient", "ok")
    assert row["brightness_reason"] == "SignalTimedOut: brightness gave no answer within 0.5 s"


def test_a_video_signal_that_hangs_fails_alone(workspace: Workspace, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(luma=stand_in.loaded("luma", use()["luma"].spec, hanging))
    monkeypatch.setenv("HEADROOM_SIGNAL_LIMIT_S", "0.5")
    outcome = run(workspace)
    assert outcome.tally.failed == {"luma": 2}
    assert outcome.tally.computed["loudness"] == 2


def test_what_ends_in_time_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_SIGNAL_LIMIT_S", "0.05")
    for _ in range(20):  # ends about when the limit does: heard inside, or nowhere
        until = time.monotonic() + 0.05
        with contextlib.suppress(SignalTimedOut):
            within_limit("x", lambda: [None for _ in iter(lambda: time.monotonic() < until, False)])  # noqa: B023
        time.sleep(0.001)
        assert not deadline._watched


def test_one_that_can_not_be_interrupted_takes_its_process_with_it(tmp_path: Path) -> None:
    code = """
import time
from tasks import deadline
deadline.GRACE_S = 0.2
deadline.within_limit("stuck", lambda: time.sleep(60))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HEADROOM_SIGNAL_LIMIT_S": "0.2", "PYTHONPATH": str(Path(deadline.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == deadline.STATUS
    assert done.stderr.startswith("headroom: signal stuck did not return within 0.2 s and can't be interrupted")


@pytest.mark.parametrize("told", ["0", "-3", "soon", "inf", "nan"])
def test_a_limit_that_is_none_is_told(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_SIGNAL_LIMIT_S", told)
    with pytest.raises(ValueError, match=f"HEADROOM_SIGNAL_LIMIT_S is '{told}'; give seconds above zero"):
        limit_s()


def test_a_limit_that_is_none_fails_no_row(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before anything is begun, and by a worker elsewhere too: else a typo would fail every row for good."""
    monkeypatch.setenv("HEADROOM_SIGNAL_LIMIT_S", "30m")
    with pytest.raises(ValueError, match="HEADROOM_SIGNAL_LIMIT_S is '30m'"):
        run(workspace)
    with pytest.raises(ValueError, match="HEADROOM_SIGNAL_LIMIT_S is '30m'"):
        run_batch(workspace, workspace.ledger.manifest(), [], params_in_force(workspace))
    monkeypatch.delenv("HEADROOM_SIGNAL_LIMIT_S")
    assert not run(workspace).tally.failed
