"""The report: every section, the right figures, escaped names, files that play, nothing written twice."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import pyarrow as pa
import pytest
from PIL import Image

from dashboards import distributions, report_clips
from dashboards.report import funnel_steps, write_report
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.tier_sql import parse_tier
from store.workspace import Reader, Workspace, open_workspace
from tasks.signals import discover
from tests.unit.dashboards.conftest import EVIL, fill, video_row

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(filled: Workspace) -> Path:
    return write_report(filled)


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', text, re.DOTALL)
    assert found, name
    return found[1]


def words(markup: str) -> str:
    """What a reader sees, without tags, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def test_every_section_is_there(page: Path, filled: Workspace, text: str) -> None:
    assert page == filled.settings.workspace / "report" / "index.html"
    for name in ("funnel", "tiers", "signals", "distributions", "sheets", "samples", "quarantine"):
        assert section(text, name)


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    without_namespaces = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in without_namespaces
    assert "https://" not in without_namespaces
    assert "<script" not in text


def test_the_funnel_counts_videos_then_clips(text: str) -> None:
    told = words(section(text, "funnel"))
    steps = [
        "found 8",
        "readable 6 −2 quarantined",
        "past the prefilter 5 −1 rejected",
        "with a clip 4 −1 without a clip",
    ]
    for step in [*steps, "chosen 4", "t_wide 2 −2 left out", "t_narrow 1 −1 left out"]:
        assert step in told
    assert "frozen: 98% of the frames repeat the one before prefilter 1 frozen.mp4" in told
    assert "no face in 0.95 of the time clip 1 street.mp4" in told


def test_the_prefilters_saving_follows_from_the_measured_costs(filled: Workspace, text: str) -> None:
    """12 s of clips came of the 20 s that passed; 10 s were turned away."""
    default = [s.spec for s in discover().values() if not s.spec.on_request]
    cost = {g: sum(s.cost_cpu_s for s in default if s.grain == g) for g in ("video", "clip")}
    expected = 10.0 * (cost["video"] + 12 / 20 * cost["clip"])
    told = re.search(r"turned away 1 video, 10.0 s of footage, and saved about ([0-9.]+) CPU-seconds", words(text))
    assert told is not None
    assert float(told[1]) == pytest.approx(expected, abs=0.6)


def test_file_names_and_reasons_are_escaped(text: str) -> None:
    assert EVIL not in text
    assert html.escape(EVIL) in section(text, "quarantine")
    assert "no &lt;b&gt;video&lt;/b&gt; stream" in text
    told = words(section(text, "quarantine"))
    assert "cut short.mp4 probe can't be decoded av 1" in told


def test_tiers_show_clauses_with_their_source_and_counts(text: str) -> None:
    told = words(section(text, "tiers"))
    assert "t_wide 2 of 4 clips, 6.0 s, no snapshot yet" in told
    assert "visual_quality_quality >= 2.5 made up −2 −2 −2 2" in told
    assert "t_narrow 1 of 4 clips, 3.0 s, no snapshot yet" in told
    assert "all of t_wide −2 2 motion_static_ratio < 0.3 −1 −1 −1 1 1" in told


def test_signals_tell_state_and_price(text: str) -> None:
    told = words(section(text, "signals"))
    assert re.search(r"motion clip 4 0 4 1 (\S+ )?1 × too short for a pair of frames", told)
    assert re.search(r"faces video 5 0 5 0\.0\d+", told)


def test_distributions_count_what_the_table_holds(text: str) -> None:
    plot = re.search(r'data-column="visual_quality_quality">(.*?)</figure>', text, re.DOTALL)
    assert plot
    counts = [int(c) for c in re.findall(r'data-count="(\d+)"', plot[1])]
    assert counts == [1, 1, 1, 1]
    assert "median 2.5 (1 to 4), 4 clips" in words(plot[1])
    assert "≥ 2.5" in words(plot[1])
    assert 'class="mark t' in plot[1]
    static = re.search(r'data-column="motion_static_ratio">(.*?)</figure>', text, re.DOTALL)
    assert static
    assert "3 clips, 1 NULL" in words(static[1])


def test_contact_sheets_show_a_frame_of_each_clip(page: Path, text: str) -> None:
    sheets = section(text, "sheets")
    keys = re.findall(r'data-sheet="(\w+)"', sheets)
    assert keys == ["t_narrow", "t_wide", "outside", "dropped"]
    narrow = sheets.split('data-sheet="')[1]
    image = re.search(r'src="(assets/still-c2-[^"]+\.jpg)"', narrow)
    assert image
    with Image.open(page.parent / image[1]) as picture:
        assert picture.size == (160, 120)
        assert max(abs(a - b) for a, b in zip(picture.getpixel((80, 60)), (0, 0, 255), strict=True)) < 12
    assert "static_ratio 0.2 quality 3" in words(narrow)
    dropped = words(sheets.split('data-sheet="')[4])
    assert "frozen: 98% of the frames" in dropped
    assert "no face in 0.95 of the time" in dropped


