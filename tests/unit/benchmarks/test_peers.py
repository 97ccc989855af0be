"""What the comparison with data-juicer reads and reckons; data-juicer itself is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peer_operators import OPERATORS, values_of


def write_film(path: Path, shift_px: int, *, fps: int = 25, cut: bool = False) -> None:
    """Two seconds of a pattern of 320x240 that moves sideways by so many pixels a frame of the 25 fps grid."""
    wide = np.random.default_rng(0).integers(40, 216, (24, 400), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.bit_rate = 4_000_000
        for i in range(2 * fps):
            at = 400 + shift_px * i * 25 // fps
            gray = wide[:, at : at + 320] if not cut or i < fps else 255 - wide[::-1, :320]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(gray), format="gray").reformat(format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("fps", [25, 50])
def test_a_source_is_read_on_the_grid(tmp_path: Path, fps: int) -> None:
    write_film(tmp_path / "film.mp4", 1, fps=fps)
    media, row = peers.read_source(tmp_path / "film.mp4")
    assert (len(media.frames), media.width_px, media.height_px) == (50, 320, 240)
    assert media.planes[0].shape == (360, 320)
    assert row == {"duration_s": 2.0, "width_px": 320, "height_px": 240, "aspect_ratio": 320 / 240}


def test_motion_and_scenes_of_known_films(tmp_path: Path) -> None:
    told = []
    for name, shift_px, cut in (("still", 0, False), ("slow", 1, False), ("fast", 2, False), ("cut", 0, True)):
        write_film(tmp_path / f"{name}.mp4", shift_px, cut=cut)
        told.append(peers.measured(tmp_path / f"{name}.mp4"))
    assert [t["num_scenes"] for t in told] == [1, 1, 1, 2]
    still, slow, fast = (t["motion"] for t in told[:3])
    assert still < 1
    # 25 px a second are 10.4 % of the height, twelve frames at 2.08 a second.
    assert slow == pytest.approx(10.4, rel=0.15)
    assert fast == pytest.approx(20.8, rel=0.2)


def test_ranks_are_compared_by_what_both_measure() -> None:
    theirs = [{their: float(i) for their, _ in peers.PAIRS.values()} for i in range(4)]
    ours = [{our: float(i * i) for _, our in peers.PAIRS.values()} for i in range(4)]
    ours[0]["motion"] = 99.0
    told = peers.compared(ours, theirs)
    assert told["duration"] == pytest.approx(1)
    assert told["motion"] < 0


def test_an_operator_gives_its_statistics_or_counts_its_parts() -> None:
    class Filter:
        def compute_stats_single(self, sample: dict) -> dict:
            sample["__dj__stats__"]["video_duration"] = [2.5] * len(sample["videos"])
            return sample

    class Mapper:
        def process_single(self, sample: dict) -> dict:
            return {"videos": [*sample["videos"], "second.mp4"]}

    assert values_of(Filter(), "a.mp4") == {"video_duration": 2.5}
    assert values_of(Mapper(), "a.mp4") == {"num_scenes": 2.0}


def test_processes_that_nobody_waits_for_count() -> None:
    busy = "import time; [None for _ in iter(lambda: time.process_time() < 0.4, False)]"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}], stdout=subprocess.DEVNULL); print('gone')"
    spent, out = peers.timed([sys.executable, "-c", orphan])
    assert out == "gone\n"
    assert spent > 0.4
    with pytest.raises(subprocess.CalledProcessError):
        peers.timed([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_command_that_loses_files_is_not_measured(tmp_path: Path) -> None:
    command = tmp_path / "bin" / "dj-process"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ncp $2 {tmp_path}/seen.json\necho '{{}}' > out.jsonl\n")
    command.chmod(0o755)
    python = tmp_path / "bin" / "python"
    assert peers.command_s(python, [Path("a.mp4")], tmp_path) > 0
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert [next(iter(p)) for p in seen["process"]] == [place.split(".")[1] for place, _ in OPERATORS.values()]
    assert seen["process"][3]["video_motion_score_filter"] == {"sampling_fps": 2, "size": 256, "min_score": 0.0}
    with pytest.raises(RuntimeError, match="dj-process exported 1 of 2 files; see its log in"):
        peers.command_s(python, [Path("a.mp4"), Path("b.mp4")], tmp_path)
