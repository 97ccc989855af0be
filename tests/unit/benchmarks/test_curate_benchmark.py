"""The clocks of the curate benchmark: exclusive time, what the engine asked for, and replays that ask for the same."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import curate
from benchmarks.curate import Run, footage, limited_sum, load_s, prefilter_saving
from benchmarks.decoding import rounds
from benchmarks.memory import Watch
from benchmarks.meter import Ask, Meter, process_cpu_s
from store.workspace import open_workspace
from tasks.media.media import Media
from tasks.media.normalise import Normalised, normalise
from tasks.media.reader import Reader
from tasks.signals import discover
from tests import made

NUM_FRAMES = 60


def busy(cpu_s: float) -> None:
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Normalised:
    folder = tmp_path_factory.mktemp("proxy")
    seconds = NUM_FRAMES / 25
    source = made.write(folder / "s.mp4", made.grid(seconds), made.moving(160, 96), made.tone(seconds))
    return normalise(source, folder / "out")


@pytest.fixture
def metered(proxy: Normalised) -> Meter:
    """A meter that saw one window's decode with two signals, and a clip's."""
    meter, signals = Meter(), discover()
    with meter.installed(), Reader() as reader:
        with meter.stage("timelines"):
            for media in reader.blocks(proxy.proxy_path, None, NUM_FRAMES, 0, 60, block_frames=30, context_frames=5):
                for name in ("flow", "keyframes"):
                    signals[name].compute(media, {})
        with meter.stage("signals"):
            reader.sampled(proxy.proxy_path, proxy.audio_path, 0, 60, 1.0)
    return meter


def test_time_is_exclusive() -> None:
    meter = Meter()
    with meter.stage("a"):
        busy(0.03)
        with meter.part("inner"):
            busy(0.06)
        with meter.stage("b"):
            busy(0.02)
    assert dict(meter.cpu_s) == pytest.approx(
        {("a", "engine"): 0.03, ("a", "inner"): 0.06, ("b", "engine"): 0.02}, abs=0.01
    )


def test_the_meter_sees_every_door_and_goes_without_a_trace(metered: Meter, proxy: Normalised) -> None:
    parts = set(metered.cpu_s)
    assert {("timelines", p) for p in ("engine", "frames", "resample", "flow", "keyframes")} <= parts
    assert {("signals", p) for p in ("frames", "sound")} <= parts
    assert [call.method for call in metered.calls] == ["blocks", "sampled"]
    first = metered.asks[metered.calls[0], (0, 30)]
    assert {(a.signal, a.longest_side_px, a.pixels) for a in first} == {
        ("flow", 320, "gray"),
        ("keyframes", None, "gray"),
    }
    assert [a.frame for a in first if a.signal == "keyframes"] == [0, 25]
    assert Media.image.__module__ == Reader.blocks.__module__.replace("reader", "media") == "tasks.media.media"
    assert discover()["flow"].compute.__module__ == "tasks.signals.flow"


def test_a_round_replays_what_was_asked_for(metered: Meter) -> None:
    seen: list[Ask] = []
    real = Media.image

    def image(media: Media, frame: int, side: int | None = None, pixels: str = "rgb") -> np.ndarray:
        seen.append(Ask("", frame, side, pixels))
        return real(media, frame, side, pixels)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Media, "image", image)
        made_rounds = rounds(metered, 2)
    shared = [Ask("", a.frame, a.longest_side_px, a.pixels) for asked in metered.asks.values() for a in asked]
    # Each round asks once together and once more signal by signal; sampled at 5 fps and at 1 fps alike.
    assert sorted(map(str, seen)) == sorted(map(str, shared * 4))
    for one in made_rounds:
        assert one.bare_s > 0
        assert one.timelines.child_s > 0
        assert {"flow", "keyframes", "cuts", "embedding"} <= set(one.own)
        assert 0.5 < one.ratio < 50


def test_processor_time_of_a_child_is_read_while_it_lives() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        told = process_cpu_s(child.pid)
        child.kill()
    assert 0.28 < told < 0.6


def test_peak_memory_is_told_by_stage_and_counts_children() -> None:
    watch = Watch()
    with watch.stage("small"):
        busy(0.01)
    grow = "held = bytearray(50 << 20); print(1, flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", grow], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with watch.stage("large"):
            held = np.ones(100 << 20, np.uint8)
        child.kill()
    del held
    peaks = {p.stage: p for p in watch.peaks()}
    assert 95 < peaks["large"].worker_mib - peaks["small"].worker_mib < 150
    # A test process of several has a small child of its own already.
    assert peaks["small"].children_mib < 40
    assert 50 < peaks["large"].children_mib - peaks["small"].children_mib < 90


def test_sums_leave_out_what_the_limit_leaves_out(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    cpu_s = {("normalise", "children"): 8.0, ("timelines", "cuts"): 2.0, ("timelines", "transnetv2"): 4.0}
    media_s = {"normalise": 20.0, "timelines": 10.0, "signals": 5.0}
    run = Run(workspace, {**cpu_s, ("signals", "speech"): 3.0, ("signals", "motion"): 1.0}, media_s)
    run.rejected, run.rejected_s = {"frozen.mp4": "frozen"}, 10.0
    assert run.per_s()["timelines", "transnetv2"] == pytest.approx(0.4)
    assert limited_sum(run.per_s()) == pytest.approx(0.2 + 0.2)
    warm = Run(workspace, {("signals", "speech"): 9.0}, media_s)
    assert load_s(warm, run.per_s()) == {("signals", "speech"): pytest.approx(6.0)}
    assert prefilter_saving(run, 0.2) == {
        "num_rejected": 1, "rejected_s": 10.0, "saved_cpu_s": 2.0, "saved_ratio": 0.1,
    }  # fmt: skip


def test_footage_is_told_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "talk").mkdir()
    for name in ("b.mp4", "a.MOV", "notes.txt"):
        (tmp_path / "talk" / name).touch()
    found = [tmp_path / "talk" / "a.MOV", tmp_path / "talk" / "b.mp4"]
    assert footage([str(tmp_path / "talk")]) == found
    assert footage([str(found[1])]) == found[1:]
    monkeypatch.setenv("HEADROOM_MEDIA", str(tmp_path))
    assert footage([]) == found
    with pytest.raises(ValueError, match="no video; give a folder or files of"):
        footage([str(tmp_path / "talk" / "notes.txt")])


def test_a_folder_without_video_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        curate.main([str(tmp_path)])
    assert ended.value.code == 2
    assert "no video" in capsys.readouterr().err
