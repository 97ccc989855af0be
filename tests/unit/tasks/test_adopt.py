"""A lab's table: its clips and scores are read by tiers at once, and a bad table says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks import tier as tiers
from tasks.adopt import adopt
from tasks.ingest import ingest
from tasks.jobs import adopted_clips
from tasks.outlook import outlook
from tasks.stale import stale_clips
from tests.unit.dashboards.conftest import fill

GOOD = "SELECT clip_id FROM signals WHERE lab_mos >= 3.5 AND lab_accent = 'none'  -- source: the lab's raters"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """For tables that are refused: nothing is written."""
    made = open_workspace(tmp_path_factory.mktemp("adopt") / "workspace")
    fill(made)
    return made


@pytest.fixture
def workspace(tmp_path: Path, quick_sql: None, either_ledger: str) -> Workspace:
    made = open_workspace(tmp_path / "workspace")
    fill(made)
    (tmp_path / "workspace" / "tiers" / "good.sql").write_text(GOOD)
    return made


def table(folder: Path, name: str = "lab", **columns: Any) -> Path:
    pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def test_scores_of_clips_that_are_here_work_in_tiers_at_once(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lab_mos"):
        tiers.funnel(workspace, "good")
    path = table(tmp_path, clip_id=["c0", "c1", "c2"], mos=[4.0, 3.0, None], accent=["none", "none", None])
    assert adopt(workspace, path, dry_run=True).to_dict()["clips"] == 3
    with pytest.raises(ValueError, match="lab_mos"):
        tiers.funnel(workspace, "good")
    made = adopt(workspace, path)
    assert (made.signal, made.num_new_clips) == ("lab", 0)
    assert tiers.members(workspace, "good")["clip_id"].to_list() == ["c0"]
    funnel = tiers.funnel(workspace, "good")
    assert [(c["clause"], c["alone"], c["nulls"]) for c in funnel] == [
        ("lab_mos >= 3.5", 1, 2),
        ("lab_accent = 'none'", 2, 2),
    ]
    assert tiers.explain(workspace, "c1", "good")[0]["values"] == {"lab_mos": 3.0}
    built = freeze.build(workspace, "good")
    assert built["clips"] == 1
    assert freeze._loaded(workspace, {"uri": built["path"]}).header["fingerprints"] == {"lab": made.fingerprint}
    lines = outlook(workspace, tiers=["good"])["signals"]
    assert [line for line in lines if line["grain"] == "clip"] == [], "nothing is to be computed for it"

    again = table(tmp_path, clip_id=["c3", "c1"], mos=[4.5, 3.6])
    other = adopt(workspace, again)
    assert other.fingerprint != made.fingerprint
    assert other.num_cleared == 2, "a table of the same name takes the place of the one before"
    rows = tiers.query(workspace, "SELECT clip_id, lab_mos, lab_accent, lab_status FROM signals ORDER BY clip_id")
    assert rows.rows() == [
        ("c0", None, None, None),
        ("c1", 3.6, None, "ok"),
        ("c2", None, None, None),
        ("c3", 4.5, None, "ok"),
    ]


def test_clips_cut_elsewhere_come_in_with_their_videos(workspace: Workspace, tmp_path: Path) -> None:
    path = table(
        tmp_path,
        name="Our Cuts",
        video=["talk red.mp4", "s3://lab/one.mp4", "s3://lab/one.mp4"],
        start_s=[1.0, 0.0, 5.0],
        end_s=[3.0, 4.0, 9.52],
        licence=[None, "CC0-1.0", "CC0-1.0"],
        sync=[0.5, 0.9, 0.7],
    )
    made = adopt(workspace, path)
    assert made.to_dict() | {"fingerprint": ""} == {
        "signal": "our_cuts",
        "fingerprint": "",
        "num_new_clips": 3,
        "num_new_videos": 1,
        "num_cleared": 0,
        "clips": 3,
        "columns": {"our_cuts_sync": "double"},
    }
    sql = """SELECT duration_s, licence FROM clips JOIN signals USING (clip_id) JOIN rights USING (video_id)
             WHERE our_cuts_sync >= 0.6 ORDER BY duration_s"""
    assert tiers.query(workspace, sql).rows() == [(4.0, "CC0-1.0"), (4.52, "CC0-1.0")]
    assert len(adopted_clips(workspace, workspace.ledger.manifest())) == 3
    same = adopt(workspace, path)
    assert (same.fingerprint, same.num_new_clips, same.num_new_videos) == (made.fingerprint, 0, 0)
    with workspace.views() as reader:
        unseen = reader.sql("SELECT clip_id FROM clips JOIN videos v USING (video_id) WHERE v.uri = 's3://lab/one.mp4'")
        late = set(stale_clips(reader, tiers.clip_signals())["clip_id"]) & set(unseen["clip_id"])
    assert late == set(), "clips without media wait for nothing"


def test_a_video_adopted_by_its_file_is_taken_up_by_curate(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "lab.mp4"
    file.write_bytes(b"as good as a video, here")
    adopt(workspace, table(tmp_path, video=[str(file)], duration_s=[3.0], score=[1]))
    assert ingest(workspace, [str(file)]).new == []
    row = tiers.query(workspace, "SELECT state, normalise_fingerprint FROM videos WHERE name = 'lab.mp4'").row(0)
    assert row == ("new", None), "its content is met: it is normalised like any other"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"clip_id": ["c0", "nope"], "mos": [1.0, 2.0]}, "1 of 2 clip_ids are unknown here \\(nope\\)"),
        ({"clip_id": ["c0", "c0"], "mos": [1.0, 2.0]}, "rows 0 and 1 are about the same clip, c0"),
        ({"clip_id": ["c0"], "mos": [float("nan")]}, "column 'mos', row 0: nan is no value; write NULL"),
        ({"clip_id": ["c0"], "mos": [[1.0]]}, "column 'mos' is List"),
        ({"clip_id": ["c0"], "MOS!": [1.0]}, "column 'MOS!': name it by small letters"),
        ({"clip_id": ["c0"], "status": ["x"]}, "column 'status' means something else here"),
        ({"clip_id": ["c0"], "mos": [None]}, "column 'mos' has no value at all"),
        ({"clip_id": ["c0"]}, "has no column of scores"),
        ({"clip_id": [], "mos": []}, "has no rows"),
        ({"label": ["x"], "mos": [1.0]}, "has neither clip_id nor video; it has label, mos"),
        ({"video": ["talk red.mp4"], "mos": [1.0]}, "row 0: says no span"),
        (
            {"video": ["talk red.mp4"], "start_s": [3.0], "end_s": [9.0], "mos": [1.0]},
            "frames 75 to 225 are no span within",
        ),
        ({"video": [None], "duration_s": [1.0], "mos": [1.0]}, "row 0: video is None"),
    ],
)
def test_a_bad_table_says_what_is_wrong(
    untouched: Workspace, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    before = untouched.ledger.manifest()
    with pytest.raises(ValueError, match=message):
        adopt(untouched, table(tmp_path, **columns))
    assert untouched.ledger.manifest() == before


def test_bad_names_and_files_are_refused(untouched: Workspace, tmp_path: Path) -> None:
    path = table(tmp_path, clip_id=["c0"], mos=[1.0])
    with pytest.raises(ValueError, match="signal 'lip_sync' is computed here"):
        adopt(untouched, path, "lip_sync")
    with pytest.raises(ValueError, match="give --name of small letters"):
        adopt(untouched, path, "9")
    with pytest.raises(ValueError, match="no such file"):
        adopt(untouched, tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("clip_id,mos\n")
    step = r"\); adopt takes a Parquet table with a column clip_id, or video .* write one, as with polars.read_csv"
    with pytest.raises(ValueError, match=rf"text.parquet: is no Parquet table but text \(.parquet\) \(.*{step}"):
        adopt(untouched, tmp_path / "text.parquet")
    (tmp_path / "x.toml").write_text("[scores]\nmos = 1\n")
    with pytest.raises(ValueError, match=rf"x.toml: is no Parquet table but text \(.toml\) \(.*{step}\(.*x.parquet"):
        adopt(untouched, tmp_path / "x.toml")
    for content, met in (
        (b"", "is an empty file"),
        (b"PAR1half", "begins as a Parquet table and is cut off or damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 20, "is no Parquet table, it begins with the bytes 89 50 4e 47"),
    ):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ValueError, match=f"other: {met} .*{step}"):
            adopt(untouched, tmp_path / "other")
    with pytest.raises(ValueError, match="is a folder, no Parquet table"):
        adopt(untouched, tmp_path)
