"""The grid preview video: size, length, what each cell shows, and what is refused."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from dashboards import grid
from dashboards.grid import write_grid
from store.record import Batch, table_of
from store.schema import CLIPS, VIDEOS
from store.workspace import Workspace, open_workspace
from tests.unit.dashboards.conftest import clip_row, video_row, with_proxy

QUERY = "SELECT clip_id, visual_quality_quality FROM signals ORDER BY clip_id"
RGB = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "empty": (20, 23, 28)}


def frames_of(video: Path) -> np.ndarray:
    with av.open(str(video)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def cell(frame: np.ndarray, row: int, column: int, cell_px: int) -> np.ndarray:
    """The colour in the middle of a cell, above its label."""
    y, x = row * cell_px + cell_px // 3, column * cell_px + cell_px // 2
    return frame[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)


def test_cells_show_the_clips_row_by_row(filled: Workspace, tmp_path: Path) -> None:
    out = write_grid(filled, QUERY, tmp_path / "grid.mp4", columns=3, seconds=1.0, cell_px=96)
    frames = frames_of(out)
    assert frames.shape == (25, 2 * 96, 3 * 96, 3)
    for place, colour in enumerate(["red", "lime", "blue", "yellow", "empty", "empty"]):
        found = cell(frames[12], place // 3, place % 3, 96)
        assert np.abs(found - RGB[colour]).max() < 30, (colour, found)


@pytest.mark.usefixtures("quick_sql")
def test_clips_loop_to_the_length_asked_for(filled: Workspace, tmp_path: Path) -> None:
    out = write_grid(filled, QUERY, tmp_path / "grid.mp4", columns=4, seconds=6.0, cell_px=32)
    frames = frames_of(out)
    assert len(frames) == 150
    assert np.abs(cell(frames[-1], 0, 1, 32) - RGB["lime"]).max() < 30


@pytest.mark.usefixtures("quick_sql")
def test_the_same_query_gives_the_same_bytes(filled: Workspace, tmp_path: Path) -> None:
    made = [write_grid(filled, QUERY, tmp_path / name, seconds=0.4, cell_px=32) for name in ("a.mp4", "b.mp4")]
    assert made[0].read_bytes() == made[1].read_bytes()
    assert list((filled.settings.workspace / "scratch").iterdir()) == []


@pytest.mark.usefixtures("quick_sql")
def test_labels_tell_name_and_value(filled: Workspace) -> None:
    cells = grid._cells(filled, QUERY)
    assert [(c.title, c.value) for c in cells[:2]] == [
        ("talk red.mp4", "visual_quality_quality 1"),
        ("talk lime.mp4", "visual_quality_quality 2"),
    ]
    assert grid._cells(filled, "SELECT clip_id FROM clips WHERE clip_id = 'c0'")[0].value == "3.0 s"
    assert grid._cells(filled, "SELECT clip_id, motion_static_ratio FROM signals WHERE clip_id = 'c3'")[0].value == (
        "motion_static_ratio NULL"
    )


@pytest.mark.usefixtures("quick_sql")
def test_labels_are_drawn_within_their_cell(filled: Workspace, tmp_path: Path) -> None:
    cells = grid._cells(filled, QUERY)[:1]
    long = [grid.Cell(cells[0].span, "a very long name of a file that goes on " * 4, "value 1")]
    grid._draw_labels(long, 2, 160, tmp_path / "labels.png")
    drawn = np.asarray(Image.open(tmp_path / "labels.png"))
    assert drawn.shape == (160, 320, 4)
    assert (drawn[120:, :160, :3] > 200).any()
    assert not drawn[:, 160:].any()
    assert not drawn[2:100, 2:158].any()


@pytest.mark.usefixtures("quick_sql")
def test_many_clips_are_joined_in_groups(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "corpus")
    proxied = with_proxy(workspace, "v0", "red")
    batch = Batch()
    batch.add("videos", table_of([video_row("v0", "red.mp4", **proxied)], VIDEOS))
    batch.add("clips", table_of([clip_row(f"c{i:03d}", "v0", i % 20, i % 20 + 50) for i in range(101)], CLIPS))
    workspace.commit(batch)
    query = "SELECT clip_id FROM clips ORDER BY clip_id LIMIT {}"
    wide = frames_of(write_grid(workspace, query.format(23), tmp_path / "w.mp4", columns=12, seconds=0.2, cell_px=32))
    assert wide.shape == (5, 64, 384, 3)
    assert np.abs(cell(wide[2], 1, 10, 32) - RGB["red"]).max() < 30
    assert np.abs(cell(wide[2], 1, 11, 32) - RGB["empty"]).max() < 30
    tall = frames_of(write_grid(workspace, query.format(11), tmp_path / "t.mp4", columns=1, seconds=0.2, cell_px=32))
    assert tall.shape == (5, 352, 32, 3)
    assert np.abs(cell(tall[2], 10, 0, 32) - RGB["red"]).max() < 30
    with pytest.raises(ValueError, match=r"101 clips, a grid holds 100; add LIMIT 100"):
        write_grid(workspace, "SELECT clip_id FROM clips", tmp_path / "x.mp4")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT video_id FROM clips", "yields video_id; it must yield clip_id"),
        ("SELECT clip_id FROM clips WHERE duration_s > 1000", "yields no clips"),
        ("SELECT video_id AS clip_id FROM videos", "8 ids are no clips with a proxy, the first v"),
        ("DROP TABLE clips", "only SELECT"),
    ],
)
@pytest.mark.usefixtures("quick_sql")
def test_queries_that_can_not_be_shown_are_refused(filled: Workspace, tmp_path: Path, query: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        write_grid(filled, query, tmp_path / "grid.mp4")
    assert not (tmp_path / "grid.mp4").exists()


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"columns": 21}, {"seconds": 0.1}, {"cell_px": 33}, {"cell_px": 2}])
@pytest.mark.usefixtures("quick_sql")
def test_sizes_out_of_range_are_refused(filled: Workspace, tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="columns go from 1 to 20"):
        write_grid(filled, QUERY, tmp_path / "grid.mp4", **wrong)


@pytest.mark.usefixtures("quick_sql")
def test_a_place_that_can_not_be_written_is_refused(filled: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="can't be written"):
        write_grid(filled, QUERY, tmp_path / "file" / "grid.mp4", seconds=0.2, cell_px=32)
    with pytest.raises(ValueError, match=r"ends in \.mp4"):
        write_grid(filled, QUERY, tmp_path / "grid.avi")
