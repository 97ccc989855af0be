"""A checkpoint's exported graph in the place of its network: the same stream, and no graph that is not its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.export import run_export
from modeling.audio_to_motion import MotionNet
from modeling.export import OnnxNet, export
from serving.speech_motion import MotionStream
from serving.talking import motion_module
from store import registry
from store.workspace import Workspace, open_workspace
from tests.unit.modeling.spoken_motion import made_clip
from tests.unit.serving.talker import IDLE, published, tiny

CARD = {"data": {"licences": {"CC0-1.0, consent yes": 3}}, "code": {"commit": "c0"}}


def served_by(place: Workspace, runtime: str) -> Workspace:
    return Workspace(replace(place.settings, motion_runtime=runtime))


def test_a_session_may_step_through_the_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="exports need onnx: pip install -e '.[export]'")
    place = open_workspace(tmp_path / "ws")
    key = published(place, **CARD)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no graph to serve; headroom export-model"):
        motion_module(served_by(place, "onnx"))
    with pytest.raises(ValueError, match="HEADROOM_MOTION_RUNTIME 'tpu' is none of auto, torch, onnx"):
        motion_module(served_by(place, "tpu"))
    assert isinstance(motion_module(place).model[0], MotionNet), "without a graph torch runs it"
    told = run_export(place.settings.workspace, key)
    assert told["most_apart"] < 1e-5
    assert Path(told["path"]).name == "model.onnx"
    graph, net = (motion_module(of).model[0] for of in (place, served_by(place, "torch")))
    assert isinstance(net, MotionNet)
    assert isinstance(graph, OnnxNet), "with one it is what runs"
    assert graph.about()["licences"] == '{"CC0-1.0, consent yes": 3}'
    sound = made_clip("c", "p", 2.0).sound
    made = []
    for model in (graph, net):
        stream = MotionStream(model, IDLE, seed=3)
        parts = [stream.push(sound[at : at + 700])[0] for at in range(0, len(sound), 700)]
        made.append(np.concatenate([*parts, stream.end()[0]]))
    assert np.abs(made[0] - made[1]).max() < 1e-5
    assert np.abs(made[0]).max() > 0.1

    place.objects.put_bytes(export(tiny(seed=1), {}), registry.exported_key(key))
    with pytest.raises(ValueError, match="its graph is of other weights"):
        motion_module(place)


def test_an_export_is_a_file_of_its_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.bin: an exported network is a file of \.onnx"):
        run_export(tmp_path / "ws", "x", tmp_path / "model.bin")
