"""The plan of a run: what it says is what the run then computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store.workspace import Workspace, open_workspace
from tasks import outlook as outlooks
from tasks import plan
from tasks import tier as tiers
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.outlook import outlook
from tasks.signal import LoadedSignal
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")

DARK = "SELECT clip_id FROM signals WHERE brightness_mean < 110 AND loudness_rms > 0.01"


@pytest.fixture
def workspace(tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    costly = replace(stand_in.LOUDNESS, cost_cpu_s=2.0)
    cheap = replace(stand_in.BRIGHTNESS, cost_cpu_s=0.1)
    made = use(
        loudness=stand_in.loaded("loudness", costly, stand_in.loudness),
        brightness=stand_in.loaded("brightness", cheap, stand_in.brightness),
    )
    for module in (tiers, outlooks):
        monkeypatch.setattr(module, "discover", lambda: made)
    (tmp_path / "footage").mkdir()
    stand_in.make_video(tmp_path / "footage" / "dark.mp4", 3.0, luma=90)
    stand_in.make_video(tmp_path / "footage" / "bright.mp4", 4.0, luma=160)
    opened = open_workspace(tmp_path / "workspace")
    (tmp_path / "workspace" / "tiers").mkdir()
    (tmp_path / "workspace" / "tiers" / "dark.sql").write_text(DARK)
    return opened


def line(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in told["signals"] if row["signal"] == name)


def test_the_plan_names_what_is_spared_and_by_which_clause(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage = str(tmp_path / "footage")
    before = outlook(workspace, paths=[footage], tiers=["dark"])
    assert (before["new_files"]["files"], before["signals"]) == (2, []), "clips are chosen first"
    ingest(workspace, [footage])
    assert outlook(workspace, paths=[footage])["to_normalise"]["videos"] == 2
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["luma"])
    with workspace.views() as reader:
        told = reader.sql("SELECT name, sum(c.duration_s) FROM clips c JOIN videos USING (video_id) GROUP BY name")
    seconds = dict(told.iter_rows())
    first = outlook(workspace, tiers=["dark"])
    assert [(row["signal"], row["to_compute"]) for row in first["signals"]] == [("brightness", 2), ("loudness", 2)]
    assert first["cpu_s"] == pytest.approx(2.1 * sum(seconds.values()))
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    told = outlook(workspace, tiers=["dark"])
    loud = line(told, "loudness")
    assert (loud["stale"], loud["to_compute"]) == (2, 1)
    assert loud["skipped"] == [{"tier": "dark", "clause": "brightness_mean < 110", "clips": 1}]
    assert loud["cpu_s"] == pytest.approx(2.0 * seconds["dark.mp4"])
    assert line(outlook(workspace), "loudness")["to_compute"] == 2, "without a tier nothing is spared"

    stand_in.make_video(tmp_path / "footage" / "third.mp4", 2.0, luma=95)
    ingest(workspace, [footage])
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["luma"])
    assert line(outlook(workspace, tiers=["dark"]), "loudness")["expected"] == 2, "two judged clips are too few"
    monkeypatch.setattr(outlooks, "MIN_JUDGED", 2)
    told = outlook(workspace, tiers=["dark"])
    assert [(row["signal"], row["to_compute"], row["expected"]) for row in told["signals"]] == [
        ("brightness", 1, 1),
        ("loudness", 2, 1),
    ], "half of the clips that brightness judged are in"
    with workspace.views() as reader:
        manifest = reader.manifest
    assert workspace.ledger.manifest() == manifest, "a plan writes nothing"
    tier = tiers.parsed(workspace, "dark")
    ran = bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[tier])
    assert ran.tally.computed == {"brightness": 1, "loudness": 2}


def test_cheap_signals_ride_along_and_costly_ones_have_a_round_each(use: Any) -> None:
    made = use()

    def priced(name: str, cost: float) -> LoadedSignal:
        return replace(made[name], spec=replace(made[name].spec, cost_cpu_s=cost))

    use(brightness=priced("brightness", 0.001), double=priced("double", 0.02), loudness=priced("loudness", 0.5))
    assert plan.rounds(["loudness", "double", "brightness"]) == [["brightness", "double"], ["loudness"]]
    use(brightness=priced("brightness", 0.001), double=priced("double", 0.04), loudness=priced("loudness", 0.02))
    assert plan.rounds(["loudness", "double", "brightness"]) == [["brightness", "loudness"], ["double"]]
