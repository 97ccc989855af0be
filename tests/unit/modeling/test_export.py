"""The graph of a network says what the network says, however a stream is cut, and tells what it is of."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from modeling import export as exports
from modeling.audio_to_motion import MotionNet
from modeling.export import MOST_APART, OnnxNet, export, most_apart
from modeling.recipes.audio_to_motion import VARIANTS, AudioToMotion

TINY = VARIANTS["audio_to_motion_tiny"]
BLOCKS = replace(TINY, kind="transformer", num_layers=2, num_heads=2, window_frames=6)


def network(recipe: AudioToMotion, seed: int = 0) -> MotionNet:
    torch.manual_seed(seed)
    return MotionNet(recipe).eval()


@pytest.mark.parametrize("made", [TINY, BLOCKS], ids=["gru", "transformer"])
def test_a_graph_says_what_its_network_says_and_what_it_is_of(made: AudioToMotion) -> None:
    pytest.importorskip("onnx", reason="exports need onnx: pip install -e '.[export]'")
    net = network(made)
    graph = OnnxNet(export(net, {"checkpoint": "c0ffee", "licences": {"CC0-1.0": 3}}), made)
    assert most_apart(net, graph) < 1e-5
    assert graph.about()["checkpoint"] == "c0ffee"
    assert graph.about()["licences"] == '{"CC0-1.0": 3}'
    assert most_apart(network(made, seed=1), graph) > MOST_APART, "another network's graph is told"
    # A long stream, a frame at a time, ends where one run over all of it does.
    mel = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 400, made.num_mels)).astype(np.float32))
    state, told = graph.start(1), []
    for at in range(0, 400, 4):
        motion, *after = graph(mel[:, at : at + 4], *state)
        state = tuple(after)
        told.append(motion)
    with torch.inference_mode():
        whole = net(mel, *net.start(1))[0]
    torch.testing.assert_close(torch.cat(told, dim=1), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="a graph is of one stream, not of 2"):
        graph.start(2)


def test_a_graph_that_says_something_else_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="exports need onnx: pip install -e '.[export]'")
    monkeypatch.setattr(exports, "most_apart", lambda net, other: 0.5)
    with pytest.raises(ValueError, match="the graph is 0.5 away from the network"):
        export(network(TINY), {})


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"onnx is not installed; pip install -e '\.\[export\]'"):
        export(network(TINY), {})
