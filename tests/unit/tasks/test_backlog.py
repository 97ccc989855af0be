"""What is left to compute: only what somebody wants, by signal, and when there is none at the rate that was measured."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from flows.curate import bring_up_to_date_in, nightly_passes
from store import ledger
from store.record import Batch
from store.schema import LOG
from store.workspace import Workspace
from tasks import signal_counts
from tasks import tier as tiers
from tasks.backlog import PAUSE_S, backlog
from tasks.curate import bring_up_to_date
from tasks.wanted import Pass, ask, asked_for
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")

DARK = "SELECT clip_id FROM signals WHERE brightness_mean < 110"
DARK_AND_LOUD = f"{DARK} AND loudness_rms > 0.01"


@pytest.fixture
def workspace(workspace: Workspace, use: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = use()
    monkeypatch.setattr(tiers, "discover", lambda: made)
    (workspace.settings.workspace / "tiers").mkdir()
    return workspace


def left(workspace: Workspace) -> dict[str, Any]:
    with workspace.views() as reader:
        return backlog(workspace, reader, {n: c.stale for n, c in signal_counts.counts(reader).items()})


def logged(workspace: Workspace, *rows: tuple[str, float, float]) -> None:
    """Rows of the log: signal, when, CPU-seconds; made up, and long after those that were really computed."""
    none = dict.fromkeys(LOG.names)
    told = [{**none, "signal": n, "computed_at": 4e9 + at, "cpu_s": cpu_s} for n, at, cpu_s in rows]
    workspace.commit(Batch(log=[pa.Table.from_pylist(told, LOG)]))


def tier(workspace: Workspace, name: str, sql: str) -> None:
    (workspace.settings.workspace / "tiers" / f"{name}.sql").write_text(sql)


def test_nothing_is_late_where_everything_is_fresh(workspace: Workspace) -> None:
    stand_in.run(workspace)
    assert left(workspace) == {"rows": 0, "cpu_s": 0.0, "hours": None, "signals": []}


def test_the_hours_are_those_at_the_rate_of_the_latest_work_and_pauses_do_not_count(
    workspace: Workspace,
) -> None:
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    late = left(workspace)
    assert {s["signal"]: s["rows"] for s in late["signals"]} == {"double": 2, "loudness": 2}
    # An hour and more lie between two runs. Of 40 s of work with 20 CPU-s a row of loudness took 8, one of double 2.
    logged(workspace, ("loudness", 0, 8), ("double", 20, 2), ("loudness", 5000, 8), ("double", 5020, 2))
    told = left(workspace)
    assert told["signals"] == [
        {"signal": "double", "rows": 2, "cpu_s": 4.0, "hours": round(4 / 0.5 / 3600, 3)},
        {"signal": "loudness", "rows": 2, "cpu_s": 16.0, "hours": round(16 / 0.5 / 3600, 3)},
    ]
    assert (told["rows"], told["cpu_s"], told["hours"]) == (4, 20.0, round(20 / 0.5 / 3600, 3))
    # Six hours later everything before is no measure any more, and one row alone is none.
    logged(workspace, ("loudness", 40_000, 8))
    assert left(workspace)["hours"] is None
    logged(workspace, ("loudness", 40_000 + PAUSE_S, 8))
    assert left(workspace)["hours"] is None, "that was a pause"
    logged(workspace, ("loudness", 40_000 + PAUSE_S + 8, 8))
    assert left(workspace)["hours"] == round(20 / 3 / 3600, 3)


def test_what_nobody_wants_is_not_late(workspace: Workspace) -> None:
    ask(workspace, signals=["brightness"])
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    assert left(workspace)["rows"] == 0
    assert asked_for(workspace) >= {"brightness", "luma"}
    assert not asked_for(workspace) & {"double", "loudness"}
    ask(workspace, signals=["loudness"])
    assert [(s["signal"], s["rows"]) for s in left(workspace)["signals"]] == [("loudness", 2)]


def test_what_a_tier_spares_is_not_late(workspace: Workspace) -> None:
    tier(workspace, "dark_and_loud", DARK_AND_LOUD)
    ask(workspace, tiers=["dark_and_loud"])
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    assert [(s["signal"], s["rows"]) for s in left(workspace)["signals"]] == [("loudness", 1)], "one clip is bright"
    tier(workspace, "broken", "SELECT clip_id FROM signals WHERE no_such_column > 1")
    workspace.ledger.put(ledger.wanted, [{"signal": "loudness", "asked_by": "tier:broken", "since": 0.0}])
    assert left(workspace)["rows"] == 1, "a tier that can't be read does not keep others from being told"


def test_a_night_with_a_budget_computes_what_a_tier_needs_first_and_the_next_one_the_rest(
    workspace: Workspace,
) -> None:
    tier(workspace, "dark", DARK)
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["luma"])
    (everything,) = [p for p in nightly_passes(workspace) if not p.tiers]
    assert nightly_passes(workspace) == [Pass(tiers=("dark",)), everything]
    assert everything == Pass()

    first = bring_up_to_date_in(workspace, nightly_passes(workspace), stand_in.serial(workspace), budget_s=0)
    assert (first.tally.computed, first.out_of_budget) == ({"brightness": 2}, True)
    assert {s["signal"]: s["rows"] for s in left(workspace)["signals"]} == {"double": 2, "loudness": 2}
    second = bring_up_to_date_in(workspace, nightly_passes(workspace), stand_in.serial(workspace), budget_s=1000)
    assert (second.tally.computed, second.out_of_budget) == ({"double": 2, "loudness": 2}, False)
    assert left(workspace)["rows"] == 0
