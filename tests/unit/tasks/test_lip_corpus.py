from pathlib import Path

import numpy as np
import pytest

from tasks.lip_corpus import export, main, timelines
from tasks.media.normalise import normalise
from tasks.media.reader import Reader
from tests import made


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    made.write(tmp_path / "mute.mp4", made.grid(1.0), made.moving())
    with pytest.raises(ValueError, match=r"mute\.mp4: no sound .*people who speak"):
        export([tmp_path / "mute.mp4"], tmp_path / "out")


def test_a_video_without_a_face_is_refused(tmp_path: Path) -> None:
    made.write(tmp_path / "wall.mp4", made.grid(1.0), made.moving(), made.tone(1.0))
    with pytest.raises(ValueError, match=r"wall\.mp4: no face in most frames"):
        export([tmp_path / "wall.mp4"], tmp_path / "out")


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"two videos have the same name: \['a.mp4'\]"):
        export([tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4"], tmp_path)


def test_timelines_cover_a_proxy_and_leave_out_what_has_no_sound(tmp_path: Path) -> None:
    made.write(tmp_path / "wall.mp4", made.grid(12.0), made.moving(), made.tone(12.0))
    proxy = normalise(tmp_path / "wall.mp4", tmp_path / "proxy")
    with Reader() as reader:
        rows = timelines(reader, proxy.proxy_path, proxy.audio_path, proxy.num_frames)
        mute = timelines(reader, proxy.proxy_path, None, proxy.num_frames)
    assert rows["vad"]["frame"].to_pylist() == list(range(300))
    assert (rows["faces"].num_rows, rows["landmarks"].num_rows) == (0, 0)
    assert set(mute) == {"faces", "landmarks"}


def test_real_talk_becomes_features_that_the_fit_reads(real_media: Path, tmp_path: Path) -> None:
    from modeling.lip_sync import load_clips

    main([str(tmp_path), str(real_media / "talk" / "lipnet__bbaf2n.mpg")])
    (clip,) = load_clips(tmp_path)
    assert clip.name == "lipnet__bbaf2n.mpg"
    assert clip.lips.shape == (75, 12)
    assert clip.voice.shape == (75, 768)
    assert np.isfinite(clip.lips).all()
