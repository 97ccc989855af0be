from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from modeling.scenes import KINDS, coded, load_photos, scene
from modeling.scenes.__main__ import main
from modeling.scenes.stage import SHOWN


def photos() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (320, 240)) for _ in range(2)]


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_the_same_for_its_seed_and_another_for_another(kind: str, held_out: bool) -> None:
    first, again, other = (scene(kind, seed, photos(), held_out=held_out) for seed in (3, 3, 4))
    assert len(first) == len(SHOWN)
    assert all(f.dtype == np.uint8 and f.shape == first[0].shape and f.shape[2] == 3 for f in first)
    assert all(side % 2 == 0 for side in first[0].shape[:2])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_held_out_scenes_are_others() -> None:
    a, b = (scene("screencast", 5, photos(), held_out=h) for h in (False, True))
    assert a[0].shape != b[0].shape or not np.array_equal(a[0], b[0])


def test_only_part_of_a_still_camera_scene_may_move_on_its_own() -> None:
    """Ken Burns: one global motion explains all; life-like scenes move in parts."""
    from tasks.content_features import _motion

    def left(kind: str) -> float:
        told = []
        for seed in range(6):
            frames = scene(kind, seed, photos(), held_out=False)
            small = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), (160, 100)).astype(np.float32) for f in frames]
            told += [_motion(a, b)[4] for a, b in pairwise(small)]
        return float(np.median(told))

    assert left("still") < 0.6 * left("natural")


def test_videos_are_written_once_and_read_back(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), photos()[0])
    out = tmp_path / "out"
    main([str(tmp_path), str(out), "--num", "1", "--held-out"])
    files = sorted(out.iterdir())
    assert [f.name for f in files] == sorted(f"{kind}_0_0000.mp4" for kind in KINDS)
    files[0].write_bytes(b"kept")
    main([str(tmp_path), str(out), "--num", "1", "--held-out"])
    assert files[0].read_bytes() == b"kept"


def test_coding_changes_little() -> None:
    import io

    import av

    frames = scene("slides", 1, photos(), held_out=False)
    with av.open(io.BytesIO(coded(frames, 1))) as container:
        read = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(read) == len(frames)
    assert np.abs(read[0].astype(int) - frames[0]).mean() < 8


def test_photographs_are_needed_and_must_be_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no photographs"):
        load_photos([])
    (tmp_path / "x.txt").write_text("no image")
    with pytest.raises(ValueError, match="not an image that OpenCV reads"):
        load_photos([tmp_path / "x.txt"])


def test_the_seed_of_the_scorecard_is_not_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out"), "--seed", "9"])
    assert "--seed 9 is the scorecard's" in capsys.readouterr().err