def test_samples_play_with_sound_and_tell_their_verdicts(page: Path, text: str) -> None:
    samples = section(text, "samples")
    files = re.findall(r'<video [^>]*poster="([^"]+)" src="([^"]+)"', samples)
    assert len(files) == 4
    for poster, video in files:
        assert (page.parent / poster).stat().st_size > 0
        with av.open(str(page.parent / video)) as container:
            assert len(container.streams.audio) == 1
            assert sum(1 for _ in container.decode(video=0)) == 75
    red = words(samples.split('id="clip-c0"')[1].split("</article>")[0])
    assert "Kept out of t_wide by visual_quality_quality >= 2.5 1" in red
    assert "✗ motion_static_ratio" not in red
    blue = words(samples.split('id="clip-c2"')[1].split("</article>")[0])
    assert "Kept out" not in blue
    assert "t_narrow and all of t_wide ✓ motion_static_ratio < 0.3 0.2" in blue
    yellow = words(samples.split('id="clip-c3"')[1].split("</article>")[0])
    assert "? motion_static_ratio < 0.3 NULL" in yellow
    assert "motion_status not_applicable: too short for a pair of frames" in yellow


def test_a_second_report_of_the_same_data_writes_nothing(page: Path, filled: Workspace) -> None:
    before = {f: f.stat().st_mtime_ns for f in page.parent.rglob("*.*")}
    assert write_report(filled) == page
    assert {f: f.stat().st_mtime_ns for f in page.parent.rglob("*.*")} == before


