"""A signal under development: tried in memory with what it needs, its mistakes told plainly, the store left alone."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dashboards.trial import write_trial
from store.workspace import Workspace, open_workspace
from tasks import try_signal as trying
from tasks.new_signal import FOLDERS, SIGNAL_TEMPLATE
from tasks.try_signal import Scorecard, load_signal, start_scorecard, try_signal
from tests.unit.modeling.conftest import CLIP_SPANS, fill

NEEDY = '''"""Mean of the stored flow."""
import pyarrow as pa
from tasks.signal import Column, Needs, NotApplicable, Output, Signal
SIGNAL = Signal(grain="clip", version=1, columns=(Column("total", pa.float32(), "x", "mean", 0, 5000, 3),), needs=("flow", "motion"))
def compute(media, needs):
    if media.start_frame == 60:
        raise NotApplicable("not this one")
    assert needs["flow"]["frame"].to_pylist()[0] == media.start_frame
    return Output(row={"total": needs["motion"]["total_speed"]})
'''
TIMELINE = '''"""Luma of every fifth frame."""
import pyarrow as pa
from tasks.signal import Column, Look, Output, Signal
SIGNAL = Signal(grain="video", version=1, timeline=(Column("luma", pa.float32(), "gray_levels", "mean", 0, 255, 1),), look=Look(frames_fps=5))
def compute(media, needs):
    frames = media.at(5)
    luma = [float(media.image(f, None, "gray").mean()) for f in frames]
    return Output(timeline=pa.table({"frame": pa.array(frames, pa.int32()), "luma": pa.array(luma, pa.float32())}))
'''
UNMEASURED: dict[str, Any] = {"scorecard": [], "scorecard_of": "", "scorecard_problem": "it was not asked for"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = open_workspace(tmp_path_factory.mktemp("try") / "corpus")
    fill(workspace)
    return workspace


def written(folder: Path, text: str, name: str = "tried") -> Path:
    file = folder / f"{name}.py"
    file.write_text(text)
    return file


def store_of(workspace: Workspace) -> dict[str, str]:
    root = workspace.settings.workspace
    files = [f for f in sorted(root.rglob("*")) if f.is_file() and not f.name.startswith("ledger.sqlite-")]
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_values_of_a_clip_signal(corpus: Workspace, tmp_path: Path) -> None:
    """The right half of va's frame 0 has gray 20, the left 10: luma rises by half a level a frame."""
    trial = try_signal(corpus, written(tmp_path, SIGNAL_TEMPLATE.replace("$name", "tried")))
    assert {t.clip["clip_id"] for t in trial.tried} == set(CLIP_SPANS)
    rows = {t.clip["clip_id"]: t.held.row for t in trial.tried}
    assert rows["a1"]["luma_range"] == pytest.approx(25 * 219 / 255, rel=0.1)
    assert rows["a2"]["luma"] > rows["a1"]["luma"]
    assert trial.cost > 0
    assert trial.decode_cost > 0
    assert trial.computed == {}


def test_needs_that_the_store_lacks_are_computed_beside_it(corpus: Workspace, tmp_path: Path) -> None:
    trial = try_signal(corpus, written(tmp_path, NEEDY))
    assert trial.computed == {"flow": 3, "motion": 3}
    states = {t.clip["clip_id"]: (t.held.status, t.held.reason) for t in trial.tried}
    assert states == {"a1": ("ok", ""), "a2": ("not_applicable", "not this one"), "b1": ("ok", "")}


OPTIONAL = NEEDY.replace('needs=("flow", "motion")', 'needs=("flow", "lip_sync"), optional=("lip_sync",)').replace(
    'needs["motion"]["total_speed"]', 'float(needs["lip_sync"] is None)'
)


def test_an_optional_need_without_a_row_is_none_as_in_a_run(corpus: Workspace, tmp_path: Path) -> None:
    trial = try_signal(corpus, written(tmp_path, OPTIONAL))
    assert [t.held.row["total"] for t in trial.tried if t.held.status == "ok"] == [1.0, 1.0]


def test_nothing_is_stored(corpus: Workspace, tmp_path: Path) -> None:
    before = store_of(corpus)
    trial = try_signal(corpus, written(tmp_path, NEEDY))
    write_trial(corpus, trial, UNMEASURED, tmp_path / "out")
    assert store_of(corpus) == before


def test_a_video_signal_is_tried_over_the_clip(corpus: Workspace, tmp_path: Path) -> None:
    trial = try_signal(corpus, written(tmp_path, TIMELINE))
    lines = {t.clip["clip_id"]: t.held.timeline for t in trial.tried}
    assert lines["b1"] is not None
    assert lines["b1"]["frame"].to_pylist() == list(range(10, 110, 5))


def test_clips_are_of_as_many_videos_as_possible_and_time_is_kept(corpus: Workspace, tmp_path: Path) -> None:
    file = written(tmp_path, TIMELINE)
    two = try_signal(corpus, file, num_clips=2)
    assert {t.clip["video_id"] for t in two.tried} == {"va", "vb"}
    told: list[tuple[int, int]] = []
    one = try_signal(corpus, file, budget_s=-1, on_progress=lambda done, total: told.append((done, total)))
    assert (one.asked, len(one.tried)) == (3, 1)
    assert told == [(0, 3), (1, 3)]


def test_no_clip_is_begun_that_would_not_fit() -> None:
    assert trying._next_ends_s([20.0]) == 20.0
    assert trying._next_ends_s([20.0, 21.0, 23.0]) == 24.5


