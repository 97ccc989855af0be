"""The renderer begins as the warp, paints no edge, keeps still, and goes on bit for bit after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling import renderer_training
from modeling.mouth_crop import SIDE_PX
from modeling.recipes.renderer import VARIANTS, Renderer, renderer
from modeling.renderer import RendererNet
from modeling.renderer_export import MOST_APART, OnnxRenderer, TorchRenderer, export, most_apart
from modeling.renderer_metrics import drawn, evaluate, still_quiver
from modeling.renderer_runtime import MOST_APART_HALF, dtype_of, runtime_of, step_of
from modeling.renderer_training import Batches, Weights, edges, laplacian_pyramid, run_key, ssim_map, train
from modeling.training import losses_in
from tests.unit.modeling.drawn_lips import face_clip

TINY = renderer("renderer_tiny")
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from modeling.renderer_training import train
from tests.unit.modeling.drawn_lips import face_clip
from tests.unit.modeling.test_renderer import begun

def on_step(done):
    if done.step == 7:  # beyond the last save, before the next
        os.kill(os.getpid(), signal.SIGKILL)

recipe, start = begun(sys.argv[2])
train(recipe, [face_clip()], Path(sys.argv[1]), on_step, start)
"""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def shaken(seed: int = 0) -> RendererNet:
    """A network that changes what it sees, unlike an untrained one."""
    torch.manual_seed(seed)
    net = RendererNet(TINY).eval()
    torch.nn.init.normal_(net.leave.weight, std=0.2)
    return net


def test_untrained_it_is_the_warp_pixel_by_pixel() -> None:
    clip = face_clip()
    assert np.array_equal(drawn(RendererNet(TINY).eval(), clip, 0), clip.warps[0])


def test_the_default_is_small() -> None:
    num = sum(p.numel() for p in RendererNet(renderer()).parameters())
    assert 100_000 < num < 300_000


def test_whatever_it_paints_the_border_stays_the_warp() -> None:
    clip, made = face_clip(), drawn(shaken(), face_clip(), 0)
    assert np.abs(made.astype(int) - clip.warps[0]).max() > 10
    for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        assert np.array_equal(made[edge], clip.warps[0][edge])


def test_the_frame_before_is_seen() -> None:
    net = shaken()
    given, identity = torch.rand(1, 5, SIDE_PX, SIDE_PX), net.identity(torch.rand(1, 6, SIDE_PX, SIDE_PX))
    with torch.inference_mode():
        first, state = net(given, identity, net.start())
        second, _ = net(given, identity, state)
    assert not torch.equal(first, second)


def test_trained_it_paints_teeth_for_somebody_it_never_saw(tmp_path: Path) -> None:
    learnt = [face_clip(f"c{i}", f"p{i}", seed=i) for i in range(4)]
    net = train(replace(TINY, num_steps=60, width=12), learnt, tmp_path / "run")
    losses = [row["loss"] for row in losses_in(tmp_path / "run")]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    stranger = face_clip("new", "new", seed=9)
    told = evaluate(net, [stranger, face_clip("new2", "new2", seed=11)])
    for kind in ("avatar", "portrait"):
        of = told["plates"][kind]
        assert of["ahead"]["warp"]["mouth_psnr"]["low"] > 1, "decibels"
        assert of["measures"]["ours"]["border_step"]["value"] == 0
    assert still_quiver(net, stranger, 0) < 0.5


def begun(name: str) -> tuple[Renderer, Weights | None]:
    """A recipe at the tiny one's size, and what its training begins with."""
    if name == "renderer":
        return TINY, None
    personal = VARIANTS["renderer_personal"]
    slower = {"learning_rate": personal.learning_rate, "warmup_steps": personal.warmup_steps}
    return replace(TINY, name=name, **slower), shaken(seed=3).state_dict()


