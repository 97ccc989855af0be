"""The motion video: the face is cut out, each parameter has its lane, and the file plays with its sound."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dashboards.motion_video import PICTURE_PX, beside, square_around, with_cursor, write_motion_video
from modeling.motion import PARAMETERS
from modeling.motion_picture import LABEL_PX, LANE_PX, WIDTH_PX, draw_lanes
from tests.unit.modeling.conftest import HEIGHT, WIDTH, make_proxy


def curves(num: int = 20) -> dict[str, np.ndarray]:
    values = np.full((num, len(PARAMETERS)), np.nan, np.float32)
    values[:, 4] = np.linspace(0, 1, num)
    return {"stored": values}


def test_a_curve_is_drawn_in_its_own_lane_and_rises_with_its_value() -> None:
    lanes = draw_lanes(curves(), 20)
    drawn = (lanes[:, LABEL_PX + 1 :] > 180).all(axis=2)
    rows, columns = np.nonzero(drawn[: LANE_PX * len(PARAMETERS)])
    assert set(rows // LANE_PX) == {4}
    assert rows[columns < 100].min() > rows[columns > 400].max()
    assert (with_cursor(lanes, 0, 20)[10, LABEL_PX] == (240, 80, 80)).all()


def test_the_square_holds_the_face_and_stays_in_the_frame() -> None:
    rows, columns = square_around((80, 10, 140, 90), (100, 200))
    assert rows.stop - rows.start == columns.stop - columns.start == 100
    assert columns.start <= 80
    assert columns.stop >= 140
    corner = square_around((-5, -5, 20, 20), (100, 200))
    assert (corner[0].start, corner[1].start) == (0, 0)
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[rows, columns] = 200
    shown = beside(picture, (rows, columns))
    assert shown.shape == (PICTURE_PX, WIDTH_PX, 3)
    assert (shown[:, :PICTURE_PX] == 200).all()


def test_the_video_has_a_frame_for_each_row_and_sound(tmp_path: Path) -> None:
    proxy = make_proxy(tmp_path, "va")
    clip = {"width_px": WIDTH, "height_px": HEIGHT, "first_frame": 30, "face": (40, 10, 80, 50)}
    sound = np.zeros(20 * 640, np.float32)
    out = write_motion_video(clip, proxy, sound, curves(), tmp_path / "out.mp4")
    with av.open(str(out)) as container:
        assert len(container.streams.audio) == 1
        assert len(list(container.decode(video=0))) == 20
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.mp4", "proxy.mp4"], "nothing else is left"
    with pytest.raises(ValueError, match=r"no file to write; give a name that ends in \.mp4"):
        write_motion_video(clip, proxy, sound, curves(), tmp_path / "out.avi")
