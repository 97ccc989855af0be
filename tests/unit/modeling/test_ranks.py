"""The same training elsewhere: spread over two processes, in bfloat16, compiled; it learns the same and goes on anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling.audio_to_motion import MotionNet
from modeling.ranks import CPU, Machine
from modeling.recipes.audio_to_motion import VARIANTS, recipe
from modeling.training import Batches, Progress, Stage, losses_in, losses_of, train, train_on
from tests.unit.modeling.spoken_motion import made_clips

TINY = replace(VARIANTS["audio_to_motion_tiny"], num_steps=8, save_every=4, dropout=0.0)
BLOCKS = replace(TINY, kind="transformer", num_layers=2, num_heads=2, window_frames=10)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def values(folder: Path) -> np.ndarray:
    """(steps, losses)."""
    return np.array([[v for k, v in sorted(row.items()) if k != "step"] for row in losses_in(folder)])


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_are_cut_off_and_go_on(tmp_path: Path) -> None:
    """A transformer; what two make of the other kind's batch, the last test here does in this process."""
    stages = [Stage(replace(BLOCKS, num_steps=3), made_clips(2)), Stage(replace(BLOCKS, num_steps=5), made_clips(3))]
    from modeling.training import train_stages

    alone = train_stages(stages, tmp_path / "alone")
    first: list[Progress] = []

    def cut(done: Progress) -> None:
        first.append(done)
        if done.step == 6:  # saved at 4; the others go on meanwhile, and are ended
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_on(Machine("cpu", 2), stages, tmp_path / "two", cut)
    state = torch.load(tmp_path / "two" / "state.pt", weights_only=True)
    then: list[Progress] = []
    two = train_on(Machine("cpu", 2), stages, tmp_path / "two", then.append)
    assert [d.step for d in then] == list(range(state["step"] + 1, 9))
    assert [d.stage for d in first[:6]] == [1, 1, 1, 2, 2, 2]
    lines = [json.loads(line) for line in (tmp_path / "two" / "losses.jsonl").read_text().splitlines()]
    by_step: dict[int, list[object]] = {}
    for line in lines:
        by_step.setdefault(line["step"], []).append(line)
    assert all(row == rows[0] for rows in by_step.values() for row in rows), "what was done again came out the same"
    np.testing.assert_allclose(values(tmp_path / "two"), values(tmp_path / "alone"), rtol=2e-4, atol=1e-6)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-3, atol=2e-4, msg=name)
    # A run of two goes on as one, and its moments are whole.
    state = torch.load(tmp_path / "two" / "state.pt", weights_only=True)
    weights = list(MotionNet(BLOCKS).parameters())
    assert all(state["optimiser"]["state"][i]["exp_avg"].shape == w.shape for i, w in enumerate(weights))


@pytest.mark.slow
def test_a_process_that_fails_is_told_and_the_others_end(tmp_path: Path) -> None:
    bad = [replace(c, sound=c.sound[:0]) for c in made_clips(2)]  # nothing to hear: every rank fails on it
    with pytest.raises(ChildProcessError, match=r"process . of 2 failed \(.*\); the same command goes on"):
        train_on(Machine("cpu", 2), [Stage(TINY, bad)], tmp_path)


def test_ranks_take_their_rows_of_the_same_batch() -> None:
    whole = Batches(replace(TINY, batch_size=6), made_clips(3))(5)
    parts = [Batches(replace(TINY, batch_size=6), made_clips(3), rank, 2)(5) for rank in range(2)]
    for all_rows, even, odd in zip(whole, *parts, strict=True):
        assert torch.equal(all_rows[0::2], even)
        assert torch.equal(all_rows[1::2], odd)