@pytest.mark.parametrize("name", ["renderer", "renderer_personal"])
def test_a_run_killed_for_good_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed"), name], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(losses_in(tmp_path / "killed"))) == 7
    recipe, start = begun(name)
    steps: list[int] = []
    resumed = train(recipe, [face_clip()], tmp_path / "killed", lambda step: steps.append(step.step), start)
    whole = train(recipe, [face_clip()], tmp_path / "whole", start=start)
    assert steps[0] == 5, "it goes on from what was saved, not from the start"
    assert list(losses_in(tmp_path / "killed")) == list(losses_in(tmp_path / "whole"))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_one_that_goes_on_from_a_checkpoint_begins_with_its_weights(tmp_path: Path) -> None:
    start = shaken(seed=3).state_dict()
    made = train(replace(TINY, num_steps=1, learning_rate=0.0, weight_decay=0.0), [face_clip()], tmp_path, start=start)
    assert all(torch.equal(start[name], value) for name, value in made.state_dict().items())
    assert run_key(TINY, [face_clip()]) != run_key(TINY, [face_clip()], start)


def test_what_cannot_be_trained_says_why(tmp_path: Path) -> None:
    train(replace(TINY, num_steps=1), [face_clip()], tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run of another recipe or other clips"):
        train(TINY, [face_clip()], tmp_path / "run")
    with pytest.raises(ValueError, match="no clip has 2 frames in a row"):
        train(TINY, [], tmp_path / "none")
    with pytest.raises(ValueError, match="every clip to learn from has weight 0"):
        train(TINY, [replace(face_clip(), weight=0.0)], tmp_path / "none")
    with pytest.raises(ValueError, match="no clip is held out"):
        evaluate(shaken(), [])


def test_a_recipe_that_cannot_be_meant_says_why() -> None:
    for name, changed, why in (
        ("rendere", {}, "recipe 'rendere' is none of renderer, renderer_personal, renderer_tiny"),
        ("renderer", {"depth": 1}, "has no value 'depth'"),
        ("renderer", {"width": "wide"}, "width='wide' is no int"),
        ("renderer", {"crop_frames": 1}, "crop_frames=1 is below 2"),
    ):
        with pytest.raises(ValueError, match=why):
            renderer(name, **changed)  # type: ignore[arg-type]


def test_the_data_of_a_step_follow_from_its_number_and_from_runs_alone() -> None:
    gapped = face_clip()
    gapped = replace(gapped, frames=np.concatenate([np.arange(10), np.arange(50, 70)]))
    assert 9 not in gapped.runs(2), "frame 9 and frame 50 do not follow each other"
    assert len(gapped.runs(2)) == 28
    batches = Batches(TINY, [gapped])
    for one, other in zip(batches(5), Batches(TINY, [gapped])(5), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(batches(5)[0], batches(6)[0])
    assert [tuple(v.shape[:2]) for v in batches(0)] == [(2, 2), (2, 6), (2, 2), (2, 2)]


def test_the_losses_say_what_their_names_say() -> None:
    picture = torch.rand(1, 3, SIDE_PX, SIDE_PX)
    levels = laplacian_pyramid(picture)
    assert [level.shape[-1] for level in levels] == [96, 48, 24, 12]
    assert float(ssim_map(picture, picture).min()) > 0.999
    assert float(ssim_map(picture, torch.rand_like(picture)).mean()) < 0.3
    blurred = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    shifted = torch.roll(picture, 1, dims=3)
    assert float(edges(blurred).mean()) < 0.6 * float(edges(picture).mean())
    assert abs(float(edges(shifted).mean() / edges(picture).mean()) - 1) < 0.05, "wherever edges lie"
    flat = torch.zeros(1, 2, 3, SIDE_PX, SIDE_PX)
    jumps = flat.clone()
    jumps[:, 1] = 0.2
    weight = torch.ones(1, 2, 1, SIDE_PX, SIDE_PX)
    losses = renderer_training.losses_of(TINY, jumps, flat, weight)
    assert float(losses["temporal"]) == pytest.approx(0.2, abs=1e-3)
    assert float(losses["charbonnier"]) == pytest.approx(0.1, abs=2e-3)


def test_its_graph_says_the_same_and_what_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    net = shaken()
    graph = OnnxRenderer(export(net, {"checkpoint": "c0", "licences": {"CC0": 1}}))
    assert graph.about() == {"checkpoint": "c0", "licences": '{"CC0": 1}'}
    assert most_apart(net, graph) < 1e-4
    assert most_apart(shaken(seed=1), graph) > MOST_APART
    given, identity = np.zeros((1, 5, SIDE_PX, SIDE_PX), np.float32), np.zeros((1, 4, 24, 24), np.float32)
    state = net.start().numpy()
    for one, other in zip(graph(given, identity, state), TorchRenderer(net)(given, identity, state), strict=True):
        assert np.abs(one - other).max() < 1e-4
    monkeypatch.setattr("modeling.renderer_export.most_apart", lambda net, other: 0.5)
    with pytest.raises(ValueError, match="the graph is 0.5 away from the network"):
        export(net, {})


def test_a_batch_is_each_of_its_rows() -> None:
    draw = np.random.default_rng(0)
    net, sizes = shaken(), ((5, SIDE_PX), (4, 24), (TINY.state_width, SIDE_PX // 4))
    given, identity, state = (draw.random((3, c, s, s), np.float32) for c, s in sizes)
    for step in (TorchRenderer(net), OnnxRenderer(export(net, {}))):
        together = step(given, identity, state)
        for row in range(3):
            alone = step(*(v[row : row + 1] for v in (given, identity, state)))
            for one, other in zip(together, alone, strict=True):
                assert np.abs(one[row] - other[0]).max() < 1e-4


@pytest.mark.parametrize("told", ["torch?dtype=bfloat16", "torch?compile=aot_eager", "onnx", "auto", ""])
def test_it_is_run_as_the_setting_says(told: str) -> None:
    net = shaken()
    step = step_of(runtime_of(told), net, export(net, {}))
    assert isinstance(step, TorchRenderer) == told.startswith("torch")
    apart = most_apart(net, step)
    assert apart < (MOST_APART_HALF if "bfloat16" in told else 1e-4)
    assert ("bfloat16" in told) == (apart > 1e-4)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("tpu", "runtime 'tpu' is none of auto, torch, onnx"),
        ("torch?dtype=int8", "dtype 'int8' is none of auto, float32"),
        ("torch?compile=yes", "compile 'yes' is none of no, inductor"),
        ("torch?speed=9", "'speed' is none of device, dtype, compile"),
        ("torch?device=gpu", "device 'gpu' is none of cpu, cuda, cuda:N"),
        ("torch?device=mps", "device 'mps' is none of cpu, cuda, cuda:N"),
        ("torch?device=cuda:63", "device 'cuda:63' is not here"),
        ("onnx?device=vulkan", "device 'vulkan' of onnx is none of cpu, cuda, tensorrt"),
        ("onnx?dtype=float16", "dtype and compile are of torch"),
        ("auto?device=cuda", "a device needs torch or onnx before it, as in torch"),
    ],
)
def test_a_runtime_that_can_not_be_says_why(told: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"HEADROOM_RENDERER_RUNTIME: {why}"):
        runtime_of(told)


def test_a_graph_needs_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the renderer has no graph; headroom export-model makes it"):
        step_of(runtime_of("onnx"), shaken(), None)
    with pytest.raises(ValueError, match="its graph is of other weights"):
        step_of(runtime_of("onnx"), shaken(), export(shaken(seed=1), {}))
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="and no TensorrtExecutionProvider; pip install onnxruntime-gpu"):
        runtime_of("onnx?device=tensorrt")


def test_on_a_gpu_sixteen_bits_are_those_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for capability, dtype in (((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, told=capability: told)
        assert dtype_of(runtime_of("torch?device=cuda")) == dtype
    assert dtype_of(runtime_of("torch?device=cuda&dtype=float32")) == torch.float32
    assert dtype_of(runtime_of("torch")) == torch.float32


def test_sixteen_bits_that_draw_something_else_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeling.renderer_runtime.most_apart", lambda net, step: float("nan"))
    with pytest.raises(ValueError, match="on cpu in bfloat16 it draws something else than on the CPU"):
        step_of(runtime_of("torch?dtype=bfloat16"), shaken(), None)
