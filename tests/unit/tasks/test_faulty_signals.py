"""Signals that give what they did not declare: the row fails with the reason, its batch stands, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from store.workspace import Workspace
from tasks.media.media import Media
from tasks.signal import Needs, Output
from tests.unit.tasks import stand_in
from tests.unit.tasks.stand_in import run, wide

pytestmark = pytest.mark.usefixtures("quick_sql")

GIVES: dict[str, tuple[dict[str, Any], str]] = {
    "another column": ({"loud": 0.5}, "loud"),
    "one column more": ({"rms": 0.5, "peak": 0.5}, "peak"),
    "text for a number": ({"rms": "loud"}, "rms"),
    "NaN": ({"rms": float("nan")}, "rms"),
    "infinity": ({"rms": float("inf")}, "rms"),
    "more than its range": ({"rms": 7.0}, "rms"),
}


@pytest.mark.parametrize("what", GIVES)
def test_what_was_not_declared_fails_alone_and_reaches_no_table(what: str, workspace: Workspace, use: Any) -> None:
    given, named = GIVES[what]

    def faulty(media: Media, needs: Needs) -> Output:
        return Output(row=given)

    compute: Callable[[Media, Needs], Output] = faulty
    use(loudness=stand_in.loaded("loudness", stand_in.LOUDNESS, compute))
    outcome = run(workspace)
    assert outcome.tally.failed == {"loudness": 2}
    assert outcome.tally.computed["double"] == 2
    assert all(named in failure.reason for failure in outcome.tally.failures)
    rows = wide(workspace).to_dicts()
    assert [(r["loudness_status"], r["loudness_rms"], r["double_status"]) for r in rows] == [
        ("failed_permanent", None, "ok")
    ] * 2
    assert not [c for c in rows[0] if c.endswith(("_loud", "_peak"))]