def test_what_can_not_be_shared_or_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size 4 can't be shared by 3 processes"):
        train_on(Machine("cpu", 3), [Stage(TINY, made_clips(2))], tmp_path)
    with pytest.raises(ValueError, match="device 'tpu' is none of auto, cpu, cuda"):
        Machine("tpu")
    with pytest.raises(ValueError, match="processes 0: a training has 1 or more"):
        Machine("cpu", 0)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device 'cuda': there is none here"):
            Machine("cuda")
        assert Machine("auto").kind == "cpu"
    with pytest.raises(ValueError, match="precision 'int8' is none of float32, bfloat16"):
        recipe("audio_to_motion", precision="int8")
    with pytest.raises(ValueError, match="compile 'x' is none of nothing, inductor, aot_eager"):
        recipe("audio_to_motion_transformer", compile="x")
    with pytest.raises(ValueError, match="compile='inductor' is for kind=transformer"):
        recipe("audio_to_motion", compile="inductor")
    train(TINY, made_clips(2), tmp_path / "other")
    with pytest.raises(ValueError, match="another recipe or other clips"):
        train_on(Machine("cpu", 2), [Stage(TINY, made_clips(3))], tmp_path / "other")


@pytest.mark.parametrize("made", [TINY, BLOCKS], ids=["gru", "transformer"])
def test_in_bfloat16_it_learns_nearly_the_same_and_keeps_float32(made: object, tmp_path: Path) -> None:
    assert isinstance(made, type(TINY))
    exact = train(made, made_clips(2), tmp_path / "float32")
    train(replace(made, precision="bfloat16"), made_clips(2), tmp_path / "bfloat16")
    near, true = values(tmp_path / "bfloat16"), values(tmp_path / "float32")
    assert not np.array_equal(near, true)
    np.testing.assert_allclose(near[:, 1], true[:, 1], rtol=0.03)
    state = torch.load(tmp_path / "bfloat16" / "state.pt", weights_only=True)
    assert {v.dtype for v in state["net"].values()} == {torch.float32}
    assert {v.dtype for v in exact.state_dict().values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_it_learns_the_same(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    plain = train(BLOCKS, made_clips(2), tmp_path / "plain")
    assert not counters["stats"]
    compiled = train(replace(BLOCKS, compile="aot_eager"), made_clips(2), tmp_path / "compiled")
    assert counters["stats"]["unique_graphs"] == 1, "one graph serves both blocks"
    np.testing.assert_allclose(values(tmp_path / "compiled"), values(tmp_path / "plain"), rtol=1e-4, atol=1e-6)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_learns_the_same(tmp_path: Path) -> None:
    train(TINY, made_clips(2), tmp_path / "cpu")
    train_on(Machine("cuda"), [Stage(TINY, made_clips(2))], tmp_path / "cuda")
    np.testing.assert_allclose(values(tmp_path / "cuda"), values(tmp_path / "cpu"), rtol=2e-3, atol=1e-5)


def test_the_loss_of_a_batch_is_the_mean_over_its_ranks() -> None:
    """What two processes would reduce, done here by hand: gradients of both halves, with the weights of the whole."""
    torch.manual_seed(0)
    made, clips = replace(TINY, acceleration=1.0, smoothness=0.2), made_clips(3)
    net = MotionNet(made).eval()
    losses_of(made, net, *Batches(made, clips)(1))["loss"].backward()
    whole = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    batches = [Batches(made, clips, rank, 2)(1) for rank in range(2)]

    class Half:
        device, rank, world_size = CPU, 0, 2

        @staticmethod
        def sum(mine: torch.Tensor) -> torch.Tensor:
            return halves[0] + halves[1]

    halves = []  # the weights' sums of each half, as the ranks would tell them
    for _, _, weight, silent in batches:
        seen = weight[..., 0]
        pair = seen[:, 1:] * seen[:, :-1]
        triple = pair[:, 1:] * seen[:, :-2]
        halves.append(torch.stack([part.sum() for part in (seen, pair, triple, silent)]))
    net.zero_grad()
    for batch in batches:
        (losses_of(made, net, *batch, place=Half())["loss"] / 2).backward()  # type: ignore[arg-type]
    for mean, true in zip((p.grad for p in net.parameters()), whole, strict=True):
        torch.testing.assert_close(mean, true, rtol=1e-4, atol=1e-6)
