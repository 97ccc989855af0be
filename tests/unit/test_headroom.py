"""The entry's own part of `curate`: what is asked for, and what can't be asked for together."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flows.curate
import headroom
from store.workspace import open_workspace


@pytest.mark.parametrize(
    ("arguments", "signals"),
    [(["--signal", "latents_dct", "--signal", "caption"], ["latents_dct", "caption"]), ([], None)],
)
def test_signals_are_asked_for_by_name(
    arguments: list[str], signals: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(flows.curate, "run_curate", lambda *place, **told: asked.append(told["signals"]) or {})
    with pytest.raises(SystemExit) as end:
        headroom.main(["curate", "--workspace", str(tmp_path / "w"), "--json", *arguments])
    assert end.value.code == 0
    assert asked == [signals]


@pytest.mark.parametrize("arguments", [["--tier", "a2v_gold", "--all"], ["--signal", "caption", "--all"]])
def test_only_one_choice_of_signals(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        headroom.main(["curate", "--workspace", str(tmp_path / "w"), *arguments])
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--device", "cpu"], ["--processes", "2"]])
def test_what_trains_in_seconds_takes_no_device(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        headroom.main(["train", "visual_quality", "--workspace", str(tmp_path / "w"), *more])
    assert "leave --device and --processes out" in capsys.readouterr().err


def test_an_unknown_signal_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="signal 'nothing' is none of"):
        headroom.open(tmp_path / "w").curate(signals=["nothing"])


def test_a_path_that_is_not_there_makes_no_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        headroom.main(["curate", str(tmp_path / "nope"), "--workspace", str(tmp_path / "w")])
    assert end.value.code == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_help_tells_whole_sentences(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        headroom.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "a watch for new footage, until Ctrl-C." in told
    assert "..." not in told.split("Commands:")[1]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("LanceError(IO): No space left on device (os error 28), x.rs:1"),
         "headroom: the disk is full (LanceError(IO): No space left on device (os error 28), x.rs:1); make room, then run"),
        (RuntimeError("it broke"), "headroom: RuntimeError: it broke (--debug shows where)"),
        (ValueError("it is wrong"), "headroom: it is wrong"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_one_line(
    error: Exception, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(flows.curate, "run_curate", fails)
    with pytest.raises(SystemExit) as end:
        headroom.main(["curate", "--workspace", str(tmp_path / "w")])
    assert end.value.code == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith(line)


def test_a_full_disk_is_told_whatever_failed_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("the Prefect server did not start")

    (tmp_path / "w").mkdir()
    monkeypatch.setattr(flows.curate, "run_curate", fails)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda place: SimpleNamespace(free=4096 if place == tmp_path / "w" else 1 << 40)
    )
    with pytest.raises(SystemExit):
        headroom.main(["curate", "--workspace", str(tmp_path / "w")])
    assert "the disk is full (the Prefect server did not start); make room" in capsys.readouterr().err


def test_a_demo_without_a_clip_has_its_funnel_and_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "footage").mkdir()
    with pytest.raises(SystemExit) as end:
        headroom.main(["demo", str(tmp_path / "footage"), "--workspace", str(tmp_path / "w")])
    assert end.value.code == 0
    told = capsys.readouterr()
    assert "videos found" in told.out
    assert "no clip came of this footage" in " ".join(told.err.split())
    assert (tmp_path / "w" / "report" / "index.html").is_file()


def test_a_demo_of_nowhere_makes_no_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        headroom.main(["demo", str(tmp_path / "nowhere"), "--workspace", str(tmp_path / "w")])
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(flows.curate, "run_curate", gone)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with pytest.raises(SystemExit) as end:
        headroom.main(["curate", "--workspace", str(tmp_path / "w")])
    assert end.value.code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["curate"], "headroom: interrupted; run the same command again to go on\n"),
        (["serve", "--checkpoint", "c"], "headroom: stopped\n"),
    ],
)
def test_what_lasts_until_it_is_interrupted_is_stopped_by_it(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def ended(code: int) -> None:
        raise SystemExit(code)

    open_workspace(tmp_path / "w")
    monkeypatch.setattr(flows.curate, "run_curate", interrupted)
    monkeypatch.setattr("serving.serve.serve", interrupted)
    monkeypatch.setattr("headroom.command._end", ended)
    with pytest.raises(SystemExit) as end:
        headroom.main([*words, "--workspace", str(tmp_path / "w")])
    assert end.value.code == 130
    assert capsys.readouterr().err == told
