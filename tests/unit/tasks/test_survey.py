"""A forecast from a sample: drawn evenly, with honest intervals, and nothing written where the user works."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headroom
from flows import survey as flow
from store.workspace import Workspace, open_workspace
from tasks import backend
from tasks import tier as tiers
from tasks.backend import Backend, Checkpoint
from tasks.curate import bring_up_to_date
from tasks.ingest import Source, ingest
from tasks.signal import Resources
from tasks.survey import forecast, sampled, sources, total, wilson
from tests.unit.tasks import stand_in, stand_in_backend


def listed(**folders: int) -> list[Source]:
    return [Source(f"/{name}/{i:03d}.mp4", 1, "") for name, num in folders.items() for i in range(num)]


def test_a_sample_is_spread_over_folders_and_each_file_is_as_likely() -> None:
    found = listed(a=60, b=30, c=10)
    drawn = [sampled(found, 20, seed) for seed in range(300)]
    for sample in drawn:
        assert len({s.uri for s in sample}) == 20
        folders = Counter(s.uri.split("/")[1] for s in sample)
        assert all(abs(folders[name] - share) <= 1 for name, share in (("a", 12), ("b", 6), ("c", 2)))
    times = Counter(s.uri for sample in drawn for s in sample)
    assert len(times) == 100
    assert max(times.values()) < 95, "each of 300 times in 5"
    assert sampled(found, 20, 7) == sampled(found, 20, 7)
    assert sorted(s.uri for s in sampled(found, 500, 0)) == sorted(s.uri for s in found)


def test_wilson_is_that_of_the_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10)[1:] == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_the_interval_of_a_total_holds_it_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    everything = draw.exponential(1.0, 400) * (draw.random(400) < 0.6)
    held = 0
    for seed in range(100):
        told = total(draw.choice(everything, 60, replace=False).tolist(), 400, seed)
        held += told["low"] <= everything.sum() <= told["high"]
    assert held >= 88
    assert total([1.0, 2.0], 2, 0) == {"value": 3.0, "low": 3.0, "high": 3.0}, "of all files nothing is guessed"


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    (folder / "b").mkdir(parents=True)
    stand_in.make_video(folder / "talk 720p.mp4", 3.0, luma=90)
    (folder / "talk 720p.mp4.rights.json").write_text('{"licence": "CC-BY-4.0"}')
    stand_in.make_video(folder / "b" / "lecture.mp4", 4.0, luma=160)
    (folder / "b" / "copy.mp4").write_bytes((folder / "b" / "lecture.mp4").read_bytes())
    (folder / "b" / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.mark.usefixtures("quick_sql")
def test_what_is_told_is_what_the_sample_holds(
    footage: Path, tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = use()
    monkeypatch.setattr(tiers, "discover", lambda: made)
    workspace = open_workspace(tmp_path / "workspace")
    ingest(workspace, [str(footage)])
    bring_up_to_date(workspace, stand_in.serial(workspace))
    (tmp_path / "workspace" / "tiers").mkdir()
    (tmp_path / "workspace" / "tiers" / "dark.sql").write_text(
        "SELECT clip_id FROM signals WHERE brightness_mean < 110"
    )
    found = sources(str(footage))
    told = forecast(workspace, [*found, *listed(more=4)], found)
    assert (told["files"], told["sample"]) == (8, 4)
    by_tier = {line["tier"]: line for line in told["yields"]}
    assert by_tier["any clip"]["files"]["value"] == 0.75
    assert by_tier["dark"]["files"]["value"] == 0.25
    with workspace.views() as reader:
        hours = dict(reader.sql("SELECT name, sum(c.duration_s) / 3600 FROM clips c JOIN videos USING (video_id) GROUP BY ALL").iter_rows())  # fmt: skip
        spent = reader.sql("SELECT sum(cpu_s) FROM log").item() + reader.sql("SELECT sum(normalise_cpu_s) FROM videos").item()  # fmt: skip
    assert "a2v_gold" in told["not_judged"], "its signals are not among the stand-ins"
    lecture = next(h for name, h in hours.items() if name != "talk 720p.mp4")
    assert by_tier["any clip"]["hours"]["value"] == pytest.approx(2 * (hours["talk 720p.mp4"] + 2 * lecture))
    assert by_tier["dark"]["hours"]["value"] == pytest.approx(2 * hours["talk 720p.mp4"])
    gpu = told["gpu_hours"]["value"], told["gpu_signals"], told["gpu_device"]
    assert gpu == (0.0, [], ""), "no default asks for a GPU"
    assert told["cpu_hours"]["value"] >= 2 * spent / 3600 > 0, "a copy costs what its original did, at most"
    assert [(r["files"], r["ratio"]) for r in told["rejected"]] == [(1, 0.25)]
    assert {"tier": "dark", "clause": "brightness_mean < 110", "clips": 1} in told["clauses"]
    verdicts = {m["field"]: (m["told"], m["verdict"], m["wrong"]) for m in told["metadata"]}
    assert verdicts["licence"] == (1, "informative", "")
    assert verdicts["consent"] == (0, "absent", "")
    assert verdicts["resolution in the name"] == (1, "contradicted", "1 of them are not that large")
    assert verdicts["content"] == (4, "contradicted", "1 are copies")


@pytest.mark.usefixtures("quick_sql")
def test_gpu_hours_are_what_models_of_signals_that_ask_for_one_took(
    footage: Path, tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in_backend, "loads", [])
    told_backend = Backend("tests.unit.tasks.stand_in_backend:takes_a_while", "someone/model", "MIT")
    checkpoint = Checkpoint("someone/model", "r1", "float16", "auto", 8)
    spec = replace(stand_in.BRIGHTNESS, version=2, backend="large", resources=Resources(gpu_gib=5))
    large = stand_in.loaded("brightness", spec, backend._compute(told_backend, checkpoint, stand_in.brightness))
    made = use(brightness=large)
    monkeypatch.setattr(tiers, "discover", lambda: made)
    workspace = open_workspace(tmp_path / "workspace")
    ingest(workspace, [str(footage)])
    bring_up_to_date(workspace, stand_in.serial(workspace))
    found = sources(str(footage))
    told = forecast(workspace, [*found, *listed(more=4)], found)
    with workspace.views() as reader:
        spent_s, others_s = (
            reader.sql(f"SELECT sum(model_s) FROM log WHERE signal {which} 'brightness'").item()
            for which in ("=", "<>")
        )
    assert others_s == 0
    assert told["gpu_signals"] == ["brightness"]
    assert told["gpu_device"] in ("cpu", "cuda")
    assert spent_s >= 2 * 0.05, "two videos have a clip each"
    # Of four files two are one video, so its cost is told twice; eight files are twice the sample.
    assert 2 * spent_s / 3600 <= told["gpu_hours"]["value"] <= 4 * spent_s / 3600
    assert told["gpu_hours"]["low"] <= told["gpu_hours"]["value"] <= told["gpu_hours"]["high"]


@pytest.mark.usefixtures("quick_sql")
def test_the_command_tells_the_forecast_and_leaves_a_preview(
    footage: Path, tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = use()
    monkeypatch.setattr(tiers, "discover", lambda: made)

    def curated(root: Path, *, paths: list[str], on_progress: Any) -> None:
        workspace = open_workspace(root)
        ingest(workspace, paths)
        bring_up_to_date(workspace, stand_in.serial(workspace))

    monkeypatch.setattr(flow, "run_curate", curated)
    mine = tmp_path / "mine"
    (mine / "tiers").mkdir(parents=True)
    (mine / "tiers" / "dark.sql").write_text("SELECT clip_id FROM signals WHERE brightness_mean < 110")
    asked = ["survey", str(footage), "--sample", "9", "--out", str(tmp_path / "out"), "--workspace", str(mine)]
    with pytest.raises(SystemExit) as end:
        headroom.main([*asked, "--json"])
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["files"], told["sample"], told["gpu_signals"]) == (4, 4, [])
    assert {"any clip", "dark"} <= {line["tier"] for line in told["yields"]}
    assert Path(told["grid"]) == tmp_path / "out" / "survey.mp4"
    assert Path(told["grid"]).stat().st_size > 1000
    assert sorted(f.name for f in mine.iterdir()) == ["tiers"], "nothing is written where the user works"
    with pytest.raises(SystemExit) as end:
        headroom.main(["survey", str(tmp_path / "out"), "--sample", "0"])
    assert end.value.code == 2


def test_nothing_is_left_behind(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = f"sqlite:///{tmp_path / 'theirs.sqlite'}"
    monkeypatch.setenv("HEADROOM_LEDGER_URL", theirs)
    (tmp_path / "tiers").mkdir()
    (tmp_path / "tiers" / "mine.sql").write_text("SELECT clip_id FROM clips WHERE duration_s > 1")
    seen: list[Any] = []
    monkeypatch.setattr(flow, "run_curate", lambda root, **told: seen.append((root, told["paths"])))
    monkeypatch.setattr(flow.survey, "forecast", lambda workspace, *told, **seed: {"tiers": _tiers(workspace)})
    with flow.surveyed(str(footage), 2, tiers=tmp_path / "tiers") as (workspace, told):
        assert isinstance(workspace, Workspace)
        assert workspace.settings.ledger_url != theirs
        assert told["tiers"] == ["mine.sql"]
        assert len(seen[0][1]) == 2
        assert all(os.path.isfile(p) for p in seen[0][1])
    assert not seen[0][0].exists()
    assert not (tmp_path / "theirs.sqlite").exists()
    assert os.environ["HEADROOM_LEDGER_URL"] == theirs
    with pytest.raises(ValueError, match="sample of 0: give 1 or more"), flow.surveyed(str(footage), 0):
        pass
    with pytest.raises(ValueError, match="holds no video file"):
        sources(str(tmp_path / "tiers"))


def _tiers(workspace: Workspace) -> list[str]:
    return sorted(f.name for f in (workspace.settings.workspace / "tiers").glob("*.sql"))
