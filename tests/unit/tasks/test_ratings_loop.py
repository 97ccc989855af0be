"""The loop closes: ratings become a label, the label a map, the map a version that makes rows stale, rolls out, moves a tier."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.ratings import run_ratings
from modeling import ratings as models
from modeling.recipes.ratings import Ratings
from store import registry
from store.workspace import Workspace, open_workspace
from tasks import freeze, promote, tier
from tasks.backend import chosen
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.signal import LoadedSignal
from tasks.signals import visual_quality
from tasks.stale import stale_clips
from tests.unit.tasks import stand_in
from tests.unit.tasks.raters import Desk, keyframes

LUMAS = (60, 90, 120, 150, 180, 210)
FEW = {"least_clips": 6, "least_groups": 6, "num_folds": 3}


def quality(setting: str = "") -> LoadedSignal:
    """The signal itself, by its default or as the setting says."""
    spec, compute = visual_quality.SIGNAL, visual_quality.compute
    if setting:
        told = setting.partition("=")[2]
        spec, compute = chosen("visual_quality", spec, compute, visual_quality.BACKENDS, told)
    return stand_in.loaded("visual_quality", spec, compute)


@pytest.fixture
def known(use: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def change(setting: str = "") -> None:
        made = use(keyframes=keyframes(), visual_quality=quality(setting))
        monkeypatch.setattr(tier, "discover", lambda: made)

    return change


def grades(workspace: Workspace) -> dict[str, float]:
    with workspace.views() as reader:
        return dict(reader.sql("SELECT clip_id, visual_quality_quality FROM signals").iter_rows())


def label(workspace: Workspace, grade: Callable[[str], int]) -> None:
    desk = Desk(workspace)
    desk.rate(grade)
    desk.close()


def test_from_a_rating_to_a_tier_without_the_clips_that_people_find_bad(
    tmp_path: Path, known: Callable[..., None], quick_sql: None
) -> None:
    known()
    workspace = open_workspace(tmp_path / "work space")
    (workspace.settings.workspace / "tiers").mkdir()
    (workspace.settings.workspace / "tiers" / "fine.sql").write_text(
        "SELECT clip_id FROM clips JOIN signals USING (clip_id) WHERE visual_quality_quality >= 2.5"
    )
    files = [stand_in.make_video(tmp_path / f"{luma}.mp4", 2.0, luma=luma, tone=False) for luma in LUMAS]
    ingest(workspace, [str(f) for f in files])
    bring_up_to_date(workspace, stand_in.serial(workspace))
    before = grades(workspace)
    assert len(before) == len(LUMAS)
    built = freeze.build(workspace, "fine")
    with pytest.raises(ValueError, match="0 clips of 0 people or videos are rated; it takes 30 clips of 5"):
        run_ratings(workspace.settings.workspace)

    same = open_workspace(shutil.copytree(workspace.settings.workspace, tmp_path / "same"))
    label(workspace, lambda clip: max(1, round(before[clip] - 1)))  # people are a grade stricter
    told = run_ratings(workspace.settings.workspace, changed=FEW)
    measures = told["metrics"]["held_people"]["measures"]
    assert measures["ours"]["mean_squared_error"]["high"] < measures["as_it_is"]["mean_squared_error"]["low"]
    assert registry.load(workspace, "visual_quality").id == told["id"]

    known(told["setting"])
    with workspace.views() as reader:
        assert len(stale_clips(reader, ["visual_quality"])) == len(LUMAS), "the new version makes all rows stale"
        (state,) = promote.states(workspace, reader)
    assert (state.backend, state.computed) == ("people", 0)
    assert grades(workspace) == before, "and readers see those before"
    bring_up_to_date(workspace, stand_in.serial(workspace))
    after = grades(workspace)
    assert all(abs(after[c] - (before[c] - 1)) < 0.6 for c in before)
    with workspace.views() as reader:
        assert len(stale_clips(reader, ["visual_quality"])) == 0
    assert freeze.build(workspace, "fine")["clips"] < built["clips"]
    went = freeze.diff(workspace, "fine")["went"]
    assert {r["clip_id"] for r in went} == {c for c in before if before[c] >= 2.5 > after[c]}
    assert "visual_quality" in went[0]["because"]
    promote.roll_back(workspace, "visual_quality")
    assert grades(workspace) == before

    label(same, lambda clip: round(before[clip]))
    with pytest.raises(ValueError, match="not surely better, so nothing is changed"):
        run_ratings(same.settings.workspace, changed=FEW)
    for changed, why in (
        ({"depth": 3}, "has no value 'depth'"),
        ({"seed": "x"}, "is no int"),
        ({"num_folds": 1}, "below 2"),
    ):
        with pytest.raises(ValueError, match=why):
            run_ratings(workspace.settings.workspace, changed=changed)
    with pytest.raises(ValueError, match="there is no folder '/nowhere'; headroom train visual_quality writes one"):
        quality("visual_quality=people?model=/nowhere")


def test_a_map_is_held_against_the_value_as_it_is_and_bends_where_there_are_clips_enough() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(1, 5, 300)
    groups = [f"g{i // 3}" for i in range(300)]
    good, noise = Ratings(), rng.normal(0, 0.5, 300)
    assert models.judged(good, raw, raw + noise, groups)["gain"]["low"] <= 0, "nothing to gain"
    bent = np.where(raw < 3, 1.0, 5.0)
    curved = models.judged(good, raw, bent, groups)
    line = models.judged(Ratings(isotonic_from=10_000), raw, bent, groups)
    errors = [j["measures"]["ours"]["mean_squared_error"]["value"] for j in (curved, line)]
    assert errors[0] < 0.1 < errors[1], "with clips enough the map may bend"


def test_the_isotonic_map_is_the_textbooks() -> None:
    made = models._isotonic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0]))
    assert (made[0].tolist(), made[1].tolist()) == ([1.0, 2.0, 3.0, 4.0], [1.0, 2.5, 2.5, 4.0])
    line = models.fit(Ratings(), np.array([2.0, 3.0, 4.0]), np.array([4.0, 3.0, 2.0]))
    assert line[1].tolist() == [3.0, 3.0], "people who say the opposite make no falling map"