@pytest.mark.usefixtures("quick_sql")
def test_the_report_follows_the_data(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    page = write_report(workspace)
    old = set(os.listdir(page.parent / "assets"))
    kept = next(f for f in sorted(old) if f.startswith("clip-c2"))
    stamp = (page.parent / "assets" / kept).stat().st_mtime_ns
    (page.parent / "assets" / ".part-still-vv9-0.jpg").write_bytes(b"half")
    (page.parent / "assets" / "still-vv9-0.jpg").write_bytes(b"of a video that is gone")
    (page.parent / "assets" / "mine.txt").write_text("not the report's")
    batch = Batch()
    batch.add(
        "videos", table_of([video_row("v8", "new.mp4", state="quarantined", stage="probe", reason="empty")], VIDEOS)
    )
    workspace.commit(batch)
    assert "new.mp4" in write_report(workspace).read_text(encoding="utf-8")
    assert set(os.listdir(page.parent / "assets")) == {*old, "mine.txt"}
    assert (page.parent / "assets" / kept).stat().st_mtime_ns == stamp
    (page.parent / "assets" / kept).unlink()
    write_report(workspace)
    assert (page.parent / "assets" / kept).exists()


@pytest.mark.usefixtures("quick_sql")
def test_the_same_data_give_the_same_bytes(filled: Workspace, page: Path, tmp_path: Path) -> None:
    other = write_report(filled, tmp_path / "other")
    names = sorted(os.listdir(page.parent / "assets"))
    assert sorted(os.listdir(other.parent / "assets")) == names
    assert other.read_bytes() == page.read_bytes()
    for name in names:
        assert (other.parent / "assets" / name).read_bytes() == (page.parent / "assets" / name).read_bytes()


def test_an_empty_workspace_has_a_report(tmp_path: Path) -> None:
    told = words(write_report(open_workspace(tmp_path / "empty")).read_text(encoding="utf-8"))
    assert "The prefilter turned nothing away" in told
    assert "There are no clips yet." in told
    assert "Nothing is quarantined." in told


@pytest.mark.usefixtures("quick_sql")
def test_a_proxy_that_is_gone_or_damaged_is_told_in_its_place(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    (workspace.settings.workspace / "media" / "v2" / "proxy.mp4").write_bytes(b"no video")
    (workspace.settings.workspace / "media" / "v3" / "proxy.mp4").unlink()
    text = write_report(workspace).read_text(encoding="utf-8")
    blue = words(text.split('id="clip-c2"')[1].split("</article>")[0])
    assert "proxy proxy.mp4: can't be decoded" in blue
    assert "No such file" in words(text.split('id="clip-c3"')[1].split("</article>")[0])
    assert text.count("<video ") == 2


def test_a_folder_that_can_not_be_written_is_refused(filled: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"report: .*file/report can't be written"):
        write_report(filled, tmp_path / "file" / "report")


@pytest.mark.usefixtures("quick_sql")
def test_a_broken_tier_is_told_and_stops_nothing(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    (workspace.settings.workspace / "tiers" / "t_bad.sql").write_text("SELECT clip_id FROM clips WHERE nonsense > 1")
    (workspace.settings.workspace / "tiers" / "t_later.sql").write_text(
        "SELECT clip_id FROM signals WHERE face_track_face_ratio > 0.5"
    )
    (workspace.settings.workspace / "tiers" / "t_by_id.sql").write_text(
        "SELECT clip_id FROM t_wide WHERE clip_id IN (SELECT clip_id FROM clips)"
    )
    told = words(section(write_report(workspace).read_text(encoding="utf-8"), "tiers"))
    assert "t_bad tier t_bad: " in told
    assert "t_by_id 2 of 4 clips" in told
    assert "t_later reads face_track, which was never computed here" in told
    assert "t_wide 2 of 4 clips" in told


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("signals.motion_static_ratio < 0.3", [("motion_static_ratio", "<", 0.3)]),
        ("0.3 <= signals.motion_static_ratio", [("motion_static_ratio", "≥", 0.3)]),
        ("duration_s BETWEEN 3 AND 20", [("duration_s", "≥", 3), ("duration_s", "≤", 20)]),
        ("abs(motion_camera_speed) <= 40", [("motion_camera_speed", "≤", 40), ("motion_camera_speed", "≥", -40)]),
        ("(motion_static_ratio < 0.5 OR duration_s < 4)", [("motion_static_ratio", "<", 0.5)]),
        (
            "(motion_static_ratio < 0.5 OR (duration_s < 4 AND motion_camera_speed < 2))",
            [("motion_static_ratio", "<", 0.5)],
        ),
        ("NOT (duration_s > 3)", []),
        ("clips.video_id <> 'v1'", []),
    ],
)
def test_thresholds_are_read_from_clauses(where: str, told: list[tuple[str, str, float]]) -> None:
    sql = f"SELECT clips.clip_id FROM clips JOIN signals ON clips.clip_id = signals.clip_id WHERE {where}"
    tier = parse_tier("t", sql, {}, ["motion"])
    assert sorted(c for clause in tier.clauses for c in distributions.comparisons(clause)) == sorted(told)


def test_samples_are_of_every_standing_and_of_different_videos() -> None:
    clips = {f"c{i}": {"video_id": f"v{i // 3}"} for i in range(9)}
    assert report_clips._by_turns(list(clips), clips) == ["c0", "c3", "c6", "c1", "c4", "c7", "c2", "c5", "c8"]
    assert report_clips._shared_out([["a", "b", "c"], ["d"], []], 3) == ["a", "b", "d"]
    assert report_clips.evenly(list(range(10)), 3) == [0, 3, 6]


def test_a_video_under_way_is_no_loss_of_clipping() -> None:
    videos = [{**video_row("v", "a.mp4", state="new"), "stage": None, "prefilter_reason": None}]
    steps = {s["label"]: s for s in funnel_steps(videos, 0, [])}
    assert steps["with a clip"]["count"] == 0
    assert steps["with a clip"]["why"] == "under way or without a clip"


@pytest.mark.browser
def test_a_browser_shows_it(page: Path, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    shot = tmp_path / "report.png"
    quiet = ["--disable-background-networking", "--disable-quic", "--no-first-run", "--disable-component-update"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, "--disable-sync", profile]
    view = [f"--screenshot={shot}", "--window-size=1400,2400", page.as_uri()]
    subprocess.run([*command, *view], check=True, capture_output=True, timeout=120)
    with Image.open(shot) as picture:
        assert picture.size[0] == 1400
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert (246, 247, 249) in colours
    assert len(colours) > 100
    dump = subprocess.run([*command, "--dump-dom", page.as_uri()], check=True, capture_output=True, timeout=120)
    assert "t_narrow" in dump.stdout.decode()


def test_a_signals_columns_are_read_by_one_query(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    arrow = Reader.arrow

    def counted(self: Reader, query: str, parameters: Sequence[object] = ()) -> pa.Table:
        asked.append(query)
        return arrow(self, query, parameters)

    monkeypatch.setattr(Reader, "arrow", counted)
    columns = discover()["visual_quality"].spec.columns
    with filled.views() as reader:
        made = list(distributions.distributions(reader, columns, "visual_quality_", "signals", {}))
    assert len(made) > 1
    assert len(asked) == 1


def test_a_reader_knows_the_columns_of_a_table_put_in_later(filled: Workspace) -> None:
    with filled.views() as reader:
        reader.with_table("told", pa.table({"a": [1]}))
        assert reader.columns("told") == ["a"]
        reader.with_table("told", pa.table({"b": [1], "c": [2]}))
        assert reader.columns("told") == ["b", "c"]
