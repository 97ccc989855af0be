from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tasks.content_corpus import main, media_of, row_of
from tasks.content_features import NUM_FEATURES


def video(file: Path, seconds: int, fps: int = 5) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 960, 540, "yuv420p"
        for i in range(seconds * fps):
            level = np.full((540, 960, 3), 40 + 10 * (i // fps), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(level, format="rgb24")))
        container.mux(stream.encode())


def test_one_frame_a_second_at_most_640_px_wide(tmp_path: Path) -> None:
    video(tmp_path / "v.mp4", 3)
    media = media_of(tmp_path / "v.mp4")
    assert media.at(1) == [0, 25, 50]
    assert (media.width_px, media.height_px) == (640, 360)
    levels = [float(media.image(f).mean()) for f in media.at(1)]
    assert levels == pytest.approx([40, 50, 60], abs=2)


def test_the_command_keeps_rows_and_kinds_together(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    video(folder / "slides_a.mp4", 2)
    video(folder / "natural_b.mp4", 1)
    main([str(tmp_path / "f.npz"), str(folder)])
    with np.load(tmp_path / "f.npz") as held:
        assert held["kinds"].tolist() == [0, 2]
        assert np.array_equal(held["features"][1], row_of(media_of(folder / "slides_a.mp4")))
        assert held["features"].shape == (2, NUM_FEATURES + 1280)


def test_an_empty_folder_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "f.npz"), str(tmp_path)])
    assert "no video named by one of natural, screencast" in capsys.readouterr().err
