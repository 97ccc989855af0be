"""A page for every signal: its low end, its middle, its high end, drawn; on a phone nothing goes sideways."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dashboards import report_signals
from dashboards.overlays import Line
from dashboards.report import write_report
from store.record import Batch, table_of
from store.schema import CLIPS, TIMELINES, VIDEOS
from store.workspace import Workspace, open_workspace
from tasks.clip_lines import stored_lines
from tasks.digest import pack, timeline_schema
from tasks.signals import discover
from tests.unit.dashboards.conftest import fill

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def timeline_row(video_id: str, name: str, rows: list[dict[str, Any]], window: int = 0) -> dict[str, Any]:
    table = pa.Table.from_pylist(rows, schema=timeline_schema(discover()[name].spec.timeline))
    told = {"key": f"{video_id}:{name}:{window}", "video_id": video_id, "name": name, "grain": "video"}
    return {**told, "window_index": window, "status": "ok", "num_rows": len(rows), "payload": pack(table)}


def faces_of(size: float) -> list[dict[str, Any]]:
    points = {c.name: 80.0 for c in discover()["faces"].spec.timeline if c.name.endswith(("_x", "_y"))}
    box = {"x0": 80 - size, "y0": 60 - size, "x1": 80 + size, "y1": 60 + size}
    return [{"frame": f, "face": 0, **box, "score": 0.9, **points} for f in range(0, 100, 5)]


def flow_of(speed: float) -> list[dict[str, Any]]:
    return [{"frame": f, "camera": speed, "subject": 1.0, "total": speed + 1} for f in range(0, 95, 5)]


@pytest.fixture(scope="module")
def lined(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small corpus with timelines of faces and flow: video i moves at speed 10 - i."""
    workspace = open_workspace(tmp_path_factory.mktemp("signals") / "corpus")
    fill(workspace)
    rows = [timeline_row(f"v{i}", "flow", flow_of(10.0 - i)) for i in range(4)]
    rows += [timeline_row(f"v{i}", "faces", faces_of(20.0 + i)) for i in range(3)]
    batch = Batch()
    batch.add("timelines", table_of(rows, TIMELINES))
    workspace.commit(batch)
    return workspace


PAGES_TOLD: list[tuple[int, int]] = []


@pytest.fixture(scope="module")
def report(lined: Workspace) -> Path:
    return write_report(lined, on_progress=lambda made, total: PAGES_TOLD.append((made, total))).parent


