"""Needs a clip signal can do without: it is computed all the same, and anew once they are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tasks.signals
from tasks.compute import Held, blocked_by, input_digest
from tasks.media.media import Media
from tasks.run_clips import _clip_run
from tasks.signal import LoadedSignal, Output, fingerprint_of
from tasks.signals import discover

SILENT = Held("not_applicable", "no audio", "f", 1, 2)


def caption() -> LoadedSignal:
    """The real one, whose compute tells what it was given."""
    return replace(discover()["caption"], compute=lambda media, needs: Output(row=dict(needs)))


def known() -> dict[str, Held]:
    spec = discover()["caption"].spec
    ok = Held("ok", "", "f", 1, 3, row={"a": 1})
    held = {n: ok for n in spec.needs if discover()[n].spec.grain == "clip"}
    empty = pa.table({"frame": pa.array([], pa.int32())})
    held |= {n: replace(ok, timeline=empty) for n in spec.needs if discover()[n].spec.grain == "video"}
    return held | {"vad": SILENT, "speech": SILENT}


def test_what_is_not_ok_is_given_as_none_and_blocks_nothing() -> None:
    assert blocked_by(caption(), known()) == ""
    row = _clip_run(caption(), Media(0, 25, 64, 48), known())().row
    assert (row["vad"], row["speech"], row["overlay_text"]) == (None, None, {"a": 1})
    assert "speech.timeline" not in row


def test_a_need_that_is_not_optional_blocks() -> None:
    assert blocked_by(caption(), known() | {"faces": SILENT}) == "faces: no audio"


def test_it_is_stale_once_the_need_is_there() -> None:
    video = {"source_width_px": 64, "proxy_sha256": None, "audio_sha256": None}
    before, after = (input_digest(caption(), video, 0, 25, [2, told]) for told in (SILENT.output_digest, 77))
    assert before != after


def test_what_is_optional_is_part_of_the_fingerprint() -> None:
    spec = replace(discover()["motion"].spec, optional=("flow",))
    assert fingerprint_of("motion", spec, {}) != fingerprint_of("motion", discover()["motion"].spec, {})


def test_an_optional_need_must_be_a_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import pyarrow as pa\nfrom tasks.signal import Column, Output, Signal\n"
        "SIGNAL = Signal(grain='clip', version=1, columns=(Column('a', pa.int32(), 'count', 'a'),), optional=('vad',))\n"
        "def compute(media, needs):\n    return Output(row={'a': 1})\n"
    )
    (tmp_path / "stray_signal_of_a_test.py").write_text(source)
    paths: Any = [str(tmp_path)]
    monkeypatch.setattr(tasks.signals, "__path__", paths)
    with pytest.raises(ValueError, match="'vad' is optional and not among its needs"):
        tasks.signals._discover.__wrapped__(())