def test_a_failure_is_a_row_not_an_end(corpus: Workspace, tmp_path: Path) -> None:
    trial = try_signal(
        corpus, written(tmp_path, TIMELINE.replace("    frames = media", "    1 / 0\n    frames = media"))
    )
    assert {t.held.status for t in trial.tried} == {"failed_permanent"}
    assert trial.tried[0].held.reason == "ZeroDivisionError: division by zero"
    told = write_trial(corpus, trial, UNMEASURED, tmp_path / "out")
    assert told["status"] == {"failed_permanent": 3}
    assert "Failed" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = 1\ny = 1 / 0\n", r"tried.py, line 2: ZeroDivisionError"),
        ("def f(:\n", r"tried.py, line 1: SyntaxError"),
        ("import no_such_library\n", "line 1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("SIGNAL = 1\n", "holds no SIGNAL = Signal"),
        (NEEDY.replace('"flow", "motion"', '"flows",'), "needs 'flows', which is none of"),
        (
            TIMELINE.replace("version=1", 'version=1, needs=("motion",)'),
            "a video signal can't need 'motion', a clip signal",
        ),
        (TIMELINE.replace("version=1", 'version=1, weights=("no_weights",)'), "weights 'no_weights' are not in"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(text: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=match):
        load_signal(written(tmp_path, text))


def test_no_file_and_no_clips(corpus: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing.py: no such Python file"):
        load_signal(tmp_path / "nothing.py")
    with pytest.raises(ValueError, match="holds no clips; headroom curate PATH"):
        try_signal(open_workspace(tmp_path / "empty"), written(tmp_path, TIMELINE))


def test_the_page_the_sheet_and_the_values(corpus: Workspace, tmp_path: Path) -> None:
    trial = try_signal(corpus, written(tmp_path, TIMELINE))
    card = {"claim": "sees light", "measure": "AUC", "value": 0.5, "low": 0.4, "high": 0.6, "n": 3, "baseline": None}
    card |= {"goal": 0.9, "verdict": "missed"}
    measured = {**UNMEASURED, "scorecard": [card], "scorecard_of": "version 2, measured 2026-11-25"}
    told = write_trial(corpus, trial, measured, tmp_path / "out")
    assert told["columns"]["luma"]["n"] == 3
    text = (tmp_path / "out" / "index.html").read_text()
    assert "sees light" in text
    assert "0.9 missed" in text
    assert "Of version 2, measured 2026-11-25. Now: it was not asked for." in text
    assert text.count("<article") == 3
    with Image.open(told["sheet"]) as sheet:
        assert sheet.size[0] == 1440
    with (tmp_path / "out" / "values.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {r["clip_id"]: r["status"] for r in rows} == dict.fromkeys(CLIP_SPANS, "ok")
    assert 10 < float(rows[0]["luma"]) < 120
    json.dumps(told)


def checkout(folder: Path, card: str | None) -> Path:
    """A root with one signal, and a scorecard of these lines."""
    for kind in ("signal", "scorecard"):
        (folder / FOLDERS[kind].format("tried")).parent.mkdir(parents=True, exist_ok=True)
    for package in ("benchmarks", "benchmarks/scorecards"):
        (folder / package / "__init__.py").touch()
    written(folder / "tasks" / "signals", TIMELINE)
    if card is not None:
        written(folder / "benchmarks" / "scorecards", card)
    return folder


def test_a_scorecard_runs_on_a_few_files(tmp_path: Path) -> None:
    text = "import json, os\nprint(json.dumps([{'files': os.environ['HEADROOM_SCORECARD_FILES']}]))"
    root = checkout(tmp_path, text)
    card = start_scorecard(root / FOLDERS["signal"].format("tried"), root)
    assert card.rows(30.0) == [{"files": str(trying.SCORECARD_FILES)}]
    assert card.problem == ""


@pytest.mark.parametrize(
    ("text", "wait_s", "problem"),
    [
        ("import time\ntime.sleep(60)", 0.2, "took longer than there was time"),
        ("raise SystemExit('no footage')", 30.0, "no footage"),
        (None, 30.0, "there is no benchmarks/scorecards/tried.py"),
    ],
)
def test_a_scorecard_that_tells_nothing_says_why(text: str | None, wait_s: float, problem: str, tmp_path: Path) -> None:
    root = checkout(tmp_path, text)
    card = start_scorecard(root / FOLDERS["signal"].format("tried"), root)
    assert card.rows(wait_s) == []
    assert card.problem == problem
    elsewhere = start_scorecard(tmp_path / "tried.py", root)
    assert elsewhere.problem == "it is measured once the file lies at tasks/signals/tried.py"


@pytest.mark.parametrize(
    ("text", "of"), [("print('[{}]')", "a few files"), ("raise SystemExit('no footage')", "version 3")]
)
def test_what_was_published_is_told_where_the_run_beside_tells_nothing(text: str, of: str, tmp_path: Path) -> None:
    root = checkout(tmp_path, text)
    results = root / "benchmarks" / "scorecards" / "results"
    results.mkdir()
    (results / "tried.json").write_text(json.dumps({"version": 3, "date": "2026-11-01", "rows": [{"claim": "light"}]}))
    told = start_scorecard(root / FOLDERS["signal"].format("tried"), root).told(30.0)
    assert told["scorecard_of"].startswith(of)
    assert told["scorecard"] == ([{}] if of == "a few files" else [{"claim": "light"}])
    assert told["scorecard_problem"] == ("" if of == "a few files" else "no footage")


def test_a_scorecard_left_alone_is_ended() -> None:
    child: Any = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    Scorecard("", None, child).stop()
    assert child.poll() is not None