def groups(report: Path, name: str) -> dict[str, list[str]]:
    """Clips by group, in the order of the page."""
    text = (report / f"signal-{name}.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="(low|middle|high|not_applicable)">(.*?)</section>', text, re.DOTALL)
    return {key: re.findall(r'data-clip="(\w+)"', part) for key, part in sections}


def picture_of(report: Path, name: str, clip: str) -> np.ndarray:
    text = (report / f"signal-{name}.html").read_text(encoding="utf-8")
    found = re.search(rf'src="(assets/signal-{name}-{clip}-[0-9a-f]+\.jpg)"', text)
    assert found, (name, clip)
    with Image.open(report / found[1]) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_every_signal_has_a_page_that_the_index_leads_to(report: Path) -> None:
    index = (report / "index.html").read_text(encoding="utf-8")
    for name in discover():
        assert f'href="signal-{name}.html"' in index
        assert f"<h1>{name}</h1>" in (report / f"signal-{name}.html").read_text(encoding="utf-8")
    total = len(discover()) + 1
    assert [(made, total) for made in range(total + 1)] == PAGES_TOLD


def test_clips_stand_at_their_end(report: Path) -> None:
    assert groups(report, "visual_quality") == {"low": ["c0", "c1"], "middle": ["c2"], "high": ["c3"]}
    motion = groups(report, "motion")
    assert motion == {"low": ["c0"], "middle": ["c1"], "high": ["c2"], "not_applicable": ["c3"]}
    assert groups(report, "flow") == {"low": ["c3", "c2"], "middle": ["c1"], "high": ["c0"]}


def test_a_signal_without_values_says_so(report: Path) -> None:
    assert groups(report, "speech") == {}
    empty = (report / "signal-speech.html").read_text(encoding="utf-8")
    assert "No clip has a value of this signal yet: <code>headroom curate --signal speech</code> computes it." in empty


def test_the_box_of_a_face_is_drawn_over_the_frame(report: Path) -> None:
    """c1's video is lime; its face spans x 59 to 101 of 160, and the frame is drawn at 320 px."""
    made = picture_of(report, "faces", "c1")
    lime = np.array([0, 255, 0])
    assert np.abs(made[120, 20] - lime).max() < 40
    teal = np.array([45, 212, 191])
    row = made[120, :320]
    sides = np.flatnonzero(np.abs(row - teal).max(axis=1) < 60)
    assert {int(sides.min()), int(sides.max())} <= {*range(116, 121), *range(200, 206)}


def test_values_stand_beside_the_picture(report: Path) -> None:
    text = (report / "signal-visual_quality.html").read_text(encoding="utf-8")
    first = text.split('data-clip="c3"')[1].split("</article>")[0]
    told = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", first)).split())
    assert "talk yellow.mp4 4 0.0 to 3.0 s" in told
    assert "brisque 30" in told


def test_a_second_report_draws_nothing_again(report: Path, lined: Workspace) -> None:
    before = {f: f.stat().st_mtime_ns for f in report.rglob("*.*")}
    write_report(lined)
    assert {f: f.stat().st_mtime_ns for f in report.rglob("*.*")} == before


@pytest.mark.usefixtures("quick_sql")
def test_a_page_that_is_gone_comes_back_and_a_foreign_one_goes(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    folder = write_report(workspace).parent
    (folder / "signal-motion.html").unlink()
    (folder / "signal-of_yesterday.html").write_text("old")
    (folder / "notes.html").write_text("mine")
    write_report(workspace)
    assert (folder / "signal-motion.html").exists()
    assert not (folder / "signal-of_yesterday.html").exists()
    assert (folder / "notes.html").exists()


@pytest.mark.usefixtures("quick_sql")
def test_a_proxy_that_is_gone_is_told_in_its_place(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    (workspace.settings.workspace / "media" / "v3" / "proxy.mp4").write_bytes(b"no video")
    text = (write_report(workspace).parent / "signal-visual_quality.html").read_text(encoding="utf-8")
    assert "proxy proxy.mp4: can&#39;t be decoded" in text.split('data-clip="c3"')[1].split("</article>")[0]


def test_low_middle_high_are_of_different_videos_and_none_twice() -> None:
    clips = {f"c{i}": {"video_id": f"v{i // 3}"} for i in range(12)}
    ordered = [(f"c{i}", float(i)) for i in range(12)]
    made = {k: [c for c, _ in v] for k, v in report_signals.low_middle_high(ordered, clips).items()}
    assert made == {"low": ["c0", "c3"], "middle": ["c5", "c6"], "high": ["c8", "c11"]}
    few = report_signals.low_middle_high(ordered[:2], clips)
    assert [c for group in few.values() for c, _ in group] == ["c0", "c1"]


def test_lines_come_from_the_signal_and_its_needs() -> None:
    assert report_signals.lines_wanted(discover()["face_track"]) == ["faces", "landmarks"]
    assert report_signals.lines_wanted(discover()["speech"])[0] == "speech"
    assert report_signals.lines_wanted(discover()["embedding"]) == []


def test_the_first_number_orders_the_clips() -> None:
    columns = discover()["overlay_text"].spec.columns
    assert columns[0].name == "text"
    main = report_signals.main_column(columns)
    assert main is not None
    assert main.name == "num_boxes"
    assert report_signals.main_column(columns[:1]) is None
    constant = report_signals.main_column(columns, lambda c: (1, 1) if c.name == "num_boxes" else (1, 2))
    assert constant is not None
    assert constant.name == "char_count", "what is the same for all orders nothing"
    nothing = report_signals.main_column(columns, lambda _c: (None, None))
    assert nothing is not None
    assert nothing.name == "num_boxes"


def test_a_rare_value_stands_at_the_high_end(tmp_path: Path) -> None:
    """One voice of twelve is synthetic: that clip is what the page is opened for."""
    workspace, name = open_workspace(tmp_path / "corpus"), "synthetic_audio"
    ids = [f"c{i:02d}" for i in range(12)]
    batch = Batch()
    batch.add("videos", table_of([{"video_id": f"v{c}", "state": "done"} for c in ids], VIDEOS))
    batch.add("clips", table_of([{"clip_id": c, "video_id": f"v{c}", "active": True} for c in ids], CLIPS))
    score = [0.9 if c == "c04" else 0.0 for c in ids]
    told = {f"{name}_synthetic_score": score, f"{name}_speech_s": [float(i) for i in range(12)]}
    wide = {"clip_id": ids, "video_id": [f"v{c}" for c in ids], "active": [True] * 12, f"{name}_status": ["ok"] * 12}
    batch.add("signals", pa.table({**wide, **told}))
    workspace.commit(batch)
    with workspace.views() as reader:
        main = report_signals._main(reader, discover()[name])
    assert main is not None
    assert main.name == "synthetic_score"


def test_timelines_are_cut_to_the_clip(lined: Workspace) -> None:
    clip = {"clip_id": "c0", "video_id": "v0", "start_frame": 25, "end_frame": 100}
    manifest = lined.ledger.manifest()
    made = stored_lines(lined, manifest, [clip], ["flow", "vad", "nothing"])
    assert list(made["c0"]) == ["flow"]
    assert made["c0"]["flow"]["frame"].to_pylist() == list(range(25, 95, 5))
    slim = stored_lines(lined, manifest, [clip], ["flow"], columns=["frame", "camera"])
    assert slim["c0"]["flow"].column_names == ["frame", "camera"]
    beyond = {**clip, "end_frame": 1600}
    assert stored_lines(lined, manifest, [beyond], ["flow"]) == {}, "the second window was never computed"


def test_an_own_row_is_drawn_where_no_timeline_tells_it() -> None:
    signal = discover()["embedding"]
    assert report_signals.lines_of(signal, {"num_frames": 3, "temporal_spread": 0.1}, {}) == []
    lines = report_signals.lines_of(discover()["face_track"], None, {"faces": pa.table({"frame": [1]})})
    assert [isinstance(line, Line) and line.name for line in lines] == ["faces"]
    told = report_signals.lines_of(discover()["language"], {"language": "en"}, {"vad": pa.table({"frame": [1]})})
    assert [line.name for line in told] == ["language", "vad"]


@pytest.mark.browser
def test_nothing_scrolls_sideways_on_a_phone(report: Path, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    for name in ("index.html", "signal-visual_quality.html", "signal-faces.html"):
        wrapper = tmp_path / "phone.html"
        wrapper.write_text(
            f"""<iframe id="page" width="390" height="800" src="{(report / name).as_uri()}"></iframe><pre id="told"></pre>
            <script>document.getElementById("page").onload = (event) => {{
              const page = event.target.contentDocument;
              page.querySelectorAll("details").forEach((d) => d.open = true);
              const wide = [page.documentElement, ...page.querySelectorAll("*")].filter((e) =>
                e.scrollWidth > e.clientWidth + 1
                && (e === page.documentElement || ["auto", "scroll"].includes(getComputedStyle(e).overflowX)));
              told.textContent = "wide: " + wide.map((e) => e.tagName + " " + e.className).join(", ");
            }};</script>"""
        )
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        told = ["--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", wrapper.as_uri()]
        command = [CHROMIUM, *quiet, f"--user-data-dir={tmp_path / 'profile'}", *told]
        dump = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
        found = re.search(r'<pre id="told">(.*?)</pre>', dump, re.DOTALL)
        assert found
        assert found[1].strip() == "wide:", (name, found[1])
