"""From raw video to tiers and a report by the command line, as a user would; then once more: nothing is computed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from headroom import main
from headroom import open as open_corpus
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIP_SIGNALS = {
    "face_track", "motion", "visual_quality", "speech", "speech_quality", "lip_sync", "overlay_text", "embedding",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    code: int
    out: str
    err: str


def headroom(*arguments: str | Path) -> Said:
    """One command in this process: a process of its own would spend two seconds on imports."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            main([str(a) for a in arguments])
        except SystemExit as ended:
            return Said(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command ends with an exit status")


def run(*arguments: str | Path, workspace: Path, code: int = 0) -> Any:
    said = headroom(*arguments, "--workspace", workspace, "--json")
    assert said.code == code, said.err[-3000:]
    assert "Traceback" not in said.err
    return json.loads(said.out.splitlines()[-1])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    folder = tmp_path_factory.mktemp("e2e") / "workspace"
    command = [sys.executable, "-m", "headroom", "curate", str(samples), "--workspace", str(folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first = json.loads(done.stdout.splitlines()[-1])
    assert first["videos"]["quarantined"] == 1
    assert first["videos"]["done"] == len(list(samples.glob("*.m[op][4v]"))) - 1
    assert set(first["computed"]) >= CLIP_SIGNALS
    assert first["failed"] == {}
    assert first["cpu_s"] > 0
    return folder


def clips_of(workspace: Path, tier: str) -> dict[str, list[str]]:
    """Clip ids in a tier by file name."""
    query = f"SELECT v.name, t.clip_id FROM {tier} t JOIN clips c USING (clip_id) JOIN videos v USING (video_id) ORDER BY ALL"
    found: dict[str, list[str]] = {}
    for row in run("sql", query, workspace=workspace)["rows"]:
        found.setdefault(row["name"], []).append(row["clip_id"])
    return found


def test_a_second_run_computes_nothing(workspace: Path, samples: Path) -> None:
    again = run("curate", samples, workspace=workspace)
    assert (again["computed"], again["failed"]) == ({}, {})
    assert again["videos"]["unchanged"] == len(list(samples.glob("*.m[op][4v]")))
    told = run("reprocess", workspace=workspace)
    assert told["computed"] == {}


def test_every_file_ends_done_or_quarantined_with_its_reason(workspace: Path) -> None:
    rows = run("sql", "SELECT name, state, stage, reason FROM videos", workspace=workspace)["rows"]
    by_name = {r["name"]: r for r in rows}
    assert {r["state"] for r in rows} == {"done", "quarantined"}
    assert by_name["made_talker_1_cut_short.mp4"]["state"] == "quarantined"
    assert "frozen" in by_name["made_talker_2_frozen.mp4"]["reason"]
    assert by_name["made_slide_show.mp4"]["stage"] == "prefilter"
    assert by_name["real_street_with_cuts.mp4"]["stage"] == "clip"


def test_the_tiers_hold_the_talkers_and_nest(workspace: Path) -> None:
    bronze, silver, gold = (clips_of(workspace, f"a2v_{t}") for t in ("bronze", "silver", "gold"))
    assert {"made_talker_1.mp4", "made_talker_2.mp4"} <= set(gold)
    assert set(gold) <= set(silver) <= set(bronze)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("made_talker_1_sound_late.mp4", "lip_sync"),
        ("made_talker_1_captions.mp4", "overlay_text"),
        ("made_talker_1_noisy.mp4", "speech_quality"),
        ("made_talker_2_blurred.mp4", "visual_quality"),
        ("made_talker_2_silent.mp4", "speech"),
        ("real_woman_near_silent.mp4", "speech"),
        ("real_carphone_no_sound.mp4", "speech"),
    ],
)
def test_each_fault_is_rejected_by_the_clause_that_measures_it(workspace: Path, name: str, signal: str) -> None:
    query = f"SELECT clip_id FROM clips JOIN videos USING (video_id) WHERE name = '{name}'"
    (row,) = run("sql", query, workspace=workspace)["rows"]
    told = run("tier", "explain", row["clip_id"][:8], "--tier", "a2v_gold", workspace=workspace)
    failed = [v["clause"] for v in told["tiers"]["a2v_gold"] if not v["passed"]]
    assert any(signal in clause for clause in failed), failed


def test_a_cut_lies_in_no_clip(workspace: Path) -> None:
    query = "SELECT start_frame, end_frame FROM clips JOIN videos USING (video_id) WHERE name = 'made_two_scenes.mp4' ORDER BY 1"
    spans = [(r["start_frame"], r["end_frame"]) for r in run("sql", query, workspace=workspace)["rows"]]
    assert len(spans) == 2
    assert spans[0][1] <= 126
    assert spans[1][0] >= 124


def test_shifted_sound_is_measured(workspace: Path) -> None:
    query = """SELECT v.name, s.lip_sync_offset_ms AS ms FROM signals s JOIN clips USING (clip_id)
               JOIN videos v USING (video_id)
               WHERE v.name IN ('made_talker_1.mp4', 'made_talker_1_sound_late.mp4') ORDER BY ALL"""
    in_sync, late = (r["ms"] for r in run("sql", query, workspace=workspace)["rows"])
    assert in_sync == pytest.approx(0, abs=40)
    assert late == pytest.approx(280, abs=40)


def test_a_snapshot_is_frozen_once_and_explained(workspace: Path) -> None:
    first = run("tier", "build", "a2v_gold", workspace=workspace)
    assert set(first) >= {"tier", "snapshot", "clips", "sha256"}
    assert run("tier", "build", "a2v_gold", workspace=workspace)["snapshot"] == first["snapshot"]
    funnel = run("tier", "funnel", "a2v_gold", workspace=workspace)["clauses"]
    assert funnel[-1]["cumulative"] == first["clips"]
    listed = {t["tier"]: t for t in run("tier", "list", workspace=workspace)["tiers"]}
    assert listed["a2v_gold"]["snapshot"]["id"] == first["snapshot"]
    gold = run("trace", first["snapshot"], workspace=workspace)
    assert {v["name"] for v in gold["children"]} == set(clips_of(workspace, "a2v_gold"))
    clip = gold["children"][0]["children"][0]["id"]
    assert run("trace", clip, workspace=workspace)["kind"] == "video"


def test_a_threshold_costs_a_query_and_a_diff_tells_why(workspace: Path) -> None:
    own = workspace / "tiers" / "large_faces.sql"
    own.parent.mkdir()
    own.write_text(
        "SELECT clip_id FROM a2v_bronze JOIN signals USING (clip_id) WHERE face_track_main_face_height_px >= 10"
    )
    first = run("tier", "build", "large_faces", workspace=workspace)
    own.write_text(
        "SELECT clip_id FROM a2v_bronze JOIN signals USING (clip_id) WHERE face_track_main_face_height_px >= 1000"
    )
    second = run("tier", "build", "large_faces", workspace=workspace)
    assert (first["clips"] > 0, second["clips"]) == (True, 0)
    told = run("tier", "diff", "large_faces", workspace=workspace)
    assert (len(told["came"]), len(told["went"])) == (0, first["clips"])
    assert "main_face_height_px" in told["went"][0]["because"]
    newest = sqlite3.connect(workspace / "ledger.sqlite").execute("SELECT max(id) FROM manifests").fetchone()
    run("tier", "build", "a2v_bronze", workspace=workspace)
    seen = sqlite3.connect(workspace / "ledger.sqlite").execute(
        "SELECT manifest_id FROM snapshots WHERE tier = 'a2v_bronze' ORDER BY created_at DESC"
    )
    assert seen.fetchone() == newest, "an unchanged tier is known to hold at the newest manifest"
    assert run("curate", workspace=workspace)["computed"] == {}


def test_report_and_grid_are_written(workspace: Path, tmp_path: Path) -> None:
    report = Path(run("report", workspace=workspace)["path"])
    assert "made_talker_1" in report.read_text()
    grid = Path(
        run("grid", "SELECT clip_id FROM a2v_bronze", tmp_path / "grid.mp4", "--columns", "3", workspace=workspace)[
            "path"
        ]
    )
    assert grid.stat().st_size > 10_000


def test_an_interrupted_run_ends_in_one_line(samples: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headroom", "curate", str(samples), "--workspace", str(tmp_path / "workspace")]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "workspace" / "scratch" / "normalise").exists() and child.poll() is None:
        time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 130
    assert told.strip().splitlines()[-1] == "headroom: interrupted; run the same command again to go on"
    assert "nanobind" not in told


def test_input_put_aside_fails_a_strict_run_each_time(workspace: Path, samples: Path) -> None:
    assert run("curate", "--strict", workspace=workspace, code=1)["computed"] == {}
    assert "quarantined input: 1;" in headroom("curate", "--strict", "--workspace", workspace).err
    assert run("curate", samples, "--strict", workspace=workspace, code=1)["computed"] == {}
    assert run("curate", samples / "made_talker_1.mp4", "--strict", workspace=workspace)["computed"] == {}


def test_python_says_the_same(workspace: Path) -> None:
    corpus = open_corpus(workspace)
    tier = corpus.tier("a2v_gold")
    assert tier.clips() == sorted(c for ids in clips_of(workspace, "a2v_gold").values() for c in ids)
    assert len(tier.to_polars()) == len(tier.clips())
    assert corpus.sql("SELECT count(*) AS n FROM clips")["n"].item() == corpus.status()["clips"]
    assert all(v["passed"] for v in tier.explain(tier.clips()[0]))
